// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <string>

#include "cli/output.h"
#include "observe/observer.h"

namespace megakernel::tool {

/// An observation as one JSON object without an end of line: everything that it has.
/// docs/capture.md says what the members mean.
[[nodiscard]] std::string observation_json(const observation& seen);
/// The same as a line, written now.
void render_observation_json(const observation& seen, output& to);

}  // namespace megakernel::tool
