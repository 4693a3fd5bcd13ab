// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The refusals of the runtime: the queue, the lanes, the pump, and the way up and down.
#include <pthread.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <expected>
#include <functional>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "error_tables.h"

import megakernel;

#include "fake_targets.h"

namespace props::errors {
namespace {

using fakes::fake_gpu;
using fakes::lost_lanes;
using fakes::no_more_threads;
using fakes::silent_lanes;
using enum mk::error_code;
using mk::buffer;
using mk::gpu::call_status;

mk::deadline soon() { return mk::deadline::in(std::chrono::seconds(30)); }
constexpr auto now = mk::deadline::immediate;
constexpr mk::gpu_options on_card{.lanes = 32, .ring = mk::ring_memory::device};

/// A queue that nobody drains.
struct unattended {
  mk::kernel_buffers buffers;
  mk::submission_queue queue;
  explicit unattended(std::uint32_t slots, mk::schedule order = mk::schedule::ring_order)
      : buffers(mk::kernel_buffers::make({.slots = slots, .arena_bytes = 64}).value()),
        queue(mk::submission_queue::over(buffers, order).value()) {}
  unattended& publish(std::uint32_t count) {
    for (std::uint32_t i = 0; i < count; ++i) queue.publish({}).value();
    return *this;
  }
  unattended& status(std::uint32_t slot, mk::word value) {
    buffers.where().ring[std::size_t{slot} * 16] = value;
    return *this;
  }
  refusal batch_of(std::size_t items) {
    return of(queue.publish_batch(0, std::vector<mk::batch_item>(items), 0));
  }
};

mk::kernel_session some_runtime() {
  return mk::kernel_session::make({.layout = {.slots = 8}}).value();
}

/// How `call` on a runtime with `lanes` silent lanes is refused; then they leave.
template <class Call>
refusal with_silent_lanes(std::uint32_t lanes, Call call) {
  std::atomic<std::uint32_t> count{lanes};
  auto kernel = some_runtime();
  const refusal launched = of(kernel.launch(std::make_unique<silent_lanes>(count), now()));
  const refusal got = call(kernel, launched);
  count = 0;
  return got;
}

/// How a launch on such a GPU is refused.
refusal launch_of(const mk::gpu::interface& calls, const mk::gpu_options& options = {}) {
  auto kernel = some_runtime();
  return of(kernel.launch(mk::gpu_target::make(calls, options).value(), soon()));
}

refusal buffers_of(const mk::buffer_layout& layout) { return of(mk::kernel_buffers::make(layout)); }

refusal workers(std::uint32_t count) { return of(mk::cpu_workers::make({.workers = count})); }

refusal resource(const mk::file_resource& added) {
  unattended ring(1);
  auto pump = mk::file_pump::over(ring.buffers).value();
  return of(pump.add(added));
}

std::vector<provoker> feed_provokers() {
  return {
      {{slot_count_zero, buffer::ring, 0, 0, 1},
       [] { return of(mk::kernel_buffers::make({.slots = 0})); }},
      {{slot_count_zero, buffer::ring, 0, 0, 1},
       [] { return of(mk::kernel_session::make({.layout = {.slots = 0}})); }},
      // Each buffer is checked before there is memory for any.
      {{observable_slots_too_large, buffer::control, 0, 1'048'577, 1'048'576},
       [] { return buffers_of({.slots = 1, .observable_words = 1'048'577}); }},
      {{slot_count_too_large, buffer::ring, 0, ~0u, 1'048'576},
       [] { return buffers_of({.slots = ~0u}); }},
      {{record_capacity_too_large, buffer::debug_log, 0, 1'048'577, 1'048'576},
       [] { return buffers_of({.slots = 1, .debug_records = 1'048'577}); }},
      {{io_queue_too_large, buffer::io_queue, 0, 65, 64},
       [] { return buffers_of({.slots = 1, .io_slots = 65}); }},
      // The index says what most slots are.
      {{ring_full, buffer::ring, 1, 1, 4},
       [] { return of(unattended(4).publish(4).queue.publish({})); }},
      {{ring_full, buffer::ring, 7, 1, 2},
       [] {
         return of(
             unattended(4).publish(4).status(1, 7).status(2, 7).status(3, 2).queue.publish({}));
       }},
      {{ring_full, buffer::ring, 8, 1, 1},  // an unknown status
       [] { return of(unattended(1).status(0, 99).queue.publish({})); }},
      {{ring_full, buffer::ring, 5, 3, 1},  // there are two free slots, but not three in a row
       [] { return unattended(4).status(1, 5).batch_of(2); }},
      {{ring_full, buffer::ring, 1, 1, 2},  // of 10 slots, 2 are for CRITICAL
       [] {
         unattended ring(10, mk::schedule::by_priority);
         for (int i = 0; i < 2; ++i) ring.queue.publish({.level = mk::priority::critical}).value();
         return of(ring.queue.publish({.level = mk::priority::critical}));
       }},
      {{batch_out_of_range, buffer::ring, 0, 5, 4}, [] { return unattended(4).batch_of(4); }},
      {{batch_out_of_range, buffer::ring, 4, 3, 2},
       [] {
         unattended ring(10, mk::schedule::by_priority);
         return ring.batch_of(2);
       }},
      {{feed_closed, buffer::ring, 0, 0, 0},
       [] {
         unattended ring(1);
         ring.queue.close(now()).value();
         return of(ring.queue.publish({}));
       }},
      {{feed_closed, buffer::ring, 0, 0, 0},
       [] {
         auto kernel = some_runtime();
         kernel.drain(now()).value();
         return of(kernel.queue().publish_load_miss({}));
       }},
  };
}

std::vector<provoker> deadline_provokers() {
  return {
      // A slot and its status.
      {{deadline_passed, buffer::ring, 1, 1, 0},
       [] {
         unattended ring(2);
         ring.publish(1);
         const mk::submission second = ring.queue.publish({}).value();
         return of(ring.queue.wait(second, now()));
       }},
      {{deadline_passed, buffer::ring, 0, 1, 0},
       [] {
         auto kernel = some_runtime();
         kernel.queue().publish({}).value();
         return of(kernel.drain(now()));
       }},
      // A control word, and what it was to come to.
      {{deadline_passed, buffer::control, 128, 0, 7},
       [] { return of(unattended(1).queue.wait_epoch(7, now())); }},
      {{deadline_passed, buffer::control, 146, 0, 1},
       [] {
         return with_silent_lanes(3, [](auto&, const refusal& launched) { return launched; });
       }},
      // Lanes.
      {{deadline_passed, buffer::none, 0, 3, 0},
       [] {
         return with_silent_lanes(3, [](auto& kernel, auto&) { return of(kernel.stop(now())); });
       }},
  };
}

std::vector<provoker> lane_provokers() {
  return {
      {{worker_count_out_of_range, buffer::none, 0, 0, 1024}, [] { return workers(0); }},
      {{worker_count_out_of_range, buffer::none, 0, 1025, 1024}, [] { return workers(1025); }},
      {{already_launched, buffer::none, 0, 0, 0},
       [] {
         auto kernel = some_runtime();
         kernel.launch(mk::cpu_workers::make({}).value(), soon()).value();
         return of(kernel.launch(mk::cpu_workers::make({}).value(), soon()));
       }},
      {{already_launched, buffer::none, 0, 0, 0},
       [] {
         unattended ring(1);
         mk::doorbell bell;
         const auto target = mk::cpu_workers::make({.one_shot = true}).value();
         target->launch({.buffers = ring.buffers, .bell = bell}).value();
         const refusal again = of(target->launch({.buffers = ring.buffers, .bell = bell}));
         while (target->running() != 0) {
         }
         return again;
       }},
      {{lanes_refused, buffer::none, 0, 5, 0},
       [] {
         auto kernel = some_runtime();
         auto target = mk::cpu_workers::make({.workers = 5}).value();
         const no_more_threads limit;
         return of(kernel.launch(std::move(target), soon()));
       }},
      {{device_failed, buffer::none, 0, 719, 0},
       [] {
         auto kernel = some_runtime();
         const auto& calls = fake_gpu<mk::gpu::call_status::failed, mk::gpu::call_status::yes>;
         return of(kernel.launch(mk::gpu_target::make(calls, {}).value(), soon()));
       }},
      // It is looked at to size the launch, and then has a wave of no lanes.
      {{device_failed, buffer::none, 0, 709, 0},
       [] { return launch_of(fake_gpu<call_status::yes, call_status::yes, call_status::failed>); }},
      {{limit_zero, buffer::none, 0, 0, 1},
       [] { return launch_of(fake_gpu<call_status::yes, call_status::yes, call_status::yes, 0>); }},
      {{device_failed, buffer::none, 0, 719, 0},
       [] { return launch_of(fake_gpu<call_status::no_gpu, call_status::yes>); }},
      {{device_failed, buffer::none, 0, 719, 0},
       [] { return launch_of(fake_gpu<call_status::busy, call_status::yes>); }},
      {{out_of_memory, buffer::none, 0, 8, 64},
       [] { return launch_of(fake_gpu<call_status::no_memory, call_status::yes>); }},
      {{out_of_memory, buffer::none, 0, 8, 64},
       [] {
         return launch_of(fake_gpu<call_status::yes, call_status::yes, call_status::no_memory>);
       }},
      // With a ring of its own, which a thread is to bring work to.
      {{device_failed, buffer::none, 0, 719, 0},
       [] { return launch_of(fake_gpu<call_status::failed, call_status::yes>, on_card); }},
      {{lanes_refused, buffer::none, 0, 1, 0},
       [] {
         auto kernel = some_runtime();
         auto target =
             mk::gpu_target::make(fake_gpu<call_status::yes, call_status::yes>, on_card).value();
         const no_more_threads limit;
         return of(kernel.launch(std::move(target), soon()));
       }},
      {{already_launched, buffer::none, 0, 0, 0},
       [] {
         unattended ring(8);
         mk::doorbell bell;
         const auto target =
             mk::gpu_target::make(fake_gpu<call_status::yes, call_status::yes>, {.lanes = 32})
                 .value();
         target->launch({.buffers = ring.buffers, .bell = bell}).value();
         return of(target->launch({.buffers = ring.buffers, .bell = bell}));
       }},
      // Lost before its lanes could report.
      {{device_failed, buffer::none, 0, 700, 0},
       [] {
         std::atomic<std::uint32_t> count{3};
         auto kernel = some_runtime();
         const refusal got = of(kernel.launch(std::make_unique<lost_lanes>(count), soon()));
         count = 0;
         return got;
       }},
      // Lost after its launch.
      {{device_failed, buffer::none, 0, 700, 0},
       [] {
         unattended ring(8);
         mk::doorbell bell;
         const auto& calls = fake_gpu<mk::gpu::call_status::yes, mk::gpu::call_status::failed>;
         const auto target = mk::gpu_target::make(calls, {}).value();
         target->launch({.buffers = ring.buffers, .bell = bell}).value();
         return of(target->check());
       }},
      {{device_lanes_refused, buffer::none, 0, 128, 96},
       [] {
         auto kernel = some_runtime();
         const auto& calls =
             fake_gpu<mk::gpu::call_status::too_many_lanes, mk::gpu::call_status::yes>;
         return of(kernel.launch(mk::gpu_target::make(calls, {.lanes = 128}).value(), soon()));
       }},
      {{memory_not_shared, buffer::none, 0, 0, 0},
       [] {
         auto kernel = some_runtime();
         const auto& calls = fake_gpu<mk::gpu::call_status::not_shared, mk::gpu::call_status::yes>;
         return of(kernel.launch(mk::gpu_target::make(calls, {}).value(), soon()));
       }},
      // The one that serves the pump.
      {{lanes_refused, buffer::none, 0, 1, 0},
       [] {
         auto kernel = some_runtime();
         kernel.pump().add({.id = 1, .path = "/proc/self/exe"}).value();
         auto target = mk::cpu_workers::make({}).value();
         const no_more_threads limit;
         return of(kernel.launch(std::move(target), soon()));
       }},
  };
}

std::vector<provoker> pump_provokers() {
  constexpr auto path = "/proc/self/exe";
  return {
      {{resource_repeated, buffer::none, 9, 0, 0},
       [] {
         unattended ring(1);
         auto pump = mk::file_pump::over(ring.buffers).value();
         pump.add({.id = 9, .path = path}).value();
         return of(pump.add({.id = 9, .path = path}));
       }},
      {{resource_unreadable, buffer::none, 9, ENOENT, 0},
       [] { return resource({.id = 9, .path = "/proc/self/no such file"}); }},
      {{resource_unreadable, buffer::none, 9, EFAULT, 0}, [] { return resource({.id = 9}); }},
      {{resource_unreadable, buffer::none, 9, EINVAL, 0},  // a directory, and a device
       [] { return resource({.id = 9, .path = "/"}); }},
      {{resource_unreadable, buffer::none, 9, EINVAL, 0},
       [] { return resource({.id = 9, .path = "/dev/null"}); }},
      {{arena_out_of_range, buffer::none, 9, 65, 64},
       [] { return resource({.id = 9, .path = path, .byte_count = 65}); }},
      {{arena_out_of_range, buffer::none, 9, 1, 64},
       [] { return resource({.id = 9, .path = path, .arena_offset = 64, .byte_count = 1}); }},
      {{arena_out_of_range, buffer::none, 9, 0, 64},
       [] { return resource({.id = 9, .path = path, .arena_offset = ~std::uint64_t{0}}); }},
  };
}

}  // namespace

std::vector<provoker> runtime_provokers() {
  std::vector<provoker> all;
  for (const auto table : {feed_provokers, deadline_provokers, lane_provokers, pump_provokers}) {
    for (provoker& p : table()) all.push_back(std::move(p));
  }
  return all;
}

}  // namespace props::errors
