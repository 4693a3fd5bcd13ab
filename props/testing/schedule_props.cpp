// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The stepper by itself: its schedules replay, exploring visits what there is and finds what is
// wrong; and random schedules of rings too large to explore, under the rules of ring_rules.h.
#include <rapidcheck.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <expected>
#include <functional>
#include <memory>
#include <numeric>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "ring_rules.h"
#include "stepped_ring.h"
#include "support.h"

import megakernel;
import megakernel.testing;

namespace {

using namespace props;
namespace mk = megakernel;
using host = host_side<mk::stepping_memory, mk::device::order_tag<mk::device::order::relaxed>,
                       mk::device::order_tag<mk::device::order::acquire>,
                       mk::device::order_tag<mk::device::order::release>,
                       mk::device::scope_tag<mk::device::scope::system>>;

/// The value; there is memory for what these tests make.
template <class T>
T made(mk::result<T> made) {
  RC_ASSERT(made.has_value());
  return std::move(*made);
}

/// Actors on a few words of their own, without lanes.
struct bare {
  mk::kernel_buffers buffers = made(mk::kernel_buffers::make({.slots = 1, .observable_words = 1}));
  std::vector<mk::word> own;
  mk::stepper stepper;

  explicit bare(std::size_t words, std::span<const mk::word_range> fixed = {},
                std::uint64_t most_steps = 1u << 20)
      : own(words),
        stepper(made(mk::stepper::over(
            buffers, {.own = own, .fixed = fixed, .most_steps = most_steps, .trace = true}))) {}
  bare(const bare&) = delete;
  bare& operator=(const bare&) = delete;

  void add(std::function<void(host&)> what) {
    (void)made(stepper.add(
        [what = std::move(what)](mk::stepping_memory& memory, const mk::device::launch&) {
          host side(memory);
          what(side);
        }));
  }
  mk::exploration explore(const mk::exploration_checks& checks = {},
                          const mk::exploration_limits& limits = {}) {
    return made(stepper.explore(checks, limits));
  }
};

void independent_actors() {
  const std::array steps{*between<std::uint32_t>(0, 5), *between<std::uint32_t>(0, 5),
                         *between<std::uint32_t>(0, 5)};
  bare on(3);
  for (std::size_t a = 0; a < steps.size(); ++a) {
    on.add([&on, a, n = steps[a]](host& side) {
      for (std::uint32_t i = 0; i < n; ++i) side.write(&on.own[a], i + 1);
    });
  }
  const auto found = on.explore();
  // Where each actor is makes the state; the schedules are multinomial.
  RC_ASSERT(found.states == std::uint64_t{steps[0] + 1} * (steps[1] + 1) * (steps[2] + 1));
  const auto factorial = [](std::uint32_t n) {
    double f = 1;
    for (std::uint32_t i = 2; i <= n; ++i) f *= i;
    return f;
  };
  RC_ASSERT(found.interleavings ==
            factorial(steps[0] + steps[1] + steps[2]) /
                (factorial(steps[0]) * factorial(steps[1]) * factorial(steps[2])));
  RC_ASSERT(found.ends == 1u && found.stuck == 0u && found.complete);
  RC_ASSERT(found.deepest == steps[0] + steps[1] + steps[2]);
  RC_ASSERT(on.own == std::vector<mk::word>(3));
}

void lost_updates() {
  bare on(1);
  for (int a = 0; a < 2; ++a) {
    on.add([&on](host& side) { side.write(on.own.data(), side.observe(on.own.data()) + 1); });
  }
  std::array<bool, 3> ended{};
  const auto found = on.explore({.end = [&] {
    ended[on.own[0]] = true;
    return std::string_view{};
  }});
  RC_ASSERT(found.complete);
  RC_ASSERT(!ended[0] && ended[1] && ended[2]);

  // As a failure it comes with its schedule, which stepping follows to the same place.
  const auto failed =
      on.explore({.end = [&] { return std::string_view(on.own[0] == 1 ? "lost" : ""); }});
  RC_ASSERT(failed.failure == "lost");
  RC_ASSERT(!failed.complete);
  for (const std::uint32_t actor : failed.schedule) RC_ASSERT(made(on.stepper.step(actor)));
  RC_ASSERT(on.own[0] == 1u);
  RC_ASSERT(!on.stepper.pending(0) && !on.stepper.pending(1));
  RC_ASSERT(!made(on.stepper.step(0)));
}

void deadlocks() {
  bare on(2);
  for (std::size_t a = 0; a < 2; ++a) {
    on.add([&on, a](host& side) {
      const auto take = [&](std::size_t lock) {
        side.await_exchange(&on.own[lock], 0, 1, static_cast<std::uint32_t>(lock));
      };
      take(a);
      take(1 - a);
      side.write(on.own.data(), 0);
      side.write(on.own.data() + 1, 0);
    });
  }
  const auto found = on.explore();
  RC_ASSERT(found.complete && found.ends == 1u);
  RC_ASSERT(found.stuck == 1u);
  for (const std::uint32_t actor : found.schedule) RC_ASSERT(made(on.stepper.step(actor)));
  RC_ASSERT(on.own == std::vector<mk::word>({1, 1}));
}

void polls() {
  bare on(1);
  on.add([&on](host& side) { side.await(on.own.data(), 1, 0); });
  on.add([&on](host& side) { side.write(on.own.data(), 1); });
  const auto found = on.explore();
  RC_ASSERT(found.complete && found.stuck == 0u);
  RC_ASSERT(found.states == 3u);
  RC_ASSERT(found.interleavings > 1e300);
  RC_ASSERT(on.explore({}, {.most_states = 2}).complete == false);
}

void what_actors_may_not() {
  {
    bare on(1);
    std::uint32_t elsewhere = 7;
    on.add([&](host& side) { side.write(&elsewhere, side.observe(&elsewhere) + 1); });
    RC_ASSERT(on.explore().failure == "an access outside the shared memory");
    RC_ASSERT(elsewhere == 7u);
  }
  {
    const std::array fixed{mk::word_range{mk::memory_area::own, 0, 1}};
    bare on(2, fixed);
    on.add([&](host& side) { side.write(on.own.data() + 1, side.observe(on.own.data())); });
    RC_ASSERT(on.explore().failure.empty());
    on.add([&](host& side) { side.write(on.own.data(), 1); });
    RC_ASSERT(on.explore().failure == "a fixed word was written");
    RC_ASSERT(on.own[0] == 0u);
  }
  {
    bare on(2);
    std::uint32_t runs = 0;
    on.add([&](host& side) {
      side.write(&on.own[++runs % 2], 1);
      side.await(&on.own[0], 0, 0);
    });
    on.add([&](host& side) { side.write(on.own.data(), 1); });
    RC_ASSERT(on.explore().failure == "an actor did different things after reading the same");
  }
}

void budgets() {
  bare on(1, {}, 3);
  on.add([&](host& side) { side.await(on.own.data(), 1, 0); });
  for (int i = 0; i < 3; ++i) RC_ASSERT(made(on.stepper.step(0)));
  RC_ASSERT(!made(on.stepper.step(0)));
  RC_ASSERT(on.stepper.pending(0).has_value());
  RC_ASSERT(on.stepper.trace().size() == 3u);
  on.stepper.restart();
  RC_ASSERT(on.stepper.trace().empty());
}

// Lanes.

struct profile {
  std::uint64_t seed = 0;
  std::uint32_t slots = 1;
  std::uint32_t lanes = 1;
  std::uint32_t producers = 1;
  std::uint32_t jobs = 1;  ///< of each producer
  bool by_priority = false;
  bool quotas = false;
  bool bursts = false;  ///< an actor goes on for a while, or one step each
};

void showValue(const profile& p, std::ostream& out) {
  out << "seed " << p.seed << ", slots " << p.slots << ", lanes " << p.lanes << ", producers "
      << p.producers << ", jobs " << p.jobs << (p.by_priority ? ", by priority" : ", in ring order")
      << (p.quotas ? ", quotas" : "") << (p.bursts ? ", bursts" : "");
}

rc::Gen<profile> any_profile() {
  return rc::gen::apply(
      [](std::uint64_t seed, std::uint32_t slots, std::uint32_t lanes, std::uint32_t producers,
         std::uint32_t jobs, std::uint32_t flags) {
        return profile{seed,
                       slots,
                       lanes,
                       producers,
                       jobs,
                       (flags & 1) != 0,
                       (flags & 2) != 0,
                       (flags & 4) != 0};
      },
      uniform<std::uint64_t>(), between<std::uint32_t>(1, 12), between<std::uint32_t>(1, 5),
      between<std::uint32_t>(1, 3), between<std::uint32_t>(1, 12), between<std::uint32_t>(0, 7));
}

/// A ring on which producers of a profile put jobs into slots they take by exchange on a lock.
class busy_ring {
 public:
  explicit busy_ring(const profile& p)
      : p_(p),
        buffers_(made(mk::kernel_buffers::make({.slots = p.slots,
                                                .tenants = 3,
                                                .observable_words = p.producers * p.jobs,
                                                .quotas = p.quotas}))),
        locks_(p.slots),
        stepper_(made(mk::stepper::over(buffers_, {.own = locks_, .trace = true}))),
        rules_({buffers_.where().control, buffers_.where().control_words},
               {buffers_.where().ring, std::size_t{p.slots} * 16}, p.lanes, p.quotas),
        ghost_(rules_.ghosts()) {
    const auto order = p.by_priority ? mk::schedule::by_priority : mk::schedule::ring_order;
    for (std::uint32_t l = 0; l < p.lanes; ++l) {
      (void)made(stepper_.add_lane({.order = order,
                                    .number = {l, p.lanes},
                                    .search = {.spin_limit = l % 3, .stride = 1 + l % 2}}));
    }
    for (std::uint32_t n = 0; n < p.producers; ++n) {
      (void)made(stepper_.add([this, n](mk::stepping_memory& memory, const mk::device::launch& to) {
        produce(memory, to, n);
      }));
    }
  }
  busy_ring(const busy_ring&) = delete;
  busy_ring& operator=(const busy_ring&) = delete;

  /// Steps actors as the seed says until all jobs are done, then sets SHUTDOWN and lets the lanes
  /// leave. Fails the property where a rule is broken, or where that takes too long.
  void run() {
    prng d(p_.seed);
    const std::uint64_t all = std::uint64_t{p_.producers} * p_.jobs;
    const auto& where = buffers_.where();
    std::uint32_t actor = 0;
    for (std::uint64_t left = 40'000 + all * 4000; where.control[1] != all; --left) {
      if (left == 0) RC_FAIL("accepted work is never done");
      // Tokens are the host's to give: one now and then.
      if (p_.quotas && left % 64 == 0) ++where.control[32 + d.below(3)];
      if (!p_.bursts || d.one_in(24)) actor = d.below(stepper_.actors());
      step(actor);
    }
    for (std::uint32_t i = 0; i < all; ++i) RC_ASSERT(where.control[160 + i] == 1u);
    where.control[0] = 1;
    for (std::uint32_t a = 0; a < p_.lanes; ++a) {
      for (std::uint32_t left = 4000; stepper_.pending(a).has_value(); --left) {
        if (left == 0) RC_FAIL("a lane does not leave");
        step(a);
      }
    }
    // Every claim was counted, as an ATOMIC_ADD, under its tenant and under its priority.
    const std::span control(where.control, where.control_words);
    const auto total = [&](std::size_t first, std::size_t count) {
      const auto from = control.subspan(first, count);
      return std::accumulate(from.begin(), from.end(), std::uint64_t{0});
    };
    RC_ASSERT(control[98] == all);
    RC_ASSERT(total(64, 32) == all);
    RC_ASSERT(total(136, 5) == all);
    RC_ASSERT(std::ranges::all_of(std::span(ghost_).first(p_.slots),
                                  [](std::uint32_t owner) { return owner == 0; }));
  }

  mk::stepper& stepper() { return stepper_; }

 private:
  void step(std::uint32_t actor) {
    if (!made(stepper_.step(actor))) return;
    for (const mk::step_record& r : stepper_.made())
      expect_none(std::string(rules_(as_touch(r), ghost_)));
  }

  void produce(mk::stepping_memory& memory, const mk::device::launch& to, std::uint32_t number) {
    host side(memory);
    prng d(p_.seed + number);
    for (std::uint32_t n = 0; n < p_.jobs; ++n) {
      std::uint32_t s = d.below(p_.slots);
      std::uint32_t* slot = nullptr;
      for (;;) {
        s = s + 1 < p_.slots ? s + 1 : 0;
        if (!side.exchange(&locks_[s], 0, 1)) continue;
        slot = to.ring + 16 * s;
        const std::uint32_t status = side.observe(slot);
        if (status == 0 || status == 3) break;
        side.commit(&locks_[s], 0);
      }
      side.write(slot + 1, 2);
      side.write(slot + 3, d.below(7));
      side.write(slot + 4, 1);
      side.publish(slot, {.slot = s, .tenant = d.below(3), .result = 160 + number * p_.jobs + n});
      side.commit(&locks_[s], 0);
    }
  }

  profile p_;
  mk::kernel_buffers buffers_;
  std::vector<mk::word> locks_;
  mk::stepper stepper_;
  ring_rules rules_;
  std::vector<std::uint32_t> ghost_;
};

void random_schedules(const profile& p) { busy_ring(p).run(); }

void replays(const profile& of) {
  profile p = of;
  p.quotas = false;  // refilled by the test itself, which is no step
  busy_ring first(p);
  first.run();
  busy_ring again(p);
  // SHUTDOWN was set by the test, too; up to there all is the same.
  const auto trace = first.stepper().trace();
  const auto shut = std::ranges::find_if(trace, [](const mk::step_record& r) {
    return r.what.area == mk::memory_area::control && r.what.index == 0 && r.before == 1;
  });
  const auto until = static_cast<std::size_t>(shut - trace.begin());
  RC_ASSERT(made(again.stepper().replay(trace)) == until);
  RC_ASSERT(std::ranges::equal(again.stepper().trace().first(until), trace.first(until)));
}

/// LOW work is claimed after at most so many urgent claims, however the lanes are scheduled.
void no_starvation(const profile& p) {
  const std::uint32_t slots = p.slots + 1;
  auto buffers = made(mk::kernel_buffers::make({.slots = slots, .observable_words = 1}));
  const auto& where = buffers.where();
  const std::array<std::uint32_t, 6> offsets{0, p.slots / 2, p.slots, p.slots, slots, slots};
  std::ranges::copy(offsets, where.control + 129);
  for (std::uint32_t s = 0; s < slots; ++s) where.ring[16 * s] = 1;
  auto stepper = made(mk::stepper::over(buffers));
  for (std::uint32_t l = 0; l < p.lanes; ++l)
    (void)made(stepper.add_lane({.order = mk::schedule::by_priority, .number = {l, p.lanes}}));
  prng d(p.seed);
  std::uint32_t urgent = 0;
  std::uint32_t most = 0;
  std::uint32_t actor = 0;
  const std::uint32_t bound = 16 + 2 * p.lanes;
  for (std::uint32_t low = 0; low < 3;) {
    if (!p.bursts || d.one_in(24)) actor = d.below(p.lanes);
    RC_ASSERT(made(stepper.step(actor)));
    const touch t = as_touch(stepper.made().front());
    if (t.area != touch::areas::ring || t.index % 16 != 0 || !t.writes()) continue;
    const bool is_low = t.index / 16 == p.slots;
    if (t.after == 3) {
      where.ring[t.index] = 1;  // work never ends
      if (is_low) urgent = 0;
    } else if (t.after == 2 && is_low) {
      ++low;
    } else if (t.after == 2 && where.ring[16 * p.slots] == 1) {
      most = std::max(most, ++urgent);
      if (urgent > bound) RC_FAIL("LOW work starves");
    }
  }
  // Nor is it ahead of its turn; beside other lanes it can be, when those have the urgent slots.
  if (p.lanes == 1) RC_ASSERT(most == 16u);
}

/// Urgent work alone is never skipped: with the counter at or over its limit, the first pass runs.
void nothing_lower() {
  const auto level = *between<std::uint32_t>(0, 1);
  auto buffers = made(mk::kernel_buffers::make({.slots = 10, .observable_words = 1}));
  const auto& where = buffers.where();
  where.control[135] = *rc::gen::elementOf(std::vector<std::uint32_t>{15, 16, 17, 0xFFFF'FFFE});
  const std::uint32_t slot = level * 2 + *between<std::uint32_t>(0, 1);
  where.ring[16 * slot] = 1;
  auto stepper = made(mk::stepper::over(buffers));
  (void)made(stepper.add_lane({.order = mk::schedule::by_priority, .passes = 1}));
  while (stepper.pending(0)) RC_ASSERT(made(stepper.step(0)));
  RC_ASSERT(where.ring[16 * slot] == 3u);
  RC_ASSERT(where.control[136 + level] == 1u);
}

}  // namespace

int main() {
  bool ok = true;
  const auto check = [&](const char* law, const auto& body) { ok = rc::check(law, body) && ok; };
  check("independent actors: as many states and schedules as arithmetic says", independent_actors);
  check("an update that is no single step is lost in some schedule, which is shown", lost_updates);
  check("actors that wait for each other are stuck", deadlocks);
  check("a poll that found nothing is back where it was", polls);
  check("accesses elsewhere, writes of fixed words and whims are found", what_actors_may_not);
  check("steps have a budget", budgets);
  check("random schedules of larger rings break no rule and lose no slot",
        [] { random_schedules(*any_profile()); });
  check("a trace replays", [] { replays(*any_profile()); });
  check("LOW work is claimed within 16 and twice the lanes' urgent claims",
        [] { no_starvation(*any_profile()); });
  check("urgent work is not skipped where nothing lower is", nothing_lower);
  return ok ? 0 : 1;
}
