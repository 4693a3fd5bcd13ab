// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// A model of health_tracker that keeps every slot's words and sorts. Nothing here knows the
// library.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>
#include <tuple>
#include <vector>

#include "oracle_errors.h"

namespace props::tracker {

struct stuck {
  std::int64_t since = 0;
  std::uint32_t index = 0;
  std::uint32_t samples = 0;
  std::array<std::uint32_t, 7> words{};
  friend bool operator==(const stuck&, const stuck&) = default;
};

/// A report, or a refusal: its name, index, found value and bound.
struct finding {
  std::string_view refused{};
  std::array<std::uint64_t, 3> figures{};
  std::string_view state{};
  std::uint64_t done = 0;
  std::uint64_t done_delta = 0;
  std::int64_t quiet = 0;
  std::uint32_t faults = 0;
  std::uint32_t outstanding = 0;
  std::uint32_t unauthorised = 0;
  std::uint32_t throttled = 0;
  std::optional<std::uint32_t> heartbeat{};
  std::vector<stuck> oldest{};
  std::size_t stuck_slots = 0;
  friend bool operator==(const finding&, const finding&) = default;
};

/// The rules, told plainly. `Memory` is a kernel's, in words: `control[i]`, and `slots`, each
/// of 16.
template <class Memory>
class model {
 public:
  explicit model(std::int64_t hold_time) : hold_time_(hold_time) {}

  finding observe(const Memory& m, std::int64_t at) {
    const auto word = [&m](std::size_t i) { return m.control[i]; };
    if (seen_ && m.slots.size() != slots_.size())
      return {.refused = "ring_resized", .figures = {0, m.slots.size(), slots_.size()}};
    const auto stamp = [](std::int64_t t) { return static_cast<std::uint64_t>(t < 0 ? 0 : t); };
    if (seen_ && at < last_sample_)
      return {.refused = "clock_regressed", .figures = {0, stamp(at), stamp(last_sample_)}};
    const auto total = extended(m);
    if (!total) {
      const bool high = word(141) == 1 && word(149) != 0;
      return {.refused = "done_count_regressed",
              .figures = {1, high ? std::uint64_t{word(149)} << 32 | word(1) : word(1),
                          high ? done_ : static_cast<std::uint32_t>(done_)}};
    }

    finding f;
    f.done = *total;
    f.done_delta = counted_ ? *total - done_ : 0;
    if (!counted_ || f.done_delta != 0) last_progress_ = at;
    const auto quiet = static_cast<unsigned __int128>(static_cast<__int128>(at) - last_progress_);
    f.quiet = static_cast<std::int64_t>(std::min<unsigned __int128>(quiet, INT64_MAX));
    const bool both_report = seen_ && word(141) == 1 && before_.control[141] == 1;
    if (both_report) f.heartbeat = word(142) - before_.control[142];
    const bool throttling = both_report && word(145) != before_.control[145];
    for (const auto& s : m.slots) {
      f.faults += s[0] == 7;
      const bool waits = s[0] == 1 || s[0] == 5 || s[0] == 6;
      f.outstanding += waits || s[0] == 2 || s[0] == 4;
      if (!waits) continue;
      const std::uint64_t mask = std::uint64_t{word(2)} + s[2];
      if (s[2] >= 29 || mask < 3 || mask >= 32 || word(mask) == 0) {
        ++f.unauthorised;
      } else if (throttling && word(32 + s[2]) == 0) {
        ++f.throttled;
      }
    }
    remember(m, at, f);
    f.state = judge(f, word(0) != 0);
    before_ = m;
    counted_ = true;
    done_ = *total;
    last_sample_ = at;
    seen_ = true;
    return f;
  }

  /// The next count is taken up as it is.
  void take_up_count() { counted_ = false; }

 private:
  struct known {
    std::array<std::uint32_t, 7> words{};
    std::uint32_t samples = 0;
    std::int64_t since = 0;
  };

  [[nodiscard]] std::optional<std::uint64_t> extended(const Memory& m) const {
    const std::uint32_t low = m.control[1];
    if (m.control[141] == 1 && m.control[149] != 0) {
      const std::uint64_t whole = std::uint64_t{m.control[149]} << 32 | low;
      if (!counted_ || whole >= done_) return whole;
      // The low half may have been read wrapped, before the high half moved.
      const std::uint64_t wrap = 4'294'967'296;
      if (whole > 0xFFFFFFFFFFFFFFFF - wrap || whole + wrap < done_) return std::nullopt;
      if (whole + wrap - done_ > 0x7FFFFFFF) return std::nullopt;
      return whole + wrap;
    }
    if (!counted_) return low;
    const std::uint32_t step = low - static_cast<std::uint32_t>(done_);
    if (step > 0x7FFFFFFF) return std::nullopt;
    return done_ + step;
  }

  void remember(const Memory& m, std::int64_t at, finding& f) {
    slots_.resize(m.slots.size());
    for (std::uint32_t i = 0; i < slots_.size(); ++i) {
      known& k = slots_[i];
      std::array<std::uint32_t, 7> now{};
      std::copy_n(m.slots[i].begin(), 7, now.begin());
      const std::uint32_t status = now[0];
      if (status == 0 || status == 3 || status >= 7) {
        k = {};
      } else if (k.samples != 0 && k.words == now) {
        ++k.samples;
      } else {
        k = {now, 1, at};
      }
      if (k.samples >= 2) f.oldest.push_back({k.since, i, k.samples, k.words});
    }
    f.stuck_slots = f.oldest.size();
    std::ranges::sort(f.oldest, {}, [](const stuck& s) { return std::tuple(s.since, s.index); });
    if (f.oldest.size() > 16) f.oldest.resize(16);
  }

  [[nodiscard]] std::string_view judge(const finding& f, bool shutdown) const {
    if (!counted_) return "watching";
    if (f.done_delta != 0) return "progressing";
    const bool alarm = f.quiet >= hold_time_;
    if (f.heartbeat == 0u && shutdown) return "stopped";
    if (f.heartbeat == 0u) return alarm ? "dead" : "watching";
    if (f.outstanding == 0) return "idle";
    if (!alarm) return "watching";
    return f.unauthorised + f.throttled == f.outstanding ? "blocked" : "stalled";
  }

  std::int64_t hold_time_;
  bool seen_ = false;
  bool counted_ = false;
  Memory before_{};
  std::vector<known> slots_;
  std::uint64_t done_ = 0;
  std::int64_t last_sample_ = 0;
  std::int64_t last_progress_ = 0;
};

/// The library's report, or its refusal.
template <class Report>
finding reported(const Report& r) {
  if (!r) {
    const auto& e = r.error();
    if (to_string(e.buffer) != oracle::buffer_of(to_string(e.code)))
      return {.refused = "of another buffer"};
    return {.refused = to_string(e.code), .figures = {e.index, e.found, e.bound}};
  }
  finding f{.state = to_string(r->state),
            .done = r->done,
            .done_delta = r->done_delta,
            .quiet = r->quiet.count(),
            .faults = r->fault_slots,
            .outstanding = r->outstanding_slots,
            .unauthorised = r->unauthorised_slots,
            .throttled = r->throttled_slots,
            .heartbeat = r->heartbeat_delta,
            .stuck_slots = r->stuck_slots};
  for (const auto& s : r->oldest) {
    f.oldest.push_back(
        {s.since.count(),
         s.slot.index,
         s.samples,
         {static_cast<std::uint32_t>(s.slot.status), static_cast<std::uint32_t>(s.slot.op),
          s.slot.tenant, static_cast<std::uint32_t>(s.slot.level), s.slot.arguments[0],
          s.slot.arguments[1], s.slot.arguments[2]}});
  }
  return f;
}

}  // namespace props::tracker
