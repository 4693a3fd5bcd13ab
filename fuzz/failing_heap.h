// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Allocations that fail when an input says so, and that are counted. It replaces the allocation
// functions that the library's arrays use, so include it once in a program; the thread and memory
// sanitizers, which have their own, keep them, and nothing fails there.
#pragma once

#include <cstddef>
#include <cstdlib>
#include <new>

#include "fuzz.h"

#if defined(__has_feature)
#if __has_feature(thread_sanitizer) || __has_feature(memory_sanitizer)
#define MEGAKERNEL_FUZZ_HEAP_NEVER_FAILS
#endif
#endif

namespace fuzz {

/// Whether an allocation can be made to fail.
#if defined(MEGAKERNEL_FUZZ_HEAP_NEVER_FAILS)
inline constexpr bool heap_fails = false;
#else
inline constexpr bool heap_fails = true;
#endif

/// While it lives, the `nth` allocation of the library's arrays from now on fails; 0: none does.
class short_memory {
 public:
  explicit short_memory(unsigned nth) { left = nth; }
  ~short_memory() { left = 0; }
  short_memory(const short_memory&) = delete;
  short_memory& operator=(const short_memory&) = delete;

  /// Whether it has failed; asked once.
  static bool ran_out() {
    const bool did = failed;
    failed = false;
    return did;
  }

  /// Of the allocation functions.
  static bool fails_now() {
    if (left == 0 || --left != 0) return false;
    failed = true;
    return true;
  }

 private:
  inline static unsigned left = 0;
  inline static bool failed = false;
};

/// At its end, what was allocated for the library's arrays since its beginning has been freed.
class balanced_memory {
 public:
  balanced_memory() = default;
  ~balanced_memory() { check(blocks == before_, "what is allocated is freed, once"); }
  balanced_memory(const balanced_memory&) = delete;
  balanced_memory& operator=(const balanced_memory&) = delete;

  /// That are allocated and not freed.
  inline static long blocks = 0;

 private:
  long before_ = blocks;
};

}  // namespace fuzz

#ifndef MEGAKERNEL_FUZZ_HEAP_NEVER_FAILS
void* operator new(std::size_t size, std::align_val_t alignment, const std::nothrow_t&) noexcept {
  void* memory = nullptr;
  if (fuzz::short_memory::fails_now()) return nullptr;
  if (posix_memalign(&memory, static_cast<std::size_t>(alignment), size) != 0) return nullptr;
  ++fuzz::balanced_memory::blocks;
  return memory;
}
void operator delete(void* memory, std::align_val_t) noexcept {
  if (memory != nullptr) --fuzz::balanced_memory::blocks;
  std::free(memory);
}
#endif
