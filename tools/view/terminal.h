// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The properties of the terminal the command writes to.
#pragma once

#include <cstddef>
#include <string_view>

/// Whether to colour, where `when` is "auto", "always" or "never". Auto: on a terminal that is not
/// dumb, unless NO_COLOR is set.
bool wants_colour(std::string_view when);

/// Columns of standard output; 100 where it is no terminal.
std::size_t screen_width();
