// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// What goes with the policy once more: diffusion, autotune choice and gradient step, each
// operation rounded by itself, whatever the compiler would like. docs/protocol.md#diffusion
#pragma once

#include <algorithm>
#include <bit>
#include <cmath>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace oracle {

using doubles = std::vector<double>;

inline double product(double a, double b) {
  volatile double rounded = a * b;
  return rounded;
}
inline double difference(double a, double b) {
  volatile double rounded = a - b;
  return rounded;
}

/// The same bits, or both no number: which one is up to the processor.
inline bool same_number(double a, double b) {
  return (std::isnan(a) && std::isnan(b)) ||
         std::bit_cast<std::uint64_t>(a) == std::bit_cast<std::uint64_t>(b);
}

inline doubles diffused(doubles values, std::span<const double> restriction, double damping,
                        std::uint32_t iterations) {
  if (values.size() != restriction.size()) return values;
  for (std::uint32_t step = 0; step < iterations; ++step) {
    for (std::size_t i = 0; i < values.size(); ++i)
      values[i] = difference(values[i], product(product(damping, restriction[i]), values[i]));
  }
  return values;
}

inline std::uint32_t cheapest(std::span<const std::uint32_t> candidates,
                              std::span<const double> costs, std::uint32_t fallback) {
  std::size_t best = 0;
  const std::size_t pairs = std::min(candidates.size(), costs.size());
  for (std::size_t i = 1; i < pairs; ++i) {
    if (std::is_lt(std::strong_order(costs[i], costs[best]))) best = i;
  }
  return pairs == 0 ? fallback : candidates[best];
}

/// `room`: how many numbers there is room for.
inline doubles gradient_step(std::span<const double> matrix, std::span<const double> slope,
                             std::uint32_t n, double rate, std::size_t room) {
  doubles step;
  if (matrix.size() < std::uint64_t{n} * n || slope.size() < n || room < n) return step;
  for (std::size_t row = 0; row < n; ++row) {
    double sum = 0;
    for (std::size_t i = 0; i < n; ++i)
      sum = difference(sum, -product(matrix[row * n + i], slope[i]));
    step.push_back(product(-rate, sum));
  }
  return step;
}

}  // namespace oracle
