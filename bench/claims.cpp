// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The figures this project claims of decoding. Each is a ratio of medians of one run, so that it
// holds on any machine: contenders take turns, and each runs once to warm up and twice on the clock
// a round.
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <expected>
#include <functional>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "ceilings.h"
#include "judge.h"
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
using clock = std::chrono::steady_clock;

/// Volatile, so that no reading is left out.
volatile std::uint64_t sink = 0;

using judge::of;
using judge::quantiles;

/// Contenders that take turns.
class contest {
 public:
  explicit contest(std::uint32_t slots) : slots_(slots) {}

  void add(std::string name, std::function<void()> run) {
    contenders_.push_back({std::move(name), std::move(run), {}});
  }
  void hold(int rounds) {
    const int repeats = std::max(1, static_cast<int>((1u << 17) / slots_));
    for (int round = 0; round < rounds; ++round) {
      for (contender& c : contenders_) {
        c.run();
        double best = 1e18;
        for (int timed = 0; timed < 2; ++timed) {
          const auto start = clock::now();
          for (int i = 0; i < repeats; ++i) c.run();
          const std::chrono::duration<double, std::nano> took = clock::now() - start;
          best = std::min(best, took.count() / repeats / slots_);
        }
        c.samples.push_back(best);
      }
    }
  }
  /// ns a slot, of each round.
  [[nodiscard]] const std::vector<double>& ns_per_slot(std::string_view name) const {
    return std::ranges::find(contenders_, name, &contender::name)->samples;
  }
  /// The fastest of those whose names begin so.
  [[nodiscard]] std::string fastest(std::string_view prefix) const {
    const contender* best = nullptr;
    for (const contender& c : contenders_) {
      if (!c.name.starts_with(prefix)) continue;
      if (best == nullptr || of(c.samples).median < of(best->samples).median) best = &c;
    }
    return best->name;
  }
  void print() const {
    for (const contender& c : contenders_) {
      const quantiles q = of(c.samples);
      fmt::print("  {:<34}{:>8.2f} ns/slot   ({:.2f} to {:.2f})\n", c.name, q.median, q.low,
                 q.high);
    }
  }

 private:
  struct contender {
    std::string name;
    std::function<void()> run;
    std::vector<double> samples;
  };
  std::uint32_t slots_;
  std::vector<contender> contenders_;
};

std::span<const std::byte> bytes(const byte_buffer& b) { return {b.data(), b.size()}; }

void decode_claims(std::uint32_t slots, int rounds) {
  const auto control = *encode_control({.tenants = 29});
  const auto mixed = make_ring(slots, rings::statuses::unpredictable, false);
  const auto uniform = make_ring(slots, rings::statuses::one, false);
  const auto windowed = make_ring(slots, rings::statuses::unpredictable, true);
  const auto opcodes = window_list();
  byte_buffer table;
  if (!table.resize_for_overwrite(std::size_t{slots} * sizeof(slot_snapshot))) std::abort();
  const std::span<std::byte> output(table.data(), table.size());
  table.fill_zero();

  ring_summary summary;
  ring_telemetry full;
  oracle::decoded plainly;
  const auto decode = [&control](auto& into, const byte_buffer& ring,
                                 const window_opcodes& list = {}) {
    if (!into.decode(bytes(control), bytes(ring), list)) std::abort();
  };
  const auto unsigned_bytes = [](const byte_buffer& b) {
    return std::span(reinterpret_cast<const unsigned char*>(b.data()), b.size());
  };

  contest all(slots);
  all.add("read, portable", [&] { sink = ceilings::read_portable(bytes(mixed)); });
  all.add("write, memset", [&] { ceilings::write_memset(output); });
#if defined(__x86_64__)
  all.add("write, streaming", [&] { ceilings::write_streaming(output); });
  if (__builtin_cpu_supports("avx2"))
    all.add("read, avx2, prefetch", [&] { sink = ceilings::read_avx2<8192>(bytes(mixed)); });
  if (__builtin_cpu_supports("avx512f")) {
    all.add("read, avx512", [&] { sink = ceilings::read_avx512<0>(bytes(mixed)); });
    all.add("read, avx512, prefetch", [&] { sink = ceilings::read_avx512<8192>(bytes(mixed)); });
  }
#endif
  all.add("summary", [&] { decode(summary, mixed); });
  all.add("summary, one status", [&] { decode(summary, uniform); });
  all.add("summary, with windows", [&] { decode(summary, windowed, opcodes); });
  all.add("summary, same ring, no windows", [&] { decode(summary, windowed); });
  all.add("full", [&] { decode(full, mixed); });
  all.add("full, one status", [&] { decode(full, uniform); });
  all.add("full, with windows", [&] { decode(full, windowed, opcodes); });
  all.add("full, same ring, no windows", [&] { decode(full, windowed); });
  all.add("plain decoder",
          [&] { oracle::decode(unsigned_bytes(control), unsigned_bytes(mixed), {}, plainly); });
  all.add("plain decoder, with windows", [&] {
    oracle::decode(unsigned_bytes(control), unsigned_bytes(windowed), rings::window_opcodes,
                   plainly);
  });
  all.hold(rounds);

  decode(summary, windowed, opcodes);
  fmt::print("\n{} slots, {} windows, medians (10 % to 90 %)\n", slots, summary.windows().size());
  all.print();
  const auto ns = [&](std::string_view name) { return all.ns_per_slot(name); };
  using judge::bound;
  using judge::over;
  const std::vector<double> read = ns(all.fastest("read"));
  std::vector<double> read_and_write = ns(all.fastest("write"));
  for (std::size_t i = 0; i < read.size(); ++i) read_and_write[i] += read[i];
  for (const std::string name : {"summary", "full"}) {
    judge::claim(name + ": unpredictable statuses / one status",
                 over(ns(name), ns(name + ", one status")), bound::at_most, 1.15);
    // The memory is the floor of decoding without windows: a faster processor raises this one.
    judge::record(name + ": with windows / without",
                  over(ns(name + ", with windows"), ns(name + ", same ring, no windows")));
  }
  if (slots == 1u << 20) {
    judge::claim("summary: share of the read ceiling", over(read, ns("summary")), bound::at_least,
                 0.85);
    judge::claim("full: time / (read once + write once)", over(ns("full"), read_and_write),
                 bound::at_most, 1.25);
  }
  if (slots >= 1u << 16) {
    for (const std::string name : {"summary", "full"}) {
      judge::claim(name + ": times as fast as the plain decoder",
                   over(ns("plain decoder"), ns(name)), bound::at_least, 3);
      judge::claim(name + ", with windows: the same",
                   over(ns("plain decoder, with windows"), ns(name + ", with windows")),
                   bound::at_least, 4);
    }
  }
}

}  // namespace

/// `claims [ROUNDS [SLOTS...]]`; exit 1 when a claim is missed, 77 when none is and some are open.
int main(int argc, char** argv) {
  const int rounds = argc > 1 ? std::max(1, std::atoi(argv[1])) : 15;
  std::vector<std::uint32_t> sizes{1u << 10, 1u << 16, 1u << 20, 1u << 22};
  if (argc > 2) sizes.clear();
  for (int i = 2; i < argc; ++i)
    sizes.push_back(static_cast<std::uint32_t>(std::max(1, std::atoi(argv[i]))));
  for (const std::uint32_t slots : sizes) decode_claims(slots, rounds);
  return judge::verdict();
}
