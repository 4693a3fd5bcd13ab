module;
#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <expected>
#include <optional>
#include <span>
#include <tuple>
#include <utility>
module megakernel.decoder;
import megakernel.protocol;

namespace megakernel {
namespace {

using std::chrono::nanoseconds;
using namespace std::chrono_literals;

constexpr std::uint32_t page_slots = 32;
constexpr std::uint32_t looks_to_end = 2;       // without a symptom, until an alarm is given up
constexpr std::uint32_t looks_of_torn = 8;      // a slot that is busy is torn now and then
constexpr std::uint32_t looks_to_believe = 16;  // in a slot that may have turned over
constexpr double slow_share = 8;
constexpr std::uint32_t slow_windows = 3;
constexpr std::uint32_t backlog = 2;
constexpr std::uint64_t longest_step = std::uint64_t{1} << 31;

double seconds(nanoseconds d) noexcept { return std::chrono::duration<double>(d).count(); }

std::uint64_t count(nanoseconds d) noexcept {
  return static_cast<std::uint64_t>(std::max<nanoseconds::rep>(d.count(), 0));
}

std::uint64_t rounded(double rate) noexcept {
  constexpr double most = 1e18;
  return static_cast<std::uint64_t>(std::clamp(rate, 0.0, most) + 0.5);
}

template <std::size_t N>
void tally(short_list<concerned_key, N>& of, std::uint32_t key) noexcept {
  const auto at = std::ranges::find(of, key, &concerned_key::key);
  if (at != of.end()) {
    ++at->slots;
  } else {
    of.push({.key = key, .slots = 1});
  }
}

template <std::size_t From, std::size_t To>
void take_top(short_list<concerned_key, From> from, short_list<concerned_key, To>& to) noexcept {
  std::ranges::sort(from, std::ranges::greater{},
                    [](const concerned_key& k) { return std::pair(k.slots, ~k.key); });
  to.clear();
  for (const concerned_key& k : from) to.push(k);
}

/// Since the look before; a count that went back says nothing.
word step(word before, word now) noexcept { return now - before < longest_step ? now - before : 0; }

}  // namespace

void diagnostician::crowd::clear() noexcept {
  oldest.clear();
  slots = 0;
  tenants.clear();
  opcodes.clear();
}

void diagnostician::crowd::add(const slot_snapshot& slot, slot_age age, fault_code why) noexcept {
  ++slots;
  tally(tenants, slot.tenant);
  tally(opcodes, word(slot.op));
  const auto rank = [](const concerned_slot& s) { return std::tuple(s.since, s.slot.index); };
  const concerned_slot one{.slot = slot, .since = age.since, .looks = age.looks, .why = why};
  if (oldest.full()) {
    if (rank(one) >= rank(oldest[oldest.size() - 1])) return;
    oldest.pop();
  }
  oldest.push(one);
  for (std::size_t to = oldest.size() - 1; to > 0 && rank(oldest[to]) < rank(oldest[to - 1]); --to)
    std::swap(oldest[to], oldest[to - 1]);
}

void diagnostician::crowd::fill(finding& to) const noexcept {
  to.slots = oldest;
  to.slots_in_all = slots;
  take_top(tenants, to.tenants);
  take_top(opcodes, to.opcodes);
}

/// Whether the alarm stands; it may stand although the symptom is gone.
bool diagnostician::update(symptom& s, bool present, nanoseconds at, std::uint32_t looks,
                           nanoseconds patience) noexcept {
  if (present) {
    if (s.present == 0 && !s.raised) s.since = at;
    s.present += s.present != 0xFFFF'FFFFu;
    s.absent = 0;
    s.raised |= s.present >= looks && detail::elapsed(s.since, at) >= patience;
  } else {
    s.present = 0;
    if (s.raised && ++s.absent >= looks_to_end) s.raised = false;
  }
  return s.raised;
}

/// Whether a slot really is what it was, for the patience: where it may have turned over, its words
/// may be those of other work.
bool diagnostician::unchanged(slot_age age, std::uint32_t alike, std::uint32_t slots,
                              nanoseconds at) noexcept {
  if (age.looks < std::max(options_.looks, 2u)) return false;
  if (detail::elapsed(age.since, at) < options_.patience) return false;
  const nanoseconds from = std::max(age.since, told_apart_since_);
  if (from < at && detail::elapsed(from, at) >= options_.patience) return true;
  if (age.looks >= looks_to_believe && alike <= slots / 4) return true;
  doubtful_ = true;
  return false;
}

diagnostician::facts diagnostician::establish(const ring_telemetry& telemetry,
                                              nanoseconds at) noexcept {
  const control_snapshot& control = telemetry.control();
  const ring_occupancy& o = telemetry.occupancy();
  facts now{.first = looks_ == 0,
            .owed = o.active(),
            .claimed = o.claimed,
            .parked = o.wait_io,
            .faults = o.fault,
            .drained = health_.done_delta};
  if (!now.first) now.interval = detail::elapsed(last_look_, at);
  const auto report = control.report();
  const auto before = before_.report();
  if (report) now.lanes = report->workers_alive;
  if (report && before && !now.first) {
    now.faulted = step(before->faults, report->faults);
    now.heartbeat_still = health_.heartbeat_delta == word{0};
    if (report->throttled_seen != before->throttled_seen) {
      throttled_at_ = at;
      ever_throttled_ = true;
    }
  }
  now.ended = now.drained != 0 || now.faulted != 0;
  const std::uint64_t free = std::uint64_t{o.empty} + o.done;
  now.turned_over = now.ended && now.drained + now.faulted >= free;
  if (now.turned_over) told_apart_since_ = at;
  if (now.first) told_apart_since_ = last_ended_ = at;
  if (now.ended) {
    last_ended_ = at;
    ever_ended_ = true;
  }
  return now;
}

void diagnostician::sort_slots(const ring_telemetry& telemetry, nanoseconds at,
                               std::span<const std::byte> ring, facts& now) noexcept {
  for (crowd* c : {&rest_, &held_, &hung_slots_, &unauthorised_, &throttled_, &parked_, &faults_})
    c->clear();
  doubtful_ = false;
  const control_snapshot& control = telemetry.control();
  const std::span<const slot_snapshot> slots = telemetry.slots();
  const auto size = static_cast<std::uint32_t>(slots.size());
  const bool reasons = ring.size() == slots.size() * abi::slot_bytes;
  // A lane that sleeps does not look at every slot in every look's time.
  constexpr nanoseconds recently = 2s;
  const nanoseconds since_throttled = detail::elapsed(throttled_at_, at);
  const bool throttling =
      ever_throttled_ && (since_throttled <= recently || since_throttled / 2 <= options_.patience);
  for (const slot_snapshot& slot : slots) {
    if (slot.status == slot_status::fault) {
      const std::byte* const words = ring.data() + std::size_t{slot.index} * abi::slot_bytes;
      const fault_code why =
          reasons ? fault_code{load_word(words, abi::fault_code_word)} : fault_code::unreported;
      faults_.add(slot, {.since = at, .looks = 1}, why);
      continue;
    }
    if (!is_active(slot.status)) continue;
    const slot_age age = tracker_.age(slot.index);
    if (slot.status == slot_status::wait_io) {
      if (unchanged(age, now.parked, size, at)) parked_.add(slot, age);
      continue;
    }
    if (detail::waits_for_a_claim(slot.status)) {
      if (!control.authorises(slot.tenant)) {
        unauthorised_.add(slot, age);
        continue;
      }
      if (throttling && control.quotas()[slot.tenant] == 0) {
        throttled_.add(slot, age);
        continue;
      }
      ++now.claimable;
    } else {
      if (age.looks >= 2) held_.add(slot, age);
      if (unchanged(age, now.claimed, size, at)) hung_slots_.add(slot, age);
    }
    ++now.rest;
    rest_.add(slot, age);
  }
  now.in_handlers = now.lanes != 0 && held_.slots >= now.lanes;
  now.left = control.shutdown() && !now.first &&
             (health_.heartbeat_delta ? now.heartbeat_still && !now.in_handlers : !now.ended);
}

void diagnostician::follow_pages(const ring_telemetry& telemetry, nanoseconds at,
                                 std::span<const std::uint32_t> torn_pages) noexcept {
  torn_.clear();
  torn_pages_ = 0;
  auto torn = torn_pages.begin();
  for (std::uint32_t page = 0; page < pages_.size(); ++page) {
    while (torn != torn_pages.end() && *torn < page) ++torn;
    page_memory& known = pages_[page];
    if (torn == torn_pages.end() || *torn != page) {
      known.looks = 0;
      continue;
    }
    if (known.looks == 0) known.since = at.count();
    known.looks += known.looks != 0xFFFF'FFFFu;
    const slot_age age{.since = nanoseconds(known.since), .looks = known.looks};
    if (known.looks < looks_of_torn || detail::elapsed(age.since, at) < options_.patience) continue;
    ++torn_pages_;
    const std::size_t first = std::size_t{page} * page_slots;
    const std::span<const slot_snapshot> slots = telemetry.slots().subspan(first);
    for (const slot_snapshot& slot : slots.first(std::min<std::size_t>(page_slots, slots.size()))) {
      if (!is_known(slot.status)) torn_.add(slot, age);
    }
  }
}

/// Windows of the drain rate, and whether the last of them were slow.
void diagnostician::follow_rate(const facts& now, nanoseconds at) noexcept {
  constexpr nanoseconds window = 1s;
  constexpr double up = 1.0 / 4;
  constexpr double down = 1.0 / 16;
  constexpr double down_slowly = 1.0 / 64;
  const auto restart = [&] {
    window_began_ = at;
    window_ended_ = 0;
    window_backlog_ = true;
  };
  if (now.first || now.regressed_from != 0 || blind_now_) return restart();
  constexpr nanoseconds shortest = 1ms;
  if (now.interval >= shortest)
    fastest_ = std::max(fastest_, static_cast<double>(now.drained) / seconds(now.interval));
  window_ended_ += now.drained;
  window_backlog_ &= now.claimable >= backlog;
  const nanoseconds lasted = detail::elapsed(window_began_, at);
  if (lasted < std::max(window, options_.patience)) return;
  if (window_ended_ != 0) {  // or it is idle, or stalled
    pace_ = static_cast<double>(window_ended_) / seconds(lasted);
    const bool learned = windows_ >= slow_windows;
    const bool low = learned && window_backlog_ && pace_ < usual_ / slow_share;
    update(slow_, low, at, slow_windows, 0ns);
    const double weight = low ? down_slowly : pace_ > usual_ ? up : down;
    usual_ = windows_ == 0 ? pace_ : usual_ + weight * (pace_ - usual_);
    windows_ += windows_ != 0xFFFF'FFFFu;
  } else {
    update(slow_, false, at, slow_windows, 0ns);
  }
  restart();
}

finding diagnostician::base(const facts& now, nanoseconds at) noexcept {
  finding of;
  if (now.first) {
    of.what = ailment::too_early;
  } else if (now.left) {
    of.what = ailment::stopped;
  } else if (now.owed == 0) {
    of.what = ailment::idle;
  } else if (now.ended || (ever_ended_ && detail::elapsed(last_ended_, at) < options_.patience)) {
    of.what = ailment::healthy;
  } else {
    of.what = ailment::too_early;
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
  const auto judge = [&](symptom& s, bool present, std::uint32_t looks, nanoseconds wait,
                         ailment what, remedy what_to_try, const auto& describe) {
    if (!update(s, present, at, looks, wait)) return;
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
      if (!f.slots.empty()) lasts.found = count(detail::elapsed(f.slots[0].since, at));
      f.evidence.push(lasts);
    });
  };
  const std::uint32_t looks = options_.looks;

  const bool still = now.heartbeat_still && !now.ended && !now.left;
  const bool dead = still && !now.in_handlers;
  judge(dead_, dead, looks, patience, ailment::dead, remedy::relaunch, [&](finding& f) {
    f.evidence.push({.what = measure::heartbeats, .found = 0});
    f.evidence.push(held_for(dead_));
    f.evidence.push({.what = measure::owed_slots, .found = now.owed});
    f.evidence.push({.what = measure::lanes, .found = now.lanes});
    (held_.slots != 0 ? held_ : rest_).fill(f);
  });
  judge(stalled_, now.rest != 0 && !now.ended && !now.first && !now.left && !dead, looks, patience,
        ailment::stalled, held_.slots != 0 ? remedy::find_the_handler : remedy::find_the_claim,
        [&](finding& f) {
          f.evidence.push({.what = measure::owed_slots, .found = now.owed});
          f.evidence.push(held_for(stalled_));
          f.evidence.push({.what = measure::held_slots,
                           .found = held_.slots,
                           .against = measure::lanes,
                           .bound = now.lanes});
          (held_.slots != 0 ? held_ : rest_).fill(f);
        });
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
          f.evidence.push({.what = measure::longest_step, .found = longest_step});
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

  judge(hung_, hung_slots_.slots != 0 && !now.left && !stands, 1, 0ns, ailment::stalled,
        remedy::find_the_handler, [&](finding& f) {
          f.whole = false;
          hung_slots_.fill(f);
          const nanoseconds longest = f.slots.empty() ? 0ns : detail::elapsed(f.slots[0].since, at);
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
          const nanoseconds longest = f.slots.empty() ? 0ns : detail::elapsed(f.slots[0].since, at);
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

result<diagnosis> diagnostician::look(const ring_telemetry& telemetry, nanoseconds at,
                                      std::span<const std::uint32_t> torn_pages,
                                      std::span<const std::byte> ring) noexcept {
  if (looks_ == 0) {
    const std::size_t pages = (telemetry.slots().size() + page_slots - 1) / page_slots;
    if (auto sized = pages_.resize_for_overwrite(pages); !sized)
      return std::unexpected(sized.error());
    pages_.fill_zero();
  }
  auto seen = tracker_.look(telemetry, at);
  std::uint64_t regressed_from = 0;
  if (!seen && seen.error().code == error_code::done_count_regressed) {
    regressed_from = std::max<std::uint64_t>(health_.done, 1);
    tracker_.take_up_count();
    seen = tracker_.look(telemetry, at);
  }
  if (!seen) return std::unexpected(seen.error());
  health_ = *seen;

  facts now = establish(telemetry, at);
  const auto report = telemetry.control().report();
  const bool halves = report && report->done_count_high != 0;
  blind_now_ = !now.first && !halves &&
               seconds(now.interval) * fastest_ >= static_cast<double>(longest_step);
  if (!blind_now_) now.regressed_from = regressed_from;
  sort_slots(telemetry, at, ring, now);
  follow_pages(telemetry, at, torn_pages);
  follow_rate(now, at);
  diagnosis made{.at = at, .look = looks_};
  conclude(now, at, made);

  before_ = telemetry.control();
  last_look_ = at;
  ++looks_;
  return made;
}

}  // namespace megakernel
