// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include "standard.h"

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "observe/frame.h"
#include "observe/histogram.h"
#include "observe/inspect.h"
#include "observe/observer.h"
#include "observe/timeline.h"

import megakernel;

/// Observations, one after the other -> what is to be said of all of them together: plain values,
/// bounded however many there were, which the page and the trace only write down.
namespace megakernel::tool {

/// Where the series of a report's timeline are.
namespace report_series {
inline constexpr std::size_t tracked = 32;  ///< tenants and opcodes that have a counter
inline constexpr std::size_t state =
    0;  ///< a `kernel_state`: of the samples that share a column, the gravest
inline constexpr std::size_t status = 1;  ///< nine, in the order of `status_names`; slots
inline constexpr std::size_t statuses = 9;
inline constexpr std::size_t outstanding = status + statuses;  ///< slots
inline constexpr std::size_t done = outstanding + 1;           ///< slots a second
inline constexpr std::size_t accepted = done + 1;              ///< slots a second
inline constexpr std::size_t latency = accepted + 1;           ///< p50, p90, p99, max; nanoseconds
inline constexpr std::size_t latencies = 4;
inline constexpr std::size_t jain_of_claims = latency + latencies;
inline constexpr std::size_t jain_of_wait = jain_of_claims + 1;
inline constexpr std::size_t windows = jain_of_wait + 1;   ///< active ones
inline constexpr std::size_t faults = windows + 1;         ///< slots in FAULT
inline constexpr std::size_t torn_pages = faults + 1;      ///< of 32 slots
inline constexpr std::size_t tenants = torn_pages + 1;     ///< slots or claims a second
inline constexpr std::size_t opcodes = tenants + tracked;  ///< claims a second
inline constexpr std::size_t count = opcodes + tracked;

/// As the stack of a plot has them, from below.
inline constexpr std::array<std::string_view, statuses> status_names{
    "fault", "unknown", "claimed", "wait_io", "yield", "requeue", "published", "done", "empty"};
inline constexpr std::size_t outstanding_statuses =
    7;  ///< of those, the first that somebody waits for
inline constexpr std::array<std::string_view, latencies> latency_names{"p50", "p90", "p99", "max"};
}  // namespace report_series

/// How long something was there: from the sample that saw it first until the first that did not.
struct seen_span {
  std::chrono::nanoseconds from{};
  std::chrono::nanoseconds to{};
  std::uint64_t samples = 0;
  bool lasts = false;  ///< the last sample saw it, too
  [[nodiscard]] std::chrono::nanoseconds length() const noexcept { return to - from; }
};
struct window_span : seen_span {
  window_telemetry window{};  ///< as it was seen last
};
struct stuck_span : seen_span {
  slot_snapshot slot{};
};
struct alarm_span : seen_span {
  kernel_state state{};
  std::uint32_t outstanding = 0;  ///< slots, at its last sample
};

struct fault_event {
  std::chrono::nanoseconds at{};  ///< of the sample that saw it first
  fault_observation what{};
  bool before = false;  ///< the first sample found it: it is older
};

struct tenant_total {
  std::uint32_t tenant = 0;
  bool authorised = false;
  std::uint64_t claims = 0;       ///< of all tenants with its number mod 32
  std::uint32_t outstanding = 0;  ///< slots, at the last sample
  std::uint32_t most_outstanding = 0;
  std::uint32_t faulted = 0;  ///< slots, at the last sample
  /// The counts of the publishers, since the load began.
  std::optional<publisher_totals::tenant> published{};
};

struct opcode_total {
  opcode op{};
  double claims = 0;  ///< since the first sample; opcodes over 31 have none
  std::uint32_t slots = 0;
  std::uint32_t outstanding = 0;  ///< both at the last sample that had it
  std::uint32_t most_outstanding = 0;
  std::uint32_t faulted = 0;
};

/// The facts of a source of frames.
struct report_source {
  std::string name;                                          ///< of a file
  std::vector<std::pair<std::string, std::string>> about{};  ///< "device", "CPU, 2 workers"...
  std::vector<std::string> warnings{};                       ///< a cut file, frames left out...
};

/// Spans are longest first, then by time; alarms and faults by time.
struct report {
  explicit report(std::size_t most_columns) : line(report_series::count, most_columns) {}

  report_source source{};
  timeline line;
  std::uint64_t samples = 0;
  std::optional<observation> first{};
  std::optional<observation> last{};
  std::chrono::nanoseconds longest_gap{};  ///< between two samples
  std::uint64_t samples_with_torn_pages = 0;
  std::array<std::chrono::nanoseconds, kernel_states> time_in{};
  std::uint64_t done = 0;  ///< slots, between the first sample and the last
  std::uint32_t most_outstanding = 0;
  std::chrono::nanoseconds most_outstanding_at{};
  std::vector<alarm_span> alarms{};  ///< at most 256
  std::uint64_t alarms_in_all = 0;
  std::vector<fault_event> faults{};  ///< at most 256
  std::uint64_t faults_in_all = 0;
  std::vector<window_span> windows{};
  std::uint64_t windows_in_all = 0;
  std::vector<stuck_span> stuck{};
  std::uint64_t stuck_in_all = 0;
  std::vector<tenant_total> tenants{};  ///< most served or claimed first, then by number
  std::uint64_t tenants_left_out = 0;
  std::vector<opcode_total> opcodes{};  ///< most claims first, then most slots, then by number
  std::uint64_t opcodes_left_out = 0;
  std::optional<publisher_totals> publishers{};  ///< of the last sample
  std::optional<double> jain_of_service{};       ///< of served by demand
  std::optional<double> jain_of_wait{};          ///< of the mean waits
  double jain_of_claims = 1;  ///< of claims, tenants that had any or are outstanding

  /// Between the first sample and the last.
  [[nodiscard]] std::chrono::nanoseconds length() const noexcept {
    return samples == 0 ? std::chrono::nanoseconds{} : last->at - first->at;
  }
};

/// How much of it is kept.
struct report_limits {
  std::size_t columns = 400;
  std::size_t windows = 64;
  std::size_t stuck = 64;
};

class report_builder {
 public:
  explicit report_builder(const report_limits& limits) : limits_(limits), report_(limits.columns) {}

  /// `publishers` may be null. O(what `seen` lists).
  void add(const observation& seen, const publisher_totals* publishers);
  /// The whole report; nothing may be added any more.
  [[nodiscard]] report finish(report_source source);

 private:
  void add_values(const observation& seen);
  void add_alarm(const observation& seen);
  void add_faults(const observation& seen);
  void add_windows(const observation& seen);
  void add_stuck(const observation& seen);
  void add_tenants(const observation& seen);
  void add_opcodes(const observation& seen);
  void keep(window_span span);
  void keep(stuck_span span);
  void finish_fairness();

  report_limits limits_;
  report report_;
  std::optional<alarm_span> alarm_;
  std::vector<fault_observation> faults_before_;
  std::map<std::pair<word, word>, window_span> windows_now_;
  std::map<std::uint32_t, stuck_span> stuck_now_;
  std::map<std::uint32_t, tenant_total> tenants_;
  std::map<word, opcode_total> opcodes_;
};

}  // namespace megakernel::tool
