// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
module;
#include <cstddef>
#include <cstdint>
#include <expected>
#include <span>
export module megakernel.runtime:mapped_region;
import megakernel.protocol;

export namespace megakernel {

/// Memory that another process can map, too. A view: it is valid while what it is of lives.
struct shared_memory_handle {
  int descriptor = -1;      ///< an anonymous file whose size is sealed; closed on exec
  std::byte* at = nullptr;  ///< where this process sees its first byte
  std::uint64_t bytes = 0;  ///< of the file
};

/// Zeroed memory of several buffers in one stretch of addresses. Each is on pages of its own, so
/// that a device can pin it alone, and between two lies a page that nobody may touch.
class mapped_region {
 public:
  /// Storage for `sizes[i]` bytes each, where `made[i]` then says; nothing for a size of zero. With
  /// `shared` it lies in a file of no name that other processes can map. A buffer of 2 MiB or more
  /// starts on a huge page, asks for such where the system has them for this kind of memory, and is
  /// there from the start; of others, pages come when they are first touched.
  /// Errors: `out_of_memory`, `memory_not_shared`.
  [[nodiscard]] static result<mapped_region> make(std::span<const std::uint64_t> sizes,
                                                  std::span<std::span<std::byte>> made,
                                                  bool shared) noexcept;
  mapped_region() noexcept = default;
  mapped_region(mapped_region&& other) noexcept;
  mapped_region& operator=(mapped_region&& other) noexcept;
  ~mapped_region();

  /// Without a descriptor where it is not shared.
  [[nodiscard]] shared_memory_handle share() const noexcept;

 private:
  std::byte* reserved_ = nullptr;
  std::size_t reserved_bytes_ = 0;
  std::byte* at_ = nullptr;
  std::size_t bytes_ = 0;
  int descriptor_ = -1;
};

}  // namespace megakernel
