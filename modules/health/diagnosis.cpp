// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
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
module megakernel.health;
import megakernel.decoder;
import megakernel.protocol;

namespace megakernel {
namespace {

using std::chrono::nanoseconds;
using namespace std::chrono_literals;

constexpr std::uint32_t page_slots = 32;
constexpr std::uint32_t samples_of_torn = 8;      // a slot that is busy is torn now and then
constexpr std::uint32_t samples_to_believe = 16;  // in a slot that may have turned over
constexpr double slow_share = 8;
constexpr std::uint32_t slow_windows = 3;
constexpr std::uint32_t backlog = 2;

double seconds(nanoseconds d) noexcept { return std::chrono::duration<double>(d).count(); }

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

fault_code fault_code_of(std::span<const std::byte> ring, std::uint32_t slot) noexcept {
  const std::byte* const words = ring.data() + std::size_t{slot} * abi::slot_bytes;
  return fault_code{load_word(words, abi::fault_code_word)};
}

/// Since the sample before; a count that went back says nothing.
word step(word before, word now) noexcept {
  return now - before < detail::longest_step ? now - before : 0;
}

}  // namespace

void diagnostician::slot_group::clear() noexcept {
  oldest.clear();
  slots = 0;
  tenants.clear();
  opcodes.clear();
}

void diagnostician::slot_group::add(const slot_snapshot& slot, slot_age age,
                                    fault_code why) noexcept {
  ++slots;
  tally(tenants, slot.tenant);
  tally(opcodes, word(slot.op));
  const auto rank = [](const concerned_slot& s) { return std::tuple(s.since, s.slot.index); };
  const concerned_slot one{.slot = slot, .since = age.since, .samples = age.samples, .why = why};
  if (oldest.full()) {
    if (rank(one) >= rank(oldest[oldest.size() - 1])) return;
    oldest.pop();
  }
  oldest.push(one);
  for (std::size_t to = oldest.size() - 1; to > 0 && rank(oldest[to]) < rank(oldest[to - 1]); --to)
    std::swap(oldest[to], oldest[to - 1]);
}

void diagnostician::slot_group::fill(finding& to) const noexcept {
  to.slots = oldest;
  to.slots_in_all = slots;
  take_top(tenants, to.tenants);
  take_top(opcodes, to.opcodes);
}

/// Whether a slot really is what it was, for the hold time: where it may have turned over, its
/// words may be those of other work.
bool diagnostician::unchanged(slot_age age, std::uint32_t alike, std::uint32_t slots,
                              nanoseconds at) noexcept {
  if (age.samples < std::max(options_.samples, 2u)) return false;
  if (detail::elapsed(age.since, at) < options_.hold_time) return false;
  const nanoseconds from = std::max(age.since, told_apart_since_);
  if (from < at && detail::elapsed(from, at) >= options_.hold_time) return true;
  if (age.samples >= samples_to_believe && alike <= slots / 4) return true;
  doubtful_ = true;
  return false;
}

diagnostician::facts diagnostician::establish(const ring_telemetry& telemetry,
                                              nanoseconds at) noexcept {
  const control_snapshot& control = telemetry.control();
  const ring_occupancy& o = telemetry.occupancy();
  facts now{.first = samples_ == 0,
            .outstanding = o.active(),
            .claimed = o.claimed,
            .parked = o.wait_io,
            .faults = o.fault,
            .drained = health_.done_delta};
  if (!now.first) now.interval = detail::elapsed(last_sample_, at);
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
  now.turned_over = now.ended && (now.drained >= free || now.drained + now.faulted >= free);
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
  for (slot_group* c :
       {&rest_, &held_, &hung_slots_, &unauthorised_, &throttled_, &parked_, &faults_})
    c->clear();
  doubtful_ = false;
  const control_snapshot& control = telemetry.control();
  const std::span<const slot_snapshot> slots = telemetry.slots();
  const auto size = static_cast<std::uint32_t>(slots.size());
  const bool reasons = ring.size() == slots.size() * abi::slot_bytes;
  // A lane that sleeps does not look at every slot in every sample's time.
  constexpr nanoseconds recently = 2s;
  const nanoseconds since_throttled = detail::elapsed(throttled_at_, at);
  const bool throttling =
      ever_throttled_ && (since_throttled <= recently || since_throttled / 2 <= options_.hold_time);
  for (const slot_snapshot& slot : slots) {
    if (slot.status == slot_status::fault) {
      const fault_code why = reasons ? fault_code_of(ring, slot.index) : fault_code::unreported;
      faults_.add(slot, {.since = at, .samples = 1}, why);
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
      if (age.samples >= 2) held_.add(slot, age);
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
      known.samples = 0;
      continue;
    }
    if (known.samples == 0) known.since = at.count();
    known.samples += known.samples != 0xFFFF'FFFFu;
    const slot_age age{.since = nanoseconds(known.since), .samples = known.samples};
    if (known.samples < samples_of_torn || detail::elapsed(age.since, at) < options_.hold_time)
      continue;
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
  if (lasted < std::max(window, options_.hold_time)) return;
  if (window_ended_ != 0) {  // or it is idle, or stalled
    pace_ = static_cast<double>(window_ended_) / seconds(lasted);
    const bool learned = windows_ >= slow_windows;
    const bool low = learned && window_backlog_ && pace_ < usual_ / slow_share;
    update(slow_, low, window_began_, at, slow_windows, 0ns);
    const double weight = low ? down_slowly : pace_ > usual_ ? up : down;
    usual_ = windows_ == 0 ? pace_ : usual_ + weight * (pace_ - usual_);
    windows_ += windows_ != 0xFFFF'FFFFu;
  } else {
    update(slow_, false, at, at, slow_windows, 0ns);
  }
  restart();
}

result<diagnosis> diagnostician::observe(const ring_telemetry& telemetry, nanoseconds at,
                                         std::span<const std::uint32_t> torn_pages,
                                         std::span<const std::byte> ring) noexcept {
  if (samples_ == 0) {
    const std::size_t pages = (telemetry.slots().size() + page_slots - 1) / page_slots;
    if (auto sized = pages_.resize_for_overwrite(pages); !sized)
      return std::unexpected(sized.error());
    pages_.fill_zero();
  }
  auto seen = tracker_.observe(telemetry, at);
  std::uint64_t regressed_from = 0;
  if (!seen && seen.error().code == error_code::done_count_regressed) {
    regressed_from = std::max<std::uint64_t>(health_.done, 1);
    tracker_.take_up_count();
    seen = tracker_.observe(telemetry, at);
  }
  if (!seen) return std::unexpected(seen.error());
  health_ = *seen;

  facts now = establish(telemetry, at);
  const auto report = telemetry.control().report();
  const bool halves = report && report->done_count_high != 0;
  blind_now_ = !now.first && !halves &&
               seconds(now.interval) * fastest_ >= static_cast<double>(detail::longest_step);
  if (!blind_now_) now.regressed_from = regressed_from;
  sort_slots(telemetry, at, ring, now);
  follow_pages(telemetry, at, torn_pages);
  follow_rate(now, at);
  diagnosis made{.at = at, .sample = samples_};
  conclude(now, at, made);

  before_ = telemetry.control();
  rest_before_ = now.rest != 0;
  last_sample_ = at;
  ++samples_;
  return made;
}

}  // namespace megakernel
