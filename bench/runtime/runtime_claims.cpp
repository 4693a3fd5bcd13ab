// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The figures claimed of the runtime on CPU workers: one producer, one worker, NOP slots, against a
// mutex and condition-variable queue of the same shape, and against two threads that pass a word to
// and fro. Each is a ratio of one run, so that it holds on any machine. Contenders take turns, in a
// new order each round: what disturbs the machine disturbs all of them alike.
#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <expected>
#include <iterator>
#include <memory>
#include <numeric>
#include <random>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "judge.h"
#include "mutex_queue.h"
#include "thread_times.h"
import megakernel;

namespace {

using namespace megakernel;
using clock_type = std::chrono::steady_clock;
using nanoseconds = std::chrono::duration<double, std::nano>;

using judge::bound;
using judge::of;
using judge::quantile;
using judge::quantiles;

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

kernel_session running(std::uint32_t slots, bool spin = true) {
  kernel_session made = must(kernel_session::make({.layout = {.slots = slots}}));
  must(made.launch(must(cpu_workers::make({.workers = 1, .spin = spin})), patiently()));
  return made;
}

/// ns a slot of `count` NOPs through a ring that is drained meanwhile.
double ours(kernel_session& kernel, std::uint64_t count) {
  const auto start = clock_type::now();
  const deadline until = patiently();
  submission last;
  for (std::uint64_t i = 0; i < count; ++i)
    last = must(kernel.queue().publish({.op = opcode::nop, .tenant = 1}, until));
  must(kernel.queue().wait(last, until));
  return nanoseconds(clock_type::now() - start).count() / static_cast<double>(count);
}

double theirs(oracle::mutex_queue& queue, std::uint64_t count) {
  const std::uint64_t before = queue.done();
  const auto start = clock_type::now();
  for (std::uint64_t i = 0; i < count; ++i) queue.push({.tenant = 1});
  while (queue.done() - before < count) {
  }
  return nanoseconds(clock_type::now() - start).count() / static_cast<double>(count);
}

/// ns from before the call that publishes one slot until its DONE is seen.
std::vector<double> our_latencies(kernel_session& kernel, int count) {
  std::vector<double> all;
  for (int i = 0; i < count; ++i) {
    const auto start = clock_type::now();
    const submission one = must(kernel.queue().publish({.op = opcode::nop, .tenant = 1}));
    while (kernel.queue().state(one).progress == progress::pending) {
    }
    all.push_back(nanoseconds(clock_type::now() - start).count());
  }
  return all;
}

std::vector<double> their_latencies(oracle::mutex_queue& queue, int count) {
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

/// ns until a word that one thread stores has come back from another, on lines of their own.
std::vector<double> round_trips(int count) {
  struct alignas(128) line {
    std::atomic<std::uint32_t> word{0};
  };
  line there;
  line back;
  const auto last = static_cast<std::uint32_t>(count);
  std::thread other([&] {
    for (std::uint32_t i = 1; i <= last; ++i) {
      while (there.word.load(std::memory_order_acquire) != i) {
      }
      back.word.store(i, std::memory_order_release);
    }
  });
  std::vector<double> all;
  for (std::uint32_t i = 1; i <= last; ++i) {
    const auto start = clock_type::now();
    there.word.store(i, std::memory_order_release);
    while (back.word.load(std::memory_order_acquire) != i) {
    }
    all.push_back(nanoseconds(clock_type::now() - start).count());
  }
  other.join();
  return all;
}

void row(std::string_view what, const quantiles& q, std::string_view unit) {
  fmt::print("  {:<46}{:>9.1f} {:<8}({:.1f} to {:.1f})\n", what, q.median, unit, q.low, q.high);
}

/// The median of several pieces of work, of those in which enough of two cores was had; else
/// `disturbed`: a piece that waits for a core measures who else wants it. `all` gets each of them.
template <class Piece>
double undisturbed(double least_cores, std::vector<double>& all, const Piece& piece) {
  constexpr int pieces = 60;
  const deadline enough = deadline::in(std::chrono::milliseconds(500));
  thread_times times;
  std::vector<double> samples;
  for (int i = 0; i < pieces && !enough.passed(); ++i) {
    times.start();
    const double ns = piece();
    if (times.cores() >= least_cores) samples.push_back(ns);
  }
  if (samples.empty()) return judge::disturbed;
  all.insert(all.end(), samples.begin(), samples.end());
  return quantile(samples, 0.5);
}

/// Spinning threads have a core each or are disturbed. Those of the queue also sleep.
constexpr double both_spin = 1.95;
constexpr double both_run = 1.3;

struct contender {
  std::uint32_t slots;  ///< 0: the queue
  std::vector<double> rounds;
  std::vector<double> pieces;

  [[nodiscard]] std::string name() const {
    return slots == 0 ? "mutex queue of 1024" : fmt::format("ring of {}", slots);
  }
  [[nodiscard]] std::size_t undisturbed_rounds() const {
    return static_cast<std::size_t>(
        std::ranges::count_if(rounds, [](double ns) { return !std::isnan(ns); }));
  }
};

/// Whether cost depends on the ring's size by more than the run's own repeats differ. The unit is
/// what 80 % of the pieces of one size span, of the median size by that; and at least a tenth of
/// the cheapest, as caches and page tables do tell sizes apart. Where others keep the cores, they
/// keep the caches as well, of which a small ring needs less: only a run whose rounds were mostly
/// undisturbed decides.
void claim_sizes(const std::vector<contender>& rings) {
  constexpr double most = 3;
  constexpr std::string_view what = "dearest ring size - cheapest, in spreads";
  std::vector<quantiles> sizes;
  std::vector<double> spans;
  for (const contender& ring : rings) {
    if (ring.undisturbed_rounds() < judge::least_rounds ||
        ring.undisturbed_rounds() * 4 < ring.rounds.size() * 3)
      return judge::leave_open(what);
    sizes.push_back(of(ring.pieces));
    spans.push_back(sizes.back().high - sizes.back().low);
  }
  const auto [cheapest, dearest] = std::ranges::minmax(sizes, {}, &quantiles::median);
  const double spread = std::max(quantile(spans, 0.5), cheapest.median / 10);
  judge::claim_once(what, (dearest.median - cheapest.median) / spread, bound::at_most, most);
}

void throughput(std::size_t rounds) {
  constexpr std::uint64_t count = 5'000;
  std::vector<contender> all;
  for (std::uint32_t slots = 1u << 6; slots <= 1u << 20; slots *= 4) all.push_back({slots, {}, {}});
  all.push_back({0, {}, {}});
  std::vector<std::size_t> order(all.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::mt19937 engine(20261201);
  for (std::size_t round = 0; round < rounds; ++round) {
    std::ranges::shuffle(order, engine);
    for (const std::size_t i : order) {
      contender& c = all[i];
      if (c.slots == 0) {
        oracle::mutex_queue queue(1024);
        (void)theirs(queue, 10'000);
        c.rounds.push_back(undisturbed(both_run, c.pieces, [&] { return theirs(queue, count); }));
        continue;
      }
      kernel_session kernel = running(c.slots);
      // Twice round the ring: its pages and lines are there.
      (void)ours(kernel, std::max<std::uint64_t>(2 * c.slots, 20'000));
      c.rounds.push_back(undisturbed(both_spin, c.pieces, [&] { return ours(kernel, count); }));
    }
  }
  fmt::print("\nNOP slots, one producer, one spinning worker: ns a slot, medians (10 % to 90 %)\n");
  for (const contender& c : all) {
    if (!c.pieces.empty()) row(c.name(), of(c.pieces), "ns");
    if (const std::size_t left = c.undisturbed_rounds(); left < rounds)
      fmt::print("  {:<46}{} of {} rounds disturbed\n", c.name(), rounds - left, rounds);
  }
  const contender queue = all.back();
  all.pop_back();
  judge::claim("times as fast as the mutex queue, ring of 1024",
               judge::over(queue.rounds, std::ranges::find(all, 1024u, &contender::slots)->rounds),
               bound::at_least, 3);
  claim_sizes(all);
}

void latency(int rounds) {
  std::vector<double> our_all;
  std::vector<double> their_all;
  std::vector<double> bare;
  std::vector<double> ratios;
  for (int round = 0; round < rounds; ++round) {
    std::vector<double> slots;
    {
      kernel_session kernel = running(1024);
      slots = our_latencies(kernel, 20'000);
    }
    // Not beside our spinning worker: two cores are for one pair.
    std::vector<double> words = round_trips(20'000);
    ratios.push_back(quantile(slots, 0.5) / quantile(words, 0.5));
    std::ranges::copy(slots, std::back_inserter(our_all));
    std::ranges::copy(words, std::back_inserter(bare));
    oracle::mutex_queue queue(1024);
    std::ranges::copy(their_latencies(queue, 2'000), std::back_inserter(their_all));
  }
  fmt::print("\nOne slot, published to seen DONE: ns\n");
  for (const auto& [name, samples] : {std::pair("ring", &our_all),
                                      {"a word to and fro between two threads", &bare},
                                      {"mutex queue", &their_all}}) {
    fmt::print("  {:<46}p50 {:>8.0f}   p99 {:>8.0f}   p99.9 {:>8.0f}\n", name,
               quantile(*samples, 0.5), quantile(*samples, 0.99), quantile(*samples, 0.999));
  }
  judge::claim("median of one slot / of a word to and fro", ratios, bound::at_most, 3);
}

void snapshots(int rounds) {
  constexpr std::uint32_t slots = 1u << 16;
  constexpr std::uint64_t count = 1'000'000;
  kernel_session kernel = running(slots);
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
    submission last;
    for (std::uint64_t i = 0; i < count; ++i) {
      last = must(kernel.queue().publish({.op = opcode::nop, .tenant = 1}, until));
      if (i % (count / 10) == 0) must(kernel.snapshot(copy));
    }
    must(kernel.queue().wait(last, until));
    with.push_back(nanoseconds(clock_type::now() - busy).count() / static_cast<double>(count));
  }
  fmt::print("\nSnapshots of a ring of {} slots\n", slots);
  row("one, ns a slot of the ring", of(idle), "ns");
  row("a NOP slot without snapshots", of(without), "ns");
  row("a NOP slot with one every 100,000", of(with), "ns");
}

}  // namespace

/// `runtime_claims [ROUNDS]`; exit 1 when a claim is missed, 77 when none is and some are open.
int main(int argc, char** argv) {
  const int rounds = argc > 1 ? std::max(1, std::atoi(argv[1])) : 15;
  throughput(static_cast<std::size_t>(rounds));
  latency(rounds);
  snapshots(rounds);
  return judge::verdict();
}
