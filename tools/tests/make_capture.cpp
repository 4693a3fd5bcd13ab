// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Writes a capture of a kernel that never was, the same for the same arguments, for the tests of
// what reads captures: make_capture FILE FRAMES PERIOD_US SLOTS [plain|eventful|hostile]
//
// eventful: an idle stretch, a stall, faults, windows that stay, a spike of outstanding slots now
// and then. hostile: the same, and texts, opcodes and tenants that nobody should print as they are.
#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <expected>
#include <random>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "load/workload.h"
#include "observe/capture.h"
#include "observe/capture_writer.h"
#include "observe/frame.h"
#include "observe/histogram.h"

import megakernel;

namespace {

using namespace megakernel;
using namespace megakernel::tool;
using std::chrono::nanoseconds;

constexpr std::uint32_t tenants = 9;

struct plan {
  std::string file;
  std::uint64_t frames = 0;
  nanoseconds period{};
  std::uint32_t slots = 0;
  bool eventful = false;
  bool hostile = false;
};

int give_up(std::string_view what) {
  std::fprintf(stderr, "make_capture: %.*s\n", static_cast<int>(what.size()), what.data());
  return 1;
}

class made_up_kernel {
 public:
  made_up_kernel(const plan& of, byte_buffer control, byte_buffer ring)
      : plan_(of), control_(std::move(control)), ring_(std::move(ring)) {
    set(abi::revision_word, abi::revision);
    set(abi::workers_alive_word, 2);
    totals_.tenants.resize(tenants);
    for (std::uint32_t t = 0; t < tenants; ++t) totals_.tenants[t].tenant = t;
  }

  frame next() {
    const double part = static_cast<double>(number_) / static_cast<double>(plan_.frames);
    const bool idle = plan_.eventful && part > 0.35 && part < 0.42;
    const bool stalled = plan_.eventful && part > 0.74 && part < 0.86;
    const double load = idle || stalled ? 0 : 1 + 0.35 * std::sin(part * 40) + noise(0.06);
    const bool spike = plan_.eventful && number_ % 997 == 500;
    const double seconds = std::chrono::duration<double>(plan_.period).count();
    count(static_cast<std::uint64_t>(std::max(0.0, load) * 4.2e6 * seconds), spike);
    if (!stalled) {
      const auto outstanding =
          idle ? 0u : at_most(plan_.slots / 16.0 * load + (spike ? plan_.slots / 2.0 : 0));
      place(outstanding, plan_.eventful && part > 0.6 && part < 0.9);
    }
    set(abi::heartbeat_word, static_cast<word>(number_ * 1000));
    set(abi::done_count_word, static_cast<word>(done_));
    set(abi::done_count_high_word, static_cast<word>(done_ >> 32));
    const nanoseconds at = plan_.period * static_cast<std::int64_t>(number_ + 1);
    torn_.clear();
    if (plan_.eventful && number_ % 400 == 3) torn_ = {0};
    ++number_;
    return {.at = at,
            .wall = std::chrono::system_clock::time_point(std::chrono::seconds(1'790'000'000)) + at,
            .control = control_,
            .ring = ring_,
            .debug_log = {},
            .io_queue = {},
            .torn_pages = torn_,
            .publishers = &totals_};
  }

 private:
  double noise(double sigma) { return std::normal_distribution<double>(0, sigma)(random_); }
  [[nodiscard]] std::uint32_t at_most(double outstanding) const {
    return static_cast<std::uint32_t>(std::clamp(outstanding, 0.0, plan_.slots * 0.9));
  }
  void set(word at, word value) { store_word(control_.data(), at, value); }
  void add(word at, std::uint64_t value) {
    store_word(control_.data(), at, load_word(control_.data(), at) + static_cast<word>(value));
  }

  void count(std::uint64_t done, bool spike) {
    done_ += done;
    constexpr double weights = tenants * (tenants + 1) / 2.0;
    for (std::uint32_t t = 0; t < tenants; ++t) {
      const auto own = static_cast<std::uint64_t>(static_cast<double>(done) * (t + 1) / weights);
      add(abi::tenant_fairness_word + t, own);
      publisher_totals::tenant& total = totals_.tenants[t];
      total.demand += own + own / 50;
      total.finished += own;
      total.waits += own / 2;
      total.waited += own / 2 * (3000 + t * 400);
      totals_.accepted += own;
    }
    for (word op = 0; op < 8; ++op) add(abi::metric_word + op, done / (op + 3));
    constexpr std::uint64_t samples = 64;
    for (std::uint64_t i = 0; done != 0 && i < samples; ++i) {
      const double slow = i == 0 ? std::abs(noise(1.5)) : 0;
      const auto ns =
          static_cast<std::uint64_t>(std::exp(8.1 + noise(0.4) + slow)) * (spike ? 40 : 1);
      const std::uint64_t times = done / samples / 2 + 1;
      totals_.latency.add(log_buckets::of(ns), times);
      totals_.latency.add_extremes(ns * times, ns);
      totals_.publications += times;
    }
  }

  void slot(std::uint32_t index, slot_status status, word op, word tenant, word a0, word a1) {
    std::byte* const words = ring_.data() + std::size_t{index} * abi::slot_bytes;
    store_word(words, abi::opcode_word, op);
    store_word(words, abi::tenant_word, tenant);
    store_word(words, abi::priority_word, word(priority::normal));
    store_word(words, abi::argument_word, a0);
    store_word(words, abi::argument_word + 1, a1);
    store_word(words, abi::status_word, word(status));
  }

  /// From the front: faults, a window that stays for a while, what is outstanding, what is done.
  void place(std::uint32_t outstanding, bool faults) {
    constexpr std::uint32_t window_slots = 6;
    for (std::uint32_t i = 0; i < plan_.slots; ++i) {
      const auto n = static_cast<word>(number_);
      const word op = plan_.hostile && i % 7 == 3 ? 0x5C3C'3E00u + i : i % 8;
      const word tenant = plan_.hostile && i % 11 == 5 ? 0xFFFF'0000u + i : i % tenants;
      if (faults && i < 2) {
        set(abi::fault_count_word, 2);
        slot(i, slot_status::fault, word(opcode::store_u32), 2, 7, ~word{0});
        store_word(ring_.data() + std::size_t{i} * abi::slot_bytes, abi::fault_code_word,
                   word(fault_code::address_outside_buffer));
      } else if (plan_.eventful && outstanding > 2 * window_slots && i >= 2 &&
                 i < 2 + window_slots) {
        slot(i, i % 2 == 0 ? slot_status::published : slot_status::done, 1001, n / 37 % 3, n / 37,
             i < 6 ? 0 : 1);
      } else if (i < outstanding) {
        const auto status = i % 32 == 9    ? slot_status::claimed
                            : i % 16 == 11 ? slot_status::wait_io
                                           : slot_status::published;
        slot(i, status, op, tenant, n, i);
      } else if (number_ * 3 > i) {
        slot(i, slot_status::done, op, tenant, n, i);
      }
    }
  }

  const plan& plan_;
  byte_buffer control_;
  byte_buffer ring_;
  std::mt19937 random_{1};
  std::uint64_t number_ = 0;
  std::uint64_t done_ = 0;
  std::vector<std::uint32_t> torn_;
  publisher_totals totals_;
};

capture_header header_of(const plan& of, std::size_t control, std::size_t ring) {
  capture_header header;
  header.bytes = {.control = control, .ring = ring, .debug_log = 0, .io_queue = 0};
  header.began = std::chrono::system_clock::time_point(std::chrono::seconds(1'790'000'000));
  header.device = "made up";
  header.build = "make_capture";
  header.profile = of.eventful ? "a kernel with an idle stretch, a stall and faults" : "a kernel";
  header.windows = {opcode{1001}};
  if (of.hostile) {
    header.device = "</script><script>alert(1)</script><img src=x onerror=alert(2)>";
    header.build = "\"><style>@import 'http://example.invalid/x.css'</style>\n\x1b[31m";
    header.profile = "bytes that are no text: \xff\xfe\xc3(' & \" <!-- -->";
  }
  return header;
}

int write(const plan& of) {
  auto control = encode_control({.tenants = tenants, .observable_words = 64});
  auto ring = encode_ring(of.slots);
  if (!control || !ring) return give_up("no memory for the buffers");
  const auto header = header_of(of, control->size(), ring->size());
  const auto writer = capture_writer::create(of.file, header);
  if (!writer) return give_up(writer.error());
  made_up_kernel kernel(of, std::move(*control), std::move(*ring));
  for (std::uint64_t i = 0; i < of.frames; ++i) {
    while (!(*writer)->has_room() && (*writer)->failure().empty())
      std::this_thread::sleep_for(std::chrono::microseconds(200));
    if (!(*writer)->offer(kernel.next())) return give_up("a frame was dropped");
  }
  const auto closed = (*writer)->close();
  return closed ? 0 : give_up(closed.error());
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 5) return give_up("FILE FRAMES PERIOD_US SLOTS [plain|eventful|hostile]");
  plan of{.file = argv[1]};
  of.frames = std::strtoull(argv[2], nullptr, 10);
  of.period = std::chrono::microseconds(std::strtoll(argv[3], nullptr, 10));
  of.slots = static_cast<std::uint32_t>(std::strtoul(argv[4], nullptr, 10));
  const std::string_view kind = argc > 5 ? argv[5] : "eventful";
  of.hostile = kind == "hostile";
  of.eventful = of.hostile || kind == "eventful";
  return write(of);
}
