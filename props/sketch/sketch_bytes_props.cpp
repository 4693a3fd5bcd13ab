// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The byte form of sketches: what survives it, and what damage it does not take.
#include <rapidcheck.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <expected>
#include <span>
#include <vector>

#include "counting_heap.h"

#include "sketch_support.h"

import megakernel;

namespace {

using namespace props;
using namespace props::sketch;
namespace mk = megakernel;

u32 crc32_of(std::span<const std::byte> of) {
  u32 crc = ~0u;
  for (const std::byte b : of) {
    crc ^= std::to_integer<u32>(b);
    for (int i = 0; i < 8; ++i) crc = crc >> 1 ^ (crc & 1 ? 0xEDB88320u : 0u);
  }
  return ~crc;
}

using byte_vector = std::vector<std::byte>;

void seal(byte_vector& of) {
  const u32 crc = crc32_of(std::span(of).first(of.size() - 4));
  for (unsigned i = 0; i < 4; ++i)
    of[of.size() - 4 + i] = static_cast<std::byte>(crc >> 8 * i & 0xFF);
}

void put64(byte_vector& to, std::size_t at, u64 value) {
  for (unsigned i = 0; i < 8; ++i) to[at + i] = static_cast<std::byte>(value >> 8 * i & 0xFF);
}

byte_vector copy_of(const mk::byte_buffer& from) { return {from.begin(), from.end()}; }

mk::telemetry_sketch small_telemetry(prng& d, u64 depth, u64 width) {
  auto sketch = must(mk::telemetry_sketch::of_shape(depth, width));
  std::vector<u32> control(160);
  for (u32 i = 96; i < 128; ++i) control[i] = d.word();
  std::vector<u32> ring(std::size_t{1 + d.below(40)} * 16);
  for (u32& w : ring) w = d.below(9);
  mk::ring_telemetry telemetry;
  must(telemetry.decode(std::as_bytes(std::span(control)), std::as_bytes(std::span(ring))));
  must(sketch.assign(telemetry));
  return sketch;
}

bool round_trips() {
  return rc::check("a sketch survives its byte form, with amounts up to the edge", [] {
    const auto shape = *any_sketch_shape();
    const auto entries = *any_entries(any_amount());
    auto sketch = must(mk::count_min_sketch::of_shape(shape.depth, shape.width));
    for (const entry& e : entries) (void)sketch.add(e.key, e.amount);
    const auto written = must(mk::write_sketch(sketch));
    RC_ASSERT(written.size() == mk::sketch_bytes(shape));
    const byte_vector plain = copy_of(written);
    byte_vector shifted(plain.size() + 1);
    std::ranges::copy(plain, shifted.begin() + 1);
    auto read = must(mk::read_count_min_sketch(std::span(shifted).subspan(1)));
    RC_ASSERT(read == sketch);
    RC_ASSERT(read.total() == sketch.total());
    for (const entry& e : entries) {
      const auto here = sketch.add(e.key, e.amount);
      const auto there = read.add(e.key, e.amount);
      RC_ASSERT((here ? there.has_value() : refused(there, here.error())));
    }
    RC_ASSERT((failed(mk::read_telemetry_sketch(plain), code::sketch_kind_mismatch)));
    prng d(*uniform<u64>());
    const auto ring = small_telemetry(d, shape.depth, shape.width);
    const auto bytes = must(mk::write_sketch(ring));
    RC_ASSERT(bytes.size() == mk::telemetry_sketch_bytes(shape));
    RC_ASSERT(must(mk::read_telemetry_sketch({bytes.data(), bytes.size()})) == ring);
    RC_ASSERT((failed(mk::read_count_min_sketch({bytes.data(), bytes.size()}),
                      code::sketch_kind_mismatch)));
  });
}

bool damage() {
  return rc::check("every changed byte, every cut and every extension is refused", [] {
    prng d(*uniform<u64>());
    const u64 depth = 1 + d.below(3);
    const u64 width = 1 + d.below(4);
    const auto one = [&](byte_vector whole, auto read) {
      const u32 flip = 1 + d.below(255);
      for (std::size_t at = 0; at < whole.size(); ++at) {
        for (const u32 by : {flip, 1u, 0x80u}) {
          whole[at] ^= static_cast<std::byte>(by);
          RC_ASSERT(!read(std::span<const std::byte>(whole)).has_value());
          whole[at] ^= static_cast<std::byte>(by);
        }
      }
      for (std::size_t size = 0; size < whole.size(); ++size) {
        const byte_vector cut(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(size));
        RC_ASSERT((failed(read(std::span<const std::byte>(cut)), code::sketch_bytes_truncated)));
      }
      RC_ASSERT(read(std::span<const std::byte>(whole)).has_value());
      whole.push_back({});
      RC_ASSERT((failed(read(std::span<const std::byte>(whole)), code::sketch_bytes_trailing)));
    };
    auto sketch = must(mk::count_min_sketch::of_shape(depth, width));
    for (int i = 0; i < 5; ++i) must(sketch.add(d.word(), d.next() >> 8));
    one(copy_of(must(mk::write_sketch(sketch))), mk::read_count_min_sketch);
    one(copy_of(must(mk::write_sketch(small_telemetry(d, depth, width)))),
        mk::read_telemetry_sketch);
  });
}

bool foreign() {
  return rc::check("foreign and hostile bytes with a correct checksum are refused by name", [] {
    prng d(*uniform<u64>());
    const u64 depth = 2 + d.below(3);
    const u64 width = 2 + d.below(4);
    auto made = small_telemetry(d, depth, width);
    const byte_vector whole = copy_of(must(mk::write_sketch(made)));
    const auto refused_as = [&](code wanted, auto change) {
      byte_vector changed = whole;
      change(changed);
      seal(changed);
      const std::uint64_t before = heap::state.allocations;
      const auto read = mk::read_telemetry_sketch(changed);
      const std::uint64_t allocated = heap::state.allocations - before;
      RC_ASSERT((failed(read, wanted)));
      RC_ASSERT(allocated <= 5u);
      if (wanted != code::sketch_row_sum_mismatch) RC_ASSERT(allocated == 0u);
    };
    refused_as(code::sketch_bytes_foreign, [](byte_vector& b) { b[0] = std::byte{'m'}; });
    refused_as(code::sketch_version_unknown, [](byte_vector& b) { b[8] = std::byte{2}; });
    refused_as(code::sketch_kind_mismatch, [](byte_vector& b) { b[12] = std::byte{1}; });
    refused_as(code::sketch_kind_mismatch, [](byte_vector& b) { b[12] = std::byte{3}; });
    refused_as(code::sketch_hash_unknown, [](byte_vector& b) { b[25] = std::byte{'5'}; });
    refused_as(code::sketch_hash_unknown, [](byte_vector& b) { put64(b, 32, 1); });
    refused_as(code::sketch_dim_zero, [](byte_vector& b) { put64(b, 40, 0); });
    refused_as(code::sketch_dim_zero, [](byte_vector& b) { put64(b, 48, 0); });
    refused_as(code::sketch_dim_overflow, [](byte_vector& b) { put64(b, 40, most); });
    refused_as(code::sketch_dim_overflow, [](byte_vector& b) {
      put64(b, 40, u64{1} << 32);
      put64(b, 48, u64{1} << 32);
    });
    refused_as(code::sketch_bytes_truncated, [](byte_vector& b) {
      put64(b, 40, most);
      put64(b, 48, 1);
    });
    refused_as(code::sketch_bytes_truncated, [&](byte_vector& b) { put64(b, 40, depth + 1); });
    refused_as(code::sketch_bytes_trailing, [&](byte_vector& b) { put64(b, 48, width - 1); });
    const std::size_t one = 16 + 8 * depth * width;
    const u32 which = d.below(5);
    const u64 row = d.below(depth);
    refused_as(code::sketch_row_sum_mismatch, [&](byte_vector& b) {
      put64(b, 56 + which * one + 16 + 8 * (row * width + d.below(width)),
            d.next() >> 1 | 1u << 30);
    });
    refused_as(code::sketch_row_sum_mismatch,
               [&](byte_vector& b) { b[56 + which * one + 8] ^= std::byte{1}; });
    // Sketches that are whole each, and do not go together.
    refused_as(code::sketch_row_sum_mismatch, [&](byte_vector& b) {
      std::fill_n(b.begin() + static_cast<std::ptrdiff_t>(56 + 2 * one), one, std::byte{});
    });
    refused_as(code::sketch_row_sum_mismatch, [&](byte_vector& b) {
      put64(b, 56 + one, made.total_slots() + 1);
      for (u64 r = 0; r < depth; ++r) {
        for (u64 c = 0; c < width; ++c)
          put64(b, 56 + one + 16 + 8 * (r * width + c), c == 0 ? made.total_slots() + 1 : 0);
      }
    });
    byte_vector changed = whole;
    changed.back() ^= std::byte{1};
    RC_ASSERT((failed(mk::read_telemetry_sketch(changed), code::sketch_checksum_mismatch)));
    bytes noisy = noise(d, d.below(400));
    RC_ASSERT(!mk::read_telemetry_sketch(std::as_bytes(std::span(noisy))).has_value());
  });
}

}  // namespace

int main() {
  bool ok = true;
  ok &= round_trips();
  ok &= damage();
  ok &= foreign();
  return ok ? 0 : 1;
}
