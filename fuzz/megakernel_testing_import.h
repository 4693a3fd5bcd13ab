// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The stepper, as a module or as its header build. Include it after all other headers.
#pragma once

#ifdef MEGAKERNEL_HEADER_BUILD
#include <megakernel/testing.h>
#else
import megakernel.testing;
#endif
