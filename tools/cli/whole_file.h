// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <expected>
#include <functional>
#include <string>

#include "cli/output.h"

/// A file that is there as a whole or not at all.
namespace megakernel::tool {

/// Why `path` cannot be written, as far as it can be told before anything is: it is a directory, or
/// lies in none that can be written to. The error is a sentence without the name.
[[nodiscard]] std::expected<void, std::string> check_writable(const std::string& path);

/// Writes what `fill` does. A regular file, or one that is not there yet, is written beside its
/// place and moved there when all of it is on the disk: whatever fails, also the machine, leaves
/// what was there as it was. A link leads to the file it names; a pipe or a device is written to.
/// The error is a sentence without the name, or that of `fill`.
[[nodiscard]] std::expected<void, std::string> write_whole_file(
    const std::string& path,
    const std::function<std::expected<void, std::string>(output& to)>& fill);

}  // namespace megakernel::tool
