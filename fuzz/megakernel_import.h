// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The library, as modules or as its header build. Include it after all other headers.
#pragma once

#ifdef MEGAKERNEL_HEADER_BUILD
#include <megakernel/headers.h>
#else
import megakernel;
#endif
