// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
module;
#include <megakernel/lane_order.h>
#include <megakernel/ring_digest.h>

#include <cstddef>
#include <cstdint>
#include <expected>
#include <span>
export module megakernel.runtime:target;
import megakernel.protocol;
import :buffers;
import :deadline;
import :submission_queue;
import :kernel;

export namespace megakernel {

/// The launch context of lanes. All of it outlives them.
struct launch_context {
  const kernel_buffers& buffers;
  doorbell& bell;
  const submission_queue* queue = nullptr;  ///< that publishes into the buffers, if one does
};

/// Where lanes run: threads of this machine, or a GPU.
class kernel_target {
 public:
  kernel_target() = default;
  kernel_target(const kernel_target&) = delete;
  kernel_target& operator=(const kernel_target&) = delete;
  /// Lanes that have not left are abandoned with the memory they work on.
  virtual ~kernel_target() = default;

  /// Starts the lanes. Once a target. Errors: `already_launched`, `lanes_refused` when the system
  /// gives no more threads or the device no room, `out_of_memory`; then no lane runs.
  [[nodiscard]] virtual result<void> launch(const launch_context& context) noexcept = 0;

  /// Asks the lanes to add to the control buffer what they have counted so far; whether all had
  /// done so by `until`. A lane inside a handler answers after it.
  [[nodiscard]] virtual bool flush(deadline until) noexcept = 0;

  /// Whether the ring can be reduced where it is.
  [[nodiscard]] virtual bool makes_digests() const noexcept { return false; }

  /// Reduces the ring where it is, while lanes run, to a digest of `what`, a valid request, in
  /// `into`; how many bytes that took. Zero: not by `until`. Error:
  /// `device_failed`.
  [[nodiscard]] virtual result<std::size_t> digest(const digest_request& /*what*/,
                                                   std::span<std::byte> /*into*/,
                                                   deadline /*until*/) noexcept {
    return 0;
  }

  /// Lanes that have not left.
  [[nodiscard]] virtual std::uint32_t running() const noexcept = 0;

  /// Ends lanes that do not leave, where that can be done; whether none is left, so that nobody
  /// uses the memory any more.
  [[nodiscard]] virtual bool end() noexcept { return running() == 0; }

  /// Whether lanes could still report, where a device can be lost. Error: `device_failed`.
  [[nodiscard]] virtual result<void> check() const noexcept { return {}; }
};

}  // namespace megakernel
