// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
module;
#include <megakernel/lane_order.h>

#include <cstddef>
#include <cstdint>
#include <expected>
#include <span>
export module megakernel.runtime:snapshot;
import megakernel.protocol;
import :buffers;
import :deadline;
import :submission_queue;
import :target;

export namespace megakernel {

/// A copy of the buffers of a kernel that keeps running, for the decoders.
///
/// A slot is copied between two looks at its generation and its status. A producer moves the
/// generation before it writes the first word and after the last, so that where the samples agree
/// no half-written slot was seen: a status alone could have gone round to the same value. Where
/// they keep changing, the slot is copied again, a few times, and then its page of 32 slots is
/// labelled torn and the slot reads as unknown status, never as something it was not. Words 14 and
/// 15 of a CLAIMED slot are its lane's and may be changing. Different slots are of different
/// moments: over a whole ring that is worked on no single moment could be had.
///
/// The control words are copied in an order that keeps these inequalities, all modulo 2^32, while
/// every lane flushes as `counter_batch` does:
///     done + faults <= claims counted by priority <= accepted + re-claims of YIELD and REQUEUE
///     done <= DONE slots stored so far; metrics of the opcodes used: done <= their sum
class live_snapshot {
 public:
  static constexpr std::uint32_t page_slots = 32;
  /// Status of a slot that could not be copied whole: unknown to every decoder.
  static constexpr word torn_status = 0xFFFF'FFFFu;

  /// Copies all buffers. Storage is kept between calls. With a target the lanes are asked to flush
  /// their counts first, until `until`; `flushed` says whether all did. Error: `out_of_memory`;
  /// then the snapshot is empty. O(bytes).
  [[nodiscard]] result<void> take(kernel_buffers& buffers, const submission_queue& queue,
                                  kernel_target* target = nullptr,
                                  deadline until = deadline::immediate()) noexcept;

  [[nodiscard]] inline std::span<const std::byte> control() const noexcept {
    return {control_.data(), control_.size()};
  }
  [[nodiscard]] inline std::span<const std::byte> ring() const noexcept {
    return {ring_.data(), ring_.size()};
  }
  [[nodiscard]] inline std::span<const std::byte> debug_log() const noexcept {
    return {debug_log_.data(), debug_log_.size()};
  }
  [[nodiscard]] inline std::span<const std::byte> io_queue() const noexcept {
    return {io_queue_.data(), io_queue_.size()};
  }
  /// Pages with a slot that could not be copied whole, ascending.
  [[nodiscard]] inline std::span<const std::uint32_t> torn_pages() const noexcept {
    return {torn_.data(), torn_.size()};
  }
  /// Slots that producers had published when the copy was made.
  [[nodiscard]] inline std::uint64_t accepted() const noexcept { return accepted_; }
  [[nodiscard]] inline bool flushed() const noexcept { return flushed_; }

 private:
  byte_buffer control_;
  byte_buffer ring_;
  byte_buffer debug_log_;
  byte_buffer io_queue_;
  aligned_array<std::uint32_t> torn_;
  std::uint64_t accepted_ = 0;
  bool flushed_ = false;
};

namespace detail {
/// Copies the control words of a launch, which others may be writing, in the order that keeps the
/// inequalities of `live_snapshot`.
void copy_control(const device::launch& where, std::byte* to) noexcept;
}  // namespace detail

}  // namespace megakernel
