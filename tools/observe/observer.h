// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include "standard.h"

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <expected>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "observe/frame.h"
#include "observe/histogram.h"
#include "observe/inspect.h"
#include "observe/recommend.h"

import megakernel;

/// Frames, one after the other -> what a person wants to know of each: plain values, which the
/// view, the report, the trace and the lines only write down.
namespace megakernel::tool {

struct tenant_observation {
  std::uint32_t tenant = 0;
  std::uint32_t outstanding = 0;  ///< slots
  std::uint32_t faulted = 0;      ///< slots
  std::uint64_t claims = 0;       ///< since the first frame, of all tenants with its number mod 32
  double claims_per_second = 0;   ///< of the interval
  bool authorised = false;
  std::optional<word> quota{};        ///< tokens left; tenants over 31 have none
  std::chrono::nanoseconds oldest{};  ///< how long its longest unchanged slot has been outstanding
  /// The counts of the publishers; absent where the frame has none.
  std::optional<double> demand_per_second{};
  std::optional<double> served_per_second{};
  std::optional<std::uint64_t> mean_wait{};  ///< nanoseconds, of the interval
};

struct opcode_observation {
  opcode op{};
  std::uint32_t slots = 0;
  std::uint32_t outstanding = 0;
  std::uint32_t faulted = 0;
  std::optional<double> claims_per_second{};  ///< opcodes over 31 have no metric
};

struct fault_observation {
  std::uint32_t slot = 0;
  opcode op{};
  std::uint32_t tenant = 0;
  fault_code why = fault_code::unreported;
  std::array<word, 3> arguments{};
};

/// One sample of a ring, and what came since the sample before it: of a live run and of a frame.
struct ring_observation {
  std::chrono::nanoseconds at{};        ///< since the load began; of a frame: as the frame says
  std::chrono::nanoseconds interval{};  ///< since the sample before; zero for the first
  kernel_state state = kernel_state::idle;
  megakernel::diagnosis diagnosis{};
  health_report health{};           ///< its `oldest` is empty: see `stuck`
  std::vector<stuck_slot> stuck{};  ///< longest first
  ring_occupancy occupancy{};
  runtime_counters counters{};
  std::optional<std::uint64_t> accepted{};  ///< slots, so far; where publishers are known
  double done_per_second = 0;               ///< slots, of the interval
  std::optional<quantiles> latency{};       ///< of publications that finished in the interval; ns
  std::size_t torn_pages = 0;
  launch_advice advice{};  ///< for the ring as it stands
};

/// All that the ring and the judgement say: without `accepted`, `latency` and `torn_pages`.
[[nodiscard]] ring_observation observe_ring(const ring_summary& ring, const diagnosis& diagnosed,
                                            const health_report& health,
                                            std::chrono::nanoseconds at,
                                            std::chrono::nanoseconds interval);

/// Of an interval; zero where the interval is.
[[nodiscard]] double per_second(std::uint64_t count, std::chrono::nanoseconds interval) noexcept;

/// One frame.
struct observation : ring_observation {
  std::uint64_t number = 0;  ///< of the frame, from 0
  std::chrono::system_clock::time_point wall{};
  std::optional<kernel_report> report{};  ///< where the kernel reports
  word epoch = 0;
  bool shutdown = false;
  double jain_of_claims = 1;  ///< of claims in the interval by tenants that owe or claimed
  std::optional<double> jain_of_wait{};  ///< of mean waits in the interval
  std::vector<tenant_observation>
      tenants{};  ///< most outstanding first, then most claims, then by number
  std::vector<opcode_observation>
      opcodes{};  ///< most outstanding first, then most slots, then by number
  std::vector<window_telemetry> windows{};  ///< active ones, by (ticket, opcode); at most 64
  std::uint32_t active_windows = 0;
  std::vector<fault_observation> faults{};  ///< at most 64, by slot
};

/// Follows one source of frames.
class observer {
 public:
  /// `hold_time`: how long nothing may be drained before an alarm. The error is a sentence.
  [[nodiscard]] static std::expected<observer, std::string> make(
      std::span<const opcode> windows, std::chrono::nanoseconds hold_time);

  /// The error is a sentence; then the observer has not changed, and the next frame may do.
  /// O(slots log slots).
  [[nodiscard]] std::expected<observation, std::string> observe(const frame& seen);

 private:
  observer(std::vector<opcode> windows, std::chrono::nanoseconds hold_time)
      : windows_(std::move(windows)), doctor_({.hold_time = hold_time}) {}
  void add_tenants(const inspection& found, const frame& seen, observation& to) const;
  void add_opcodes(const inspection& found, observation& to) const;
  void remember(const inspection& found, const frame& seen);

  std::vector<opcode> windows_;
  diagnostician doctor_;
  ring_telemetry telemetry_;
  control_snapshot before_;
  std::optional<publisher_totals> totals_before_;
  std::array<std::uint64_t, abi::tenant_fairness_counters> claims_{};
  std::chrono::nanoseconds at_{};
  std::uint64_t frames_ = 0;
};

/// (sum x)^2 / (n sum x^2): 1 when all are equal, 1/n when one has everything.
[[nodiscard]] double jain_index(std::span<const double> values) noexcept;

}  // namespace megakernel::tool
