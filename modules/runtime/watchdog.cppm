// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
module;
#include <chrono>
#include <expected>
export module megakernel.runtime:watchdog;
import megakernel.decoder;
import megakernel.health;
import megakernel.protocol;
import :buffers;
import :deadline;
import :submission_queue;
import :snapshot;
import :target;

export namespace megakernel {

/// Looks at a running kernel and says how it does: a live snapshot, decoded, given to a
/// diagnostician. It has no thread of its own: whoever owns it looks as often as it likes.
class watchdog {
 public:
  /// `hold_time`: how long nothing may be drained before an alarm.
  explicit watchdog(std::chrono::nanoseconds hold_time = std::chrono::seconds(1)) noexcept
      : doctor_({.hold_time = hold_time}) {}

  /// Errors: those of `live_snapshot::take`, `ring_telemetry::decode` and `diagnostician::look`.
  /// The report's spans live until the next sample. O(slots).
  [[nodiscard]] result<health_report> observe(kernel_buffers& buffers,
                                              const submission_queue& queue, kernel_target* target,
                                              const window_opcodes& windows = {},
                                              deadline flush = deadline::immediate()) noexcept;

  /// The telemetry of the last sample.
  [[nodiscard]] inline const live_snapshot& snapshot() const noexcept { return snapshot_; }
  [[nodiscard]] inline const ring_telemetry& telemetry() const noexcept { return telemetry_; }
  /// The diagnosis of the last sample; without findings before the first.
  [[nodiscard]] inline const megakernel::diagnosis& diagnosis() const noexcept { return found_; }

 private:
  diagnostician doctor_;
  megakernel::diagnosis found_;
  live_snapshot snapshot_;
  ring_telemetry telemetry_;
  std::chrono::steady_clock::time_point began_ = std::chrono::steady_clock::now();
};

}  // namespace megakernel
