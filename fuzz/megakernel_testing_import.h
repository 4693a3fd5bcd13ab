// The stepper, as a module or as its textual twin. Include it after all other headers.
#pragma once

#ifdef MEGAKERNEL_TEXTUAL
#include <megakernel/testing.h>
#else
import megakernel.testing;
#endif
