// The kernels: the persistent form in ring order and by priority, and the one-shot form, compiled
// with a list of handlers.
//
// A persistent kernel is a grid of blocks of one wave, no more than are on the device at once; no
// wave ever waits for another. Its ring and control buffer are memory of the host, so a look is a
// trip over the bus and brings all that a pass needs: slots whole, the masks, SHUTDOWN, the
// mailbox.
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

/// What host and kernel tell each other beside the protocol, in memory of the host; after it, a
/// word a wave: the last flush that it has done.
struct alignas(128) mailbox {
  word flush_asked;  ///< by the host: number of the last flush wanted
  word leave;        ///< by the host: not zero ends the kernel as SHUTDOWN does
  word unused[30];
};
static_assert(sizeof(mailbox) == 128);

/// What waves tell each other, in memory of the device.
struct alignas(128) bell {
  word last_work;  ///< when work was found last, by `ticks`
  word frontier;   ///< the furthest group of slots in which work was found
};

struct persistent_launch {
  launch where;
  const mailbox* box;
  word* flushed;  ///< of each wave
  bell* ring_of;
  swap_locks locks;
  uint64_t quantum;  ///< nanoseconds after which waves leave; 0: only when told to
};

namespace detail {

/// A coarse clock of 32 bits, in units of 1,024 ns.
__device__ inline word ticks() { return static_cast<word>(nanoseconds() >> 10); }

/// What both persistent forms do around their passes: count, flush, watch the clock.
class wave_life {
 public:
  __device__ wave_life(const persistent_launch& of, wave_shared& mine, block_counters& counters)
      : of_(of),
        mine_(mine),
        counters_(counters),
        begin_(nanoseconds()),
        flushed_(load(of.flushed + blockIdx.x, relaxed, in_system)) {}

  __device__ void enter() {
    if (lane_index() != 0) return;
    device::store(of_.where.control + abi::revision_word, abi::revision, relaxed, in_system);
    fetch_add(of_.where.control + abi::workers_alive_word, wave_size(), release, in_system);
  }
  __device__ void leave() {
    counters_.flush(of_.where);
    sync_wave();
    if (lane_index() == 0)
      fetch_add(of_.where.control + abi::workers_alive_word, 0u - wave_size(), release, in_system);
  }

  /// Asks for the head and the mailbox, as one pass needs them.
  __device__ void ask(arriving& into) {
    ask_for_head(of_.where, into);
    if (lane_index() < 2) asked_ = load(&of_.box->flush_asked + lane_index(), relaxed, in_system);
  }
  __device__ void put(const arriving& from) {
    put_head(from, mine_);
    if (lane_index() < 2) mine_.asked[lane_index()] = asked_;
  }

  [[nodiscard]] __device__ bool must_leave() {
    if (mine_.head[abi::shutdown_word] != 0 || mine_.asked[1] != 0) return true;
    if (of_.quantum == 0 || ++passes_ % 16 != 0) return false;
    return nanoseconds() - begin_ >= of_.quantum;
  }

  /// After a pass.
  __device__ void count(bool ran) {
    constexpr word flush_every = 256;
    constexpr word quiet_flush = 16;
    if (lane_index() == 0) counters_.count(abi::heartbeat_word);
    ++unflushed_;
    quiet_ = ran ? 0 : quiet_ + 1;
    const word asked = mine_.asked[0];
    if (unflushed_ < flush_every && quiet_ != quiet_flush && asked == flushed_) return;
    counters_.flush(of_.where);
    unflushed_ = 0;
    if (asked == flushed_) return;
    sync_wave();
    flushed_ = asked;
    if (lane_index() == 0) device::store(of_.flushed + blockIdx.x, asked, release, in_system);
  }
  __device__ word quiet() const { return quiet_; }

 private:
  const persistent_launch& of_;
  wave_shared& mine_;
  block_counters& counters_;
  uint64_t begin_;
  word flushed_;
  word asked_ = 0;
  word passes_ = 0;
  word unflushed_ = 0;
  word quiet_ = 0;
};

/// Which group of slots a wave looks at next. Wave w of W owns groups w, w + W, ... of as many
/// slots as a wave has lanes.
class group_search {
 public:
  __device__ explicit group_search(const persistent_launch& of)
      : bell_(of.ring_of),
        groups_(of.where.slots / wave_size() + (of.where.slots % wave_size() != 0)),
        next_(blockIdx.x),
        search_(blockIdx.x) {}

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
    const word frontier = load(&bell_->frontier, relaxed, in_device);
    // On the ring's circle: ahead when less than half of it away.
    if ((looked.group + groups_ - frontier) % groups_ <= groups_ / 2 && looked.group != frontier)
      device::store(&bell_->frontier, looked.group, relaxed, in_device);
    const word now = ticks();
    if (load(&bell_->last_work, relaxed, in_device) != now)
      device::store(&bell_->last_work, now, relaxed, in_device);
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
      const word frontier = load(&bell_->frontier, relaxed, in_device);
      const word away = (next_ + groups_ - frontier) % groups_;
      if (away > groups_ / 2 && away != 0) catch_up(frontier);
      const bool busy = ticks() - load(&bell_->last_work, relaxed, in_device) < busy_ticks;
      if (away < (busy ? soon : 2)) return;
      pause<4000>();
    }
  }

 private:
  __device__ word after(word group) const {
    return groups_ - group > gridDim.x ? group + gridDim.x : blockIdx.x;
  }
  /// The work has passed this wave by: on to its first group that is not behind the frontier. What
  /// was left behind is found by searching.
  __device__ void catch_up(word frontier) {
    const word behind = (frontier + groups_ - next_) % groups_;
    const word skip = (behind + gridDim.x - 1) / gridDim.x;
    if (skip == 0 || groups_ <= gridDim.x) return;
    next_ = groups_ - next_ > skip * gridDim.x ? next_ + skip * gridDim.x : blockIdx.x;
    at_ = 0;
  }

  bell* bell_;
  word groups_;
  word next_;
  word search_;
  word at_ = 0;
  bool plenty_ = false;
};

}  // namespace detail

/// Blocks of one wave. The plain persistent form: fixed owners, so that a claim is a store.
template <class Handlers>
__global__ void __launch_bounds__(largest_wave)
    run_persistent(MEGAKERNEL_KERNEL_PARAMETER persistent_launch of) {
  __shared__ wave_shared mine;
  __shared__ word counts[abi::control_words];
  block_counters::clear(counts);
  block_counters counters(counts);
  detail::wave_life life(of, mine, counters);
  detail::group_search search(of);
  life.enter();
  for (;;) {
    const auto looked = search.next(life.quiet());
    const uint64_t first = uint64_t{looked.group} * wave_size() + looked.from;
    const uint64_t end_of_group = (uint64_t{looked.group} + 1) * wave_size();
    const uint64_t end = end_of_group < of.where.slots ? end_of_group : of.where.slots;
    arriving fetched;
    life.ask(fetched);
    ask_for_slots<audience::host>(of.where, fetched, first, end, looked.pieces);
    sync_wave();
    life.put(fetched);
    put_slots(fetched, mine);
    sync_wave();
    if (life.must_leave()) break;
    const lane_mask lanes = run_fetched<audience::host, block_counters, Handlers>(
        of.where, of.locks, mine, counters, first);
    if (lanes != 0) search.ran(looked, lanes, count(lanes) == looked.pieces * (wave_size() / 4));
    life.count(lanes != 0);
    if (lanes == 0) search.rest(life.quiet());
  }
  life.leave();
}

/// Blocks of one wave. The persistent form by priority: whoever is first has a slot.
template <class Handlers>
__global__ void __launch_bounds__(largest_wave)
    run_by_priority(MEGAKERNEL_KERNEL_PARAMETER persistent_launch of) {
  __shared__ wave_shared mine;
  __shared__ word counts[abi::control_words];
  block_counters::clear(counts);
  block_counters counters(counts);
  detail::wave_life life(of, mine, counters);
  priority_wave<audience::host, Handlers> lanes(of.where, of.locks, mine, counters, blockIdx.x);
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
    // Wave 0 goes on looking, the others ever more rarely.
    const word naps = life.quiet() < 64 ? 0 : blockIdx.x == 0 ? 1 : 16;
    for (word nap = 0; nap < naps; ++nap) pause<2000>();
  }
  life.leave();
}

/// Of a one-shot kernel; the persistent forms have blocks of one wave.
inline constexpr word most_lanes_of_block = 256;

/// The one-shot form, in ring order.
template <audience Audience, class Handlers>
__global__ void __launch_bounds__(most_lanes_of_block)
    run_once(MEGAKERNEL_KERNEL_PARAMETER launch where, swap_locks locks) {
  __shared__ wave_shared of_wave[most_lanes_of_block / smallest_wave];
  __shared__ word counts[abi::control_words];
  block_counters::clear(counts);
  block_counters counters(counts);
  if (threadIdx.x == 0 && blockIdx.x == 0)
    store(where.control + abi::revision_word, abi::revision, relaxed, in_system);
  run_ring_once<Audience, block_counters, Handlers>(where, locks,
                                                    of_wave[threadIdx.x / wave_size()], counters);
  __syncthreads();
  if (threadIdx.x < wave_size()) counters.flush(where);
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
  if (threadIdx.x < wave_size()) counters.flush(where);
}

/// `run_once` for `audience::nobody`, but that each count goes to the control buffer at once.
template <class Handlers>
__global__ void __launch_bounds__(most_lanes_of_block)
    run_once_counting_at_once(MEGAKERNEL_KERNEL_PARAMETER launch where, swap_locks locks) {
  __shared__ wave_shared of_wave[most_lanes_of_block / smallest_wave];
  at_once_counters counters(where);
  if (threadIdx.x == 0 && blockIdx.x == 0)
    store(where.control + abi::revision_word, abi::revision, relaxed, in_system);
  run_ring_once<audience::nobody, at_once_counters, Handlers>(
      where, locks, of_wave[threadIdx.x / wave_size()], counters);
}

}  // namespace megakernel::device
