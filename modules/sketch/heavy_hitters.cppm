// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
module;
#include <cstdint>
#include <span>
export module megakernel.sketch:heavy_hitters;
import :count_min;

export namespace megakernel {

/// A key that counts much, and how much.
struct heavy_hitter {
  std::uint32_t key = 0;
  std::uint64_t estimate = 0;  ///< its count is never more than this
  /// Nor less than this, but for a chance of the sketch's delta(): the estimate less epsilon()
  /// times the sketch's total.
  std::uint64_t at_least = 0;
  friend constexpr bool operator==(const heavy_hitter&, const heavy_hitter&) = default;
};

/// Writes the keys among `candidates` with the largest estimates to the front of `top`, as many as
/// it holds, and returns that part: largest first, ties by ascending key, no key twice, no
/// estimate of 0. A sketch does not list keys: the candidates are those that were seen, in any
/// order, duplicates allowed. Allocates nothing. O(candidates depth), and O(k) more for each
/// candidate that displaces one of the k = top.size() so far. docs/protocol.md#heavy-hitters
[[nodiscard]] std::span<heavy_hitter> heavy_hitters(const count_min_sketch& sketch,
                                                    std::span<const std::uint32_t> candidates,
                                                    std::span<heavy_hitter> top) noexcept;

}  // namespace megakernel
