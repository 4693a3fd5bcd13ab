// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The byte form of sketches: an input is the bytes, read as either kind. What is accepted
// has every number in its place and is written again as it was; what is refused is refused for the
// first reason there is. docs/protocol.md#sketch-bytes
#include <zlib.h>

#include "fuzz.h"
#include "oracle_sketch.h"
#include "refusal.h"

#include "megakernel_import.h"

namespace mk = megakernel;

namespace {

using wide = unsigned __int128;

constexpr std::size_t header = 56;
constexpr std::string_view marks{
    "MKSKETCH\1\0\0\0\0\0\0\0splitmix64\0\0\0\0\0\0"
    "\x15\x7C\x4A\x7F\xB9\x79\x37\x9E",
    40};

std::uint64_t u64_at(fuzz::bytes from, std::size_t at) {
  return fuzz::input(from.data() + at, from.size() - at).take<std::uint64_t>();
}
std::uint32_t u32_at(fuzz::bytes from, std::size_t at) {
  return fuzz::input(from.data() + at, from.size() - at).take<std::uint32_t>();
}
void put(std::uint8_t* to, std::uint64_t value, std::size_t count) {
  for (std::size_t i = 0; i < count; ++i) to[i] = static_cast<std::uint8_t>(value >> 8 * i);
}
bool marked(fuzz::bytes from, std::size_t first, std::size_t last) {
  for (std::size_t i = first; i < last && i < from.size(); ++i)
    if (from[i] != static_cast<std::uint8_t>(marks[i])) return false;
  return true;
}
std::uint32_t crc_of(fuzz::bytes all) {
  return static_cast<std::uint32_t>(crc32_z(0, all.data(), all.size() - 4));
}
wide size_of(std::uint32_t kind, wide counters) {
  return header + (kind == 1 ? 1 : 5) * (16 + 8 * counters) + 4;
}

std::uint64_t shown(wide sum) {
  return sum >> 64 != 0 ? ~std::uint64_t{0} : static_cast<std::uint64_t>(sum);
}

/// What of the counters is wrong: a row that does not sum to its sketch's total, or totals of
/// telemetry that do not agree.
fuzz::refusal wrong_sums(fuzz::bytes from, std::uint32_t kind, std::uint64_t depth,
                         std::uint64_t width) {
  wide slots = 0;
  std::size_t at = header;
  for (std::size_t s = 0; s < (kind == 1 ? 1u : 5u); ++s) {
    const wide total = wide{u64_at(from, at + 8)} << 64 | u64_at(from, at);
    if (kind == 2) {
      if (s == 0) slots = total;
      if (slots >> 64 != 0) return {"sketch_row_sum_mismatch", 0, ~std::uint64_t{0}, shown(slots)};
      const bool agrees = s == 1 ? total <= slots : s == 4 || total == slots;
      if (!agrees) return {"sketch_row_sum_mismatch", 0, shown(total), shown(slots)};
    }
    at += 16;
    for (std::uint64_t row = 0; row < depth; ++row) {
      wide sum = 0;
      for (std::uint64_t i = 0; i < width; ++i, at += 8) sum += u64_at(from, at);
      if (sum != total) return {"sketch_row_sum_mismatch", row, shown(sum), shown(total)};
    }
  }
  return {};
}

/// Why the bytes are no sketch of that kind.
fuzz::refusal wrong_with(fuzz::bytes from, std::uint32_t kind) {
  if (!marked(from, 0, 8)) return {"sketch_bytes_foreign"};
  if (from.size() < header) return {"sketch_bytes_truncated", 0, from.size(), header};
  if (u32_at(from, 8) != 1) return {"sketch_version_unknown", 0, u32_at(from, 8), 1};
  if (u32_at(from, 12) != kind) return {"sketch_kind_mismatch", 0, u32_at(from, 12), kind};
  const std::uint64_t seed = u64_at(from, 32);
  if (!marked(from, 16, 40))
    return {"sketch_hash_unknown", marked(from, 16, 32) ? 1u : 0u, seed, 0x9E3779B97F4A7C15u};
  const std::uint64_t depth = u64_at(from, 40);
  const std::uint64_t width = u64_at(from, 48);
  if (depth == 0 || width == 0) return {"sketch_dim_zero", depth == 0 ? 0u : 1u, depth, width};
  if (wide{depth} * width > ~std::uint64_t{0})
    return {"sketch_dim_overflow", ~std::uint64_t{0}, depth, width};
  const wide size = size_of(kind, wide{depth} * width);
  if (from.size() < size) return {"sketch_bytes_truncated", 0, from.size(), shown(size)};
  if (from.size() > size) return {"sketch_bytes_trailing", 0, from.size(), shown(size)};
  const std::uint32_t stated = u32_at(from, from.size() - 4);
  if (crc_of(from) != stated) return {"sketch_checksum_mismatch", 0, crc_of(from), stated};
  return wrong_sums(from, kind, depth, width);
}

/// Sizes of the byte forms of shapes, of any that has a size.
void check_sizes(fuzz::bytes from) {
  if (from.size() < header) return;
  const mk::sketch_shape shape{u64_at(from, 40), u64_at(from, 48)};
  const wide counters = wide{shape.depth} * shape.width;
  if (counters > ~std::uint64_t{0}) return;
  fuzz::check(mk::sketch_bytes(shape) == shown(size_of(1, counters)) &&
                  mk::telemetry_sketch_bytes(shape) == shown(size_of(2, counters)),
              "a size is that of the shape, or the largest there is");
}

/// One sketch, whose total stands at byte `at`.
void check_sketch(const mk::count_min_sketch& got, fuzz::bytes from, std::size_t at) {
  const std::uint64_t low = u64_at(from, at);
  fuzz::check(got.total() == (u64_at(from, at + 8) != 0 ? ~std::uint64_t{0} : low),
              "the total is that of a row, or as much as can be said");
  oracle::textbook book(got.depth(), got.width());
  for (std::size_t i = 0; i < book.counters.size(); ++i)
    book.counters[i] = u64_at(from, at + 16 + 8 * i);
  fuzz::check(book.is(got), "counters are read row after row");
  for (const std::uint32_t key : {0u, 7u, static_cast<std::uint32_t>(low), 0xFFFF'FFFFu})
    fuzz::check(got.estimate(key) == book.estimate(key), "estimates are those of the counters");
}

bool written_as(const mk::result<mk::byte_buffer>& got, fuzz::bytes from) {
  return got.has_value() &&
         std::ranges::equal(std::span(got->data(), got->size()), std::as_bytes(from));
}

void as_one(fuzz::bytes from, std::span<const std::byte> view) {
  const auto got = mk::read_count_min_sketch(view);
  if (fuzz::refused_as(got, wrong_with(from, 1))) return;
  check_sketch(*got, from, header);
  fuzz::check(mk::sketch_bytes(got->shape()) == from.size(), "the size is that of the shape");
  fuzz::check(written_as(mk::write_sketch(*got), from), "what was read is written as it was");
}

void as_telemetry(fuzz::bytes from, std::span<const std::byte> view) {
  const auto got = mk::read_telemetry_sketch(view);
  if (fuzz::refused_as(got, wrong_with(from, 2))) return;
  const std::size_t each = 16 + 8 * got->shape().depth * got->shape().width;
  const std::array all{&got->ring_opcode(), &got->active_opcode(), &got->tenant(), &got->status(),
                       &got->dispatch_metrics()};
  for (std::size_t i = 0; i < all.size(); ++i) check_sketch(*all[i], from, header + each * i);
  fuzz::check(got->total_slots() == u64_at(from, header) &&
                  got->active_slots() == u64_at(from, header + each),
              "slots are counted once in each sketch");
  fuzz::check(mk::telemetry_sketch_bytes(got->shape()) == from.size(),
              "the size is that of the shape");
  fuzz::check(written_as(mk::write_sketch(*got), from), "what was read is written as it was");
}

/// Makes the counters of each row sum to one total: to `slots` where telemetry asks for it.
void repair_sums(std::span<std::uint8_t> bytes, std::uint32_t kind, std::uint64_t depth,
                 std::uint64_t width, bool small) {
  const std::uint64_t slots = width << 17;
  std::size_t at = header;
  for (std::size_t s = 0; s < (kind == 1 ? 1u : 5u); ++s) {
    const bool given = kind == 2 && s != 1 && s != 4;
    std::uint64_t total = given ? slots : slots / 2;
    if (kind == 1 && !small) total |= std::uint64_t{1} << 63;
    put(&bytes[at], total, 8);
    put(&bytes[at + 8], 0, 8);
    at += 16;
    for (std::uint64_t row = 0; row < depth; ++row) {
      std::uint64_t left = total;
      for (std::uint64_t i = 0; i + 1 < width; ++i, at += 8) {
        const std::uint64_t counter = u64_at(bytes, at) & 0xFFFF;
        put(&bytes[at], counter, 8);
        left -= counter;
      }
      put(&bytes[at], left, 8);
      at += 8;
    }
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const fuzz::block bytes(fuzz::bytes(data, size), size % 3);  // of any alignment
  check_sizes(bytes.plain());
  as_one(bytes.plain(), bytes.view());
  as_telemetry(bytes.plain(), bytes.view());
  return 0;
}

/// Random bytes have no right checksum, nor a length that suits their shape, nor rows of one sum.
/// Most inputs are given a checksum, many all of it.
extern "C" std::size_t LLVMFuzzerCustomMutator(std::uint8_t* data, std::size_t size,
                                               std::size_t most, unsigned seed) {
  std::size_t made = fuzz::mutate(data, size, most);
  const unsigned effort = seed % 8;
  if (effort == 0 || made < header + 4) return made;
  if (effort >= 4) {
    const std::uint32_t kind = data[12] % 2 + 1u;
    const std::uint64_t depth = data[40] % 4 + 1u;
    const std::uint64_t width = data[48] % 6 + 1u;
    const auto whole = static_cast<std::size_t>(size_of(kind, depth * width));
    if (whole > most) return made;
    if (whole > made) std::memset(data + made, 0, whole - made);
    made = whole;
    std::memcpy(data, marks.data(), 40);
    put(data + 12, kind, 4);
    put(data + 40, depth, 8);
    put(data + 48, width, 8);
    if (effort >= 6) repair_sums({data, made}, kind, depth, width, seed % 16 < 8);
  }
  put(data + made - 4, crc_of({data, made}), 4);
  return made;
}
