// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Cost of the calls that a producer and a poller make all the time, in cache.
#include <benchmark/benchmark.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <expected>
#include <span>
#include <vector>
import megakernel;

namespace {

using namespace megakernel;

void control_decode(benchmark::State& state) {
  const auto control = *encode_control({.tenants = 29});
  for (auto _ : state) {
    auto decoded = decode_control({control.data(), control.size()});
    benchmark::DoNotOptimize(decoded);
  }
}
BENCHMARK(control_decode);

constexpr std::uint32_t ring_slots = 256;

/// What the two below spend on playing the kernel: a slot must be DONE to be published again.
void mark_done(benchmark::State& state) {
  auto ring = *encode_ring(ring_slots);
  std::uint32_t slot = 0;
  for (auto _ : state) {
    store_word(ring.data() + slot * abi::slot_bytes, abi::status_word, word(slot_status::done));
    slot = (slot + 1) % ring_slots;
    benchmark::ClobberMemory();
  }
}
BENCHMARK(mark_done);

void publish_slot(benchmark::State& state) {
  auto ring = *encode_ring(ring_slots);
  auto publisher = *ring_publisher::over({ring.data(), ring.size()});
  const std::array<word, abi::argument_words> arguments{1, 2, 3};
  const auto used = std::span(arguments).first(static_cast<std::size_t>(state.range(0)));
  std::uint32_t slot = 0;
  for (auto _ : state) {
    auto published = publisher.publish(slot, {.op = opcode{42}, .tenant = 3, .arguments = used});
    benchmark::DoNotOptimize(published);
    store_word(ring.data() + slot * abi::slot_bytes, abi::status_word, word(slot_status::done));
    slot = (slot + 1) % ring_slots;
  }
}
BENCHMARK(publish_slot)->ArgName("arguments")->Arg(0)->Arg(3)->Arg(12);

void publish_work_items(benchmark::State& state) {
  auto ring = *encode_ring(ring_slots);
  auto publisher = *ring_publisher::over({ring.data(), ring.size()});
  const std::vector<work_item> items(ring_slots,
                                     {.op = opcode{42}, .input = 1, .output = 2, .param = 3});
  for (auto _ : state) {
    auto published = publisher.publish_work_items(0, 3, items);
    benchmark::DoNotOptimize(published);
    for (std::uint32_t slot = 0; slot < ring_slots; ++slot)
      store_word(ring.data() + slot * abi::slot_bytes, abi::status_word, word(slot_status::done));
  }
  state.counters["ns_per_slot"] =
      benchmark::Counter(ring_slots * 1e-9, benchmark::Counter::kIsIterationInvariantRate |
                                                benchmark::Counter::kInvert);
}
BENCHMARK(publish_work_items);

}  // namespace

BENCHMARK_MAIN();
