// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// A global heap that counts blocks and can be told to fail. Include it in exactly one file of a
// program: it defines the replaceable allocation functions.
#pragma once

#include <rapidcheck.h>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <limits>
#include <new>
#include <source_location>
#include <string>

namespace props {

/// RC_ASSERT without its bookkeeping, which would count as blocks left behind.
inline void expect(bool holds, std::source_location at = std::source_location::current()) {
  if (!holds) RC_FAIL("line " + std::to_string(at.line()));
}

}  // namespace props

namespace props::heap {

inline constexpr std::uint64_t never = std::numeric_limits<std::uint64_t>::max();

/// Of all threads.
struct counters {
  std::atomic<std::uint64_t> allocations = 0;  ///< attempts, refused ones too
  std::atomic<std::int64_t> live = 0;          ///< blocks
  std::atomic<std::uint64_t> fail_at = never;  ///< the attempt that fails, as `allocations` counts
  std::atomic<bool> from_then_on = false;      ///< and all after it
};
inline counters state;

inline bool refuses() {
  const std::uint64_t attempt = state.allocations++;
  return attempt == state.fail_at || (state.from_then_on && attempt > state.fail_at);
}

inline void* allocate(std::size_t size, std::size_t alignment) noexcept {
  if (refuses()) return nullptr;
  const std::size_t rounded = (size + alignment - 1) / alignment * alignment;
  void* const block = rounded < size ? nullptr : std::aligned_alloc(alignment, rounded);
  if (block != nullptr) ++state.live;
  return block;
}

inline void* allocate_or_throw(std::size_t size, std::size_t alignment) {
  void* const block = allocate(size, alignment);
  if (block == nullptr) throw std::bad_alloc();
  return block;
}

inline void release(void* block) noexcept {
  if (block == nullptr) return;
  --state.live;
  std::free(block);
}

/// While it lives, the `nth` allocation from here (the first is 0) fails.
class tripwire {
 public:
  explicit tripwire(std::uint64_t nth, bool from_then_on = false) {
    state.from_then_on = from_then_on;
    state.fail_at = nth == never ? never : state.allocations + nth;
  }
  ~tripwire() { state.fail_at = never; }
  tripwire(const tripwire&) = delete;
  tripwire& operator=(const tripwire&) = delete;
};

}  // namespace props::heap

// NOLINTBEGIN: the signatures are the standard's.
constexpr std::size_t props_heap_default = __STDCPP_DEFAULT_NEW_ALIGNMENT__;

void* operator new(std::size_t n) { return props::heap::allocate_or_throw(n, props_heap_default); }
void* operator new[](std::size_t n) {
  return props::heap::allocate_or_throw(n, props_heap_default);
}
void* operator new(std::size_t n, const std::nothrow_t&) noexcept {
  return props::heap::allocate(n, props_heap_default);
}
void* operator new[](std::size_t n, const std::nothrow_t&) noexcept {
  return props::heap::allocate(n, props_heap_default);
}
void* operator new(std::size_t n, std::align_val_t a) {
  return props::heap::allocate_or_throw(n, static_cast<std::size_t>(a));
}
void* operator new[](std::size_t n, std::align_val_t a) {
  return props::heap::allocate_or_throw(n, static_cast<std::size_t>(a));
}
void* operator new(std::size_t n, std::align_val_t a, const std::nothrow_t&) noexcept {
  return props::heap::allocate(n, static_cast<std::size_t>(a));
}
void* operator new[](std::size_t n, std::align_val_t a, const std::nothrow_t&) noexcept {
  return props::heap::allocate(n, static_cast<std::size_t>(a));
}
void operator delete(void* p) noexcept { props::heap::release(p); }
void operator delete[](void* p) noexcept { props::heap::release(p); }
void operator delete(void* p, std::size_t) noexcept { props::heap::release(p); }
void operator delete[](void* p, std::size_t) noexcept { props::heap::release(p); }
void operator delete(void* p, const std::nothrow_t&) noexcept { props::heap::release(p); }
void operator delete[](void* p, const std::nothrow_t&) noexcept { props::heap::release(p); }
void operator delete(void* p, std::align_val_t) noexcept { props::heap::release(p); }
void operator delete[](void* p, std::align_val_t) noexcept { props::heap::release(p); }
void operator delete(void* p, std::size_t, std::align_val_t) noexcept { props::heap::release(p); }
void operator delete[](void* p, std::size_t, std::align_val_t) noexcept { props::heap::release(p); }
void operator delete(void* p, std::align_val_t, const std::nothrow_t&) noexcept {
  props::heap::release(p);
}
void operator delete[](void* p, std::align_val_t, const std::nothrow_t&) noexcept {
  props::heap::release(p);
}
// NOLINTEND
