// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
module;
#include <algorithm>
#include <array>
#include <bit>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <expected>
#include <optional>
#include <span>
#include <string_view>
#include <tuple>
module megakernel.health;
import megakernel.decoder;
import megakernel.protocol;

namespace megakernel {
namespace {

std::unexpected<error> regressed(std::uint64_t found, std::uint64_t bound) noexcept {
  return std::unexpected(error{.code = error_code::done_count_regressed,
                               .buffer = buffer::control,
                               .index = abi::done_count_word,
                               .found = found,
                               .bound = bound});
}

std::uint32_t fingerprint(const slot_snapshot& slot) noexcept {
  auto words = std::bit_cast<std::array<word, 8>>(slot);
  std::uint64_t hash = 0;
  for (const word w : words) hash = (std::rotl(hash, 23) ^ w) * 0x9E37'79B9'7F4A'7C15u;
  return static_cast<std::uint32_t>(hash >> 32);
}

std::uint64_t not_negative(std::chrono::nanoseconds stamp) noexcept {
  return static_cast<std::uint64_t>(std::max(stamp.count(), std::chrono::nanoseconds::rep{0}));
}

}  // namespace

// docs/protocol.md#health-delta
result<health_delta> health_since(const ring_summary& previous,
                                  const ring_summary& current) noexcept {
  const word before = previous.control().done_count();
  const word now = current.control().done_count();
  if (now < before) return regressed(now, before);
  const runtime_counters counters = current.counters();
  return health_delta{
      .done_delta = now - before,
      .queue_depth = counters.queue_depth,
      .fault_slots = counters.fault_slots,
      .requeue_slots = counters.requeue_slots,
      .gpu_idle_ppm = counters.gpu_idle_ppm,
      .suspected_stall = counters.queue_depth > 0 && now == before && counters.fault_slots == 0};
}

// docs/protocol.md#done-count-64
result<std::uint64_t> health_tracker::extend(const control_snapshot& control) const noexcept {
  const word low = control.done_count();
  if (const auto report = control.report(); report && report->done_count_high != 0) {
    const std::uint64_t whole = std::uint64_t{report->done_count_high} << 32 | low;
    if (!counted_ || whole >= done_) return whole;
    // The halves are two words: the low one can be seen wrapped before the high one has moved.
    std::uint64_t carried = 0;
    const bool overflows = __builtin_add_overflow(whole, std::uint64_t{1} << 32, &carried);
    if (overflows || carried - done_ >= 1u << 31) return regressed(whole, done_);
    return carried;
  }
  if (!counted_) return low;
  const word step = low - static_cast<word>(done_);
  if (step >= 1u << 31) return regressed(low, static_cast<word>(done_));
  return done_ + step;
}

void health_tracker::remember(const ring_telemetry& telemetry,
                              std::chrono::nanoseconds at) noexcept {
  const auto slots = telemetry.slots();
  for (std::size_t i = 0; i < slots.size(); ++i) {
    memory& known = slots_[i];
    const std::uint32_t seen = fingerprint(slots[i]);
    if (!is_active(slots[i].status)) {
      known.samples = 0;
    } else if (known.samples != 0 && known.fingerprint == seen) {
      known.samples += known.samples != 0xFFFF'FFFFu;
    } else {
      known = {.fingerprint = seen, .samples = 1, .since = at.count()};
    }
  }
}

void health_tracker::name_oldest(const ring_telemetry& telemetry, health_report& report) noexcept {
  oldest_.clear();
  const auto age = [](const stuck_slot& s) { return std::tuple(s.since, s.slot.index); };
  for (std::size_t i = 0; i < slots_.size(); ++i) {
    if (slots_[i].samples < 2) continue;
    ++report.stuck_slots;
    const stuck_slot candidate{.slot = telemetry.slots()[i],
                               .since = std::chrono::nanoseconds(slots_[i].since),
                               .samples = slots_[i].samples};
    if (oldest_.size() == most_named) {
      if (age(candidate) >= age(oldest_[most_named - 1])) continue;
      oldest_.set_size(most_named - 1);
    }
    oldest_.set_size(oldest_.size() + 1);
    std::size_t to = oldest_.size() - 1;
    for (; to > 0 && age(candidate) < age(oldest_[to - 1]); --to) oldest_[to] = oldest_[to - 1];
    oldest_[to] = candidate;
  }
  report.oldest = {oldest_.data(), oldest_.size()};
}

void health_tracker::count_blocked(const ring_telemetry& telemetry,
                                   health_report& report) const noexcept {
  const control_snapshot& control = telemetry.control();
  const auto now = control.report();
  const auto before = control_.report();
  const bool throttling = now && before && now->throttled_seen != before->throttled_seen;
  for (const slot_snapshot& slot : telemetry.slots()) {
    if (!detail::waits_for_a_claim(slot.status)) continue;
    if (!control.authorises(slot.tenant)) {
      ++report.unauthorised_slots;
    } else if (throttling && control.quotas()[slot.tenant] == 0) {
      ++report.throttled_slots;
    }
  }
}

// docs/protocol.md#health-tracker
kernel_state health_tracker::judge(const control_snapshot& control,
                                   const health_report& report) const noexcept {
  if (!counted_) return kernel_state::watching;
  if (report.done_delta != 0) return kernel_state::progressing;
  const bool patient = report.quiet < hold_time_;
  if (report.heartbeat_delta == word{0}) {
    if (control.shutdown()) return kernel_state::stopped;
    return patient ? kernel_state::watching : kernel_state::dead;
  }
  if (report.outstanding_slots == 0) return kernel_state::idle;
  if (patient) return kernel_state::watching;
  const std::uint32_t blocked = report.unauthorised_slots + report.throttled_slots;
  return blocked == report.outstanding_slots ? kernel_state::blocked : kernel_state::stalled;
}

result<health_report> health_tracker::observe(const ring_telemetry& telemetry,
                                              std::chrono::nanoseconds at) noexcept {
  const std::size_t slots = telemetry.slots().size();
  if (samples_ == 0) {
    if (auto sized = slots_.resize_for_overwrite(slots); !sized)
      return std::unexpected(sized.error());
    if (auto sized = oldest_.resize_for_overwrite(most_named); !sized)
      return std::unexpected(sized.error());
    slots_.fill_zero();
  }
  if (slots != slots_.size()) {
    return std::unexpected(error{.code = error_code::ring_resized,
                                 .buffer = buffer::ring,
                                 .found = slots,
                                 .bound = slots_.size()});
  }
  if (samples_ != 0 && at < last_sample_) {
    return std::unexpected(error{.code = error_code::clock_regressed,
                                 .found = not_negative(at),
                                 .bound = not_negative(last_sample_)});
  }
  const control_snapshot& control = telemetry.control();
  const auto done = extend(control);
  if (!done) return std::unexpected(done.error());

  health_report report{.done = *done,
                       .done_delta = counted_ ? *done - done_ : 0,
                       .fault_slots = telemetry.occupancy().fault,
                       .outstanding_slots = telemetry.occupancy().active()};
  if (!counted_ || report.done_delta != 0) last_progress_ = at;
  report.quiet = detail::elapsed(last_progress_, at);
  if (const auto now = control.report(), before = control_.report(); samples_ != 0 && now && before)
    report.heartbeat_delta = now->heartbeat - before->heartbeat;
  count_blocked(telemetry, report);
  remember(telemetry, at);
  name_oldest(telemetry, report);
  report.state = judge(control, report);

  control_ = control;
  done_ = *done;
  counted_ = true;
  last_sample_ = at;
  samples_ += samples_ != 0xFFFF'FFFFu;
  return report;
}

}  // namespace megakernel
