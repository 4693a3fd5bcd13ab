// The kernels: the persistent form in ring order and by priority, and the one-shot form, compiled
// with a list of handlers.
//
// A persistent kernel is a grid of blocks of one wave, no more than are on the device at once. Its
// ring and control buffer are memory of the host, so a look at a slot is a trip over the bus and
// brings the slot whole. The first wave, the herald, runs no slots: it alone looks at the control
// buffer and the mailbox, puts what it saw on a board in the device's memory, and carries the
// counts from there to the control buffer. A mask that the host withdraws is therefore obeyed some
// microseconds later. No other wave ever waits for another.
#pragma once

#include <megakernel/forms.h>
#include <megakernel/hip_on_cuda.h>
#include <megakernel/shared_memory_policy.h>
#include <megakernel/wave_forms.h>

#include <stddef.h>

namespace megakernel::device {

#if defined(__HIP__)
#define MEGAKERNEL_KERNEL_PARAMETER const
#else
#define MEGAKERNEL_KERNEL_PARAMETER const __grid_constant__
#endif

/// What host and kernel tell each other beside the protocol, in memory of the host.
struct mailbox {
  alignas(128) word flush_asked;  ///< by the host: number of the last flush wanted
  word leave;                     ///< by the host: not zero ends the kernel as SHUTDOWN does
  alignas(128) word flushed;      ///< by the kernel: number of the last flush that all have done
};

struct persistent_launch {
  launch where;
  mailbox* box;
  board* on;
  word* flushed;  ///< of each wave but the herald, in the device's memory
  swap_locks locks;
  uint64_t quantum;  ///< nanoseconds after which waves leave; 0: only when told to
};

/// Puts on the board what the control buffer, as the host sees it, says now: before each launch,
/// the counters before the first of several.
inline hipError_t prepare(board* on, const word* control, bool first, hipStream_t stream) {
  constexpr size_t counters = board::first_total;
  const auto copy = [&](word* to, const word* from, size_t words) {
    return hipMemcpyAsync(to, from, words * sizeof(word), hipMemcpyHostToDevice, stream);
  };
  const hipError_t statuses[] = {
      first ? hipMemsetAsync(on, 0, sizeof(board), stream) : hipSuccess,
      first ? copy(on->totals + counters, control + counters, abi::control_words - counters)
            : hipSuccess,
      first ? copy(on->totals + abi::done_count_word, control + abi::done_count_word, 1)
            : hipSuccess,
      copy(on->head, control, head_words),
      copy(on->offsets, control + abi::priority_offset_word, abi::priority_offsets),
      hipMemsetAsync(&on->leave, 0, sizeof(word), stream),
      hipMemsetAsync(&on->left, 0, sizeof(word), stream)};
  for (const hipError_t status : statuses) {
    if (status != hipSuccess) return status;
  }
  return hipSuccess;
}

namespace detail {

/// A coarse clock of 32 bits, in units of 1,024 ns.
__device__ inline word ticks() { return static_cast<word>(nanoseconds() >> 10); }

/// The wave that goes between board and host.
class herald {
 public:
  __device__ explicit herald(const persistent_launch& of) : of_(of), begin_(nanoseconds()) {
    acked_ = load(&of.box->flushed, relaxed, in_system);
    for (word k = 0; k < counts_of_lane; ++k)
      told_[k] = is_told(word_of(k)) ? load(of.where.control + word_of(k), relaxed, in_system) : 0;
  }

  __device__ void run(word waves) {
    const word* const control = of_.where.control;
    const word lane = lane_index();
    if (lane == 0)
      device::store(of_.on->totals + abi::revision_word, abi::revision, relaxed, in_device);
    for (;;) {
      // All that the host says, in one trip.
      word head = 0;
      word second = 0;
      if (lane < head_words) head = load(control + lane, relaxed, in_system);
      if (lane < abi::priority_offsets)
        second = load(control + abi::priority_offset_word + lane, relaxed, in_system);
      else if (lane < abi::priority_offsets + 2)
        second = load(&of_.box->flush_asked + lane - abi::priority_offsets, relaxed, in_system);
      if (lane == abi::priority_offsets + 1 && of_.quantum != 0)
        second |= nanoseconds() - begin_ >= of_.quantum;
      if (lane < head_words) device::store(of_.on->head + lane, head, relaxed, in_device);
      if (lane < abi::priority_offsets + 2)
        device::store(of_.on->offsets + lane, second, relaxed, in_device);

      const word left = load(&of_.on->left, acquire, in_device);
      const word asked = shuffle(second, abi::priority_offsets);
      const bool all_flushed = asked != acked_ && all_have(asked, waves);
      tell();
      if (all_flushed) {
        acked_ = asked;
        if (lane == 0) device::store(&of_.box->flushed, asked, release, in_system);
      }
      if (left == waves) return;
    }
  }

 private:
  static constexpr word counts_of_lane = abi::control_words / smallest_wave;

  /// The control word that is the lane's `k`th, in the order of telling: claims, then ends.
  __device__ word word_of(word k) const { return k * wave_size() + lane_index(); }
  [[nodiscard]] __device__ static bool is_told(word at) {
    const bool offset = at - abi::priority_offset_word < abi::priority_offsets;
    return (at >= board::first_total && at < abi::control_words && !offset) ||
           at == abi::done_count_word;
  }
  [[nodiscard]] __device__ static bool is_end(word at) {
    return at == abi::done_count_word || at == abi::fault_count_word ||
           at == abi::done_count_high_word;
  }
  __device__ word total(word k) const {
    return is_told(word_of(k)) ? load(of_.on->totals + word_of(k), relaxed, in_device) : 0;
  }

  /// Whether every wave has done flush `asked`; its counts are on the board then.
  __device__ bool all_have(word asked, word waves) const {
    bool all = true;
    for (word i = lane_index(); i < waves; i += wave_size())
      all = all && load(of_.flushed + i, relaxed, in_device) == asked;
    const bool agreed = lanes_where(!all) == 0;
    fence(acquire, in_device);
    return agreed;
  }

  /// Stores to the control buffer what has changed: it looks at ends before claims, and tells
  /// claims before ends.
  __device__ void tell() {
    word now[counts_of_lane];
    bool ends_moved = false;
    for (word k = 0; k < counts_of_lane; ++k) {
      now[k] = is_end(word_of(k)) ? total(k) : 0;
      ends_moved = ends_moved || (is_end(word_of(k)) && now[k] != told_[k]);
    }
    fence(acquire, in_device);
    sync_wave();
    for (word k = 0; k < counts_of_lane; ++k) {
      if (!is_end(word_of(k))) now[k] = total(k);
      if (!is_end(word_of(k)) && now[k] != told_[k])
        device::store(of_.where.control + word_of(k), now[k], relaxed, in_system);
    }
    if (lanes_where(ends_moved) != 0) {
      sync_wave();
      fence(acq_rel, in_system);
      for (word k = 0; k < counts_of_lane; ++k) {
        if (is_end(word_of(k)) && now[k] != told_[k])
          device::store(of_.where.control + word_of(k), now[k], relaxed, in_system);
      }
    }
    for (word k = 0; k < counts_of_lane; ++k) told_[k] = now[k];
  }

  const persistent_launch& of_;
  uint64_t begin_;
  word acked_;
  word told_[counts_of_lane];
};

/// What both persistent forms do around their passes: count, flush, look at the board.
class wave_life {
 public:
  __device__ wave_life(const persistent_launch& of, wave_shared& mine, block_counters& counters)
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
    counters_.flush<audience::host>(of_.on->totals);
    sync_wave();
    if (lane_index() != 0) return;
    fetch_add(of_.on->totals + abi::workers_alive_word, 0u - wave_size(), relaxed, in_device);
    fetch_add(&of_.on->left, 1u, release, in_system);
  }

  /// Asks for what the board says, as one pass needs it.
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
    constexpr word quiet_flush = 16;
    if (lane_index() == 0) counters_.count(abi::heartbeat_word);
    ++unflushed_;
    quiet_ = ran ? 0 : quiet_ + 1;
    const word asked = mine_.second[abi::priority_offsets];
    if (unflushed_ < flush_every && quiet_ != quiet_flush && asked == flushed_) return;
    counters_.flush<audience::host>(of_.on->totals);
    unflushed_ = 0;
    if (asked == flushed_) return;
    sync_wave();
    flushed_ = asked;
    if (lane_index() == 0) device::store(of_.flushed + number_, asked, release, in_device);
  }
  __device__ word quiet() const { return quiet_; }

 private:
  const persistent_launch& of_;
  wave_shared& mine_;
  block_counters& counters_;
  word number_;
  word flushed_;
  word second_ = 0;
  word unflushed_ = 0;
  word quiet_ = 0;
};

/// Which group of slots a wave looks at next. Wave w of W owns groups w, w + W, ... of as many
/// slots as a wave has lanes.
class group_search {
 public:
  __device__ group_search(const persistent_launch& of, word number, word waves)
      : board_(of.on),
        number_(number),
        waves_(waves),
        groups_(of.where.slots / wave_size() + (of.where.slots % wave_size() != 0)),
        next_(number),
        search_(number) {}

  /// The group to fetch, from which of its slots on, and how many pieces of it. Pieces, so that a
  /// wait for one slot does not fetch the whole group over and over.
  struct look {
    word group;
    word from;
    word pieces;
    bool searching;
  };
  [[nodiscard]] __device__ look next(word quiet) {
    constexpr word search_every = 8;
    const bool searching = quiet % search_every == search_every - 1;
    if (searching) {
      search_ = after(search_);
      return {search_, 0, 4, true};
    }
    const word of_piece = wave_size() / 4;
    const word piece = at_ / of_piece;
    return {next_, piece * of_piece, plenty_ ? 4 - piece : 1, false};
  }

  /// What was run of it. `whole`: every slot that was fetched was run, so more may wait behind.
  __device__ void ran(const look& looked, lane_mask lanes, bool whole) {
    const word last = 63 - static_cast<word>(__clzll(static_cast<long long>(lanes)));
    plenty_ = whole;
    next_ = looked.group;
    at_ = looked.from + last + 1;
    if (at_ >= wave_size()) {
      at_ = 0;
      next_ = after(next_);
    }
    if (looked.searching) search_ = looked.group;
    if (lane_index() != 0) return;
    const word frontier = load(&board_->frontier, relaxed, in_device);
    // On the ring's circle: ahead when less than half of it away.
    if ((looked.group + groups_ - frontier) % groups_ <= groups_ / 2 && looked.group != frontier)
      device::store(&board_->frontier, looked.group, relaxed, in_device);
    const word now = ticks();
    if (load(&board_->last_work, relaxed, in_device) != now)
      device::store(&board_->last_work, now, relaxed, in_device);
  }

  /// After a quiet pass: rests as long as the others' finds allow. While there is work each wave
  /// whose turn may come soon goes on looking; while there is none one or two do, for the others a
  /// word in the device's memory stands.
  __device__ void rest(word quiet) {
    constexpr word busy_ticks = 50;
    constexpr word soon = 32;
    plenty_ = false;
    if (quiet < 4) return;
    for (word nap = 0; nap < 4; ++nap) {
      const word frontier = load(&board_->frontier, relaxed, in_device);
      const word away = (next_ + groups_ - frontier) % groups_;
      if (away > groups_ / 2 && away != 0) catch_up(frontier);
      const bool busy = ticks() - load(&board_->last_work, relaxed, in_device) < busy_ticks;
      if (away < (busy ? soon : 2)) return;
      pause<4000>();
    }
  }

 private:
  __device__ word after(word group) const {
    return groups_ - group > waves_ ? group + waves_ : number_;
  }
  /// The work has passed this wave by: on to its first group that is not behind the frontier. What
  /// was left behind is found by searching.
  __device__ void catch_up(word frontier) {
    const word behind = (frontier + groups_ - next_) % groups_;
    const word skip = (behind + waves_ - 1) / waves_;
    if (skip == 0 || groups_ <= waves_) return;
    next_ = groups_ - next_ > skip * waves_ ? next_ + skip * waves_ : number_;
    at_ = 0;
  }

  board* board_;
  word number_;
  word waves_;
  word groups_;
  word next_;
  word search_;
  word at_ = 0;
  bool plenty_ = false;
};

}  // namespace detail

/// Blocks of one wave, the herald and at least one other. The plain persistent form: fixed owners,
/// so that a claim is a store.
template <class Handlers>
__global__ void __launch_bounds__(largest_wave)
    run_persistent(MEGAKERNEL_KERNEL_PARAMETER persistent_launch of) {
  __shared__ wave_shared mine;
  __shared__ word counts[abi::control_words];
  if (blockIdx.x == 0) return detail::herald(of).run(gridDim.x - 1);
  block_counters::clear(counts);
  block_counters counters(counts);
  detail::wave_life life(of, mine, counters);
  detail::group_search search(of, life.number(), life.waves());
  life.enter();
  for (;;) {
    const auto looked = search.next(life.quiet());
    const uint64_t first = uint64_t{looked.group} * wave_size() + looked.from;
    const uint64_t end_of_group = (uint64_t{looked.group} + 1) * wave_size();
    const uint64_t end = end_of_group < of.where.slots ? end_of_group : of.where.slots;
    arriving fetched;
    ask_for_slots<audience::host>(of.where, fetched, first, end, looked.pieces);
    life.ask(fetched);
    sync_wave();
    life.put(fetched);
    put_slots(fetched, mine);
    sync_wave();
    if (life.must_leave()) break;
    const lane_mask lanes = run_fetched<Handlers>(of.where, of.on, of.locks, mine, counters, first);
    if (lanes != 0) search.ran(looked, lanes, count(lanes) == looked.pieces * (wave_size() / 4));
    life.count(lanes != 0);
    if (lanes == 0) search.rest(life.quiet());
  }
  life.leave();
}

/// Blocks of one wave, as above. The persistent form by priority: whoever is first has a slot.
template <class Handlers>
__global__ void __launch_bounds__(largest_wave)
    run_by_priority(MEGAKERNEL_KERNEL_PARAMETER persistent_launch of) {
  __shared__ wave_shared mine;
  __shared__ word counts[abi::control_words];
  if (blockIdx.x == 0) return detail::herald(of).run(gridDim.x - 1);
  block_counters::clear(counts);
  block_counters counters(counts);
  detail::wave_life life(of, mine, counters);
  priority_wave<audience::host, Handlers> lanes(of.where, of.on, of.locks, mine, counters,
                                                life.number());
  life.enter();
  for (;;) {
    arriving fetched;
    life.ask(fetched);
    sync_wave();
    life.put(fetched);
    sync_wave();
    if (life.must_leave()) break;
    const pass came = lanes.step();
    life.count(came == pass::ran);
    // The first goes on looking, the others ever more rarely.
    const word naps = life.quiet() < 64 ? 0 : life.number() == 0 ? 1 : 16;
    for (word nap = 0; nap < naps; ++nap) pause<2000>();
  }
  life.leave();
}

/// The one-shot form, in ring order.
template <audience Audience, class Handlers>
__global__ void __launch_bounds__(most_lanes_of_block, blocks_of_processor)
    run_once(MEGAKERNEL_KERNEL_PARAMETER launch where, swap_locks locks) {
  __shared__ block_shared of_block;
  __shared__ word counts[abi::control_words];
  block_counters::clear(counts);
  block_counters counters(counts);
  if (threadIdx.x == 0 && blockIdx.x == 0)
    store(where.control + abi::revision_word, abi::revision, relaxed, in_system);
  run_ring_once<Audience, block_counters, Handlers>(where, locks, of_block, counters);
  __syncthreads();
  if (threadIdx.x < wave_size()) counters.flush<Audience>(where.control);
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
  if (threadIdx.x < wave_size()) counters.flush<audience::host>(where.control);
}

/// `run_once` for `audience::nobody`, but that each count goes to the control buffer at once.
template <class Handlers>
__global__ void __launch_bounds__(most_lanes_of_block, blocks_of_processor)
    run_once_counting_at_once(MEGAKERNEL_KERNEL_PARAMETER launch where, swap_locks locks) {
  __shared__ block_shared of_block;
  at_once_counters counters(where);
  if (threadIdx.x == 0 && blockIdx.x == 0)
    store(where.control + abi::revision_word, abi::revision, relaxed, in_system);
  run_ring_once<audience::nobody, at_once_counters, Handlers>(where, locks, of_block, counters);
}

}  // namespace megakernel::device
