// The library, as modules or as its textual twin. Include it after all other headers.
#pragma once

#ifdef MEGAKERNEL_TEXTUAL
#include <megakernel/textual.h>
#else
import megakernel;
#endif
