module;
#include <cstddef>
#include <cstdint>
#include <expected>
#include <span>
export module megakernel.runtime:pages;
import megakernel.protocol;

export namespace megakernel {

/// Memory that another process can map, too. A view: it is valid while what it is of lives.
struct memory_share {
  int descriptor = -1;      ///< an anonymous file whose size is sealed; closed on exec
  std::byte* at = nullptr;  ///< where this process sees its first byte
  std::uint64_t bytes = 0;  ///< of the file
};

/// Zeroed memory of several buffers in one stretch of addresses. Each is on pages of its own, so
/// that a device can pin it alone, and between two lies a page that nobody may touch.
class buffer_pages {
 public:
  /// Storage for `sizes[i]` bytes each, where `made[i]` then says; nothing for a size of zero. With
  /// `shared` it lies in a file of no name that other processes can map. A buffer of 2 MiB or more
  /// starts on a huge page, asks for such where the system has them for this kind of memory, and is
  /// there from the start; of others, pages come when they are first touched.
  /// Errors: `out_of_memory`, `memory_not_shared`.
  [[nodiscard]] static result<buffer_pages> make(std::span<const std::uint64_t> sizes,
                                                 std::span<std::span<std::byte>> made,
                                                 bool shared) noexcept;
  buffer_pages() noexcept = default;
  buffer_pages(buffer_pages&& other) noexcept;
  buffer_pages& operator=(buffer_pages&& other) noexcept;
  ~buffer_pages();

  /// Without a descriptor where it is not shared.
  [[nodiscard]] memory_share share() const noexcept;

 private:
  std::byte* reserved_ = nullptr;
  std::size_t reserved_bytes_ = 0;
  std::byte* at_ = nullptr;
  std::size_t bytes_ = 0;
  int descriptor_ = -1;
};

}  // namespace megakernel
