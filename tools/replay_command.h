// The command line of `megakernel replay`.
#pragma once

#include <CLI/CLI.hpp>

/// Adds `megakernel replay`, which sets the exit status.
void add_replay(CLI::App& app, int& exit_code);
