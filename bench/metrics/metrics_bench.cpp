// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// What a scrape costs: the bytes of a ring -> decoded, judged, counted and written as a page.
#include <benchmark/benchmark.h>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <expected>
#include <span>
#include <utility>
#include <vector>

import megakernel;

namespace {

namespace mk = megakernel;

template <class T>
T must(mk::result<T> got) {
  if (!got) std::abort();
  return std::move(*got);
}
void must(mk::result<void> got) {
  if (!got) std::abort();
}

/// Every slot is outstanding or faulted, and its tenant and opcode are among `keys`, in no order:
/// the numbers from 0 up, or, `hostile`, any of 32 bits.
struct crowded_ring {
  std::vector<std::uint32_t> control = std::vector<std::uint32_t>(160);
  std::vector<std::uint32_t> ring;

  crowded_ring(std::uint32_t slots, std::uint32_t keys, bool hostile = false)
      : ring(std::size_t{slots} * 16) {
    for (std::size_t i = 64; i < 128; ++i) control[i] = static_cast<std::uint32_t>(i * 12'345);
    control[141] = 1;
    for (std::uint32_t i = 0; i < slots; ++i) {
      std::uint32_t* const slot = ring.data() + std::size_t{i} * 16;
      const auto mixed = static_cast<std::uint32_t>(i * 0x9E3779B97F4A7C15u >> 33);
      slot[0] = i % 16 == 0 ? 7 : 1;
      slot[1] = i < keys ? i : mixed % keys;
      slot[2] = i < keys ? keys - 1 - i : (mixed >> 3) % keys;
      for (const int key : {1, 2}) slot[key] *= hostile ? 0x9E3779B1u : 1;
    }
  }
  [[nodiscard]] std::span<const std::byte> control_bytes() const {
    return std::as_bytes(std::span(control));
  }
  [[nodiscard]] std::span<const std::byte> ring_bytes() const {
    return std::as_bytes(std::span(ring));
  }
};

/// All of it, and how long the page is.
void scrape(benchmark::State& state) {
  crowded_ring made(static_cast<std::uint32_t>(state.range(0)),
                    static_cast<std::uint32_t>(state.range(1)), state.range(2) != 0);
  auto page = must(mk::metrics_page::make({}));
  mk::ring_telemetry telemetry;
  mk::health_tracker tracker;
  mk::aligned_array<char> text;
  std::int64_t at = 0;
  for (auto _ : state) {
    ++made.control[1];
    must(telemetry.decode(made.control_bytes(), made.ring_bytes()));
    const auto now = std::chrono::nanoseconds(++at);
    const auto health = must(tracker.observe(telemetry, now));
    must(page.observe({.ring = telemetry, .health = &health, .at = now}));
    must(page.render(mk::metrics_format::openmetrics, text));
    benchmark::DoNotOptimize(text.data());
  }
  state.counters["page_bytes"] = static_cast<double>(text.size());
  state.counters["bound_bytes"] = static_cast<double>(page.bound().bytes);
  state.counters["bound_series"] = static_cast<double>(page.bound().series);
}

/// What the page itself takes of that.
void observe_and_render(benchmark::State& state) {
  const crowded_ring made(static_cast<std::uint32_t>(state.range(0)),
                          static_cast<std::uint32_t>(state.range(1)), state.range(2) != 0);
  auto page = must(mk::metrics_page::make({}));
  mk::ring_telemetry telemetry;
  must(telemetry.decode(made.control_bytes(), made.ring_bytes()));
  mk::aligned_array<char> text;
  for (auto _ : state) {
    must(page.observe({.ring = telemetry}));
    must(page.render(mk::metrics_format::openmetrics, text));
    benchmark::DoNotOptimize(text.data());
  }
}

void render(benchmark::State& state) {
  const crowded_ring made(1024, 1000);
  auto page = must(mk::metrics_page::make({}));
  mk::ring_telemetry telemetry;
  must(telemetry.decode(made.control_bytes(), made.ring_bytes()));
  must(page.observe({.ring = telemetry}));
  mk::aligned_array<char> text;
  for (auto _ : state) {
    must(page.render(mk::metrics_format::openmetrics, text));
    benchmark::DoNotOptimize(text.data());
  }
}

}  // namespace

BENCHMARK(scrape)
    ->ArgNames({"slots", "keys", "hostile"})
    ->Args({1024, 16, 0})
    ->Args({65'536, 16, 0})
    ->Args({65'536, 10'000, 0})
    ->Args({65'536, 10'000, 1})
    ->Unit(benchmark::kMicrosecond);
BENCHMARK(observe_and_render)
    ->ArgNames({"slots", "keys", "hostile"})
    ->Args({65'536, 16, 0})
    ->Args({65'536, 10'000, 0})
    ->Args({65'536, 10'000, 1})
    ->Unit(benchmark::kMicrosecond);
BENCHMARK(render)->Unit(benchmark::kMicrosecond);
BENCHMARK_MAIN();
