// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The end of a subcommand: its exit status, and the sentences on stderr.
#pragma once

#include <expected>
#include <string>
#include <string_view>

#include "cli/output.h"

namespace megakernel::tool {

/// The exit statuses of all subcommands.
enum exit_status : int {
  success = 0,    ///< the work is done; where a kernel was looked at, nothing looks wrong
  unusable = 1,   ///< an input or the output was not usable
  usage = 2,      ///< the command line was not understood
  attention = 3,  ///< the work is done, and the kernel looks stalled, dead, blocked or faulted
};

/// "FILE: WHY", safe to print.
[[nodiscard]] std::string about(std::string_view file, std::string_view why);
/// The same of an input that is read as it comes: `-` is the standard input.
[[nodiscard]] std::string about_input(std::string_view file, std::string_view why);

/// To stderr, where a failure to write has nowhere left to be told.
void complain(std::string_view sentence);
/// Complains, and returns `unusable`.
int give_up(std::string_view sentence);

/// Writes what is left. The error is a sentence about the output.
[[nodiscard]] std::expected<void, std::string> finish(output& to);
/// Writes what is left; returns `code`, or gives up where not all of the text could be written.
[[nodiscard]] int finish(output& to, int code);

}  // namespace megakernel::tool
