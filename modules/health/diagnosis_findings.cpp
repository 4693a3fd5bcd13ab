// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
module;
#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdint>
module megakernel.health;
import megakernel.decoder;
import megakernel.protocol;

namespace megakernel {
namespace {

using std::chrono::nanoseconds;
using namespace std::chrono_literals;

constexpr std::uint32_t samples_to_end = 2;  // without a symptom, until an alarm is given up

std::uint64_t count(nanoseconds d) noexcept {
  return static_cast<std::uint64_t>(std::max<nanoseconds::rep>(d.count(), 0));
}

std::uint64_t rounded(double rate) noexcept {
  constexpr double most = 1e18;
  return static_cast<std::uint64_t>(std::llround(std::clamp(rate, 0.0, most)));
}

}  // namespace

/// `from`: since when it has been present, should it be so for the first time. Whether the alarm
/// stands; it may stand although the symptom is gone.
bool diagnostician::update(symptom& s, bool present, nanoseconds from, nanoseconds at,
                           std::uint32_t samples, nanoseconds hold_time) noexcept {
  if (present) {
    if (s.present == 0 && !s.raised) s.since = from;
    s.present += s.present != 0xFFFF'FFFFu;
    s.absent = 0;
    s.raised |= s.present >= samples && detail::elapsed(s.since, at) >= hold_time;
  } else {
    s.present = 0;
    if (s.raised && ++s.absent >= samples_to_end) s.raised = false;
  }
  return s.raised;
}

finding diagnostician::base(const facts& now, nanoseconds at) noexcept {
  finding of;
  of.what = finding_kind::too_early;
  if (now.first) {
    // nothing to compare with
  } else if (now.left) {
    of.what = finding_kind::stopped;
  } else if (now.outstanding == 0) {
    of.what = finding_kind::idle;
  } else if (now.ended || (ever_ended_ && detail::elapsed(last_ended_, at) < options_.hold_time)) {
    of.what = finding_kind::healthy;
  }
  if (of.what != base_ || now.first) base_since_ = at;
  base_ = of.what;
  of.since = base_since_;
  of.what_to_try = of.what == finding_kind::too_early ? suggested_action::sample_again
                                                      : suggested_action::nothing;
  of.evidence.push({.what = evidence_metric::outstanding_slots, .found = now.outstanding});
  of.evidence.push({.what = evidence_metric::drained_slots,
                    .found = now.drained,
                    .limit = evidence_metric::interval,
                    .bound = count(now.interval)});
  if (of.what == finding_kind::too_early)
    of.evidence.push({.what = evidence_metric::samples, .found = samples_ + 1});
  return of;
}

void diagnostician::conclude(const facts& now, nanoseconds at, diagnosis& to) noexcept {
  const nanoseconds hold_time = options_.hold_time;
  const bool standing = !now.ended && detail::elapsed(last_ended_, at) >= hold_time;
  const bool part_of_nothing =
      now.rest == 0 && standing;  // all that is outstanding waits for the host
  const auto held_for = [&](const symptom& s) -> evidence_item {
    return {.what = evidence_metric::time,
            .found = count(detail::elapsed(s.since, at)),
            .limit = evidence_metric::hold_time,
            .bound = count(hold_time)};
  };
  short_list<finding, diagnosis::most_findings> parts;
  bool grave = false;
  // Raises, keeps or ends an alarm; `describe` fills in what is found while the symptom is there.
  nanoseconds from = at;
  const auto judge = [&](symptom& s, bool present, std::uint32_t samples, nanoseconds wait,
                         finding_kind what, suggested_action what_to_try, const auto& describe) {
    if (!update(s, present, from, at, samples, wait)) return;
    if (present) {
      s.last = {.what = what, .since = s.since, .what_to_try = what_to_try};
      describe(s.last);
    }
    s.last.clearing = !present;
    if (s.last.kernel_wide) {
      grave = true;
      to.findings.push(s.last);
    } else {
      parts.push(s.last);
    }
  };
  const auto waits = [&](symptom& s, const slot_group& who, bool present, std::uint32_t samples,
                         nanoseconds wait, finding_kind what, suggested_action what_to_try) {
    judge(s, present && !now.left, samples, wait, what, what_to_try, [&](finding& f) {
      f.kernel_wide = part_of_nothing;
      f.evidence.push({.what = evidence_metric::blocked_slots,
                       .found = who.slots,
                       .limit = evidence_metric::outstanding_slots,
                       .bound = now.outstanding});
      who.fill(f);
      evidence_item lasts = held_for(s);
      if (!f.slots.empty()) {
        f.since = std::min(f.since, f.slots[0].since);
        lasts.found = count(detail::elapsed(f.slots[0].since, at));
      }
      f.evidence.push(lasts);
    });
  };
  const std::uint32_t samples = options_.samples;

  const bool still = now.heartbeat_still && !now.ended && !now.left;
  const bool dead = still && !now.in_handlers;
  from = last_sample_;  // nothing has moved since
  judge(dead_, dead, samples, hold_time, finding_kind::dead, suggested_action::relaunch,
        [&](finding& f) {
          f.evidence.push({.what = evidence_metric::heartbeats, .found = 0});
          f.evidence.push(held_for(dead_));
          f.evidence.push({.what = evidence_metric::outstanding_slots, .found = now.outstanding});
          f.evidence.push({.what = evidence_metric::lanes, .found = now.lanes});
          (held_.slots != 0 ? held_ : rest_).fill(f);
        });
  if (!rest_before_) from = at;
  // Two samples may lie between two heartbeats: such a sample neither ends a stall nor shows it.
  judge(stalled_, now.rest != 0 && !now.ended && !now.first && !now.left && !dead_.raised, samples,
        dead ? nanoseconds::max() : hold_time, finding_kind::stalled,
        held_.slots != 0 ? suggested_action::find_the_handler : suggested_action::find_the_claim,
        [&](finding& f) {
          f.evidence.push({.what = evidence_metric::outstanding_slots, .found = now.outstanding});
          f.evidence.push(held_for(stalled_));
          f.evidence.push({.what = evidence_metric::held_slots,
                           .found = held_.slots,
                           .limit = evidence_metric::lanes,
                           .bound = now.lanes});
          (held_.slots != 0 ? held_ : rest_).fill(f);
        });
  from = at;
  const bool stands = dead_.raised || stalled_.raised;
  waits(parked_symptom_, parked_, parked_.slots != 0, 1, 0ns, finding_kind::waiting_for_io,
        suggested_action::complete_the_request);
  waits(unauthorised_symptom_, unauthorised_, unauthorised_.slots != 0, samples, hold_time,
        finding_kind::unauthorised, suggested_action::authorise_the_tenant);
  waits(throttled_symptom_, throttled_, throttled_.slots != 0, samples, hold_time,
        finding_kind::throttled, suggested_action::refill_the_quota);

  if (now.regressed_from != 0) {
    regressed_at_ = at;
    regressed_ = true;
    regress_.last.evidence.clear();
    regress_.last.evidence.push({.what = evidence_metric::done_count,
                                 .found = health_.done,
                                 .limit = evidence_metric::previous_done_count,
                                 .bound = now.regressed_from});
  }
  regressed_ =
      regressed_ && (now.regressed_from != 0 || detail::elapsed(regressed_at_, at) / 4 < hold_time);
  if (regressed_) {
    regress_.last.what = finding_kind::count_regressed;
    regress_.last.since = regressed_at_;
    regress_.last.what_to_try = suggested_action::check_for_a_restart;
    to.findings.push(regress_.last);
    grave = true;
  }
  judge(blind_, blind_now_, 1, 0ns, finding_kind::observer_too_slow,
        suggested_action::sample_more_often, [&](finding& f) {
          f.evidence.push({.what = evidence_metric::interval, .found = count(now.interval)});
          f.evidence.push({.what = evidence_metric::drain_rate, .found = rounded(fastest_)});
          f.evidence.push({.what = evidence_metric::longest_step, .found = detail::longest_step});
        });
  judge(fault_symptom_, now.faults != 0 || now.faulted != 0, 1, 0ns, finding_kind::faulted,
        suggested_action::mend_the_arguments, [&](finding& f) {
          f.evidence.push({.what = evidence_metric::fault_slots, .found = now.faults});
          f.evidence.push({.what = evidence_metric::counted_faults, .found = now.faulted});
          f.evidence.push({.what = evidence_metric::drained_slots, .found = now.drained});
          f.evidence.push({.what = evidence_metric::outstanding_slots, .found = now.outstanding});
          faults_.fill(f);
          for (concerned_slot& s : f.slots) s.since = fault_symptom_.since;
        });
  if (slow_.raised && !stands) {
    finding f{.what = finding_kind::slow,
              .since = slow_.since,
              .what_to_try = suggested_action::find_the_load};
    f.clearing = slow_.absent != 0;
    f.evidence.push({.what = evidence_metric::drain_rate,
                     .found = rounded(pace_),
                     .limit = evidence_metric::usual_drain_rate,
                     .bound = rounded(usual_)});
    f.evidence.push({.what = evidence_metric::waiting_slots, .found = now.claimable});
    to.findings.push(f);
    grave = true;
  }
  const finding otherwise = base(now, at);
  if (!grave) to.findings.push(otherwise);

  const bool others_go_on = now.ended || detail::elapsed(last_ended_, at) < hold_time;
  judge(hung_, hung_slots_.slots != 0 && !now.left && !stands && others_go_on, 1, 0ns,
        finding_kind::stalled, suggested_action::find_the_handler, [&](finding& f) {
          f.kernel_wide = false;
          hung_slots_.fill(f);
          if (!f.slots.empty()) f.since = std::min(f.since, f.slots[0].since);
          const nanoseconds longest = detail::elapsed(f.since, at);
          f.evidence.push({.what = evidence_metric::held_slots,
                           .found = hung_slots_.slots,
                           .limit = evidence_metric::lanes,
                           .bound = now.lanes});
          f.evidence.push({.what = evidence_metric::time,
                           .found = count(longest),
                           .limit = evidence_metric::hold_time,
                           .bound = count(hold_time)});
          f.evidence.push({.what = evidence_metric::drained_slots, .found = now.drained});
        });
  judge(torn_symptom_, torn_pages_ != 0, 1, 0ns, finding_kind::torn,
        suggested_action::find_the_producer, [&](finding& f) {
          f.kernel_wide = false;
          f.evidence.push({.what = evidence_metric::torn_pages, .found = torn_pages_});
          torn_.fill(f);
          f.tenants.clear();  // what they hold could not be read
          f.opcodes.clear();
          if (!f.slots.empty()) f.since = std::min(f.since, f.slots[0].since);
          const nanoseconds longest = detail::elapsed(f.since, at);
          f.evidence.push({.what = evidence_metric::time,
                           .found = count(longest),
                           .limit = evidence_metric::hold_time,
                           .bound = count(hold_time)});
        });
  judge(doubt_, doubtful_ && !stands, 1, 0ns, finding_kind::observer_too_slow,
        suggested_action::sample_more_often, [&](finding& f) {
          f.kernel_wide = false;
          f.evidence.push({.what = evidence_metric::drained_slots,
                           .found = now.drained,
                           .limit = evidence_metric::interval,
                           .bound = count(now.interval)});
        });
  // Wholes come first whatever was found in between.
  for (const finding& f : parts) to.findings.push(f);
}

}  // namespace megakernel
