// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The command line of `megakernel serve`.
#pragma once

#include <CLI/CLI.hpp>

/// Adds `megakernel serve`, which sets the exit status.
void add_serve(CLI::App& app, int& exit_code);
