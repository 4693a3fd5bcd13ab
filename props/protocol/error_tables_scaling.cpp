// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The refusals of the scaling policy and of what goes with it.
#include <cstddef>
#include <cstdint>
#include <expected>
#include <functional>
#include <limits>
#include <type_traits>
#include <utility>
#include <vector>

#include "error_tables.h"

import megakernel;

namespace props::errors {
namespace {

using enum mk::error_code;
using mk::buffer;
using enum mk::policy_parameter;

constexpr std::uint32_t most32 = std::numeric_limits<std::uint32_t>::max();
constexpr std::uint64_t most64 = std::numeric_limits<std::uint64_t>::max();

mk::launch_request hits(std::uint32_t queue, std::uint32_t each, std::uint16_t pressure_bps) {
  auto request = mk::launch_request::direct(queue, 1, 1);
  request.expected_hits_per_item = each;
  request.memory_pressure_bps = pressure_bps;
  return request;
}

/// One hit, which takes 16 bytes.
mk::launch_request bytes(std::uint64_t resident, std::uint64_t budget) {
  auto request = mk::launch_request::direct(1, 1, 1);
  request.requested_hit_capacity = 1;
  request.resident_device_bytes = resident;
  request.device_memory_budget_bytes = budget;
  return request;
}

/// Two slots, both REQUEUE.
mk::ring_telemetry requeued() {
  mk::ring_telemetry telemetry;
  const words ring = words(32).set(0, 6).set(16, 6);
  telemetry.decode(some(640), ring.view()).value();
  return telemetry;
}

mk::launch_request requeued_before(std::uint64_t count) {
  auto request = mk::launch_request::direct(1, 1, 1);
  request.requeue_count = count;
  return request;
}

template <class Change>
provoker policy(mk::policy_parameter which, std::uint32_t found, std::uint32_t bound,
                Change change) {
  return {{policy_out_of_range, buffer::none, std::to_underlying(which), found, bound},
          [change, found] {
            mk::policy_parameters p;
            change(p, found);
            return of(mk::launch_policy::build(p));
          }};
}

template <class Owner>
provoker policy(mk::policy_parameter which, std::uint32_t found, std::uint32_t bound,
                std::uint32_t Owner::* member) {
  return policy(which, found, bound, [member](mk::policy_parameters& p, std::uint32_t value) {
    if constexpr (std::is_same_v<Owner, mk::sizing_parameters>) {
      p.sizing.*member = value;
    } else {
      p.*member = value;
    }
  });
}

std::vector<provoker> policy_provokers() {
  using p = mk::policy_parameters;
  using s = mk::sizing_parameters;
  return {
      policy(default_workers, 0, 1, &s::default_workers),
      policy(occupancy_divisor, 0, 1, &s::occupancy_divisor),
      policy(max_dispatch_groups, 0, 1, &s::max_dispatch_groups),
      policy(powerful_worker_groups, 0, 1, &s::powerful_worker_groups),
      policy(hit_capacity_multiplier, 0, 1, &p::hit_capacity_multiplier),
      policy(saturated_waves, 0, 1, &p::saturated_waves),
      policy(dense_bps, 10'001, 10'000, &p::dense_bps),
      policy(sparse_bps, 4001, 4000, &p::sparse_bps),
      policy(frontier_hysteresis_bps, 501, 500, &p::frontier_hysteresis_bps),
      policy(frontier_hysteresis_bps, 250, 249,
             [](p& changed, std::uint32_t) { changed.dense_bps = 9751; }),
      policy(memory_pressure_bps, 10'001, 10'000, &p::memory_pressure_bps),
      policy(memory_hysteresis_bps, 8501, 8500, &p::memory_hysteresis_bps),
  };
}

}  // namespace

std::vector<provoker> scaling_provokers() {
  std::vector<provoker> all{
      {{limit_zero, buffer::none, 0, 0, 1}, [] { return of(mk::plan_grid(1, 1, {0, 1, 1})); }},
      {{limit_zero, buffer::none, 1, 0, 1},
       [] { return of(mk::recommend(mk::launch_request::direct(1, 0, 1))); }},
      {{limit_zero, buffer::none, 2, 0, 1}, [] { return of(mk::check({1, 1, 0})); }},
      {{hit_capacity_overflow, buffer::none, 1, 1u << 31, 2},
       [] { return of(mk::recommend(hits(1, 1u << 31, 1))); }},
      {{hit_capacity_overflow, buffer::none, 2, 1u << 31, 1},
       [] { return of(mk::recommend(hits(2, 1u << 31, 8500))); }},
      {{hit_capacity_overflow, buffer::none, most32, most32, 2},
       [] { return of(mk::explain(hits(most32, most32, 1)).outcome()); }},
      {{peak_bytes_overflow, buffer::none, 0, most64 - 15, 16},
       [] { return of(mk::recommend(bytes(most64 - 15, 0))); }},
      {{device_out_of_memory, buffer::none, 0, 101, 100},
       [] { return of(mk::recommend(bytes(85, 100))); }},
      {{requeue_count_overflow, buffer::none, 0, most64, 1},
       [] {
         mk::priority_accounting full{.requeue_count = most64};
         return of(mk::record_requeue(full, 1));
       }},
      {{requeue_count_overflow, buffer::none, 0, most64 - 1, 2},
       [] { return of(mk::with_telemetry(requeued().summary(), requeued_before(most64 - 1))); }},
      {{requeue_count_overflow, buffer::none, 0, most64, 2},
       [] { return of(mk::recommend_launch(requeued(), requeued_before(most64))); }},
      {{aged_promotions_overflow, buffer::none, 0, most64, 1},
       [] {
         mk::priority_accounting full{.aged_promotions = most64};
         return of(mk::record_aged_promotion(full, 1));
       }},
      {{queue_len_overflow, buffer::none, 0, std::uint64_t{1} << 32, most32},
       [] { return of(mk::geometry_for_items(std::uint64_t{1} << 32, 1, 1)); }},
      {{padded_slots_overflow, buffer::none, 2, most32, most32 - 1},
       [] { return of(mk::geometry_for_items(most32, 2, 2)); }},
  };
  const auto policies = policy_provokers();
  all.insert(all.end(), policies.begin(), policies.end());
  return all;
}

}  // namespace props::errors
