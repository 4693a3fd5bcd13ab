// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
module;
#include <cstdint>
#include <expected>
#include <optional>
export module megakernel.scaling:launch;
import megakernel.protocol;
import megakernel.decoder;
import :explain;
import :policy;
import :recommend;

export namespace megakernel {

/// Slots, required and lookahead, from which a window counts as hot.
inline constexpr std::uint32_t hot_window_slots = 4;

/// The request with what a ring tells: a node count, edge count or
/// density of zero becomes the ring's slots, queue depth or frontier density; the counts of hot
/// opcodes (those with a metric) and hot windows are the ring's; its REQUEUE slots are added.
/// Error: `requeue_count_overflow`. O(windows). docs/protocol.md#launch-from-telemetry
[[nodiscard]] result<launch_request> with_telemetry(const ring_summary& telemetry,
                                                    launch_request request) noexcept;

/// Sizes the next launch by what the ring shows. Errors: `requeue_count_overflow`, then those of
/// `recommend`. O(windows), no allocation.
[[nodiscard]] result<launch_recommendation> recommend_launch(
    const ring_summary& telemetry, const launch_request& request,
    std::optional<launch_topology> previous = std::nullopt) noexcept;
[[nodiscard]] result<launch_recommendation> recommend_launch(
    const ring_telemetry& telemetry, const launch_request& request,
    std::optional<launch_topology> previous = std::nullopt) noexcept;
[[nodiscard]] result<launch_recommendation> recommend_launch(
    const launch_policy& policy, const ring_summary& telemetry, const launch_request& request,
    std::optional<launch_topology> previous = std::nullopt) noexcept;

/// As `recommend_launch`, with reasons.
[[nodiscard]] explanation explain_launch(
    const launch_policy& policy, const ring_summary& telemetry, const launch_request& request,
    std::optional<launch_topology> previous = std::nullopt) noexcept;

/// Counts a requeued slot and its age. Error: `requeue_count_overflow`; then nothing has changed.
[[nodiscard]] result<void> record_requeue(priority_accounting& to, std::uint32_t age) noexcept;
/// Counts a promotion for age. Error: `aged_promotions_overflow`; then nothing has changed.
[[nodiscard]] result<void> record_aged_promotion(priority_accounting& to,
                                                 std::uint32_t age) noexcept;

}  // namespace megakernel
