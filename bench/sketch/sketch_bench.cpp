// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Sketches beside a plain textbook Count-Min sketch: a vector, one hash and one division a row,
// slot by slot.
#include <benchmark/benchmark.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <expected>
#include <span>
#include <vector>

import megakernel;

namespace {

using megakernel::word;

class textbook_sketch {
 public:
  textbook_sketch(std::uint64_t depth, std::uint64_t width)
      : depth_(depth), width_(width), counters_(depth * width) {}

  /// False when a counter is full.
  bool add(std::uint32_t key, std::uint64_t amount) {
    if (amount == 0) return true;
    for (std::uint64_t row = 0; row < depth_; ++row) {
      std::uint64_t& counter = counters_[row * width_ + bucket(row, key)];
      if (__builtin_add_overflow(counter, amount, &counter)) return false;
    }
    return true;
  }
  [[nodiscard]] std::uint64_t estimate(std::uint32_t key) const {
    std::uint64_t least = ~std::uint64_t{0};
    for (std::uint64_t row = 0; row < depth_; ++row)
      least = std::min(least, counters_[row * width_ + bucket(row, key)]);
    return least;
  }
  bool merge(const textbook_sketch& other) {
    for (std::size_t i = 0; i < counters_.size(); ++i) {
      if (__builtin_add_overflow(counters_[i], other.counters_[i], &counters_[i])) return false;
    }
    return true;
  }
  void clear() { std::fill(counters_.begin(), counters_.end(), 0); }
  [[nodiscard]] std::span<const std::uint64_t> counters() const { return counters_; }

 private:
  [[nodiscard]] std::uint64_t bucket(std::uint64_t row, std::uint32_t key) const {
    std::uint64_t x = key ^ row * 0x9E3779B97F4A7C15u;
    x += 0x9E3779B97F4A7C15u;
    x = (x ^ x >> 30) * 0xBF58476D1CE4E5B9u;
    x = (x ^ x >> 27) * 0x94D049BB133111EBu;
    return (x ^ x >> 31) % width_;
  }
  std::uint64_t depth_;
  std::uint64_t width_;
  std::vector<std::uint64_t> counters_;
};

struct textbook_telemetry {
  textbook_sketch ring_opcode, active_opcode, tenant, status, dispatch_metrics;
  textbook_telemetry(std::uint64_t depth, std::uint64_t width)
      : ring_opcode(depth, width),
        active_opcode(depth, width),
        tenant(depth, width),
        status(depth, width),
        dispatch_metrics(depth, width) {}
  bool assign(const megakernel::ring_telemetry& telemetry) {
    for (auto* sketch : {&ring_opcode, &active_opcode, &tenant, &status, &dispatch_metrics})
      sketch->clear();
    bool ok = true;
    for (const auto& slot : telemetry.slots()) {
      ok &= ring_opcode.add(word(slot.op), 1);
      ok &= tenant.add(slot.tenant, 1);
      ok &= status.add(word(slot.status), 1);
      if (is_active(slot.status)) ok &= active_opcode.add(word(slot.op), 1);
    }
    for (const auto metric : telemetry.control().metrics())
      ok &= dispatch_metrics.add(metric.index, metric.count);
    return ok;
  }
};

/// The same with this library's sketch: what its telemetry sketch would cost without the idea.
bool assign_each_slot(std::array<megakernel::count_min_sketch, 5>& sketches,
                      const megakernel::ring_telemetry& telemetry) {
  for (auto& sketch : sketches) sketch.clear();
  bool ok = true;
  for (const auto& slot : telemetry.slots()) {
    ok &= sketches[0].add(word(slot.op), 1).has_value();
    ok &= sketches[1].add(slot.tenant, 1).has_value();
    ok &= sketches[2].add(word(slot.status), 1).has_value();
    if (is_active(slot.status)) ok &= sketches[3].add(word(slot.op), 1).has_value();
  }
  for (const auto metric : telemetry.control().metrics())
    ok &= sketches[4].add(metric.index, metric.count).has_value();
  return ok;
}

std::uint64_t next(std::uint64_t& state) {
  return megakernel::splitmix64(state += 0x9E3779B97F4A7C15u);
}

std::vector<std::uint32_t> random_keys() {
  std::vector<std::uint32_t> keys(4096);
  std::uint64_t state = 1;
  for (std::uint32_t& key : keys) key = static_cast<std::uint32_t>(next(state));
  return keys;
}

/// A ring whose slots have random ones of so many tenants, opcodes and statuses.
megakernel::ring_telemetry decoded(std::uint32_t slots, std::uint32_t tenants,
                                   std::uint32_t opcodes, std::uint32_t statuses) {
  std::vector<word> control(megakernel::abi::control_words);
  for (word i = 0; i < megakernel::abi::metrics; ++i) control[megakernel::abi::metric_word + i] = i;
  std::vector<word> ring(std::size_t{slots} * megakernel::abi::slot_words);
  std::uint64_t state = 7;
  for (std::size_t i = 0; i < slots; ++i) {
    word* const slot = ring.data() + i * megakernel::abi::slot_words;
    const std::uint64_t random = next(state);
    slot[megakernel::abi::status_word] = static_cast<word>((random >> 40) % statuses);
    slot[megakernel::abi::opcode_word] = static_cast<word>((random & 0xFFFFF) % opcodes);
    slot[megakernel::abi::tenant_word] = static_cast<word>((random >> 20 & 0xFFFFF) % tenants);
  }
  megakernel::ring_telemetry telemetry;
  if (!telemetry.decode(std::as_bytes(std::span(control)), std::as_bytes(std::span(ring))))
    std::abort();
  return telemetry;
}

template <class Sketch>
Sketch made(std::uint64_t depth, std::uint64_t width) {
  if constexpr (requires { Sketch::of_shape(depth, width); }) {
    auto sketch = Sketch::of_shape(depth, width);
    if (!sketch) std::abort();
    return std::move(*sketch);
  } else {
    return Sketch(depth, width);
  }
}

template <class Sketch>
Sketch of_arguments(const benchmark::State& state) {
  return made<Sketch>(static_cast<std::uint64_t>(state.range(0)),
                      static_cast<std::uint64_t>(state.range(1)));
}

template <class Sketch>
void add(benchmark::State& state) {
  auto sketch = of_arguments<Sketch>(state);
  const auto keys = random_keys();
  bool ok = true;
  for (auto _ : state) {
    for (const std::uint32_t key : keys) ok &= static_cast<bool>(sketch.add(key, 1));
    benchmark::DoNotOptimize(ok);
    benchmark::ClobberMemory();
  }
  state.SetItemsProcessed(state.iterations() * static_cast<std::int64_t>(keys.size()));
}

template <class Sketch>
void estimate(benchmark::State& state) {
  auto sketch = of_arguments<Sketch>(state);
  const auto keys = random_keys();
  for (const std::uint32_t key : keys) (void)sketch.add(key, 1);
  for (auto _ : state) {
    std::uint64_t sum = 0;
    for (const std::uint32_t key : keys) sum += sketch.estimate(key);
    benchmark::DoNotOptimize(sum);
    benchmark::ClobberMemory();
  }
  state.SetItemsProcessed(state.iterations() * static_cast<std::int64_t>(keys.size()));
}

template <class Sketch>
void merge(benchmark::State& state) {
  auto sketch = of_arguments<Sketch>(state);
  auto other = of_arguments<Sketch>(state);
  for (const std::uint32_t key : random_keys()) (void)other.add(key, 1);
  for (auto _ : state) {
    bool ok = static_cast<bool>(sketch.merge(other));
    benchmark::DoNotOptimize(ok);
    benchmark::ClobberMemory();
  }
  state.SetItemsProcessed(state.iterations() * state.range(0) * state.range(1));
}

void shapes(benchmark::internal::Benchmark* b) {
  b->ArgNames({"depth", "width"});
  for (const std::int64_t width : {1, 2, 3, 1000, 1023, 1024, 1025, 65536, 65537})
    b->Args({4, width});
  b->Args({1, 1024})->Args({1, 1000})->Args({2, 1000})->Args({8, 1024})->Args({8, 1000});
}
BENCHMARK(add<textbook_sketch>)->Apply(shapes);
BENCHMARK(add<megakernel::count_min_sketch>)->Apply(shapes);
BENCHMARK(estimate<textbook_sketch>)->Apply(shapes);
BENCHMARK(estimate<megakernel::count_min_sketch>)->Apply(shapes);
BENCHMARK(merge<textbook_sketch>)->Args({4, 1024})->Args({4, 65536});
BENCHMARK(merge<megakernel::count_min_sketch>)->Args({4, 1024})->Args({4, 65536});

void rings(benchmark::internal::Benchmark* b) {
  b->ArgNames({"slots", "tenants", "opcodes", "statuses", "width"});
  b->Unit(benchmark::kMicrosecond);
  constexpr std::int64_t large = 1 << 20;
  for (const std::int64_t width : {1024, 1000}) {
    b->Args({large, 32, 40, 8, width});
    b->Args({large, 100'000, 40, 8, width});
  }
  b->Args({large, 1, 1, 1, 1024});
  b->Args({large, 1000, 40, 8, 1024});
  b->Args({large, 100'000, 40, 8, 65536});
  b->Args({large, 1'000'000, 1'000'000, 1'000'000, 1024});
  b->Args({large, 1'000'000, 1'000'000, 1'000'000, 65536});
  b->Args({64, 8, 8, 8, 1024});
  b->Args({4096, 32, 40, 8, 1024});
}

megakernel::ring_telemetry ring_of(const benchmark::State& state) {
  const auto at = [&](std::size_t i) { return static_cast<std::uint32_t>(state.range(i)); };
  return decoded(at(0), at(1), at(2), at(3));
}

template <class Sketch>
void telemetry(benchmark::State& state) {
  const auto ring = ring_of(state);
  auto sketch = made<Sketch>(4, static_cast<std::uint64_t>(state.range(4)));
  for (auto _ : state) {
    bool ok = static_cast<bool>(sketch.assign(ring));
    benchmark::DoNotOptimize(ok);
    benchmark::ClobberMemory();
  }
  state.SetItemsProcessed(state.iterations() * state.range(0));
}
BENCHMARK(telemetry<textbook_telemetry>)->Apply(rings);
BENCHMARK(telemetry<megakernel::telemetry_sketch>)->Apply(rings);

void telemetry_each_slot(benchmark::State& state) {
  const auto ring = ring_of(state);
  std::array<megakernel::count_min_sketch, 5> sketches;
  for (auto& sketch : sketches)
    sketch = made<megakernel::count_min_sketch>(4, static_cast<std::uint64_t>(state.range(4)));
  for (auto _ : state) {
    bool ok = assign_each_slot(sketches, ring);
    benchmark::DoNotOptimize(ok);
    benchmark::ClobberMemory();
  }
  state.SetItemsProcessed(state.iterations() * state.range(0));
}
BENCHMARK(telemetry_each_slot)->Apply(rings);

void write_bytes(benchmark::State& state) {
  auto sketch = made<megakernel::telemetry_sketch>(4, 1024);
  if (!sketch.assign(decoded(4096, 32, 40, 8))) std::abort();
  for (auto _ : state) {
    auto bytes = megakernel::write_sketch(sketch);
    benchmark::DoNotOptimize(bytes);
  }
}
BENCHMARK(write_bytes)->Unit(benchmark::kMicrosecond);

void read_bytes(benchmark::State& state) {
  auto sketch = made<megakernel::telemetry_sketch>(4, 1024);
  if (!sketch.assign(decoded(4096, 32, 40, 8))) std::abort();
  const auto bytes = megakernel::write_sketch(sketch);
  for (auto _ : state) {
    auto read = megakernel::read_telemetry_sketch({bytes->data(), bytes->size()});
    benchmark::DoNotOptimize(read);
  }
}
BENCHMARK(read_bytes)->Unit(benchmark::kMicrosecond);

}  // namespace

BENCHMARK_MAIN();
