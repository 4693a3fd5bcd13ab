// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The kernels of `megakernel run --target gpu`.
#include <megakernel/gpu/plugin_main.h>

#include "run_handlers.h"

MEGAKERNEL_GPU_PLUGIN(megakernel::tool::run_handlers::all)
