// The figures claimed of the runtime on CPU workers: one producer, one worker, NOP slots, against a
// mutex and condition-variable queue of the same shape. Contenders take turns, round after round.
#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <expected>
#include <iterator>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "mutex_queue.h"
import megakernel;

namespace {

using namespace megakernel;
using clock_type = std::chrono::steady_clock;
using nanoseconds = std::chrono::duration<double, std::nano>;

struct quantiles {
  double low, median, high;
};

double quantile(std::vector<double>& samples, double q) {
  std::ranges::sort(samples);
  return samples[static_cast<std::size_t>(q * static_cast<double>(samples.size() - 1))];
}

quantiles of(std::vector<double> samples) {
  return {quantile(samples, 0.1), quantile(samples, 0.5), quantile(samples, 0.9)};
}

template <class T>
T must(result<T> got) {
  if constexpr (std::is_void_v<T>) {
    if (!got) std::abort();
  } else {
    if (!got) {
      std::fputs(std::string(got.error().message().text()).c_str(), stderr);
      std::abort();
    }
    return std::move(*got);
  }
}

deadline patiently() { return deadline::in(std::chrono::seconds(60)); }

runtime running(std::uint32_t slots, bool spin = true) {
  runtime made = must(runtime::make({.layout = {.slots = slots}}));
  must(made.launch(must(cpu_workers::make({.workers = 1, .spin = spin})), patiently()));
  return made;
}

/// ns a slot of `count` NOPs through a ring that is drained meanwhile.
double ours(runtime& kernel, std::uint64_t count) {
  const auto start = clock_type::now();
  const deadline until = patiently();
  receipt last;
  for (std::uint64_t i = 0; i < count; ++i)
    last = must(kernel.feed().publish({.op = opcode::nop, .tenant = 1}, until));
  must(kernel.feed().wait(last, until));
  return nanoseconds(clock_type::now() - start).count() / static_cast<double>(count);
}

double theirs(plain::mutex_queue& queue, std::uint64_t count) {
  const std::uint64_t before = queue.done();
  const auto start = clock_type::now();
  for (std::uint64_t i = 0; i < count; ++i) queue.push({.tenant = 1});
  while (queue.done() - before < count) {
  }
  return nanoseconds(clock_type::now() - start).count() / static_cast<double>(count);
}

/// ns from before the call that publishes one slot until its DONE is seen.
std::vector<double> our_latencies(runtime& kernel, int count) {
  std::vector<double> all;
  for (int i = 0; i < count; ++i) {
    const auto start = clock_type::now();
    const receipt one = must(kernel.feed().publish({.op = opcode::nop, .tenant = 1}));
    while (kernel.feed().state(one).progress == progress::pending) {
    }
    all.push_back(nanoseconds(clock_type::now() - start).count());
  }
  return all;
}

std::vector<double> their_latencies(plain::mutex_queue& queue, int count) {
  std::vector<double> all;
  for (int i = 0; i < count; ++i) {
    std::atomic<bool> done{false};
    const auto start = clock_type::now();
    queue.push({.tenant = 1, .done = &done});
    while (!done.load(std::memory_order_acquire)) {
    }
    all.push_back(nanoseconds(clock_type::now() - start).count());
  }
  return all;
}

int missed = 0;

void claim(std::string_view what, double figure, bool at_most, double bound) {
  const bool met = at_most ? figure <= bound : figure >= bound;
  missed += !met;
  fmt::print("  {} {:<58}{:>8.2f}   {} {:.2f}\n", met ? "met   " : "MISSED", what, figure,
             at_most ? "at most" : "at least", bound);
}

void row(std::string_view what, const quantiles& q, std::string_view unit) {
  fmt::print("  {:<46}{:>9.1f} {:<8}({:.1f} to {:.1f})\n", what, q.median, unit, q.low, q.high);
}

void throughput(int rounds) {
  constexpr std::uint64_t count = 1'000'000;
  const std::vector<std::uint32_t> sizes{1u << 6,  1u << 8,  1u << 10, 1u << 12,
                                         1u << 14, 1u << 16, 1u << 18, 1u << 20};
  std::vector<std::vector<double>> samples(sizes.size());
  std::vector<double> queue_samples;
  for (int round = 0; round < rounds; ++round) {
    for (std::size_t i = 0; i < sizes.size(); ++i) {
      runtime kernel = running(sizes[i]);
      // Twice round the ring: its pages and lines are there.
      (void)ours(kernel, std::max<std::uint64_t>(2 * sizes[i], 100'000));
      samples[i].push_back(ours(kernel, count));
    }
    plain::mutex_queue queue(1024);
    (void)theirs(queue, 10'000);
    queue_samples.push_back(theirs(queue, count / 4));
  }
  fmt::print("\nNOP slots, one producer, one spinning worker: ns a slot, medians (10 % to 90 %)\n");
  double best = 1e9;
  double worst = 0;
  double at_1024 = 0;
  for (std::size_t i = 0; i < sizes.size(); ++i) {
    const quantiles q = of(samples[i]);
    row(fmt::format("ring of {}", sizes[i]), q, "ns");
    best = std::min(best, q.median);
    worst = std::max(worst, q.median);
    if (sizes[i] == 1024) at_1024 = q.median;
  }
  const quantiles queue = of(queue_samples);
  row("mutex queue of 1024", queue, "ns");
  claim("million NOP slots a second, ring of 1024", 1e3 / at_1024, false, 5);
  claim("times as fast as the mutex queue, ring of 1024", queue.median / at_1024, false, 3);
  claim("dearest ring size / cheapest", worst / best, true, 1.5);
}

void latency(int rounds) {
  std::vector<double> our_all;
  std::vector<double> their_all;
  for (int round = 0; round < rounds; ++round) {
    {
      runtime kernel = running(1024);
      std::ranges::copy(our_latencies(kernel, 20'000), std::back_inserter(our_all));
    }
    // Not beside our spinning worker: two cores are for one pair.
    plain::mutex_queue queue(1024);
    std::ranges::copy(their_latencies(queue, 2'000), std::back_inserter(their_all));
  }
  fmt::print("\nOne slot, published to seen DONE: ns\n");
  for (const auto& [name, samples] : {std::pair("ring", &our_all), {"mutex queue", &their_all}}) {
    fmt::print("  {:<46}p50 {:>8.0f}   p99 {:>8.0f}   p99.9 {:>8.0f}\n", name,
               quantile(*samples, 0.5), quantile(*samples, 0.99), quantile(*samples, 0.999));
  }
  claim("median latency, us", quantile(our_all, 0.5) / 1e3, true, 1);
}

void snapshots(int rounds) {
  constexpr std::uint32_t slots = 1u << 16;
  constexpr std::uint64_t count = 1'000'000;
  runtime kernel = running(slots);
  live_snapshot copy;
  std::vector<double> idle;
  std::vector<double> without;
  std::vector<double> with;
  for (int round = 0; round < rounds; ++round) {
    without.push_back(ours(kernel, count));
    const auto start = clock_type::now();
    must(kernel.snapshot(copy));
    idle.push_back(nanoseconds(clock_type::now() - start).count() / slots);
    // A snapshot for every tenth of the work: the producer takes them itself.
    const auto busy = clock_type::now();
    const deadline until = patiently();
    receipt last;
    for (std::uint64_t i = 0; i < count; ++i) {
      last = must(kernel.feed().publish({.op = opcode::nop, .tenant = 1}, until));
      if (i % (count / 10) == 0) must(kernel.snapshot(copy));
    }
    must(kernel.feed().wait(last, until));
    with.push_back(nanoseconds(clock_type::now() - busy).count() / static_cast<double>(count));
  }
  fmt::print("\nSnapshots of a ring of {} slots\n", slots);
  row("one, ns a slot of the ring", of(idle), "ns");
  row("a NOP slot without snapshots", of(without), "ns");
  row("a NOP slot with one every 100,000", of(with), "ns");
}

}  // namespace

/// `runtime_claims [ROUNDS]`; exit 1 when a claim is missed.
int main(int argc, char** argv) {
  const int rounds = argc > 1 ? std::max(1, std::atoi(argv[1])) : 15;
  throughput(rounds);
  latency(rounds);
  snapshots(rounds);
  fmt::print("\n{}\n", missed == 0 ? "Every claim is met." : fmt::format("{} missed.", missed));
  std::fflush(stdout);
  return missed == 0 ? 0 : 1;
}
