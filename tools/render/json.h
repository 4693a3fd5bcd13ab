// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include "cli/output.h"
#include "observe/inspect.h"

namespace megakernel::tool {

struct json_options {
  bool slots = false;  ///< list every slot, too
};

/// One object, a member a line and a list element a line; docs/inspect.md says what they mean.
/// Lists are written as they are walked, so that a large ring needs no document in memory.
void render_json(const inspection& found, const json_options& options, output& to);

}  // namespace megakernel::tool
