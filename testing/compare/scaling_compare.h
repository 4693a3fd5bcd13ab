// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Between the library's launches and those of the plain policy. Include it after the library.
#pragma once

namespace props::scaling {

using namespace megakernel;

inline oracle::ask oracle_of(const launch_request& r) {
  return {.queue = r.queue_len,
          .groups = r.requested_worker_groups,
          .width = r.limits.max_workgroup_size_x,
          .dimension = r.limits.max_compute_workgroups_per_dimension,
          .invocations = r.limits.max_compute_invocations_per_workgroup,
          .hits = r.requested_hit_capacity,
          .hits_each = r.expected_hits_per_item,
          .opcodes = r.hot_opcode_count,
          .windows = r.hot_window_count,
          .requeues = r.requeue_count,
          .age = r.max_priority_age,
          .nodes = r.graph_node_count,
          .edges = r.graph_edge_count,
          .density = r.frontier_density_bps,
          .pressure = r.memory_pressure_bps,
          .resident = r.resident_device_bytes,
          .budget = r.device_memory_budget_bytes};
}

inline oracle::policy oracle_of(const policy_parameters& p) {
  return {.divisor = p.sizing.occupancy_divisor,
          .most_groups = p.sizing.max_dispatch_groups,
          .powerful_from = p.sizing.powerful_invocations,
          .powerful_groups = p.sizing.powerful_worker_groups,
          .min_hits = p.min_hit_capacity,
          .multiplier = p.hit_capacity_multiplier,
          .waves = p.saturated_waves,
          .hot_opcodes = p.hot_opcode_threshold,
          .hot_windows = p.hot_window_threshold,
          .jit = p.jit_queue_len_threshold,
          .old = p.priority_age_threshold,
          .sparse = p.sparse_bps,
          .dense = p.dense_bps,
          .margin = p.frontier_hysteresis_bps,
          .pressure = p.memory_pressure_bps,
          .pressure_margin = p.memory_hysteresis_bps,
          .edges = p.fusion_edge_threshold,
          .scratch = p.scratch_bytes_per_hit};
}

inline int oracle_of(std::optional<launch_topology> t) {
  return t ? static_cast<int>(*t) : static_cast<int>(oracle::none);
}

/// Where the library's answer differs from the plain one; empty where it does not.
inline std::string difference(const result<launch_recommendation>& got,
                              const oracle::launch& wanted) {
  if (!got) {
    const error& e = got.error();
    if (to_string(e.code) != wanted.error) return "error " + std::string(to_string(e.code));
    if (e.index != wanted.index || e.found != wanted.found || e.bound != wanted.bound)
      return "an error's operands";
    return {};
  }
  if (!wanted.error.empty()) return "no error " + wanted.error;
  const launch_recommendation& r = *got;
  if (static_cast<int>(r.topology) != wanted.shape) return "topology";
  if (r.worker_groups != wanted.groups) return "worker_groups";
  if (r.geometry.workgroup_size_x != wanted.width) return "workgroup_size_x";
  if (r.geometry.slot_count != wanted.slots) return "slot_count";
  if (r.geometry.dispatch_grid[0] != wanted.grid) return "dispatch_grid";
  if (r.geometry.dispatch_grid[1] != 1 || r.geometry.dispatch_grid[2] != 1) return "a flat grid";
  if (r.slots_short != wanted.short_by) return "slots_short";
  if (static_cast<int>(r.pressure) != wanted.load) return "pressure";
  if (r.hit_capacity != wanted.hits) return "hit_capacity";
  if (r.estimated_peak_device_bytes != wanted.peak) return "peak";
  if (r.device_memory_budget_bytes != wanted.budget) return "budget";
  if ((r.mode == execution_mode::jit) != wanted.jit) return "mode";
  if (r.promote_hot_opcodes != wanted.hot_opcodes) return "promote_hot_opcodes";
  if (r.promote_hot_windows != wanted.hot_windows) return "promote_hot_windows";
  if (r.age_priority_work != wanted.ages) return "age_priority_work";
  return {};
}

/// Which reason is not the plain one; empty where all are.
inline std::string difference(std::span<const reason> got, const oracle::reasons& wanted) {
  for (std::size_t i = 0; i < std::max(got.size(), wanted.size()); ++i) {
    if (i == got.size()) return "no reason " + std::string(wanted[i].rule);
    if (i == wanted.size()) return "a reason too many: " + std::string(got[i].name());
    if (got[i].name() != wanted[i].rule)
      return std::string(got[i].name()) + " instead of " + std::string(wanted[i].rule);
    for (std::size_t n = 0; n < wanted[i].numbers.size(); ++n)
      if (got[i].numbers[n] != wanted[i].numbers[n])
        return "a number of " + std::string(wanted[i].rule);
  }
  return {};
}

/// A whole explanation, of a launch that was decided on `given`.
inline std::string difference(const explanation& why, const oracle::policy& policy,
                              const oracle::ask& given, int previous, oracle::reasons so_far = {}) {
  const oracle::launch wanted = oracle::recommend(policy, given, previous);
  oracle::explain(policy, given, previous, wanted, so_far);
  if (auto what = difference(why.outcome(), wanted); !what.empty()) return what;
  const oracle::ask decided = oracle::inferred(given);
  if (why.request().frontier_density_bps != decided.density ||
      why.request().memory_pressure_bps != decided.pressure)
    return "what was inferred";
  return difference(why.reasons(), so_far);
}

/// Which parameter breaks its bounds first, in the order of `policy_parameter`; nothing where none
/// does.
struct broken_rule {
  std::uint64_t index = 0, found = 0, bound = 0;
};
inline std::optional<broken_rule> broken(const policy_parameters& p) {
  constexpr std::uint64_t any = 0xFFFF'FFFF;
  const std::uint64_t above_dense = p.dense_bps > 10'000 ? 0 : 10'000 - p.dense_bps;
  struct bounds {
    std::uint64_t value, least, most;
  };
  const std::array all{
      bounds{p.sizing.default_workers, 1, any},
      bounds{p.sizing.occupancy_divisor, 1, any},
      bounds{p.sizing.max_dispatch_groups, 1, any},
      bounds{p.sizing.powerful_worker_groups, 1, any},
      bounds{p.hit_capacity_multiplier, 1, any},
      bounds{p.saturated_waves, 1, any},
      bounds{p.dense_bps, 0, 10'000},
      bounds{p.sparse_bps, 0, p.dense_bps},
      bounds{p.frontier_hysteresis_bps, 0, std::min<std::uint64_t>(p.sparse_bps, above_dense)},
      bounds{p.memory_pressure_bps, 0, 10'000},
      bounds{p.memory_hysteresis_bps, 0, p.memory_pressure_bps}};
  for (std::size_t i = 0; i < all.size(); ++i) {
    if (all[i].value < all[i].least) return broken_rule{i, all[i].value, all[i].least};
    if (all[i].value > all[i].most) return broken_rule{i, all[i].value, all[i].most};
  }
  return std::nullopt;
}

}  // namespace props::scaling
