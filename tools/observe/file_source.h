// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include "standard.h"

#include <chrono>
#include <cstdint>
#include <expected>
#include <optional>
#include <string>
#include <utility>

#include "cli/input.h"
#include "observe/frame.h"

import megakernel;

namespace megakernel::tool {

/// Frames from a control buffer and a ring that another process rewrites as files.
///
/// A frame comes when either file is seen to be another than before, by its inode, size or time.
/// Both are read then, and again where one of them changed meanwhile. A writer that renames a new
/// file over the old one is never seen half-way; one that writes in place can be.
class file_source {
 public:
  file_source(std::string control, std::string ring, const input_limits& limits)
      : control_path_(std::move(control)), ring_path_(std::move(ring)), limits_(limits) {}

  /// Nothing where neither file was rewritten since the last frame. The error is a sentence with
  /// the file's name; the next call may do. The frame's spans live until the next call.
  [[nodiscard]] std::expected<std::optional<frame>, std::string> next();

 private:
  /// Which file a name stood for.
  struct identity {
    std::uint64_t device = 0;
    std::uint64_t inode = 0;
    std::int64_t bytes = 0;
    std::int64_t seconds = 0;
    std::int64_t nanoseconds = 0;
    friend bool operator==(const identity&, const identity&) = default;
  };
  using both = std::pair<identity, identity>;
  [[nodiscard]] static std::expected<identity, std::string> identify(const std::string& path);
  [[nodiscard]] std::expected<both, std::string> identify_both() const;
  [[nodiscard]] static std::expected<byte_buffer, std::string> read(const std::string& path,
                                                                    const input_limits& limits);

  std::string control_path_;
  std::string ring_path_;
  input_limits limits_;
  std::optional<both> seen_;
  byte_buffer control_;
  byte_buffer ring_;
  std::optional<std::chrono::steady_clock::time_point> began_;
};

}  // namespace megakernel::tool
