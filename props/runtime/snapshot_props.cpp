// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Snapshots of a ring that producers, lanes and a reclaimer are working on: no slot is shown as it
// never was, and the counters obey what snapshot.cppm says of them.
#include <pthread.h>
#include <signal.h>
#include <time.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <expected>
#include <functional>
#include <iostream>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include "support.h"

#include "runtime_support.h"

import megakernel;

namespace {

using namespace props;
using mk::word;
namespace abi = mk::abi;

/// Opcode without a handler, which faults, for one number in eight.
constexpr word faulting = 1000;

/// Every word of a slot but its status, as a function of one number, which is its argument 0.
std::array<word, abi::slot_words> body_of(word n) {
  std::array<word, abi::slot_words> body{};
  body[abi::opcode_word] = n % 8 == 5 ? faulting : 0;
  body[abi::tenant_word] = n % 29;
  body[abi::priority_word] = n % 5;
  body[abi::argument_word] = n;
  for (std::size_t i = 1; i < abi::argument_words; ++i)
    body[abi::argument_word + i] = (n ^ word(i) << 24) * 0x9E3779B9u + word(i);
  return body;
}

mk::slot_request request_of(const std::array<word, abi::slot_words>& body) {
  return {.op = mk::opcode{body[abi::opcode_word]},
          .tenant = body[abi::tenant_word],
          .level = mk::priority{body[abi::priority_word]},
          .arguments = std::span(body).subspan<abi::argument_word>()};
}

using words16 = std::array<word, abi::slot_words>;

/// Whether a slot of a copy is of one generation and not two halves. A lane may be writing word 15
/// of a slot that it has claimed, and has where it faulted.
bool whole(const words16& slot) {
  const mk::slot_status status{slot[abi::status_word]};
  if (status == mk::slot_status::empty && slot == words16{}) return true;
  const words16 wanted = body_of(slot[abi::argument_word]);
  const bool lanes_own = wanted[abi::opcode_word] == faulting &&
                         (status == mk::slot_status::claimed || status == mk::slot_status::fault ||
                          status == mk::slot_status::empty);
  const std::size_t end = lanes_own ? abi::fault_code_word : abi::slot_words;
  return std::equal(slot.begin() + 1, slot.begin() + std::ptrdiff_t(end), wanted.begin() + 1);
}

/// What is wrong with a snapshot; empty where nothing is.
std::string wrong_with(const mk::live_snapshot& snapshot, std::uint64_t& torn) {
  const std::byte* const ring = snapshot.ring().data();
  const auto slots = static_cast<std::uint32_t>(snapshot.ring().size() / abi::slot_bytes);
  std::vector<std::uint32_t> torn_pages;
  for (std::uint32_t i = 0; i < slots; ++i) {
    words16 slot;
    std::memcpy(slot.data(), ring + std::size_t{i} * abi::slot_bytes, sizeof slot);
    if (slot[abi::status_word] == mk::live_snapshot::torn_status) {
      ++torn;
      const std::uint32_t page = i / mk::live_snapshot::page_slots;
      if (torn_pages.empty() || torn_pages.back() != page) torn_pages.push_back(page);
      slot[abi::status_word] = 0;
      if (slot != words16{}) return "a torn slot shows words";
      continue;
    }
    if (slot[abi::status_word] > word(mk::slot_status::fault)) return "a status that nobody stored";
    if (!whole(slot)) return "slot " + std::to_string(i) + " is two halves";
  }
  if (!std::ranges::equal(torn_pages, snapshot.torn_pages())) return "torn pages";

  const auto at = [&](std::size_t i) { return mk::load_word(snapshot.control().data(), i); };
  const auto sum = [&](std::size_t first, std::size_t count) {
    word all = 0;
    for (std::size_t i = 0; i < count; ++i) all += at(first + i);
    return all;
  };
  // Modulo 2^32: a <= b.
  const auto at_most = [](word a, word b) { return b - a < 1u << 31; };
  const word done = at(abi::done_count_word);
  const word ended = done + at(abi::fault_count_word);
  const word claims = sum(abi::priority_fairness_word, abi::priorities);
  const word by_tenant = sum(abi::tenant_fairness_word, abi::tenant_fairness_counters);
  const auto accepted = word(snapshot.accepted());
  if (!at_most(ended, claims)) return "more ends than claims by priority";
  if (!at_most(ended, by_tenant)) return "more ends than claims by tenant";
  if (!at_most(claims, accepted)) return "more claims by priority than were accepted";
  if (!at_most(by_tenant, accepted)) return "more claims by tenant than were accepted";
  if (!at_most(done, sum(abi::metric_word, abi::metrics))) return "more done than metrics";
  return {};
}

/// The ring copied as anyone would who knows no better.
[[clang::no_sanitize("thread"), gnu::noinline]] void copy_blindly(const word* ring,
                                                                  std::size_t words, word* to) {
  const volatile word* const from = ring;
  for (std::size_t i = 0; i < words; ++i) to[i] = from[i];
}

std::uint64_t blind_tears(mk::kernel_buffers& buffers, std::vector<word>& copy) {
  copy.resize(buffers.ring().size() / sizeof(word));
  copy_blindly(buffers.where().ring, copy.size(), copy.data());
  std::uint64_t tears = 0;
  for (std::size_t i = 0; i < copy.size(); i += abi::slot_words) {
    words16 slot;
    std::memcpy(slot.data(), copy.data() + i, sizeof slot);
    tears += !whole(slot);
  }
  return tears;
}

struct traffic {
  mk::schedule order;
  std::uint32_t slots;
  std::uint32_t producers;
  std::uint32_t workers;
  word start;  ///< of DONE_COUNT and the counters that are compared with it
};

/// Producers and lanes at work, `look` called again and again meanwhile.
void with_traffic(const traffic& t, std::uint64_t wanted,
                  const std::function<void(mk::kernel_session&)>& observe) {
  auto kernel =
      value_of(mk::kernel_session::make({.layout = {.slots = t.slots}, .order = t.order}));
  for (const std::size_t at : {abi::done_count_word, abi::priority_fairness_word,
                               abi::tenant_fairness_word, abi::metric_word})
    control(kernel, at) = t.start;
  launch(kernel, {.workers = t.workers, .order = t.order});
  std::atomic<std::uint64_t> refused{0};
  std::atomic<bool> enough{false};
  {
    std::vector<std::jthread> producers;
    for (std::uint32_t p = 0; p < t.producers; ++p) {
      producers.emplace_back([&, p] {
        for (word n = p; !enough.load(std::memory_order_relaxed); n += t.producers) {
          const auto body = body_of(n * 0x2545F491u);
          refused += !kernel.queue().publish(request_of(body), soon());
        }
      });
    }
    // Without it the ring would fill with faults.
    const std::jthread reclaimer([&] {
      std::vector<mk::fault_notice> notices(64);
      while (!enough.load(std::memory_order_relaxed)) {
        if (kernel.queue().reclaim_faults(notices) == 0)
          std::this_thread::sleep_for(std::chrono::microseconds(20));
      }
    });
    // A failed sample must not leave the producers running.
    struct at_end {
      std::atomic<bool>& flag;
      ~at_end() { flag = true; }
    } const end{enough};
    const mk::deadline until = soon();
    while (kernel.queue().accepted() < wanted && !until.passed()) observe(kernel);
  }
  require(refused == 0, "a producer was refused");
  const auto end = value_of(kernel.drain(soon()));
  require(word(end.done) == word(end.accepted) - end.faults + t.start);
}

std::string describe(const traffic& t) {
  return std::string(t.order == mk::schedule::ring_order ? "ring order, " : "by priority, ") +
         std::to_string(t.slots) + " slots, " + std::to_string(t.producers) + " producers, " +
         std::to_string(t.workers) + " workers";
}

bool no_tears() {
  bool ok = true;
  for (const traffic& t : {traffic{mk::schedule::ring_order, 8, 2, 1, 0},
                           traffic{mk::schedule::ring_order, 256, 3, 2, 0},
                           traffic{mk::schedule::by_priority, 64, 2, 2, 0},
                           traffic{mk::schedule::ring_order, 64, 2, 2, 0u - 5000}}) {
    const std::string what = "a snapshot of a live ring shows half a slot: " + describe(t);
    ok &= once(what.c_str(), [&] {
      mk::live_snapshot snapshot;
      std::uint64_t samples = 0;
      std::uint64_t torn = 0;
      std::uint64_t flushed = 0;
      word last = t.start;
      with_traffic(t, (sanitized ? 500 : 15'000) * (t.slots + 50), [&](mk::kernel_session& kernel) {
        const bool flush = samples % 4 == 3;
        value_of(kernel.snapshot(snapshot, flush ? mk::deadline::in(std::chrono::milliseconds(1))
                                                 : mk::deadline::immediate()));
        const std::string wrong = wrong_with(snapshot, torn);
        require(wrong.empty(), wrong);
        const word done = mk::load_word(snapshot.control().data(), abi::done_count_word);
        require(done - last < 1u << 31, "the done count went back");
        last = done;
        flushed += snapshot.flushed();
        ++samples;
      });
      require(samples > 0);
      std::cout << "  " << samples << " snapshots, " << flushed << " of them flushed, " << torn
                << " slots labelled torn" << std::endl;
    });
  }
  return ok;
}

bool blind_copies_tear() {
  return once("the check above cannot fail: a blind copy of the same ring is shown to tear", [] {
    // Whether it tears is up to the machine: counted, not asserted.
    constexpr std::uint64_t wanted = sanitized ? 30'000 : 100'000;
    std::uint64_t samples = 0;
    std::uint64_t tears = 0;
    std::vector<word> copy;
    with_traffic({mk::schedule::ring_order, 8, 2, 1, 0}, wanted, [&](mk::kernel_session& kernel) {
      tears += blind_tears(kernel.buffers(), copy);
      ++samples;
    });
    std::cout << "  " << samples << " blind copies show " << tears << " torn slots" << std::endl;
  });
}

bool half_written_slots() {
  return once("a half-written slot, a lying status or a wrong sum passes the check", [] {
    auto kernel = value_of(mk::kernel_session::make({.layout = {.slots = 64}}));
    for (word n = 0; n < 64; ++n) value_of(kernel.queue().publish(request_of(body_of(n * 77))));
    mk::live_snapshot snapshot;
    std::uint64_t torn = 0;
    const auto wrong = [&] {
      value_of(kernel.snapshot(snapshot));
      return wrong_with(snapshot, torn);
    };
    require(wrong().empty());
    word* const slot = kernel.buffers().where().ring + std::size_t{40} * abi::slot_words;
    for (std::size_t i = 1; i < abi::slot_words; ++i) {
      slot[i] ^= 1;
      require(!wrong().empty(), "word " + std::to_string(i));
      slot[i] ^= 1;
    }
    slot[0] = 8;
    require(wrong() == "a status that nobody stored");
    slot[0] = mk::live_snapshot::torn_status;  // of a page that is not labelled
    require(!wrong().empty());
    slot[0] = 1;
    require(wrong().empty() && torn == 1);
    for (const std::size_t at : {abi::done_count_word, abi::fault_count_word,
                                 abi::priority_fairness_word, abi::tenant_fairness_word}) {
      control(kernel, at) = 65;
      require(!wrong().empty(), "control word " + std::to_string(at));
      control(kernel, at) = 0;
    }
  });
}

/// Suspends a thread wherever it is.
struct suspension {
  static inline std::atomic<bool> held{false};
  static inline std::atomic<bool> parked{false};
  static void park(int) {
    parked = true;
    while (held) {
      const timespec idle_sleep{.tv_sec = 0, .tv_nsec = 100'000};
      nanosleep(&idle_sleep, nullptr);
    }
    parked = false;
  }
  static void suspend(pthread_t thread) {
    held = true;
    pthread_kill(thread, SIGUSR1);
    require(comes_true([] { return parked.load(); }));
  }
  static void resume() {
    held = false;
    require(comes_true([] { return !parked; }));
  }
};

std::vector<std::uint32_t> slots_taken(const mk::submission_queue& queue) {
  std::vector<std::uint32_t> taken;
  for (std::uint32_t i = 0; i < queue.slots(); ++i) {
    if (queue.generation_of(i) % 2 != 0) taken.push_back(i);
  }
  return taken;
}

/// While a producer is stuck between taking `taken` and publishing them.
void expect_labelled(mk::kernel_session& kernel, const std::vector<std::uint32_t>& taken) {
  mk::live_snapshot snapshot;
  value_of(kernel.snapshot(snapshot));
  std::vector<std::uint32_t> pages;
  for (const std::uint32_t slot : taken) {
    const word seen = mk::load_word(snapshot.ring().data(), std::size_t{slot} * abi::slot_words);
    require(seen == mk::live_snapshot::torn_status, "a slot that is being written is shown");
    const std::uint32_t page = slot / mk::live_snapshot::page_slots;
    if (pages.empty() || pages.back() != page) pages.push_back(page);
  }
  require(std::ranges::equal(snapshot.torn_pages(), pages), "the labelled pages");
  mk::ring_telemetry telemetry;
  value_of(telemetry.decode(snapshot.control(), snapshot.ring()));
  require(telemetry.summary().occupancy().unknown == taken.size());
  // Nor does anything else wait for the producer without a deadline.
  const auto drained = kernel.drain(mk::deadline::in(std::chrono::milliseconds(5)));
  require(code_of(drained) == mk::error_code::deadline_passed);
  require(drained.error().buffer == mk::buffer::ring && drained.error().index == taken[0]);
}

bool producer_that_stops() {
  return once("slots that a producer took and never finished are shown, or hold others up", [] {
    struct sigaction action{};
    action.sa_handler = suspension::park;
    sigaction(SIGUSR1, &action, nullptr);
    auto kernel = running({.layout = {.slots = 100}}, 1);
    const std::array<mk::batch_item, 40> items{};
    std::uint64_t accepted = 0;
    std::jthread producer([&] {
      for (;;) {
        const auto got = kernel.queue().publish_batch(0, items, 7, soon());
        if (!got) break;
        accepted += got->slots;
      }
    });
    bool found = false;
    for (int tries = 0; tries < 20'000 && !found; ++tries) {
      suspension::suspend(producer.native_handle());
      const auto taken = slots_taken(kernel.queue());
      found = taken.size() == items.size() + 1;
      std::string why;
      try {
        if (found) expect_labelled(kernel, taken);
      } catch (const failure& f) {
        why = f.why + " at line " + std::to_string(f.at.line());
      }
      if (!why.empty()) (void)kernel.drain(mk::deadline::immediate());  // ends the producer
      suspension::resume();
      require(why.empty(), why);
    }
    const auto end = value_of(kernel.drain(soon()));
    producer.join();
    // Whether a signal meets those few instructions is luck: that it did not proves nothing.
    if (!found) std::cout << "  the producer was never caught between taking and publishing\n";
    require(kernel.queue().accepted() == accepted && end.done == accepted,
            "what was accepted was run");
    require(slots_taken(kernel.queue()).empty());
  });
}

bool held_slot() {
  return once("a slot that is held is not torn, or is taken, or keeps a feed open", [] {
    auto buffers = value_of(mk::kernel_buffers::make({.slots = 64}));
    auto queue = value_of(mk::submission_queue::over(buffers, mk::schedule::ring_order));
    mk::live_snapshot snapshot;
    const std::uint32_t held = value_of(mk::detail::try_claim(queue, mk::deadline::immediate()));
    require(queue.accepted() == 0);
    for (int i = 0; i < 63; ++i) require(value_of(queue.publish({})).first != held);
    require(code_of(queue.publish({})) == mk::error_code::ring_full);
    require(code_of(mk::detail::try_claim(queue, mk::deadline::immediate())) ==
            mk::error_code::ring_full);
    value_of(snapshot.take(buffers, queue));
    require(snapshot.torn_pages().size() == 1 && snapshot.torn_pages()[0] == held / 32);
    require(mk::load_word(snapshot.ring().data() + std::size_t{held} * abi::slot_bytes, 0) ==
            mk::live_snapshot::torn_status);
    require(code_of(queue.close(mk::deadline::immediate())) == mk::error_code::deadline_passed);
    require(code_of(mk::detail::try_claim(queue, mk::deadline::immediate())) != mk::error_code{});
    mk::detail::abort(queue, held);
    require(queue.close(mk::deadline::immediate()).has_value());
    require(code_of(mk::detail::try_claim(queue, mk::deadline::immediate())) ==
            mk::error_code::feed_closed);
    value_of(snapshot.take(buffers, queue));
    require(snapshot.torn_pages().empty());
  });
}

}  // namespace

int main() {
  bool ok = true;
  ok &= half_written_slots();
  ok &= held_slot();
  // The thread sanitizer puts signals off until a thread waits.
  if (!thread_sanitized) ok &= producer_that_stops();
  ok &= no_tears();
  ok &= blind_copies_tear();
  return ok ? 0 : 1;
}
