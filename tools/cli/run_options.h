// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The options of `megakernel run`.
#pragma once

#include "standard.h"

#include <CLI/CLI.hpp>

#include <cstdint>
#include <optional>
#include <string>

#include "load/workload.h"

import megakernel;

namespace megakernel::tool {

struct run_options {
  run_profile profile;
  std::string target = "cpu";
  std::string ring_memory = "auto";
  bool in_process = false;
  std::string form;
  std::string work;
  std::string priorities;
  std::string inject;
  std::optional<double> duration;
  double drain = 5;
  std::optional<std::uint32_t> workers;
  std::string format = "table";
  std::string colour = "auto";
  std::string view = "auto";
  std::string dump;
  std::string capture;
  double capture_rate = 10;
  std::string serve;
  std::uint32_t top = 10;
};

/// Adds all of them.
void add_run_options(CLI::App& command, run_options& options);

/// Completes the profile from what was given, and refuses what cannot be. Throws
/// CLI::ValidationError.
void complete(run_options& options);

}  // namespace megakernel::tool
