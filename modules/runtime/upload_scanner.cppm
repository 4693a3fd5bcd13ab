// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
module;
#include <megakernel/gpu/plugin.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <expected>
#include <span>
export module megakernel.runtime:upload_scanner;
import megakernel.protocol;
import :buffers;
import :submission_queue;

export namespace megakernel {

/// Finds what was published in a ring and has not been given to a device that works on a ring of
/// its own: each publication once, in ranges of consecutive slots. It knows new work by the
/// generations that a queue gives slots, and never by their statuses, which the device writes. One
/// thread.
class upload_scanner {
 public:
  /// Buffers and queue outlive it. Slots that are outstanding already, of an earlier kernel or
  /// published without a queue, are found first. Error: `out_of_memory`. O(slots).
  [[nodiscard]] static result<upload_scanner> over(const kernel_buffers& buffers,
                                                   const submission_queue* queue,
                                                   schedule order) noexcept;

  /// The next ranges, no more than `into` has room for; their number. In ring order from where
  /// the last one ended, or of each partition; what was published elsewhere is found after some
  /// calls that found nothing. O(slots found) while work comes in order, else O(slots).
  [[nodiscard]] std::size_t find(std::span<gpu::slot_range> into) noexcept;

 private:
  /// Work comes in order within it.
  struct region {
    std::uint32_t first = 0;
    std::uint32_t size = 0;
    std::uint32_t next = 0;  ///< of it
  };

  upload_scanner(const kernel_buffers& buffers, const submission_queue* queue) noexcept
      : buffers_(&buffers), queue_(queue) {}

  [[nodiscard]] bool take(std::uint32_t slot) noexcept;
  [[nodiscard]] std::uint32_t take_range(region& in) noexcept;
  void record_what_is_there() noexcept;

  const kernel_buffers* buffers_;
  const submission_queue* queue_;
  std::array<region, abi::priorities> regions_;
  std::uint32_t parts_ = 1;
  std::uint32_t idle_calls_ = 0;  ///< calls in a row that found nothing
  /// The generation given last, by slot; `outstanding` where there is something to give that no
  /// queue has published.
  aligned_array<std::uint64_t> given_;
};

}  // namespace megakernel
