// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Kernels with a handler that can take the device along; see lost.cpp.
#include <megakernel/gpu/plugin_main.h>

#include "lost.h"

namespace {

using namespace megakernel;

struct add_or_crash {
  static constexpr opcode op{lost::opcode};
  struct arguments {
    word how, index, value;
  };
  template <class Context>
  MEGAKERNEL_HOST_DEVICE device::outcome operator()(const arguments& a, Context& context) const {
#if defined(__HIP_DEVICE_COMPILE__)
    if (a.how == lost::crash) __builtin_trap();
#elif defined(__CUDA_ARCH__)
    if (a.how == lost::crash) __trap();
#endif
    return context.add_result(a.index, a.value) ? device::outcome::done()
                                                : device::outcome::fault(fault_code{100});
  }
};

}  // namespace

MEGAKERNEL_GPU_PLUGIN(megakernel::device::handlers<add_or_crash>)
