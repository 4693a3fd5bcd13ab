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

constexpr std::uint32_t looks_to_end = 2;  // without a symptom, until an alarm is given up

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
                           std::uint32_t looks, nanoseconds patience) noexcept {
  if (present) {
    if (s.present == 0 && !s.raised) s.since = from;
    s.present += s.present != 0xFFFF'FFFFu;
    s.absent = 0;
    s.raised |= s.present >= looks && detail::elapsed(s.since, at) >= patience;
  } else {
    s.present = 0;
    if (s.raised && ++s.absent >= looks_to_end) s.raised = false;
  }
  return s.raised;
}

finding diagnostician::base(const facts& now, nanoseconds at) noexcept {
  finding of;
  of.what = ailment::too_early;
  if (now.first) {
    // nothing to compare with
  } else if (now.left) {
    of.what = ailment::stopped;
  } else if (now.owed == 0) {
    of.what = ailment::idle;
  } else if (now.ended || (ever_ended_ && detail::elapsed(last_ended_, at) < options_.patience)) {
    of.what = ailment::healthy;
  }
  if (of.what != base_ || now.first) base_since_ = at;
  base_ = of.what;
  of.since = base_since_;
  of.what_to_try = of.what == ailment::too_early ? remedy::look_again : remedy::nothing;
  of.evidence.push({.what = measure::owed_slots, .found = now.owed});
  of.evidence.push({.what = measure::drained_slots,
                    .found = now.drained,
                    .against = measure::interval,
                    .bound = count(now.interval)});
  if (of.what == ailment::too_early)
    of.evidence.push({.what = measure::looks, .found = looks_ + 1});
  return of;
}

void diagnostician::conclude(const facts& now, nanoseconds at, diagnosis& to) noexcept {
  const nanoseconds patience = options_.patience;
  const bool standing = !now.ended && detail::elapsed(last_ended_, at) >= patience;
  const bool part_of_nothing = now.rest == 0 && standing;  // all that is owed waits for the host
  const auto held_for = [&](const symptom& s) -> figure {
    return {.what = measure::time,
            .found = count(detail::elapsed(s.since, at)),
            .against = measure::patience,
            .bound = count(patience)};
  };
  short_list<finding, diagnosis::most_findings> parts;
  bool grave = false;
  // Raises, keeps or ends an alarm; `describe` fills in what is found while the symptom is there.
  nanoseconds from = at;
  const auto judge = [&](symptom& s, bool present, std::uint32_t looks, nanoseconds wait,
                         ailment what, remedy what_to_try, const auto& describe) {
    if (!update(s, present, from, at, looks, wait)) return;
    if (present) {
      s.last = {.what = what, .since = s.since, .what_to_try = what_to_try};
      describe(s.last);
    }
    s.last.easing = !present;
    if (s.last.whole) {
      grave = true;
      to.findings.push(s.last);
    } else {
      parts.push(s.last);
    }
  };
  const auto waits = [&](symptom& s, const crowd& who, bool present, std::uint32_t looks,
                         nanoseconds wait, ailment what, remedy what_to_try) {
    judge(s, present && !now.left, looks, wait, what, what_to_try, [&](finding& f) {
      f.whole = part_of_nothing;
      f.evidence.push({.what = measure::blocked_slots,
                       .found = who.slots,
                       .against = measure::owed_slots,
                       .bound = now.owed});
      who.fill(f);
      figure lasts = held_for(s);
      if (!f.slots.empty()) {
        f.since = std::min(f.since, f.slots[0].since);
        lasts.found = count(detail::elapsed(f.slots[0].since, at));
      }
      f.evidence.push(lasts);
    });
  };
  const std::uint32_t looks = options_.looks;

  const bool still = now.heartbeat_still && !now.ended && !now.left;
  const bool dead = still && !now.in_handlers;
  from = last_look_;  // nothing has moved since
  judge(dead_, dead, looks, patience, ailment::dead, remedy::relaunch, [&](finding& f) {
    f.evidence.push({.what = measure::heartbeats, .found = 0});
    f.evidence.push(held_for(dead_));
    f.evidence.push({.what = measure::owed_slots, .found = now.owed});
    f.evidence.push({.what = measure::lanes, .found = now.lanes});
    (held_.slots != 0 ? held_ : rest_).fill(f);
  });
  if (!rest_before_) from = at;
  // Two looks may lie between two heartbeats: such a look neither ends a stall nor shows it.
  judge(stalled_, now.rest != 0 && !now.ended && !now.first && !now.left && !dead_.raised, looks,
        dead ? nanoseconds::max() : patience, ailment::stalled,
        held_.slots != 0 ? remedy::find_the_handler : remedy::find_the_claim, [&](finding& f) {
          f.evidence.push({.what = measure::owed_slots, .found = now.owed});
          f.evidence.push(held_for(stalled_));
          f.evidence.push({.what = measure::held_slots,
                           .found = held_.slots,
                           .against = measure::lanes,
                           .bound = now.lanes});
          (held_.slots != 0 ? held_ : rest_).fill(f);
        });
  from = at;
  const bool stands = dead_.raised || stalled_.raised;
  waits(parked_symptom_, parked_, parked_.slots != 0, 1, 0ns, ailment::waiting_for_io,
        remedy::answer_the_request);
  waits(unauthorised_symptom_, unauthorised_, unauthorised_.slots != 0, looks, patience,
        ailment::unauthorised, remedy::authorise_the_tenant);
  waits(throttled_symptom_, throttled_, throttled_.slots != 0, looks, patience, ailment::throttled,
        remedy::refill_the_quota);

  if (now.regressed_from != 0) {
    regressed_at_ = at;
    regressed_ = true;
    regress_.last.evidence.clear();
    regress_.last.evidence.push({.what = measure::done_count,
                                 .found = health_.done,
                                 .against = measure::previous_done_count,
                                 .bound = now.regressed_from});
  }
  regressed_ =
      regressed_ && (now.regressed_from != 0 || detail::elapsed(regressed_at_, at) / 4 < patience);
  if (regressed_) {
    regress_.last.what = ailment::count_regressed;
    regress_.last.since = regressed_at_;
    regress_.last.what_to_try = remedy::check_for_a_restart;
    to.findings.push(regress_.last);
    grave = true;
  }
  judge(blind_, blind_now_, 1, 0ns, ailment::observer_too_slow, remedy::look_more_often,
        [&](finding& f) {
          f.evidence.push({.what = measure::interval, .found = count(now.interval)});
          f.evidence.push({.what = measure::drain_rate, .found = rounded(fastest_)});
          f.evidence.push({.what = measure::longest_step, .found = detail::longest_step});
        });
  judge(fault_symptom_, now.faults != 0 || now.faulted != 0, 1, 0ns, ailment::faulted,
        remedy::mend_the_arguments, [&](finding& f) {
          f.evidence.push({.what = measure::fault_slots, .found = now.faults});
          f.evidence.push({.what = measure::counted_faults, .found = now.faulted});
          f.evidence.push({.what = measure::drained_slots, .found = now.drained});
          f.evidence.push({.what = measure::owed_slots, .found = now.owed});
          faults_.fill(f);
          for (concerned_slot& s : f.slots) s.since = fault_symptom_.since;
        });
  if (slow_.raised && !stands) {
    finding f{.what = ailment::slow, .since = slow_.since, .what_to_try = remedy::find_the_load};
    f.easing = slow_.absent != 0;
    f.evidence.push({.what = measure::drain_rate,
                     .found = rounded(pace_),
                     .against = measure::usual_drain_rate,
                     .bound = rounded(usual_)});
    f.evidence.push({.what = measure::waiting_slots, .found = now.claimable});
    to.findings.push(f);
    grave = true;
  }
  const finding otherwise = base(now, at);
  if (!grave) to.findings.push(otherwise);

  const bool others_go_on = now.ended || detail::elapsed(last_ended_, at) < patience;
  judge(hung_, hung_slots_.slots != 0 && !now.left && !stands && others_go_on, 1, 0ns,
        ailment::stalled, remedy::find_the_handler, [&](finding& f) {
          f.whole = false;
          hung_slots_.fill(f);
          if (!f.slots.empty()) f.since = std::min(f.since, f.slots[0].since);
          const nanoseconds longest = detail::elapsed(f.since, at);
          f.evidence.push({.what = measure::held_slots,
                           .found = hung_slots_.slots,
                           .against = measure::lanes,
                           .bound = now.lanes});
          f.evidence.push({.what = measure::time,
                           .found = count(longest),
                           .against = measure::patience,
                           .bound = count(patience)});
          f.evidence.push({.what = measure::drained_slots, .found = now.drained});
        });
  judge(torn_symptom_, torn_pages_ != 0, 1, 0ns, ailment::torn, remedy::find_the_producer,
        [&](finding& f) {
          f.whole = false;
          f.evidence.push({.what = measure::torn_pages, .found = torn_pages_});
          torn_.fill(f);
          f.tenants.clear();  // what they hold could not be read
          f.opcodes.clear();
          if (!f.slots.empty()) f.since = std::min(f.since, f.slots[0].since);
          const nanoseconds longest = detail::elapsed(f.since, at);
          f.evidence.push({.what = measure::time,
                           .found = count(longest),
                           .against = measure::patience,
                           .bound = count(patience)});
        });
  judge(doubt_, doubtful_ && !stands, 1, 0ns, ailment::observer_too_slow, remedy::look_more_often,
        [&](finding& f) {
          f.whole = false;
          f.evidence.push({.what = measure::drained_slots,
                           .found = now.drained,
                           .against = measure::interval,
                           .bound = count(now.interval)});
        });
  // Wholes come first whatever was found in between.
  for (const finding& f : parts) to.findings.push(f);
}

}  // namespace megakernel
