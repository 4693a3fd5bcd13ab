// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
module;
#include <chrono>
#include <cstdint>
#include <expected>
#include <memory>
export module megakernel.runtime:session;
import megakernel.decoder;
import megakernel.health;
import megakernel.protocol;
import megakernel.sketch;
import :buffers;
import :deadline;
import :digest;
import :submission_queue;
import :pump;
import :snapshot;
import :target;
import :watchdog;

export namespace megakernel {

struct session_options {
  buffer_layout layout{};
  schedule order = schedule::ring_order;
  /// How long nothing may be drained before the watchdog is alarmed.
  std::chrono::nanoseconds hold_time = std::chrono::seconds(1);
};

/// The totals of all accepted work.
struct work_totals {
  /// As `submission_queue::accepted`: exact once no producer is inside a call.
  std::uint64_t accepted = 0;
  std::uint64_t done = 0;         ///< by the kernel's 64-bit done count
  std::uint32_t faults = 0;       ///< by its fault count, modulo 2^32
  std::uint32_t outstanding = 0;  ///< slots that are active still
  std::uint32_t running = 0;      ///< lanes that have not left
};

/// A ring, those who feed it, a kernel that drains it, and the way down in order:
///
///     run -> drain (nothing more is accepted, all that was is run) -> stop (lanes leave)
///
/// Any number of threads may publish through `queue`; the other calls are for one thread at a time.
class kernel_session {
 public:
  /// Errors: those of `kernel_buffers::make`, `submission_queue::over`, `file_pump::over`.
  [[nodiscard]] static result<kernel_session> make(const session_options& options) noexcept;
  kernel_session(kernel_session&&) noexcept;
  kernel_session& operator=(kernel_session&&) = delete;
  /// Stops the lanes, at most a second; a lane that does not leave keeps the memory it works on.
  ~kernel_session();

  /// Starts the lanes and a thread that serves the pump, when it has resources; returns when a lane
  /// reports itself alive. Errors: `already_launched`, `lanes_refused`, `deadline_passed`,
  /// `out_of_memory`, and those of the target.
  [[nodiscard]] result<void> launch(std::unique_ptr<kernel_target> target, deadline until) noexcept;

  /// Observable word `index` of the kernel while it runs: an acquire load, so that what the kernel
  /// stored before it is seen, too. Error: `control_missing_word`.
  [[nodiscard]] result<word> observable(std::uint32_t index) const noexcept;

  [[nodiscard]] submission_queue& queue() noexcept;
  /// Resources are added before the launch.
  [[nodiscard]] file_pump& pump() noexcept;
  [[nodiscard]] kernel_buffers& buffers() noexcept;

  /// A copy for the decoders while the kernel runs. Errors: as `live_snapshot::take`.
  [[nodiscard]] result<void> snapshot(live_snapshot& into,
                                      deadline flush = deadline::immediate()) noexcept;
  /// Figures of the ring while the kernel runs, reduced by the device where that can: for polling.
  /// Errors: as `live_digest::take`.
  [[nodiscard]] result<void> digest(live_digest& into, const window_opcodes& windows = {},
                                    const sketch_shape& sketches = {},
                                    deadline flush = deadline::immediate()) noexcept;
  /// How the kernel does. Errors: as `watchdog::look`.
  [[nodiscard]] result<health_report> observe(const window_opcodes& windows = {},
                                              deadline flush = deadline::immediate()) noexcept;
  [[nodiscard]] const class watchdog& watchdog() const noexcept;

  /// Accepts nothing more and waits until nothing is outstanding. Error: `deadline_passed`, with
  /// the first slot that is outstanding; the kernel runs on, and `drain` may be called again.
  /// Error: `device_failed`.
  [[nodiscard]] result<work_totals> drain(deadline until) noexcept;

  /// Accepts nothing more, sets SHUTDOWN and waits until every lane has left, whatever is
  /// outstanding: after `drain` that is nothing. Error: `deadline_passed`, with how many lanes have
  /// not left.
  [[nodiscard]] result<work_totals> stop(deadline until) noexcept;

 private:
  struct state;
  explicit kernel_session(std::unique_ptr<state> made) noexcept;
  std::unique_ptr<state> state_;
};

}  // namespace megakernel
