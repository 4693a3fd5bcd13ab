// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include "standard.h"

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <expected>
#include <optional>
#include <string>
#include <vector>

import megakernel;

namespace megakernel::tool {

/// One frame of a capture, for what looks at dumps.
struct captured_frame {
  std::uint64_t number = 0;  ///< from 0
  std::chrono::nanoseconds at{};
  std::vector<std::byte> control{};
  std::vector<std::byte> ring{};
  std::vector<std::byte> debug_log{};
  std::vector<std::byte> io_queue{};
  /// The frame it is compared with: a second earlier, or the first where that is younger. From one
  /// frame to the next may be so short a time that nothing has moved and nothing is wrong.
  struct earlier {
    std::vector<std::byte> control{};
    std::vector<std::byte> ring{};
    std::chrono::nanoseconds interval{};
  };
  std::optional<earlier> previous{};  ///< nothing for the first frame
  std::vector<opcode> windows{};      ///< as the capture says
};

/// The last frame at or before a time, the first where all are later; without one the last of all.
/// The error is a sentence without the name.
[[nodiscard]] std::expected<captured_frame, std::string> read_captured_frame(
    const std::string& path, std::optional<std::chrono::nanoseconds> at);

}  // namespace megakernel::tool
