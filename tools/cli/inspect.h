// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The command line of `megakernel inspect`.
#pragma once

#include <CLI/CLI.hpp>

/// Adds `megakernel inspect`, which sets the exit status.
void add_inspect(CLI::App& app, int& exit_code);
