// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Laws of the scaling policy: what every launch keeps, what grows with what, and where it turns.
#include <rapidcheck.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <expected>
#include <string_view>

#include "scaling_support.h"

import megakernel;

namespace {

using namespace props::scaling;
using namespace megakernel;

void invariants() {
  prng d(*seeds());
  constexpr policy_parameters p = launch_policy::standard().parameters();
  for (int i = 0; i < rounds; ++i) {
    const launch_request request = any_request(d, p);
    const auto got = recommend(request, any_topology(d));
    if (!got) continue;
    const launch_geometry& g = got->geometry;
    const std::uint64_t lanes = std::uint64_t{g.dispatch_grid[0]} * g.workgroup_size_x;
    const adapter_limits& limits = request.limits;
    RC_ASSERT(got->worker_groups >= 1);
    RC_ASSERT(got->worker_groups <= limits.max_compute_workgroups_per_dimension);
    if (request.requested_worker_groups != 0)
      RC_ASSERT(got->worker_groups <= request.requested_worker_groups);
    RC_ASSERT(g.workgroup_size_x >= 1 && g.workgroup_size_x <= limits.max_workgroup_size_x);
    RC_ASSERT(g.dispatch_grid[0] >= 1 && g.dispatch_grid[0] <= got->worker_groups);
    RC_ASSERT(g.dispatch_grid[0] <= 1024u);
    RC_ASSERT(g.slot_count % g.workgroup_size_x == 0u);
    RC_ASSERT(lanes == g.lanes() && lanes <= g.slot_count);
    const bool capped = g.dispatch_grid[0] == std::min(got->worker_groups, 1024u);
    RC_ASSERT(lanes == g.slot_count || capped);
    RC_ASSERT(std::uint64_t{g.slot_count} + got->slots_short >= request.queue_len);
    RC_ASSERT(got->slots_short == 0 || g.slot_count + got->slots_short == request.queue_len);
    RC_ASSERT(got->slots_short < g.workgroup_size_x);
    RC_ASSERT(got->topology != launch_topology::fused_dense || got->mode == execution_mode::jit);
    RC_ASSERT((got->topology == launch_topology::empty) == (request.queue_len == 0));
    RC_ASSERT(got->hit_capacity >= 1024u || got->hit_capacity == request.requested_hit_capacity);
  }
}

/// More work never needs fewer slots, workgroups, hits or bytes.
void monotone_in_queue() {
  prng d(*seeds());
  for (int i = 0; i < rounds; ++i) {
    launch_request request = easy_request(d);
    const auto small = recommend(request);
    request.queue_len += d.pick({1u, 2u, d.below(1u << 20)});
    const auto large = recommend(request);
    RC_ASSERT(small.has_value() && large.has_value());
    RC_ASSERT(small->topology == large->topology);
    RC_ASSERT(small->worker_groups == large->worker_groups);
    RC_ASSERT(small->geometry.slot_count <= large->geometry.slot_count);
    RC_ASSERT(small->geometry.dispatch_grid[0] <= large->geometry.dispatch_grid[0]);
    RC_ASSERT(small->hit_capacity <= large->hit_capacity);
    RC_ASSERT(small->estimated_peak_device_bytes <= large->estimated_peak_device_bytes);
  }
}

/// More pressure never keeps more workers; a denser sparse frontier never fewer.
void monotone_in_signals() {
  prng d(*seeds());
  for (int i = 0; i < rounds; ++i) {
    launch_request request = easy_request(d);
    request.requested_worker_groups = d.between(1, 1u << 20);
    request.limits.max_compute_workgroups_per_dimension = most32;
    const auto groups = [&] { return recommend(request).value().worker_groups; };
    request.memory_pressure_bps = static_cast<std::uint16_t>(d.between(8500, 12'000));
    const std::uint32_t light = groups();
    request.memory_pressure_bps =
        static_cast<std::uint16_t>(request.memory_pressure_bps + d.below(3000));
    RC_ASSERT(groups() <= light);
    RC_ASSERT(groups() >= std::max(1u, request.requested_worker_groups / 2));
    request.memory_pressure_bps = 1;
    request.frontier_density_bps = static_cast<std::uint16_t>(d.between(1, 500));
    const std::uint32_t thin = groups();
    request.frontier_density_bps =
        static_cast<std::uint16_t>(d.between(request.frontier_density_bps, 500));
    RC_ASSERT(groups() >= thin);
    RC_ASSERT(thin >= std::min(32u, request.requested_worker_groups));
  }
}

/// Wherever a walk goes within the margin of a threshold, the topology stays what it was.
void hysteresis_walk() {
  prng d(*seeds());
  constexpr policy_parameters p = launch_policy::standard().parameters();
  launch_request request = easy_request(d);
  request.graph_edge_count = p.fusion_edge_threshold + d.below(3);
  request.hot_opcode_count = d.one_in(2) ? p.hot_opcode_threshold : 0;
  const bool by_memory = d.one_in(3);
  const bool low = d.one_in(2);
  const std::uint32_t centre = by_memory ? p.memory_pressure_bps : low ? p.sparse_bps : p.dense_bps;
  const std::uint32_t margin = by_memory ? p.memory_hysteresis_bps : p.frontier_hysteresis_bps;
  std::uint16_t& signal = by_memory ? request.memory_pressure_bps : request.frontier_density_bps;

  // From below and from above: what holds just outside the band holds all through it.
  const bool from_below = !by_memory && d.one_in(2);
  signal = static_cast<std::uint16_t>(from_below ? centre - margin - 1 : centre + margin + 1);
  const auto start = recommend(request).value().topology;
  auto last = start;
  for (int step = 0; step < rounds; ++step) {
    // Memory constrains at its threshold at once, so only its way out is held.
    signal = static_cast<std::uint16_t>(d.between(centre - margin, centre + margin));
    last = recommend(request, last).value().topology;
    RC_ASSERT(last == start);
  }
  // One past the band it gives way.
  signal = static_cast<std::uint16_t>(from_below ? centre + margin + 1 : centre - margin - 1);
  RC_ASSERT(recommend(request, last).value().topology != start);
}

void exact_edges() {
  prng d(*seeds());
  launch_request request = easy_request(d);
  // Hits: the largest queue whose product fits, and one more.
  const std::uint32_t each = d.between(1, 1000);
  const bool tight = d.one_in(2);
  const std::uint32_t multiplier = tight ? 1 : 2;
  request.memory_pressure_bps = tight ? 8500 : 8499;
  request.expected_hits_per_item = each;
  request.queue_len = most32 / (each * multiplier);
  RC_ASSERT(recommend(request).has_value());
  if (request.queue_len != most32) {
    ++request.queue_len;
    RC_ASSERT(refused(recommend(request), {.code = error_code::hit_capacity_overflow,
                                           .index = request.queue_len,
                                           .found = each,
                                           .bound = multiplier}));
  }
  // Bytes: the most resident ones that leave room for the hits, and one more.
  request.requested_hit_capacity = d.between(1, most32);
  const std::uint64_t scratch = std::uint64_t{request.requested_hit_capacity} * 16;
  request.resident_device_bytes = most64 - scratch;
  RC_ASSERT(recommend(request).value().estimated_peak_device_bytes == most64);
  ++request.resident_device_bytes;
  RC_ASSERT(refused(recommend(request), {.code = error_code::peak_bytes_overflow,
                                         .found = request.resident_device_bytes,
                                         .bound = scratch}));
  // The budget: the peak itself, and one less.
  request.resident_device_bytes = d.next() >> 1;
  const std::uint64_t peak = request.resident_device_bytes + scratch;
  request.device_memory_budget_bytes = peak;
  RC_ASSERT(recommend(request).has_value());
  --request.device_memory_budget_bytes;
  RC_ASSERT(refused(recommend(request),
                    {.code = error_code::device_out_of_memory, .found = peak, .bound = peak - 1}));
  // Limits: the first zero one is named, before anything else is refused.
  constexpr std::array<std::string_view, 3> names{"max_workgroup_size_x",
                                                  "max_compute_workgroups_per_dimension",
                                                  "max_compute_invocations_per_workgroup"};
  const std::uint32_t zeros = d.between(1, 7);
  if (zeros & 1) request.limits.max_workgroup_size_x = 0;
  if (zeros & 2) request.limits.max_compute_workgroups_per_dimension = 0;
  if (zeros & 4) request.limits.max_compute_invocations_per_workgroup = 0;
  const auto first = static_cast<std::size_t>(std::countr_zero(zeros));
  const auto zero = recommend(request);
  RC_ASSERT(refused(zero, {.code = error_code::limit_zero, .index = first, .bound = 1}));
  RC_ASSERT(zero.error().subject() == names[first]);
  RC_ASSERT(zero.error().message().text().contains(names[first]));
}

}  // namespace

int main() {
  bool good = true;
  good &=
      rc::check("a launch keeps within its limits and covers its ring or is capped", invariants);
  good &= rc::check("more work never needs less", monotone_in_queue);
  good &= rc::check("more pressure never keeps more workers", monotone_in_signals);
  good &= rc::check("inside the band a topology never flips", hysteresis_walk);
  good &= rc::check("refusals start at their exact edges", exact_edges);
  return good ? 0 : 1;
}
