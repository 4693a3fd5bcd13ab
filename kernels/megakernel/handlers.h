// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Opcodes of the user's own, registered at compile time.
//
//     struct sum_block {
//       static constexpr megakernel::opcode op{42};
//       struct arguments { megakernel::word block, result; };   // words 4 and 5 of the slot
//       template <class Context>
//       MEGAKERNEL_HOST_DEVICE outcome operator()(const arguments& a, Context& context) const {
//         const auto block = context.template arena<const word>(uint64_t{a.block} * 4096, 1024);
//         if (!block) return outcome::fault(out_of_arena);
//         ...
//         return context.store_result(a.result, sum) ? outcome::done() : outcome::fault(...);
//       }
//     };
//     using opcodes = megakernel::device::handlers<sum_block, ...>;
#pragma once

#include <megakernel/abi.h>
#include <megakernel/memory_order.h>

#include <stdint.h>

#include <type_traits>

namespace megakernel::device {

/// Where one launch's memory is, and what the launch asks for. The owner keeps all of it alive and
/// in place until the last lane has left.
struct launch {
  word* control = nullptr;  ///< at least `abi::control_words` words
  word control_words = 0;
  word* ring = nullptr;  ///< `slots` slots, each on a cache line
  word slots = 0;
  word* debug_log = nullptr;  ///< the cursor, then records
  word debug_words = 0;       ///< 0: no log; else counts the cursor, too
  word* io_queue = nullptr;
  word io_slots = 0;  ///< 0: no queue; at most `abi::max_io_slots`
  const word* dfa_table = nullptr;
  word dfa_words = 0;              ///< 0: no table
  unsigned char* arena = nullptr;  ///< the handlers' own memory, aligned for any type
  uint64_t arena_bytes = 0;
  word system_tenant = 0;  ///< the one whose SHUTDOWN opcode is obeyed
  bool quotas = false;     ///< a claim takes a token of its tenant's quota word

  // A ring in a device's memory, of which the host has a copy.
  word* host_ring = nullptr;   ///< is told the statuses; null: there is one ring, `ring`
  word* ready_bits = nullptr;  ///< a bit a slot: it has come whole and is not finished
};

/// How a handler leaves its slot.
class outcome {
 public:
  /// Finished; its results are stored.
  MEGAKERNEL_HOST_DEVICE static constexpr outcome done() { return {slot_status::done, {}}; }
  /// Not finished: to be claimed again, in this launch or the next.
  MEGAKERNEL_HOST_DEVICE static constexpr outcome yield() { return {slot_status::yield, {}}; }
  MEGAKERNEL_HOST_DEVICE static constexpr outcome requeue() { return {slot_status::requeue, {}}; }
  /// Given up, with a code of the handler's own for word 15; codes up to 6 are the protocol's.
  MEGAKERNEL_HOST_DEVICE static constexpr outcome fault(fault_code why) {
    return {slot_status::fault, why};
  }
  /// Parked until the host has answered its IO request: LOAD_MISS only.
  MEGAKERNEL_HOST_DEVICE static constexpr outcome wait_io() { return {slot_status::wait_io, {}}; }
  /// The outcome that had this `status()` and this `why()`.
  MEGAKERNEL_HOST_DEVICE static constexpr outcome of(slot_status status, fault_code why) {
    return {status, why};
  }

  MEGAKERNEL_HOST_DEVICE constexpr slot_status status() const { return status_; }
  MEGAKERNEL_HOST_DEVICE constexpr fault_code why() const { return why_; }

 private:
  MEGAKERNEL_HOST_DEVICE constexpr outcome(slot_status status, fault_code why)
      : status_(status), why_(why) {}
  slot_status status_;
  fault_code why_;
};

/// Elements of the arena, checked to lie inside it; false when they do not.
template <class T>
struct arena_block {
  T* data = nullptr;
  uint64_t size = 0;
  MEGAKERNEL_HOST_DEVICE explicit constexpr operator bool() const { return data != nullptr; }
  MEGAKERNEL_HOST_DEVICE constexpr T& operator[](uint64_t i) const { return data[i]; }
  MEGAKERNEL_HOST_DEVICE constexpr T* begin() const { return data; }
  MEGAKERNEL_HOST_DEVICE constexpr T* end() const { return data + size; }
};

/// The memory of a handler: the arena and the observable words, both bounded.
template <class Memory>
class handler_context {
 public:
  MEGAKERNEL_HOST_DEVICE handler_context(const launch& where, Memory& memory, word slot,
                                         word tenant)
      : where_(where), memory_(memory), slot_(slot), tenant_(tenant) {}

  MEGAKERNEL_HOST_DEVICE word slot() const { return slot_; }
  MEGAKERNEL_HOST_DEVICE word tenant() const { return tenant_; }

  /// `count` elements from byte `offset` on; false where any of it lies outside the arena or the
  /// offset does not suit their alignment. Other lanes can reach the same bytes: who writes what
  /// is the handlers' own agreement.
  template <class T>
  MEGAKERNEL_HOST_DEVICE arena_block<T> arena(uint64_t offset, uint64_t count) const {
    static_assert(std::is_trivially_copyable<T>::value, "the arena holds bytes, not objects");
    if (offset > where_.arena_bytes || offset % alignof(T) != 0) return {};
    if (count > (where_.arena_bytes - offset) / sizeof(T)) return {};
    return {reinterpret_cast<T*>(where_.arena + offset), count};
  }

  /// Observable word `index`; false, and nothing stored, where there is no such word.
  MEGAKERNEL_HOST_DEVICE bool store_result(word index, word value) const {
    word* const at = observable(index);
    if (at != nullptr) memory_.store(at, value, relaxed, in_system);
    return at != nullptr;
  }
  MEGAKERNEL_HOST_DEVICE bool add_result(word index, word amount) const {
    word* const at = observable(index);
    if (at != nullptr) memory_.add(at, amount, relaxed, in_system);
    return at != nullptr;
  }

 private:
  MEGAKERNEL_HOST_DEVICE word* observable(word index) const {
    const word there = where_.control_words - abi::control_words;
    return index < there ? where_.control + abi::observable_word + index : nullptr;
  }
  const launch& where_;
  Memory& memory_;
  word slot_;
  word tenant_;
};

namespace detail {

template <class Arguments>
MEGAKERNEL_HOST_DEVICE Arguments arguments_from(const word* words) {
  static_assert(std::is_trivially_copyable<Arguments>::value, "arguments are words of a slot");
  static_assert(sizeof(Arguments) <= abi::argument_words * sizeof(word),
                "a slot has twelve argument words");
  Arguments arguments;
  __builtin_memcpy(&arguments, words, sizeof arguments);
  return arguments;
}

template <class... Handlers>
constexpr bool opcodes_differ() {
  constexpr opcode all[] = {Handlers::op..., opcode::nop};
  for (unsigned i = 1; i < sizeof...(Handlers) + 1; ++i) {
    for (unsigned j = 0; j < i; ++j) {
      if (all[i] == all[j]) return false;
    }
  }
  return true;
}

}  // namespace detail

/// The user's opcodes. Each handler has a constant `op`, a trivially copyable struct `arguments`
/// laid over the slot's argument words, and a call operator as above. docs/protocol.md#handlers
template <class... Handlers>
struct handlers {
  static_assert(((!is_system(Handlers::op)) && ...), "these opcodes are the protocol's own");
  static_assert(detail::opcodes_differ<Handlers...>(), "two handlers of one opcode");

  MEGAKERNEL_HOST_DEVICE static constexpr bool has(opcode op) {
    return ((op == Handlers::op) || ...);
  }

  /// Runs the handler of `op`, which `has` it, on the twelve words at `arguments`.
  template <class Memory>
  MEGAKERNEL_HOST_DEVICE static outcome run(opcode op, const word* arguments,
                                            handler_context<Memory>& context) {
    outcome result = outcome::fault(fault_code::unknown_opcode);
    (void)((op == Handlers::op &&
            (result = Handlers{}(detail::arguments_from<typename Handlers::arguments>(arguments),
                                 context),
             true)) ||
           ...);
    return result;
  }
};

}  // namespace megakernel::device
