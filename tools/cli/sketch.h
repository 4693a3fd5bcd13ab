// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <CLI/CLI.hpp>

/// Adds `megakernel sketch` and its subcommands, which set the exit status.
void add_sketch(CLI::App& app, int& exit_code);
