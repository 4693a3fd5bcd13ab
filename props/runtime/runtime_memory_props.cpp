// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Where the runtime allocates, and what happens when it cannot: a value, no leak, nothing half
// done. What is called while a kernel runs does not allocate at all.
#include <pthread.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <expected>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "counting_heap.h"
#include "support.h"

#include "runtime_support.h"

import megakernel;
import megakernel.testing;

#include "fake_gpu.h"
#include "fake_targets.h"

namespace {

using namespace props;
using mk::word;
using code = mk::error_code;
using opcodes = mk::device::handlers<add_ticket>;

constexpr std::uint32_t slots = 64;
constexpr auto path = "/proc/self/exe";

/// Calls `attempt` with its first, second, ... allocation failing, only that one or all after it,
/// too, until none fails; `after(whether it failed)` then looks at what is left. Returns how many
/// allocations can fail.
template <class Prepare, class Attempt, class After>
std::uint64_t fails_cleanly(Prepare prepare, Attempt attempt, After after) {
  for (std::uint64_t nth = 0;; ++nth) {
    for (const bool from_then_on : {false, true}) {
      const std::int64_t live = heap::state.live;
      std::uint64_t tried = 0;
      {
        auto subject = prepare();
        code got{};
        {
          const heap::tripwire trip(nth, from_then_on);
          const std::uint64_t before = heap::state.allocations;
          got = attempt(subject);
          tried = heap::state.allocations - before;
        }
        require(got == (tried > nth ? code::out_of_memory : code{}), mk::to_string(got));
        after(subject, tried > nth);
      }
      require(heap::state.live == live, "allocation " + std::to_string(nth) + " leaks");
      if (tried <= nth) return nth;
    }
  }
}

struct nothing {};
nothing no_preparation() { return {}; }
void no_more(nothing, bool) {}

mk::session_options options() {
  static constexpr std::array<word, 256> table{};
  return {.layout = {.slots = slots, .arena_bytes = 100, .dfa_table = table}};
}

bool makers() {
  return once("a part that cannot be made is half made, or its memory lost", [] {
    require(fails_cleanly(
                no_preparation,
                [](nothing) { return code_of(mk::kernel_buffers::make(options().layout)); },
                no_more) == 1);
    auto buffers = value_of(mk::kernel_buffers::make(options().layout));
    require(fails_cleanly(
                no_preparation,
                [&](nothing) {
                  return code_of(mk::submission_queue::over(buffers, mk::schedule::by_priority));
                },
                no_more) == 2);
    require(fails_cleanly(
                no_preparation, [&](nothing) { return code_of(mk::file_pump::over(buffers)); },
                no_more) == 0);
    require(fails_cleanly(
                no_preparation,
                [&](nothing) {
                  return code_of(
                      mk::upload_scanner::over(buffers, nullptr, mk::schedule::ring_order));
                },
                no_more) == 1);
    require(fails_cleanly(
                no_preparation,
                [](nothing) { return code_of(mk::kernel_session::make(options())); },
                no_more) == 1 + 2 + 1);
    require(fails_cleanly(
                no_preparation,
                [](nothing) { return code_of(mk::cpu_workers::make({.workers = 5})); },
                no_more) >= 4);
    require(
        fails_cleanly(
            no_preparation,
            [](nothing) { return code_of(mk::gpu_target::make(props::fakes::reducing_gpu, {})); },
            no_more) == 1);
    // What the error says was wanted: the generations of the slots.
    const heap::tripwire trip(0);
    require(refused(
        mk::submission_queue::over(buffers, mk::schedule::ring_order),
        mk::error{.code = code::out_of_memory, .found = slots, .bound = sizeof(std::uint64_t)}));
  });
}

bool resources() {
  return once("a resource without memory is remembered, or its file stays open", [] {
    auto buffers = value_of(mk::kernel_buffers::make(options().layout));
    const auto lowest_free_descriptor = [] {
      const int found = dup(0);
      close(found);
      return found;
    };
    const int before = lowest_free_descriptor();
    const auto can_fail = fails_cleanly(
        [&] { return value_of(mk::file_pump::over(buffers)); },
        [](mk::file_pump& pump) { return code_of(pump.add({.id = 1, .path = path})); },
        [](mk::file_pump& pump, bool failed) {
          require(pump.resources() == (failed ? 0u : 1u));
          require(pump.add({.id = 1, .path = path}).has_value() == failed);
          value_of(pump.add({.id = 2, .path = path}));
          require(pump.resources() == 2);
        });
    require(can_fail == 1);
    require(lowest_free_descriptor() == before, "a file stays open");
  });
}

struct ready {
  mk::kernel_session kernel;
  std::unique_ptr<mk::cpu_workers> workers;
};

bool launches() {
  return once("a launch without memory for a thread leaves lanes behind, or ends the runtime", [] {
    for (const bool pump : {false, true}) {
      const auto can_fail = fails_cleanly(
          [&] {
            ready made{value_of(mk::kernel_session::make(options())),
                       value_of(mk::cpu_workers::make<opcodes>({.workers = 3}))};
            if (pump) value_of(made.kernel.pump().add({.id = 1, .path = path}));
            return made;
          },
          [](ready& r) { return code_of(r.kernel.launch(std::move(r.workers), soon())); },
          [](ready& r, bool failed) {
            if (failed) {
              require(control(r.kernel, mk::abi::workers_alive_word) == 0, "a lane is left");
              require(control(r.kernel, mk::abi::shutdown_word) == 0, "told to leave for good");
              launch<opcodes>(r.kernel, {.workers = 3});
            }
            for (std::uint32_t i = 0; i < 3 * slots; ++i)
              value_of(r.kernel.queue().publish({}, soon()));
            require(value_of(r.kernel.drain(soon())).done == 3 * slots);
            value_of(r.kernel.stop(soon()));
          });
      require(can_fail == (pump ? 4u : 3u), "a thread a lane, and one for the pump");
    }
  });
}

bool carried_launches() {
  return once("a launch without memory for what brings work to a device leaves a kernel", [] {
    constexpr mk::gpu::call_status yes = mk::gpu::call_status::yes;
    const auto on_card = [] {
      return value_of(mk::gpu_target::make(props::fakes::fake_gpu<yes, yes>,
                                           {.lanes = 32, .ring = mk::ring_memory::device}));
    };
    struct ready_gpu {
      mk::kernel_session kernel;
      std::unique_ptr<mk::gpu_target> gpu;
    };
    require(fails_cleanly(
                [&] { return ready_gpu{value_of(mk::kernel_session::make(options())), on_card()}; },
                [](ready_gpu& r) { return code_of(r.kernel.launch(std::move(r.gpu), soon())); },
                [&](ready_gpu& r, bool failed) {
                  require(r.kernel.launch(on_card(), soon()).has_value() == failed);
                }) == 2);
  });
}

bool steppers() {
  return once("a stepper without memory is half made, or has stepped", [] {
    auto buffers = value_of(mk::kernel_buffers::make(options().layout));
    require(fails_cleanly(
                no_preparation, [&](nothing) { return code_of(mk::stepper::over(buffers)); },
                no_more) == 2);
    const auto nobody = [&] { return value_of(mk::stepper::over(buffers, {.trace = true})); };
    // What is run, its stack, and a place for it.
    const auto add_can_fail = fails_cleanly(
        nobody, [](mk::stepper& s) { return code_of(s.add_lane<opcodes>({.passes = 1})); },
        [](mk::stepper& s, bool failed) { require(s.actors() == (failed ? 0u : 1u)); });
    require(add_can_fail >= 3, std::to_string(add_can_fail));

    const auto one = [&] {
      auto made = nobody();
      value_of(made.add([](mk::stepping_memory& memory, const mk::device::launch& where) {
        for (int i = 0; i < 3; ++i)
          memory.add(where.control + mk::abi::observable_word, 1, mk::device::relaxed,
                     mk::device::in_system);
      }));
      return made;
    };
    const auto counted = std::atomic_ref(buffers.where().control[mk::abi::observable_word]);
    counted = 0;
    std::vector<mk::step_record> trace;
    {
      auto s = one();
      for (int i = 0; i < 3; ++i) require(value_of(s.step(0)));
      trace.assign(s.trace().begin(), s.trace().end());
    }
    const auto anew = [&] {
      counted = 0;
      return one();
    };
    require(fails_cleanly(
                anew, [](mk::stepper& s) { return code_of(s.step(0)); },
                [&](mk::stepper& s, bool failed) {
                  require(counted == (failed ? 0u : 1u) && s.trace().size() == counted);
                  require(value_of(s.step(0)) && counted == (failed ? 1u : 2u));
                }) == 2);
    require(fails_cleanly(
                anew, [&](mk::stepper& s) { return code_of(s.replay(trace)); },
                [&](mk::stepper& s, bool failed) {
                  require(counted == (failed ? 0u : 3u));
                  if (failed) require(value_of(s.replay(trace)) == 3);
                }) == 2);
    const auto explore_can_fail = fails_cleanly(
        anew, [](mk::stepper& s) { return code_of(s.explore({})); },
        [&](mk::stepper& s, bool) {
          require(counted == 0);  // put back
          const auto again = value_of(s.explore({}));
          require(again.complete && again.ends == 1 && again.states == 4 && counted == 0);
        });
    require(explore_can_fail > 10, std::to_string(explore_can_fail));
  });
}

struct watched {
  mk::kernel_buffers buffers;
  std::optional<mk::submission_queue> queue;
  mk::live_snapshot snapshot;
  mk::watchdog dog;
};

std::unique_ptr<watched> something_to_watch() {
  auto made = std::make_unique<watched>(value_of(mk::kernel_buffers::make(options().layout)));
  made->queue.emplace(
      value_of(mk::submission_queue::over(made->buffers, mk::schedule::ring_order)));
  for (int i = 0; i < 3; ++i) value_of(made->queue->publish({}));
  return made;
}

bool snapshots() {
  return once("a snapshot without memory shows what it showed before, or half of a ring", [] {
    const auto take = [](std::unique_ptr<watched>& w) {
      return code_of(w->snapshot.take(w->buffers, *w->queue));
    };
    const auto is_whole = [](watched& w) {
      return w.snapshot.control().size() == w.buffers.control().size() &&
             w.snapshot.ring().size() == w.buffers.ring().size() &&
             w.snapshot.debug_log().size() == w.buffers.debug_log().size() &&
             w.snapshot.io_queue().size() == w.buffers.io_queue().size() &&
             w.snapshot.accepted() == 3 && w.snapshot.torn_pages().empty();
    };
    const auto can_fail =
        fails_cleanly(something_to_watch, take, [&](std::unique_ptr<watched>& w, bool failed) {
          if (failed) {
            require(w->snapshot.control().empty() && w->snapshot.ring().empty() &&
                    w->snapshot.debug_log().empty() && w->snapshot.io_queue().empty() &&
                    w->snapshot.torn_pages().empty() && w->snapshot.accepted() == 0 &&
                    !w->snapshot.flushed());
            require(take(w) == code{});
          }
          require(is_whole(*w));
          const std::uint64_t before = heap::state.allocations;
          require(take(w) == code{});
          require(heap::state.allocations == before, "storage is kept");
        });
    require(can_fail == 5);

    const auto observe = [](std::unique_ptr<watched>& w) {
      return code_of(w->dog.observe(w->buffers, *w->queue, nullptr));
    };
    const auto dog_can_fail =
        fails_cleanly(something_to_watch, observe, [&](std::unique_ptr<watched>& w, bool) {
          const auto report = value_of(w->dog.observe(w->buffers, *w->queue, nullptr));
          require(report.outstanding_slots == 3 && w->dog.snapshot().accepted() == 3);
          require(observe(w) == code{});
          const std::uint64_t before = heap::state.allocations;
          require(observe(w) == code{});
          require(heap::state.allocations == before, "storage is kept");
        });
    require(dog_can_fail == 5 + 1 + 3, std::to_string(dog_can_fail));
  });
}

struct counted {
  mk::kernel_session kernel;
  mk::live_digest digest;
  mk::window_opcodes windows;
};

constexpr mk::sketch_shape shape{.depth = 2, .width = 8};

/// A ring with a window, which a device reduces, or nobody.
std::unique_ptr<counted> something_to_count(bool device) {
  const std::array<mk::opcode, 1> list{add_ticket::op};
  auto made = std::make_unique<counted>(value_of(mk::kernel_session::make(options())),
                                        mk::live_digest(), value_of(mk::window_opcodes::of(list)));
  const std::array<std::span<const word>, 3> entries{};
  value_of(made->kernel.queue().publish_window({.op = add_ticket::op, .required = entries}));
  if (!device) return made;
  value_of(
      made->kernel.launch(value_of(mk::gpu_target::make(props::fakes::reducing_gpu, {})), soon()));
  // From here on the device itself allocates nothing.
  props::fakes::repeats = false;
  mk::live_digest first;
  value_of(made->kernel.digest(first, made->windows, shape));
  require(first.by_device());
  props::fakes::repeats = true;
  return made;
}

bool digests() {
  return once("figures without memory are half of a ring's, or looks allocate for ever", [] {
    const auto observe = [](std::unique_ptr<counted>& c) {
      return code_of(c->kernel.digest(c->digest, c->windows, shape));
    };
    for (const bool device : {false, true}) {
      const auto can_fail = fails_cleanly(
          [&] { return something_to_count(device); }, observe,
          [&](std::unique_ptr<counted>& c, bool failed) {
            const mk::live_digest& digest = c->digest;
            if (failed) {
              require(digest.summary() == mk::ring_summary() && !digest.by_device() &&
                      digest.counts() == mk::slot_counts() && digest.sketches().total_slots() == 0);
              require(observe(c) == code{});
            }
            require(digest.by_device() == device);
            require(digest.summary().occupancy().published == 3 &&
                    digest.summary().windows().size() == 1 &&
                    digest.sketches().active_slots() == 3);
            const std::uint64_t before = heap::state.allocations;
            require(observe(c) == code{} && observe(c) == code{});
            require(heap::state.allocations == before, "storage is kept");
          });
      // Five sketches; control words, the bytes, counters and a window; or a snapshot, slots, rows
      // and a window, and what repeated keys are counted in.
      require(can_fail == (device ? 5u + 4 : 5u + 5 + 3 + 1), std::to_string(can_fail));
    }
  });
}

struct paged {
  mk::metrics_page page;
  mk::ring_telemetry ring;
  mk::aligned_array<char> text;
};

/// Some tenants and opcodes, more than a page names.
std::unique_ptr<paged> something_to_page() {
  auto made = std::make_unique<paged>(value_of(mk::metrics_page::make({.top_tenants = 3})));
  std::vector<word> words(std::size_t{200} * 16);
  for (word i = 0; i < 200; ++i) {
    words[i * 16] = 1;
    words[i * 16 + 1] = 0x10000 + i / 2;  // not small
    words[i * 16 + 2] = 0x10000 + i;
  }
  const std::vector<word> control_words(160);
  value_of(
      made->ring.decode(std::as_bytes(std::span(control_words)), std::as_bytes(std::span(words))));
  return made;
}

bool pages() {
  return once("a page without memory has half of a look, or looks and pages allocate for ever", [] {
    require(fails_cleanly(
                no_preparation, [](nothing) { return code_of(mk::metrics_page::make({})); },
                no_more) == 6);
    const auto render = [](std::unique_ptr<paged>& p) {
      return code_of(p->page.render(mk::metrics_format::openmetrics, p->text));
    };
    const auto shown = [](const paged& p, std::string_view series) {
      return std::string_view(p.text.data(), p.text.size()).find(series) != std::string_view::npos;
    };
    const auto observe = [](std::unique_ptr<paged>& p) {
      return code_of(p->page.observe({.ring = p->ring}));
    };
    const auto observe_can_fail =
        fails_cleanly(something_to_page, observe, [&](std::unique_ptr<paged>& p, bool failed) {
          require(render(p) == code{});
          require(shown(*p, failed ? "megakernel_up 0\n" : "megakernel_tenants 200\n"));
          require(observe(p) == code{} && render(p) == code{});
          require(shown(*p, "megakernel_tenants 200\n"));
          const std::uint64_t before = heap::state.allocations;
          require(observe(p) == code{} && render(p) == code{});
          require(heap::state.allocations == before, "storage is kept");
        });
    // Places for 64 tenants, then 128, 256 and 512; for opcodes up to 256.
    require(observe_can_fail == 7, std::to_string(observe_can_fail));
    const auto render_can_fail = fails_cleanly(
        something_to_page, render,
        [&](std::unique_ptr<paged>& p, bool failed) { require(p->text.empty() == failed); });
    require(render_can_fail == 1);
  });
}

bool in_motion() {
  return once("a call that is made while a kernel runs allocates", [] {
    for (const auto order : {mk::schedule::ring_order, mk::schedule::by_priority}) {
      auto with_order = options();
      with_order.order = order;
      auto kernel = value_of(mk::kernel_session::make(with_order));
      launch<opcodes>(kernel, {.workers = 2, .order = order});
      mk::live_snapshot snapshot;
      value_of(kernel.snapshot(snapshot));
      mk::live_digest digest;
      value_of(kernel.digest(digest, {}, shape));
      const std::array<word, 3> arguments{1, 2, 3};
      const std::array<mk::packed_op, 2> ops{};
      const std::array<mk::batch_item, 2> items{};
      const std::array<std::span<const word>, 2> entries{std::span(arguments).first(1),
                                                         std::span(arguments).first(1)};
      std::array<mk::fault_notice, 4> notices;
      auto& queue = kernel.queue();
      bool ok = true;
      std::size_t said = 0;
      std::uint64_t made = heap::state.allocations;
      for (int i = 0; i < 200; ++i) {
        const auto one = queue.publish({.arguments = arguments}, soon());
        const auto batch = queue.publish_batch(0, items, 0, soon());
        ok &= queue.publish_packed({.ops = ops}, soon()).has_value();
        ok &= queue.publish_window({.op = add_ticket::op, .required = entries}, soon()).has_value();
        ok &= queue.publish({.op = mk::opcode{77}}, soon()).has_value();
        ok &= one && queue.wait(*one, soon()) && batch && queue.wait(*batch, soon());
        ok &= queue.wait_epoch(1, soon()).has_value();
        (void)queue.reclaim_faults(notices);
        ok &= kernel.snapshot(snapshot, soon()).has_value();
        ok &= kernel.digest(digest, {}, shape, soon()).has_value();
        const auto refusal = queue.publish({.op = mk::opcode::load_miss}, soon());
        said += refusal ? 0 : refusal.error().message().text().size();
      }
      const auto drained = kernel.drain(soon());
      const auto stopped = kernel.stop(soon());
      made = heap::state.allocations - made;
      require(ok && said > 0 && drained && stopped && stopped->faults == 200);
      require(made == 0, std::to_string(made) + " allocations");
    }
  });
}

}  // namespace

int main() {
  bool ok = true;
  ok &= makers();
  ok &= resources();
  ok &= launches();
  ok &= carried_launches();
  ok &= steppers();
  ok &= snapshots();
  ok &= digests();
  ok &= pages();
  ok &= in_motion();
  return ok ? 0 : 1;
}
