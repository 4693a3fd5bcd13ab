// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
module;
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <expected>
#include <span>
export module megakernel.runtime:digest;
import megakernel.decoder;
import megakernel.protocol;
import megakernel.sketch;
import :buffers;
import :deadline;
import :submission_queue;
import :snapshot;
import :target;

export namespace megakernel {

/// Figures of the ring of a kernel that keeps running: for polling, for `health_since`, for
/// `recommend`, for sketches that are merged.
///
/// A GPU reduces the ring itself, and kilobytes come back instead of the ring. Where there is none,
/// where it has no room for that beside the kernel, and for what a digest has no room for (more
/// than 16 window opcodes, more than 16,384 counters a sketch, or more windows than it lists), the
/// ring is copied as by `live_snapshot` and decoded here. Either way the figures are the same, but
/// for slots that are being written: a device counts what it sees, words of two generations
/// perhaps; here they read as unknown status.
class live_digest {
 public:
  /// How long a device may take before the ring is decoded here.
  static constexpr std::chrono::milliseconds timeout{100};

  /// Counts the ring. Windows are of the opcodes in `windows`; sketches have the shape `sketches`,
  /// and 0 by 0 stands for none. With a target the lanes are asked to flush their counts first,
  /// until `flush`. Storage is kept between calls: the same request allocates nothing again, unless
  /// the ring has more windows. Errors: `sketch_dim_zero`, `sketch_dim_overflow`, those of
  /// `ring_digest::decode` for what a device says, `device_failed`, `out_of_memory`; then this
  /// object is empty. O(slots + depth width).
  [[nodiscard]] result<void> take(kernel_buffers& buffers, const submission_queue& queue,
                                  kernel_target* target = nullptr,
                                  const window_opcodes& windows = {},
                                  const sketch_shape& sketches = {},
                                  deadline flush = deadline::immediate()) noexcept;

  /// Control words, occupancy and windows, with all that can be asked of them.
  [[nodiscard]] inline const ring_summary& summary() const noexcept {
    return made_ == maker::device    ? digest_.summary()
           : made_ == maker::decoder ? telemetry_.summary()
                                     : summary_;
  }
  /// Slots by opcode and by tenant.
  [[nodiscard]] inline const slot_counts& counts() const noexcept { return counts_; }
  /// Empty where none were asked for.
  [[nodiscard]] inline const telemetry_sketch& sketches() const noexcept { return sketches_; }
  /// Whether a device reduced the ring.
  [[nodiscard]] inline bool by_device() const noexcept { return made_ == maker::device; }
  /// Whether all lanes had flushed their counts.
  [[nodiscard]] inline bool flushed() const noexcept { return flushed_; }

 private:
  enum class maker : std::uint8_t { device, decoder, summary };
  [[nodiscard]] result<bool> ask(kernel_buffers& buffers, kernel_target& target,
                                 const digest_request& what) noexcept;
  [[nodiscard]] result<void> decode(kernel_buffers& buffers, const submission_queue& queue,
                                    const window_opcodes& windows, bool sketched) noexcept;
  void clear() noexcept;

  byte_buffer control_;
  byte_buffer bytes_;
  ring_digest digest_;
  live_snapshot snapshot_;
  ring_telemetry telemetry_;
  ring_summary summary_;
  slot_counts counts_;
  telemetry_sketch sketches_;
  maker made_ = maker::summary;
  bool flushed_ = false;
};

}  // namespace megakernel
