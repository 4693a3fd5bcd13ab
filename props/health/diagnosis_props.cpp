// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The diagnostician: each finding is named when, and only when, it should be; an hour of mixed load
// raises no alarm; bytes of any kind do no harm; and it allocates at its first sample only.
#include <rapidcheck.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <expected>
#include <functional>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "counting_heap.h"
#include "diagnosis_kernel.h"
#include "support.h"

import megakernel;

namespace {

using namespace props;
namespace mk = megakernel;
using enum mk::finding_kind;
using std::chrono::nanoseconds;
using namespace std::chrono_literals;

struct library {
  static void publish(std::span<std::byte> ring, std::uint32_t slot, std::uint32_t op,
                      std::uint32_t tenant, std::uint32_t argument) {
    auto to = mk::ring_publisher::over(ring);
    const std::array<mk::word, 1> arguments{argument};
    const auto made =
        to->publish(slot, {.op = mk::opcode{op}, .tenant = tenant, .arguments = arguments});
    expect(made.has_value());
  }
};
using kernel = made_up_kernel<library>;

/// A kernel that is looked at every so often.
class ward {
 public:
  ward(nanoseconds interval, nanoseconds hold_time)
      : interval_(interval), doctor_({.hold_time = hold_time}) {}

  kernel& patient() { return kernel_; }
  nanoseconds now() const { return now_; }
  nanoseconds interval() const { return interval_; }

  mk::diagnosis observe(std::span<const std::uint32_t> torn = {}) {
    now_ += interval_;
    expect(telemetry_.decode(kernel_.control(), kernel_.ring()).has_value());
    const auto found = doctor_.observe(telemetry_, now_, torn, kernel_.ring());
    expect(found.has_value());
    expect(!found->findings.empty());
    expect(found->secondary().size() + 1 == found->findings.size());
    expect(found->find(found->primary().what) == &found->primary());
    for (const mk::finding& f : found->findings) {
      expect(!mk::sentence(f, now_).text().empty());
      expect(f.slots.size() <= f.slots_in_all);
      expect(f.since <= now_);
    }
    return *found;
  }
  /// Some looks at a kernel that does well.
  void warm_up(std::uint32_t samples) {
    for (std::uint32_t i = 0; i < samples; ++i) {
      kernel_.run(20, 20);
      expect(!observe().alarm());
    }
  }
  /// Looks until the hold time is over and then some, `between` having its way before each.
  template <class Between>
  mk::diagnosis wait(Between between, nanoseconds hold_time, std::uint32_t more = 4,
                     std::span<const std::uint32_t> torn = {}) {
    mk::diagnosis last;
    const nanoseconds end = now_ + hold_time;
    for (std::uint32_t extra = 0; now_ < end || extra < more; extra += now_ >= end) {
      between();
      last = observe(torn);
    }
    return last;
  }

 private:
  kernel kernel_;
  nanoseconds interval_;
  nanoseconds now_ = 5s;
  mk::diagnostician doctor_;
  mk::ring_telemetry telemetry_;
};

std::set<mk::finding_kind> alarms(const mk::diagnosis& of) {
  std::set<mk::finding_kind> all;
  for (const mk::finding& f : of.findings) {
    if (mk::is_alarm(f.what)) all.insert(f.what);
  }
  expect(of.alarm() == !all.empty());
  return all;
}

std::string reported(const mk::diagnosis& of) {
  std::string text;
  for (const mk::finding& f : of.findings)
    text += std::string(mk::to_string(f.what)) + ": " + std::string(mk::sentence(f, of.at).text()) +
            std::string(mk::concerned(f, of.at).text()) + "\n";
  return text;
}

void expect_only(const mk::diagnosis& of, const std::set<mk::finding_kind>& wanted) {
  if (alarms(of) == wanted) return;
  RC_LOG() << reported(of);
  RC_FAIL("other alarms than expected");
}

bool names_key(const mk::short_list<mk::concerned_key, 8>& keys, std::uint32_t key) {
  return std::ranges::any_of(keys, [key](const auto& k) { return k.key == key; });
}

/// How long looks are apart, and the hold time.
struct pace {
  nanoseconds interval = nanoseconds(
      *rc::gen::element<std::int64_t>(10'000'000, 25'000'000, 100'000'000, 1'000'000'000));
  nanoseconds hold_time =
      nanoseconds(*rc::gen::element<std::int64_t>(200'000'000, 500'000'000, 1'000'000'000));
};

/// What goes wrong, and what is to be found then.
struct trouble {
  mk::finding_kind what;
  bool whole;  ///< else other work goes on
  std::uint32_t slot = 0;
  std::uint32_t tenant = 0;
  std::uint32_t op = 0;
};

/// Brings the trouble about, for one sample's time.
void suffer(kernel& k, const trouble& t) {
  if (!t.whole) k.run(20, 20);
  if (t.what == throttled) k.word(at::throttled) += 3;
  if (t.whole && t.what != dead) k.pass();
}

void begin(kernel& k, const trouble& t) {
  const std::uint32_t i = t.slot - kernel::flow_slots;
  if (t.whole) k.finish_all();
  switch (t.what) {
    case stalled:
      return k.special(i, 2, t.tenant, t.op);
    case dead:
      return k.special(i, 1, t.tenant, t.op);
    case unauthorised:
      k.word(at::masks + t.tenant) = 0;
      return k.special(i, 1, t.tenant, t.op);
    case throttled:
      k.word(at::quotas + t.tenant) = 0;
      return k.special(i, *rc::gen::element(1u, 5u, 6u), t.tenant, t.op);
    case waiting_for_io:
      return k.special(i, 4, t.tenant, t.op);
    default:
      RC_FAIL("no such trouble");
  }
}

void mend(kernel& k, const trouble& t) {
  if (t.what == unauthorised) k.word(at::masks + t.tenant) = ~0u;
  if (t.what == throttled) k.word(at::quotas + t.tenant) = 100;
  k.free_special(t.slot - kernel::flow_slots);
  k.word(at::done) += 1;
}

bool troubles() {
  return rc::check("what stands is named after the patience and no sooner, with its slot", [] {
    const pace p;
    trouble t{.what = *rc::gen::element(stalled, dead, unauthorised, throttled, waiting_for_io),
              .whole = *rc::gen::arbitrary<bool>()};
    if (t.what == dead) t.whole = true;
    t.slot = kernel::special_index(*between<std::uint32_t>(0, kernel::special_slots - 1));
    t.tenant = *between<std::uint32_t>(2, 28);  // not one that the queue is of
    t.op = *rc::gen::element(8u, 1000u, 0xFFFEu);
    ward w(p.interval, p.hold_time);
    w.warm_up(*between<std::uint32_t>(2, 9));
    begin(w.patient(), t);
    const nanoseconds began = w.now();
    std::uint32_t samples = 0;
    while (w.now() + p.interval - began < p.hold_time + p.interval && ++samples < 3) {
      suffer(w.patient(), t);
      expect_only(w.observe(), {});
    }
    const auto found = w.wait([&] { suffer(w.patient(), t); }, p.hold_time, 5);
    expect_only(found, {t.what});
    const mk::finding& f = *found.find(t.what);
    RC_ASSERT(f.kernel_wide == t.whole);
    RC_ASSERT((found.primary().what == t.what) == t.whole);
    RC_ASSERT(!f.clearing);
    RC_ASSERT(f.slots_in_all == 1u);
    RC_ASSERT(f.slots[0].slot.index == t.slot);
    RC_ASSERT(f.slots[0].slot.tenant == t.tenant);
    RC_ASSERT(f.tenants[0].key == t.tenant);
    RC_ASSERT(f.opcodes[0].key == t.op);
    RC_ASSERT(!mk::advice(f.what_to_try).empty());
    RC_ASSERT(f.since - began <= 2 * p.interval);

    // One sample without it eases the alarm, a second ends it.
    mend(w.patient(), t);
    w.patient().run(20, 20);
    const auto clearing = w.observe();
    RC_ASSERT(clearing.find(t.what) != nullptr);
    RC_ASSERT(clearing.find(t.what)->clearing);
    w.patient().run(20, 20);
    expect_only(w.observe(), {});
  });
}

bool handlers() {
  return rc::check("lanes that are all inside handlers are a stall although no heart beats", [] {
    const pace p;
    ward w(p.interval, p.hold_time);
    w.warm_up(3);
    w.patient().run(30, 5);  // two are claimed, the others wait
    const auto found = w.wait([] {}, p.hold_time);
    expect_only(found, {stalled});
    const mk::finding& f = found.primary();
    RC_ASSERT(f[mk::evidence_metric::held_slots] == 2u);
    RC_ASSERT(f[mk::evidence_metric::lanes] == 2u);
    RC_ASSERT(f[mk::evidence_metric::outstanding_slots] == w.patient().outstanding());
    RC_ASSERT((f.what_to_try == mk::suggested_action::find_the_handler));
    for (const auto& s : f.slots) RC_ASSERT((s.slot.status == mk::slot_status::claimed));
  });
}

bool unclaimed() {
  return rc::check("slots that no lane claims are a stall, too", [] {
    const pace p;
    ward w(p.interval, p.hold_time);
    w.warm_up(3);
    w.patient().finish_all();
    w.patient().special(2, 1);
    w.patient().special(3, *rc::gen::element(5u, 6u));
    const auto found = w.wait([&] { w.patient().pass(); }, p.hold_time);
    expect_only(found, {stalled});
    RC_ASSERT((found.primary().what_to_try == mk::suggested_action::find_the_claim));
    RC_ASSERT(found.primary().slots_in_all == 2u);
  });
}

bool samples_between_heartbeats() {
  return rc::check("looks that are closer than heartbeats hide no stall", [] {
    const pace p;
    const auto samples = *between<std::uint32_t>(2, 3);  // to a heartbeat; after three it is dead
    ward w(p.interval, p.hold_time);
    w.warm_up(4);
    w.patient().finish_all();
    w.patient().special(2, 1);
    w.patient().special(3, *rc::gen::element(5u, 6u));
    std::uint32_t sample = 0;
    const auto beat = [&] {
      if (++sample % samples == 0) w.patient().pass();
    };
    expect_only(w.wait(beat, p.hold_time, 6), {stalled});
    expect_only(w.wait(beat, p.hold_time), {stalled});
  });
}

bool faults() {
  return rc::check("a fault is said at once, and hides no stall", [] {
    const pace p;
    const auto why = *between<std::uint32_t>(1, 200);
    ward w(p.interval, p.hold_time);
    w.warm_up(4);
    w.patient().special(5, 7, 3, 1);
    w.patient().fault_code(kernel::special_index(5), why);
    w.patient().word(at::faults) += 1;
    w.patient().run(20, 20);
    const auto first = w.observe();
    expect_only(first, {faulted});
    RC_ASSERT((first.primary().what == faulted));
    RC_ASSERT(first.primary().slots[0].slot.index == kernel::special_index(5));
    RC_ASSERT((first.primary().slots[0].why == mk::fault_code{why}));
    RC_ASSERT(first.primary().tenants[0].key == 3u);
    RC_ASSERT(first.primary().opcodes[0].key == 1u);

    w.patient().run(20, 4);
    const auto both = w.wait([&] { w.patient().pass(); }, p.hold_time);
    expect_only(both, {stalled, faulted});
    RC_ASSERT((both.primary().what == stalled));

    w.patient().free_special(5);
    w.patient().finish_all();
    w.observe();
    w.patient().pass();
    const auto after = w.observe();
    expect_only(after, {});
    RC_ASSERT((after.primary().what == idle));
  });
}

bool idleness() {
  return rc::check("idle is never a stall, however long, and work after it has its own patience",
                   [] {
                     const pace p;
                     ward w(p.interval, p.hold_time);
                     w.warm_up(*between<std::uint32_t>(0, 3));
                     w.patient().finish_all();
                     w.observe();
                     const auto rest = w.wait([&] { w.patient().pass(); }, 20 * p.hold_time);
                     expect_only(rest, {});
                     RC_ASSERT((rest.primary().what == idle));
                     // Work that came just before a sample.
                     w.patient().run(10, 0);
                     expect_only(w.observe(), {});
                     w.patient().pass();
                     const auto second = w.observe();
                     if (p.interval < p.hold_time) expect_only(second, {});
                     w.patient().run(0, 10);
                     expect_only(w.observe(), {});
                   });
}

bool stops() {
  return rc::check("a kernel that left as it was told is stopped, whatever is owed", [] {
    const pace p;
    ward w(p.interval, p.hold_time);
    w.warm_up(3);
    w.patient().run(9, 3);
    w.patient().word(at::masks + 1) = *rc::gen::element(0u, 1u);
    w.patient().word(at::shutdown) = 1;
    w.observe();
    w.patient().word(at::lanes) = 0;
    const auto found = w.wait([] {}, 3 * p.hold_time);
    expect_only(found, {});
    RC_ASSERT((found.primary().what == stopped));
  });
}

bool lanes_and_reasons() {
  return rc::check("a dead kernel's lanes are counted; a fault has no reason without the ring", [] {
    const pace p;
    mk::diagnostician doctor({.hold_time = p.hold_time});
    expect(doctor.options().hold_time == p.hold_time);
    const auto lanes = *rc::gen::element<std::uint32_t>(0, 1, 2);
    kernel k;
    k.word(at::lanes) = lanes;
    k.special(0, 1);
    k.special(1, 7);
    k.fault_code(kernel::special_index(1), 9);
    mk::ring_telemetry telemetry;
    expect(telemetry.decode(k.control(), k.ring()).has_value());
    mk::diagnosis found;
    for (nanoseconds now{}; now <= 4 * p.interval + p.hold_time; now += p.interval)
      found = doctor.observe(telemetry, now).value();
    RC_ASSERT(found.find(mk::finding_kind::slow) == nullptr);
    const mk::finding* const dying = found.find(dead);
    RC_ASSERT(dying != nullptr);
    const std::array<std::string_view, 3> wanted{"no lane says it is there",
                                                 "1 lane that says it is there does not pass",
                                                 "2 lanes that say they are there do not pass"};
    RC_ASSERT(mk::sentence(*dying, found.at).text().contains(wanted[lanes]));
    const mk::finding* const fault = found.find(faulted);
    RC_ASSERT((fault != nullptr && fault->slots[0].why == mk::fault_code::unreported));
    RC_ASSERT(!mk::concerned(*fault, found.at).text().contains("fault code"));
  });
}

bool regressions() {
  return rc::check("a done count that goes back is said, and followed from there", [] {
    const pace p;
    ward w(p.interval, p.hold_time);
    w.patient().word(at::done) = *between<std::uint32_t>(1'000, 0x7000'0000);
    w.warm_up(4);
    const auto before = w.patient().word(at::done);
    const auto back = *between<std::uint32_t>(1, 500);
    w.patient().run(20, 20);
    w.patient().word(at::done) = before - back;
    const auto found = w.observe();
    expect_only(found, {count_regressed});
    RC_ASSERT(found.primary()[mk::evidence_metric::done_count] == before - back);
    RC_ASSERT(found.primary()[mk::evidence_metric::previous_done_count] == before);
    const auto later = w.wait([&] { w.patient().run(20, 20); }, 5 * p.hold_time);
    expect_only(later, {});
    RC_ASSERT(later.primary()[mk::evidence_metric::drained_slots] == 20u);
  });
}

bool tears() {
  return rc::check("a page that stays torn is named, one that is torn now and then is not", [] {
    const pace p;
    ward w(p.interval, p.hold_time);
    w.warm_up(3);
    const std::array<std::uint32_t, 1> torn{2};
    const auto slot = kernel::special_index(*between<std::uint32_t>(0, 7));
    for (int i = 0; i < 40; ++i) {
      w.patient().run(20, 20);
      const bool now = i % 4 != 3;
      w.patient().status(slot) = now ? ~0u : 3;
      expect_only(
          w.observe(now ? std::span<const std::uint32_t>(torn) : std::span<const std::uint32_t>()),
          {});
    }
    w.patient().status(slot) = ~0u;
    const auto found = w.wait([&] { w.patient().run(20, 20); }, p.hold_time, 9, torn);
    expect_only(found, {mk::finding_kind::torn});
    RC_ASSERT(!mk::is_alarm(found.primary().what));
    const mk::finding& f = *found.find(mk::finding_kind::torn);
    RC_ASSERT(f.slots_in_all == 1u);
    RC_ASSERT(f.slots[0].slot.index == slot);
    RC_ASSERT(mk::sentence(f, w.now()).text().contains("1 page of 32 slots"));
    const std::array<std::uint32_t, 2> both{1, 2};
    const auto more = w.wait([&] { w.patient().run(20, 20); }, p.hold_time, 9, both);
    RC_ASSERT(
        mk::sentence(*more.find(mk::finding_kind::torn), w.now()).text().contains("2 pages of"));
  });
}

bool slowness() {
  return rc::check("an eighth of the usual rate is slow while work waits, and only then", [] {
    const pace p;
    const auto share = *rc::gen::element<std::uint64_t>(3, 20);
    const bool backlog = *rc::gen::arbitrary<bool>();
    ward w(p.interval, p.hold_time);
    const auto rate = static_cast<std::uint64_t>(p.interval / 1ms) * 8;  // a sample
    const auto windows = [&](std::uint32_t n) {
      return n * std::max<nanoseconds>(1s, p.hold_time);
    };
    for (nanoseconds end = w.now() + windows(8); w.now() < end;) {
      w.patient().run(rate + 20, rate);
      expect_only(w.observe(), {});
    }
    mk::diagnosis found;
    for (nanoseconds end = w.now() + windows(6); w.now() < end;) {
      w.patient().run(backlog ? rate : rate / share / 2, backlog ? rate / share : rate);
      found = w.observe();
    }
    const bool wanted = backlog && share > 8;
    expect_only(found, wanted ? std::set<mk::finding_kind>{slow} : std::set<mk::finding_kind>{});
    if (!wanted) return;
    RC_ASSERT((found.primary().what == slow));
    RC_ASSERT(found.primary()[mk::evidence_metric::drain_rate] * 8 <
              found.primary()[mk::evidence_metric::usual_drain_rate]);
    for (nanoseconds end = w.now() + windows(4); w.now() < end;) {
      w.patient().run(rate + 20, rate);
      found = w.observe();
    }
    expect_only(found, {});
  });
}

bool seldom() {
  return rc::check("looks too far apart for a 32-bit count are said, where no upper half is", [] {
    const bool reported = *rc::gen::arbitrary<bool>();
    const auto rate = *between<std::uint64_t>(1'000'000, 100'000'000);
    const auto longest = static_cast<std::int64_t>((std::uint64_t{1} << 31) / rate);
    const auto gap = std::chrono::seconds(longest + (*rc::gen::arbitrary<bool>() ? 2 : -3));
    mk::diagnostician doctor;
    mk::ring_telemetry telemetry;
    kernel k;
    const auto observe = [&](nanoseconds at) {
      expect(telemetry.decode(k.control(), k.ring()).has_value());
      return *doctor.observe(telemetry, at);
    };
    if (reported) k.word(at::high) = 1;
    k.special(0, 1);
    observe(0s);
    k.word(at::done) += static_cast<std::uint32_t>(rate);
    k.pass();
    observe(1s);
    k.word(at::done) += 17;
    k.pass();
    const auto found = observe(1s + gap);
    expect_only(found, {});
    const bool wanted = !reported && gap.count() > longest;
    RC_ASSERT((found.primary().what == observer_too_slow) == wanted);
  });
}

bool doubts() {
  return rc::check("a slot that may have turned over is not named before it is believed", [] {
    // As many slots are drained between samples as the ring has, so a slot that is CLAIMED with the
    // same words each time may be another each time; sixteen samples in a row are no accident.
    ward w(100ms, 500ms);
    w.warm_up(3);
    w.patient().special(1, 2, 9, 1000);
    for (int i = 0; i < 14; ++i) {
      w.patient().run(500, 500);
      const auto found = w.observe();
      expect_only(found, {});
      if (i >= 7) RC_ASSERT(found.find(observer_too_slow) != nullptr);
      RC_ASSERT((found.primary().what == healthy));
    }
    for (int i = 0; i < 4; ++i) {
      w.patient().run(500, 500);
      w.observe();
    }
    w.patient().run(500, 500);
    const auto found = w.observe();
    expect_only(found, {stalled});
    RC_ASSERT(!found.find(stalled)->kernel_wide);
    RC_ASSERT(found.find(stalled)->slots[0].slot.tenant == 9u);
    RC_ASSERT(names_key(found.find(stalled)->opcodes, 1000));
  });
}

/// A stretch of one kind of load.
struct stretch {
  std::uint64_t arrive;  ///< slots a second
  std::uint64_t drain;
  bool bursts;  ///< all of a second's work comes at once
};

/// Load as operators know it: steady, in bursts, a trickle, nothing at all, handlers of most of a
/// second. It is drained at rates that differ by a factor of four at most.
bool quiet_hour(nanoseconds interval, std::uint64_t seed) {
  prng d(seed);
  ward w(interval, 1s);
  const auto samples = static_cast<std::uint64_t>(3600s / interval);
  const double part = std::chrono::duration<double>(interval).count();
  std::uint64_t left = 0;     // looks of this stretch
  std::uint64_t handler = 0;  // looks for which lanes are inside long handlers
  stretch now{};
  double owing = 0;
  for (std::uint64_t i = 0; i < samples; ++i) {
    if (left-- == 0) {
      left = 1 + static_cast<std::uint64_t>((1 + d.below(40)) / part);
      static constexpr std::array<std::uint64_t, 5> arrivals{0, 3, 400, 20'000, 300'000};
      now = {.arrive = arrivals[d.below(arrivals.size())],
             .drain = 100'000 * (1 + d.below(4)),
             .bursts = d.one_in(2)};
    }
    const auto a_second = static_cast<std::uint64_t>(1s / interval);
    owing += static_cast<double>(now.arrive) * part;
    std::uint64_t arrive = 0;
    if (!now.bursts || i % a_second == 0) {
      arrive = static_cast<std::uint64_t>(owing);
      owing -= static_cast<double>(arrive);
    }
    if (handler == 0 && d.one_in(2000)) handler = d.below(static_cast<std::size_t>(0.8 / part) + 1);
    const bool inside = handler != 0;
    handler -= inside;
    w.patient().run(arrive,
                    inside ? 0 : static_cast<std::uint64_t>(static_cast<double>(now.drain) * part));
    const auto found = w.observe();
    if (!found.alarm()) continue;
    std::printf("Alarm at look %llu:\n%s", static_cast<unsigned long long>(i),
                reported(found).c_str());
    return false;
  }
  return true;
}

bool quiet_hours() {
  bool ok = true;
  for (std::uint64_t seed = 1; seed <= 20; ++seed) ok &= quiet_hour(1s, seed);
  for (std::uint64_t seed = 1; seed <= 2; ++seed) ok &= quiet_hour(10ms, seed);
  if (ok) std::puts("OK, no alarm in 20 hours of looks each second and 2 of 100 a second");
  return ok;
}

bool any_bytes() {
  return rc::check(
      "bytes of any kind do no harm, and nothing is allocated after the first look", [] {
        prng d(*uniform<std::uint64_t>());
        const std::uint32_t slots = d.below(80);
        mk::diagnostician doctor({.hold_time = nanoseconds(d.below(5)), .samples = d.below(4)});
        mk::ring_telemetry telemetry;
        std::vector<std::uint32_t> control(160);
        std::vector<std::uint32_t> ring(std::size_t{slots} * 16);
        std::vector<std::uint32_t> torn;
        torn.reserve(8);
        auto now = static_cast<std::int64_t>(d.next());
        std::uint64_t allocated = 0;
        for (int i = 0; i < 30; ++i) {
          for (std::uint32_t& w : control) w = d.one_in(3) ? d.word() : w;
          control[at::revision] = d.one_in(8) ? d.word() : 1;
          for (std::uint32_t& w : ring) w = d.one_in(6) ? d.word() : w;
          for (std::size_t s = 0; s < slots; ++s)
            ring[s * 16] = d.one_in(9) ? d.word() : d.below(9);
          torn.clear();
          for (std::uint32_t p = 0; p < 4; ++p) {
            if (d.one_in(2)) torn.push_back(d.one_in(5) ? d.word() : p);
          }
          std::ranges::sort(torn);
          constexpr std::int64_t last = INT64_MAX;
          const auto step = static_cast<std::int64_t>(d.one_in(9) ? d.next() >> 1 : d.below(9));
          now = now > last - step ? last : now + step;
          expect(telemetry.decode(std::as_bytes(std::span(control)), std::as_bytes(std::span(ring)))
                     .has_value());
          const std::uint64_t before = heap::state.allocations;
          const auto found =
              doctor.observe(telemetry, nanoseconds(now), torn, std::as_bytes(std::span(ring)));
          expect(found.has_value());
          std::size_t written = 0;
          for (const mk::finding& f : found->findings) {
            written += mk::sentence(f, found->at).text().size();
            written += mk::concerned(f, found->at).text().size();
            for (const auto& s : f.slots) expect(s.slot.index < slots);
            expect(f.slots.size() <= f.slots_in_all && f.slots_in_all <= slots);
          }
          expect(written != 0);
          if (i != 0) allocated += heap::state.allocations - before;
        }
        RC_ASSERT(allocated == 0u);
      });
}

bool refusals() {
  return rc::check("another ring, a clock that goes back and a full heap are refused", [] {
    mk::diagnostician doctor;
    mk::ring_telemetry telemetry;
    kernel k;
    expect(telemetry.decode(k.control(), k.ring()).has_value());
    for (std::uint64_t nth = 0; nth < 3; ++nth) {
      mk::diagnostician poor;
      const auto refused = [&] {
        const heap::tripwire full(nth);
        return poor.observe(telemetry, 1s);
      }();
      expect(!refused && refused.error().code == mk::error_code::out_of_memory);
      expect(poor.observe(telemetry, 1s).has_value());
    }
    expect(doctor.observe(telemetry, 1s).has_value());
    const auto earlier = doctor.observe(telemetry, 0s);
    expect(!earlier && earlier.error().code == mk::error_code::clock_regressed);
    expect(telemetry.decode(k.control(), k.ring().first(64)).has_value());
    const auto smaller = doctor.observe(telemetry, 2s);
    expect(!smaller && smaller.error().code == mk::error_code::ring_resized);
  });
}

bool names() {
  return rc::check("everything has a name of its own", [] {
    std::set<std::string_view> all;
    for (std::size_t i = 0; i < mk::finding_kinds; ++i) {
      all.insert(mk::to_string(static_cast<mk::finding_kind>(i)));
      RC_ASSERT(!mk::title(static_cast<mk::finding_kind>(i)).empty());
    }
    RC_ASSERT(all.size() == mk::finding_kinds);
    RC_ASSERT(all.count("") == 0u);
    std::set<std::string_view> advised;
    for (int i = 1; i <= static_cast<int>(mk::suggested_action::find_the_load); ++i) {
      const auto what = static_cast<mk::suggested_action>(i);
      RC_ASSERT(
          (all.insert(mk::to_string(what)).second && advised.insert(mk::advice(what)).second));
      RC_ASSERT((mk::advice(what).ends_with('.') || mk::advice(what).ends_with('?')));
    }
    RC_ASSERT(mk::advice(mk::suggested_action::nothing).empty());
    RC_ASSERT((mk::diagnosis().secondary().empty() && !mk::diagnosis().alarm()));
    RC_ASSERT(mk::to_string(static_cast<mk::finding_kind>(mk::finding_kinds)).empty());
    RC_ASSERT(mk::to_string(static_cast<mk::suggested_action>(200)).empty());
    RC_ASSERT(mk::to_string(static_cast<mk::evidence_metric>(200)).empty());
    RC_ASSERT(mk::advice(static_cast<mk::suggested_action>(200)).empty());
    RC_ASSERT(mk::to_string(mk::suggested_action::find_the_load) == "find_the_load");
    RC_ASSERT(mk::to_string(mk::evidence_metric::longest_step) == "longest_step");
  });
}

}  // namespace

int main() {
  bool ok = true;
  ok &= troubles();
  ok &= handlers();
  ok &= unclaimed();
  ok &= samples_between_heartbeats();
  ok &= faults();
  ok &= idleness();
  ok &= stops();
  ok &= lanes_and_reasons();
  ok &= regressions();
  ok &= tears();
  ok &= slowness();
  ok &= seldom();
  ok &= doubts();
  ok &= quiet_hours();
  ok &= any_bytes();
  ok &= refusals();
  ok &= names();
  return ok ? 0 : 1;
}
