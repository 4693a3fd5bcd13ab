// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// A Count-Min sketch once more, word for word as the specification has it.
// docs/protocol.md#sketch-hash
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

namespace oracle {

struct textbook {
  using u64 = std::uint64_t;
  using u32 = std::uint32_t;

  u64 depth;
  u64 width;
  std::vector<u64> counters;
  textbook(u64 d, u64 w) : depth(d), width(w), counters(d * w) {}
  [[nodiscard]] u64 at(u64 row, u32 key) const {
    u64 x = key ^ row * 0x9E3779B97F4A7C15u;
    x += 0x9E3779B97F4A7C15u;
    x = (x ^ x >> 30) * 0xBF58476D1CE4E5B9u;
    x = (x ^ x >> 27) * 0x94D049BB133111EBu;
    return row * width + (x ^ x >> 31) % width;
  }
  bool add(u32 key, u64 amount) {
    for (u64 r = 0; r < depth; ++r)
      if (counters[at(r, key)] > ~u64{0} - amount) return false;
    for (u64 r = 0; r < depth; ++r) counters[at(r, key)] += amount;
    return true;
  }
  [[nodiscard]] u64 estimate(u32 key) const {
    u64 least = ~u64{0};
    for (u64 r = 0; r < depth; ++r) least = std::min(least, counters[at(r, key)]);
    return least;
  }
  /// The largest of its counters.
  [[nodiscard]] u64 most(u32 key) const {
    u64 largest = 0;
    for (u64 r = 0; r < depth; ++r) largest = std::max(largest, counters[at(r, key)]);
    return largest;
  }
  /// Whether the library's sketch is the same.
  template <class Sketch>
  [[nodiscard]] bool is(const Sketch& sketch) const {
    return sketch.depth() == depth && sketch.width() == width &&
           std::ranges::equal(sketch.counters(), counters);
  }
};

}  // namespace oracle
