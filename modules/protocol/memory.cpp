// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
module;
#include <cstddef>
#include <new>
#if defined(__linux__)
#include <sys/mman.h>
#endif
module megakernel.protocol;

namespace megakernel::detail {
namespace {

constexpr std::size_t cache_line = 64;
constexpr std::size_t huge_page = std::size_t{2} << 20;

std::align_val_t alignment_of(std::size_t bytes) noexcept {
  if (bytes >= huge_page) return std::align_val_t{huge_page};
  return std::align_val_t{cache_line};
}

}  // namespace

void* allocate_aligned(std::size_t bytes) noexcept {
  void* const storage = ::operator new(bytes, alignment_of(bytes), std::nothrow);
#if defined(__linux__)
  // Advice: where it is not taken, the storage is only slower.
  if (storage != nullptr && bytes >= huge_page) (void)::madvise(storage, bytes, MADV_HUGEPAGE);
#endif
  return storage;
}

void free_aligned(void* storage, std::size_t bytes) noexcept {
  ::operator delete(storage, alignment_of(bytes));
}

}  // namespace megakernel::detail
