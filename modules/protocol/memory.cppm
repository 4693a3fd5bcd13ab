// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
module;
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <expected>
#include <span>
#include <type_traits>
#include <utility>
export module megakernel.protocol:memory;
import :error;

namespace megakernel::detail {

/// Storage for `bytes` bytes on a cache line, or null. From 2 MiB up it is aligned to and asks for
/// huge pages: scanning a large ring is bound by address translation otherwise.
void* allocate_aligned(std::size_t bytes) noexcept;
/// `bytes` as it was allocated.
void free_aligned(void* storage, std::size_t bytes) noexcept;

}  // namespace megakernel::detail

export namespace megakernel {

/// An owned, growable array that starts on a cache line, so that no slot straddles two.
///
/// It differs from `std::vector` where a decoder needs it to: growth leaves new elements
/// unwritten (they are about to be overwritten), and allocation failure is an error value.
/// Elements are trivially copyable. Moves are cheap; there are no copies.
/// docs/protocol.md#out-of-memory
template <class T>
class aligned_array {
  static_assert(std::is_trivially_copyable_v<T> && std::is_trivially_destructible_v<T>);

 public:
  aligned_array() noexcept = default;
  aligned_array(const aligned_array&) = delete;
  aligned_array& operator=(const aligned_array&) = delete;
  aligned_array(aligned_array&& other) noexcept
      : data_(std::exchange(other.data_, nullptr)),
        size_(std::exchange(other.size_, 0)),
        capacity_(std::exchange(other.capacity_, 0)) {}
  aligned_array& operator=(aligned_array&& other) noexcept {
    if (this != &other) {
      release();
      data_ = std::exchange(other.data_, nullptr);
      size_ = std::exchange(other.size_, 0);
      capacity_ = std::exchange(other.capacity_, 0);
    }
    return *this;
  }
  ~aligned_array() { release(); }

  /// Makes the size `count`. Allocates only when `count` exceeds the capacity, and then all
  /// elements are unspecified; otherwise those below the old size keep their values. On
  /// `out_of_memory` nothing has changed. O(1) plus the allocation.
  [[nodiscard]] result<void> resize_for_overwrite(std::size_t count) noexcept {
    if (count > capacity_) {
      auto fresh = allocate(count);
      if (!fresh) return std::unexpected(fresh.error());
      release();
      data_ = *fresh;
      capacity_ = count;
    }
    size_ = count;
    return {};
  }

  /// Makes room for at least `count` elements, doubling, and keeps the present ones. On
  /// `out_of_memory` nothing has changed.
  [[nodiscard]] result<void> reserve(std::size_t count) noexcept {
    if (count <= capacity_) return {};
    const std::size_t grown = count > capacity_ * 2 ? count : capacity_ * 2;
    auto fresh = allocate(grown);
    if (!fresh) return std::unexpected(fresh.error());
    if (size_ != 0) std::memcpy(*fresh, data_, size_ * sizeof(T));
    const std::size_t kept = size_;
    release();
    data_ = *fresh;
    size_ = kept;
    capacity_ = grown;
    return {};
  }

  /// Makes the size `count`, which is at most the capacity. Elements past the old size are
  /// unspecified.
  void set_size(std::size_t count) noexcept { size_ = count; }
  /// Adds one element where there is room for it.
  void push_within_capacity(const T& element) noexcept { data_[size_++] = element; }
  void clear() noexcept { size_ = 0; }
  void fill_zero() noexcept {
    if (size_ != 0) std::memset(data_, 0, size_ * sizeof(T));
  }

  [[nodiscard]] T* data() noexcept { return data_; }
  [[nodiscard]] const T* data() const noexcept { return data_; }
  [[nodiscard]] std::size_t size() const noexcept { return size_; }
  [[nodiscard]] std::size_t capacity() const noexcept { return capacity_; }
  [[nodiscard]] bool empty() const noexcept { return size_ == 0; }
  [[nodiscard]] T& operator[](std::size_t i) noexcept { return data_[i]; }
  [[nodiscard]] const T& operator[](std::size_t i) const noexcept { return data_[i]; }
  [[nodiscard]] T* begin() noexcept { return data_; }
  [[nodiscard]] T* end() noexcept { return data_ + size_; }
  [[nodiscard]] const T* begin() const noexcept { return data_; }
  [[nodiscard]] const T* end() const noexcept { return data_ + size_; }

 private:
  static result<T*> allocate(std::size_t count) noexcept {
    const error refusal{
        .code = error_code::out_of_memory, .found = std::uint64_t{count}, .bound = sizeof(T)};
    if (count > PTRDIFF_MAX / sizeof(T)) return std::unexpected(refusal);
    void* const raw = detail::allocate_aligned(count * sizeof(T));
    if (raw == nullptr) return std::unexpected(refusal);
    return static_cast<T*>(raw);
  }
  void release() noexcept {
    if (data_ != nullptr) detail::free_aligned(data_, capacity_ * sizeof(T));
    data_ = nullptr;
    size_ = capacity_ = 0;
  }

  T* data_ = nullptr;
  std::size_t size_ = 0;
  std::size_t capacity_ = 0;
};

/// A wire buffer the library made.
using byte_buffer = aligned_array<std::byte>;

}  // namespace megakernel
