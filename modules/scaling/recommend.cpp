// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
module;
#include <array>
#include <cstddef>
#include <cstdint>
#include <expected>
#include <optional>
#include <string_view>
module megakernel.scaling;
import megakernel.protocol;
import :rules;

namespace megakernel {
namespace {

constexpr std::array<std::string_view, 6> topologies{"Empty",          "SparseFrontier",
                                                     "HybridFrontier", "DenseFrontier",
                                                     "FusedDense",     "MemoryConstrained"};
constexpr std::array<std::string_view, 4> pressures{"Empty", "Light", "Balanced", "Saturated"};
constexpr std::array<std::string_view, 2> modes{"Interpreter", "Jit"};

template <std::size_t Count, class Enum>
std::string_view named(const std::array<std::string_view, Count>& names, Enum value) noexcept {
  const auto at = static_cast<std::size_t>(value);
  return at < Count ? names[at] : std::string_view();
}

}  // namespace

std::string_view to_string(launch_topology topology) noexcept {
  return named(topologies, topology);
}
std::string_view to_string(queue_pressure pressure) noexcept { return named(pressures, pressure); }
std::string_view to_string(execution_mode mode) noexcept { return named(modes, mode); }

std::optional<launch_topology> topology_named(std::string_view text) noexcept {
  for (std::size_t i = 0; i < topologies.size(); ++i) {
    if (topologies[i] == text) return static_cast<launch_topology>(i);
  }
  return std::nullopt;
}

result<launch_recommendation> recommend(const launch_request& request,
                                        std::optional<launch_topology> previous) noexcept {
  // Constants, so that the divisions by thresholds are none.
  constexpr policy_parameters standard = launch_policy::standard().parameters();
  constexpr detail::null_trace untraced;
  launch_request effective = request;
  return detail::decide(standard, effective, previous, untraced);
}

result<launch_recommendation> recommend(const launch_policy& policy, const launch_request& request,
                                        std::optional<launch_topology> previous) noexcept {
  constexpr detail::null_trace untraced;
  launch_request effective = request;
  return detail::decide(policy.parameters(), effective, previous, untraced);
}

}  // namespace megakernel
