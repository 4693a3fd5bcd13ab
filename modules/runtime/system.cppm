module;
#include <chrono>
#include <cstdint>
#include <expected>
#include <memory>
export module megakernel.runtime:system;
import megakernel.decoder;
import megakernel.health;
import megakernel.protocol;
import megakernel.sketch;
import :buffers;
import :deadline;
import :digest;
import :feed;
import :pump;
import :snapshot;
import :target;
import :watchdog;

export namespace megakernel {

struct runtime_options {
  buffer_layout layout{};
  schedule order = schedule::ring_order;
  /// How long nothing may be drained before the watchdog is alarmed.
  std::chrono::nanoseconds patience = std::chrono::seconds(1);
};

/// What became of everything that was accepted.
struct account {
  /// As `work_feed::accepted`: exact once no producer is inside a call.
  std::uint64_t accepted = 0;
  std::uint64_t done = 0;     ///< by the kernel's 64-bit done count
  std::uint32_t faults = 0;   ///< by its fault count, modulo 2^32
  std::uint32_t owed = 0;     ///< slots that are active still
  std::uint32_t running = 0;  ///< lanes that have not left
};

/// A ring, those who feed it, a kernel that drains it, and the way down in order:
///
///     run -> drain (nothing more is accepted, all that was is run) -> stop (lanes leave)
///
/// Any number of threads may publish through `feed`; the other calls are for one thread at a time.
class runtime {
 public:
  /// Errors: those of `kernel_buffers::make`, `work_feed::over`, `file_pump::over`.
  [[nodiscard]] static result<runtime> make(const runtime_options& options) noexcept;
  runtime(runtime&&) noexcept;
  runtime& operator=(runtime&&) = delete;
  /// Stops the lanes, at most a second; a lane that does not leave keeps the memory it works on.
  ~runtime();

  /// Starts the lanes and a thread that serves the pump, when it has resources; returns when a lane
  /// reports itself alive. Errors: `already_launched`, `lanes_refused`, `deadline_passed`,
  /// `out_of_memory`, and those of the target.
  [[nodiscard]] result<void> launch(std::unique_ptr<kernel_target> target, deadline until) noexcept;

  [[nodiscard]] work_feed& feed() noexcept;
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
  [[nodiscard]] result<health_report> look(const window_opcodes& windows = {},
                                           deadline flush = deadline::immediate()) noexcept;
  [[nodiscard]] const class watchdog& watchdog() const noexcept;

  /// Accepts nothing more and waits until nothing is owed. Error: `deadline_passed`, with the first
  /// slot that is owed; the kernel runs on, and `drain` may be called again. Error:
  /// `device_failed`.
  [[nodiscard]] result<account> drain(deadline until) noexcept;

  /// Accepts nothing more, sets SHUTDOWN and waits until every lane has left, whatever is owed:
  /// after `drain` that is nothing. Error: `deadline_passed`, with how many lanes have not left.
  [[nodiscard]] result<account> stop(deadline until) noexcept;

 private:
  struct state;
  explicit runtime(std::unique_ptr<state> made) noexcept;
  std::unique_ptr<state> state_;
};

}  // namespace megakernel
