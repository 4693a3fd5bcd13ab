// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <benchmark/benchmark.h>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <expected>
#include <optional>
#include <ranges>
#include <span>
#include <vector>

import megakernel;
using namespace megakernel;

namespace {

class prng {
 public:
  std::uint64_t next() {
    std::uint64_t z = state_ += 0x9E37'79B9'7F4A'7C15u;
    z = (z ^ z >> 30) * 0xBF58'476D'1CE4'E5B9u;
    z = (z ^ z >> 27) * 0x94D0'49BB'1331'11EBu;
    return z ^ z >> 31;
  }
  std::uint32_t below(std::uint32_t n) { return static_cast<std::uint32_t>(next() % n); }

 private:
  std::uint64_t state_ = 7;
};

struct question {
  launch_request request;
  std::optional<launch_topology> previous;
};

/// Requests as a controller asks them: all topologies, signals given and inferred in turn, with a
/// previous topology or none. Of 64 that come round again a processor learns the branches, as it
/// does of a controller's, whose requests change little; of 8192 it learns none.
std::vector<question> questions(std::size_t count) {
  prng d;
  std::vector<question> all(count);
  for (question& q : all) {
    launch_request& r = q.request;
    r.queue_len = d.below(8) == 0 ? 0 : d.below(20'000);
    r.requested_worker_groups = d.below(4) == 0 ? 0 : 1 + d.below(512);
    r.limits = {.max_workgroup_size_x = 64u << d.below(5),
                .max_compute_workgroups_per_dimension = 65'535,
                .max_compute_invocations_per_workgroup = 256u << d.below(6)};
    r.expected_hits_per_item = d.below(4);
    r.hot_opcode_count = d.below(12);
    r.hot_window_count = d.below(6);
    r.requeue_count = d.below(2);
    r.max_priority_age = d.below(64);
    r.graph_node_count = 1 + d.below(100'000);
    r.graph_edge_count = d.below(200'000);
    r.frontier_density_bps = static_cast<std::uint16_t>(d.below(2) == 0 ? 0 : d.below(10'001));
    r.memory_pressure_bps = static_cast<std::uint16_t>(d.below(2) == 0 ? 0 : d.below(10'001));
    r.resident_device_bytes = d.next() % 80'000'000'000u;
    r.device_memory_budget_bytes = d.below(4) == 0 ? 0 : 85'000'000'000u;
    if (d.below(2) == 0) q.previous = static_cast<launch_topology>(d.below(6));
  }
  return all;
}

/// Calls `answer` on a question after the other; the time is for one.
template <class Answer>
void ask(benchmark::State& state, Answer answer) {
  const auto all = questions(static_cast<std::size_t>(state.range(0)));
  std::size_t at = 0;
  for (auto _ : state) {
    const question& q = all[at++ % all.size()];
    benchmark::DoNotOptimize(answer(q));
  }
  state.SetItemsProcessed(state.iterations());
}

void recommend_standard(benchmark::State& state) {
  ask(state, [](const question& q) { return recommend(q.request, q.previous); });
}
BENCHMARK(recommend_standard)->Arg(64)->Arg(8192)->ArgName("requests");

void recommend_custom(benchmark::State& state) {
  const auto policy = launch_policy::build({.saturated_waves = 3, .sparse_bps = 600}).value();
  ask(state, [&](const question& q) { return recommend(policy, q.request, q.previous); });
}
BENCHMARK(recommend_custom)->Arg(64)->Arg(8192)->ArgName("requests");

/// One request over and over: the arithmetic alone, every branch predicted.
void recommend_repeated(benchmark::State& state) {
  auto request = launch_request::direct(5'000, 64, 256);
  request.graph_node_count = 10'000;
  request.graph_edge_count = 80'000;
  for (auto _ : state) {
    benchmark::DoNotOptimize(request);
    benchmark::DoNotOptimize(recommend(request, launch_topology::hybrid_frontier));
  }
}
BENCHMARK(recommend_repeated);

void explain_standard(benchmark::State& state) {
  ask(state, [](const question& q) { return explain(q.request, q.previous); });
}
BENCHMARK(explain_standard)->Arg(64)->Arg(8192)->ArgName("requests");

void recommend_from_telemetry(benchmark::State& state) {
  const auto slots = static_cast<std::uint32_t>(state.range(1));
  const auto control = encode_control({});
  std::vector<std::uint32_t> ring(std::size_t{slots} * abi::slot_words);
  for (std::uint32_t i = 0; i < slots / 2; ++i) {  // a window of eight slots a ticket
    auto* const slot = &ring[std::size_t{i} * abi::slot_words];
    slot[0] = 1;
    slot[1] = 42;
    slot[4] = i / 8;
  }
  const std::vector<opcode> opcodes{opcode{42}};
  const auto windows = window_opcodes::of(opcodes);
  ring_summary telemetry;
  if (!telemetry.decode({control->data(), control->size()}, std::as_bytes(std::span(ring)),
                        *windows)) {
    state.SkipWithError("the ring is refused");
    return;
  }
  ask(state, [&](const question& q) { return recommend_launch(telemetry, q.request, q.previous); });
}
BENCHMARK(recommend_from_telemetry)
    ->Args({64, 64})
    ->Args({64, 4096})
    ->ArgNames({"requests", "slots"});

}  // namespace

BENCHMARK_MAIN();
