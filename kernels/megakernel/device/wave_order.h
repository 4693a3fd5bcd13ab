// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The forms for waves: a lane a slot, fetched together, executed by the interpreter.
// docs/protocol.md#plain-form docs/protocol.md#priority-form
#pragma once

#include <megakernel/device/wave_memory.h>
#include <megakernel/interpreter.h>
#include <megakernel/lane_order.h>

namespace megakernel::device {

/// Loads that lanes have issued and not yet published to the wave: all that a pass needs
/// is on its way at once, since a trip to the host's memory takes a microsecond.
struct arriving {
  uint4 quad[4];
  word head;
};

/// Asks for slots `first` to `first + wave_size()` of the ring, four lanes a slot, so that they
/// travel as whole lines; from `end` on, and where `wanted` has no bit, they read as empty. Only
/// the first `pieces` quarters.
template <visibility Visibility>
__device__ inline void ask_for_slots(const launch& where, arriving& into, uint64_t first,
                                     uint64_t end, word pieces, lane_mask wanted = ~lane_mask{0}) {
  const word lane = lane_index();
#pragma unroll
  for (word k = 0; k < 4; ++k) {
    const word of_wave = k * (wave_size() / 4) + lane / 4;
    const uint64_t slot = first + of_wave;
    into.quad[k] = make_uint4(0, 0, 0, 0);
    if (k >= pieces || slot >= end || !contains(wanted, of_wave)) continue;
    const word* const from = where.ring + slot * abi::slot_words + lane % 4 * 4;
    if constexpr (Visibility == visibility::at_exit)
      into.quad[k] = load_quad(from);
    else
      into.quad[k] = load_quad_fresh(from);
  }
}
/// Asks for the control words that every pass needs, from the control buffer or its copy.
__device__ inline void ask_for_head(const word* head, arriving& into) {
  if (lane_index() < head_words) into.head = load(head + lane_index(), relaxed, in_system);
}

/// Waits for it; the other lanes see it after `sync_wave`. The wave's first slot is `first` of
/// those that are fetched.
template <word Slots>
__device__ inline void put_slots(const arriving& from, fetched_slots<Slots>& into, word first = 0) {
  const word lane = lane_index();
#pragma unroll
  for (word k = 0; k < 4; ++k)
    into.quads[slot_place(first + k * (wave_size() / 4) + lane / 4, lane % 4)] = from.quad[k];
}
template <word Slots>
__device__ inline void put_head(const arriving& from, fetched_slots<Slots>& into) {
  if (lane_index() < head_words) into.head[lane_index()] = from.head;
}

/// A parked slot, which the interpreter looks at by itself. Rare, and kept out of the way.
template <class Memory, class Counters, class Handlers>
__device__ __attribute__((noinline)) bool ran_parked(const launch* where, Memory memory,
                                                     Counters counters, word index) {
  return interpreter<Memory, Counters, Handlers>(*where, memory, counters).visit_owned(index) ==
         visit_result::ran;
}

/// The result of a visit, until the slot is released.
struct visited {
  bool ran;
  outcome how;
};

/// Claims and executes, if it can be, a fetched slot that no other lane ever claims; `memory` has
/// chosen it.
template <class Interpreter, class Memory>
__device__ inline visited execute_fetched(Interpreter& slots, Memory& memory, word index) {
  const slot_status seen = memory.status();
  memory.begin(false);
  if (!is_schedulable(seen) || slots.admit(memory.tenant()) != visit_result::ran)
    return {false, outcome::done()};
  (void)slots.claim(index, seen, claimers::one);
  const work w = slots.take(index);
  slots.count_claim(w, w.level);
  memory.begin(!is_system(w.op));
  return {true, slots.execute(w, index)};
}

/// One pass of a wave over slots that it has fetched, `first` and those behind it, a lane each.
/// Returns the lanes whose slot was run. Results of all are stored before the first status is: one
/// fence stands for the wave.
template <visibility Visibility, class Handlers, class Counters>
__device__ inline lane_mask run_fetched(const launch& where, control_mirror* with, swap_locks locks,
                                        wave_shared& fetched, Counters& counters, uint64_t first) {
  using memory_type = wave_memory<Visibility>;
  memory_type memory(where, &fetched, with, locks);
  interpreter<memory_type, Counters, Handlers> slots(where, memory, counters);
  memory.choose(lane_index());
  const auto index = static_cast<word>(first + lane_index());
  visited slot = execute_fetched(slots, memory, index);
  sync_wave();
  if (slot.ran) slots.complete(index, slot.how);
  if (memory.status() == slot_status::wait_io)
    slot.ran = ran_parked<memory_type, Counters, Handlers>(&where, memory, counters, index);
  return lanes_where(slot.ran);
}

/// Slots of one kind are executed together: other opcodes of the same wave would wait meanwhile.
__device__ inline word kind_of(word status, word op) {
  constexpr word last = block_shared::kinds - 1;
  if (!is_schedulable(slot_status{status})) return last;
  if (op <= static_cast<word>(opcode::batch_fence)) return op;
  return op == static_cast<word>(opcode::packed_slot) ? 8 : 9 + op % (last - 9);
}

/// How many of the block's slots are of kinds before `kind`. By whole waves, each for itself.
__device__ inline word slots_before(const block_shared& mine, word kind) {
  const word lane = lane_index();
  const word own = lane < block_shared::kinds ? mine.of_kind[lane] : 0;
  word up_to = own;
#pragma unroll
  for (word distance = 1; distance < block_shared::kinds; distance *= 2) {
    const word left = shuffle(up_to, (lane - distance) % wave_size());
    up_to += lane >= distance ? left : 0;
  }
  return shuffle(up_to - own, kind);
}

/// The one-shot form: blocks take the ring in strides, a lane a slot, and look at each slot once.
/// They execute slots sorted by kind, since lanes of a wave with other opcodes would wait
/// meanwhile, and let them go in ring order, since neighbours travel together.
template <visibility Visibility, class Counters, class Handlers>
__device__ inline void run_ring_once(const launch& where, swap_locks locks, block_shared& mine,
                                     Counters& counters) {
  using memory_type = wave_memory<Visibility>;
  auto& fetched = mine.fetched;
  const word lane = threadIdx.x;
  const word first_of_wave = lane - lane_index();
  if (lane < block_shared::kinds) mine.of_kind[lane] = 0;
  for (uint64_t first = uint64_t{blockIdx.x} * blockDim.x; first < where.slots;
       first += uint64_t{gridDim.x} * blockDim.x) {
    arriving coming;
    if (first_of_wave == 0) ask_for_head(where.control, coming);
    ask_for_slots<Visibility>(where, coming, first + first_of_wave, where.slots, 4);
    __syncthreads();  // until all have done with the slots before
    if (first_of_wave == 0) put_head(coming, fetched);
    put_slots(coming, fetched, first_of_wave);
    sync_wave();
    const uint4 head = fetched.quads[slot_place(lane, 0)];
    const word kind = kind_of(head.x, head.y);
    const word rank = fetch_add(&mine.of_kind[kind], 1u, relaxed, in_block);
    __syncthreads();
    if (fetched.head[abi::shutdown_word] != 0) return;
    mine.order[slots_before(mine, kind) + rank] = lane;
    const uint64_t left = where.slots - first;
    if (lane == 0)
      counters.count(abi::heartbeat_word, static_cast<word>(left < blockDim.x ? left : blockDim.x));
    __syncthreads();
    if (lane < block_shared::kinds) mine.of_kind[lane] = 0;

    memory_type memory(where, &fetched, nullptr, locks);
    interpreter<memory_type, Counters, Handlers> slots(where, memory, counters);
    const word chosen = mine.order[lane];
    memory.choose(chosen);
    const auto index = static_cast<word>(first + chosen);
    const visited slot = execute_fetched(slots, memory, index);
    // The head has been read: what came of the slot takes its place.
    fetched.quads[slot_place(chosen, 0)] = make_uint4(
        slot.ran, static_cast<word>(slot.how.status()), static_cast<word>(slot.how.why()), 0);
    const bool parked = memory.status() == slot_status::wait_io;
    const bool wrote = __syncthreads_or(memory.wrote()) != 0;
    memory.begin(wrote);
    const uint4 of_mine = fetched.quads[slot_place(lane, 0)];
    if (of_mine.x != 0)
      slots.complete(static_cast<word>(first + lane),
                     outcome::of(slot_status{of_mine.y}, fault_code{of_mine.z}));
    if (parked) (void)ran_parked<memory_type, Counters, Handlers>(&where, memory, counters, index);
  }
}

/// The priority form: partitions most urgent first, a wave's lanes side by side in each; whoever is
/// first to claim a slot has it. After 16 CRITICAL and HIGH claims those two come last for a pass;
/// lanes that claim at the same time count on the same pass.
template <visibility Visibility, class Handlers>
class priority_wave {
 public:
  using memory_type = direct_wave_memory<Visibility>;

  /// Wave `number` begins where the waves before it do not.
  __device__ priority_wave(const launch& where, control_mirror* with, swap_locks locks,
                           wave_shared& mine, block_counters& counters, word number)
      : where_(where), mirror_(with), locks_(locks), mine_(mine), counters_(counters) {
    for (word& next : next_) next = number * wave_size();
  }

  /// One pass: at most one slot a lane is run, all of one partition. Looks at one window of each
  /// partition and goes on behind it in the next pass. The head has been fetched.
  __device__ pass step() {
    if (mine_.head[abi::shutdown_word] != 0) return pass::left;
    // docs/protocol.md#starvation
    const bool bypass =
        load(mirror_->totals + abi::starvation_word, relaxed, in_device) >= abi::starvation_limit;
    constexpr word urgent = static_cast<word>(priority::high) + 1;
    for (word i = 0; i < abi::priorities; ++i) {
      const word level = bypass ? (i + urgent) % abi::priorities : i;
      const word first = smaller(mine_.second[level], where_.slots);
      const word end = smaller(mine_.second[level + 1], where_.slots);
      if (first < end && ran_some_of(level, first, end - first)) return pass::ran;
    }
    return pass::idle;
  }

 private:
  __device__ static word smaller(word a, word b) { return a < b ? a : b; }

  __device__ bool ran_some_of(word level, word first, word size) {
    const word samples = smaller(wave_size(), size);
    const word begin = next_[level] % size;
    bool ran = false;
    const uint64_t at = uint64_t{begin} + lane_index();
    const word index = first + static_cast<word>(at < size ? at : at - size);
    if (lane_index() < samples && has_come(index)) {
      memory_type memory(where_, &mine_, mirror_, locks_);
      interpreter<memory_type, block_counters, Handlers> slots(where_, memory, counters_);
      // A handler may write without this memory's knowing.
      memory.begin(true);
      ran = slots.visit_shared(index, level) == visit_result::ran;
    }
    sync_wave();
    next_[level] = static_cast<word>((uint64_t{begin} + samples) % size);
    return lanes_where(ran) != 0;
  }

  /// Only a hint: the claim asks again.
  __device__ bool has_come(word index) const {
    if constexpr (Visibility != visibility::mirrored) return true;
    return (load(where_.ready_bits + index / 32, relaxed, in_device) >> index % 32 & 1) != 0;
  }

  const launch& where_;
  control_mirror* mirror_;
  swap_locks locks_;
  wave_shared& mine_;
  block_counters& counters_;
  word next_[abi::priorities];
};

}  // namespace megakernel::device
