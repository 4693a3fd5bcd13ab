// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// ns a slot and GB/s of the three ways to decode, beside the plain decoder of the tests and the
// machine's own ceilings. `claims` compares them; this tells where each one stands.
#include <benchmark/benchmark.h>

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <expected>
#include <map>
#include <ranges>
#include <span>
#include <tuple>
#include <vector>

#include "ceilings.h"
#include "oracle_decoder.h"
#include "rings.h"
import megakernel;

namespace {

using namespace megakernel;

byte_buffer make_ring(std::uint32_t slots, rings::statuses which, bool windows) {
  byte_buffer ring;
  if (!ring.resize_for_overwrite(std::size_t{slots} * abi::slot_bytes)) std::abort();
  rings::fill({ring.data(), ring.size()}, which, windows);
  return ring;
}

window_opcodes window_list() {
  std::vector<opcode> list;
  for (const word op : rings::window_opcodes) list.push_back(opcode{op});
  return *window_opcodes::of(list);
}

const byte_buffer& ring_of(std::uint32_t slots, rings::statuses which, bool windows) {
  static std::map<std::tuple<std::uint32_t, rings::statuses, bool>, byte_buffer> made;
  const auto [at, fresh] = made.try_emplace({slots, which, windows});
  if (fresh) at->second = make_ring(slots, which, windows);
  return at->second;
}

std::span<const std::byte> bytes(const byte_buffer& b) { return {b.data(), b.size()}; }

const byte_buffer& control() {
  static const byte_buffer made = *encode_control({.tenants = 29});
  return made;
}

void per_slot(benchmark::State& state, std::uint32_t slots, std::size_t bytes_a_slot = 64) {
  state.counters["ns_per_slot"] = benchmark::Counter(
      slots * 1e-9, benchmark::Counter::kIsIterationInvariantRate | benchmark::Counter::kInvert);
  state.SetBytesProcessed(static_cast<std::int64_t>(bytes_a_slot * slots) *
                          static_cast<std::int64_t>(state.iterations()));
}

std::uint32_t slots_of(const benchmark::State& state) {
  return static_cast<std::uint32_t>(state.range(0));
}

template <class Telemetry>
void decode(benchmark::State& state) {
  const bool windows = state.range(1) != 0;
  const auto& ring = ring_of(slots_of(state), rings::statuses::unpredictable, windows);
  const auto opcodes = windows ? window_list() : window_opcodes();
  Telemetry telemetry;
  for (auto _ : state) {
    auto decoded = telemetry.decode(bytes(control()), bytes(ring), opcodes);
    benchmark::DoNotOptimize(decoded);
    benchmark::ClobberMemory();
  }
  per_slot(state, slots_of(state));
  state.counters["windows"] = static_cast<double>(telemetry.windows().size());
}

void full(benchmark::State& state) { decode<ring_telemetry>(state); }
void summary(benchmark::State& state) { decode<ring_summary>(state); }

/// A pass over the lazy view that decodes every slot.
void view(benchmark::State& state) {
  const auto& ring = ring_of(slots_of(state), rings::statuses::unpredictable, false);
  for (auto _ : state) {
    const auto slots = *ring_view::over(bytes(control()), bytes(ring));
    std::uint64_t outstanding = 0;
    for (const slot_snapshot& slot : slots) outstanding += is_active(slot.status) ? slot.tenant : 0;
    benchmark::DoNotOptimize(outstanding);
  }
  per_slot(state, slots_of(state));
}

void oracle_decoder(benchmark::State& state) {
  const bool windows = state.range(1) != 0;
  const auto& ring = ring_of(slots_of(state), rings::statuses::unpredictable, windows);
  std::vector<word> list;
  if (windows) list.assign(rings::window_opcodes.begin(), rings::window_opcodes.end());
  const auto unsigned_bytes = [](const byte_buffer& b) {
    return std::span(reinterpret_cast<const unsigned char*>(b.data()), b.size());
  };
  oracle::decoded out;
  for (auto _ : state) {
    oracle::decode(unsigned_bytes(control()), unsigned_bytes(ring), list, out);
    benchmark::ClobberMemory();
  }
  per_slot(state, slots_of(state));
}

void sequential_read(benchmark::State& state) {
  const auto& ring = ring_of(slots_of(state), rings::statuses::unpredictable, false);
#if defined(__x86_64__)
  const bool wide = __builtin_cpu_supports("avx512f");
#endif
  for (auto _ : state) {
#if defined(__x86_64__)
    auto fold =
        wide ? ceilings::read_avx512<8192>(bytes(ring)) : ceilings::read_portable(bytes(ring));
#else
    auto fold = ceilings::read_portable(bytes(ring));
#endif
    benchmark::DoNotOptimize(fold);
  }
  per_slot(state, slots_of(state));
}

void sequential_copy(benchmark::State& state) {
  const auto& ring = ring_of(slots_of(state), rings::statuses::unpredictable, false);
  byte_buffer to;
  if (!to.resize_for_overwrite(ring.size())) return state.SkipWithError("no memory");
  for (auto _ : state) {
    std::memcpy(to.data(), ring.data(), ring.size());
    benchmark::ClobberMemory();
  }
  per_slot(state, slots_of(state), 128);
}

constexpr std::int64_t sizes[] = {1 << 10, 1 << 16, 1 << 20, 1 << 22};

void with_windows(benchmark::internal::Benchmark* b) {
  b->ArgNames({"slots", "windows"});
  for (const std::int64_t n : sizes) {
    for (const std::int64_t windows : {0, 1}) b->Args({n, windows});
  }
}
void without_windows(benchmark::internal::Benchmark* b) {
  b->ArgName("slots");
  for (const std::int64_t n : sizes) b->Arg(n);
}

BENCHMARK(sequential_read)->Apply(without_windows);
BENCHMARK(sequential_copy)->Apply(without_windows);
BENCHMARK(summary)->Apply(with_windows);
BENCHMARK(full)->Apply(with_windows);
BENCHMARK(view)->Apply(without_windows);
BENCHMARK(oracle_decoder)->Apply(with_windows);

}  // namespace

BENCHMARK_MAIN();
