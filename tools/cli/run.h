// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The command line of `megakernel run`.
#pragma once

#include <CLI/CLI.hpp>

/// Adds `megakernel run`, which sets the exit status.
void add_run(CLI::App& app, int& exit_code);
