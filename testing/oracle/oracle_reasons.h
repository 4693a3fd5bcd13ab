// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Why the plain policy decides as it does: the rules that apply to a launch, by their documented
// names, and the numbers each of them compares. It is told from what came out, not on the way.
#pragma once

#include <array>
#include <string_view>
#include <vector>

#include "oracle_scaling.h"

namespace oracle {

struct reason {
  std::string_view rule;
  std::array<wide, 5> numbers{};
};
using reasons = std::vector<reason>;

/// What a ring has to say to a request.
struct ring_signals {
  wide slots = 0, depth = 0, opcodes = 0, windows = 0, requeues = 0;
};

/// Fills what `r` leaves open and appends why. False where its requeues cannot be counted.
inline bool fill(ask& r, const ring_signals& ring, reasons& why) {
  const wide density = ring.slots == 0 ? 0 : ring.depth * 10000 / ring.slots;
  if (r.nodes == 0) why.push_back({"ring_stands_for_nodes", {ring.slots}});
  if (r.edges == 0) why.push_back({"ring_stands_for_edges", {ring.depth}});
  if (r.density == 0 && density != 0)
    why.push_back({"ring_stands_for_density", {ring.depth, ring.slots, density}});
  why.push_back({"ring_hot_opcodes", {ring.opcodes}});
  why.push_back({"ring_hot_windows", {ring.windows, 4}});
  if (r.nodes == 0) r.nodes = ring.slots;
  if (r.edges == 0) r.edges = ring.depth;
  if (r.density == 0) r.density = density;
  r.opcodes = ring.opcodes;
  r.windows = ring.windows;
  if (r.requeues + ring.requeues > u64_most) {
    why.push_back({"refused"});
    return false;
  }
  r.requeues += ring.requeues;
  if (ring.requeues != 0) why.push_back({"ring_requeues", {ring.requeues, r.requeues}});
  return true;
}

inline void say_signals(const ask& given, const ask& r, reasons& why) {
  if (given.density != 0)
    why.push_back({"density_given", {r.density}});
  else if (r.density != 0)
    why.push_back({"density_inferred", {r.queue, r.nodes, r.density}});
  else
    why.push_back({"density_unknown"});
  // Less than a basis point of the budget is inferred, too.
  if (given.pressure != 0)
    why.push_back({"memory_given", {r.pressure}});
  else if (r.resident == 0 || r.budget == 0)
    why.push_back({"memory_unknown"});
  else
    why.push_back({"memory_inferred", {r.resident, r.budget, r.pressure}});
}

inline void say_topology(const policy& p, const ask& r, const launch& l, int previous,
                         reasons& why) {
  const wide before = static_cast<unsigned>(previous);
  const wide raw = static_cast<unsigned>(l.raw);
  switch (l.raw) {
    case empty:
      return why.push_back({"nothing_queued"});
    case constrained:
      return why.push_back({"memory_short", {r.pressure, p.pressure}});
    case sparse:
      why.push_back({"frontier_sparse", {r.density, p.sparse}});
      break;
    case hybrid:
      why.push_back({"frontier_between", {r.density, p.sparse, p.dense}});
      break;
    case fused:
      why.push_back({"frontier_fused", {r.density, p.dense, r.edges, p.edges}});
      break;
    default:
      if (r.nodes == 0)
        why.push_back({"frontier_dense_no_graph", {r.density, p.dense}});
      else if (r.edges >= p.edges)
        why.push_back({"frontier_dense_cold", {r.density, p.dense}});
      else
        why.push_back({"frontier_dense_few_edges", {r.density, p.dense, r.edges, p.edges}});
  }
  if (previous == none) return;
  if (previous == l.raw)
    why.push_back({"previous_same", {before}});
  else if (l.shape == l.raw)
    why.push_back({"previous_left", {before, raw}});
  else if (previous == constrained)
    why.push_back(
        {"memory_held", {r.pressure, p.pressure - p.pressure_margin, p.pressure, before}});
  else if (previous == sparse)
    why.push_back({"held_below", {r.density, p.sparse + p.margin, p.sparse, before}});
  else if (l.raw == sparse)
    why.push_back({"held_above", {r.density, p.sparse - p.margin, p.sparse, before}});
  else if (previous == hybrid)
    why.push_back({"held_below", {r.density, p.dense + p.margin, p.dense, before}});
  else
    why.push_back({"held_above", {r.density, p.dense - p.margin, p.dense, before}});
}

inline void say_workers(const policy& p, const ask& r, const launch& l, reasons& why) {
  if (l.shed != 0)
    why.push_back({"workers_shed", {r.groups, l.shed, l.wanted, r.pressure}});
  else if (l.counted != 0)
    why.push_back(
        {"workers_few_active", {r.groups, l.counted, std::max<wide>(p.sparse, 1), l.wanted}});
  else if (r.groups != 0)
    why.push_back({"workers_requested", {r.groups}});
  if (l.error == "limit_zero") return;
  if (l.wanted == 0)
    why.push_back({"workers_occupancy", {l.groups, r.dimension, r.invocations}});
  else if (l.wanted > l.groups)
    why.push_back({"workers_clipped", {l.wanted, r.dimension}});
}

inline void say_geometry(const ask& r, const launch& l, reasons& why) {
  if (l.width == l.groups)
    why.push_back({"width_of_workers", {l.width}});
  else
    why.push_back({"width_clipped", {l.groups, r.width}});
  if (l.short_by != 0)
    why.push_back({"slots_saturated", {l.slots, r.queue, l.short_by}});
  else if (l.slots == r.queue)
    why.push_back({"slots_exact", {r.queue}});
  else
    why.push_back({"slots_padded", {l.slots, r.queue, l.width}});
  const wide covering = l.slots / l.width;
  if (l.grid == covering)
    why.push_back({"grid_covers", {l.grid, l.width}});
  else if (l.grid == l.groups)
    why.push_back({"grid_capped_by_workers", {l.grid, covering}});
  else
    why.push_back({"grid_capped_by_policy", {l.grid, covering}});
}

inline void say_pressure(const policy& p, const ask& r, const launch& l, reasons& why) {
  const wide lanes = l.grid * l.width;
  if (r.queue == 0)
    why.push_back({"queue_empty"});
  else if (r.requeues > 0)
    why.push_back({"queue_requeued", {r.requeues}});
  else if (l.load == 3)
    why.push_back({"queue_waves", {r.queue, lanes, p.waves}});
  else if (l.load == 2)
    why.push_back({"queue_fills_lanes", {r.queue, lanes, p.waves}});
  else
    why.push_back({"queue_short_of_lanes", {r.queue, lanes}});
}

inline void say_memory(const policy& p, const ask& r, const launch& l, reasons& why) {
  const wide each = std::max<wide>(1, r.hits_each);
  const bool tight = r.pressure >= p.pressure;
  const wide derived = r.queue * each * (tight ? 1 : p.multiplier);
  if (l.error == "hit_capacity_overflow") return;
  if (r.hits != 0)
    why.push_back({"hits_requested", {r.hits}});
  else if (derived < p.min_hits)
    why.push_back({"hits_minimum", {derived, p.min_hits}});
  else if (tight)
    why.push_back({"hits_derived_tight", {r.queue, each, derived, r.pressure}});
  else
    why.push_back({"hits_derived", {r.queue, each, p.multiplier, derived}});
  if (!l.error.empty()) return;
  if (r.budget == 0)
    why.push_back({"peak_unbounded", {l.peak, r.resident, l.hits, p.scratch}});
  else
    why.push_back({"peak_within_budget", {l.peak, r.resident, l.hits, p.scratch, r.budget}});
}

/// Appends why `l` is the launch of `given`.
inline void explain(const policy& p, const ask& given, int previous, const launch& l,
                    reasons& why) {
  const ask r = inferred(given);
  say_signals(given, r, why);
  why.push_back({l.hot_opcodes ? "opcodes_hot" : "opcodes_cold", {r.opcodes, p.hot_opcodes}});
  why.push_back({l.hot_windows ? "windows_hot" : "windows_cold", {r.windows, p.hot_windows}});
  say_topology(p, r, l, previous, why);
  say_workers(p, r, l, why);
  if (l.error == "limit_zero") return why.push_back({"refused"});
  say_geometry(r, l, why);
  say_pressure(p, r, l, why);
  say_memory(p, r, l, why);
  if (!l.error.empty()) return why.push_back({"refused"});
  if (r.queue >= p.jit)
    why.push_back({"jit_long_queue", {r.queue, p.jit}});
  else if (l.jit)
    why.push_back({"jit_hot"});
  else
    why.push_back({"interpreter_suffices", {r.queue, p.jit}});
  if (r.requeues > 0)
    why.push_back({"age_requeued", {r.requeues}});
  else
    why.push_back({l.ages ? "age_old" : "age_young", {r.age, p.old}});
}

}  // namespace oracle
