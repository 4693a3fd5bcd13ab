// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The command line of `megakernel replay`.
#pragma once

#include <CLI/CLI.hpp>

#include <string>

/// Adds `megakernel replay`, which sets the exit status.
void add_replay(CLI::App& app, int& exit_code);

/// Plays all of a capture, as `megakernel replay FILE` does; returns the exit status.
int replay_capture(const std::string& file, const std::string& view, const std::string& colour);
