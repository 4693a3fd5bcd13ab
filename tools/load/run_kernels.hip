// The kernels of `megakernel run --target gpu`.
#include <megakernel/gpu/gpu_component_main.h>

#include "run_handlers.h"

MEGAKERNEL_GPU_COMPONENT(megakernel::tool::run_handlers::all)
