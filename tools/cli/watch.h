// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The command line of `megakernel watch`.
#pragma once

#include <CLI/CLI.hpp>

/// Adds `megakernel watch`, which sets the exit status.
void add_watch(CLI::App& app, int& exit_code);
