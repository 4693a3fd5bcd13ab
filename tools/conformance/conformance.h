// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <span>
#include <string>

#include "cli/output.h"

namespace megakernel::tool {

/// Runs every case of golden vector files, a JSON case a line, plain or compressed with zstd, and
/// writes a line a kind and a last line with the sums. Cases of kinds that the library does not
/// implement are skipped. Failing cases, the first few of a kind, go to standard error.
/// Returns 0, or 1 when a case failed or a file could not be read.
[[nodiscard]] int run_conformance(std::span<const std::string> files, output& to);

}  // namespace megakernel::tool
