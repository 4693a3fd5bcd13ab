// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Memory that lanes of a device and threads of the host share, for the interpreter: in device code
// the device's atomics, in host code of the same source the compiler's.
#pragma once

#include <megakernel/abi.h>
#include <megakernel/device/atomics.h>
#include <megakernel/device/hip_on_cuda.h>
#include <megakernel/device/wave.h>
#include <megakernel/memory_order.h>

#if defined(__CUDA_ARCH__) || defined(__HIP_DEVICE_COMPILE__)
#define MEGAKERNEL_ON_DEVICE 1
#else
#define MEGAKERNEL_ON_DEVICE 0
#endif

namespace megakernel::device {

class shared_memory_policy {
 public:
  template <order O, scope S>
  MEGAKERNEL_HOST_DEVICE word load(const word* at, order_tag<O> o, scope_tag<S> s) const {
#if MEGAKERNEL_ON_DEVICE
    return device::load(at, o, s);
#else
    (void)o, (void)s;
    return __atomic_load_n(at, native(O));
#endif
  }
  template <order O, scope S>
  MEGAKERNEL_HOST_DEVICE void store(word* at, word value, order_tag<O> o, scope_tag<S> s) const {
#if MEGAKERNEL_ON_DEVICE
    device::store(at, value, o, s);
#else
    (void)o, (void)s;
    __atomic_store_n(at, value, native(O));
#endif
  }
  template <order O, scope S>
  MEGAKERNEL_HOST_DEVICE word add(word* at, word amount, order_tag<O> o, scope_tag<S> s) const {
#if MEGAKERNEL_ON_DEVICE
    // Atomic among the device's lanes: over the bus nothing is with the host.
    if constexpr (O == order::release || O == order::acq_rel) device::fence(release, s);
    const word before = device::fetch_add(at, amount, relaxed, in_device);
    if constexpr (O == order::acquire || O == order::acq_rel) device::fence(acquire, s);
    (void)o, (void)s;
    return before;
#else
    (void)o, (void)s;
    return __atomic_fetch_add(at, amount, native(O));
#endif
  }
  template <order O, scope S>
  MEGAKERNEL_HOST_DEVICE bool compare_exchange(word* at, word& expected, word desired,
                                               order_tag<O> o, scope_tag<S> s) const {
#if MEGAKERNEL_ON_DEVICE
    if constexpr (O == order::release || O == order::acq_rel) device::fence(release, s);
    const bool swapped = device::compare_exchange(at, expected, desired, relaxed, in_device);
    if constexpr (O == order::acquire || O == order::acq_rel) device::fence(acquire, s);
    (void)o, (void)s;
    return swapped;
#else
    (void)o, (void)s;
    return __atomic_compare_exchange_n(at, &expected, desired, false, native(O), __ATOMIC_RELAXED);
#endif
  }
  template <order O, scope S>
  MEGAKERNEL_HOST_DEVICE void fence(order_tag<O> o, scope_tag<S> s) const {
#if MEGAKERNEL_ON_DEVICE
    device::fence(o, s);
#else
    (void)o, (void)s;
    __atomic_thread_fence(native(O));
#endif
  }
  /// The words of a slot that this lane holds; a slot starts on a cache line.
  MEGAKERNEL_HOST_DEVICE void read_body(const word* slot, word (&body)[abi::slot_words]) const {
#if MEGAKERNEL_ON_DEVICE
    for (unsigned i = 0; i < abi::slot_words / 4; ++i) {
      const uint4 four = load_quad_fresh(slot + 4 * i);
      body[4 * i] = four.x;
      body[4 * i + 1] = four.y;
      body[4 * i + 2] = four.z;
      body[4 * i + 3] = four.w;
    }
#else
    for (unsigned i = 0; i < abi::slot_words; ++i) body[i] = slot[i];
#endif
  }

 private:
  MEGAKERNEL_HOST_DEVICE static constexpr int native(order o) {
    return o == order::relaxed   ? __ATOMIC_RELAXED
           : o == order::acquire ? __ATOMIC_ACQUIRE
           : o == order::release ? __ATOMIC_RELEASE
                                 : __ATOMIC_ACQ_REL;
  }
};

}  // namespace megakernel::device
