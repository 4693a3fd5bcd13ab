// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
module;
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <expected>
#include <optional>
#include <span>
#include <string_view>
export module megakernel.health:tracker;
import megakernel.decoder;
import megakernel.protocol;
import :state;

export namespace megakernel {

/// The changes between two snapshots of one launch. docs/protocol.md#health-delta
struct health_delta {
  word done_delta = 0;
  std::uint32_t queue_depth = 0;
  std::uint32_t fault_slots = 0;
  std::uint32_t requeue_slots = 0;
  std::uint32_t gpu_idle_ppm = 0;
  bool suspected_stall = false;  ///< work queued, none done, no fault
  friend constexpr bool operator==(const health_delta&, const health_delta&) = default;
};

/// Compares two snapshots. Error: `done_count_regressed`. O(1).
[[nodiscard]] result<health_delta> health_since(const ring_summary& previous,
                                                const ring_summary& current) noexcept;

/// A slot that is outstanding and has not changed for a while.
struct stuck_slot {
  slot_snapshot slot{};
  std::chrono::nanoseconds since{};  ///< time stamp of the first sample that saw it so
  std::uint32_t samples = 0;         ///< how many samples in a row saw it so
};

/// How long a slot has been as it is.
struct slot_age {
  std::chrono::nanoseconds since{};  ///< time stamp of the first sample that saw it so
  std::uint32_t samples = 0;         ///< samples in a row that saw it so; 0: it is not outstanding
};

/// One sample's findings. The span lives until the tracker's next sample.
struct health_report {
  kernel_state state = kernel_state::watching;  ///< neither `busy` nor `faulted`
  std::uint64_t done = 0;                       ///< done count, extended to 64 bits
  std::uint64_t done_delta = 0;                 ///< since the last sample
  std::chrono::nanoseconds quiet{};             ///< since a sample last saw the done count move
  std::uint32_t fault_slots = 0;                ///< reported beside the state: it hides no stall
  std::uint32_t outstanding_slots = 0;          ///< active ones
  std::uint32_t unauthorised_slots = 0;         ///< of those, waiting for a mask
  std::uint32_t throttled_slots = 0;            ///< of those, waiting for a token
  std::optional<word> heartbeat_delta{};        ///< when the kernel reports one
  /// Outstanding slots seen unchanged in two samples or more, longest first, then by index.
  std::span<const stuck_slot> oldest{};
  std::uint32_t stuck_slots = 0;  ///< how many there are; `oldest` is the top of them
};

/// Follows one ring over many snapshots. docs/protocol.md#health-tracker
///
/// The wrapping done count is extended to 64 bits, from DONE_COUNT_HIGH where it is reported, also
/// when its halves were read torn, else by taking a step of less than 2^31 as progress: look at
/// least that often. A slot counts as
/// unchanged when a 32-bit hash of its first seven words is; work that was drained and published
/// again with equal words between two samples cannot be told from work that never moved.
class health_tracker {
 public:
  /// `hold_time`: how long the done count must stand still before an alarm.
  explicit health_tracker(std::chrono::nanoseconds hold_time = {}) noexcept
      : hold_time_(hold_time) {}

  /// Takes a snapshot stamped with a monotonic clock of the caller's. Errors: `ring_resized`,
  /// `clock_regressed`, `done_count_regressed`, `out_of_memory`; then nothing has changed.
  /// O(slots); allocates 16 bytes a slot at the first sample only.
  [[nodiscard]] result<health_report> observe(const ring_telemetry& telemetry,
                                              std::chrono::nanoseconds at) noexcept;

  /// After `done_count_regressed`: the next sample takes up the count it finds, whatever it was
  /// before, and is `watching`. What is known of the slots stays.
  void take_up_count() noexcept { counted_ = false; }

  /// Of slot `index` of the ring that the last sample saw. O(1).
  [[nodiscard]] slot_age age(std::uint32_t index) const noexcept {
    const memory& known = slots_[index];
    return {.since = std::chrono::nanoseconds(known.since), .samples = known.samples};
  }

 private:
  struct memory {
    std::uint32_t fingerprint;
    std::uint32_t samples;  // zero: not outstanding at the last sample
    std::int64_t since;
  };
  static constexpr std::size_t most_named = 16;

  [[nodiscard]] result<std::uint64_t> extend(const control_snapshot& control) const noexcept;
  void remember(const ring_telemetry& telemetry, std::chrono::nanoseconds at) noexcept;
  void name_oldest(const ring_telemetry& telemetry, health_report& report) noexcept;
  void count_blocked(const ring_telemetry& telemetry, health_report& report) const noexcept;
  [[nodiscard]] kernel_state judge(const control_snapshot& control,
                                   const health_report& report) const noexcept;

  std::chrono::nanoseconds hold_time_;
  aligned_array<memory> slots_;
  aligned_array<stuck_slot> oldest_;
  control_snapshot control_;
  std::uint64_t done_ = 0;
  std::chrono::nanoseconds last_sample_{};
  std::chrono::nanoseconds last_progress_{};
  std::uint32_t samples_ = 0;
  bool counted_ = false;  // whether `done_` is of the launch that is looked at
};

namespace detail {

/// Whether a lane may claim a slot of this status.
[[nodiscard]] constexpr bool waits_for_a_claim(slot_status status) noexcept {
  return status == slot_status::published || status == slot_status::yield ||
         status == slot_status::requeue;
}

/// From an earlier stamp to a later one; the longest duration there is where it is longer.
[[nodiscard]] constexpr std::chrono::nanoseconds elapsed(std::chrono::nanoseconds from,
                                                         std::chrono::nanoseconds to) noexcept {
  const auto gone =
      static_cast<std::uint64_t>(to.count()) - static_cast<std::uint64_t>(from.count());
  constexpr std::uint64_t longest = INT64_MAX;
  return std::chrono::nanoseconds(static_cast<std::int64_t>(gone < longest ? gone : longest));
}

}  // namespace detail

}  // namespace megakernel
