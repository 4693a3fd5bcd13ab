// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
module;
#include <megakernel/lane_order.h>

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstring>
export module megakernel.runtime:kernel;
import megakernel.protocol;

/// The interpreter of kernels/megakernel, and this machine's memory and counters for it.
export namespace megakernel::device {
using device::arena_block;
using device::handler_context;
using device::handlers;
using device::launch;
using device::outcome;

using device::direct_counters;
using device::interpreter;
using device::is_schedulable;
using device::visit_result;
using device::work;

using device::enter;
using device::lane_number;
using device::leave;
using device::pass;
using device::priority_lane;
using device::ring_lane;
using device::search;

using device::acq_rel;
using device::acquire;
using device::in_block;
using device::in_device;
using device::in_system;
using device::order;
using device::order_tag;
using device::relaxed;
using device::release;
using device::scope;
using device::scope_tag;

/// Memory that the threads of this machine share.
class host_memory {
 public:
  static_assert(wire_is_native, "the CPU target runs on little-endian machines");

  template <order O, scope S>
  inline word load(const word* at, order_tag<O>, scope_tag<S>) const noexcept {
    // An acquire load costs no more here than a relaxed one, and the thread sanitizer, which
    // does not see fences, understands it.
    return std::atomic_ref<word>(*const_cast<word*>(at)).load(std::memory_order_acquire);
  }
  template <order O, scope S>
  inline void store(word* at, word value, order_tag<O>, scope_tag<S>) const noexcept {
    std::atomic_ref<word>(*at).store(value, standard(O));
  }
  template <order O, scope S>
  inline word add(word* at, word amount, order_tag<O>, scope_tag<S>) const noexcept {
    return std::atomic_ref<word>(*at).fetch_add(amount, standard(O));
  }
  template <order O, scope S>
  inline bool compare_exchange(word* at, word& expected, word desired, order_tag<O>,
                               scope_tag<S>) const noexcept {
    return std::atomic_ref<word>(*at).compare_exchange_strong(expected, desired, standard(O),
                                                              std::memory_order_relaxed);
  }
  template <order O, scope S>
  inline void fence(order_tag<O>, scope_tag<S>) const noexcept {}  // every load is an acquire

  inline void read_body(const word* slot, word (&body)[abi::slot_words]) const noexcept {
    // The status, which others look at, stays out of it.
    body[0] = 0;
    std::memcpy(body + 1, slot + 1, (abi::slot_words - 1) * sizeof(word));
  }

 private:
  static constexpr std::memory_order standard(order o) noexcept {
    switch (o) {
      case order::relaxed:
        return std::memory_order_relaxed;
      case order::acquire:
        return std::memory_order_acquire;
      case order::release:
        return std::memory_order_release;
      case order::acq_rel:
        return std::memory_order_acq_rel;
    }
    return std::memory_order_seq_cst;
  }
};

/// Counts of one lane that are added to the control buffer later: claims first, then how they
/// ended, so that a reader who takes the done count first never sees more ends than claims.
/// docs/protocol.md#counter-flush
template <class Memory>
class counter_batch {
 public:
  counter_batch(const launch& where, Memory& memory) noexcept : where_(where), memory_(memory) {}

  inline void count(word control_word, word amount = 1) noexcept {
    counts_[control_word] += amount;
  }

  /// Adds everything to the control buffer. O(1).
  inline void flush() noexcept {
    // Tenants, metrics and priorities stand above the words that say how claims ended, but for
    // the done count, which comes last of all.
    flush(abi::tenant_fairness_word, abi::control_words);
    flush(0, abi::tenant_fairness_word);
  }

 private:
  static_assert(abi::done_count_word < abi::tenant_fairness_word);
  static_assert(abi::fault_count_word > abi::priority_fairness_word + abi::priorities);

  inline void flush(word first, word end) noexcept {
    for (word at = first; at < end; ++at) {
      if (counts_[at] == 0) continue;
      add_to_counter(memory_, where_, at, counts_[at]);
      counts_[at] = 0;
    }
  }

  const launch& where_;
  Memory& memory_;
  std::array<word, abi::control_words> counts_{};
};

}  // namespace megakernel::device
