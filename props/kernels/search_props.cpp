// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// In which order a lane of the plain form finds work, with a producer between any two of its looks:
// everything is found, soon, and what was published first does not wait for all that comes later.
#include <megakernel/lane_order.h>
#include <rapidcheck.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <vector>

#include "support.h"

namespace {

namespace mk = megakernel;
using mk::word;

constexpr std::uint64_t free_slot = 0;

/// Slots as the time of their publication, and what happens before each look at one.
struct watched_ring {
  std::vector<std::uint64_t> published;
  std::function<void()> before_sample = [] {};
  std::uint64_t samples = 0;
  std::vector<word> ran;

  mk::device::visit_result visit_owned(word index) {
    before_sample();
    ++samples;
    if (published[index] == free_slot) return mk::device::visit_result::nothing;
    published[index] = free_slot;
    ran.push_back(index);
    return mk::device::visit_result::ran;
  }
  static bool shutdown_requested() { return false; }
};

struct no_counters {
  static void count(word) {}
};

using lane_type = mk::device::ring_lane<watched_ring, no_counters>;

struct launched {
  watched_ring ring;
  mk::device::launch where;
  no_counters counters;
  explicit launched(word slots) {
    ring.published.assign(slots, free_slot);
    where.slots = slots;
  }
  lane_type lane() { return {where, ring, counters, {}}; }
};

void everything_is_found() {
  launched with(*props::between<word>(1, 100'000));
  auto lane = with.lane();
  const auto slots = with.where.slots;
  const auto wandering = *props::between<word>(0, 300);
  for (word i = 0; i < wandering; ++i) (void)lane.step();
  const auto count = *props::between<word>(0, 200);
  props::prng d(*props::uniform<std::uint64_t>());
  std::size_t there = 0;
  for (word i = 0; i < count; ++i) {
    std::uint64_t& slot = with.ring.published[d.next() % slots];
    there += slot == free_slot;
    slot = 1;
  }
  for (word idle_passes = 0; idle_passes < lane.passes_of_search();)
    idle_passes = lane.step() == mk::device::pass::ran ? 0 : idle_passes + 1;
  RC_ASSERT(with.ring.ran.size() == there);
}

void a_large_ring_takes_few_passes() {
  launched with(1u << 20);
  auto lane = with.lane();
  RC_ASSERT(lane.passes_of_search() < 1300u);
  with.ring.published[(1u << 20) - 1] = 1;
  word passes = 0;
  while (lane.step() != mk::device::pass::ran) RC_ASSERT(++passes < lane.passes_of_search());
}

void a_small_ring_is_left_alone() {
  launched with(1024);
  auto lane = with.lane();
  for (word i = 0; i < 100; ++i) (void)lane.step();
  const std::uint64_t before = with.ring.samples;
  for (word i = 0; i < 100; ++i) (void)lane.step();
  RC_ASSERT(with.ring.samples - before <= 100u * 17);
}

/// A producer publishes runs of slots in ring order, none across the end of the ring, just before
/// any look of the lane.
void first_come_first_served_within_reason() {
  const auto slots = *props::between<word>(16, 600);
  launched with(slots);
  auto& published = with.ring.published;
  props::prng d(*props::uniform<std::uint64_t>());
  const auto longest_pause = *props::between<word>(1, 600);
  std::uint64_t now = 0;
  word at = 0;
  std::uint64_t pause = 0;
  with.ring.before_sample = [&] {
    if (pause != 0) {
      --pause;
      return;
    }
    // A sample takes less time than a publication.
    const word run = 1 + static_cast<word>(d.next() % 8);
    pause = run + (d.next() % 4 == 0 ? d.next() % longest_pause : d.next() % 4);
    if (run > slots - at) at = 0;
    const auto from = published.begin() + at;
    if (std::any_of(from, from + run, [](std::uint64_t t) { return t != free_slot; })) return;
    for (word i = 0; i < run; ++i) published[at + i] = ++now;
    at = at + run == slots ? 0 : at + run;
  };
  auto lane = with.lane();
  std::vector<std::uint64_t> before(slots);
  std::vector<word> overtaken(slots);
  for (word pass = 0; pass < 5'000; ++pass) {
    before = published;
    const std::size_t ran = with.ring.ran.size();
    (void)lane.step();
    if (with.ring.ran.size() == ran) continue;
    const word its_slot = with.ring.ran.back();
    overtaken[its_slot] = 0;
    const std::uint64_t its_time = before[its_slot] != free_slot ? before[its_slot] : now;
    for (word i = 0; i < slots; ++i) {
      if (i != its_slot && before[i] != free_slot && before[i] < its_time)
        RC_ASSERT(++overtaken[i] <= 64u);
    }
  }
  RC_ASSERT(with.ring.ran.size() > 100u);
}

}  // namespace

int main() {
  bool held = rc::check("whatever was published is found in one search", everything_is_found);
  held &= rc::check("a ring of a million slots is searched in few passes",
                    a_large_ring_takes_few_passes);
  held &=
      rc::check("a small ring is not searched more widely than asked", a_small_ring_is_left_alone);
  held &= rc::check("work that comes in ring order is run in that order, but for a few",
                    first_come_first_served_within_reason);
  return held ? 0 : 1;
}
