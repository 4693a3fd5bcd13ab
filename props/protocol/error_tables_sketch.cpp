// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The refusals of sketches and of their byte form.
#include <zlib.h>

#include <bit>
#include <cstddef>
#include <cstdint>
#include <expected>
#include <functional>
#include <limits>
#include <span>
#include <utility>
#include <vector>

#include "error_tables.h"

import megakernel;

namespace props::errors {
namespace {

using enum mk::error_code;
using mk::buffer;
using u64 = std::uint64_t;

constexpr u64 most = std::numeric_limits<u64>::max();
constexpr u64 half = u64{1} << 63;
constexpr u64 seed = 0x9E3779B97F4A7C15u;

mk::count_min_sketch sketch_of(u64 depth, u64 width, std::uint32_t key = 0, u64 amount = 0) {
  auto sketch = mk::count_min_sketch::of_shape(depth, width).value();
  sketch.add(key, amount).value();
  return sketch;
}

/// Of an empty ring of `slots` slots.
mk::telemetry_sketch telemetry_of(u64 depth, u64 width, std::size_t slots = 0) {
  auto sketch = mk::telemetry_sketch::of_shape(depth, width).value();
  mk::ring_telemetry telemetry;
  telemetry.decode(some(640), some(slots * 64)).value();
  sketch.assign(telemetry).value();
  return sketch;
}

// Where things stand in the byte form.
constexpr std::size_t name_at = 0;
constexpr std::size_t version_at = 8;
constexpr std::size_t kind_at = 12;
constexpr std::size_t hash_at = 16;
constexpr std::size_t seed_at = 32;
constexpr std::size_t depth_at = 40;
constexpr std::size_t width_at = 48;
constexpr std::size_t header = 56;
/// The total of sketch `which` of those of `counters` counters, and its counter `i`.
constexpr std::size_t total_at(std::size_t which, std::size_t counters) {
  return header + which * (16 + 8 * counters);
}
constexpr std::size_t counter_at(std::size_t which, std::size_t counters, std::size_t i) {
  return total_at(which, counters) + 16 + 8 * i;
}

/// Bytes to damage.
struct written {
  std::vector<std::byte> all;

  explicit written(const mk::byte_buffer& from) : all(from.begin(), from.end()) {}
  /// 2 x 3 counters, 5 of key 7.
  static written one() { return written(mk::write_sketch(sketch_of(2, 3, 7, 5)).value()); }
  /// 2 x 3 counters, of an empty ring of two slots.
  static written telemetry() { return written(mk::write_sketch(telemetry_of(2, 3, 2)).value()); }

  written& put(std::size_t at, u64 value, std::size_t count = 8) {
    for (std::size_t i = 0; i < count; ++i)
      all[at + i] = static_cast<std::byte>(value >> 8 * i & 0xFF);
    return *this;
  }
  written& size(std::size_t count) {
    all.resize(count);
    return *this;
  }
  [[nodiscard]] std::uint32_t crc() const {
    return static_cast<std::uint32_t>(
        crc32_z(0, reinterpret_cast<const unsigned char*>(all.data()), all.size() - 4));
  }
  /// Makes the checksum right again, so that it does not hide the damage.
  written& seal() { return put(all.size() - 4, crc(), 4); }

  [[nodiscard]] refusal read() const { return of(mk::read_count_min_sketch(all)); }
  [[nodiscard]] refusal read_all() const { return of(mk::read_telemetry_sketch(all)); }
};

/// A telemetry sketch of 2^63 slots, all of which stand in the first or all in the second column.
mk::telemetry_sketch half_of_all(std::size_t column) {
  written bytes(mk::write_sketch(telemetry_of(1, 2)).value());
  for (const std::size_t which : {0u, 2u, 3u})
    bytes.put(total_at(which, 2), half).put(counter_at(which, 2, column), half);
  return mk::read_telemetry_sketch(bytes.seal().all).value();
}

}  // namespace

std::vector<provoker> sketch_provokers() {
  const u64 column = sketch_of(1, 64).bucket(0, 7);
  return {
      {{sketch_dim_zero, buffer::sketch, 0, 0, 3},
       [] { return of(mk::count_min_sketch::of_shape(0, 3)); }},
      {{sketch_dim_zero, buffer::sketch, 1, 3, 0},
       [] { return of(mk::telemetry_sketch::of_shape(3, 0)); }},
      {{sketch_dim_zero, buffer::sketch, 0, 0, 0},
       [] { return of(mk::telemetry_sketch().assign(mk::ring_telemetry())); }},
      {{sketch_dim_zero, buffer::sketch, 0, 0, 0},
       [] { return of(mk::telemetry_sketch().assign(mk::ring_digest())); }},
      {{sketch_dim_zero, buffer::sketch, 0, 0, 0},
       [] { return of(mk::write_sketch(mk::telemetry_sketch())); }},
      {{sketch_dim_zero, buffer::sketch, 0, 0, 0},
       [] {
         auto sketch = sketch_of(2, 3);
         const auto moved = std::move(sketch);
         return of(sketch.add(7, 1));  // NOLINT: on purpose
       }},
      {{sketch_dim_overflow, buffer::sketch, most, half, 2},
       [] { return of(mk::count_min_sketch::of_shape(half, 2)); }},
      {{sketch_dim_overflow, buffer::sketch, most, 2, half},
       [] { return of(mk::telemetry_sketch().reset_shape(2, half)); }},
      {{sketch_dim_overflow, buffer::sketch, u64{1} << 53, 1, most},
       [] { return of(mk::shape_for(1e-300, 0.5)); }},
      {{sketch_accuracy_invalid, buffer::sketch, 0, std::bit_cast<u64>(-1.0), 0},
       [] { return of(mk::shape_for(-1.0, 0.5)); }},
      {{sketch_accuracy_invalid, buffer::sketch, 1, std::bit_cast<u64>(1.0), 1},
       [] { return of(mk::shape_for(0.5, 1.0)); }},
      {{sketch_counter_overflow, buffer::sketch, 7, 2, most - 1},
       [] { return of(sketch_of(2, 3, 7, most - 1).add(7, 2)); }},
      {{sketch_shape_mismatch, buffer::sketch, 0, 3, 2},
       [] { return of(sketch_of(2, 3).merge(sketch_of(3, 4))); }},
      {{sketch_shape_mismatch, buffer::sketch, 1, 4, 3},
       [] { return of(telemetry_of(2, 3).merge(telemetry_of(2, 4))); }},
      {{sketch_merge_overflow, buffer::sketch, column, 2, most - 1},
       [] { return of(sketch_of(1, 64, 7, most - 1).merge(sketch_of(1, 64, 7, 2))); }},
      // No counter overflows, and still the slots cannot be counted: one past the last counter.
      {{sketch_merge_overflow, buffer::sketch, 2, half, half},
       [] { return of(half_of_all(0).merge(half_of_all(1))); }},
      {{out_of_memory, buffer::none, 0, most, sizeof(u64)},
       [] { return of(mk::count_min_sketch::of_shape(most, 1)); }},
  };
}

std::vector<provoker> sketch_byte_provokers() {
  const std::uint32_t crc = written::one().crc();
  const std::uint32_t damaged = written::one().put(header, 6).crc();
  const u64 column = sketch_of(2, 3).bucket(1, 7);
  return {
      {{sketch_bytes_foreign, buffer::sketch, 0, 0, 0},
       [] { return written::one().put(name_at, 'm', 1).seal().read(); }},
      {{sketch_bytes_foreign, buffer::sketch, 0, 0, 0},
       [] { return written::one().put(name_at, 'm', 1).size(1).read_all(); }},
      {{sketch_bytes_truncated, buffer::sketch, 0, 0, 56},
       [] { return written::one().size(0).read_all(); }},
      {{sketch_bytes_truncated, buffer::sketch, 0, 55, 56},
       [] { return written::one().size(55).read(); }},
      {{sketch_bytes_truncated, buffer::sketch, 0, 123, 124},
       [] { return written::one().size(123).read(); }},
      {{sketch_bytes_truncated, buffer::sketch, 0, 124, most},
       [] { return written::one().put(depth_at, most).put(width_at, 1).seal().read(); }},
      {{sketch_bytes_trailing, buffer::sketch, 0, 381, 380},
       [] { return written::telemetry().size(381).read_all(); }},
      {{sketch_version_unknown, buffer::sketch, 0, 2, 1},
       [] { return written::one().put(version_at, 2, 4).seal().read(); }},
      {{sketch_kind_mismatch, buffer::sketch, 0, 1, 2}, [] { return written::one().read_all(); }},
      {{sketch_kind_mismatch, buffer::sketch, 0, 2, 1}, [] { return written::telemetry().read(); }},
      {{sketch_kind_mismatch, buffer::sketch, 0, 3, 1},
       [] { return written::one().put(kind_at, 3, 4).seal().read(); }},
      {{sketch_hash_unknown, buffer::sketch, 0, seed, seed},
       [] { return written::one().put(hash_at, 'S', 1).seal().read(); }},
      {{sketch_hash_unknown, buffer::sketch, 1, 1, seed},
       [] { return written::one().put(seed_at, 1).seal().read(); }},
      {{sketch_dim_zero, buffer::sketch, 0, 0, 3},
       [] { return written::one().put(depth_at, 0).seal().read(); }},
      {{sketch_dim_zero, buffer::sketch, 1, 2, 0},
       [] { return written::telemetry().put(width_at, 0).seal().read_all(); }},
      {{sketch_dim_overflow, buffer::sketch, most, most, 3},
       [] { return written::one().put(depth_at, most).seal().read(); }},
      {{sketch_checksum_mismatch, buffer::sketch, 0, crc, crc ^ 1},
       [crc] { return written::one().put(120, crc ^ 1, 4).read(); }},
      {{sketch_checksum_mismatch, buffer::sketch, 0, damaged, crc},
       [] { return written::one().put(header, 6).read(); }},
      {{sketch_row_sum_mismatch, buffer::sketch, 1, 9, 5},
       [column] { return written::one().put(counter_at(0, 6, 3 + column), 9).seal().read(); }},
      {{sketch_row_sum_mismatch, buffer::sketch, 0, 5, most},  // of 2^64 + 5
       [] { return written::one().put(header + 8, 1).seal().read(); }},
      // Sketches of one ring that disagree: more active slots, or fewer of all tenants, than slots.
      {{sketch_row_sum_mismatch, buffer::sketch, 0, 3, 2},
       [] { return written::telemetry().put(total_at(1, 6), 3).seal().read_all(); }},
      {{sketch_row_sum_mismatch, buffer::sketch, 0, 1, 2},
       [] { return written::telemetry().put(total_at(2, 6), 1).seal().read_all(); }},
  };
}

}  // namespace props::errors
