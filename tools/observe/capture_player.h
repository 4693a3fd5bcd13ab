// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include "standard.h"

#include <chrono>
#include <cstdint>
#include <expected>
#include <optional>
#include <string>
#include <utility>

#include "observe/capture_reader.h"
#include "observe/observer.h"

import megakernel;

namespace megakernel::tool {

/// A capture that is observed frame by frame from anywhere in it, also while it is still written.
class capture_player {
 public:
  /// `hold_time`: as `observer::make`. The error is a sentence without the name.
  [[nodiscard]] static std::expected<capture_player, std::string> open(
      const std::string& path, std::chrono::nanoseconds hold_time = std::chrono::seconds(1));

  [[nodiscard]] const capture_reader& capture() const noexcept { return reader_; }
  [[nodiscard]] std::uint64_t position() const noexcept { return reader_.position(); }
  /// When the frame that `next` observes is due; nothing at the end.
  [[nodiscard]] std::optional<std::chrono::nanoseconds> next_at() const noexcept;

  /// Observes the frame at the position, which moves on; nothing at the end. The error is a
  /// sentence.
  [[nodiscard]] std::expected<std::optional<observation>, std::string> next();
  /// To a frame, or to the last one at or before a time. The frame before it is observed, too, so
  /// that the first one shown has rates. The error is a sentence.
  [[nodiscard]] std::expected<void, std::string> seek(std::uint64_t number);
  [[nodiscard]] std::expected<void, std::string> seek(std::chrono::nanoseconds at) {
    return seek(reader_.last_until(at));
  }

  /// Looks whether the file has grown, and whether there are more frames then.
  [[nodiscard]] bool grow();

 private:
  capture_player(std::string path, std::chrono::nanoseconds hold_time, capture_reader&& reader,
                 observer&& watching)
      : path_(std::move(path)),
        hold_time_(hold_time),
        reader_(std::move(reader)),
        observer_(std::move(watching)) {}

  std::string path_;
  std::chrono::nanoseconds hold_time_;
  capture_reader reader_;
  observer observer_;
};

}  // namespace megakernel::tool
