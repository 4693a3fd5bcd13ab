// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Launch requests: any request, policy and ring. The recommendation is the plain policy's,
// reason by reason and figure by figure, and the laws of a launch hold.
// docs/protocol.md#launch-request docs/protocol.md#launch-policy
#include <optional>
#include <string>

#include "fuzz.h"
#include "oracle_decoder.h"
#include "oracle_reasons.h"
#include "refusal.h"

#include "megakernel_import.h"

#include "scaling_compare.h"

namespace mk = megakernel;
using props::scaling::difference;
using props::scaling::oracle_of;

namespace {

std::uint64_t wide_from(fuzz::input& in) {
  const std::uint32_t kind = in.below(8);
  if (kind < 4) return in.number();
  return kind == 4 ? in.take<std::uint64_t>() : std::uint64_t{in.number()} - (kind == 5);
}

/// Next to a threshold of the standard policy, or any.
std::uint16_t bps_from(fuzz::input& in) {
  constexpr std::array<std::uint16_t, 10> thresholds{250,  500,  750,  3750,   4000,
                                                     4250, 8250, 8500, 10'000, 65'535};
  const std::uint32_t code = in.below(40);
  if (code < 30) return static_cast<std::uint16_t>(thresholds[code / 3] + code % 3 - 1);
  return code < 35 ? std::uint16_t{0} : in.take<std::uint16_t>();
}

mk::launch_request request_from(fuzz::input& in) {
  return {.queue_len = in.number(),
          .requested_worker_groups = in.number(),
          .limits = {.max_workgroup_size_x = in.number(),
                     .max_compute_workgroups_per_dimension = in.number(),
                     .max_compute_invocations_per_workgroup = in.number()},
          .requested_hit_capacity = in.number(),
          .expected_hits_per_item = in.number(),
          .hot_opcode_count = in.number(),
          .hot_window_count = in.number(),
          .requeue_count = wide_from(in),
          .max_priority_age = in.number(),
          .graph_node_count = in.number(),
          .graph_edge_count = in.number(),
          .frontier_density_bps = bps_from(in),
          .memory_pressure_bps = bps_from(in),
          .resident_device_bytes = wide_from(in),
          .device_memory_budget_bytes = wide_from(in)};
}

/// The standard policy, some of it changed.
mk::policy_parameters policy_from(fuzz::input& in) {
  mk::policy_parameters p;
  const std::array all{&p.sizing.default_workers,
                       &p.sizing.occupancy_divisor,
                       &p.sizing.max_dispatch_groups,
                       &p.sizing.powerful_invocations,
                       &p.sizing.powerful_worker_groups,
                       &p.min_hit_capacity,
                       &p.hit_capacity_multiplier,
                       &p.saturated_waves,
                       &p.hot_opcode_threshold,
                       &p.hot_window_threshold,
                       &p.jit_queue_len_threshold,
                       &p.priority_age_threshold,
                       &p.sparse_bps,
                       &p.dense_bps,
                       &p.frontier_hysteresis_bps,
                       &p.memory_pressure_bps,
                       &p.memory_hysteresis_bps,
                       &p.fusion_edge_threshold,
                       &p.scratch_bytes_per_hit};
  for (std::uint32_t changes = in.below(6); changes != 0; --changes) {
    std::uint32_t* const which = all[in.below(all.size())];
    *which = in.flag() ? in.number() : in.take<std::uint16_t>() % 10'002;
  }
  return p;
}

void check_laws(const mk::launch_request& request, const mk::policy_parameters& p,
                const mk::launch_recommendation& r) {
  const mk::launch_geometry& g = r.geometry;
  const std::uint64_t lanes = std::uint64_t{g.dispatch_grid[0]} * g.workgroup_size_x;
  fuzz::check(r.worker_groups >= 1 &&
                  r.worker_groups <= request.limits.max_compute_workgroups_per_dimension,
              "worker groups are within the adapter's dimension");
  fuzz::check(g.workgroup_size_x >= 1 && g.workgroup_size_x <= request.limits.max_workgroup_size_x,
              "a workgroup is within the adapter's width");
  fuzz::check(g.dispatch_grid[0] >= 1 && g.dispatch_grid[0] <= r.worker_groups &&
                  g.dispatch_grid[0] <= p.sizing.max_dispatch_groups,
              "a grid is within the worker groups and the policy");
  fuzz::check(g.slot_count % g.workgroup_size_x == 0 && lanes <= g.slot_count && lanes == g.lanes(),
              "slots are whole workgroups, a lane has one");
  fuzz::check(std::uint64_t{g.slot_count} + r.slots_short >= request.queue_len &&
                  r.slots_short < g.workgroup_size_x,
              "each item has a slot, or it is said how many have none");
  fuzz::check((r.topology == mk::launch_topology::empty) == (request.queue_len == 0),
              "a launch is empty where nothing is queued");
}

/// Reasons can be read; that they are the plain ones is checked elsewhere.
void check_sentences(const mk::explanation& why) {
  static fuzz::seldom sentences;
  for (const mk::reason& r : why.reasons()) {
    if (!sentences.due(static_cast<std::size_t>(r.by))) continue;
    const auto sentence = r.sentence();
    fuzz::check(!r.name().empty() && sentence.text().ends_with('.') &&
                    sentence.text().find_first_of("{}") == std::string_view::npos,
                "a reason is a sentence");
    fuzz::check(why.deciding(r.about()) != nullptr, "a decision that was made has a reason");
  }
}

void check_recommendation(const mk::launch_policy& policy, const mk::launch_request& request,
                          std::optional<mk::launch_topology> previous) {
  const auto got = mk::recommend(policy, request, previous);
  const oracle::policy plainly = oracle_of(policy.parameters());
  const oracle::launch wanted = oracle::recommend(plainly, oracle_of(request), oracle_of(previous));
  fuzz::refused_as(got, wanted.error);
  fuzz::check(difference(got, wanted).empty(),
              "the launch is the plain policy's, figure by figure");
  const mk::explanation why = mk::explain(policy, request, previous);
  fuzz::check(difference(why, plainly, oracle_of(request), oracle_of(previous)).empty(),
              "the reasons are the plain policy's, number by number");
  check_sentences(why);
  if (got) check_laws(request, policy.parameters(), *got);
  const oracle::launch by_default = oracle::recommend({}, oracle_of(request), oracle_of(previous));
  fuzz::check(
      difference(mk::recommend(request, previous), by_default).empty() &&
          difference(mk::explain(request, previous), {}, oracle_of(request), oracle_of(previous))
              .empty(),
      "without a policy it is the standard one");
}

/// What a ring adds to a request.
void check_with_ring(const mk::launch_policy& policy, mk::launch_request request,
                     std::optional<mk::launch_topology> previous, fuzz::input& in) {
  fuzz::block control(640);
  fuzz::block ring(std::size_t{64} * in.below(12));
  for (std::size_t i = in.below(20); i != 0; --i) control[4 * (95 + i)] = in.byte();
  for (std::size_t s = 0; s < ring.plain().size(); s += 64) {
    ring[s] = static_cast<std::uint8_t>(in.below(9));
    ring[s + 4] = 42;
    const std::uint32_t entry = in.below(9);
    ring[s + 16] = static_cast<std::uint8_t>(entry % 3);  // ticket
    ring[s + 20] = static_cast<std::uint8_t>(entry / 3);  // class
  }
  mk::ring_telemetry telemetry;
  const std::array list{mk::opcode{42}};
  const auto windows = mk::window_opcodes::of(list).value();
  fuzz::check(telemetry.decode(control.view(), ring.view(), windows).has_value(), "a ring decodes");
  const oracle::decoded plainly = oracle::decode(control.plain(), ring.plain(), std::array{42u});

  const oracle::occupancy& o = plainly.occupancy;
  const std::uint64_t total = plainly.slots.size();
  const auto hot = std::ranges::count_if(
      plainly.windows, [](const auto& w) { return w.required + w.lookahead > 3; });
  oracle::ask filled = oracle_of(request);
  oracle::reasons reasons;
  const bool counted = oracle::fill(filled,
                                    {.slots = total,
                                     .depth = total - o.empty - o.done,
                                     .opcodes = plainly.control.metrics.size(),
                                     .windows = static_cast<std::uint64_t>(hot),
                                     .requeues = o.requeue},
                                    reasons);
  const fuzz::refusal overflow{
      .code = "requeue_count_overflow", .found = request.requeue_count, .bound = o.requeue};
  const auto got = mk::recommend_launch(policy, telemetry.summary(), request, previous);
  const auto why = mk::explain_launch(policy, telemetry.summary(), request, previous);
  check_sentences(why);
  if (fuzz::refused_as(mk::with_telemetry(telemetry.summary(), request),
                       counted ? fuzz::refusal{} : overflow)) {
    fuzz::refused_as(got, overflow);
    fuzz::refused_as(why.outcome(), overflow);
    fuzz::check(difference(why.reasons(), reasons).empty(), "what was filled in has its reasons");
    return;
  }
  const oracle::ask asked = oracle_of(*mk::with_telemetry(telemetry.summary(), request));
  fuzz::check(asked == filled, "a ring fills in what a request leaves open");
  const oracle::policy by = oracle_of(policy.parameters());
  fuzz::check(difference(got, oracle::recommend(by, filled, oracle_of(previous))).empty(),
              "a ring's launch is that of the request it fills");
  fuzz::check(difference(why, by, filled, oracle_of(previous), reasons).empty(),
              "and so are its reasons");
  fuzz::check(difference(mk::recommend_launch(telemetry, request, previous),
                         oracle::recommend({}, filled, oracle_of(previous)))
                  .empty(),
              "without a policy it is the standard one");
}

std::uint32_t lanes_of(const mk::adapter_limits& limits) { return limits.max_workgroup_size_x; }

/// Sizes that are asked for one by one.
void check_sizing(const mk::launch_request& request, const mk::sizing_parameters& sizing,
                  std::uint64_t items) {
  const mk::adapter_limits& limits = request.limits;
  const std::uint32_t groups = request.requested_worker_groups;
  const std::uint32_t queue = request.queue_len;
  const oracle::policy by{.divisor = sizing.occupancy_divisor,
                          .most_groups = sizing.max_dispatch_groups,
                          .powerful_from = sizing.powerful_invocations,
                          .powerful_groups = sizing.powerful_worker_groups};
  using oracle::wide;
  const auto some = [](wide v) { return std::max<wide>(v, 1); };
  const wide lanes = oracle::clamp(groups, 1, some(limits.max_workgroup_size_x));
  fuzz::check(mk::worker_workgroup_size(groups, limits.max_workgroup_size_x) == lanes,
              "a workgroup has a lane for each worker group, where it may");
  const wide parts = oracle::parts_of(some(queue), some(groups));
  fuzz::check(mk::covering_workgroups(queue, groups) == parts &&
                  mk::padded_slot_count(queue, groups) == parts * some(groups),
              "slots are rounded up to whole workgroups");
  const std::array<wide, 3> flat{
      std::min({oracle::parts_of(some(queue), some(limits.max_workgroup_size_x)), some(groups),
                by.most_groups}),
      1, 1};
  fuzz::check(std::ranges::equal(
                  mk::dispatch_grid(groups, queue, limits.max_workgroup_size_x, sizing), flat),
              "a grid covers the queue, or is capped");
  fuzz::check(mk::default_worker_groups(limits.max_compute_workgroups_per_dimension,
                                        limits.max_compute_invocations_per_workgroup, sizing) ==
                  oracle::default_groups(by, limits.max_compute_workgroups_per_dimension,
                                         limits.max_compute_invocations_per_workgroup),
              "worker groups by default follow from the adapter");

  // A plan is the launch of a queue that nothing else is known of.
  mk::launch_request undisturbed = mk::launch_request::on(limits, queue);
  undisturbed.requested_worker_groups = groups;
  undisturbed.requested_hit_capacity = 1;
  const oracle::launch planned = oracle::recommend(by, oracle_of(undisturbed), oracle::none);
  const auto plan = mk::plan_grid(queue, groups, limits, sizing);
  fuzz::check(plan.has_value() == planned.error.empty() &&
                  (!plan || (plan->worker_groups == planned.groups &&
                             plan->geometry.workgroup_size_x == planned.width &&
                             plan->geometry.slot_count == planned.slots &&
                             std::ranges::equal(plan->geometry.dispatch_grid,
                                                std::array<wide, 3>{planned.grid, 1, 1}))),
              "a plan is what an undisturbed launch has");
  fuzz::check(mk::launch_request::direct(queue, groups, lanes_of(limits)) ==
                  mk::launch_request{.queue_len = queue,
                                     .requested_worker_groups = groups,
                                     .limits = {lanes_of(limits), groups, lanes_of(limits)}},
              "a direct request is of an adapter of just its size");

  const auto got = mk::geometry_for_items(items, groups, limits.max_workgroup_size_x, sizing);
  const wide slots = oracle::parts_of(some(items), lanes) * lanes;
  const auto narrow = [](wide v) { return static_cast<std::uint64_t>(v); };
  fuzz::refusal wrong;
  if (items > 0xFFFF'FFFFu)
    wrong = {.code = "queue_len_overflow", .found = items, .bound = 0xFFFF'FFFFu};
  else if (slots < items)
    wrong = {"padded_slots_overflow", narrow(lanes), items, narrow(slots)};
  if (fuzz::refused_as(got, wrong)) return;
  fuzz::check(
      got->workgroup_size_x == lanes && got->slot_count == slots &&
          got->dispatch_grid[0] == std::min({slots / lanes, some(groups), by.most_groups}) &&
          got->dispatch_grid[1] == 1 && got->dispatch_grid[2] == 1,
      "each item has a slot, in whole workgroups, and the grid is for them");
}

void check_accounting(fuzz::input& in) {
  mk::priority_accounting counted{.requeue_count = wide_from(in),
                                  .aged_promotions = wide_from(in),
                                  .max_priority_age = in.number()};
  mk::priority_accounting wanted = counted;
  const std::uint32_t age = in.number();
  const bool requeue = in.flag();
  std::uint64_t& counter = requeue ? wanted.requeue_count : wanted.aged_promotions;
  fuzz::refusal wrong;
  if (counter == ~std::uint64_t{0})
    wrong = {.code = requeue ? "requeue_count_overflow" : "aged_promotions_overflow",
             .found = counter,
             .bound = 1};
  const auto got =
      requeue ? mk::record_requeue(counted, age) : mk::record_aged_promotion(counted, age);
  if (!fuzz::refused_as(got, wrong)) {
    ++counter;
    wanted.max_priority_age = std::max(wanted.max_priority_age, age);
  }
  fuzz::check(counted == wanted, "one is counted, or nothing changes");
}

/// A request, a policy, a ring, and what is asked for by itself.
void check_one(fuzz::input& in) {
  const mk::launch_request request = request_from(in);
  const std::uint32_t before = in.below(7);
  const auto previous =
      before == 6 ? std::optional<mk::launch_topology>() : static_cast<mk::launch_topology>(before);
  const mk::policy_parameters parameters = policy_from(in);
  const auto policy = mk::launch_policy::build(parameters);
  const auto rule = props::scaling::broken(parameters);
  fuzz::refused_as(
      policy, rule ? fuzz::refusal{"policy_out_of_range", rule->index, rule->found, rule->bound}
                   : fuzz::refusal{});
  fuzz::check(!policy || policy->parameters() == parameters, "a policy is what it was built of");
  const mk::launch_policy used = policy ? *policy : mk::launch_policy::standard();
  check_recommendation(used, request, previous);
  check_with_ring(used, request, previous, in);
  check_sizing(request, used.parameters().sizing, wide_from(in));
  check_accounting(in);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  fuzz::input in(data, size);
  do check_one(in);
  while (!in.empty());
  return 0;
}
