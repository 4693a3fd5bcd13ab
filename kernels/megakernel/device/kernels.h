// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The kernels: the persistent form in ring order and by priority, and the one-shot form, compiled
// with a list of handlers.
//
// A persistent kernel is a grid of blocks of one wave, no more than are on the device at once. Its
// control buffer is memory of the host, and so is its ring, unless it works on one of the device's
// that slots are copied to. The first wave, the control wave, runs no slots: it goes between the
// host's memory and a control mirror in the device's. A mask that the host withdraws is therefore
// obeyed some microseconds later. No other wave ever waits for another.
#pragma once

#include <megakernel/device/control_wave.h>
#include <megakernel/device/hip_on_cuda.h>
#include <megakernel/device/shared_memory_policy.h>
#include <megakernel/device/slot_search.h>
#include <megakernel/device/wave_order.h>
#include <megakernel/lane_order.h>

namespace megakernel::device {

#if defined(__HIP__)
#define MEGAKERNEL_KERNEL_PARAMETER const
#else
#define MEGAKERNEL_KERNEL_PARAMETER const __grid_constant__
#endif

namespace detail {

/// The loop around the passes of both persistent forms: count, flush, read the control mirror.
class wave_loop {
 public:
  __device__ wave_loop(const persistent_launch& of, wave_shared& mine, block_counters& counters)
      : of_(of), mine_(mine), counters_(counters), number_(blockIdx.x - 1) {
    flushed_ = load(of.flushed + number_, relaxed, in_device);
  }

  [[nodiscard]] __device__ static word waves() { return gridDim.x - 1; }
  [[nodiscard]] __device__ word number() const { return number_; }

  __device__ void enter() {
    if (lane_index() == 0)
      fetch_add(of_.on->totals + abi::workers_alive_word, wave_size(), relaxed, in_device);
  }
  __device__ void leave() {
    counters_.flush<visibility::host>(of_.on->totals);
    sync_wave();
    if (lane_index() != 0) return;
    fetch_add(of_.on->totals + abi::workers_alive_word, 0u - wave_size(), relaxed, in_device);
    fetch_add(&of_.on->left, 1u, release, in_system);
  }

  /// Asks for what the control mirror says, as one pass needs it.
  __device__ void ask(arriving& into) {
    ask_for_head(of_.on->head, into);
    if (lane_index() < abi::priority_offsets + 2)
      second_ = load(of_.on->offsets + lane_index(), relaxed, in_device);
  }
  __device__ void put(const arriving& from) {
    put_head(from, mine_);
    if (lane_index() < abi::priority_offsets + 2) mine_.second[lane_index()] = second_;
  }

  [[nodiscard]] __device__ bool must_leave() const {
    return mine_.head[abi::shutdown_word] != 0 || mine_.second[abi::priority_offsets + 1] != 0;
  }

  /// After a pass.
  __device__ void count(bool ran) {
    constexpr word flush_every = 256;
    constexpr word idle_flush = 16;
    if (lane_index() == 0) counters_.count(abi::heartbeat_word);
    ++unflushed_;
    idle_passes_ = ran ? 0 : idle_passes_ + 1;
    const word asked = mine_.second[abi::priority_offsets];
    if (unflushed_ < flush_every && idle_passes_ != idle_flush && asked == flushed_) return;
    counters_.flush<visibility::host>(of_.on->totals);
    unflushed_ = 0;
    if (asked == flushed_) return;
    sync_wave();
    flushed_ = asked;
    if (lane_index() == 0) device::store(of_.flushed + number_, asked, release, in_device);
  }
  __device__ word idle_passes() const { return idle_passes_; }

 private:
  const persistent_launch& of_;
  wave_shared& mine_;
  block_counters& counters_;
  word number_;
  word flushed_;
  word second_ = 0;
  word unflushed_ = 0;
  word idle_passes_ = 0;
};

}  // namespace detail

/// Blocks of one wave, the control wave and at least one other. The plain persistent form: fixed
/// owners, so that a claim is a store.
template <class Handlers>
__global__ void __launch_bounds__(largest_wave)
    run_persistent(MEGAKERNEL_KERNEL_PARAMETER persistent_launch of) {
  __shared__ wave_shared mine;
  __shared__ word counts[abi::control_words];
  if (blockIdx.x == 0) return detail::control_wave(of).run(gridDim.x - 1);
  block_counters::clear(counts);
  block_counters counters(counts);
  detail::wave_loop loop(of, mine, counters);
  detail::group_search search(of, loop.number(), loop.waves());
  loop.enter();
  for (;;) {
    const auto looked = search.next(loop.idle_passes());
    const uint64_t first = uint64_t{looked.group} * wave_size() + looked.from;
    const uint64_t end_of_group = (uint64_t{looked.group} + 1) * wave_size();
    const uint64_t end = end_of_group < of.where.slots ? end_of_group : of.where.slots;
    arriving fetched;
    ask_for_slots<visibility::host>(of.where, fetched, first, end, looked.pieces);
    loop.ask(fetched);
    sync_wave();
    loop.put(fetched);
    put_slots(fetched, mine);
    sync_wave();
    if (loop.must_leave()) break;
    const lane_mask lanes =
        run_fetched<visibility::host, Handlers>(of.where, of.on, of.locks, mine, counters, first);
    if (lanes != 0) search.ran(looked, lanes, count(lanes) == looked.pieces * (wave_size() / 4));
    loop.count(lanes != 0);
    if (lanes == 0) search.rest(loop.idle_passes());
  }
  loop.leave();
}

/// Blocks of one wave, as above. The same over a ring in the device's memory.
template <class Handlers>
__global__ void __launch_bounds__(largest_wave)
    run_arrivals(MEGAKERNEL_KERNEL_PARAMETER persistent_launch of) {
  __shared__ wave_shared mine;
  __shared__ word counts[abi::control_words];
  if (blockIdx.x == 0) return detail::control_wave(of).run(gridDim.x - 1);
  block_counters::clear(counts);
  block_counters counters(counts);
  detail::wave_loop loop(of, mine, counters);
  detail::arrival_search search(of, loop.number(), loop.waves());
  loop.enter();
  for (;;) {
    arriving fetched;
    search.ask();
    loop.ask(fetched);
    sync_wave();
    loop.put(fetched);
    sync_wave();
    if (loop.must_leave()) break;
    lane_mask lanes = 0;
    if (const auto found = search.next(); found.slots != 0) {
      ask_for_slots<visibility::mirrored>(of.where, fetched, found.first, of.where.slots, 4,
                                          found.slots);
      put_slots(fetched, mine);
      sync_wave();
      lanes = run_fetched<visibility::mirrored, Handlers>(of.where, of.on, of.locks, mine, counters,
                                                          found.first);
    }
    if (lanes != 0) search.ran();
    loop.count(lanes != 0);
    if (lanes == 0) search.rest(loop.idle_passes());
  }
  loop.leave();
}

/// Blocks of one wave, as above. The persistent form by priority: whoever is first has a slot.
template <visibility Visibility, class Handlers>
__global__ void __launch_bounds__(largest_wave)
    run_by_priority(MEGAKERNEL_KERNEL_PARAMETER persistent_launch of) {
  __shared__ wave_shared mine;
  __shared__ word counts[abi::control_words];
  if (blockIdx.x == 0) return detail::control_wave(of).run(gridDim.x - 1);
  block_counters::clear(counts);
  block_counters counters(counts);
  detail::wave_loop loop(of, mine, counters);
  priority_wave<Visibility, Handlers> lanes(of.where, of.on, of.locks, mine, counters,
                                            loop.number());
  loop.enter();
  for (;;) {
    arriving fetched;
    loop.ask(fetched);
    sync_wave();
    loop.put(fetched);
    sync_wave();
    if (loop.must_leave()) break;
    const pass came = lanes.step();
    loop.count(came == pass::ran);
    // The first goes on looking, the others ever more rarely.
    const word idle_sleeps = loop.idle_passes() < 64 ? 0 : loop.number() == 0 ? 1 : 16;
    for (word idle_sleep = 0; idle_sleep < idle_sleeps; ++idle_sleep) pause<2000>();
  }
  loop.leave();
}

/// The one-shot form, in ring order.
template <visibility Visibility, class Handlers>
__global__ void __launch_bounds__(most_lanes_of_block, blocks_of_processor)
    run_once(MEGAKERNEL_KERNEL_PARAMETER launch where, swap_locks locks) {
  __shared__ block_shared of_block;
  __shared__ word counts[abi::control_words];
  block_counters::clear(counts);
  block_counters counters(counts);
  if (threadIdx.x == 0 && blockIdx.x == 0)
    store(where.control + abi::revision_word, abi::revision, relaxed, in_system);
  run_ring_once<Visibility, block_counters, Handlers>(where, locks, of_block, counters);
  __syncthreads();
  if (threadIdx.x < wave_size()) counters.flush<Visibility>(where.control);
}

/// The one-shot form by priority: each lane by itself, as the CPU's lanes are.
template <class Handlers>
__global__ void __launch_bounds__(most_lanes_of_block)
    run_once_by_priority(MEGAKERNEL_KERNEL_PARAMETER launch where, swap_locks) {
  __shared__ word counts[abi::control_words];
  block_counters::clear(counts);
  block_counters counters(counts);
  shared_memory_policy memory;
  if (threadIdx.x == 0 && blockIdx.x == 0)
    store(where.control + abi::revision_word, abi::revision, relaxed, in_system);
  using interpreter_type = interpreter<shared_memory_policy, block_counters, Handlers>;
  interpreter_type slots(where, memory, counters);
  priority_lane<shared_memory_policy, interpreter_type, block_counters>(
      where, memory, slots, counters,
      {blockIdx.x * blockDim.x + threadIdx.x, gridDim.x * blockDim.x})
      .run_once();
  __syncthreads();
  if (threadIdx.x < wave_size()) counters.flush<visibility::host>(where.control);
}

/// `run_once` for `visibility::at_exit`, but that each count goes to the control buffer at once.
template <class Handlers>
__global__ void __launch_bounds__(most_lanes_of_block, blocks_of_processor)
    run_once_counting_at_once(MEGAKERNEL_KERNEL_PARAMETER launch where, swap_locks locks) {
  __shared__ block_shared of_block;
  at_once_counters counters(where);
  if (threadIdx.x == 0 && blockIdx.x == 0)
    store(where.control + abi::revision_word, abi::revision, relaxed, in_system);
  run_ring_once<visibility::at_exit, at_once_counters, Handlers>(where, locks, of_block, counters);
}

}  // namespace megakernel::device
