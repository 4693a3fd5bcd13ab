// The forms of SPEC 7 for waves: a lane a slot, fetched together, executed by the interpreter.
#pragma once

#include <megakernel/forms.h>
#include <megakernel/interpreter.h>
#include <megakernel/wave_memory.h>

namespace megakernel::device {

/// What lanes have asked memory for and not yet put where the wave sees it: all that a pass needs
/// is on its way at once, since a trip to the host's memory takes a microsecond.
struct arriving {
  uint4 quad[4];
  word head;
};

/// Asks for slots `first` to `first + wave_size()` of the ring, four lanes a slot, so that they
/// travel as whole lines; from `end` on they read as empty. Only the first `pieces` quarters.
template <audience Audience>
__device__ inline void ask_for_slots(const launch& where, arriving& into, uint64_t first,
                                     uint64_t end, word pieces) {
  const word lane = lane_index();
#pragma unroll
  for (word k = 0; k < 4; ++k) {
    const uint64_t slot = first + k * (wave_size() / 4) + lane / 4;
    into.quad[k] = make_uint4(0, 0, 0, 0);
    if (k >= pieces || slot >= end) continue;
    const word* const from = where.ring + slot * abi::slot_words + lane % 4 * 4;
    if constexpr (Audience == audience::host)
      into.quad[k] = load_quad_fresh(from);
    else
      into.quad[k] = load_quad(from);
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
         look::ran;
}

/// One pass of a wave over slots that were fetched and that no other lane ever claims: the lane has
/// slot `first + chosen`, `chosen` of those that were fetched. Returns the lanes whose slot was
/// run. Results of all are stored before the first status is: one fence stands for the wave.
template <audience Audience, class Handlers, word Slots, class Counters>
__device__ inline lane_mask run_fetched(const launch& where, board* with, swap_locks locks,
                                        fetched_slots<Slots>& fetched, Counters& counters,
                                        uint64_t first, word chosen) {
  using memory_type = wave_memory<Audience>;
  memory_type memory(where, &fetched, with, locks);
  interpreter<memory_type, Counters, Handlers> slots(where, memory, counters);
  memory.choose(chosen);
  const auto index = static_cast<word>(first + chosen);
  const slot_status seen{memory.fetched(abi::status_word)};
  bool ran = false;
  outcome how = outcome::done();
  if (is_schedulable(seen) && slots.admit(memory.fetched(abi::tenant_word)) == look::ran) {
    ran = slots.claim(index, seen, claimers::one);
    const work w = slots.take(index);
    slots.count_claim(w, w.level);
    memory.begin(!is_system(w.op));
    how = slots.execute(w, index);
  }
  sync_wave();
  if (ran) slots.complete(index, how);
  if (seen == slot_status::wait_io)
    ran = ran_parked<memory_type, Counters, Handlers>(&where, memory, counters, index);
  return lanes_where(ran);
}

/// Slots of one kind are executed together: other opcodes of the same wave would wait meanwhile.
__device__ inline word kind_of(word status, word op) {
  constexpr word last = block_shared::kinds - 1;
  if (!is_schedulable(slot_status{status})) return last;
  if (op <= static_cast<word>(opcode::batch_fence)) return op;
  return op == static_cast<word>(opcode::packed_slot) ? 8 : 9 + op % (last - 9);
}

/// The one-shot form: blocks take the ring in strides, each looks at its slots once, sorted by
/// kind.
template <audience Audience, class Counters, class Handlers>
__device__ inline void run_ring_once(const launch& where, swap_locks locks, block_shared& mine,
                                     Counters& counters) {
  auto& fetched = mine.fetched;
  const word lane = threadIdx.x;
  const word first_of_wave = lane - lane_index();
  if (lane < 2 * block_shared::kinds) mine.of_kind[0][lane] = 0;
  word turn = 0;
  for (uint64_t first = uint64_t{blockIdx.x} * blockDim.x; first < where.slots;
       first += uint64_t{gridDim.x} * blockDim.x, turn ^= 1) {
    arriving coming;
    if (first_of_wave == 0) ask_for_head(where.control, coming);
    ask_for_slots<Audience>(where, coming, first + first_of_wave, where.slots, 4);
    __syncthreads();  // until all have done with the slots before
    if (first_of_wave == 0) put_head(coming, fetched);
    put_slots(coming, fetched, first_of_wave);
    sync_wave();
    const auto* const words = reinterpret_cast<const word*>(&fetched.quads[slot_place(lane, 0)]);
    const word kind = kind_of(words[abi::status_word], words[abi::opcode_word]);
    const word rank = fetch_add(&mine.of_kind[turn][kind], 1u, relaxed, in_block);
    __syncthreads();
    if (fetched.head[abi::shutdown_word] != 0) return;
    word before = 0;
    for (word k = 0; k < block_shared::kinds; ++k) before += k < kind ? mine.of_kind[turn][k] : 0;
    mine.order[before + rank] = lane;
    if (lane < block_shared::kinds) mine.of_kind[turn ^ 1][lane] = 0;
    const uint64_t left = where.slots - first;
    if (lane == 0)
      counters.count(abi::heartbeat_word, static_cast<word>(left < blockDim.x ? left : blockDim.x));
    __syncthreads();
    (void)run_fetched<Audience, Handlers>(where, nullptr, locks, fetched, counters, first,
                                          mine.order[lane]);
  }
}

/// The priority form: partitions most urgent first, a wave's lanes side by side in each; whoever is
/// first to claim a slot has it. After 16 CRITICAL and HIGH claims those two come last for a pass;
/// lanes that claim at the same time count on the same pass.
template <audience Audience, class Handlers>
class priority_wave {
 public:
  using memory_type = direct_wave_memory<Audience>;

  /// Wave `number` begins where the waves before it do not.
  __device__ priority_wave(const launch& where, board* with, swap_locks locks, wave_shared& mine,
                           block_counters& counters, word number)
      : where_(where), board_(with), locks_(locks), mine_(mine), counters_(counters) {
    for (word& next : next_) next = number * wave_size();
  }

  /// One pass: at most one slot a lane is run, all of one partition. Looks at one window of each
  /// partition and goes on behind it in the next pass. The head has been fetched.
  __device__ pass step() {
    if (mine_.head[abi::shutdown_word] != 0) return pass::left;
    const bool bypass =
        load(board_->totals + abi::starvation_word, relaxed, in_device) >= abi::starvation_limit;
    constexpr word urgent = static_cast<word>(priority::high) + 1;
    for (word i = 0; i < abi::priorities; ++i) {
      const word level = bypass ? (i + urgent) % abi::priorities : i;
      const word first = smaller(mine_.second[level], where_.slots);
      const word end = smaller(mine_.second[level + 1], where_.slots);
      if (first < end && ran_some_of(level, first, end - first)) return pass::ran;
    }
    return pass::quiet;
  }

 private:
  __device__ static word smaller(word a, word b) { return a < b ? a : b; }

  __device__ bool ran_some_of(word level, word first, word size) {
    const word looks = smaller(wave_size(), size);
    const word begin = next_[level] % size;
    bool ran = false;
    if (lane_index() < looks) {
      const uint64_t at = uint64_t{begin} + lane_index();
      memory_type memory(where_, &mine_, board_, locks_);
      interpreter<memory_type, block_counters, Handlers> slots(where_, memory, counters_);
      // A handler may write without this memory's knowing.
      memory.begin(true);
      ran = slots.visit_shared(first + static_cast<word>(at < size ? at : at - size), level) ==
            look::ran;
    }
    sync_wave();
    next_[level] = static_cast<word>((uint64_t{begin} + looks) % size);
    return lanes_where(ran) != 0;
  }

  const launch& where_;
  board* board_;
  swap_locks locks_;
  wave_shared& mine_;
  block_counters& counters_;
  word next_[abi::priorities];
};

}  // namespace megakernel::device
