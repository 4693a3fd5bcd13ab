// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
module;
#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <span>
module megakernel.sketch;

namespace megakernel {
namespace {

constexpr bool before(const heavy_hitter& a, const heavy_hitter& b) noexcept {
  return a.estimate != b.estimate ? a.estimate > b.estimate : a.key < b.key;
}

}  // namespace

std::span<heavy_hitter> heavy_hitters(const count_min_sketch& sketch,
                                      std::span<const std::uint32_t> candidates,
                                      std::span<heavy_hitter> top) noexcept {
  std::size_t found = 0;
  for (const std::uint32_t key : candidates) {
    const heavy_hitter hitter{.key = key, .estimate = sketch.estimate(key)};
    if (hitter.estimate == 0 || top.empty()) continue;
    const bool full = found == top.size();
    if (full && !before(hitter, top[found - 1])) continue;
    const auto ranked = top.first(found);
    const auto at = std::ranges::lower_bound(ranked, hitter, before);
    if (at != ranked.end() && at->key == key) continue;  // a duplicate
    std::move_backward(at, ranked.end() - (full ? 1 : 0), ranked.end() + (full ? 0 : 1));
    *at = hitter;
    if (!full) ++found;
  }
  const double share = std::ceil(sketch.epsilon() * static_cast<double>(sketch.total()));
  const std::uint64_t off = share < 0x1p64 ? static_cast<std::uint64_t>(share) : ~std::uint64_t{0};
  for (heavy_hitter& hitter : top.first(found))
    hitter.at_least = hitter.estimate - std::min(hitter.estimate, off);
  return top.first(found);
}

}  // namespace megakernel
