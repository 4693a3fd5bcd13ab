// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The device's atomic accesses. Each names its order and its scope (memory_order.h) and becomes one
// access of exactly these: a relaxed load is a load, never a read-modify-write.
//
// For words of 32 and of 64 bits. On pinned host memory only loads and stores are atomic with the
// CPU: over PCIe a read-modify-write of the device is atomic among the lanes of that device alone.
#pragma once

#include <megakernel/device/hip_on_cuda.h>
#include <megakernel/memory_order.h>

#if !defined(__HIP__)
#include <cuda/atomic>
#include <type_traits>
#endif

namespace megakernel::device {

namespace detail {

/// Unsigned, and of a size that every device has atomics for.
template <class T>
inline constexpr bool is_atomic_word = T(0) < T(-1) && (sizeof(T) == 4 || sizeof(T) == 8);

/// The order of a compare-and-swap that changes nothing: it only loads.
template <order O>
inline constexpr order of_load =
    O == order::acquire || O == order::acq_rel ? order::acquire : order::relaxed;

#if defined(__HIP__)

template <order O>
inline constexpr int native_order = O == order::relaxed   ? __ATOMIC_RELAXED
                                    : O == order::acquire ? __ATOMIC_ACQUIRE
                                    : O == order::release ? __ATOMIC_RELEASE
                                                          : __ATOMIC_ACQ_REL;
template <scope S>
inline constexpr int native_scope = S == scope::block    ? __HIP_MEMORY_SCOPE_WORKGROUP
                                    : S == scope::device ? __HIP_MEMORY_SCOPE_AGENT
                                                         : __HIP_MEMORY_SCOPE_SYSTEM;

template <order O, scope S>
struct native {
  template <class T>
  static __device__ T load(const T* word) {
    return __hip_atomic_load(word, native_order<O>, native_scope<S>);
  }
  template <class T>
  static __device__ void store(T* word, T value) {
    __hip_atomic_store(word, value, native_order<O>, native_scope<S>);
  }
  template <class T>
  static __device__ T exchange(T* word, T value) {
    return __hip_atomic_exchange(word, value, native_order<O>, native_scope<S>);
  }
  template <class T>
  static __device__ T fetch_add(T* word, T value) {
    return __hip_atomic_fetch_add(word, value, native_order<O>, native_scope<S>);
  }
  template <class T>
  static __device__ T fetch_or(T* word, T value) {
    return __hip_atomic_fetch_or(word, value, native_order<O>, native_scope<S>);
  }
  template <class T>
  static __device__ T fetch_and(T* word, T value) {
    return __hip_atomic_fetch_and(word, value, native_order<O>, native_scope<S>);
  }
  template <class T>
  static __device__ T fetch_max(T* word, T value) {
    return __hip_atomic_fetch_max(word, value, native_order<O>, native_scope<S>);
  }
  template <class T>
  static __device__ bool compare_exchange(T* word, T& expected, T desired) {
    return __hip_atomic_compare_exchange_strong(word, &expected, desired, native_order<O>,
                                                native_order<of_load<O>>, native_scope<S>);
  }
  static __device__ void fence() {
    if constexpr (S == scope::block)
      __builtin_amdgcn_fence(native_order<O>, "workgroup");
    else if constexpr (S == scope::device)
      __builtin_amdgcn_fence(native_order<O>, "agent");
    else
      __builtin_amdgcn_fence(native_order<O>, "");
  }
};

#else

template <order O>
inline constexpr cuda::std::memory_order native_order =
    O == order::relaxed   ? cuda::std::memory_order_relaxed
    : O == order::acquire ? cuda::std::memory_order_acquire
    : O == order::release ? cuda::std::memory_order_release
                          : cuda::std::memory_order_acq_rel;
template <scope S>
inline constexpr cuda::thread_scope native_scope = S == scope::block    ? cuda::thread_scope_block
                                                   : S == scope::device ? cuda::thread_scope_device
                                                                        : cuda::thread_scope_system;

template <order O, scope S>
struct native {
  template <class T>
  using reference = cuda::atomic_ref<T, native_scope<S>>;

  template <class T>
  static __device__ T load(const T* word) {
    return reference<T>(*const_cast<T*>(word)).load(native_order<O>);
  }
  template <class T>
  static __device__ void store(T* word, T value) {
    reference<T>(*word).store(value, native_order<O>);
  }
  // A relaxed read-modify-write is the language's own: unlike libcu++'s, which is assembly to the
  // compiler, it is done in shared memory where the word is known to be there.
  template <class T>
  static __device__ T exchange(T* word, T value) {
    if constexpr (O != order::relaxed)
      return reference<T>(*word).exchange(value, native_order<O>);
    else if constexpr (S == scope::block)
      return static_cast<T>(atomicExch_block(raw(word), value));
    else if constexpr (S == scope::device)
      return static_cast<T>(atomicExch(raw(word), value));
    else
      return static_cast<T>(atomicExch_system(raw(word), value));
  }
  template <class T>
  static __device__ T fetch_add(T* word, T value) {
    if constexpr (O != order::relaxed)
      return reference<T>(*word).fetch_add(value, native_order<O>);
    else if constexpr (S == scope::block)
      return static_cast<T>(atomicAdd_block(raw(word), value));
    else if constexpr (S == scope::device)
      return static_cast<T>(atomicAdd(raw(word), value));
    else
      return static_cast<T>(atomicAdd_system(raw(word), value));
  }
  template <class T>
  static __device__ T fetch_or(T* word, T value) {
    return reference<T>(*word).fetch_or(value, native_order<O>);
  }
  template <class T>
  static __device__ T fetch_and(T* word, T value) {
    return reference<T>(*word).fetch_and(value, native_order<O>);
  }
  template <class T>
  static __device__ T fetch_max(T* word, T value) {
    if constexpr (O != order::relaxed)
      return reference<T>(*word).fetch_max(value, native_order<O>);
    else if constexpr (S == scope::block)
      return static_cast<T>(atomicMax_block(raw(word), value));
    else if constexpr (S == scope::device)
      return static_cast<T>(atomicMax(raw(word), value));
    else
      return static_cast<T>(atomicMax_system(raw(word), value));
  }
  template <class T>
  static __device__ bool compare_exchange(T* word, T& expected, T desired) {
    if constexpr (O != order::relaxed) {
      return reference<T>(*word).compare_exchange_strong(expected, desired, native_order<O>,
                                                         native_order<of_load<O>>);
    } else {
      const T before = expected;
      if constexpr (S == scope::block)
        expected = static_cast<T>(atomicCAS_block(raw(word), before, desired));
      else if constexpr (S == scope::device)
        expected = static_cast<T>(atomicCAS(raw(word), before, desired));
      else
        expected = static_cast<T>(atomicCAS_system(raw(word), before, desired));
      return expected == before;
    }
  }
  static __device__ void fence() { cuda::atomic_thread_fence(native_order<O>, native_scope<S>); }

 private:
  /// The word as the type that the language's atomics take.
  template <class T>
  static __device__ auto raw(T* word) {
    using raw_word = std::conditional_t<sizeof(T) == 4, unsigned int, unsigned long long>;
    return reinterpret_cast<raw_word*>(word);
  }
};

#endif

}  // namespace detail

template <class T, order O, scope S>
[[nodiscard]] __device__ inline T load(const T* word, order_tag<O>, scope_tag<S>) {
  static_assert(detail::is_atomic_word<T>);
  static_assert(O == order::relaxed || O == order::acquire, "a load releases nothing");
  return detail::native<O, S>::load(word);
}

template <class T, order O, scope S>
__device__ inline void store(T* word, T value, order_tag<O>, scope_tag<S>) {
  static_assert(detail::is_atomic_word<T>);
  static_assert(O == order::relaxed || O == order::release, "a store acquires nothing");
  detail::native<O, S>::store(word, value);
}

/// The value before; here and below.
template <class T, order O, scope S>
__device__ inline T exchange(T* word, T value, order_tag<O>, scope_tag<S>) {
  static_assert(detail::is_atomic_word<T>);
  return detail::native<O, S>::exchange(word, value);
}

template <class T, order O, scope S>
__device__ inline T fetch_add(T* word, T value, order_tag<O>, scope_tag<S>) {
  static_assert(detail::is_atomic_word<T>);
  return detail::native<O, S>::fetch_add(word, value);
}

template <class T, order O, scope S>
__device__ inline T fetch_or(T* word, T value, order_tag<O>, scope_tag<S>) {
  static_assert(detail::is_atomic_word<T>);
  return detail::native<O, S>::fetch_or(word, value);
}

template <class T, order O, scope S>
__device__ inline T fetch_and(T* word, T value, order_tag<O>, scope_tag<S>) {
  static_assert(detail::is_atomic_word<T>);
  return detail::native<O, S>::fetch_and(word, value);
}

/// Makes the word `value` where it was less.
template <class T, order O, scope S>
__device__ inline T fetch_max(T* word, T value, order_tag<O>, scope_tag<S>) {
  static_assert(detail::is_atomic_word<T>);
  return detail::native<O, S>::fetch_max(word, value);
}

/// True when `word` was `expected` and is `desired` now; else `expected` holds what was found.
/// Never fails for another reason.
template <class T, order O, scope S>
[[nodiscard]] __device__ inline bool compare_exchange(T* word, T& expected, T desired, order_tag<O>,
                                                      scope_tag<S>) {
  static_assert(detail::is_atomic_word<T>);
  return detail::native<O, S>::compare_exchange(word, expected, desired);
}

/// Orders what this lane did before against what it does after, as `O` says.
template <order O, scope S>
__device__ inline void fence(order_tag<O>, scope_tag<S>) {
  static_assert(O != order::relaxed, "a relaxed fence orders nothing");
  detail::native<O, S>::fence();
}

}  // namespace megakernel::device
