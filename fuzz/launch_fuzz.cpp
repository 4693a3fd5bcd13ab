// Launch requests (SPEC 6): any request, policy and ring. The recommendation is the plain policy's,
// the reasons lead to it, and the laws of a launch hold.
#include <optional>
#include <string>

#include "fuzz.h"
#include "plain_decoder.h"
#include "plain_scaling.h"

#include "megakernel_import.h"

#include "scaling_compare.h"

namespace mk = megakernel;
using props::scaling::plain_of;

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

void check_reasons(const mk::explanation& why, const mk::result<mk::launch_recommendation>& got) {
  fuzz::check(why.outcome().has_value() == got.has_value() &&
                  (got ? *why.outcome() == *got : why.outcome().error() == got.error()),
              "the reasons lead to the recommendation");
  fuzz::check(why.reasons().size() < 32, "no reason was dropped");
  for (const mk::reason& r : why.reasons()) {
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
  const plain::launch wanted =
      plain::recommend(plain_of(policy.parameters()), plain_of(request), plain_of(previous));
  fuzz::refused_as(got, wanted.error);
  fuzz::check(props::scaling::difference(got, wanted).empty(),
              "the launch is the plain policy's, figure by figure");
  check_reasons(mk::explain(policy, request, previous), got);
  if (got) check_laws(request, policy.parameters(), *got);
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
    ring[s + 16] = static_cast<std::uint8_t>(in.below(3));
  }
  mk::ring_telemetry telemetry;
  const std::array list{mk::opcode{42}};
  const auto windows = mk::window_opcodes::of(list).value();
  fuzz::check(telemetry.decode(control.view(), ring.view(), windows).has_value(), "a ring decodes");
  const plain::decoded plainly = plain::decode(control.plain(), ring.plain(), std::array{42u});

  const auto got = mk::recommend_launch(policy, telemetry.summary(), request, previous);
  const auto filled = mk::with_telemetry(telemetry.summary(), request);
  const plain::occupancy& o = plainly.occupancy;
  const std::uint64_t total = plainly.slots.size();
  const std::uint64_t depth = total - o.empty - o.done;
  const bool too_many = request.requeue_count > ~std::uint64_t{0} - o.requeue;
  check_reasons(mk::explain_launch(policy, telemetry.summary(), request, previous), got);
  if (fuzz::refused_as(filled, too_many ? "requeue_count_overflow" : "")) {
    fuzz::refused_as(got, "requeue_count_overflow");
    return;
  }
  if (request.graph_node_count == 0) request.graph_node_count = static_cast<std::uint32_t>(total);
  if (request.graph_edge_count == 0) request.graph_edge_count = static_cast<std::uint32_t>(depth);
  if (request.frontier_density_bps == 0 && total != 0)
    request.frontier_density_bps = static_cast<std::uint16_t>(depth * 10'000 / total);
  request.hot_opcode_count = static_cast<std::uint32_t>(plainly.control.metrics.size());
  request.hot_window_count = static_cast<std::uint32_t>(std::ranges::count_if(
      plainly.windows, [](const auto& w) { return w.required + w.lookahead >= 4; }));
  request.requeue_count += o.requeue;
  fuzz::check(*filled == request, "a ring fills in what a request leaves open");
  const auto wanted = mk::recommend(policy, request, previous);
  fuzz::check(got.has_value() == wanted.has_value() &&
                  (got ? *got == *wanted : got.error() == wanted.error()),
              "a ring's launch is that of the request it fills");
}

/// Sizes that are asked for one by one.
void check_sizing(const mk::launch_request& request, std::uint64_t items) {
  const std::uint32_t width = request.limits.max_workgroup_size_x;
  const std::uint32_t groups = request.requested_worker_groups;
  const auto got = mk::geometry_for_items(items, groups, width);
  const std::uint64_t lanes = std::clamp(groups, 1u, std::max(1u, width));
  const std::uint64_t parts = (std::max<std::uint64_t>(items, 1) + lanes - 1) / lanes;
  const std::string_view wrong =
      items > 0xFFFF'FFFFu ? "queue_len_overflow"
      : parts * lanes > 0xFFFF'FFFFu && 0xFFFF'FFFFu / lanes * lanes < items
          ? "padded_slots_overflow"
          : "";
  if (!fuzz::refused_as(got, wrong))
    fuzz::check(got->slot_count >= items && got->slot_count % lanes == 0, "each item has a slot");
}

void check_accounting(fuzz::input& in) {
  mk::priority_accounting counted{.requeue_count = wide_from(in),
                                  .aged_promotions = wide_from(in),
                                  .max_priority_age = in.number()};
  mk::priority_accounting wanted = counted;
  const std::uint32_t age = in.number();
  const bool requeue = in.flag();
  std::uint64_t& counter = requeue ? wanted.requeue_count : wanted.aged_promotions;
  const std::string_view wrong = counter != ~std::uint64_t{0} ? ""
                                 : requeue                    ? "requeue_count_overflow"
                                                              : "aged_promotions_overflow";
  const auto got =
      requeue ? mk::record_requeue(counted, age) : mk::record_aged_promotion(counted, age);
  if (!fuzz::refused_as(got, wrong)) {
    ++counter;
    wanted.max_priority_age = std::max(wanted.max_priority_age, age);
  }
  fuzz::check(counted == wanted, "one is counted, or nothing changes");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  fuzz::input in(data, size);
  const mk::launch_request request = request_from(in);
  const std::uint32_t before = in.below(7);
  const auto previous =
      before == 6 ? std::optional<mk::launch_topology>() : static_cast<mk::launch_topology>(before);
  const mk::policy_parameters parameters = policy_from(in);
  const auto policy = mk::launch_policy::build(parameters);
  fuzz::refused_as(policy, props::scaling::keeps_rules(parameters) ? "" : "policy_out_of_range");
  const mk::launch_policy used = policy ? *policy : mk::launch_policy::standard();
  check_recommendation(used, request, previous);
  check_with_ring(used, request, previous, in);
  check_sizing(request, wide_from(in));
  check_accounting(in);
  return 0;
}
