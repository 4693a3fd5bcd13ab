// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
module;
#include <cstdint>
#include <span>
export module megakernel.scaling:adaptive;

/// Floating-point helpers. Every multiply and add rounds by itself (no fused multiply-add), so
/// that results are the same bits everywhere.
export namespace megakernel {

/// Lets priorities leak to their siblings: `iterations` times, each value v becomes
/// v - (damping * r) * v with its own restriction r. Lists of different lengths leave the values
/// as they are and give false. O(values * iterations) at most: a value that has come to rest
/// costs nothing more. docs/protocol.md#diffusion
bool diffuse(std::span<double> values, std::span<const double> restriction, double damping,
             std::uint32_t iterations) noexcept;

/// The candidate with the smallest cost, the first of equal ones, in the IEEE total order (where
/// -0 is below +0 and a NaN with its sign set is below everything). Candidates without a cost and
/// costs without a candidate do not count; with none left it is `fallback`, the value in use.
/// O(candidates). docs/protocol.md#autotune-choice
[[nodiscard]] std::uint32_t autotune_choice(std::span<const std::uint32_t> candidates,
                                            std::span<const double> costs,
                                            std::uint32_t fallback) noexcept;

/// The step -rate * M * g of a natural gradient, M row-major n by n. The result is the first n
/// elements of `out`, or empty when M has fewer than n * n elements or `gradient` or `out` fewer
/// than n. `out` overlaps neither input. Sums run left to right from +0. O(n^2).
/// docs/protocol.md#gradient-step
[[nodiscard]] std::span<const double> natural_gradient_step(std::span<const double> matrix,
                                                            std::span<const double> gradient,
                                                            std::uint32_t n, double rate,
                                                            std::span<double> out) noexcept;

}  // namespace megakernel
