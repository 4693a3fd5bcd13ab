// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The command line of `megakernel recommend`.
#pragma once

#include <CLI/CLI.hpp>

/// Adds `megakernel recommend`, which sets the exit status.
void add_recommend(CLI::App& app, int& exit_code);
