// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include "cli/output.h"
#include "observe/inspect.h"

namespace megakernel::tool {

/// A header line, then a row a slot in index order; docs/inspect.md names the columns.
void render_csv(const inspection& found, output& to);

}  // namespace megakernel::tool
