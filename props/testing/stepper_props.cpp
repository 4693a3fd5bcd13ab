// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Every interleaving of small rings, explored: lanes that share slots, producers, an answering
// host. After every access the rules of ring_rules.h hold, and from every state all that was
// accepted can still be finished.
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <expected>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "ring_rules.h"
#include "stepped_ring.h"

import megakernel;
import megakernel.testing;

namespace {

using namespace props;
namespace mk = megakernel;
using host = host_side<mk::stepping_memory, mk::device::order_tag<mk::device::order::relaxed>,
                       mk::device::order_tag<mk::device::order::acquire>,
                       mk::device::order_tag<mk::device::order::release>,
                       mk::device::scope_tag<mk::device::scope::system>>;

void require(bool holds, const std::string& otherwise) {
  if (!holds) throw std::runtime_error(otherwise);
}

/// The value; there is memory for what these tests make.
template <class T>
T made(mk::result<T> made) {
  require(made.has_value(), "no memory");
  return std::move(*made);
}

/// Written by nobody here: reading them is no step.
constexpr std::array<mk::word_range, 2> fixed_words{{
    {mk::memory_area::control, 2, 30},   // tenant base and masks
    {mk::memory_area::control, 129, 6},  // priority offsets
}};
/// Counters that nobody reads. DONE_COUNT, which a rule is about, is not among them.
constexpr std::array<mk::word_range, 5> unseen_words{{
    {mk::memory_area::control, 64, 64},  // tenant fairness, metrics
    {mk::memory_area::control, 136, 5},  // priority fairness
    {mk::memory_area::control, 142, 4},  // heartbeat, faults, unauthorised, throttled
    {mk::memory_area::control, 147, 2},  // claims lost, records dropped
    {mk::memory_area::control, 150, 1},
}};

/// A small ring and those who work on it.
class small_ring {
 public:
  /// Every slot is an ATOMIC_ADD of 1, in NORMAL, that is not published.
  explicit small_ring(const mk::buffer_layout& layout)
      : buffers_(made(mk::kernel_buffers::make(layout))), quotas_(layout.quotas) {
    for (std::uint32_t s = 0; s < layout.slots; ++s) {
      slot(s)[1] = 2;
      slot(s)[3] = 2;
      slot(s)[4] = 1;
      slot(s)[5] = 160;
    }
  }
  small_ring(const small_ring&) = delete;
  small_ring& operator=(const small_ring&) = delete;

  [[nodiscard]] std::uint32_t* control() { return buffers_.where().control; }
  [[nodiscard]] std::uint32_t* slot(std::uint32_t s) { return buffers_.where().ring + 16 * s; }
  [[nodiscard]] std::uint32_t* io(std::uint32_t s) { return buffers_.where().io_queue + 8 * s; }
  void put(const job& what) {
    slot(what.slot)[2] = what.tenant;
    slot(what.slot)[5] = what.result;
    slot(what.slot)[0] = 1;
  }

  enum class steps : bool { of_interest, all };

  /// A stepper with `lanes` lanes over it.
  template <class Handlers = mk::device::handlers<>>
  mk::stepper lanes(std::uint32_t count, mk::lane_options how, steps which = steps::of_interest,
                    std::span<mk::word> own = {}) {
    lanes_ = count;
    mk::stepping_options options{.own = own};
    if (which == steps::of_interest) {
      options.fixed = fixed_words;
      options.unseen = unseen_words;
    }
    auto stepper = made(mk::stepper::over(buffers_, options));
    for (std::uint32_t l = 0; l < count; ++l) {
      // One-shot lanes of the priority form share slots only where each thinks itself alone.
      how.number = how.one_shot ? mk::device::lane_number{} : mk::device::lane_number{l, count};
      (void)made(stepper.add_lane<Handlers>(how));
    }
    return stepper;
  }

  /// Explores; throws where a rule is broken or something that was accepted is lost.
  mk::exploration explore(mk::stepper& with, std::function<std::string_view()> end = {}) {
    const auto& where = buffers_.where();
    const ring_rules rules({where.control, where.control_words},
                           {where.ring, std::size_t{where.slots} * 16}, lanes_, quotas_);
    return explore(
        with, {.step =
                   [&](std::span<const mk::step_record> records, std::span<mk::word> ghost) {
                     for (const mk::step_record& r : records) {
                       if (const std::string_view wrong = rules(as_touch(r), ghost); !wrong.empty())
                         return wrong;
                     }
                     return std::string_view{};
                   },
               .end = std::move(end),
               .ghost_words = static_cast<std::uint32_t>(rules.ghosts())});
  }

  static mk::exploration explore(mk::stepper& with, const mk::exploration_checks& checks) {
    const auto start = std::chrono::steady_clock::now();
    auto explored = made(with.explore(checks, {.most_states = 1u << 23}));
    const std::chrono::duration<double> took = std::chrono::steady_clock::now() - start;
    std::printf("  %llu states, %llu steps, %llu ends, %.3g interleavings, %.2f s\n",
                static_cast<unsigned long long>(explored.states),
                static_cast<unsigned long long>(explored.steps),
                static_cast<unsigned long long>(explored.ends), explored.interleavings,
                took.count());
    if (!explored.failure.empty()) throw std::runtime_error(reported(explored, with));
    require(explored.complete, "there are too many states");
    if (explored.stuck != 0)
      throw std::runtime_error("no end is reached" + reported(explored, with));
    require(explored.ends > 0, "no end was reached");
    return explored;
  }

 private:
  /// What is wrong and the schedule that led there, access by access.
  static std::string reported(const mk::exploration& explored, mk::stepper& with) {
    constexpr std::array kinds{"load", "store", "add", "exchange", "body"};
    constexpr std::array areas{"control", "ring", "debug_log", "io_queue", "table", "own", "?"};
    std::string out(explored.failure);
    for (const std::uint32_t actor : explored.schedule) {
      const auto stepped = with.step(actor);
      if (!stepped || !*stepped) break;
      const touch t = as_touch(with.made().front());
      out.append("\n    actor ").append(std::to_string(t.actor)).append(": ");
      out.append(kinds[static_cast<std::size_t>(t.kind)]).append(" ");
      out.append(areas[static_cast<std::size_t>(t.area)]).append("[");
      out.append(std::to_string(t.index)).append("] ").append(std::to_string(t.before));
      out.append(" -> ").append(std::to_string(t.after));
    }
    return out;
  }

  mk::kernel_buffers buffers_;
  std::uint32_t lanes_ = 0;
  bool quotas_;
};

constexpr mk::lane_options by_priority{.order = mk::schedule::by_priority};
constexpr mk::lane_options in_ring_order{.order = mk::schedule::ring_order};

/// Publishes `jobs` one after the other, each into its slot when that is free; then waits until
/// those that may run are DONE, and sets SHUTDOWN.
mk::actor_main producer_of(small_ring& ring, std::vector<job> jobs) {
  return [&ring, jobs = std::move(jobs)](mk::stepping_memory& memory, const mk::device::launch&) {
    host side(memory);
    std::uint32_t place = 0;
    for (const job& j : jobs) {
      side.await_free(ring.slot(j.slot), place++);
      side.publish(ring.slot(j.slot), j);
    }
    for (std::size_t i = 0; i < jobs.size(); ++i) {
      bool last = jobs[i].runs;
      for (std::size_t k = i + 1; k < jobs.size(); ++k) last = last && jobs[k].slot != jobs[i].slot;
      if (last) side.await(ring.slot(jobs[i].slot), 3, place++);
    }
    side.commit(ring.control(), 1);
  };
}

/// At an end: every job that runs has run, no other has, and the 64-bit done count says so.
std::function<std::string_view()> all_ran(small_ring& ring, std::vector<job> jobs,
                                          std::uint64_t done_before = 0) {
  return [&ring, jobs = std::move(jobs), done_before]() -> std::string_view {
    std::uint64_t ran = 0;
    for (const job& j : jobs) {
      if (ring.control()[j.result] != (j.runs ? 1u : 0u))
        return "a job was not run that had to be, or was run that had not";
      ran += j.runs;
    }
    const std::uint64_t done = std::uint64_t{ring.control()[149]} << 32 | ring.control()[1];
    return done == done_before + ran ? std::string_view{} : "the done count is wrong";
  };
}

const std::vector<job> two_jobs{{.slot = 0, .result = 160}, {.slot = 1, .result = 161}};

// Two slots, two lanes that share them, a producer.

void two_slots_two_lanes_one_producer() {
  small_ring ring({.slots = 2, .observable_words = 4});
  auto with = ring.lanes(2, by_priority);
  (void)made(with.add(producer_of(ring, two_jobs)));
  ring.explore(with, all_ran(ring, two_jobs));
}

void counts_wrap_into_their_upper_half() {
  small_ring ring({.slots = 2, .observable_words = 4});
  ring.control()[1] = 0xFFFF'FFFF;
  auto with = ring.lanes(2, by_priority);
  (void)made(with.add(producer_of(ring, two_jobs)));
  ring.explore(with, all_ran(ring, two_jobs, 0xFFFF'FFFF));
}

void republished_for_its_tenant() {
  const std::vector<job> jobs{{.slot = 0, .result = 160},
                              {.slot = 1, .result = 161},
                              {.slot = 0, .result = 162},
                              {.slot = 1, .result = 163}};
  small_ring ring({.slots = 2, .observable_words = 4});
  auto with = ring.lanes(2, by_priority);
  (void)made(with.add(producer_of(ring, jobs)));
  ring.explore(with, all_ran(ring, jobs));
}

void republished_for_a_tenant_without_a_mask() {
  for (const std::uint32_t forged : {5u, 29u, 0xFFFF'FFFFu}) {
    const std::vector<job> jobs{{.slot = 0, .result = 160},
                                {.slot = 1, .result = 161},
                                {.slot = 0, .tenant = forged, .result = 162, .runs = false}};
    small_ring ring({.slots = 2, .observable_words = 4});
    ring.control()[3 + 5] = 0;
    auto with = ring.lanes(2, by_priority);
    (void)made(with.add(producer_of(ring, jobs)));
    ring.explore(with, all_ran(ring, jobs));
  }
}

void every_access_is_a_step() {
  // Nothing is taken for fixed or unseen: leaving steps out hides nothing.
  small_ring ring({.slots = 1, .observable_words = 2});
  ring.put({.slot = 0, .result = 160});
  mk::lane_options once = by_priority;
  once.one_shot = true;
  auto with = ring.lanes(2, once, small_ring::steps::all);
  const auto found = ring.explore(with, [&]() -> std::string_view {
    if (ring.control()[160] != 1 || ring.control()[1] != 1) return "not run once";
    if (ring.control()[98] != 1 || ring.control()[64] != 1 || ring.control()[138] != 1)
      return "a claim was not counted once";
    return {};
  });
  require(found.interleavings < 1e300, "one-shot lanes end");
}

void three_lanes_and_two_producers() {
  // Producers take a slot by exchange on a word beside the ring, as a queue does.
  small_ring ring({.slots = 2, .observable_words = 4});
  std::array<mk::word, 2> locks{};
  auto with = ring.lanes(3, by_priority, small_ring::steps::of_interest, locks);
  for (std::uint32_t p = 0; p < 2; ++p) {
    (void)made(with.add([&ring, &locks, p](mk::stepping_memory& memory, const mk::device::launch&) {
      host side(memory);
      for (std::uint32_t n = 0; n < 2; ++n) {
        const job j{.slot = 0, .result = 160 + 2 * p + n};
        side.await_exchange(locks.data(), 0, 1, n);
        side.await_free(ring.slot(0), 10 + n);
        side.publish(ring.slot(0), j);
        side.commit(locks.data(), 0);
      }
    }));
  }
  (void)made(with.add([&ring](mk::stepping_memory& memory, const mk::device::launch&) {
    host side(memory);
    side.await(ring.control() + 1, 4, 0);
    side.commit(ring.control(), 1);
  }));
  ring.explore(with, [&]() -> std::string_view {
    for (std::uint32_t i = 0; i < 4; ++i) {
      if (ring.control()[160 + i] != 1) return "a job was lost";
    }
    return {};
  });
}

void three_slots_two_lanes() {
  const std::vector<job> jobs{{.slot = 0, .result = 160},
                              {.slot = 1, .result = 161},
                              {.slot = 2, .result = 162},
                              {.slot = 0, .tenant = 5, .result = 163, .runs = false}};
  small_ring ring({.slots = 3, .observable_words = 4});
  ring.control()[3 + 5] = 0;
  const std::array<std::uint32_t, 6> one_partition{0, 0, 0, 3, 3, 3};
  for (std::uint32_t i = 0; i < 6; ++i) ring.control()[129 + i] = one_partition[i];
  auto with = ring.lanes(2, by_priority);
  (void)made(with.add(producer_of(ring, jobs)));
  ring.explore(with, all_ran(ring, jobs));
}

// The plain form: lanes own their slots, but a slot can change hands under a lane all the same.

void plain_lanes_own_their_slots() {
  const std::vector<job> jobs{{.slot = 0, .result = 160},
                              {.slot = 1, .result = 161},
                              {.slot = 0, .tenant = 5, .result = 162, .runs = false},
                              {.slot = 1, .result = 163}};
  small_ring ring({.slots = 2, .observable_words = 4});
  ring.control()[3 + 5] = 0;
  auto with = ring.lanes(2, in_ring_order);
  (void)made(with.add(producer_of(ring, jobs)));
  ring.explore(with, all_ran(ring, jobs));
}

void bounded_passes_have_finitely_many_interleavings() {
  small_ring ring({.slots = 2, .observable_words = 4});
  mk::lane_options two_passes = by_priority;
  two_passes.passes = 2;
  auto with = ring.lanes(2, two_passes);
  for (const job& j : two_jobs) ring.put(j);
  const auto found = ring.explore(with, all_ran(ring, two_jobs));
  require(found.interleavings < 1e300, "passes are bounded");
  require(found.interleavings > static_cast<double>(found.states), "fewer schedules than states");
}

// Leaving.

void shutdown_leaves_nothing_half_done() {
  small_ring ring({.slots = 2, .observable_words = 4});
  for (const job& j : two_jobs) ring.put(j);
  auto with = ring.lanes(2, by_priority);
  (void)made(with.add([&ring](mk::stepping_memory& memory, const mk::device::launch&) {
    host(memory).commit(ring.control(), 1);
  }));
  ring.explore(with, [&]() -> std::string_view {
    std::uint32_t done = 0;
    for (std::uint32_t s = 0; s < 2; ++s) {
      const std::uint32_t status = ring.slot(s)[0];
      if (status != 1 && status != 3) return "a slot was left claimed";
      if (ring.control()[160 + s] != (status == 3 ? 1u : 0u)) return "a slot was left half done";
      done += status == 3;
    }
    return ring.control()[1] == done ? std::string_view{} : "the done count is wrong";
  });
}

void lanes_report_that_they_have_left() {
  small_ring ring({.slots = 1, .observable_words = 2});
  ring.put({.slot = 0, .result = 160});
  mk::lane_options how = by_priority;
  how.report = true;
  how.passes = 1;
  auto with = ring.lanes(2, how);
  ring.explore(with, [&]() -> std::string_view {
    return ring.control()[146] == 0 && ring.control()[141] == 1 ? std::string_view{}
                                                                : "lanes are reported wrongly";
  });
}

// Quotas: one token, two slots.

void one_token_pays_for_one_claim() {
  small_ring ring({.slots = 2, .observable_words = 4, .quotas = true});
  ring.control()[32] = 1;
  for (const job& j : two_jobs) ring.put(j);
  auto with = ring.lanes(2, by_priority);
  (void)made(with.add([&ring](mk::stepping_memory& memory, const mk::device::launch&) {
    host side(memory);
    side.await(ring.control() + 1, 1, 0);
    side.commit(ring.control(), 1);
  }));
  ring.explore(with, [&]() -> std::string_view {
    if (ring.control()[160] + ring.control()[161] != 1) return "a token paid for two claims";
    return ring.control()[32] == 0 ? std::string_view{} : "a lost claim kept or made a token";
  });
}

void a_changed_tenant_pays_its_own_token() {
  // The slot goes from tenant 0 to tenant 1 under the lanes: each pays for its own claim.
  const std::vector<job> jobs{{.slot = 0, .tenant = 0, .result = 160},
                              {.slot = 0, .tenant = 1, .result = 161}};
  small_ring ring({.slots = 1, .observable_words = 4, .quotas = true});
  ring.control()[32] = 2;
  ring.control()[33] = 2;
  auto with = ring.lanes(2, by_priority);
  (void)made(with.add(producer_of(ring, jobs)));
  const auto ran = all_ran(ring, jobs);
  ring.explore(with, [&]() -> std::string_view {
    if (const std::string_view wrong = ran(); !wrong.empty()) return wrong;
    return ring.control()[32] == 1 && ring.control()[33] == 1 ? std::string_view{}
                                                              : "a tenant paid for another's claim";
  });
}

// LOAD_MISS: two slots, one IO slot.

void two_misses_share_one_io_slot() {
  small_ring ring({.slots = 2, .observable_words = 2, .io_slots = 1});
  for (std::uint32_t s = 0; s < 2; ++s) {
    ring.slot(s)[1] = 0xFFFD;
    ring.slot(s)[4] = 70 + s;
    ring.slot(s)[0] = 1;
  }
  auto with = ring.lanes(2, by_priority);
  (void)made(with.add([&ring](mk::stepping_memory& memory, const mk::device::launch&) {
    host side(memory);
    for (std::uint32_t answered = 0; answered < 2; ++answered) {
      side.await(ring.io(0) + 6, 1, 2 * answered);
      side.commit(ring.io(0) + 6, 2);
      const std::uint32_t tag = side.observe(ring.io(0) + 7);
      // The request of the slot that it names, whole.
      side.commit(ring.io(0) + 6, side.observe(ring.io(0) + 1) == 70 + tag ? 0x10 : 0x11);
    }
    side.await(ring.slot(0), 3, 10);
    side.await(ring.slot(1), 3, 11);
    side.commit(ring.control(), 1);
  }));
  ring.explore(with, [&]() -> std::string_view {
    if (ring.control()[1] != 2) return "the done count is wrong";
    return ring.io(0)[6] == 0 ? std::string_view{} : "an IO slot was not given back";
  });
}

// Yielding.

struct yields {
  static constexpr mk::opcode op{8};
  struct arguments {};
  template <class Context>
  mk::device::outcome operator()(const arguments&, Context&) const {
    return mk::device::outcome::yield();
  }
};
struct requeues {
  static constexpr mk::opcode op{9};
  struct arguments {};
  template <class Context>
  mk::device::outcome operator()(const arguments&, Context&) const {
    return mk::device::outcome::requeue();
  }
};

void slots_that_yield_are_claimed_again_by_one() {
  small_ring ring({.slots = 2, .observable_words = 2});
  ring.slot(0)[1] = 8;
  ring.slot(1)[1] = 9;
  ring.slot(0)[0] = ring.slot(1)[0] = 1;
  mk::lane_options how = by_priority;
  how.passes = 3;
  auto with = ring.lanes<mk::device::handlers<yields, requeues>>(2, how);
  ring.explore(with, [&]() -> std::string_view {
    if (ring.control()[1] != 0) return "counted as done";
    const std::uint32_t a = ring.slot(0)[0];
    const std::uint32_t b = ring.slot(1)[0];
    return (a == 1 || a == 5) && (b == 1 || b == 6) ? "" : "a slot was lost";
  });
}

// The priority form cannot starve: with the counter one below its limit, a CRITICAL slot that is
// published again and again, and a LOW one.

void low_work_is_claimed_while_critical_work_never_ends() {
  constexpr std::uint32_t rounds = 6;
  small_ring ring({.slots = 2, .observable_words = 2});
  const std::array<std::uint32_t, 6> offsets{0, 1, 1, 1, 2, 2};
  for (std::uint32_t i = 0; i < 6; ++i) ring.control()[129 + i] = offsets[i];
  ring.slot(0)[1] = ring.slot(1)[1] = 0;
  ring.slot(0)[3] = 0;
  ring.slot(1)[3] = 3;
  ring.slot(0)[0] = ring.slot(1)[0] = 1;
  ring.control()[135] = 15;
  auto with = ring.lanes(2, by_priority);
  (void)made(with.add([&ring](mk::stepping_memory& memory, const mk::device::launch&) {
    host side(memory);
    for (std::uint32_t i = 0; i < rounds; ++i) {
      side.await(ring.slot(0), 3, i);
      side.commit(ring.slot(0), 1);
    }
    side.await(ring.slot(0), 3, rounds);
    side.await(ring.slot(1), 3, rounds + 1);
    side.commit(ring.control(), 1);
  }));
  // 1 claim to the limit, and with two lanes at most one claim more of each: one that is not
  // counted yet, one of a pass that has read the counter before.
  std::uint32_t most = 0;
  const mk::exploration_checks checks{
      .step =
          [&](std::span<const mk::step_record> made, std::span<mk::word> ghost) {
            const touch t = as_touch(made.front());
            if (t.area != touch::areas::ring || t.after != 2 || t.before != 1)
              return std::string_view{};
            if (t.index == 0 && ring.slot(1)[0] == 1) ++ghost[0];
            most = ghost[0] > most ? ghost[0] : most;
            return ghost[0] > 4 ? std::string_view("LOW work starves") : std::string_view{};
          },
      .ghost_words = 1};
  small_ring::explore(with, checks);
  std::printf("  at most %u urgent claims first\n", most);
  require(most > 1, "urgent work was not ahead at all");
}

// What is wrong is found, and the schedule that leads there.

using mk::device::in_system;
using mk::device::relaxed;
constexpr std::string_view broken_promise = "an actor did different things after reading the same";

void a_table_that_is_written_is_found() {
  static constexpr std::array<mk::word, 4> table{1, 2, 3, 4};
  auto buffers =
      made(mk::kernel_buffers::make({.slots = 1, .observable_words = 2, .dfa_table = table}));
  const std::array fixed{mk::word_range{mk::memory_area::dfa_table, 2, 2}};
  for (const std::uint32_t at : {0u, 3u}) {
    auto with = made(mk::stepper::over(buffers, {.fixed = fixed}));
    (void)made(with.add([at](mk::stepping_memory& memory, const mk::device::launch& where) {
      memory.store(const_cast<mk::word*>(where.dfa_table) + at, 9, relaxed, in_system);
    }));
    const auto found = made(with.explore({}));
    // The first that is wrong is what is said.
    require(found.failure == (at == 0 ? "the table was written" : "a fixed word was written"),
            std::string(found.failure));
    require(found.schedule == std::vector<std::uint32_t>{0} && !found.complete, "the schedule");
    require(buffers.where().dfa_table[at] == table[at], "it was written indeed");
  }
}

void a_rule_that_is_broken_is_told() {
  small_ring ring({.slots = 1, .observable_words = 2});
  auto with = ring.lanes(0, by_priority);
  for (const std::uint32_t actor : {0u, 1u}) {
    (void)made(with.add([actor](mk::stepping_memory& memory, const mk::device::launch& where) {
      memory.store(where.control + 160, 1 + actor, relaxed, in_system);
      memory.add(where.control + 161, 1, relaxed, in_system);
    }));
  }
  const auto found = made(with.explore({.step = [&](auto, auto) -> std::string_view {
    return ring.control()[160] == 1 && ring.control()[161] == 2 ? "both, and the first came last"
                                                                : "";
  }}));
  require(found.failure == "both, and the first came last" && !found.complete, "it was not found");
  for (const std::uint32_t actor : found.schedule) require(made(with.step(actor)), "no schedule");
  require(ring.control()[160] == 1 && ring.control()[161] == 2, "of another state");
}

void states_that_reach_no_end_are_counted() {
  small_ring ring({.slots = 1, .observable_words = 2});
  auto with = ring.lanes(0, by_priority);
  // Comes too late, and then waits for ever.
  (void)made(with.add([&ring](mk::stepping_memory& memory, const mk::device::launch&) {
    host side(memory);
    if (side.observe(ring.control() + 160) != 0) side.await(ring.control() + 160, 0, 0);
  }));
  (void)made(with.add([&ring](mk::stepping_memory& memory, const mk::device::launch&) {
    host(memory).commit(ring.control() + 160, 1);
  }));
  const auto found = made(with.explore({}));
  require(found.complete && found.failure.empty() && found.ends == 1, "an end is reached, too");
  require(found.stuck == 2, std::to_string(found.stuck) + " states are stuck");
  require(found.schedule == std::vector<std::uint32_t>{1}, "where it begins");
}

void an_actor_that_breaks_its_promise_is_found() {
  small_ring ring({.slots = 1, .observable_words = 2});
  const auto other = [&ring](mk::stepping_memory& memory, const mk::device::launch&) {
    host(memory).commit(ring.control() + 161, 1);
  };
  // What it does next depends on more than it says at its checkpoint.
  {
    auto with = ring.lanes(0, by_priority);
    (void)made(with.add([](mk::stepping_memory& memory, const mk::device::launch& where) {
      for (std::uint32_t i = 0; i < 2; ++i) {
        memory.checkpoint();
        (void)memory.load(where.control + 160 + i, relaxed, in_system);
      }
    }));
    require(made(with.explore({})).failure == broken_promise, "a checkpoint that says too little");
  }
  // It remembers that it ran before.
  std::uint32_t runs = 0;
  auto with = ring.lanes(0, by_priority);
  (void)made(with.add([&runs](mk::stepping_memory& memory, const mk::device::launch& where) {
    if (runs++ != 0) return;
    for (std::uint32_t i = 0; i < 2; ++i)
      (void)memory.load(where.control + 160 + i, relaxed, in_system);
  }));
  (void)made(with.add(other));
  require(made(with.explore({})).failure == broken_promise, "an actor with a memory of its own");
  // The same, where what it reads first is read again as something else.
  runs = 0;
  auto again = ring.lanes(0, by_priority);
  (void)made(again.add([&runs](mk::stepping_memory& memory, const mk::device::launch& where) {
    if (runs++ == 0) (void)memory.load(where.control + 161, relaxed, in_system);
  }));
  (void)made(again.add(other));
  require(made(again.explore({})).failure == broken_promise, "an actor that runs only once");
}

void steps_are_taken_told_and_taken_again() {
  auto buffers = made(mk::kernel_buffers::make({.slots = 1, .observable_words = 2}));
  std::uint32_t* const observable = buffers.where().control + 160;
  const std::array unseen{mk::word_range{mk::memory_area::outside, 0, 1},
                          mk::word_range{mk::memory_area::control, 160, 1}};
  auto with = made(mk::stepper::over(buffers, {.unseen = unseen, .trace = true}));
  (void)made(with.add([](mk::stepping_memory& memory, const mk::device::launch& where) {
    memory.store(where.control + 160, 5, relaxed, in_system);
    const mk::word read = memory.load(where.control + 161, relaxed, in_system);
    memory.store(where.control + 160, 6 + read, relaxed, in_system);
    memory.add(where.control + 161, 1, relaxed, in_system);
  }));
  const auto next = with.pending(0);
  require(next && next->kind == mk::access_kind::load && next->index == 161, "the first access");
  require(observable[0] == 5, "what comes before it is made with it");
  require(made(with.step(0)) && with.made().size() == 2 && observable[0] == 6, "a load, a store");
  require(made(with.step(0)) && with.made().size() == 1 && observable[1] == 1, "an addition");
  require(!made(with.step(0)) && !with.pending(0), "it has ended");
  std::vector<mk::step_record> trace(with.trace().begin(), with.trace().end());
  require(trace.size() == 2 && trace[1].before == 0 && trace[1].after == 1, "the trace");

  observable[1] = 0;
  with.restart();
  require(made(with.replay(trace)) == 2 && observable[1] == 1, "it was not done again");
  with.restart();
  require(made(with.replay(trace)) == 0, "it read something else");
  with.restart();
  trace[0].actor = 1;
  require(made(with.replay(trace)) == 0, "there is no such actor");
}

struct hazard {
  const char* name;
  void (*explore)();
};
constexpr hazard hazards[] = {
    {"two lanes on two slots: none claimed twice, none lost", two_slots_two_lanes_one_producer},
    {"the done count wraps into its upper half", counts_wrap_into_their_upper_half},
    {"a slot drained and published again under a lane that looked", republished_for_its_tenant},
    {"a slot drained and published again for a tenant without a mask",
     republished_for_a_tenant_without_a_mask},
    {"three lanes, and two producers that share a slot", three_lanes_and_two_producers},
    {"two lanes on three slots, one of them forged later", three_slots_two_lanes},
    {"every access a step", every_access_is_a_step},
    {"plain lanes: slots published again, one for a tenant without a mask",
     plain_lanes_own_their_slots},
    {"bounded passes", bounded_passes_have_finitely_many_interleavings},
    {"SHUTDOWN at any moment leaves nothing half done", shutdown_leaves_nothing_half_done},
    {"lanes report that they have left", lanes_report_that_they_have_left},
    {"one token pays for one claim", one_token_pays_for_one_claim},
    {"a slot that changes tenants: each pays its own token", a_changed_tenant_pays_its_own_token},
    {"two misses share one IO slot", two_misses_share_one_io_slot},
    {"slots that yield are claimed again, by one lane", slots_that_yield_are_claimed_again_by_one},
    {"LOW work is claimed while CRITICAL work never ends",
     low_work_is_claimed_while_critical_work_never_ends},
    {"a write to the table, and what is wrong first", a_table_that_is_written_is_found},
    {"a broken rule, and the schedule that breaks it", a_rule_that_is_broken_is_told},
    {"states from which there is no end", states_that_reach_no_end_are_counted},
    {"actors that do different things after reading the same",
     an_actor_that_breaks_its_promise_is_found},
    {"steps that are taken, told, and taken again", steps_are_taken_told_and_taken_again},
};

}  // namespace

int main() {
  bool ok = true;
  for (const hazard& h : hazards) {
    std::printf("%s\n", h.name);
    try {
      h.explore();
    } catch (const std::exception& wrong) {
      std::printf("  FAILED: %s\n", wrong.what());
      ok = false;
    }
  }
  return ok ? 0 : 1;
}
