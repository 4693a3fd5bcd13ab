// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
module;
#include <megakernel/lane_order.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <expected>
#include <functional>
#include <memory>
#include <new>
#include <optional>
#include <span>
#include <string_view>
#include <vector>
export module megakernel.testing:stepper;
import megakernel.protocol;
import megakernel.runtime;
import :fiber;

export namespace megakernel {

/// A lane among the actors.
struct lane_options {
  schedule order = schedule::ring_order;
  bool one_shot = false;
  device::lane_number number{};
  device::search search{.spin_limit = 0, .stride = 2};  ///< of the plain form
  std::uint32_t passes = 0;  ///< the persistent form leaves after so many; 0: at SHUTDOWN
  bool report = false;       ///< reports its coming and going in words 141 and 146
};

/// Some words of an area.
struct word_range {
  memory_area area = memory_area::control;
  std::uint32_t first = 0;
  std::uint32_t count = 1;
};

struct stepping_options {
  /// Words beside the buffers that the caller's actors share.
  std::span<word> own{};
  /// Words that nobody writes. Loading one is no step, since it cannot matter when it happens;
  /// exploring finds it wrong when one is written.
  std::span<const word_range> fixed{};
  /// Words that are stored and added to, and that no actor reads: counters. Such a store is no step
  /// either, but part of the one before it, and is no part of a state that is explored.
  std::span<const word_range> unseen{};
  /// Steps that are taken in all; `step` refuses those after them.
  std::uint64_t most_steps = std::uint64_t{1} << 32;
  bool trace = false;  ///< keep a record of every step
};

/// The check that exploring makes after every step. A rule answers with a sentence that says what
/// is wrong, and with none where nothing is; the shared memory is as the step has left it.
struct exploration_checks {
  /// `made`: the step, then the stores to unseen words that belong to it. `ghost`: words of the
  /// rules' own, zero at first, for what memory does not show; states differ where they do.
  std::function<std::string_view(std::span<const step_record> made, std::span<word> ghost)> step{};
  /// Where every actor has ended.
  std::function<std::string_view()> end{};
  std::uint32_t ghost_words = 0;
};

struct exploration_limits {
  std::uint32_t most_states = std::uint32_t{1} << 22;
};

/// The extent of an exploration.
struct exploration {
  std::uint64_t states = 0;
  std::uint64_t steps = 0;         ///< from a state to a state
  std::uint64_t ends = 0;          ///< states where every actor has ended
  std::uint64_t stuck = 0;         ///< states from which no end is reached any more
  std::uint64_t local_states = 0;  ///< of the actors, each by itself
  std::size_t deepest = 0;         ///< steps of the longest schedule that was followed
  /// Schedules from the start to an end; infinite where actors can poll for ever.
  double interleavings = 0;
  bool complete = false;       ///< neither a limit nor a failure has stopped it
  std::string_view failure{};  ///< empty: nothing was found wrong
  std::vector<std::uint32_t>
      schedule{};  ///< actors in the order that leads to it, or to a stuck state
};

namespace detail {

template <class Position>
inline void mark_pass(stepping_memory& memory, const Position& at, word passes_left) noexcept {
  word state[sizeof(Position) / sizeof(word) + 1] = {passes_left};
  static_assert(sizeof(Position) % sizeof(word) == 0);
  __builtin_memcpy(state + 1, &at, sizeof at);
  memory.checkpoint(state);
}

template <class Handlers>
void run_stepped_lane(stepping_memory& memory, const device::launch& where,
                      const lane_options& how) {
  using counters_type = device::direct_counters<stepping_memory>;
  using interpreter_type = device::interpreter<stepping_memory, counters_type, Handlers>;
  counters_type counters(where, memory);
  interpreter_type slots(where, memory, counters);
  const auto run = [&](auto lane) {
    if (how.one_shot) return lane.run_once();
    for (word left = how.passes; how.passes == 0 || left != 0; left -= left != 0) {
      mark_pass(memory, lane.stands_at(), left);
      if (lane.step() == device::pass::left) return;
    }
  };
  if (how.report) device::enter(memory, where);
  if (how.order == schedule::ring_order) {
    run(device::ring_lane<interpreter_type, counters_type>(where, slots, counters, how.number,
                                                           how.search));
  } else {
    run(device::priority_lane<stepping_memory, interpreter_type, counters_type>(
        where, memory, slots, counters, how.number));
  }
  if (how.report) device::leave(memory, where);
}

struct stepper_state {
  step_world world;
  std::vector<std::unique_ptr<step_fiber>> fibers;
  std::uint64_t steps_left = 0;
  bool tracing = false;
  std::vector<step_record> made;
  std::vector<step_record> trace;

  void start(std::uint32_t actor);
};

}  // namespace detail

/// Runs lanes and actors of the caller's in any order, one access to shared memory at a time and
/// without threads: the same calls do the same again. For tests, fuzzers and replay.
///
/// Only words are modelled. Handlers that work in the arena touch it as they run, between steps.
class stepper {
 public:
  /// Actors are to share the buffers and `options.own`, which outlive the stepper. Errors:
  /// `out_of_memory`.
  [[nodiscard]] static result<stepper> over(kernel_buffers& buffers,
                                            const stepping_options& options = {}) noexcept;
  stepper(stepper&&) noexcept;
  stepper& operator=(stepper&&) = delete;
  ~stepper();

  /// Adds an actor and returns its number; they count from zero. It runs no code before it is asked
  /// about. Error: `out_of_memory`, where there is no stack for it either.
  [[nodiscard]] result<std::uint32_t> add(actor_main main) noexcept;
  template <class Handlers = device::handlers<>>
  [[nodiscard]] result<std::uint32_t> add_lane(const lane_options& how) noexcept {
    try {
      return add([how](stepping_memory& memory, const device::launch& where) {
        detail::run_stepped_lane<Handlers>(memory, where, how);
      });
    } catch (const std::bad_alloc&) {
      return std::unexpected(
          error{.code = error_code::out_of_memory, .found = 1, .bound = sizeof(lane_options)});
    }
  }

  [[nodiscard]] std::uint32_t actors() const noexcept;

  /// The access that the actor makes when it is stepped; none where it has ended. `actor` is one of
  /// those that were added.
  [[nodiscard]] std::optional<memory_access> pending(std::uint32_t actor);

  /// Makes that access and runs the actor to just before its next. False, and nothing happens,
  /// where it has ended or no step is left. Error: `out_of_memory`, for the trace; the step was
  /// not made. An exception that leaves an actor ends the program.
  [[nodiscard]] result<bool> step(std::uint32_t actor);

  /// The accesses of the latest step: its own, then the stores to unseen words that belong to it.
  [[nodiscard]] std::span<const step_record> made() const noexcept;
  /// All steps since the start or the restart, where the options ask for it.
  [[nodiscard]] std::span<const step_record> trace() const noexcept;

  /// Takes the steps of a trace, as long as they do and read what they did; returns how many.
  [[nodiscard]] result<std::size_t> replay(std::span<const step_record> trace);

  /// Puts every actor to its start; memory, the caller's, stays as it is.
  void restart();

  /// Visits every state that any interleaving of the actors, each from its start, reaches from the
  /// memory as it is; a state is what the shared words hold and where each actor is. Each actor's
  /// code is run once for each sequence of things it can read: from then on its step is known. The
  /// memory is put back. Errors: `out_of_memory`. O(steps) beside running the actors.
  [[nodiscard]] result<exploration> explore(const exploration_checks& checks,
                                            const exploration_limits& limits = {});

 private:
  explicit stepper(std::unique_ptr<detail::stepper_state> made) noexcept;
  std::unique_ptr<detail::stepper_state> state_;
};

}  // namespace megakernel
