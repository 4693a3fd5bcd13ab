// The parts of the command, as modules or as their textual twin. Include it after all other
// headers.
#pragma once

#ifdef MEGAKERNEL_TEXTUAL
#include <megakernel/tool.h>
#else
import megakernel.tool;
#endif
