// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include "standard.h"

#include <cstddef>
#include <cstdint>
#include <expected>
#include <memory>
#include <string>

#include "observe/capture.h"
#include "observe/frame.h"

import megakernel;

namespace megakernel::tool {

/// Writes a capture from a thread of its own, so that whoever has frames never waits for a disk.
///
/// A frame that is offered is copied into one of a few buffers, which are made at the start: as
/// many as fit into 32 MiB, but 2 to 16. When all of them wait to be written the frame is dropped
/// and counted. The thread runs at a low priority: where every core is taken, frames are dropped
/// before the kernel is slowed down.
class capture_writer {
 public:
  /// Replaces what `path` was. The error is a sentence without the name.
  [[nodiscard]] static std::expected<std::unique_ptr<capture_writer>, std::string> create(
      const std::string& path, const capture_header& header);
  /// Closes, and nobody learns how that went.
  ~capture_writer();
  capture_writer(const capture_writer&) = delete;
  capture_writer& operator=(const capture_writer&) = delete;

  /// Whether there is a buffer for another frame: if not, `offer` would drop it. O(1).
  [[nodiscard]] bool has_room() const noexcept;
  /// Copies the frame, or drops it; whether it was copied. Its buffers have the sizes that the
  /// header says, its time is not before that of the last one, its tenants and torn pages are in
  /// order: otherwise it is dropped, too. For one thread at a time; never waits. O(bytes).
  bool offer(const frame& seen) noexcept;
  /// Counts frames that were due and not even looked at as dropped.
  void miss(std::uint64_t frames = 1) noexcept;

  /// So far; for any thread.
  [[nodiscard]] capture_totals totals() const noexcept;
  /// Why nothing is written any more, in a sentence; empty while all is well. For any thread.
  [[nodiscard]] std::string failure() const;

  /// Writes what waits, the index and the end. The error is the failure, or that of closing.
  /// Nothing may be offered afterwards.
  [[nodiscard]] std::expected<capture_totals, std::string> close();

 private:
  struct state;
  explicit capture_writer(std::unique_ptr<state> made) noexcept;
  std::unique_ptr<state> state_;
};

}  // namespace megakernel::tool
