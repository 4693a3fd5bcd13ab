// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// What the kernels of lost_kernels.hip and their test agree on.
#pragma once

#include <stdint.h>

namespace lost {

inline constexpr uint32_t opcode = 9;
inline constexpr uint32_t add = 0;    ///< the third argument, to the observable word of the second
inline constexpr uint32_t crash = 1;  ///< ends whatever the process has on the device

}  // namespace lost
