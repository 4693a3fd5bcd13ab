// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
module;
#include <algorithm>
#include <cstdint>
#include <expected>
#include <limits>
#include <optional>
#include <type_traits>
module megakernel.scaling:rules;
import megakernel.protocol;
import :explain;
import :policy;
import :recommend;
import :sizing;

/// The policy, once. `recommend` runs them with a recorder that does nothing, `explain`
/// with one that keeps what it is told.
namespace megakernel::detail {

struct null_trace {
  template <class... Numbers>
  constexpr void record(rule, Numbers...) const noexcept {}
};

/// Basis points of worker groups that go at the memory threshold; as many again go over the rest
/// of the way to 100 %.
inline constexpr std::uint32_t shed_bps = 2500;
/// A sparse frontier keeps at least this many worker groups, where as many were asked for.
inline constexpr std::uint32_t sparse_groups_floor = 32;

template <class Recorder>
class policy_evaluator {
 public:
  constexpr policy_evaluator(const policy_parameters& policy, launch_request& request,
                             std::optional<launch_topology> previous, Recorder& recorder) noexcept
      : policy_(policy), request_(request), previous_(previous), recorder_(recorder) {}

  constexpr result<launch_recommendation> operator()() noexcept {
    infer_density();
    infer_memory_pressure();
    promote();
    topology_ = hold(raw_topology());
    const std::uint32_t workers = scaled_workers();
    if (const auto checked = check(request_.limits); !checked) [[unlikely]]
      return refuse(checked.error());

    launch_recommendation out;
    out.worker_groups = worker_groups(workers);
    out.geometry = geometry(out.worker_groups);
    if (out.geometry.slot_count < request_.queue_len)
      out.slots_short = request_.queue_len - out.geometry.slot_count;
    out.pressure = pressure(out.geometry.lanes());
    const auto hits = hit_capacity();
    if (!hits) [[unlikely]]
      return refuse(hits.error());
    const auto peak = peak_bytes(*hits);
    if (!peak) [[unlikely]]
      return refuse(peak.error());
    out.hit_capacity = *hits;
    out.estimated_peak_device_bytes = *peak;
    out.device_memory_budget_bytes = request_.device_memory_budget_bytes;
    out.topology = topology_;
    out.promote_hot_opcodes = hot_opcodes_;
    out.promote_hot_windows = hot_windows_;
    out.mode = mode();
    out.age_priority_work = ages();
    return out;
  }

 private:
  static constexpr bool records = !std::is_same_v<std::remove_const_t<Recorder>, null_trace>;

  template <class... Numbers>
  constexpr void record(rule by, Numbers... numbers) const noexcept {
    recorder_.record(by, static_cast<std::uint64_t>(numbers)...);
  }
  [[nodiscard]] constexpr std::unexpected<error> refuse(const error& why) const noexcept {
    record(rule::refused);
    return std::unexpected(why);
  }
  [[nodiscard]] constexpr bool promotes() const noexcept { return hot_opcodes_ | hot_windows_; }
  [[nodiscard]] constexpr bool memory_is_short() const noexcept {
    return request_.memory_pressure_bps >= policy_.memory_pressure_bps;
  }

  /// docs/protocol.md#infer-inputs
  constexpr void infer_density() noexcept {
    const std::uint32_t nodes = request_.graph_node_count;
    if (request_.frontier_density_bps != 0) {
      record(rule::density_given, request_.frontier_density_bps);
    } else if (request_.queue_len != 0 && nodes != 0) {
      const std::uint64_t active = std::min(request_.queue_len, nodes);
      request_.frontier_density_bps = static_cast<std::uint16_t>(
          std::clamp<std::uint64_t>(active * whole_bps / nodes, 1, whole_bps));
      record(rule::density_inferred, request_.queue_len, nodes, request_.frontier_density_bps);
    } else {
      record(rule::density_unknown);
    }
  }

  /// docs/protocol.md#infer-inputs
  constexpr void infer_memory_pressure() noexcept {
    const std::uint64_t resident = request_.resident_device_bytes;
    const std::uint64_t budget = request_.device_memory_budget_bytes;
    if (request_.memory_pressure_bps != 0) {
      record(rule::memory_given, request_.memory_pressure_bps);
    } else if (budget != 0 && resident != 0) {
      request_.memory_pressure_bps = share_bps(resident, budget);
      record(rule::memory_inferred, resident, budget, request_.memory_pressure_bps);
    } else {
      record(rule::memory_unknown);
    }
  }

  /// min(part * 10^4 / whole, 10^4), rounded down as if in 128 bits.
  static constexpr std::uint16_t share_bps(std::uint64_t part, std::uint64_t whole) noexcept {
    if (part >= whole) return whole_bps;
    if (part <= std::numeric_limits<std::uint64_t>::max() / whole_bps)
      return static_cast<std::uint16_t>(part * whole_bps / whole);
    return static_cast<std::uint16_t>(static_cast<unsigned __int128>(part) * whole_bps / whole);
  }

  /// docs/protocol.md#promotion
  constexpr void promote() noexcept {
    hot_opcodes_ = request_.hot_opcode_count >= policy_.hot_opcode_threshold;
    hot_windows_ = request_.hot_window_count >= policy_.hot_window_threshold;
    record(hot_opcodes_ ? rule::opcodes_hot : rule::opcodes_cold, request_.hot_opcode_count,
           policy_.hot_opcode_threshold);
    record(hot_windows_ ? rule::windows_hot : rule::windows_cold, request_.hot_window_count,
           policy_.hot_window_threshold);
  }

  /// The topology by the numbers alone. docs/protocol.md#raw-topology
  [[nodiscard]] constexpr launch_topology raw_topology() const noexcept {
    using enum launch_topology;
    const std::uint32_t density = request_.frontier_density_bps;
    if (request_.queue_len == 0) {
      record(rule::nothing_queued);
      return empty;
    }
    if (memory_is_short()) {
      record(rule::memory_short, request_.memory_pressure_bps, policy_.memory_pressure_bps);
      return memory_constrained;
    }
    if (density <= policy_.sparse_bps) {
      record(rule::frontier_sparse, density, policy_.sparse_bps);
      return sparse_frontier;
    }
    if (density < policy_.dense_bps) {
      record(rule::frontier_between, density, policy_.sparse_bps, policy_.dense_bps);
      return hybrid_frontier;
    }
    const std::uint32_t edges = request_.graph_edge_count;
    if (request_.graph_node_count == 0) {
      record(rule::frontier_dense_no_graph, density, policy_.dense_bps);
    } else if (edges < policy_.fusion_edge_threshold) {
      record(rule::frontier_dense_few_edges, density, policy_.dense_bps, edges,
             policy_.fusion_edge_threshold);
    } else if (!promotes()) {
      record(rule::frontier_dense_cold, density, policy_.dense_bps);
    } else {
      record(rule::frontier_fused, density, policy_.dense_bps, edges,
             policy_.fusion_edge_threshold);
      return fused_dense;
    }
    return dense_frontier;
  }

  /// `raw`, or the previous topology where the numbers are within its margin. Conditions are
  /// combined without branches: which of them holds is hard to predict near a threshold.
  /// docs/protocol.md#hysteresis
  [[nodiscard]] constexpr launch_topology hold(launch_topology raw) const noexcept {
    using enum launch_topology;
    const launch_topology before = previous_.value_or(raw);
    const std::uint32_t density = request_.frontier_density_bps;
    const std::uint32_t pressure = request_.memory_pressure_bps;
    const std::uint32_t margin = policy_.frontier_hysteresis_bps;
    const std::uint32_t sparse_low = policy_.sparse_bps - margin;
    const std::uint32_t sparse_high = policy_.sparse_bps + margin;
    const std::uint32_t dense_low = policy_.dense_bps - margin;
    const std::uint32_t dense_high = policy_.dense_bps + margin;
    const std::uint32_t memory_low = policy_.memory_pressure_bps - policy_.memory_hysteresis_bps;

    const bool open = (raw != empty) & (raw != memory_constrained);
    const bool still_fusable =
        (request_.graph_edge_count >= policy_.fusion_edge_threshold) & promotes();
    const bool was_dense = (before == dense_frontier) | ((before == fused_dense) & still_fusable);
    const bool gets_dense = (raw == dense_frontier) | (raw == fused_dense);
    const bool by_memory = (before == memory_constrained) & (pressure >= memory_low);
    const bool under_sparse =
        (before == sparse_frontier) & (raw != sparse_frontier) & (density <= sparse_high);
    const bool over_sparse =
        (before == hybrid_frontier) & (raw == sparse_frontier) & (density >= sparse_low);
    const bool under_dense = (before == hybrid_frontier) & gets_dense & (density <= dense_high);
    const bool over_dense = was_dense & (raw == hybrid_frontier) & (density >= dense_low);

    if constexpr (records) {
      if (!previous_ || !open) return raw;
      if (by_memory) {
        record(rule::memory_held, pressure, memory_low, policy_.memory_pressure_bps, before);
      } else if (under_sparse) {
        record(rule::held_below, density, sparse_high, policy_.sparse_bps, before);
      } else if (over_sparse) {
        record(rule::held_above, density, sparse_low, policy_.sparse_bps, before);
      } else if (under_dense) {
        record(rule::held_below, density, dense_high, policy_.dense_bps, before);
      } else if (over_dense) {
        record(rule::held_above, density, dense_low, policy_.dense_bps, before);
      } else if (before == raw) {
        record(rule::previous_same, before);
      } else {
        record(rule::previous_left, before, raw);
      }
    }
    const bool held = by_memory | under_sparse | over_sparse | under_dense | over_dense;
    return (open & held) ? before : raw;
  }

  /// The requested worker groups, fewer where the topology calls for it.
  /// docs/protocol.md#worker-scaling
  [[nodiscard]] constexpr std::uint32_t scaled_workers() const noexcept {
    using enum launch_topology;
    const std::uint32_t groups = request_.requested_worker_groups;
    const std::uint32_t pressure_bps = request_.memory_pressure_bps;
    const std::uint32_t density_bps = request_.frontier_density_bps;
    if (groups > 1 && topology_ == memory_constrained && pressure_bps != 0) {
      const std::uint32_t threshold = policy_.memory_pressure_bps;
      const std::uint32_t span = std::max(whole_bps - threshold, 1u);
      const std::uint32_t over = pressure_bps > threshold ? pressure_bps - threshold : 0;
      const std::uint32_t shed = shed_bps + std::min(over, span) * shed_bps / span;
      const auto kept =
          static_cast<std::uint32_t>(std::uint64_t{groups} * (whole_bps - shed) / whole_bps);
      record(rule::workers_shed, groups, shed, kept, pressure_bps);
      return kept;  // at least 1: no more than half of two or more go
    }
    if (groups > 1 && topology_ == sparse_frontier && request_.graph_node_count != 0 &&
        density_bps != 0) {
      const std::uint32_t span = std::max(policy_.sparse_bps, 1u);
      const std::uint32_t counted = std::min(density_bps, span);
      const auto scaled = static_cast<std::uint32_t>(std::uint64_t{groups} * counted / span);
      const std::uint32_t kept = std::max(scaled, std::min(groups, sparse_groups_floor));
      record(rule::workers_few_active, groups, counted, span, kept);
      return kept;
    }
    if (groups != 0) record(rule::workers_requested, groups);
    return groups;
  }

  /// Within the adapter's dimension; as many as suit the adapter when none are asked for.
  /// docs/protocol.md#sizing
  [[nodiscard]] constexpr std::uint32_t worker_groups(std::uint32_t wanted) const noexcept {
    const std::uint32_t most = request_.limits.max_compute_workgroups_per_dimension;
    const std::uint32_t invocations = request_.limits.max_compute_invocations_per_workgroup;
    if (wanted == 0) {
      wanted = default_worker_groups(most, invocations, policy_.sizing);
      record(rule::workers_occupancy, std::min(wanted, most), most, invocations);
    } else if (wanted > most) {
      record(rule::workers_clipped, wanted, most);
    }
    return std::min(wanted, most);
  }

  /// docs/protocol.md#launch-grid
  [[nodiscard]] constexpr launch_geometry geometry(std::uint32_t groups) const noexcept {
    const std::uint32_t queue = request_.queue_len;
    const launch_geometry g =
        geometry_of(queue, groups, request_.limits.max_workgroup_size_x, policy_.sizing);
    const std::uint32_t width = g.workgroup_size_x;
    if (width == groups) {
      record(rule::width_of_workers, width);
    } else {
      record(rule::width_clipped, groups, width);
    }
    if (g.slot_count == queue) {
      record(rule::slots_exact, queue);
    } else if (g.slot_count > queue) {
      record(rule::slots_padded, g.slot_count, queue, width);
    } else {
      record(rule::slots_saturated, g.slot_count, queue, queue - g.slot_count);
    }
    note_grid(g, groups);
    return g;
  }

  constexpr void note_grid(const launch_geometry& g, std::uint32_t groups) const noexcept {
    const std::uint32_t launched = g.dispatch_grid[0];
    const auto covering = [&g] { return g.slot_count / g.workgroup_size_x; };
    if constexpr (records) {
      if (launched == covering()) {
        record(rule::grid_covers, launched, g.workgroup_size_x);
      } else {
        record(launched == groups ? rule::grid_capped_by_workers : rule::grid_capped_by_policy,
               launched, covering());
      }
    }
  }

  /// docs/protocol.md#queue-pressure
  [[nodiscard]] constexpr queue_pressure pressure(std::uint32_t lanes) const noexcept {
    using enum queue_pressure;
    const std::uint32_t queue = request_.queue_len;
    if (queue == 0) {
      record(rule::queue_empty);
      return empty;
    }
    if (request_.requeue_count > 0) {
      record(rule::queue_requeued, request_.requeue_count);
      return saturated;
    }
    if (queue >= std::uint64_t{policy_.saturated_waves} * lanes) {
      record(rule::queue_waves, queue, lanes, policy_.saturated_waves);
      return saturated;
    }
    if (queue >= lanes) {
      record(rule::queue_fills_lanes, queue, lanes, policy_.saturated_waves);
      return balanced;
    }
    record(rule::queue_short_of_lanes, queue, lanes);
    return light;
  }

  /// docs/protocol.md#hit-capacity
  [[nodiscard]] constexpr result<std::uint32_t> hit_capacity() const noexcept {
    if (request_.requested_hit_capacity != 0) {
      record(rule::hits_requested, request_.requested_hit_capacity);
      return request_.requested_hit_capacity;
    }
    constexpr std::uint32_t most = std::numeric_limits<std::uint32_t>::max();
    const std::uint32_t queue = request_.queue_len;
    const std::uint32_t each = std::max(1u, request_.expected_hits_per_item);
    const std::uint32_t multiplier = memory_is_short() ? 1 : policy_.hit_capacity_multiplier;
    const std::uint64_t expected = std::uint64_t{queue} * each;
    // Once the first product fits 32 bits, the second fits 64.
    if (expected > most || expected * multiplier > most) [[unlikely]] {
      return std::unexpected(error{.code = error_code::hit_capacity_overflow,
                                   .index = queue,
                                   .found = each,
                                   .bound = multiplier});
    }
    const auto hits = static_cast<std::uint32_t>(expected * multiplier);
    if (hits < policy_.min_hit_capacity) {
      record(rule::hits_minimum, hits, policy_.min_hit_capacity);
      return policy_.min_hit_capacity;
    }
    if (memory_is_short()) {
      record(rule::hits_derived_tight, queue, each, hits, request_.memory_pressure_bps);
    } else {
      record(rule::hits_derived, queue, each, multiplier, hits);
    }
    return hits;
  }

  /// docs/protocol.md#peak-bytes
  [[nodiscard]] constexpr result<std::uint64_t> peak_bytes(std::uint32_t hits) const noexcept {
    const std::uint64_t resident = request_.resident_device_bytes;
    const std::uint64_t budget = request_.device_memory_budget_bytes;
    const std::uint64_t scratch = std::uint64_t{hits} * policy_.scratch_bytes_per_hit;
    if (scratch > std::numeric_limits<std::uint64_t>::max() - resident) [[unlikely]] {
      return std::unexpected(
          error{.code = error_code::peak_bytes_overflow, .found = resident, .bound = scratch});
    }
    const std::uint64_t peak = resident + scratch;
    if (budget == 0) {
      record(rule::peak_unbounded, peak, resident, hits, policy_.scratch_bytes_per_hit);
    } else if (peak > budget) [[unlikely]] {
      return std::unexpected(
          error{.code = error_code::device_out_of_memory, .found = peak, .bound = budget});
    } else {
      record(rule::peak_within_budget, peak, resident, hits, policy_.scratch_bytes_per_hit, budget);
    }
    return peak;
  }

  /// docs/protocol.md#execution-mode
  [[nodiscard]] constexpr execution_mode mode() const noexcept {
    const std::uint32_t queue = request_.queue_len;
    if (queue >= policy_.jit_queue_len_threshold) {
      record(rule::jit_long_queue, queue, policy_.jit_queue_len_threshold);
    } else if (promotes()) {  // as every FusedDense launch does
      record(rule::jit_hot);
    } else {
      record(rule::interpreter_suffices, queue, policy_.jit_queue_len_threshold);
      return execution_mode::interpreter;
    }
    return execution_mode::jit;
  }

  /// docs/protocol.md#execution-mode
  [[nodiscard]] constexpr bool ages() const noexcept {
    if (request_.requeue_count > 0) {
      record(rule::age_requeued, request_.requeue_count);
      return true;
    }
    const bool old = request_.max_priority_age >= policy_.priority_age_threshold;
    record(old ? rule::age_old : rule::age_young, request_.max_priority_age,
           policy_.priority_age_threshold);
    return old;
  }

  const policy_parameters& policy_;
  launch_request& request_;
  std::optional<launch_topology> previous_;
  Recorder& recorder_;
  launch_topology topology_ = launch_topology::empty;
  bool hot_opcodes_ = false;
  bool hot_windows_ = false;
};

/// Decides on `request`, which then holds what was inferred.
template <class Recorder>
constexpr result<launch_recommendation> decide(const policy_parameters& policy,
                                               launch_request& request,
                                               std::optional<launch_topology> previous,
                                               Recorder& recorder) noexcept {
  return policy_evaluator<Recorder>(policy, request, previous, recorder)();
}

}  // namespace megakernel::detail
