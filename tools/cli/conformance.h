// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The command line of `megakernel conformance`.
#pragma once

#include <CLI/CLI.hpp>

/// Adds `megakernel conformance`, which sets the exit status.
void add_conformance(CLI::App& app, int& exit_code);
