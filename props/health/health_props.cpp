// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// health_since against its formula, and what each verdict of health_tracker is for. The tracker as
// a whole is held against a model in tracker_props.cpp.
#include <rapidcheck.h>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <expected>
#include <map>
#include <optional>
#include <span>
#include <vector>

#include "kernel_memory.h"
#include "support.h"

import megakernel;

namespace {

using namespace props;
namespace mk = megakernel;
using enum mk::kernel_state;
using std::chrono::nanoseconds;

mk::ring_telemetry decoded(const kernel_memory& m) {
  const bytes control = m.control_bytes();
  const bytes ring = m.ring_bytes();
  mk::ring_telemetry telemetry;
  RC_ASSERT(telemetry.decode(std::as_bytes(std::span(control)), std::as_bytes(std::span(ring)))
                .has_value());
  return telemetry;
}

mk::health_report observe(mk::health_tracker& tracker, const kernel_memory& m, std::int64_t at) {
  const auto report = tracker.observe(decoded(m), nanoseconds(at));
  RC_ASSERT(report.has_value());
  return *report;
}

/// What a tracker without a hold time says of `now`, having seen `before`.
mk::kernel_state state_after(const kernel_memory& before, const kernel_memory& now) {
  mk::health_tracker tracker;
  RC_ASSERT((observe(tracker, before, 0).state == watching));
  return observe(tracker, now, 10).state;
}

std::uint32_t an_active_status() { return *rc::gen::element<std::uint32_t>(1, 2, 4, 5, 6); }
std::uint32_t an_inactive_status() { return *rc::gen::element<std::uint32_t>(0, 3, 7, 8, ~0u); }
/// One that waits for a lane to claim it.
std::uint32_t a_waiting_status() { return *rc::gen::element<std::uint32_t>(1, 5, 6); }

/// The same kernel some passes later, where it reports.
kernel_memory later(kernel_memory m) {
  m.control[142] += 3;
  return m;
}

/// Reports a heartbeat or does not.
kernel_memory some_kernel() {
  kernel_memory m;
  m.done(*any_word());
  if (*rc::gen::arbitrary<bool>()) m.heartbeat(*any_word());
  return m;
}

bool since() {
  // docs/protocol.md#health-delta
  return rc::check("health since an earlier snapshot is the protocol's formula", [] {
    kernel_memory before;
    before.done(*any_word());
    kernel_memory after;
    after.done(*rc::gen::oneOf(any_word(), rc::gen::just(before.control[1])));
    for (const std::uint32_t status : *rc::gen::container<std::vector<std::uint32_t>>(any_status()))
      after.slot(status);
    const auto older = decoded(before);
    const auto newer = decoded(after);
    const auto got = mk::health_since(older.summary(), newer.summary());
    if (after.control[1] < before.control[1]) {
      RC_ASSERT(refused(got, mk::error{.code = mk::error_code::done_count_regressed,
                                       .buffer = mk::buffer::control,
                                       .index = 1,
                                       .found = after.control[1],
                                       .bound = before.control[1]}));
      return;
    }
    std::map<std::uint32_t, std::uint32_t> by;
    for (const auto& s : after.slots) ++by[s[0]];
    const auto total = static_cast<std::uint32_t>(after.slots.size());
    const std::uint32_t depth = total - by[0] - by[3];
    const std::uint32_t delta = after.control[1] - before.control[1];
    const mk::health_delta wanted{.done_delta = delta,
                                  .queue_depth = depth,
                                  .fault_slots = by[7],
                                  .requeue_slots = by[6],
                                  .gpu_idle_ppm = total == 0 ? 0 : by[0] * 1'000'000u / total,
                                  .suspected_stall = depth > 0 && delta == 0 && by[7] == 0};
    RC_ASSERT(holds(got, wanted));
  });
}

bool progress() {
  return rc::check("a kernel that drains slots is progressing, whatever else", [] {
    auto before = some_kernel();
    for (int i = 0; i < 3; ++i) before.slot(*any_status(), *any_word());
    auto now = *rc::gen::arbitrary<bool>() ? later(before) : before;
    now.control[1] += *between<std::uint32_t>(1, 0x7FFFFFFF);
    RC_ASSERT((state_after(before, now) == progressing));
  });
}

bool idleness() {
  return rc::check("a kernel that owes nothing is idle", [] {
    auto before = some_kernel();
    for (int i = 0; i < 3; ++i) before.slot(an_inactive_status());
    RC_ASSERT((state_after(before, later(before)) == idle));
  });
}

bool stalls() {
  return rc::check("a kernel that passes, owes work and drains none is stalled, faults or no", [] {
    auto before = some_kernel();
    before.slot(an_active_status());
    if (*rc::gen::arbitrary<bool>()) before.slot(7);
    if (*rc::gen::arbitrary<bool>()) before.slot(1, 29);
    mk::health_tracker tracker;
    observe(tracker, before, 0);
    const auto report = observe(tracker, later(before), 10);
    RC_ASSERT((report.state == stalled));
    RC_ASSERT(report.fault_slots == decoded(before).occupancy().fault);
  });
}

bool death() {
  return rc::check("a heartbeat that stands still is a dead kernel, or one that was told to", [] {
    kernel_memory before;
    before.heartbeat(*any_word()).done(*any_word()).slot(*any_status(), *any_word());
    RC_ASSERT((state_after(before, before) == dead));
    const auto reported = kernel_memory(before).set(0, *rc::gen::element(1u, ~0u));
    RC_ASSERT((state_after(before, reported) == stopped));
    RC_ASSERT((state_after(reported, later(reported)) != stopped));
  });
}

bool unauthorised() {
  return rc::check("work of tenants without a mask blocks; any other owed work is a stall", [] {
    auto before = some_kernel();
    switch (*between<int>(0, 2)) {
      case 0: {  // a mask of zero
        const auto tenant = *between<std::uint32_t>(0, 28);
        before.set(3 + tenant, 0).slot(a_waiting_status(), tenant);
        break;
      }
      case 1:  // no mask in the table
        before.slot(a_waiting_status(), *rc::gen::element<std::uint32_t>(29, 31, 32, ~0u));
        break;
      case 2:  // a table that is not where it should be
        before.set(2, *rc::gen::element<std::uint32_t>(0, 32, 128, ~0u, ~0u - 28))
            .slot(a_waiting_status(), *rc::gen::element<std::uint32_t>(0, 1, 2));
        break;
      default:
        break;
    }
    before.slot(an_inactive_status());
    mk::health_tracker tracker;
    observe(tracker, before, 0);
    const auto report = observe(tracker, later(before), 10);
    RC_ASSERT((report.state == blocked));
    RC_ASSERT(report.unauthorised_slots == 1u);
    RC_ASSERT(report.throttled_slots == 0u);

    const auto claimed = kernel_memory(before).slot(*rc::gen::element(2u, 4u), 28);
    RC_ASSERT((state_after(claimed, later(claimed)) == stalled));
  });
}

bool throttled() {
  return rc::check("work of tenants without tokens blocks while the kernel says it throttles", [] {
    const auto tenant = *between<std::uint32_t>(0, 28);
    kernel_memory before;
    before.heartbeat(1).set(32 + tenant, 0).slot(a_waiting_status(), tenant);
    auto now = later(before);
    RC_ASSERT((state_after(before, now) == stalled));  // it has not looked at the quota
    now.control[145] += *between<std::uint32_t>(1, 9);
    mk::health_tracker tracker;
    observe(tracker, before, 0);
    const auto report = observe(tracker, now, 10);
    RC_ASSERT((report.state == blocked));
    RC_ASSERT(report.throttled_slots == 1u);
    RC_ASSERT(report.unauthorised_slots == 0u);
    now.set(32 + tenant, 1);
    RC_ASSERT((state_after(before, now) == stalled));
  });
}

bool hold_time() {
  return rc::check("no alarm before the done count has stood still for the patience", [] {
    auto m = some_kernel();
    m.slot(1);
    const auto wait = *between<std::int64_t>(1, 1000);
    const auto moved = *between<std::int64_t>(0, 1'000'000);
    mk::health_tracker tracker{nanoseconds(wait)};
    observe(tracker, m, moved - 5);
    m = later(m);
    m.control[1] += 1;
    RC_ASSERT((observe(tracker, m, moved).state == progressing));
    m = later(m);
    const auto early = observe(tracker, m, moved + wait - 1);
    RC_ASSERT((early.state == watching));
    RC_ASSERT((early.quiet == nanoseconds(wait - 1)));
    m = later(m);
    RC_ASSERT((observe(tracker, m, moved + wait).state == stalled));
  });
}

bool extension() {
  return rc::check("steps of less than 2^31 add up exactly over any number of wraps", [] {
    const auto first = *any_word();
    const auto steps = *rc::gen::container<std::vector<std::uint32_t>>(rc::gen::oneOf(
        between<std::uint32_t>(0, 0x7FFFFFFF), rc::gen::element<std::uint32_t>(0, 1, 0x7FFFFFFF)));
    // Kernels that report but leave the upper half zero are extended like those that do not.
    kernel_memory m;
    if (*rc::gen::arbitrary<bool>()) m.heartbeat(0);
    std::uint64_t total = first;
    mk::health_tracker tracker;
    RC_ASSERT(observe(tracker, m.done(first), 0).done == total);
    for (const std::uint32_t step : steps) {
      total += step;
      m.control[1] += step;
      m = later(m);
      const auto report = observe(tracker, m, 0);
      RC_ASSERT(report.done == total);
      RC_ASSERT(report.done_delta == step);
    }
  });
}

bool upper_half() {
  return rc::check("a reported upper half of the done count is used", [] {
    kernel_memory m;
    std::uint64_t total = *uniform<std::uint64_t>() >> 1 | std::uint64_t{1} << 32;
    const auto store = [&m, &total] {
      m.done(static_cast<std::uint32_t>(total)).set(149, static_cast<std::uint32_t>(total >> 32));
    };
    m.heartbeat(1);
    store();
    mk::health_tracker tracker;
    RC_ASSERT(observe(tracker, m, 0).done == total);
    const auto step = *between<std::uint64_t>(0, std::uint64_t{1} << 40);
    total += step;
    store();
    const auto report = observe(tracker, m, 1);
    RC_ASSERT(report.done == total);
    RC_ASSERT(report.done_delta == step);
    const auto bound = total;
    total -= *between<std::uint64_t>(1, 1000);
    store();
    RC_PRE(m.control[149] != 0u);
    RC_ASSERT(refused(tracker.observe(decoded(m), nanoseconds(2)),
                      mk::error{.code = mk::error_code::done_count_regressed,
                                .buffer = mk::buffer::control,
                                .index = 1,
                                .found = total,
                                .bound = bound}));
  });
}

bool torn_halves() {
  return rc::check("a low half that wrapped before the upper one moved is progress", [] {
    const auto upper = *between<std::uint32_t>(1, 0xFFFFFFFD);
    const auto first = *between<std::uint32_t>(0xFFFFFF00, 0xFFFFFFFE);
    const auto second = *between<std::uint32_t>(0, 0xFF);
    kernel_memory m;
    m.heartbeat(1).done(first).set(149, upper);
    mk::health_tracker tracker;
    const auto before = observe(tracker, m, 0).done;
    const auto torn = observe(tracker, m.done(second), 1);
    RC_ASSERT(torn.done_delta == std::uint64_t{second} + 0x100000000 - first);
    const auto whole = observe(tracker, m.set(149, upper + 1), 2);
    RC_ASSERT(whole.done == torn.done);
    RC_ASSERT(whole.done == before + torn.done_delta);
  });
}

bool names() {
  return rc::check("states have names", [] {
    RC_ASSERT(mk::to_string(watching) == "watching");
    RC_ASSERT(mk::to_string(progressing) == "progressing");
    RC_ASSERT(mk::to_string(idle) == "idle");
    RC_ASSERT(mk::to_string(blocked) == "blocked");
    RC_ASSERT(mk::to_string(stalled) == "stalled");
    RC_ASSERT(mk::to_string(dead) == "dead");
    RC_ASSERT(mk::to_string(stopped) == "stopped");
    RC_ASSERT(mk::to_string(busy) == "busy");
    RC_ASSERT(mk::to_string(faulted) == "faulted");
    RC_ASSERT(mk::to_string(static_cast<mk::kernel_state>(mk::kernel_states)).empty());
    RC_ASSERT(mk::to_string(mk::kernel_state{200}).empty());
  });
}

mk::kernel_state some_state() {
  return static_cast<mk::kernel_state>(*between<std::uint32_t>(0, mk::kernel_states - 1));
}

/// Blocked, stalled and dead are never hidden; a fault hides everything else.
bool reported_states() {
  return rc::check("a fault hides no standstill, and nothing else hides a fault", [] {
    const mk::health_report seen{.state = some_state(),
                                 .fault_slots = *between<std::uint32_t>(0, 2)};
    const mk::kernel_state got = mk::state_of(seen);
    const bool still = seen.state == blocked || seen.state == stalled || seen.state == dead;
    RC_ASSERT(mk::stands_still(seen.state) == still);
    RC_ASSERT(mk::needs_attention(seen.state) == (still || seen.state == faulted));
    if (still) {
      RC_ASSERT((got == seen.state));
    } else if (seen.fault_slots != 0) {
      RC_ASSERT((got == faulted));
    } else {
      RC_ASSERT((got == (seen.state == watching ? busy : seen.state)));
    }
  });
}

bool drained_states() {
  return rc::check("the state after a drain", [] {
    const mk::drain_end end{.last = some_state(),
                            .outstanding = *between<std::uint64_t>(0, 3),
                            .faults = *rc::gen::arbitrary<bool>(),
                            .moved = *rc::gen::arbitrary<bool>(),
                            .cut_short = *rc::gen::arbitrary<bool>()};
    mk::health_report health{.state = some_state(),
                             .unauthorised_slots = *between<std::uint32_t>(0, 2),
                             .throttled_slots = *between<std::uint32_t>(0, 1)};
    if (*rc::gen::arbitrary<bool>()) health.heartbeat_delta = *between<mk::word>(0, 1);
    const mk::kernel_state got = mk::state_of(end, health);
    if (mk::stands_still(end.last)) {
      RC_ASSERT((got == end.last));
    } else if (end.outstanding == 0) {
      RC_ASSERT((got == (end.faults ? faulted : idle)));
    } else if (mk::stands_still(health.state)) {
      RC_ASSERT((got == health.state));
    } else if (end.moved || end.cut_short) {
      RC_ASSERT((got == (end.faults ? faulted : end.cut_short ? stopped : progressing)));
    } else if (health.heartbeat_delta == 0u) {
      RC_ASSERT((got == dead));
    } else {
      const bool waits = health.unauthorised_slots + health.throttled_slots == end.outstanding;
      RC_ASSERT((got == (waits ? blocked : stalled)));
    }
  });
}

}  // namespace

int main() {
  bool ok = true;
  ok &= since();
  ok &= progress();
  ok &= idleness();
  ok &= stalls();
  ok &= death();
  ok &= unauthorised();
  ok &= throttled();
  ok &= hold_time();
  ok &= extension();
  ok &= upper_half();
  ok &= torn_halves();
  ok &= names();
  ok &= reported_states();
  ok &= drained_states();
  return ok ? 0 : 1;
}
