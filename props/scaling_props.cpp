#include <rapidcheck.h>

#include <algorithm>
#include <array>
#include <bit>
#include <chrono>
#include <cmath>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <expected>
#include <iostream>
#include <limits>
#include <numeric>
#include <optional>
#include <ranges>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "plain_scaling.h"

import megakernel;
using namespace megakernel;

namespace {

constexpr std::uint32_t most32 = std::numeric_limits<std::uint32_t>::max();
constexpr std::uint64_t most64 = std::numeric_limits<std::uint64_t>::max();

/// Cheap numbers: a test draws the seed, which is what RapidCheck shows.
class dice {
 public:
  explicit dice(std::uint64_t seed) : state_(seed) {}
  std::uint64_t next() {
    std::uint64_t z = state_ += 0x9E37'79B9'7F4A'7C15u;
    z = (z ^ z >> 30) * 0xBF58'476D'1CE4'E5B9u;
    z = (z ^ z >> 27) * 0x94D0'49BB'1331'11EBu;
    return z ^ z >> 31;
  }
  std::uint32_t below(std::uint64_t n) { return static_cast<std::uint32_t>(next() % n); }
  std::uint32_t between(std::uint32_t low, std::uint32_t high) {
    return static_cast<std::uint32_t>(low + next() % (std::uint64_t{high} - low + 1));
  }
  bool one_in(std::uint32_t n) { return below(n) == 0; }
  template <class T>
  T pick(std::initializer_list<T> from) {
    return from.begin()[below(from.size())];
  }
  /// A value of any size: as many bits as the dice say.
  std::uint64_t sized() { return one_in(16) ? 0 : next() >> below(64); }
  /// Next to one of `edges`, or of any size.
  std::uint32_t near(std::initializer_list<std::uint32_t> edges) {
    if (one_in(4)) return static_cast<std::uint32_t>(sized());
    return pick(edges) + pick({0u, 0u, 1u, 2u, most32, most32 - 1});
  }

 private:
  std::uint64_t state_;
};

rc::Gen<std::uint64_t> seeds() {
  return rc::gen::resize(rc::kNominalSize, rc::gen::arbitrary<std::uint64_t>());
}

std::uint16_t any_bps(dice& d, const policy_parameters& p) {
  const auto value = d.one_in(3) ? d.below(10'001)
                                 : d.near({0, p.sparse_bps - p.frontier_hysteresis_bps,
                                           p.sparse_bps, p.sparse_bps + p.frontier_hysteresis_bps,
                                           p.dense_bps - p.frontier_hysteresis_bps, p.dense_bps,
                                           p.dense_bps + p.frontier_hysteresis_bps,
                                           p.memory_pressure_bps - p.memory_hysteresis_bps,
                                           p.memory_pressure_bps, 10'000, 65'535});
  return static_cast<std::uint16_t>(value);
}

launch_request any_request(dice& d, const policy_parameters& p) {
  launch_request r;
  r.queue_len = d.near({0, 1, 31, 64, 256, 1024, p.jit_queue_len_threshold, 65'535, 1u << 31,
                        most32, most32 / 2, most32 / 3});
  r.requested_worker_groups = d.near({0, 1, 31, 32, 33, 64, 255, 1024, 65'535, 1u << 20, most32});
  r.limits = {.max_workgroup_size_x = d.near({0, 1, 32, 256, 1024, most32}),
              .max_compute_workgroups_per_dimension =
                  d.near({0, 1, 255, 256, 512, 65'535, 1u << 18, most32}),
              .max_compute_invocations_per_workgroup = d.near({0, 1, 256, 1024, 4096, most32})};
  if (!d.one_in(4)) {  // most requests get past the limits
    r.limits.max_workgroup_size_x |= 1;
    r.limits.max_compute_workgroups_per_dimension |= 1;
    r.limits.max_compute_invocations_per_workgroup |= 1;
  }
  if (d.one_in(4)) r.requested_hit_capacity = d.near({0, 1, 1024, most32});
  r.expected_hits_per_item = d.one_in(2) ? 1 : d.near({0, 1, 2, 3, 65'536, most32});
  r.hot_opcode_count = d.near({0, p.hot_opcode_threshold});
  r.hot_window_count = d.near({0, p.hot_window_threshold});
  r.requeue_count = d.one_in(2) ? 0 : d.one_in(2) ? most64 - d.below(3) : d.sized();
  r.max_priority_age = d.near({0, p.priority_age_threshold, most32});
  r.graph_node_count = d.one_in(3) ? 0 : d.near({1, 100, r.queue_len, most32});
  r.graph_edge_count = d.near({0, p.fusion_edge_threshold, most32});
  r.frontier_density_bps = any_bps(d, p);
  r.memory_pressure_bps = d.one_in(2) ? 0 : any_bps(d, p);
  r.device_memory_budget_bytes = d.one_in(2) ? 0 : d.one_in(4) ? most64 - d.below(3) : d.sized();
  r.resident_device_bytes = d.sized();
  if (d.one_in(2)) r.resident_device_bytes = r.device_memory_budget_bytes / 100 * d.below(101);
  if (d.one_in(8)) r.resident_device_bytes = most64 - d.below(1u << 16);
  return r;
}

std::optional<launch_topology> any_topology(dice& d) {
  if (d.one_in(4)) return std::nullopt;
  return static_cast<launch_topology>(d.below(6));
}

plain::ask plain_of(const launch_request& r) {
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

plain::policy plain_of(const policy_parameters& p) {
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

int plain_of(std::optional<launch_topology> t) {
  return t ? static_cast<int>(*t) : static_cast<int>(plain::none);
}

/// Where the library's answer differs from the plain one; empty where it does not.
std::string difference(const result<launch_recommendation>& got, const plain::launch& wanted) {
  if (!got) {
    const error& e = got.error();
    if (name(e.code) != wanted.error) return "error " + std::string(name(e.code));
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
  if ((r.mode == execution_mode::jit) != wanted.jit) return "mode";
  if (r.promote_hot_opcodes != wanted.hot_opcodes) return "promote_hot_opcodes";
  if (r.promote_hot_windows != wanted.hot_windows) return "promote_hot_windows";
  if (r.age_priority_work != wanted.ages) return "age_priority_work";
  return {};
}

void expect_none(const std::string& what) {
  if (!what.empty()) RC_FAIL(what);
}

bool same(const result<launch_recommendation>& a, const result<launch_recommendation>& b) {
  if (a.has_value() != b.has_value()) return false;
  return a ? *a == *b : a.error() == b.error();
}

template <class T>
bool refused(const result<T>& got, const error& wanted) {
  return !got.has_value() && got.error() == wanted;
}

/// A policy of any values, about half of which keep the rules.
policy_parameters any_policy(dice& d) {
  policy_parameters p;
  const auto count = [&] { return d.near({1, 2, 256, 1024, most32}); };
  p.sizing = {.default_workers = count() | 1,
              .occupancy_divisor = count() | 1,
              .max_dispatch_groups = count() | 1,
              .powerful_invocations = count(),
              .powerful_worker_groups = count() | 1};
  p.min_hit_capacity = count();
  p.hit_capacity_multiplier = count() | 1;
  p.saturated_waves = count() | 1;
  p.hot_opcode_threshold = d.below(12);
  p.hot_window_threshold = d.below(12);
  p.jit_queue_len_threshold = count();
  p.priority_age_threshold = count();
  p.dense_bps = d.pick({0u, 1u, 9'999u, 10'000u, d.below(10'001)});
  p.sparse_bps = d.one_in(4) ? p.dense_bps : d.below(p.dense_bps + 1);
  const std::uint32_t room = std::min(p.sparse_bps, 10'000 - p.dense_bps);
  p.frontier_hysteresis_bps = d.one_in(2) ? room : d.below(room + 1);
  p.memory_pressure_bps = d.pick({0u, 1u, 9'999u, 10'000u, d.below(10'001)});
  p.memory_hysteresis_bps =
      d.one_in(2) ? p.memory_pressure_bps : d.below(p.memory_pressure_bps + 1);
  p.fusion_edge_threshold = count();
  p.scratch_bytes_per_hit = count();
  if (!d.one_in(2)) return p;
  const std::array spoilt{&p.sizing.default_workers,
                          &p.sizing.occupancy_divisor,
                          &p.sizing.max_dispatch_groups,
                          &p.sizing.powerful_worker_groups,
                          &p.hit_capacity_multiplier,
                          &p.saturated_waves,
                          &p.sparse_bps,
                          &p.dense_bps,
                          &p.frontier_hysteresis_bps,
                          &p.memory_pressure_bps,
                          &p.memory_hysteresis_bps};
  *spoilt[d.below(spoilt.size())] = d.pick({0u, 1u, 250u, 10'000u, 10'001u, most32, most32 - 250});
  return p;
}

bool keeps_rules(const policy_parameters& p) {
  const std::int64_t sparse = p.sparse_bps;
  const std::int64_t dense = p.dense_bps;
  const std::int64_t margin = p.frontier_hysteresis_bps;
  const std::int64_t pressure = p.memory_pressure_bps;
  const auto within = [](std::int64_t bps) { return bps >= 0 && bps <= 10'000; };
  return p.sizing.default_workers > 0 && p.sizing.occupancy_divisor > 0 &&
         p.sizing.max_dispatch_groups > 0 && p.sizing.powerful_worker_groups > 0 &&
         p.hit_capacity_multiplier > 0 && p.saturated_waves > 0 && sparse <= dense &&
         within(sparse - margin) && within(sparse + margin) && within(dense - margin) &&
         within(dense + margin) && within(pressure) &&
         within(pressure - std::int64_t{p.memory_hysteresis_bps});
}

/// A request that is not refused, with nothing to infer.
launch_request easy_request(dice& d) {
  launch_request r =
      launch_request::on({.max_workgroup_size_x = d.between(1, 1024),
                          .max_compute_workgroups_per_dimension = d.between(1, 65'535),
                          .max_compute_invocations_per_workgroup = d.between(1, 8192)},
                         d.between(1, 1u << 24));
  r.requested_worker_groups = d.below(2048);
  r.frontier_density_bps = static_cast<std::uint16_t>(d.between(1, 10'000));
  r.memory_pressure_bps = static_cast<std::uint16_t>(d.between(1, 8000));
  r.graph_node_count = d.between(1, 1u << 20);
  r.graph_edge_count = d.below(1u << 18);
  r.hot_opcode_count = d.below(10);
  return r;
}

constexpr int rounds = 100;

void agreement() {
  dice d(*seeds());
  constexpr auto standard = launch_policy::standard();
  for (int i = 0; i < rounds; ++i) {
    const launch_request request = any_request(d, standard.parameters());
    const auto previous = any_topology(d);
    const auto wanted =
        plain::recommend(plain_of(standard.parameters()), plain_of(request), plain_of(previous));
    const auto got = recommend(request, previous);
    expect_none(difference(got, wanted));
    RC_ASSERT(same(got, recommend(standard, request, previous)));
    RC_ASSERT(same(got, explain(request, previous).outcome()));
  }
}

void agreement_of_any_policy() {
  dice d(*seeds());
  for (int i = 0; i < rounds; ++i) {
    const policy_parameters parameters = any_policy(d);
    const auto policy = launch_policy::build(parameters);
    RC_ASSERT(policy.has_value() == keeps_rules(parameters));
    if (!policy) {
      const error& why = policy.error();
      RC_ASSERT(why.code == error_code::policy_out_of_range);
      RC_ASSERT(!why.subject().empty());
      RC_ASSERT(why.found != why.bound);
      continue;
    }
    RC_ASSERT(policy->parameters() == parameters);
    const launch_request request = any_request(d, parameters);
    const auto previous = any_topology(d);
    const auto wanted =
        plain::recommend(plain_of(parameters), plain_of(request), plain_of(previous));
    const auto got = recommend(*policy, request, previous);
    expect_none(difference(got, wanted));
    RC_ASSERT(same(got, explain(*policy, request, previous).outcome()));
  }
}

void invariants() {
  dice d(*seeds());
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
  dice d(*seeds());
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
  dice d(*seeds());
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
  dice d(*seeds());
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
  dice d(*seeds());
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

/// The reasons are those of this very decision, in the order it is made, and can be read.
void explanations() {
  dice d(*seeds());
  constexpr policy_parameters p = launch_policy::standard().parameters();
  for (int i = 0; i < rounds; ++i) {
    const launch_request request = any_request(d, p);
    const auto previous = any_topology(d);
    const explanation why = explain(request, previous);
    see(why);
    RC_ASSERT(std::ranges::is_sorted(why.reasons(), {}, &reason::about));
    for (const reason& r : why.reasons()) {
      const reason_text sentence = r.sentence();
      RC_ASSERT(!r.name().empty() && !name(r.about()).empty());
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
    RC_ASSERT(says(decision::topology, name(launch.topology)));
    RC_ASSERT(says(decision::pressure, name(launch.pressure)));
    RC_ASSERT(says(decision::mode, name(launch.mode)));
    // Deciding again on what was inferred changes nothing.
    if (why.request().frontier_density_bps != 0 || request.graph_node_count == 0)
      RC_ASSERT(same(why.outcome(), recommend(why.request(), previous)));
  }
}

void sizing_helpers() {
  dice d(*seeds());
  for (int i = 0; i < rounds; ++i) {
    const auto number = [&] { return d.near({0, 1, 31, 64, 256, 1024, 65'535, most32}); };
    const std::uint32_t workers = number();
    const std::uint32_t queue = number();
    const std::uint32_t width = number();
    const std::uint32_t groups = number();
    const std::uint32_t invocations = d.near({0, 1, 4096});
    const auto lanes = plain::clamp(workers, 1, std::max(1u, width));
    const auto at_least_one = [](plain::wide v) { return std::max<plain::wide>(v, 1); };
    RC_ASSERT(worker_workgroup_size(workers, width) == lanes);
    const auto parts = plain::parts_of(at_least_one(queue), at_least_one(width));
    RC_ASSERT(padded_slot_count(queue, width) == parts * at_least_one(width));
    RC_ASSERT(dispatch_grid(workers, queue, width)[0] ==
              std::min({parts, at_least_one(workers), plain::wide{1024}}));
    RC_ASSERT(default_worker_groups(groups, invocations) ==
              plain::default_groups({}, groups, invocations));
    const std::uint64_t items = d.one_in(4) ? d.sized() : queue;
    const auto geometry = geometry_for_items(items, workers, width);
    const auto slots = plain::parts_of(at_least_one(items), lanes) * lanes;
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
  dice d(*seeds());
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
  plain::ask filled = plain_of(request);
  if (filled.nodes == 0) filled.nodes = slots;
  if (filled.edges == 0) filled.edges = depth;
  if (filled.density == 0) filled.density = slots == 0 ? 0 : depth * 10'000 / slots;
  filled.opcodes = claimed;
  filled.windows = static_cast<unsigned>(
      std::ranges::count_if(window_slots, [](std::uint32_t n) { return n >= 4; }));
  filled.requeues += requeued;
  plain::launch wanted =
      filled.requeues > plain::u64_most
          ? plain::refuse("requeue_count_overflow", 0, request.requeue_count, requeued)
          : plain::recommend(plain_of(standard.parameters()), filled, plain_of(previous));
  const auto got = recommend_launch(telemetry, request, previous);
  expect_none(difference(got, wanted));
  RC_ASSERT(same(got, recommend_launch(telemetry.summary(), request, previous)));
  const explanation why = explain_launch(standard, telemetry.summary(), request, previous);
  see(why);
  RC_ASSERT(same(got, why.outcome()));
  RC_ASSERT(std::ranges::is_sorted(why.reasons(), {}, &reason::about));
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

void accounting() {
  dice d(*seeds());
  priority_accounting got{.requeue_count = most64 - d.below(8),
                          .aged_promotions = most64 - d.below(8)};
  for (int i = 0; i < 20; ++i) {
    priority_accounting wanted = got;
    const auto age = static_cast<std::uint32_t>(d.sized());
    const bool requeue = d.one_in(2);
    std::uint64_t& counter = requeue ? wanted.requeue_count : wanted.aged_promotions;
    const auto recorded = requeue ? record_requeue(got, age) : record_aged_promotion(got, age);
    RC_ASSERT(recorded.has_value() == (counter != most64));
    if (recorded) {
      ++counter;
      wanted.max_priority_age = std::max(wanted.max_priority_age, age);
    } else {
      RC_ASSERT(recorded.error().code == (requeue ? error_code::requeue_count_overflow
                                                  : error_code::aged_promotions_overflow));
    }
    RC_ASSERT(got == wanted);
  }
}

double any_double(dice& d) {
  if (d.one_in(3)) return std::bit_cast<double>(d.next());
  if (d.one_in(3))
    return d.pick(
        {0.0, -0.0, 1.0, -1.0, 0.5, std::numeric_limits<double>::infinity(),
         -std::numeric_limits<double>::infinity(), std::numeric_limits<double>::quiet_NaN(),
         -std::numeric_limits<double>::quiet_NaN(), std::numeric_limits<double>::denorm_min()});
  return static_cast<double>(d.below(2'000'001)) / 1'000'000.0 - 1.0;
}

std::vector<double> any_doubles(dice& d, std::size_t count) {
  std::vector<double> values(count);
  for (double& v : values) v = any_double(d);
  return values;
}

bool same_number(double a, double b) {
  return (std::isnan(a) && std::isnan(b)) ||
         std::bit_cast<std::uint64_t>(a) == std::bit_cast<std::uint64_t>(b);
}

/// Each product and sum rounded by itself, whatever the compiler would like.
double product(double a, double b) {
  volatile double rounded = a * b;
  return rounded;
}
double difference(double a, double b) {
  volatile double rounded = a - b;
  return rounded;
}

void diffusion() {
  dice d(*seeds());
  const auto values = any_doubles(d, d.below(9));
  const auto restriction = any_doubles(d, d.one_in(5) ? d.below(9) : values.size());
  const double damping = any_double(d);
  const std::uint32_t iterations = d.below(60);
  auto wanted = values;
  if (values.size() == restriction.size()) {
    for (std::uint32_t step = 0; step < iterations; ++step) {
      for (std::size_t i = 0; i < wanted.size(); ++i)
        wanted[i] = difference(wanted[i], product(product(damping, restriction[i]), wanted[i]));
    }
  }
  auto got = values;
  RC_ASSERT(diffuse(got, restriction, damping, iterations) ==
            (values.size() == restriction.size()));
  RC_ASSERT(std::ranges::equal(got, wanted, same_number));
}

void gradient() {
  dice d(*seeds());
  const std::uint32_t n = d.one_in(10) ? d.near({most32, 65'536}) : d.below(6);
  const std::size_t full = std::size_t{n} * n;
  const auto matrix = any_doubles(d, n > 5 ? 30 : full - std::min<std::size_t>(full, d.below(2)));
  const auto slope = any_doubles(d, n > 5 ? 9 : n + 1 - d.below(2));
  const double rate = any_double(d);
  std::vector<double> wanted;
  if (matrix.size() >= full && slope.size() >= n) {
    for (std::size_t row = 0; row < n; ++row) {
      double sum = 0;
      for (std::size_t i = 0; i < n; ++i)
        sum = difference(sum, -product(matrix[row * n + i], slope[i]));
      wanted.push_back(product(-rate, sum));
    }
  }
  std::vector<double> out(12, 7.0);
  const auto got = natural_gradient_step(matrix, slope, n, rate, out);
  RC_ASSERT(std::ranges::equal(got, wanted, same_number));
  RC_ASSERT(natural_gradient_step(matrix, slope, n, rate,
                                  std::span(out).first(n > 0 && n < 9 ? n - 1 : 0))
                .empty());
}

void autotune() {
  dice d(*seeds());
  std::vector<std::uint32_t> candidates(d.below(9));
  std::iota(candidates.begin(), candidates.end(), 100u);
  const auto costs = any_doubles(d, d.below(9));
  std::size_t best = 0;
  const std::size_t pairs = std::min(candidates.size(), costs.size());
  for (std::size_t i = 1; i < pairs; ++i) {
    if (std::is_lt(std::strong_order(costs[i], costs[best]))) best = i;
  }
  RC_ASSERT(autotune_choice(candidates, costs, 7) == (pairs == 0 ? 7u : candidates[best]));
}

void names() {
  for (int i = 0; i < 6; ++i) {
    const auto topology = static_cast<launch_topology>(i);
    RC_ASSERT(topology_named(name(topology)) == topology);
  }
  RC_ASSERT(!topology_named("empty") && !topology_named(""));
  RC_ASSERT(name(launch_topology{6}).empty() && name(queue_pressure{4}).empty());
  RC_ASSERT(name(execution_mode{2}).empty());
  // Every parameter that can be out of range is named as it is spelt.
  policy_parameters p;
  p.saturated_waves = 0;
  const error waves = launch_policy::build(p).error();
  RC_ASSERT(waves.subject() == std::string_view("saturated_waves"));
  RC_ASSERT(waves.message().text().contains("must be at least 1"));
  p = {};
  p.sparse_bps = 4001;
  const error sparse = launch_policy::build(p).error();
  RC_ASSERT(sparse.subject() == std::string_view("sparse_bps"));
  RC_ASSERT(sparse.message().text().contains("is 4001, but must be at most 4000"));
  p = {};
  p.memory_hysteresis_bps = 8501;
  RC_ASSERT(launch_policy::build(p).error().subject() == std::string_view("memory_hysteresis_bps"));
  p = {};
  p.sizing.default_workers = 0;
  RC_ASSERT(launch_policy::build(p).error().subject() == std::string_view("default_workers"));
}

}  // namespace

int main() {
  bool good = true;
  good &= rc::check("the policy agrees with a plain one", agreement);
  good &= rc::check("any policy that is accepted agrees with a plain one", agreement_of_any_policy);
  good &=
      rc::check("a launch keeps within its limits and covers its ring or is capped", invariants);
  good &= rc::check("more work never needs less", monotone_in_queue);
  good &= rc::check("more pressure never keeps more workers", monotone_in_signals);
  good &= rc::check("inside the band a topology never flips", hysteresis_walk);
  good &= rc::check("refusals start at their exact edges", exact_edges);
  good &= rc::check("reasons are those of the decision", explanations);
  good &= rc::check("sizing helpers agree with plain ones", sizing_helpers);
  good &= rc::check("telemetry fills the gaps of a request", from_telemetry);
  good &= rc::check("accounting counts, or changes nothing", accounting);
  good &= rc::check("diffusion rounds every step", diffusion);
  good &= rc::check("a gradient step sums from left to right", gradient);
  good &= rc::check("the first cheapest candidate wins", autotune);
  good &= rc::check("names and subjects", names);
  good &= all_rules_seen();
  return good ? 0 : 1;
}
