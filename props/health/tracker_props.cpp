// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// health_tracker against a model that keeps every slot's words and sorts: the same report, look
// after look, and a refused look changes nothing.
#include <rapidcheck.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <expected>
#include <optional>
#include <ostream>
#include <span>
#include <string_view>
#include <tuple>
#include <vector>

#include "kernel_memory.h"
#include "support.h"
#include "tracker_model.h"

import megakernel;

namespace {

using namespace props;
using tracker::finding;
using tracker::reported;
using tracker::stuck;
namespace mk = megakernel;
using std::chrono::nanoseconds;

void print(std::ostream& out, const char* who, const finding& f) {
  out << who << ": " << f.refused << f.state << ", done " << f.done << " +" << f.done_delta
      << ", quiet " << f.quiet << ", faults " << f.faults << ", owed " << f.outstanding << " ("
      << f.unauthorised << ", " << f.throttled << "), heartbeat "
      << (f.heartbeat ? static_cast<std::int64_t>(*f.heartbeat) : -1) << ", stuck " << f.stuck_slots
      << ':';
  for (const stuck& s : f.oldest) out << ' ' << s.index << '@' << s.since << 'x' << s.samples;
  out << '\n';
}

using model = tracker::model<kernel_memory>;

/// Between two samples: a word of the control buffer or of a slot becomes another, or time passes.
struct change {
  enum kind : unsigned { slot, tenant, argument, done, high, control, time, resize } what = slot;
  std::uint32_t at = 0;
  std::uint32_t by = 0;
};
void showValue(const change& c, std::ostream& out) {
  static constexpr std::array names{"slot", "tenant",  "argument", "done",
                                    "high", "control", "time",     "resize"};
  out << names[c.what] << ' ' << c.at << ' ' << c.by;
}

rc::Gen<change> any_change() {
  const auto make = [](change::kind what, rc::Gen<std::uint32_t> at, rc::Gen<std::uint32_t> by) {
    return rc::gen::build<change>(rc::gen::set(&change::what, rc::gen::just(what)),
                                  rc::gen::set(&change::at, std::move(at)),
                                  rc::gen::set(&change::by, std::move(by)));
  };
  using rc::gen::element;
  const auto slot = between<std::uint32_t>(0, 63);
  const auto tenant = element<std::uint32_t>(0, 1, 28, 29, ~0u);
  return rc::gen::weightedOneOf<change>(
      {{12, make(change::slot, slot, any_status())},
       {4, make(change::tenant, slot, tenant)},
       {3, make(change::argument, slot, between<std::uint32_t>(0, 15))},
       {4, make(change::done, rc::gen::just(0u),
                element<std::uint32_t>(1, 2, 1000, 0x7FFFFFFF, 0x80000000, ~0u))},
       {1, make(change::high, rc::gen::just(0u), element<std::uint32_t>(0, 1, 2, 3))},
       // Shutdown, table base, masks and quotas of the tenants above, and what a kernel reports.
       {8, make(change::control,
                element<std::uint32_t>(0, 2, 3, 4, 31, 32, 33, 60, 141, 141, 142, 142, 145),
                element<std::uint32_t>(0, 0, 1, 1, 2, 3))},
       {6, make(change::time, between<std::uint32_t>(0, 9), between<std::uint32_t>(0, 30))},
       {1, make(change::resize, rc::gen::just(0u), rc::gen::just(0u))}});
}

/// Makes a change that stays; returns how much time it takes.
std::int64_t apply(const change& c, kernel_memory& m) {
  auto* const s = m.slots.empty() ? nullptr : &m.slots[c.at % m.slots.size()];
  if (c.what == change::slot && s != nullptr) (*s)[0] = c.by;
  if (c.what == change::tenant && s != nullptr) (*s)[2] = c.by;
  if (c.what == change::argument && s != nullptr) (*s)[c.by] += 1;
  if (c.what == change::done && c.by <= 0x7FFFFFFF) m.control[1] += c.by;
  if (c.what == change::control) m.control[c.at] = c.by;
  return c.what == change::time && c.at != 0 ? c.by : 0;
}

/// Makes a change that is seen by one sample; returns how far the clock is off at that look.
std::int64_t apply_once(const change& c, kernel_memory& seen) {
  if (c.what == change::done && c.by > 0x7FFFFFFF) seen.control[1] += c.by;
  if (c.what == change::high) seen.control[149] = c.by;
  if (c.what == change::resize) seen.slot(1);
  return c.what == change::time && c.at == 0 ? -std::int64_t{c.by} : 0;
}

bool reports() {
  return rc::check("every look reports what the model does", [] {
    const auto hold_time = *between<std::int64_t>(0, 40);
    const auto slots = *rc::gen::element<std::uint32_t>(0, 1, 3, 17, 40);
    const auto rounds = *rc::gen::container<std::vector<std::vector<change>>>(
        rc::gen::scale(0.1, rc::gen::container<std::vector<change>>(any_change())));
    const auto first_status = *any_status();
    kernel_memory m;
    for (std::uint32_t i = 0; i < slots; ++i) m.slot(i % 2 == 0 ? first_status : 1, i % 2, i);
    m.done(*any_word());
    std::int64_t now = *rc::gen::element<std::int64_t>(0, -1000, 1'000'000'000'000);
    mk::health_tracker tracker{nanoseconds(hold_time)};
    model expected(hold_time);
    mk::ring_telemetry telemetry;
    for (const auto& round : rounds) {
      for (const change& c : round) now += apply(c, m);
      // What a sample is refused for lasts for this look, or every later one would be refused too.
      kernel_memory seen = m;
      std::int64_t at = now;
      for (const change& c : round) at += apply_once(c, seen);
      const bytes control = seen.control_bytes();
      const bytes ring = seen.ring_bytes();
      RC_ASSERT(telemetry.decode(std::as_bytes(std::span(control)), std::as_bytes(std::span(ring)))
                    .has_value());
      const finding wanted = expected.observe(seen, at);
      const finding got = reported(tracker.observe(telemetry, nanoseconds(at)));
      if (wanted != got) {
        print(RC_LOG(), "model", wanted);
        print(RC_LOG(), "library", got);
        RC_FAIL("findings differ");
      }
    }
  });
}

/// One look at a ring without slots whose kernel reports a 64-bit count.
mk::result<mk::health_report> observe(mk::health_tracker& tracker, std::uint32_t high,
                                      std::uint32_t low, std::int64_t at) {
  const kernel_memory m = kernel_memory().done(low).heartbeat(1).set(149, high);
  const bytes control = m.control_bytes();
  mk::ring_telemetry telemetry;
  RC_ASSERT(telemetry.decode(std::as_bytes(std::span(control)), {}).has_value());
  return tracker.observe(telemetry, nanoseconds(at));
}

bool ends_of_counting() {
  return rc::check("at the end of 64 bits, and of the clock, nothing wraps", [] {
    const auto below = *between<std::uint32_t>(0, 15);
    const auto low = *between<std::uint32_t>(0, 15);
    mk::health_tracker tracker;
    RC_ASSERT(observe(tracker, 0xFFFFFFFF, 0xFFFFFFFF - below, 0).has_value());
    // Not a low half that was seen before its high one: there is no higher one.
    const auto back = observe(tracker, 0xFFFFFFFF, low, 1);
    RC_ASSERT(code_of(back) == mk::error_code::done_count_regressed);
    // Taken up, it is a first sample again.
    tracker.take_up_count();
    const auto again = observe(tracker, 0xFFFFFFFF, low, 2);
    RC_ASSERT(again.has_value());
    RC_ASSERT(again->done == (0xFFFFFFFFull << 32 | low));
    RC_ASSERT((again->done_delta == 0 && again->state == mk::kernel_state::watching));

    constexpr auto first = nanoseconds::min();
    RC_ASSERT((mk::detail::elapsed(first, nanoseconds::max()) == nanoseconds::max()));
    RC_ASSERT((mk::detail::elapsed(nanoseconds(-1), nanoseconds::max()) == nanoseconds::max()));
    RC_ASSERT((mk::detail::elapsed(nanoseconds(0), nanoseconds::max()) == nanoseconds::max()));
    RC_ASSERT((mk::detail::elapsed(first, nanoseconds(-2)) == nanoseconds::max() - nanoseconds(1)));
  });
}

}  // namespace

int main() {
  bool ok = reports();
  ok &= ends_of_counting();
  return ok ? 0 : 1;
}
