// The byte form of sketches (SPEC 5): an input is the bytes, read as either kind. What is accepted
// has every number in its place and is written again as it was; what is refused is refused for the
// first reason there is.
#include <zlib.h>

#include "fuzz.h"
#include "plain_sketch.h"

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

/// Whether every row of every sketch sums to its sketch's total, and telemetry's totals agree.
bool sums(fuzz::bytes from, std::uint32_t kind, std::uint64_t depth, std::uint64_t width) {
  std::array<wide, 5> totals{};
  std::size_t at = header;
  for (std::size_t s = 0; s < (kind == 1 ? 1u : 5u); ++s) {
    totals[s] = wide{u64_at(from, at + 8)} << 64 | u64_at(from, at);
    at += 16;
    for (std::uint64_t row = 0; row < depth; ++row) {
      wide sum = 0;
      for (std::uint64_t i = 0; i < width; ++i, at += 8) sum += u64_at(from, at);
      if (sum != totals[s]) return false;
    }
  }
  if (kind == 1) return true;
  return totals[0] >> 64 == 0 && totals[1] <= totals[0] && totals[2] == totals[0] &&
         totals[3] == totals[0];
}

/// Why the bytes are no sketch of that kind; empty where they are.
std::string_view wrong_with(fuzz::bytes from, std::uint32_t kind) {
  if (!marked(from, 0, 8)) return "sketch_bytes_foreign";
  if (from.size() < header) return "sketch_bytes_truncated";
  if (u32_at(from, 8) != 1) return "sketch_version_unknown";
  if (u32_at(from, 12) != kind) return "sketch_kind_mismatch";
  if (!marked(from, 16, 40)) return "sketch_hash_unknown";
  const std::uint64_t depth = u64_at(from, 40);
  const std::uint64_t width = u64_at(from, 48);
  if (depth == 0 || width == 0) return "sketch_dim_zero";
  if (wide{depth} * width > ~std::uint64_t{0}) return "sketch_dim_overflow";
  const wide size = size_of(kind, wide{depth} * width);
  if (from.size() < size) return "sketch_bytes_truncated";
  if (from.size() > size) return "sketch_bytes_trailing";
  if (crc_of(from) != u32_at(from, from.size() - 4)) return "sketch_checksum_mismatch";
  return sums(from, kind, depth, width) ? "" : "sketch_row_sum_mismatch";
}

/// One sketch, whose total stands at byte `at`.
void check_sketch(const mk::count_min_sketch& got, fuzz::bytes from, std::size_t at) {
  const std::uint64_t low = u64_at(from, at);
  fuzz::check(got.total() == (u64_at(from, at + 8) != 0 ? ~std::uint64_t{0} : low),
              "the total is that of a row, or as much as can be said");
  plain::textbook book(got.depth(), got.width());
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
  as_one(bytes.plain(), bytes.view());
  as_telemetry(bytes.plain(), bytes.view());
  return 0;
}

/// Random bytes have no right checksum, nor a length that suits their shape, nor rows of one sum.
/// Most inputs are given a checksum, many all of it.
extern "C" std::size_t LLVMFuzzerCustomMutator(std::uint8_t* data, std::size_t size,
                                               std::size_t most, unsigned seed) {
  std::size_t made = LLVMFuzzerMutate(data, size, most);
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
