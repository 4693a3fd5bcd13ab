// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
module;
#include <cstdint>
#include <expected>
#include <optional>
#include <string_view>
export module megakernel.scaling:recommend;
import megakernel.protocol;
import :policy;
import :sizing;

export namespace megakernel {

/// How a launch walks its frontier.
enum class launch_topology : std::uint8_t {
  empty,               ///< nothing is queued
  sparse_frontier,     ///< few nodes are active: expand from a queue of them
  hybrid_frontier,     ///< between the two
  dense_frontier,      ///< many nodes are active: sweep them all
  fused_dense,         ///< dense, large and hot: sweep with fused operations
  memory_constrained,  ///< memory is short: fewer workers, smaller buffers
};

/// How much work there is for the lanes of a launch.
enum class queue_pressure : std::uint8_t {
  empty,
  light,      ///< some lanes have nothing to do
  balanced,   ///< a lane has a few items
  saturated,  ///< a lane has many, or work has already come back
};

/// Who runs the opcodes.
enum class execution_mode : std::uint8_t { interpreter, jit };

/// `"SparseFrontier"` and so on, as in the golden vectors; empty for a value that is none.
[[nodiscard]] std::string_view to_string(launch_topology topology) noexcept;
[[nodiscard]] std::string_view to_string(queue_pressure pressure) noexcept;
[[nodiscard]] std::string_view to_string(execution_mode mode) noexcept;
/// The topology of that name, which is case-sensitive.
[[nodiscard]] std::optional<launch_topology> topology_named(std::string_view text) noexcept;

/// The inputs for the next launch. Zero means "not known" or "choose for me" where a
/// comment says so. docs/protocol.md#launch-request
struct launch_request {
  std::uint32_t queue_len = 0;                ///< items waiting
  std::uint32_t requested_worker_groups = 0;  ///< zero: as many as suit the adapter
  adapter_limits limits{};
  std::uint32_t requested_hit_capacity = 0;  ///< zero: derived from the queue
  std::uint32_t expected_hits_per_item = 1;  ///< zero counts as one
  std::uint32_t hot_opcode_count = 0;
  std::uint32_t hot_window_count = 0;
  std::uint64_t requeue_count = 0;
  std::uint32_t max_priority_age = 0;
  std::uint32_t graph_node_count = 0;  ///< zero: no graph is known
  std::uint32_t graph_edge_count = 0;
  std::uint16_t frontier_density_bps = 0;  ///< zero: inferred from queue and nodes
  std::uint16_t memory_pressure_bps = 0;   ///< zero: inferred from resident bytes and budget
  std::uint64_t resident_device_bytes = 0;
  std::uint64_t device_memory_budget_bytes = 0;  ///< zero: unbounded

  /// A launch of known size on an adapter of just that size: limits `width`, `groups`, `width`.
  [[nodiscard]] static constexpr launch_request direct(std::uint32_t queue_len,
                                                       std::uint32_t groups,
                                                       std::uint32_t width) noexcept {
    return {.queue_len = queue_len,
            .requested_worker_groups = groups,
            .limits = {.max_workgroup_size_x = width,
                       .max_compute_workgroups_per_dimension = groups,
                       .max_compute_invocations_per_workgroup = width}};
  }
  /// A launch that leaves its size to the adapter.
  [[nodiscard]] static constexpr launch_request on(const adapter_limits& limits,
                                                   std::uint32_t queue_len) noexcept {
    return {.queue_len = queue_len, .limits = limits};
  }
  friend constexpr bool operator==(const launch_request&, const launch_request&) = default;
};

/// The next launch.
struct launch_recommendation {
  launch_geometry geometry{};
  std::uint32_t worker_groups = 1;
  std::uint32_t hit_capacity = 0;
  queue_pressure pressure = queue_pressure::empty;
  execution_mode mode = execution_mode::interpreter;
  launch_topology topology = launch_topology::empty;
  bool promote_hot_opcodes = false;
  bool promote_hot_windows = false;
  bool age_priority_work = false;
  /// Items that get no slot, since whole workgroups of slots would run past 2^32 - 1.
  /// docs/protocol.md#launch-grid
  std::uint32_t slots_short = 0;
  std::uint64_t estimated_peak_device_bytes = 0;
  std::uint64_t device_memory_budget_bytes = 0;
  friend constexpr bool operator==(const launch_recommendation&,
                                   const launch_recommendation&) = default;
};

/// Sizes the next launch by the standard policy, or by `policy`. With the topology of the previous
/// launch, a change needs a clear reason (hysteresis).
///
/// Errors, in this order: `limit_zero`, `hit_capacity_overflow`, `peak_bytes_overflow`,
/// `device_out_of_memory`. O(1), no allocation, nothing is remembered between calls.
[[nodiscard]] result<launch_recommendation> recommend(
    const launch_request& request, std::optional<launch_topology> previous = std::nullopt) noexcept;
[[nodiscard]] result<launch_recommendation> recommend(
    const launch_policy& policy, const launch_request& request,
    std::optional<launch_topology> previous = std::nullopt) noexcept;

}  // namespace megakernel
