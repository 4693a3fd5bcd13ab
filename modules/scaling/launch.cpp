// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
module;
#include <algorithm>
#include <cstdint>
#include <expected>
#include <limits>
#include <optional>
#include <span>
module megakernel.scaling;
import megakernel.protocol;
import megakernel.decoder;
import :rules;

namespace megakernel {
namespace {

constexpr std::uint64_t most = std::numeric_limits<std::uint64_t>::max();

template <class Recorder>
result<void> fill(const ring_summary& telemetry, launch_request& request, Recorder& recorder) {
  const runtime_counters ring = telemetry.counters();
  if (request.graph_node_count == 0) {
    request.graph_node_count = ring.total_slots;
    recorder.record(rule::ring_stands_for_nodes, ring.total_slots);
  }
  if (request.graph_edge_count == 0) {
    request.graph_edge_count = ring.queue_depth;
    recorder.record(rule::ring_stands_for_edges, ring.queue_depth);
  }
  if (request.frontier_density_bps == 0 && ring.frontier_density_bps != 0) {
    // At most 10,000: a share of the ring.
    request.frontier_density_bps = static_cast<std::uint16_t>(ring.frontier_density_bps);
    recorder.record(rule::ring_stands_for_density, ring.queue_depth, ring.total_slots,
                    ring.frontier_density_bps);
  }
  request.hot_opcode_count = telemetry.control().metrics().size();
  recorder.record(rule::ring_hot_opcodes, request.hot_opcode_count);
  request.hot_window_count = static_cast<std::uint32_t>(
      std::ranges::count_if(telemetry.windows(), [](const window_telemetry& w) {
        return std::uint64_t{w.required_slots} + w.lookahead_slots >= hot_window_slots;
      }));
  recorder.record(rule::ring_hot_windows, request.hot_window_count, hot_window_slots);
  const std::uint64_t requeued = telemetry.occupancy().requeue;
  if (requeued > most - request.requeue_count) {
    recorder.record(rule::refused);
    return std::unexpected(error{.code = error_code::requeue_count_overflow,
                                 .found = request.requeue_count,
                                 .bound = requeued});
  }
  request.requeue_count += requeued;
  if (requeued != 0) recorder.record(rule::ring_requeues, requeued, request.requeue_count);
  return {};
}

template <class Recorder>
result<launch_recommendation> decide(const policy_parameters& policy, const ring_summary& telemetry,
                                     launch_request& request,
                                     std::optional<launch_topology> previous, Recorder& recorder) {
  if (const auto filled = fill(telemetry, request, recorder); !filled)
    return std::unexpected(filled.error());
  return detail::decide(policy, request, previous, recorder);
}

}  // namespace

result<launch_request> with_telemetry(const ring_summary& telemetry,
                                      launch_request request) noexcept {
  constexpr detail::null_trace untraced;
  if (const auto filled = fill(telemetry, request, untraced); !filled)
    return std::unexpected(filled.error());
  return request;
}

result<launch_recommendation> recommend_launch(const launch_policy& policy,
                                               const ring_summary& telemetry,
                                               const launch_request& request,
                                               std::optional<launch_topology> previous) noexcept {
  constexpr detail::null_trace untraced;
  launch_request effective = request;
  return decide(policy.parameters(), telemetry, effective, previous, untraced);
}

result<launch_recommendation> recommend_launch(const ring_summary& telemetry,
                                               const launch_request& request,
                                               std::optional<launch_topology> previous) noexcept {
  constexpr launch_policy standard = launch_policy::standard();
  return recommend_launch(standard, telemetry, request, previous);
}

result<launch_recommendation> recommend_launch(const ring_telemetry& telemetry,
                                               const launch_request& request,
                                               std::optional<launch_topology> previous) noexcept {
  return recommend_launch(telemetry.summary(), request, previous);
}

explanation explain_launch(const launch_policy& policy, const ring_summary& telemetry,
                           const launch_request& request,
                           std::optional<launch_topology> previous) noexcept {
  explanation why;
  launch_request effective = request;
  const auto outcome = decide(policy.parameters(), telemetry, effective, previous, why);
  why.finish(effective, outcome);
  return why;
}

// docs/protocol.md#priority-accounting
result<void> record_requeue(priority_accounting& to, std::uint32_t age) noexcept {
  if (to.requeue_count == most) {
    return std::unexpected(
        error{.code = error_code::requeue_count_overflow, .found = to.requeue_count, .bound = 1});
  }
  ++to.requeue_count;
  to.max_priority_age = std::max(to.max_priority_age, age);
  return {};
}

result<void> record_aged_promotion(priority_accounting& to, std::uint32_t age) noexcept {
  if (to.aged_promotions == most) {
    return std::unexpected(error{
        .code = error_code::aged_promotions_overflow, .found = to.aged_promotions, .bound = 1});
  }
  ++to.aged_promotions;
  to.max_priority_age = std::max(to.max_priority_age, age);
  return {};
}

}  // namespace megakernel
