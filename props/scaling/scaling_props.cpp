// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The scaling policy, its reasons and its sizing against a plain one, rule by rule.
#include <rapidcheck.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <expected>
#include <iostream>
#include <optional>
#include <ranges>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "oracle_reasons.h"

#include "scaling_support.h"

import megakernel;

#include "scaling_compare.h"

namespace {

using namespace props::scaling;
using namespace megakernel;

void expect_none(const std::string& what) {
  if (!what.empty()) RC_FAIL(what);
}

void agreement() {
  prng d(*seeds());
  constexpr auto standard = launch_policy::standard();
  for (int i = 0; i < rounds; ++i) {
    const launch_request request = any_request(d, standard.parameters());
    const auto previous = any_topology(d);
    const auto wanted = oracle::recommend(oracle_of(standard.parameters()), oracle_of(request),
                                          oracle_of(previous));
    const auto got = recommend(request, previous);
    expect_none(difference(got, wanted));
    RC_ASSERT(same(got, recommend(standard, request, previous)));
    expect_none(difference(explain(request, previous), oracle_of(standard.parameters()),
                           oracle_of(request), oracle_of(previous)));
  }
}

void agreement_of_any_policy() {
  prng d(*seeds());
  for (int i = 0; i < rounds; ++i) {
    const policy_parameters parameters = any_policy(d);
    const auto policy = launch_policy::build(parameters);
    const auto rule = broken(parameters);
    RC_ASSERT(policy.has_value() == !rule.has_value());
    if (!policy) {
      RC_ASSERT(refused(policy, {.code = error_code::policy_out_of_range,
                                 .index = rule->index,
                                 .found = rule->found,
                                 .bound = rule->bound}));
      RC_ASSERT(!policy.error().subject().empty());
      continue;
    }
    RC_ASSERT(policy->parameters() == parameters);
    const launch_request request = any_request(d, parameters);
    const auto previous = any_topology(d);
    const auto wanted =
        oracle::recommend(oracle_of(parameters), oracle_of(request), oracle_of(previous));
    const auto got = recommend(*policy, request, previous);
    expect_none(difference(got, wanted));
    expect_none(difference(explain(*policy, request, previous), oracle_of(parameters),
                           oracle_of(request), oracle_of(previous)));
  }
}

/// Every rule that some test has seen, and the test that all of them were.
std::array<bool, static_cast<std::size_t>(rule::refused) + 1> rules_seen{};

void see(const explanation& why) {
  for (const reason& r : why.reasons()) rules_seen[static_cast<std::size_t>(r.by)] = true;
}

bool all_rules_seen() {
  bool all = true;
  for (std::size_t i = 0; i < rules_seen.size(); ++i) {
    if (rules_seen[i]) continue;
    std::cerr << "No test reached the rule " << reason{.by = static_cast<rule>(i)}.name() << ".\n";
    all = false;
  }
  return all;
}

void expect_no_names() {
  const reason none{.by = static_cast<rule>(rules_seen.size())};
  RC_ASSERT((none.name().empty() && none.sentence().text().empty()));
  RC_ASSERT(none.about() == decision::refusal);
  RC_ASSERT(to_string(static_cast<decision>(200)).empty());
}

/// The reasons are those of this very decision, in the order it is made, and can be read.
void explanations() {
  prng d(*seeds());
  constexpr policy_parameters p = launch_policy::standard().parameters();
  for (int i = 0; i < rounds; ++i) {
    const launch_request request = any_request(d, p);
    const auto previous = any_topology(d);
    const explanation why = explain(request, previous);
    see(why);
    RC_ASSERT(std::ranges::is_sorted(why.reasons(), {}, &reason::about));
    for (const reason& r : why.reasons()) {
      const reason_text sentence = r.sentence();
      RC_ASSERT(!r.name().empty() && !to_string(r.about()).empty());
      RC_ASSERT(sentence.text().ends_with('.') || sentence.text().ends_with("bps)."));
      RC_ASSERT(sentence.text().size() < 320u);
      RC_ASSERT(sentence.text().find_first_of("{}") == std::string_view::npos);
    }
    if (!why.outcome()) {
      RC_ASSERT(why.reasons().back().by == rule::refused);
      continue;
    }
    const launch_recommendation& launch = *why.outcome();
    for (auto what = static_cast<int>(decision::signals);
         what < static_cast<int>(decision::refusal); ++what)
      RC_ASSERT(why.deciding(static_cast<decision>(what)) != nullptr);
    RC_ASSERT(why.deciding(decision::refusal) == nullptr);
    const auto says = [&](decision what, std::string_view text) {
      return std::ranges::any_of(why.reasons(), [&](const reason& r) {
        return r.about() == what && r.sentence().text().contains(text);
      });
    };
    RC_ASSERT(says(decision::topology, to_string(launch.topology)));
    RC_ASSERT(says(decision::pressure, to_string(launch.pressure)));
    RC_ASSERT(says(decision::mode, to_string(launch.mode)));
    // Deciding again on what was inferred changes nothing.
    if (why.request().frontier_density_bps != 0 || request.graph_node_count == 0)
      RC_ASSERT(same(why.outcome(), recommend(why.request(), previous)));
  }
}

void sizing_helpers() {
  prng d(*seeds());
  for (int i = 0; i < rounds; ++i) {
    const auto number = [&] { return d.near({0, 1, 31, 64, 256, 1024, 65'535, most32}); };
    const std::uint32_t workers = number();
    const std::uint32_t queue = number();
    const std::uint32_t width = number();
    const std::uint32_t groups = number();
    const std::uint32_t invocations = d.near({0, 1, 4096});
    const auto lanes = oracle::clamp(workers, 1, std::max(1u, width));
    const auto at_least_one = [](oracle::wide v) { return std::max<oracle::wide>(v, 1); };
    RC_ASSERT(worker_workgroup_size(workers, width) == lanes);
    const auto parts = oracle::parts_of(at_least_one(queue), at_least_one(width));
    RC_ASSERT(padded_slot_count(queue, width) == parts * at_least_one(width));
    RC_ASSERT(dispatch_grid(workers, queue, width)[0] ==
              std::min({parts, at_least_one(workers), oracle::wide{1024}}));
    RC_ASSERT(default_worker_groups(groups, invocations) ==
              oracle::default_groups({}, groups, invocations));
    const std::uint64_t items = d.one_in(4) ? d.sized() : queue;
    const auto geometry = geometry_for_items(items, workers, width);
    const auto slots = oracle::parts_of(at_least_one(items), lanes) * lanes;
    if (items > most32) {
      RC_ASSERT(refused(geometry,
                        {.code = error_code::queue_len_overflow, .found = items, .bound = most32}));
    } else if (slots < items) {
      RC_ASSERT(refused(geometry, {.code = error_code::padded_slots_overflow,
                                   .index = static_cast<std::uint64_t>(lanes),
                                   .found = items,
                                   .bound = static_cast<std::uint64_t>(slots)}));
    } else {
      RC_ASSERT(geometry.has_value() && geometry->slot_count == slots);
    }
    // A plan is what an undisturbed recommendation has.
    launch_request request =
        launch_request::on({.max_workgroup_size_x = width,
                            .max_compute_workgroups_per_dimension = groups,
                            .max_compute_invocations_per_workgroup = invocations},
                           queue);
    request.requested_worker_groups = workers;
    request.requested_hit_capacity = 1;
    const auto plan = plan_grid(queue, workers, request.limits);
    const auto launch = recommend(request);
    RC_ASSERT(plan.has_value() == launch.has_value());
    if (plan) {
      RC_ASSERT(plan->geometry == launch->geometry);
      RC_ASSERT(plan->worker_groups == launch->worker_groups);
    } else {
      RC_ASSERT(plan.error() == launch.error());
    }
  }
  RC_ASSERT(geometry_for_items(std::uint64_t{most32} + 1, 1, 1).error().code ==
            error_code::queue_len_overflow);
  RC_ASSERT(geometry_for_items(most32, 1, 1).has_value());
  RC_ASSERT(geometry_for_items(most32, 2, 2).error().code == error_code::padded_slots_overflow);
  RC_ASSERT(geometry_for_items(most32 - 1, 2, 2).has_value());
}

/// The ring fills the gaps of a request, and the plain policy decides on the whole.
void from_telemetry() {
  prng d(*seeds());
  const std::uint32_t slots = d.below(40);
  std::vector<std::uint32_t> ring(std::size_t{slots} * abi::slot_words);
  std::uint32_t depth = 0;
  std::uint32_t requeued = 0;
  std::array<std::uint32_t, 6> window_slots{};
  for (std::uint32_t i = 0; i < slots; ++i) {
    const std::span slot =
        std::span(ring).subspan(std::size_t{i} * abi::slot_words, abi::slot_words);
    slot[0] = d.below(9);
    slot[1] = 41 + d.below(2);  // 42 forms windows
    slot[4] = d.below(window_slots.size());
    slot[5] = d.below(3);
    depth += slot[0] != 0 && slot[0] != 3;
    requeued += slot[0] == 6;
    if (slot[1] == 42 && slot[5] < 2) ++window_slots[slot[4]];
  }
  std::vector<std::uint32_t> control(abi::control_words);
  std::uint32_t claimed = 0;
  for (std::uint32_t op = 0; op < abi::metrics; ++op) {
    control[abi::metric_word + op] = d.one_in(3) ? d.below(5) : 0;
    claimed += control[abi::metric_word + op] != 0;
  }
  ring_telemetry telemetry;
  const std::vector<opcode> opcodes{opcode{42}};
  const auto windows = window_opcodes::of(opcodes);
  RC_ASSERT(windows.has_value());
  RC_ASSERT(
      telemetry.decode(std::as_bytes(std::span(control)), std::as_bytes(std::span(ring)), *windows)
          .has_value());

  constexpr auto standard = launch_policy::standard();
  launch_request request = any_request(d, standard.parameters());
  if (d.one_in(2)) request.frontier_density_bps = 0;
  if (d.one_in(2)) request.graph_node_count = 0;
  if (d.one_in(2)) request.graph_edge_count = 0;
  const auto previous = any_topology(d);
  oracle::ask filled = oracle_of(request);
  oracle::reasons reasons;
  const auto hot = std::ranges::count_if(window_slots, [](std::uint32_t n) { return n >= 4; });
  const bool counted = oracle::fill(filled,
                                    {.slots = slots,
                                     .depth = depth,
                                     .opcodes = claimed,
                                     .windows = static_cast<unsigned>(hot),
                                     .requeues = requeued},
                                    reasons);
  const oracle::policy policy = oracle_of(standard.parameters());
  const oracle::launch wanted =
      counted ? oracle::recommend(policy, filled, oracle_of(previous))
              : oracle::refuse("requeue_count_overflow", 0, request.requeue_count, requeued);
  const auto got = recommend_launch(telemetry, request, previous);
  expect_none(difference(got, wanted));
  RC_ASSERT(same(got, recommend_launch(telemetry.summary(), request, previous)));
  const explanation why = explain_launch(standard, telemetry.summary(), request, previous);
  see(why);
  RC_ASSERT(same(got, why.outcome()));
  expect_none(counted ? difference(why, policy, filled, oracle_of(previous), reasons)
                      : difference(why.reasons(), reasons));
  for (const reason& r : why.reasons()) RC_ASSERT(r.sentence().text().ends_with('.'));
  const auto request_filled = with_telemetry(telemetry.summary(), request);
  RC_ASSERT(request_filled.has_value() == (wanted.error != "requeue_count_overflow"));

  // The edge itself.
  request.requeue_count = most64 - requeued;
  RC_ASSERT(with_telemetry(telemetry.summary(), request).value().requeue_count == most64);
  if (requeued != 0) {
    ++request.requeue_count;
    RC_ASSERT(
        refused(recommend_launch(telemetry, request), {.code = error_code::requeue_count_overflow,
                                                       .found = request.requeue_count,
                                                       .bound = requeued}));
  }
}

}  // namespace

int main() {
  bool good = true;
  good &= rc::check("the policy agrees with a plain one", agreement);
  good &= rc::check("any policy that is accepted agrees with a plain one", agreement_of_any_policy);
  good &= rc::check("reasons are those of the decision", explanations);
  good &= rc::check("what is no rule and no decision has no name", expect_no_names);
  good &= rc::check("sizing helpers agree with plain ones", sizing_helpers);
  good &= rc::check("telemetry fills the gaps of a request", from_telemetry);
  good &= all_rules_seen();
  return good ? 0 : 1;
}
