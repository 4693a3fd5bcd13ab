// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Compiled once for all units of the command line, which is made with CLI11.
#pragma once

#include <CLI/CLI.hpp>

#include "standard.h"
