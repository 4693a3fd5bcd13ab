// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The command line of `megakernel report`.
#pragma once

#include <CLI/CLI.hpp>

/// Adds `megakernel report`, which sets the exit status.
void add_report(CLI::App& app, int& exit_code);
