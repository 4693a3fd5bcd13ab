module;
#include <megakernel/gpu/gpu_component.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <expected>
#include <span>
export module megakernel.runtime:courier;
import megakernel.protocol;
import :buffers;
import :feed;

export namespace megakernel {

/// Finds what was published in a ring and has not been given to a device that works on a ring of
/// its own: each publication once, in runs of consecutive slots. What is new it knows by the lives
/// that a feed gives slots, and never by their statuses, which the device writes. One thread.
class courier {
 public:
  /// Buffers and feed outlive it. Slots that are owed already, of an earlier kernel or published
  /// without a feed, are found first. Error: `out_of_memory`. O(slots).
  [[nodiscard]] static result<courier> over(const kernel_buffers& buffers, const work_feed* feed,
                                            schedule order) noexcept;

  /// The next runs, no more than `into` has room for; how many there are. In ring order from where
  /// the last one ended, or of each partition; what was published elsewhere is found after some
  /// calls that found nothing. O(slots found) while work comes in order, else O(slots).
  [[nodiscard]] std::size_t find(std::span<gpu::run> into) noexcept;

 private:
  /// Work comes in order within it.
  struct region {
    std::uint32_t first = 0;
    std::uint32_t size = 0;
    std::uint32_t next = 0;  ///< of it
  };

  courier(const kernel_buffers& buffers, const work_feed* feed) noexcept
      : buffers_(&buffers), feed_(feed) {}

  [[nodiscard]] bool take(std::uint32_t slot) noexcept;
  [[nodiscard]] std::uint32_t take_run(region& in) noexcept;
  void note_what_is_there() noexcept;

  const kernel_buffers* buffers_;
  const work_feed* feed_;
  std::array<region, abi::priorities> regions_;
  std::uint32_t parts_ = 1;
  std::uint32_t quiet_ = 0;  ///< calls in a row that found nothing
  /// The life of what was given last, by slot; `owed` where there is something to give that no feed
  /// has published.
  aligned_array<std::uint64_t> given_;
};

}  // namespace megakernel
