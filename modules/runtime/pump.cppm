// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
module;
#include <array>
#include <cstddef>
#include <cstdint>
#include <expected>
#include <optional>
#include <span>
#include <string_view>
export module megakernel.runtime:pump;
import megakernel.protocol;
import :buffers;

export namespace megakernel {

/// The source of a LOAD_MISS of resource `id`: part of a file, to a place in the arena.
struct file_resource {
  std::uint32_t id = 0;
  const char* path = nullptr;      ///< of a regular file
  std::uint64_t file_offset = 0;   ///< bytes
  std::uint64_t arena_offset = 0;  ///< bytes
  std::uint64_t byte_count = 0;
};

/// Answers LOAD_MISS from files. One thread serves at a time.
class file_pump {
 public:
  /// The buffers must outlive the pump. Errors: those of `io_queue::over`.
  [[nodiscard]] static result<file_pump> over(kernel_buffers& buffers) noexcept;
  file_pump(file_pump&& other) noexcept;
  file_pump& operator=(file_pump&&) = delete;
  ~file_pump();

  /// Opens the file and remembers the resource. Errors: `resource_repeated`; `arena_out_of_range`
  /// when it does not fit there; `resource_unreadable`, with the system's error number, when there
  /// is no such regular file; `out_of_memory`. O(resources).
  [[nodiscard]] result<void> add(const file_resource& resource) noexcept;
  [[nodiscard]] inline std::size_t resources() const noexcept { return files_.size(); }

  /// Answers each request that is published now: OK when all bytes of its resource are in the
  /// arena, ERROR for an unknown resource, another operation than READ, a file that ended early or
  /// could not be read. Returns how many. O(IO slots + bytes read).
  [[nodiscard]] std::uint32_t serve() noexcept;

 private:
  struct file {
    std::uint32_t id;
    int descriptor;
    std::uint64_t file_offset;
    std::uint64_t arena_offset;
    std::uint64_t byte_count;
  };
  file_pump(kernel_buffers& buffers, io_queue queue) noexcept : buffers_(buffers), queue_(queue) {}
  [[nodiscard]] const file* find(std::uint32_t id) const noexcept;
  [[nodiscard]] bool load(const io_request& request) noexcept;

  kernel_buffers& buffers_;
  io_queue queue_;
  aligned_array<file> files_;
};

}  // namespace megakernel
