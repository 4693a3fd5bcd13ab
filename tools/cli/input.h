// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include "standard.h"

#include <chrono>
#include <cstdint>
#include <expected>
#include <optional>
#include <string>

import megakernel;

/// Reads whatever a command line names: a dump, a pipe, a device, a directory by mistake.
namespace megakernel::tool {

/// The bounds of one input. An input over the bound is refused, never cut.
struct input_limits {
  std::uint64_t max_bytes = std::uint64_t{64} << 20;
  /// For the whole of an input that is not a regular file: a pipe may never end.
  std::chrono::milliseconds timeout{10'000};
};

struct input {
  byte_buffer bytes;
  /// When it was last written, where it is a regular file.
  std::optional<std::chrono::nanoseconds> modified;
};

struct input_error {
  enum class kind : std::uint8_t {
    cannot_open,  ///< `system` says why
    cannot_read,  ///< `system` says why
    is_directory,
    too_large,      ///< more than `bound` bytes
    timed_out,      ///< not all of it came within `bound` milliseconds
    out_of_memory,  ///< `bound` bytes were asked for
  };
  kind what;
  int system = 0;
  std::uint64_t bound = 0;
  std::uint64_t found = 0;  ///< bytes read before it, or the size of a file that is too large
};

/// The problem and the action against it, in a sentence or two.
[[nodiscard]] std::string sentence(const input_error& problem);

/// `"64 MiB"`, or `"1,000 bytes"` where it is not a round number of a larger unit.
[[nodiscard]] std::string human_bytes(std::uint64_t bytes);

/// All bytes of `path`; `-` is standard input. Memory stays within the bound plus the copy while
/// growing. Returns in bounded time for everything but a regular file on a device that hangs.
[[nodiscard]] std::expected<input, input_error> read_input(const std::string& path,
                                                           const input_limits& limits) noexcept;

}  // namespace megakernel::tool
