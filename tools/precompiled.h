// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Compiled once for all units of the command's parts: a second of each unit's time.
#pragma once

#include <nlohmann/json.hpp>

#include "standard.h"

// Instantiated here rather than in each unit that writes a document.
static_assert(sizeof(nlohmann::ordered_json) > 0 && sizeof(nlohmann::json) > 0);
