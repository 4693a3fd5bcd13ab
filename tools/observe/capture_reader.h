// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include "standard.h"

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <expected>
#include <memory>
#include <optional>
#include <string>

#include "observe/capture.h"
#include "observe/frame.h"

import megakernel;

namespace megakernel::tool {

/// Reads a capture, in order or from any time. Nothing that the file says is believed: lengths are
/// checked against bounds before anything is allocated, each piece against its checksum before it
/// is looked at. A frame costs at most 64 decompressions, the next one costs one. Memory: three
/// times the buffers, and 24 bytes a frame.
class capture_reader {
 public:
  /// Where the frames stand is read from the index, or found by going from frame to frame where
  /// there is none: the file was not closed, or ends too soon. O(frames). The error is a sentence
  /// without the name.
  [[nodiscard]] static std::expected<capture_reader, std::string> open(const std::string& path);
  capture_reader(capture_reader&&) noexcept;
  capture_reader& operator=(capture_reader&&) noexcept;
  ~capture_reader();

  [[nodiscard]] const capture_header& header() const noexcept;
  /// Whole frames, frames that are known to be missing, bytes of the file.
  [[nodiscard]] const capture_totals& totals() const noexcept;
  [[nodiscard]] std::uint64_t frames() const noexcept { return totals().frames; }
  /// Why there is no more, in a sentence: `"It ends in the middle of frame 12; 12 frames are
  /// whole."` Empty where the capture was closed as it should be.
  [[nodiscard]] const std::string& damage() const noexcept;

  /// Of a frame below `frames()`. O(1).
  [[nodiscard]] std::chrono::nanoseconds time_of(std::uint64_t number) const noexcept;
  /// Of the last frame; zero without any.
  [[nodiscard]] std::chrono::nanoseconds length() const noexcept;
  /// The first frame at or after a time; `frames()` where there is none. O(log frames).
  [[nodiscard]] std::uint64_t first_from(std::chrono::nanoseconds at) const noexcept;
  /// The last frame at or before a time; 0 where there is none. O(log frames).
  [[nodiscard]] std::uint64_t last_until(std::chrono::nanoseconds at) const noexcept;

  /// The error is a sentence with the place in the file; other frames may be readable. The frame's
  /// spans live until the next call of this, of `next`, or the end of the reader.
  [[nodiscard]] std::expected<frame, std::string> frame_at(std::uint64_t number);

  /// The result of `next`.
  [[nodiscard]] std::uint64_t position() const noexcept;
  void seek(std::uint64_t number) noexcept;
  /// The frame at the position, which moves on, also over a frame that cannot be read; nothing at
  /// the end.
  [[nodiscard]] std::expected<std::optional<frame>, std::string> next();

 private:
  struct state;
  explicit capture_reader(std::unique_ptr<state> made) noexcept;
  std::unique_ptr<state> state_;
};

}  // namespace megakernel::tool
