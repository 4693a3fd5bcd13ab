// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The launch policy once more, straight from the specification's text: every number as wide as it
// takes, every division written where the text has it, nothing shared with the library.
#pragma once

#include <algorithm>
#include <cstdint>
#include <string>
#include <vector>

namespace oracle {

using wide = unsigned __int128;

struct policy {
  wide divisor = 256, most_groups = 1024, powerful_from = 4096, powerful_groups = 64;
  wide min_hits = 1024, multiplier = 2, waves = 4, hot_opcodes = 8, hot_windows = 4, jit = 4096;
  wide old = 32, sparse = 500, dense = 4000, margin = 250, pressure = 8500, pressure_margin = 250;
  wide edges = 65536, scratch = 16;
};

struct ask {
  wide queue = 0, groups = 0, width = 0, dimension = 0, invocations = 0, hits = 0, hits_each = 0;
  wide opcodes = 0, windows = 0, requeues = 0, age = 0, nodes = 0, edges = 0, density = 0;
  wide pressure = 0, resident = 0, budget = 0;
  friend bool operator==(const ask&, const ask&) = default;
};

enum topology { empty, sparse, hybrid, dense, fused, constrained, none };

struct launch {
  std::string error;
  wide index = 0, found = 0, bound = 0;
  int raw = empty;  // what the numbers alone say
  int shape = empty;
  int load = 0;  // empty, light, balanced, saturated
  bool jit = false, hot_opcodes = false, hot_windows = false, ages = false;
  wide shed = 0;     // bps of the worker groups that go to save memory; 0: none
  wide counted = 0;  // bps of a sparse frontier, where worker groups follow from it
  wide wanted = 0;   // worker groups before the adapter's limit
  wide groups = 0, width = 0, slots = 0, grid = 0, hits = 0, peak = 0, short_by = 0, budget = 0;
};

inline constexpr wide u32_most = 0xFFFF'FFFFu;
inline constexpr wide u64_most = ~std::uint64_t{0};

inline wide clamp(wide v, wide low, wide high) { return v < low ? low : v > high ? high : v; }
inline wide saturating(wide v) { return std::min(v, u32_most); }

inline wide default_groups(const policy& p, wide dimension, wide invocations) {
  return std::max<wide>(clamp(dimension / p.divisor, 1, p.most_groups),
                        invocations >= p.powerful_from ? p.powerful_groups : 1);
}

/// Rounded up to whole parts, the sum saturating at 32 bits.
inline wide parts_of(wide count, wide part) { return saturating(count + part - 1) / part; }

/// `so_far` has what was decided before.
inline launch refuse(const char* error, wide index, wide found, wide bound,
                     const launch& so_far = {}) {
  launch out = so_far;
  out.error = error;
  out.index = index;
  out.found = found;
  out.bound = bound;
  return out;
}

/// Step 1: the request with what can be inferred filled in.
inline ask inferred(ask r) {
  if (r.density == 0 && r.queue != 0 && r.nodes != 0)
    r.density = clamp(std::min(r.queue, r.nodes) * 10000 / r.nodes, 1, 10000);
  if (r.pressure == 0 && r.budget != 0 && r.resident != 0)
    r.pressure = std::min<wide>(r.resident * 10000 / r.budget, 10000);
  return r;
}

/// Step 3, of what was inferred.
inline int raw_topology(const policy& p, const ask& r) {
  const bool any = r.opcodes >= p.hot_opcodes || r.windows >= p.hot_windows;
  if (r.queue == 0) return empty;
  if (r.pressure >= p.pressure) return constrained;
  if (r.density <= p.sparse) return sparse;
  if (r.density >= p.dense && r.nodes > 0 && r.edges >= p.edges && any) return fused;
  return r.density >= p.dense ? dense : hybrid;
}

inline launch recommend(const policy& p, const ask& given, int previous) {
  launch out;
  // 1
  const ask r = inferred(given);
  // 2
  out.hot_opcodes = r.opcodes >= p.hot_opcodes;
  out.hot_windows = r.windows >= p.hot_windows;
  const bool any = out.hot_opcodes || out.hot_windows;
  // 3
  const int raw = raw_topology(p, r);
  // 4
  int shape = raw;
  if (raw != empty && raw != constrained) {
    if (previous == constrained && r.pressure >= p.pressure - p.pressure_margin)
      shape = constrained;
    else if (previous == sparse && raw != sparse && r.density <= p.sparse + p.margin)
      shape = sparse;
    else if (previous == hybrid && raw == sparse && r.density >= p.sparse - p.margin)
      shape = hybrid;
    else if (previous == hybrid && (raw == dense || raw == fused) &&
             r.density <= p.dense + p.margin)
      shape = hybrid;
    else if (previous == dense && raw == hybrid && r.density >= p.dense - p.margin)
      shape = dense;
    else if (previous == fused && raw == hybrid && r.density >= p.dense - p.margin &&
             r.edges >= p.edges && any)
      shape = fused;
  }
  out.raw = raw;
  out.shape = shape;
  // 5
  wide groups = r.groups;
  if (shape == constrained && r.pressure != 0 && groups > 1) {
    const wide span = std::max<wide>(10000 - p.pressure, 1);
    const wide over = std::min(r.pressure > p.pressure ? r.pressure - p.pressure : 0, span);
    out.shed = 2500 + over * 2500 / span;
    groups = std::max<wide>(1, groups * (10000 - out.shed) / 10000);
  }
  if (shape == sparse && r.nodes != 0 && r.density != 0 && groups > 1) {
    const wide span = std::max<wide>(p.sparse, 1);
    out.counted = clamp(r.density, 1, span);
    const wide scaled = groups * out.counted / span;
    groups = std::min(groups, std::max(scaled, std::min<wide>(groups, 32)));
  }
  out.wanted = groups;
  // 6
  const wide limits[] = {r.width, r.dimension, r.invocations};
  for (unsigned i = 0; i < 3; ++i) {
    if (limits[i] == 0) return refuse("limit_zero", i, 0, 1, out);
  }
  const wide occupancy = std::min(default_groups(p, r.dimension, r.invocations), r.dimension);
  out.groups = std::max<wide>(1, groups == 0 ? occupancy : std::min(groups, r.dimension));
  out.width = clamp(out.groups, 1, std::max<wide>(1, r.width));
  out.slots = saturating(parts_of(std::max<wide>(r.queue, 1), out.width) * out.width);
  out.grid = std::min({std::max<wide>(1, parts_of(out.slots, out.width)),
                       std::max<wide>(1, out.groups), p.most_groups});
  if (out.slots < r.queue) out.short_by = r.queue - out.slots;
  // 7
  const wide lanes = out.grid * out.width;
  if (r.queue == 0)
    out.load = 0;
  else if (r.requeues > 0 || r.queue >= p.waves * std::max<wide>(lanes, 1))
    out.load = 3;
  else if (r.queue >= lanes)
    out.load = 2;
  else
    out.load = 1;
  // 8
  const wide m = r.pressure >= p.pressure ? 1 : p.multiplier;
  const wide each = std::max<wide>(1, r.hits_each);
  if (r.hits != 0) {
    out.hits = r.hits;
  } else {
    if (r.queue * each * m > u32_most)
      return refuse("hit_capacity_overflow", r.queue, each, m, out);
    out.hits = std::max(p.min_hits, r.queue * each * m);
  }
  // 9
  const wide scratch = out.hits * p.scratch;
  if (r.resident + scratch > u64_most)
    return refuse("peak_bytes_overflow", 0, r.resident, scratch, out);
  out.peak = r.resident + scratch;
  out.budget = r.budget;
  if (r.budget != 0 && out.peak > r.budget)
    return refuse("device_out_of_memory", 0, out.peak, r.budget, out);
  // 10
  out.jit = r.queue >= p.jit || any || shape == fused;
  out.ages = r.requeues > 0 || r.age >= p.old;
  return out;
}

}  // namespace oracle
