// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Memory and counters of a wave that works on slots together: what it has fetched of the ring and
// of the control buffer stands in shared memory, counts add up there, and one fence stands for all
// of its slots.
#pragma once

#include <megakernel/abi.h>
#include <megakernel/device/atomics.h>
#include <megakernel/device/wave.h>
#include <megakernel/handlers.h>
#include <megakernel/interpreter.h>
#include <megakernel/memory_order.h>

namespace megakernel::device {

#if defined(__HIP__)
inline constexpr word largest_wave = 64;
#else
inline constexpr word largest_wave = 32;
#endif
inline constexpr word smallest_wave = 32;

/// When stores of a slot are visible to others than the kernel.
enum class visibility : word {
  at_exit,   ///< memory of the device in the one-shot form: the end of the kernel orders everything
  host,      ///< a DONE that the host sees says that the results are there
  mirrored,  ///< the same, of a ring in the device's memory of which the host has a copy
};

/// The control words that each pass needs: SHUTDOWN and the masks, and the offsets of partitions.
inline constexpr word head_words = abi::tenant_quota_word;
inline constexpr word head_line = 32;
static_assert(head_words == head_line);

/// The control mirror, in the device's memory: what the host's memory said when it was looked at
/// last, and the counts to be written there. One wave alone goes between the two, since reads of
/// one line of the host's memory, and additions to it, queue up behind each other, a trip over the
/// bus each.
struct control_mirror {
  alignas(128) word head[head_line];
  alignas(128) word offsets[abi::priority_offsets];
  word flush_asked;             ///< number of the last flush wanted
  word leave;                   ///< not zero ends the kernel as SHUTDOWN does
  alignas(128) word arrivals;   ///< the doorbell of a ring in the device's memory: ranges that came
  alignas(128) word last_work;  ///< when work was found last, by a coarse clock
  word frontier;                ///< the furthest group of slots in which work was found
  word left;                    ///< waves that have left
  /// Counters of the control buffer; words below `first_total` stay unused.
  alignas(128) word totals[abi::control_words];
  static constexpr word first_total = abi::tenant_fairness_word;
};

/// The slots fetched together by a wave or a block. The control words are as of their
/// last sample.
template <word Slots>
struct fetched_slots {
  uint4 quads[Slots * abi::slot_words / 4];
  alignas(16) word head[head_line];
  alignas(16) word second[abi::priority_offsets + 2];  ///< from `control_mirror::offsets` on
};
using wave_shared = fetched_slots<largest_wave>;

/// Of a one-shot kernel; the persistent forms have blocks of one wave.
inline constexpr word most_lanes_of_block = 256;
/// How many of them a processor must have room for, so that enough of them wait for memory
/// together. AMD's shared memory has room for three whatever is said.
#if defined(__HIP__)
inline constexpr word blocks_of_processor = 1;
#else
inline constexpr word blocks_of_processor = 5;
#endif

/// The slots fetched by a block, and the order in which its lanes take them.
struct block_shared {
  fetched_slots<most_lanes_of_block> fetched;
  static constexpr word kinds = 16;
  static_assert(kinds <= smallest_wave);
  word of_kind[kinds];  ///< slots of a kind
  word order[most_lanes_of_block];
};

/// Where quad `q` of slot `of_fetched` stands among what was fetched: lanes that read the same quad
/// of slots in a row meet in no bank.
__device__ inline word slot_place(word of_fetched, word q) {
  return of_fetched * (abi::slot_words / 4) + (q ^ (of_fetched >> 1 & 3));
}

/// Locks in the device's memory, zero at first, for words of the host's memory that lanes contend
/// for. A compare-and-swap across the bus reads, and writes back what it found when it fails:
/// should the host store in between, its store is lost. So a lane that wants to swap such a word
/// takes a lock, looks, and stores only what it means to.
struct swap_locks {
  static constexpr word count = 4096;  // words that share one only delay each other
  word* words = nullptr;               ///< null: the memory is the device's, and swaps are atomic

  __device__ word* lock_of(const word* at) const {
    return words + reinterpret_cast<uint64_t>(at) / 32 % count;
  }
  /// Fails, too, when another lane has the lock: no lane waits for another.
  __device__ bool swap(word* at, word& expected, word desired) const {
    word* const lock = lock_of(at);
    if (exchange(lock, 1u, acquire, in_device) != 0) return false;
    const word found = device::load(at, relaxed, in_system);
    const bool equal = found == expected;
    expected = found;
    if (equal) device::store(at, desired, relaxed, in_system);
    // The next holder of the lock finds this store.
    device::fence(acq_rel, in_system);
    device::store(lock, 0u, release, in_device);
    return equal;
  }
};

/// Memory for the interpreter, a value for each lane. Whatever scope they are asked to have,
/// additions and swaps are atomic among the lanes of the device: over the bus there are none with
/// the host.
template <visibility Visibility>
class wave_memory {
 public:
  /// Without a control mirror the control buffer is where the launch says, counters and all.
  template <word Slots>
  __device__ wave_memory(const launch& where, fetched_slots<Slots>* fetched, control_mirror* with,
                         swap_locks locks)
      : where_(where),
        quads_(fetched->quads),
        head_(fetched->head),
        second_(fetched->second),
        mirror_(with),
        locks_(locks) {}

  template <order O, scope S>
  __device__ word load(const word* at, order_tag<O> o, scope_tag<S> s) const {
    const auto from_start = static_cast<uint64_t>(at - where_.control);
    if (from_start < head_words) return head_[from_start];
    if constexpr (watched) {
      if (from_start - abi::priority_offset_word < abi::priority_offsets && mirror_ != nullptr)
        return second_[from_start - abi::priority_offset_word];
      at = there(at);
    }
    return device::load(at, o, s);
  }
  template <order O, scope S>
  __device__ void store(word* at, word value, order_tag<O>, scope_tag<S> s) {
    if constexpr (Visibility == visibility::mirrored) {
      if (in_ring(at)) {
        if constexpr (O == order::release)
          tell_status(at, value);
        else
          tell(at, value);
        return;
      }
    }
    if constexpr (O == order::release) {
      release_written();
    } else {
      wrote_ = true;
    }
    device::store(there(at), value, relaxed, s);
  }
  template <order O, scope S>
  __device__ word add(word* at, word amount, order_tag<O>, scope_tag<S>) {
    if constexpr (O == order::release || O == order::acq_rel) release_written();
    wrote_ = true;
    return device::fetch_add(there(at), amount, relaxed, in_device);
  }
  template <order O, scope S>
  __device__ bool compare_exchange(word* at, word& expected, word desired, order_tag<O> o,
                                   scope_tag<S>) {
    wrote_ = true;
    if constexpr (Visibility == visibility::mirrored) {
      if (in_ring(at)) return claim_ready(at, expected, desired);
    }
    if constexpr (watched) {
      if (locks_.words != nullptr && host_stores(at)) return locks_.swap(at, expected, desired);
    }
    return device::compare_exchange(at, expected, desired, o, in_device);
  }
  template <order O, scope S>
  __device__ void fence(order_tag<O> o, scope_tag<S> s) const {
    if constexpr (watched) device::fence(o, s);
  }

  /// The lane's slot among those that were fetched: what `read_body` copies. Read at once, so that
  /// nothing waits for one word after the other.
  __device__ void choose(word of_fetched) {
#pragma unroll
    for (word q = 0; q < abi::slot_words / 4; ++q) body_[q] = quads_[slot_place(of_fetched, q)];
  }
  __device__ slot_status status() const { return slot_status{body_[0].x}; }
  __device__ word tenant() const { return body_[0].z; }
  __device__ void read_body(const word*, word (&body)[abi::slot_words]) const {
#pragma unroll
    for (word q = 0; q < abi::slot_words / 4; ++q) {
      body[4 * q] = body_[q].x;
      body[4 * q + 1] = body_[q].y;
      body[4 * q + 2] = body_[q].z;
      body[4 * q + 3] = body_[q].w;
    }
  }

  /// Trips to memory in quads, two of them on their way together: more would cost registers that
  /// every lane of the kernel pays for.
  __device__ void copy_quads(word* to, const word* from, word quads) {
    wrote_ = true;
    constexpr word together = 2;
    word i = 0;
    for (; quads - i >= together; i += together) {
      uint4 all[together];
#pragma unroll
      for (word k = 0; k < together; ++k) all[k] = load_quad_fresh(from + 4 * (i + k));
#pragma unroll
      for (word k = 0; k < together; ++k) store_quad_fresh(to + 4 * (i + k), all[k]);
    }
    for (; i < quads; ++i) store_quad_fresh(to + 4 * i, load_quad_fresh(from + 4 * i));
  }

  /// From here on it is known what the lane wrote: nothing, or what a handler may have, by itself.
  __device__ void begin(bool wrote) { wrote_ = wrote; }
  __device__ bool wrote() const { return wrote_; }

 private:
  static constexpr bool watched = Visibility != visibility::at_exit;

  /// Orders earlier writes before later ones; without an earlier write it is no fence.
  __device__ void release_written() {
    if constexpr (watched) {
      if (wrote_) device::fence(release, in_system);
      wrote_ = false;
    }
  }

  /// Where a word is: counters are on the control mirror.
  template <class Word>
  __device__ Word* there(Word* at) const {
    if constexpr (watched) {
      const auto from_start = static_cast<uint64_t>(at - where_.control);
      if (from_start - control_mirror::first_total <
              abi::control_words - control_mirror::first_total &&
          mirror_ != nullptr)
        return mirror_->totals + from_start;
    }
    return at;
  }

  __device__ bool in_ring(const word* at) const {
    return static_cast<uint64_t>(at - where_.ring) < uint64_t{where_.slots} * abi::slot_words;
  }

  /// Words that the host stores, too: of the ring and of the IO queue. Quotas are words that any
  /// side may lose a token of.
  __device__ bool host_stores(const word* at) const {
    const auto in_queue = static_cast<uint64_t>(at - where_.io_queue);
    return in_ring(at) || in_queue < uint64_t{where_.io_slots} * abi::io_slot_words;
  }

  // A ring in the device's memory. The device's word is the one that lanes go by, the host's the
  // one that the host does.

  __device__ word* of_host(const word* at) const { return where_.host_ring + (at - where_.ring); }

  __device__ void tell(word* at, word value) {
    wrote_ = true;
    device::store(at, value, relaxed, in_device);
    device::store(of_host(at), value, relaxed, in_system);
  }

  /// A slot's status, after its results. Once the host sees that the slot is finished, the next
  /// work may come into it: no lane's word may be on its way to it then. Any other status the host
  /// is told before a lane that takes the slot up again can tell it another.
  __device__ void tell_status(word* at, word value) {
    const slot_status now{value};
    if (now == slot_status::done || now == slot_status::fault) {
      const auto slot = static_cast<uint64_t>(at - where_.ring) / abi::slot_words;
      if (where_.ready_bits != nullptr)
        device::fetch_and(where_.ready_bits + slot / 32, ~(1u << slot % 32), relaxed, in_device);
      device::store(at, value, relaxed, in_device);
      device::fence(release, in_system);
      wrote_ = false;
      device::store(of_host(at), value, relaxed, in_system);
    } else {
      release_written();
      device::store(of_host(at), value, relaxed, in_system);
      device::store(at, value, release, in_device);
    }
  }

  /// A claim by one of many lanes. What is still on its way may look published before it is whole:
  /// then the slot is left as it was found, which is what comes.
  __device__ bool claim_ready(word* at, word& expected, word desired) {
    const word found = expected;
    if (!device::compare_exchange(at, expected, desired, acquire, in_device)) return false;
    const auto slot = static_cast<uint64_t>(at - where_.ring) / abi::slot_words;
    if (where_.ready_bits != nullptr &&
        (device::load(where_.ready_bits + slot / 32, acquire, in_device) >> slot % 32 & 1) == 0) {
      device::store(at, found, relaxed, in_device);
      return false;
    }
    device::store(of_host(at), desired, relaxed, in_system);
    return true;
  }

  const launch& where_;
  const uint4* quads_;
  const word* head_;
  const word* second_;
  control_mirror* mirror_;
  swap_locks locks_;
  uint4 body_[abi::slot_words / 4];
  bool wrote_ = false;
};

/// The same over slots that nobody fetched: every sample goes to where the slot is.
template <visibility Visibility>
class direct_wave_memory : public wave_memory<Visibility> {
 public:
  using wave_memory<Visibility>::wave_memory;
  __device__ void read_body(const word* slot, word (&body)[abi::slot_words]) const {
    for (word q = 0; q < abi::slot_words / 4; ++q) {
      const uint4 four = load_quad_fresh(slot + 4 * q);
      body[4 * q] = four.x;
      body[4 * q + 1] = four.y;
      body[4 * q + 2] = four.z;
      body[4 * q + 3] = four.w;
    }
  }
};

/// Counts of a block in its shared memory, a word a control word. Totals are those of counting one
/// by one. docs/protocol.md#counter-flush
class block_counters {
 public:
  __device__ explicit block_counters(word* of_block) : counts_(of_block) {}

  __device__ void count(word control_word, word amount = 1) {
    device::fetch_add(counts_ + control_word, amount, relaxed, in_block);
  }

  /// By all lanes of the block, before the first count.
  __device__ static void clear(word* of_block) {
    for (word i = threadIdx.x; i < abi::control_words; i += blockDim.x) of_block[i] = 0;
    __syncthreads();
  }

  /// Adds everything to the control words at `totals`: claims first, then how they ended, the done
  /// count last, so that a reader who takes them in the other order never sees more ends than
  /// claims. By a whole wave that has been told of the counts: its own, or after a barrier its
  /// block's. What the counts are of is visible to the host before them.
  template <visibility Visibility>
  __device__ void flush(word* totals) {
    flush_range<Visibility>(totals, abi::tenant_fairness_word, abi::control_words);
    flush_range<Visibility>(totals, 0, abi::tenant_fairness_word);
  }

 private:
  template <visibility Visibility>
  __device__ void flush_range(word* totals, word begin, word end) {
    sync_wave();
    if constexpr (Visibility != visibility::at_exit) device::fence(acq_rel, in_system);
    launch where;
    where.control = totals;
    relaxed_adds memory;
    for (word first = begin; first < end; first += wave_size()) {
      const word at = first + lane_index();
      const word found = at < end ? exchange(counts_ + at, 0u, relaxed, in_block) : 0;
      if (found != 0) add_to_counter(memory, where, at, found);
    }
  }
  struct relaxed_adds {
    template <class Order, class Scope>
    __device__ word add(word* at, word amount, Order, Scope) {
      return device::fetch_add(at, amount, relaxed, in_device);
    }
  };

  word* counts_;
};

/// Counts in the control buffer at once: what aggregation is measured against.
class at_once_counters {
 public:
  __device__ explicit at_once_counters(const launch& where) : control_(where.control) {}
  __device__ void count(word control_word, word amount = 1) {
    const word before = fetch_add(control_ + control_word, amount, relaxed, in_device);
    if (control_word == abi::done_count_word && before + amount < before)
      fetch_add(control_ + abi::done_count_high_word, 1u, relaxed, in_device);
  }

 private:
  word* control_;
};

}  // namespace megakernel::device
