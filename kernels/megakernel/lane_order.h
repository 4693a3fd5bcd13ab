// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// In which order a lane looks at slots, over the interpreter's pass over one.
// docs/protocol.md#lane-pass docs/protocol.md#plain-form docs/protocol.md#priority-form
#pragma once

#include <megakernel/abi.h>
#include <megakernel/interpreter.h>
#include <megakernel/memory_order.h>

#include <stdint.h>

namespace megakernel::device {

/// The result of one pass of a lane.
enum class pass : word {
  left,  ///< SHUTDOWN is set: the lane must not pass again
  ran,   ///< a slot was run
  idle,  ///< nothing was found to run
};

/// A lane among lanes.
struct lane_number {
  word lane = 0;
  word lanes = 1;
};

/// How far a persistent lane looks when its next slot is not ready.
struct search {
  /// Passes that look at the next slot alone: work comes in ring order, and the line a producer is
  /// about to write should not be taken from it.
  word spin_limit = 64;
  /// Slots the first pass after that looks at. Each later one looks at a sixteenth more, up to
  /// `widest` and to a 64th of the lane's slots: a large ring is searched in few passes, and a
  /// small one leaves the host its lines.
  word stride = 16;
  word widest = 1024;
};

/// A lane enters and leaves with these: the kernel reports of revision 1, and how many
/// of its lanes are there. docs/protocol.md#kernel-report
template <class Memory>
MEGAKERNEL_HOST_DEVICE void enter(Memory& memory, const launch& where) {
  memory.store(where.control + abi::revision_word, abi::revision, relaxed, in_system);
  memory.add(where.control + abi::workers_alive_word, 1, release, in_system);
}
template <class Memory>
MEGAKERNEL_HOST_DEVICE void leave(Memory& memory, const launch& where) {
  memory.add(where.control + abi::workers_alive_word, 0xFFFF'FFFFu, release, in_system);
}

/// The plain forms: lane l owns slots l, l + L, l + 2L ... of a ring that L lanes share.
/// docs/protocol.md#plain-form
template <class Interpreter, class Counters>
class ring_lane {
 public:
  /// The state that a pass leaves for the next one.
  struct position {
    word next = 0;     ///< of the owned slots: where the next work is expected
    word behind = 0;   ///< slots from here to there may have been published since they were passed
    word passed = 0;   ///< where the last pass of the search began
    word further = 0;  ///< where it ended
    word idle_passes = 0;  ///< passes in a row that ran nothing, up to the spin limit
    word window = 0;       ///< slots the next pass of the search looks at
  };

  MEGAKERNEL_HOST_DEVICE ring_lane(const launch& where, Interpreter& slots, Counters& counters,
                                   lane_number number, search how = {})
      : slots_(slots),
        counters_(counters),
        number_(number),
        how_(how),
        owned_(number.lane < where.slots ? (where.slots - number.lane - 1) / number.lanes + 1 : 0),
        widest_(larger(how.stride, smaller(how.widest, owned_ / 64))) {}

  /// One pass of the persistent form: at most one slot is run. Slots are run in ring order where
  /// they are published so; any other order is found, too, since every slot is looked at in turn.
  MEGAKERNEL_HOST_DEVICE pass step() {
    counters_.count(abi::heartbeat_word);
    if (slots_.shutdown_requested()) return pass::left;
    if (owned_ == 0) return pass::idle;
    while (at_.behind != at_.next) {
      const word passed_over = at_.behind;
      at_.behind = after(at_.behind);
      if (ran(passed_over)) return pass::ran;
    }
    if (ran(at_.next)) return ran_and_expects(after(at_.next), after(at_.next));
    if (at_.idle_passes < how_.spin_limit) {
      ++at_.idle_passes;
      return pass::idle;
    }
    const word window = larger(at_.window, how_.stride);
    const word began = at_.further;
    for (word i = 0; i < window; ++i) {
      at_.further = after(at_.further);
      if (ran(at_.further)) return ran_and_expects(after(at_.further), at_.passed);
    }
    at_.passed = began;
    if (window < widest_) at_.window = smaller(window + window / 16 + 1, widest_);
    return pass::idle;
  }

  /// Quiet passes after which every owned slot has been looked at.
  [[nodiscard]] MEGAKERNEL_HOST_DEVICE word passes_of_search() const {
    const word widening = widest_ > how_.stride ? 128 : 0;
    return how_.spin_limit + widening + owned_ / larger(widest_, 1) + 1;
  }

  /// The one-shot form: looks at each owned slot once. docs/protocol.md#one-shot
  MEGAKERNEL_HOST_DEVICE void run_once() {
    for (word i = 0; i < owned_; ++i) {
      counters_.count(abi::heartbeat_word);
      if (slots_.shutdown_requested()) return;
      (void)slots_.visit_owned(slot(i));
    }
  }

  MEGAKERNEL_HOST_DEVICE const position& stands_at() const { return at_; }

 private:
  MEGAKERNEL_HOST_DEVICE word slot(word owned) const {
    return number_.lane + owned * number_.lanes;
  }
  MEGAKERNEL_HOST_DEVICE word after(word owned) const { return owned + 1 < owned_ ? owned + 1 : 0; }
  MEGAKERNEL_HOST_DEVICE static word smaller(word a, word b) { return a < b ? a : b; }
  MEGAKERNEL_HOST_DEVICE static word larger(word a, word b) { return a < b ? b : a; }

  MEGAKERNEL_HOST_DEVICE bool ran(word owned) {
    return slots_.visit_owned(slot(owned)) == visit_result::ran;
  }
  MEGAKERNEL_HOST_DEVICE pass ran_and_expects(word next, word behind) {
    at_ = {next, behind, next, next, 0, 0};
    return pass::ran;
  }
  Interpreter& slots_;
  Counters& counters_;
  lane_number number_;
  search how_;
  word owned_;
  word widest_;
  position at_;
};

/// The priority form: the partitions of control words 129..134, most urgent first; any lane may
/// claim any slot. After 16 CRITICAL and HIGH claims in a row those two come last for a pass, so
/// that they are skipped where anything lower is there, and nothing starves.
/// docs/protocol.md#priority-form
template <class Memory, class Interpreter, class Counters>
class priority_lane {
 public:
  /// The state that a pass leaves for the next one.
  struct position {
    word next[abi::priorities] = {};  ///< where the next pass goes on in each partition
  };

  MEGAKERNEL_HOST_DEVICE priority_lane(const launch& where, Memory& memory, Interpreter& slots,
                                       Counters& counters, lane_number number)
      : where_(where), memory_(memory), slots_(slots), counters_(counters), number_(number) {}

  /// One pass of the persistent form: at most one slot is run. A pass looks at no more than
  /// `window` slots of a partition and goes on behind them in the next.
  MEGAKERNEL_HOST_DEVICE pass step() {
    counters_.count(abi::heartbeat_word);
    if (slots_.shutdown_requested()) return pass::left;
    // docs/protocol.md#starvation
    const bool bypass = memory_.load(where_.control + abi::starvation_word, relaxed, in_system) >=
                        abi::starvation_limit;
    constexpr word urgent = static_cast<word>(priority::high) + 1;
    for (word i = 0; i < abi::priorities; ++i) {
      const word level = bypass ? (i + urgent) % abi::priorities : i;
      if (ran_one_of(level)) return pass::ran;
    }
    return pass::idle;
  }

  /// Quiet passes after which every slot has been looked at.
  [[nodiscard]] MEGAKERNEL_HOST_DEVICE word passes_of_search() const {
    return where_.slots / window + 1;
  }

  /// The one-shot form: looks at each slot of its share of every partition once, in their order.
  MEGAKERNEL_HOST_DEVICE void run_once() {
    for (word level = 0; level < abi::priorities; ++level) {
      const partition p = bounds(level);
      for (uint64_t i = uint64_t{p.first} + number_.lane; i < p.end; i += number_.lanes) {
        counters_.count(abi::heartbeat_word);
        if (slots_.shutdown_requested()) return;
        (void)slots_.visit_shared(static_cast<word>(i), level);
      }
    }
  }

  MEGAKERNEL_HOST_DEVICE const position& stands_at() const { return at_; }

 private:
  static constexpr word window = 256;
  struct partition {
    word first;
    word end;
  };

  /// As the control words say, but never outside the ring.
  MEGAKERNEL_HOST_DEVICE partition bounds(word level) {
    const word* const offset = where_.control + abi::priority_offset_word + level;
    const word first = memory_.load(offset, relaxed, in_system);
    const word end = memory_.load(offset + 1, relaxed, in_system);
    const word last = end < where_.slots ? end : where_.slots;
    return {first < last ? first : last, last};
  }

  MEGAKERNEL_HOST_DEVICE bool ran_one_of(word level) {
    const partition p = bounds(level);
    const word size = p.end - p.first;
    if (size == 0) return false;
    const word samples = size < window ? size : window;
    word at = at_.next[level] % size;
    for (word i = 0; i < samples; ++i) {
      const bool ran = slots_.visit_shared(p.first + at, level) == visit_result::ran;
      at = at + 1 < size ? at + 1 : 0;
      if (ran) {
        at_.next[level] = at;
        return true;
      }
    }
    at_.next[level] = at;
    return false;
  }

  const launch& where_;
  Memory& memory_;
  Interpreter& slots_;
  Counters& counters_;
  lane_number number_;
  position at_;
};

}  // namespace megakernel::device
