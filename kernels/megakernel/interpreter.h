// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The life of a slot in a lane: claim, authorise, execute, complete. The one copy of these
// semantics: CPU workers, the stepper and the GPU kernels compile it over their own memory.
// docs/protocol.md#one-interpreter
//
// `Memory` gives access to shared words, each with an order and a scope of memory_order.h:
//     word load(const word*, order, scope)              void store(word*, word, order, scope)
//     word add(word*, word, order, scope) -> before     void fence(order, scope)
//     bool compare_exchange(word*, word& expected, word desired, order, scope)
//     void read_body(const word* slot, word (&body)[16])    of a slot that this lane holds
// and, where it pays, a copy by quads of words that 16 divides the addresses of, each word a
// relaxed load and a relaxed store; all loads may go ahead of all stores:
//     void copy_quads(word* to, const word* from, word quads)
// `Counters` adds up control words that only count, at once or aggregated until a flush:
//     void count(word control_word, word amount = 1)
#pragma once

#include <megakernel/abi.h>
#include <megakernel/handlers.h>
#include <megakernel/memory_order.h>
#include <megakernel/packed_slot.h>

#include <stdint.h>

#include <type_traits>
#include <utility>

namespace megakernel::device {

/// The result of a visit to a slot.
enum class visit_result : word {
  nothing,       ///< not schedulable: free, finished, faulted or with another lane
  ran,           ///< claimed, executed, and left as its outcome says
  lost,          ///< another lane claimed it first
  unauthorised,  ///< its tenant has no mask: it stays as it is
  throttled,     ///< its tenant has no token left: it stays as it is
  waiting,       ///< parked until the host answers its IO request
};

/// Statuses a lane may claim, in every form. docs/protocol.md#schedulable
MEGAKERNEL_HOST_DEVICE constexpr bool is_schedulable(slot_status status) {
  return status == slot_status::published || status == slot_status::yield ||
         status == slot_status::requeue;
}

/// Who may claim a slot: one lane by the mapping of slots to lanes, or whichever is first.
enum class claimers : word { one, any };

/// A slot's words, copied after the claim: nobody else can change what is checked and executed.
struct work {
  opcode op;
  word tenant;
  word level;
  word argument[abi::argument_words];
};

/// Adds to a counter in the control buffer; the done count carries into its upper half.
template <class Memory>
MEGAKERNEL_HOST_DEVICE void add_to_counter(Memory& memory, const launch& where, word control_word,
                                           word amount) {
  const word before = memory.add(where.control + control_word, amount, release, in_system);
  if (control_word == abi::done_count_word && before + amount < before)
    memory.add(where.control + abi::done_count_high_word, 1, release, in_system);
}

/// Counts one by one.
template <class Memory>
class direct_counters {
 public:
  MEGAKERNEL_HOST_DEVICE direct_counters(const launch& where, Memory& memory)
      : where_(where), memory_(memory) {}
  MEGAKERNEL_HOST_DEVICE void count(word control_word, word amount = 1) {
    add_to_counter(memory_, where_, control_word, amount);
  }

 private:
  const launch& where_;
  Memory& memory_;
};

namespace detail {

template <class Memory, class = void>
inline constexpr bool has_quads = false;
template <class Memory>
inline constexpr bool has_quads<
    Memory, std::void_t<decltype(std::declval<Memory&>().copy_quads(nullptr, nullptr, word{}))>> =
    true;

}  // namespace detail

template <class Memory, class Counters, class Handlers = handlers<>>
class interpreter {
 public:
  MEGAKERNEL_HOST_DEVICE interpreter(const launch& where, Memory& memory, Counters& counters)
      : where_(where), memory_(memory), counters_(counters) {}

  /// One pass over one slot that no other lane ever claims. docs/protocol.md#lane-pass
  MEGAKERNEL_HOST_DEVICE visit_result visit_owned(word index) {
    return visit(index, own_priority, claimers::one);
  }

  /// The same over a slot of partition `level` that any lane may claim, in the priority form.
  MEGAKERNEL_HOST_DEVICE visit_result visit_shared(word index, word level) {
    return visit(index, level, claimers::any);
  }

  /// Read SHUTDOWN; leave if set.
  MEGAKERNEL_HOST_DEVICE bool shutdown_requested() {
    return memory_.load(where_.control + abi::shutdown_word, relaxed, in_system) != 0;
  }

  /// Whether the tenant may run now: `ran` when it may, and then a token of its quota is taken.
  MEGAKERNEL_HOST_DEVICE visit_result admit(word tenant) {
    if (!authorised(tenant)) {
      counters_.count(abi::unauthorised_word);
      return visit_result::unauthorised;
    }
    if (where_.quotas && !take_token(tenant)) {
      counters_.count(abi::throttled_word);
      return visit_result::throttled;
    }
    return visit_result::ran;
  }

  /// Gives back what `admit` took.
  MEGAKERNEL_HOST_DEVICE void refund(word tenant) {
    if (where_.quotas) memory_.add(quota_of(tenant), 1, relaxed, in_system);
  }

  /// Takes a slot whose status was `seen`. Where no other lane can, a store is enough: it waits
  /// for no other cache or bus. docs/protocol.md#claim
  MEGAKERNEL_HOST_DEVICE bool claim(word index, slot_status seen, claimers who) {
    if (who == claimers::one) {
      memory_.store(slot(index) + abi::status_word, static_cast<word>(slot_status::claimed),
                    relaxed, in_system);
      return true;
    }
    word expected = static_cast<word>(seen);
    return memory_.compare_exchange(slot(index) + abi::status_word, expected,
                                    static_cast<word>(slot_status::claimed), acquire, in_system);
  }

  /// Counts a claim: its metric, its tenant, its priority. docs/protocol.md#claim-counters
  MEGAKERNEL_HOST_DEVICE void count_claim(const work& claimed, word level) {
    count_metric(claimed.op);
    counters_.count(abi::tenant_fairness_word + claimed.tenant % abi::tenant_fairness_counters);
    const word least = abi::priorities - 1;
    counters_.count(abi::priority_fairness_word + (level < least ? level : least));
  }

  /// Executes claimed work. A fault has changed nothing, unless a handler of the user's raised it.
  MEGAKERNEL_HOST_DEVICE outcome execute(const work& w, word index) {
    if (const fault_code wrong = check(w); wrong != fault_code::unreported)
      return outcome::fault(wrong);
    return apply(w, index);
  }

  /// Lets the slot go: results first, then the status that the host acquires, then the count.
  /// docs/protocol.md#completion-order
  MEGAKERNEL_HOST_DEVICE void complete(word index, outcome how) {
    word* const at = slot(index);
    const bool faulted = how.status() == slot_status::fault;
    if (faulted) {
      memory_.store(at + abi::fault_code_word, static_cast<word>(how.why()), relaxed, in_system);
    }
    memory_.store(at + abi::status_word, static_cast<word>(how.status()), release, in_system);
    if (how.status() == slot_status::done) counters_.count(abi::done_count_word);
    if (faulted) counters_.count(abi::fault_count_word);
  }

  /// A copy of the words of a slot that this lane has claimed.
  MEGAKERNEL_HOST_DEVICE work take(word index) {
    word body[abi::slot_words];
    memory_.read_body(slot(index), body);
    work w{opcode{body[abi::opcode_word]}, body[abi::tenant_word], body[abi::priority_word], {}};
    for (word i = 0; i < abi::argument_words; ++i) w.argument[i] = body[abi::argument_word + i];
    return w;
  }

 private:
  static constexpr word own_priority = 0xFFFF'FFFFu;

  MEGAKERNEL_HOST_DEVICE word* slot(word index) const {
    return where_.ring + uint64_t{index} * abi::slot_words;
  }

  MEGAKERNEL_HOST_DEVICE visit_result visit(word index, word level, claimers who) {
    // 1. Look at the slot.
    const slot_status seen{memory_.load(slot(index) + abi::status_word, relaxed, in_system)};
    if (seen == slot_status::wait_io) return resume(index, who);
    if (!is_schedulable(seen)) return visit_result::nothing;
    memory_.fence(acquire, in_system);

    // 2. Check the tenant. An unauthorised or throttled slot stays as it is and is counted.
    const word tenant = memory_.load(slot(index) + abi::tenant_word, relaxed, in_system);
    if (const visit_result refused = admit(tenant); refused != visit_result::ran) return refused;

    // 3. Claim it.
    if (!claim(index, seen, who)) {
      refund(tenant);
      counters_.count(abi::claim_lost_word);
      return visit_result::lost;
    }
    const work w = take(index);
    if (w.tenant != tenant) {
      // Drained and published again between the sample and the claim: what is executed must be
      // what was authorised. docs/protocol.md#claim-recheck
      refund(tenant);
      if (const visit_result refused = admit(w.tenant); refused != visit_result::ran) {
        memory_.store(slot(index) + abi::status_word, static_cast<word>(seen), release, in_system);
        return refused;
      }
    }

    // 4. Count the claim: a fault counts, too.
    const word counted_as = level == own_priority ? w.level : level;
    count_claim(w, counted_as);
    if (who == claimers::any) count_urgency(counted_as);

    // 5. Execute. 6. Results, then DONE; then the done count.
    complete(index, execute(w, index));
    return visit_result::ran;
  }

  // Tenants. docs/protocol.md#authorisation

  MEGAKERNEL_HOST_DEVICE bool authorised(word tenant) {
    if (tenant >= abi::tenant_masks) return false;
    const word base = memory_.load(where_.control + abi::tenant_base_word, relaxed, in_system);
    const uint64_t mask = uint64_t{base} + tenant;
    if (mask < abi::tenant_mask_word || mask >= abi::tenant_quota_word) return false;
    return memory_.load(where_.control + mask, relaxed, in_system) != 0;
  }

  MEGAKERNEL_HOST_DEVICE word* quota_of(word tenant) const {
    return where_.control + abi::tenant_quota_word + tenant;
  }

  /// docs/protocol.md#quotas
  MEGAKERNEL_HOST_DEVICE bool take_token(word tenant) {
    word left = memory_.load(quota_of(tenant), relaxed, in_system);
    while (left != 0) {
      if (memory_.compare_exchange(quota_of(tenant), left, left - 1, relaxed, in_system))
        return true;
    }
    return false;
  }

  // Counters.

  MEGAKERNEL_HOST_DEVICE void count_metric(opcode op) {
    const word raw = static_cast<word>(op);
    if (raw < abi::metrics) counters_.count(abi::metric_word + raw);
  }

  /// CRITICAL and HIGH claims in a row, which the priority form bounds.
  MEGAKERNEL_HOST_DEVICE void count_urgency(word level) {
    word* const in_a_row = where_.control + abi::starvation_word;
    if (level <= static_cast<word>(priority::high)) {
      memory_.add(in_a_row, 1, relaxed, in_system);
    } else {
      memory_.store(in_a_row, 0, relaxed, in_system);
    }
  }

  // Addresses. Sums are of 64 bits: no index wraps.

  MEGAKERNEL_HOST_DEVICE bool inside(uint64_t first, uint64_t count = 1) const {
    return first + count <= where_.control_words;
  }
  MEGAKERNEL_HOST_DEVICE static uint64_t observable(word index) {
    return uint64_t{abi::observable_word} + index;
  }
  /// Why `count` words from `first` may not be written; `unreported` when they may.
  MEGAKERNEL_HOST_DEVICE fault_code check_write(uint64_t first, uint64_t count = 1) const {
    if (!inside(first, count)) return fault_code::address_outside_buffer;
    if (first < abi::observable_word) return fault_code::system_word_write;
    return fault_code::unreported;
  }
  MEGAKERNEL_HOST_DEVICE fault_code check_read(uint64_t first, uint64_t count = 1) const {
    return inside(first, count) ? fault_code::unreported : fault_code::address_outside_buffer;
  }
  MEGAKERNEL_HOST_DEVICE static fault_code first_of(fault_code a, fault_code b) {
    return a != fault_code::unreported ? a : b;
  }

  MEGAKERNEL_HOST_DEVICE word load(uint64_t control_word) {
    return memory_.load(where_.control + control_word, relaxed, in_system);
  }
  MEGAKERNEL_HOST_DEVICE void store(uint64_t control_word, word value) {
    memory_.store(where_.control + control_word, value, relaxed, in_system);
  }

  // Opcodes: what each may not do, and what it does. docs/protocol.md#opcodes
  // docs/protocol.md#opcode-checks

  MEGAKERNEL_HOST_DEVICE fault_code check(const work& w) const {
    switch (w.op) {
      case opcode::packed_slot:
        return check_packed(w);
      case opcode::shutdown:
        // Obeyed only from the system tenant. docs/protocol.md#shutdown-opcode
        return w.tenant == where_.system_tenant ? fault_code::unreported
                                                : fault_code::system_word_write;
      case opcode::load_miss:
        return where_.io_slots != 0 ? fault_code::unreported : fault_code::io_queue_refused;
      case opcode::printf:
        return fault_code::unreported;
      default:
        return check_inner(w.op, w.argument);
    }
  }

  /// Of an opcode that a packed slot can hold, too.
  MEGAKERNEL_HOST_DEVICE fault_code check_inner(opcode op, const word* a) const {
    switch (op) {
      case opcode::nop:
      case opcode::batch_fence:
        return fault_code::unreported;
      case opcode::store_u32:
      case opcode::atomic_add:
        return check_write(a[1]);
      case opcode::load_u32:
        return first_of(check_read(a[0]), check_write(observable(a[1])));
      case opcode::compare_swap:
        return first_of(check_write(a[0]), check_write(observable(a[0])));
      case opcode::memcpy:
        if (a[2] == 0) return fault_code::unreported;  // touches nothing
        return first_of(check_read(a[0], a[2]), check_write(a[1], a[2]));
      case opcode::dfa_step:
        if (where_.dfa_words == 0) return fault_code::no_dfa_table;
        if (dfa_entry(a) >= where_.dfa_words) return fault_code::address_outside_buffer;
        return check_write(observable(a[2]));
      default:
        return Handlers::has(op) ? fault_code::unreported : fault_code::unknown_opcode;
    }
  }

  MEGAKERNEL_HOST_DEVICE outcome apply(const work& w, word index) {
    switch (w.op) {
      case opcode::packed_slot:
        return apply_packed(w, index);
      case opcode::shutdown:
        memory_.store(where_.control + abi::shutdown_word, 1, release, in_system);
        return outcome::done();
      case opcode::load_miss:
        request_io(w, index);
        return outcome::wait_io();
      case opcode::printf:
        append_record(w, index);
        return outcome::done();
      default:
        return apply_inner(w.op, w.argument, w.tenant, index);
    }
  }

  MEGAKERNEL_HOST_DEVICE outcome apply_inner(opcode op, const word* a, word tenant, word index) {
    switch (op) {
      case opcode::nop:
        break;
      case opcode::store_u32:
        store(a[1], a[0]);
        break;
      case opcode::atomic_add:
        memory_.add(where_.control + a[1], a[0], relaxed, in_system);
        break;
      case opcode::load_u32:
        store(observable(a[1]), load(a[0]));
        break;
      case opcode::compare_swap: {
        word previous = a[1];
        memory_.compare_exchange(where_.control + a[0], previous, a[2], relaxed, in_system);
        store(observable(a[0]), previous);
        break;
      }
      case opcode::memcpy:
        copy(a[0], a[1], a[2]);
        break;
      case opcode::dfa_step:
        store(observable(a[2]), memory_.load(where_.dfa_table + dfa_entry(a), relaxed, in_device));
        break;
      case opcode::batch_fence:
        // docs/protocol.md#batch-fence
        if (inside(abi::observable_word)) store(abi::observable_word, a[1]);
        memory_.add(where_.control + abi::epoch_word, 1, release, in_system);
        break;
      default: {
        handler_context<Memory> context(where_, memory_, index, tenant);
        return Handlers::run(op, a, context);
      }
    }
    return outcome::done();
  }

  /// Word by word, ascending: what an overlap repeats is repeated. Where that makes no difference
  /// loads go ahead of stores, four at a time, and wait for memory together.
  MEGAKERNEL_HOST_DEVICE void copy(uint64_t from, uint64_t to, word count) {
    constexpr word together = 4;
    word i = 0;
    if constexpr (detail::has_quads<Memory>) {
      // Of words below the observable ones a memory may have copies of its own.
      const auto address = reinterpret_cast<uintptr_t>(where_.control);
      const bool plain = from >= abi::observable_word && (to <= from || to - from >= count);
      if (plain && (address / sizeof(word) + from) % 4 == 0 && (from - to) % 4 == 0) {
        memory_.copy_quads(where_.control + to, where_.control + from, count / 4);
        i = count / 4 * 4;
      }
    }
    if (to <= from || to - from >= together) {
      for (; count - i >= together; i += together) {
        word words[together];
        for (word k = 0; k < together; ++k) words[k] = load(from + i + k);
        for (word k = 0; k < together; ++k) store(to + i + k, words[k]);
      }
    }
    for (; i < count; ++i) store(to + i, load(from + i));
  }

  MEGAKERNEL_HOST_DEVICE static uint64_t dfa_entry(const word* a) {
    return uint64_t{a[0]} * 256 + a[1];
  }

  // PRINTF: a record that does not fit is dropped, but the cursor still advances.
  // docs/protocol.md#printf

  MEGAKERNEL_HOST_DEVICE void append_record(const work& w, word index) {
    if (where_.debug_words == 0) return counters_.count(abi::debug_dropped_word);
    const word at = memory_.add(where_.debug_log + abi::debug_cursor_word, abi::debug_record_words,
                                relaxed, in_system);
    const uint64_t first = uint64_t{abi::debug_record_word} + at;
    if (first + abi::debug_record_words > where_.debug_words)
      return counters_.count(abi::debug_dropped_word);
    word* const record = where_.debug_log + first;
    for (word i = 0; i < 3; ++i) memory_.store(record + i, w.argument[i], relaxed, in_system);
    memory_.store(record + 3, index * abi::slot_words, relaxed, in_system);
  }

  // Packed slots: all inner operations are checked before the first is run.
  // docs/protocol.md#packed-layout docs/protocol.md#packed-execution

  MEGAKERNEL_HOST_DEVICE fault_code check_packed(const work& w) const {
    const detail::packed_slot all(w.argument);
    if (!all.well_formed()) return fault_code::malformed_packed_slot;
    for (word i = 0; i < all.ops(); ++i) {
      word a[abi::argument_words];
      all.arguments(i, a);
      if (const fault_code wrong = check_inner(all.op(i), a); wrong != fault_code::unreported)
        return wrong;
    }
    return fault_code::unreported;
  }

  MEGAKERNEL_HOST_DEVICE outcome apply_packed(const work& w, word index) {
    const detail::packed_slot all(w.argument);
    for (word i = 0; i < all.ops(); ++i) {
      word a[abi::argument_words];
      all.arguments(i, a);
      count_metric(all.op(i));
      const outcome inner = apply_inner(all.op(i), a, w.tenant, index);
      if (inner.status() == slot_status::fault) return inner;
      // Taken up again it would start over and repeat what is done: only whole slots can wait.
      if (inner.status() != slot_status::done)
        return outcome::fault(fault_code::malformed_packed_slot);
    }
    return outcome::done();
  }

  // LOAD_MISS parks its slot in WAIT_IO; the slot's link says which IO slot has its request, or
  // that the queue was full. Only the lane that took an IO slot frees it.
  // docs/protocol.md#load-miss
  //
  //     IO slot: empty -> wait_io (being written) -> published (kernel) -> claimed -> ok | error
  //     (host) -> empty (kernel)

  MEGAKERNEL_HOST_DEVICE word* io_slot(word i) const {
    return where_.io_queue + uint64_t{i} * abi::io_slot_words;
  }
  MEGAKERNEL_HOST_DEVICE io_status io_status_of(word i) {
    return io_status{memory_.load(io_slot(i) + abi::io_status_word, relaxed, in_system)};
  }
  MEGAKERNEL_HOST_DEVICE bool has_free_io_slot() {
    for (word i = 0; i < where_.io_slots; ++i) {
      if (io_status_of(i) == io_status::empty) return true;
    }
    return false;
  }

  MEGAKERNEL_HOST_DEVICE void request_io(const work& w, word index) {
    word link = abi::no_io_slot;
    for (word i = 0; i < where_.io_slots && link == abi::no_io_slot; ++i) {
      word expected = static_cast<word>(io_status::empty);
      if (io_status_of(i) == io_status::empty &&
          memory_.compare_exchange(io_slot(i) + abi::io_status_word, expected,
                                   static_cast<word>(slot_status::wait_io), acquire, in_system)) {
        link = i;
      }
    }
    memory_.store(slot(index) + abi::io_link_word, link, relaxed, in_system);
    if (link == abi::no_io_slot) return;
    word* const io = io_slot(link);
    const word request[abi::io_slot_words] = {
        static_cast<word>(io_operation::read), w.argument[0], 0, 0, 0, 0, 0, index};
    for (word i = 0; i < abi::io_slot_words; ++i) {
      if (i != abi::io_status_word) memory_.store(io + i, request[i], relaxed, in_system);
    }
    memory_.store(io + abi::io_status_word, static_cast<word>(io_status::published), release,
                  in_system);
  }

  /// Whether the host has answered the request that slot `index` is linked to.
  MEGAKERNEL_HOST_DEVICE bool answered(word link, word index) {
    const io_status status = io_status_of(link);
    if (status != io_status::ok && status != io_status::error) return false;
    return memory_.load(io_slot(link) + abi::io_tag_word, relaxed, in_system) == index;
  }

  /// The step a lane may take with a parked slot that is linked so.
  MEGAKERNEL_HOST_DEVICE bool can_resume(word link, word index) {
    if (where_.io_slots == 0) return true;
    if (link == abi::no_io_slot) return has_free_io_slot();
    return link >= where_.io_slots || answered(link, index);
  }

  MEGAKERNEL_HOST_DEVICE visit_result resume(word index, claimers who) {
    memory_.fence(acquire, in_system);
    word* const link_word = slot(index) + abi::io_link_word;
    if (!can_resume(memory_.load(link_word, relaxed, in_system), index))
      return visit_result::waiting;
    if (!claim(index, slot_status::wait_io, who)) {
      counters_.count(abi::claim_lost_word);
      return visit_result::lost;
    }
    // Between the sample and the claim the slot may have been resumed, published and parked again.
    const word link = memory_.load(link_word, relaxed, in_system);
    if (!can_resume(link, index)) {
      complete(index, outcome::wait_io());
      return visit_result::waiting;
    }
    complete(index, end_of_wait(link, index));
    return visit_result::ran;
  }

  MEGAKERNEL_HOST_DEVICE outcome end_of_wait(word link, word index) {
    const outcome refused = outcome::fault(fault_code::io_queue_refused);
    if (where_.io_slots == 0) return refused;
    if (link == abi::no_io_slot) {
      // The queue was full. Parking the slot without the kernel gains nothing.
      const work w = take(index);
      if (w.op != opcode::load_miss || !authorised(w.tenant)) return refused;
      request_io(w, index);
      return outcome::wait_io();
    }
    if (link >= where_.io_slots) return refused;
    memory_.fence(acquire, in_system);
    const bool ok = io_status_of(link) == io_status::ok;
    memory_.store(io_slot(link) + abi::io_status_word, static_cast<word>(io_status::empty), release,
                  in_system);
    return ok ? outcome::done() : refused;
  }

  const launch& where_;
  Memory& memory_;
  Counters& counters_;
};

}  // namespace megakernel::device
