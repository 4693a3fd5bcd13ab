// The figures this project claims, each a ratio of medians taken in one run, interleaved: round
// after round every contender runs once to warm up and twice on the clock.
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
#include "plain_decoder.h"
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

struct quantiles {
  double low, median, high;
};

quantiles of(std::vector<double> samples) {
  std::ranges::sort(samples);
  const auto at = [&](double q) {
    return samples[static_cast<std::size_t>(q * static_cast<double>(samples.size() - 1))];
  };
  return {at(0.1), at(0.5), at(0.9)};
}

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
        for (int timed = 0; timed < 2; ++timed) {
          const auto start = clock::now();
          for (int i = 0; i < repeats; ++i) c.run();
          const std::chrono::duration<double, std::nano> took = clock::now() - start;
          c.samples.push_back(took.count() / repeats / slots_);
        }
      }
    }
  }
  [[nodiscard]] quantiles ns_per_slot(std::string_view name) const {
    const auto found = std::ranges::find(contenders_, name, &contender::name);
    return of(found->samples);
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

int missed = 0;

void claim(std::string_view what, double figure, bool at_most, double bound) {
  const bool met = at_most ? figure <= bound : figure >= bound;
  if (!met) ++missed;
  fmt::print("  {} {:<58}{:>7.2f}   {} {:.2f}\n", met ? "met   " : "MISSED", what, figure,
             at_most ? "at most" : "at least", bound);
}

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
  plain::decoded plainly;
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
          [&] { plain::decode(unsigned_bytes(control), unsigned_bytes(mixed), {}, plainly); });
  all.hold(rounds);

  decode(summary, windowed, opcodes);
  fmt::print("\n{} slots, {} windows, medians (10 % to 90 %)\n", slots, summary.windows().size());
  all.print();
  const auto ns = [&](std::string_view name) { return all.ns_per_slot(name).median; };
  const double read = ns(all.fastest("read"));
  const double write = ns(all.fastest("write"));
  claim("summary: unpredictable statuses / one status", ns("summary") / ns("summary, one status"),
        true, 1.15);
  claim("full: unpredictable statuses / one status", ns("full") / ns("full, one status"), true,
        1.15);
  if (slots == 1u << 20) {
    claim("summary: share of the read ceiling", read / ns("summary"), false, 0.85);
    claim("full: time / (read once + write once)", ns("full") / (read + write), true, 1.25);
    claim("full: with windows / without",
          ns("full, with windows") / ns("full, same ring, no windows"), true, 2.5);
    claim("summary: with windows / without",
          ns("summary, with windows") / ns("summary, same ring, no windows"), true, 2.5);
  }
  if (slots >= 1u << 16) {
    claim("summary: times as fast as the plain decoder", ns("plain decoder") / ns("summary"), false,
          3);
    claim("full: times as fast as the plain decoder", ns("plain decoder") / ns("full"), false, 3);
  }
}

}  // namespace

/// `claims [ROUNDS [SLOTS...]]`; exit 1 when a claim is missed.
int main(int argc, char** argv) {
  const int rounds = argc > 1 ? std::max(1, std::atoi(argv[1])) : 15;
  std::vector<std::uint32_t> sizes{1u << 10, 1u << 16, 1u << 20, 1u << 22};
  if (argc > 2) sizes.clear();
  for (int i = 2; i < argc; ++i)
    sizes.push_back(static_cast<std::uint32_t>(std::max(1, std::atoi(argv[i]))));
  for (const std::uint32_t slots : sizes) decode_claims(slots, rounds);
  fmt::print("\n{}\n", missed == 0 ? "Every claim is met." : fmt::format("{} missed.", missed));
  std::fflush(stdout);
  return missed == 0 ? 0 : 1;
}
