// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Lanes and what serves them: handlers of the user's own, files for LOAD_MISS, a watchdog over
// slots that are stuck, lanes that do not return, and lanes that have nothing to do.
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <expected>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "support.h"

#include "runtime_support.h"

#if defined(PROPS_ADDRESS_SANITIZED)
#include <sanitizer/lsan_interface.h>
#endif

import megakernel;

namespace {

using namespace props;
using mk::opcode;
using mk::progress;
using mk::word;
using mk::device::outcome;
using enum mk::error_code;
namespace abi = mk::abi;

// Handlers.

/// Leaves its slot as it is told, so many times, and then is done. How often it was run it counts
/// in arena word `cell`, and in observable word `cell` when it is done.
struct comes_back {
  static constexpr opcode op{10};
  struct arguments {
    word cell, times, requeue;
  };
  template <class Context>
  outcome operator()(const arguments& a, Context& context) const {
    const auto runs = context.template arena<word>(std::uint64_t{a.cell} * sizeof(word), 1);
    if (!runs) return outcome::fault(mk::fault_code{70});
    if (++runs[0] <= a.times) return a.requeue != 0 ? outcome::requeue() : outcome::yield();
    return context.store_result(a.cell, runs[0]) ? outcome::done()
                                                 : outcome::fault(mk::fault_code{71});
  }
};

struct gives_up {
  static constexpr opcode op{11};
  struct arguments {
    word code;
  };
  template <class Context>
  outcome operator()(const arguments& a, Context&) const {
    return outcome::fault(mk::fault_code{a.code});
  }
};

/// What the handler was called with, for who published it.
struct tells {
  static constexpr opcode op{12};
  struct arguments {
    word first, from[11];
  };
  template <class Context>
  outcome operator()(const arguments& a, Context& context) const {
    word sum = a.first;
    for (const word w : a.from) sum += w;
    const bool stored = context.store_result(0, context.slot()) &&
                        context.store_result(1, context.tenant()) && context.store_result(2, sum);
    return stored && !context.store_result(3, 0) && !context.add_result(~0u, 1)
               ? outcome::done()
               : outcome::fault(mk::fault_code{72});
  }
};

using opcodes = mk::device::handlers<wait_at_gate, comes_back, gives_up, tells>;

mk::result<mk::submission> publish(mk::kernel_session& kernel, opcode op,
                                   std::initializer_list<word> words, std::uint32_t tenant = 0) {
  return kernel.queue().publish(
      {.op = op, .tenant = tenant, .arguments = std::span(words.begin(), words.size())}, soon());
}

bool handlers_that_come_back() {
  return once("a slot left in YIELD or REQUEUE is forgotten, or run once too often", [] {
    for (const auto order : {mk::schedule::ring_order, mk::schedule::by_priority}) {
      constexpr word cells = 40;
      auto kernel = running<opcodes>(
          {.layout = {.slots = 16, .arena_bytes = cells * sizeof(word)}, .order = order}, 2);
      word claims = 0;
      for (word cell = 0; cell < cells; ++cell) {
        claims += cell % 7 + 1;
        value_of(publish(kernel, comes_back::op, {cell, cell % 7, cell % 2}));
      }
      const auto end = value_of(kernel.drain(soon()));
      require(end.done == cells && end.faults == 0 && end.outstanding == 0);
      for (word cell = 0; cell < cells; ++cell)
        require(observable(kernel, cell) == cell % 7 + 1, "how often it was run");
      require(control(kernel, abi::metric_word + 10) == claims);
      require(sum_of(kernel, abi::priority_fairness_word, abi::priorities) == claims);
    }
  });
}

bool handlers_that_fault() {
  return once("a handler's fault loses its code, or is none", [] {
    auto kernel = running<opcodes>({.layout = {.slots = 16, .observable_words = 3}}, 1);
    const auto ends_with = [&](const mk::submission& r, word why) {
      const auto end = value_of(kernel.queue().wait(r, soon()));
      return end.progress == progress::faulted && word(end.why) == why;
    };
    require(ends_with(value_of(publish(kernel, gives_up::op, {4711})), 4711));
    require(ends_with(value_of(publish(kernel, gives_up::op, {0})), 0));
    require(ends_with(value_of(publish(kernel, opcode{99}, {})), 1));
    require(ends_with(value_of(publish(kernel, comes_back::op, {0, 0, 0})), 70));  // no arena
    // In a packed slot a handler may fault, but not wait: what is before it would run again.
    const std::array<word, 1> code{300};
    const std::array<mk::packed_op, 3> ops{{{0, {}}, {11, code}, {0, {}}}};
    require(ends_with(value_of(kernel.queue().publish_packed({.ops = ops}, soon())), 300));
    std::array<mk::fault_notice, 9> notices;
    require(kernel.queue().reclaim_faults(notices) == 5);
    require(notices[0].op == gives_up::op && word(notices[0].why) == 4711 &&
            notices[0].arguments[0] == 4711);
    const auto all =
        value_of(publish(kernel, tells::op, {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12}, 28));
    require(value_of(kernel.queue().wait(all, soon())).progress == progress::done);
    require(observable(kernel, 0) == all.first && observable(kernel, 1) == 28);
    require(observable(kernel, 2) == 78);
    const auto end = value_of(kernel.drain(soon()));
    require(end.faults == 5 && end.done == 1);
  });
}

bool packed_handlers_that_wait() {
  return once("a packed slot with a handler that yields runs its first part twice", [] {
    auto kernel = running<opcodes>({.layout = {.slots = 8, .arena_bytes = 4}}, 1);
    const std::array<word, 2> add{5, abi::observable_word + 9};
    const std::array<word, 3> again{0, 100, 0};
    const std::array<mk::packed_op, 2> ops{{{2, add}, {10, again}}};
    const auto r = value_of(kernel.queue().publish_packed({.ops = ops}, soon()));
    const auto end = value_of(kernel.queue().wait(r, soon()));
    require(end.progress == progress::faulted && end.why == mk::fault_code::malformed_packed_slot);
    require(observable(kernel, 9) == 5);
  });
}

// Files.

class folder {
 public:
  folder() {
    std::string name = std::filesystem::temp_directory_path() / "megakernel-XXXXXX";
    require(mkdtemp(name.data()) != nullptr, "no temporary folder");
    path_ = name;
  }
  ~folder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  folder(const folder&) = delete;
  folder& operator=(const folder&) = delete;
  [[nodiscard]] std::string at(const char* name) const { return path_ / name; }
  std::string file(const char* name, std::size_t bytes, unsigned char first) const {
    std::string content(bytes, '\0');
    for (std::size_t i = 0; i < bytes; ++i) content[i] = static_cast<char>(first + i * 7 + i / 256);
    std::ofstream(at(name), std::ios::binary) << content;
    return content;
  }

 private:
  std::filesystem::path path_;
};

/// How a LOAD_MISS ended.
mk::work_state load(mk::kernel_session& kernel, std::uint32_t resource) {
  const auto r =
      value_of(kernel.queue().publish_load_miss({.resource = resource, .prefetch = false}, soon()));
  return value_of(kernel.queue().wait(r, soon()));
}

bool file_resources() {
  return once("a LOAD_MISS ends well without its bytes, or badly with them", [] {
    const folder here;
    const std::string whole = here.file("whole", 10'000, 1);
    const std::string small = here.file("small", 100, 2);
    const std::string whole_path = here.at("whole");
    const std::string small_path = here.at("small");
    for (const auto order : {mk::schedule::ring_order, mk::schedule::by_priority}) {
      auto kernel = value_of(mk::kernel_session::make(
          {.layout = {.slots = 64, .io_slots = 2, .arena_bytes = 32'768}, .order = order}));
      auto& pump = kernel.pump();
      value_of(pump.add({.id = 1, .path = whole_path.c_str(), .byte_count = 10'000}));
      value_of(pump.add({.id = 2,
                         .path = whole_path.c_str(),
                         .file_offset = 9000,
                         .arena_offset = 12'000,
                         .byte_count = 1000}));
      value_of(pump.add(
          {.id = 3, .path = small_path.c_str(), .arena_offset = 20'000, .byte_count = 101}));
      value_of(pump.add({.id = 4,
                         .path = small_path.c_str(),
                         .file_offset = ~std::uint64_t{0},
                         .arena_offset = 21'000,
                         .byte_count = 1}));
      value_of(pump.add({.id = 5, .path = small_path.c_str(), .arena_offset = 32'768}));
      require(pump.resources() == 5);
      launch<opcodes>(kernel, {.workers = 2, .order = order});
      const auto holds = [&](std::size_t offset, std::string_view wanted) {
        return std::memcmp(kernel.buffers().arena().data() + offset, wanted.data(),
                           wanted.size()) == 0;
      };
      require(load(kernel, 1).progress == progress::done && holds(0, whole));
      require(load(kernel, 2).progress == progress::done);
      require(holds(12'000, std::string_view(whole).substr(9000)));
      require(load(kernel, 5).progress == progress::done, "no bytes, which are all there");
      const auto refused = [&](std::uint32_t id) {
        const auto end = load(kernel, id);
        return end.progress == progress::faulted && end.why == mk::fault_code::io_queue_refused;
      };
      require(refused(3), "a file that ends early");
      require(refused(4), "an offset that no file has");
      require(refused(6) && refused(~0u), "a resource that was never added");

      // Many more than the queue has slots, good ones and bad ones.
      std::vector<mk::submission> misses;
      for (std::uint32_t i = 0; i < 200; ++i) {
        std::array<mk::fault_notice, 16> notices;
        (void)kernel.queue().reclaim_faults(notices);
        misses.push_back(value_of(kernel.queue().publish_load_miss(
            {.resource = i % 4 == 3 ? 77 : i % 2 + 1, .prefetch = i % 2 == 0}, soon())));
      }
      const auto end = value_of(kernel.drain(soon()));
      require(end.done == 3 + 150 && end.faults == 4 + 50,
              std::to_string(end.done) + " done, " + std::to_string(end.faults) + " faults");
      for (const auto& r : misses) require(kernel.queue().state(r).progress != progress::pending);
      for (std::uint32_t i = 0; i < 2; ++i) {
        const std::size_t at = std::size_t{i} * abi::io_slot_words + abi::io_status_word;
        require(std::atomic_ref(kernel.buffers().where().io_queue[at]) == 0,
                "every IO slot was given back");
      }
      value_of(kernel.stop(soon()));
    }
  });
}

bool no_io_queue() {
  return once("a LOAD_MISS without an IO queue waits for ever", [] {
    auto kernel = running({.layout = {.slots = 8, .io_slots = 0}}, 1);
    const auto end = load(kernel, 1);
    require(end.progress == progress::faulted && end.why == mk::fault_code::io_queue_refused);
  });
}

bool files_that_are_none() {
  return once("what is not a regular file is opened, and may never answer", [] {
    const folder here;
    here.file("whole", 10, 0);
    require(mkfifo(here.at("fifo").c_str(), 0600) == 0);
    std::filesystem::create_directory(here.at("directory"));
    std::filesystem::create_symlink(here.at("whole"), here.at("link"));
    std::filesystem::create_symlink(here.at("loop"), here.at("loop"));
    auto buffers = value_of(mk::kernel_buffers::make({.slots = 1, .arena_bytes = 16}));
    auto pump = value_of(mk::file_pump::over(buffers));
    const auto add = [&](const char* name) {
      const std::string path = here.at(name);
      return pump.add({.id = 8, .path = path.c_str(), .byte_count = 10});
    };
    const auto refused_with = [&](const char* name, int number) {
      return refused(add(name), mk::error{.code = resource_unreadable,
                                          .index = 8,
                                          .found = static_cast<std::uint64_t>(number)});
    };
    require(refused_with("fifo", EINVAL) && refused_with("directory", EINVAL));
    require(refused_with("nothing", ENOENT) && refused_with("whole/part", ENOTDIR));
    require(refused_with("loop", ELOOP) && pump.resources() == 0);
    value_of(add("link"));
    require(code_of(add("whole")) == resource_repeated && pump.resources() == 1);
    // It serves on where it has moved to; descriptors are closed once.
    auto moved = std::move(pump);
    require(moved.resources() == 1 && moved.serve() == 0);
  });
}

// Watching.

bool watchdog_names_the_slot() {
  return once("the watchdog does not say which slot is stuck", [] {
    the_gate.reset();
    auto kernel = value_of(mk::kernel_session::make(
        {.layout = {.slots = 16}, .hold_time = std::chrono::milliseconds(5)}));
    launch<opcodes>(kernel, {.workers = 2});
    for (int i = 0; i < 5; ++i) value_of(kernel.queue().publish({}, soon()));
    require(comes_true([&] { return control(kernel, abi::done_count_word) == 5; }));
    const auto stuck = value_of(publish(kernel, wait_at_gate::op, {7, 8, 9}, 21));
    require(comes_true([&] { return the_gate.waiting == 1; }));
    mk::health_report report;
    require(comes_true([&] {
      const auto got = kernel.observe();
      if (got) report = *got;
      return got && report.state == mk::kernel_state::stalled;
    }));
    require(report.outstanding_slots == 1 && report.stuck_slots == 1 && report.oldest.size() == 1);
    require(report.done == 5 && report.done_delta == 0);
    require(report.quiet >= std::chrono::milliseconds(5));
    require(report.heartbeat_delta.value_or(0) != 0, "the other lane passes");
    const mk::slot_snapshot& slot = report.oldest[0].slot;
    require(slot.index == stuck.first && slot.op == wait_at_gate::op && slot.tenant == 21);
    require(slot.status == mk::slot_status::claimed);
    require((slot.arguments == std::array<word, 3>{7, 8, 9}));
    // And what it has seen and found can be looked at.
    const auto& dog = kernel.watchdog();
    require(dog.telemetry().slots()[stuck.first].op == wait_at_gate::op);
    require(comes_true([&] {
      value_of(kernel.observe());
      return dog.diagnosis().find(mk::finding_kind::stalled) != nullptr && dog.diagnosis().alarm();
    }));
    the_gate.open = true;
    value_of(kernel.drain(soon()));
    require(comes_true([&] {
      const auto got = kernel.observe({}, soon());
      return got && got->state == mk::kernel_state::idle && got->done == 6;
    }));
    require(kernel.watchdog().snapshot().accepted() == 6);
    value_of(kernel.stop(soon()));
    require(comes_true([&] {
      const auto got = kernel.observe();
      return got && got->state == mk::kernel_state::stopped;
    }));
  });
}

bool blocked_is_not_stalled() {
  return once("the watchdog takes work without a mask for a stalled kernel", [] {
    auto kernel = running({.layout = {.slots = 16}, .hold_time = std::chrono::milliseconds(2)}, 1);
    const auto forged = value_of(kernel.queue().publish({.tenant = 40}, soon()));
    mk::health_report report;
    require(comes_true([&] {
      const auto got = kernel.observe({}, soon());
      if (got) report = *got;
      return got && report.state == mk::kernel_state::blocked;
    }));
    require(report.unauthorised_slots == 1 && report.oldest[0].slot.index == forged.first);
    require(report.oldest[0].slot.tenant == 40);
  });
}

// Lanes that do not return, or have nothing to do.

bool lanes_that_do_not_return() {
  return once("a handler that does not return hangs stop or the destructor", [] {
    the_gate.reset();
    std::chrono::steady_clock::time_point began;
    {
#if defined(PROPS_ADDRESS_SANITIZED)
      __lsan_disable();  // the lanes keep what they work on
#endif
      auto kernel = running<opcodes>({.layout = {.slots = 16}}, 3);
#if defined(PROPS_ADDRESS_SANITIZED)
      __lsan_enable();
#endif
      // Slots 0, 1 and 2 are those of lanes 0, 1 and 2.
      for (int i = 0; i < 3; ++i) value_of(publish(kernel, wait_at_gate::op, {}));
      require(comes_true([&] { return the_gate.waiting == 3; }));
      const auto drained = kernel.drain(mk::deadline::in(std::chrono::milliseconds(1)));
      require(refused(drained, mk::error{.code = deadline_passed,
                                         .buffer = mk::buffer::ring,
                                         .index = 0,
                                         .found = word(mk::slot_status::claimed)}));
      for (int i = 0; i < 2; ++i) {
        const auto stopped = kernel.stop(mk::deadline::in(std::chrono::milliseconds(1)));
        require(refused(stopped, mk::error{.code = deadline_passed, .found = 3}));
      }
      // A snapshot does not wait for them either.
      mk::live_snapshot snapshot;
      value_of(kernel.snapshot(snapshot, mk::deadline::in(std::chrono::milliseconds(1))));
      require(!snapshot.flushed());
      began = std::chrono::steady_clock::now();
    }
    // A second by its own word; the rest is for a machine that is busy.
    require(std::chrono::steady_clock::now() - began < std::chrono::seconds(30));
    require(the_gate.waiting == 3, "the lanes are where they were");
    the_gate.open = true;
    require(comes_true([&] { return the_gate.waiting == 0; }));
  });
}

bool stop_called_again() {
  return once("a stop that came too early cannot be called again", [] {
    the_gate.reset();
    auto kernel = running<opcodes>({.layout = {.slots = 16}}, 1);
    value_of(publish(kernel, wait_at_gate::op, {}));
    value_of(publish(kernel, opcode::nop, {}));
    require(comes_true([&] { return the_gate.waiting == 1; }));
    require(code_of(kernel.stop(mk::deadline::immediate())) == deadline_passed);
    the_gate.open = true;
    const auto end = value_of(kernel.stop(soon()));
    require(end.running == 0 && end.accepted == 2 && end.done == 1 && end.outstanding == 1);
    require(value_of(kernel.stop(mk::deadline::immediate())).done == 1);
  });
}

bool lanes_never_launched() {
  return once("lanes that were never launched are waited for", [] {
    const auto lanes = value_of(mk::cpu_workers::make({.workers = 3}));
    require(lanes->flush(mk::deadline::immediate()) && lanes->running() == 0 && lanes->end());
  });
}

// Sanitizers and counters of coverage slow all down.
#if defined(__LLVM_INSTR_PROFILE_GENERATE)
constexpr bool slowed = true;
#else
constexpr bool slowed = sanitized;
#endif

std::chrono::microseconds processor_time() {
  rusage used{};
  getrusage(RUSAGE_SELF, &used);
  const auto of = [](const timeval& t) {
    return std::chrono::seconds(t.tv_sec) + std::chrono::microseconds(t.tv_usec);
  };
  return of(used.ru_utime) + of(used.ru_stime);
}

bool idle_lanes() {
  return once("idle lanes burn a core, or wake up late", [] {
    const folder here;
    here.file("some", 10, 0);
    const std::string path = here.at("some");
    for (const auto order : {mk::schedule::ring_order, mk::schedule::by_priority}) {
      auto kernel = value_of(
          mk::kernel_session::make({.layout = {.slots = 4096, .arena_bytes = 16}, .order = order}));
      value_of(kernel.pump().add({.id = 1, .path = path.c_str(), .byte_count = 10}));
      launch<opcodes>(kernel, {.workers = 2, .order = order});
      value_of(kernel.queue().wait(value_of(kernel.queue().publish({}, soon())), soon()));
      std::this_thread::sleep_for(std::chrono::milliseconds(200));  // they have gone to sleep
      constexpr double most = 0.25;  // two lanes that do not sleep take 2
      double share = 1;
      for (int i = 0; i < 3 && share >= most; ++i) {
        const auto used_before = processor_time();
        const auto before = std::chrono::steady_clock::now();
        std::this_thread::sleep_for(std::chrono::seconds(1));
        const std::chrono::duration<double> used = processor_time() - used_before;
        const std::chrono::duration<double> wall = std::chrono::steady_clock::now() - before;
        share = std::min(share, used / wall);
      }

      std::array<std::chrono::nanoseconds, 15> waits;
      for (auto& took : waits) {
        std::this_thread::sleep_for(std::chrono::milliseconds(20));
        const auto start = std::chrono::steady_clock::now();
        value_of(kernel.queue().wait(value_of(kernel.queue().publish({}, soon())), soon()));
        took = std::chrono::steady_clock::now() - start;
      }
      std::ranges::sort(waits);
      const auto median = waits[waits.size() / 2];
      std::cout << "  " << share * 100 << " % of a core; from idle to done in "
                << std::chrono::duration<double, std::micro>(median).count() << " us" << std::endl;
      if (slowed) continue;
      require(share < most, "idle lanes burn a core");
      require(median < std::chrono::milliseconds(5), "idle lanes wake up late");
    }
  });
}

bool far_from_the_next_slot() {
  return once("work far from where a sleeping lane expects it waits for most of a minute", [] {
    constexpr std::uint32_t slots = 1u << 20;
    constexpr std::uint32_t far = 700'000;
    auto kernel = value_of(mk::kernel_session::make({.layout = {.slots = slots}}));
    launch<opcodes>(kernel, {.workers = 1});
    value_of(kernel.queue().wait(value_of(kernel.queue().publish({}, soon())), soon()));
    std::this_thread::sleep_for(std::chrono::milliseconds(300));  // it has gone to sleep
    value_of(value_of(mk::ring_publisher::over(kernel.buffers().ring())).publish(far, {}));
    const auto start = std::chrono::steady_clock::now();
    value_of(kernel.queue().publish({}, soon()));  // which wakes the lane
    value_of(kernel.drain(soon()));
    const std::chrono::duration<double> took = std::chrono::steady_clock::now() - start;
    std::cout << "  " << took.count() << " s" << std::endl;
    require(took < std::chrono::seconds(10), "it was found late");
  });
}

bool one_shot() {
  return once("a one-shot launch leaves a slot out, or looks twice", [] {
    for (const auto order : {mk::schedule::ring_order, mk::schedule::by_priority}) {
      auto kernel = value_of(
          mk::kernel_session::make({.layout = {.slots = 60, .arena_bytes = 400}, .order = order}));
      const bool by_priority = order == mk::schedule::by_priority;
      for (word i = 0; i < 60; ++i) {
        const std::array<word, 3> arguments{i, i % 3 == 0, 0};  // every third yields once
        value_of(kernel.queue().publish(
            {.op = comes_back::op,
             .level = by_priority ? mk::priority{i % 5} : mk::priority::normal,
             .arguments = arguments}));
      }
      launch<opcodes>(kernel, {.workers = 3, .order = order, .one_shot = true});
      require(comes_true([&] { return control(kernel, abi::heartbeat_word) == 60; }));
      const auto end = value_of(kernel.stop(soon()));
      // A lane sees another's yield where both look at all slots.
      require(end.done + end.outstanding == 60 && end.done >= 40);
      if (!by_priority) require(end.done == 40);
    }
  });
}

}  // namespace

int main() {
  bool ok = true;
  ok &= handlers_that_come_back();
  ok &= handlers_that_fault();
  ok &= packed_handlers_that_wait();
  ok &= file_resources();
  ok &= no_io_queue();
  ok &= files_that_are_none();
  ok &= watchdog_names_the_slot();
  ok &= blocked_is_not_stalled();
  ok &= lanes_that_do_not_return();
  ok &= stop_called_again();
  ok &= lanes_never_launched();
  ok &= idle_lanes();
  ok &= far_from_the_next_slot();
  ok &= one_shot();
  return ok ? 0 : 1;
}
