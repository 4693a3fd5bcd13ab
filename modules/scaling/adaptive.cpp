// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
module;
#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <span>
module megakernel.scaling;

#pragma clang fp contract(off)

namespace megakernel {
namespace {

/// Orders doubles like IEEE 754's totalOrder when compared as integers.
std::int64_t total_order_key(double value) noexcept {
  const auto bits = std::bit_cast<std::int64_t>(value);
  // Negative ones run backwards: turn their magnitude round.
  return bits < 0 ? bits ^ INT64_MAX : bits;
}

}  // namespace

bool diffuse(std::span<double> values, std::span<const double> restriction, double damping,
             std::uint32_t iterations) noexcept {
  if (values.size() != restriction.size()) return false;
  for (std::size_t i = 0; i < values.size(); ++i) {
    const double leak = damping * restriction[i];
    for (std::uint32_t step = 0; step < iterations; ++step) {
      const double next = values[i] - leak * values[i];
      const bool rests =
          std::bit_cast<std::uint64_t>(next) == std::bit_cast<std::uint64_t>(values[i]);
      values[i] = next;
      if (rests) break;
    }
  }
  return true;
}

std::uint32_t autotune_choice(std::span<const std::uint32_t> candidates,
                              std::span<const double> costs, std::uint32_t fallback) noexcept {
  const auto usable = costs.first(std::min(candidates.size(), costs.size()));
  const auto best = std::ranges::min_element(usable, {}, total_order_key);
  if (best == usable.end()) return fallback;
  return candidates[static_cast<std::size_t>(best - usable.begin())];
}

std::span<const double> natural_gradient_step(std::span<const double> matrix,
                                              std::span<const double> gradient, std::uint32_t n,
                                              double rate, std::span<double> out) noexcept {
  const std::uint64_t side = n;
  if (matrix.size() < side * side || gradient.size() < side || out.size() < side) return {};
  for (std::size_t row = 0; row < side; ++row) {
    double sum = 0;
    for (std::size_t column = 0; column < side; ++column)
      sum = sum + matrix[row * side + column] * gradient[column];
    out[row] = -rate * sum;
  }
  return out.first(side);
}

}  // namespace megakernel
