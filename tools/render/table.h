// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cstddef>
#include <cstdint>

#include "cli/output.h"
#include "observe/inspect.h"

namespace megakernel::tool {

struct table_options {
  std::uint32_t top = 10;   ///< rows a table
  std::size_t width = 100;  ///< columns of the screen; 60 to 100 are used
  bool colour = false;
};

/// For a person: the verdict first, then what is where; what is empty is left out.
void render_table(const inspection& found, const table_options& options, output& to);

}  // namespace megakernel::tool
