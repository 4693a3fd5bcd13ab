// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// A capture on the full-screen view.
#pragma once

#include <atomic>
#include <expected>
#include <string>

#include "observe/capture_player.h"
#include "view/full_screen.h"

struct replay_view_options {
  double speed = 1;  ///< over 0
  std::chrono::nanoseconds from{};
  bool paused = false;
};

/// Plays until its user has enough of it, or `end` is not zero. Waits at the end for a file that is
/// still written. The error is a sentence.
std::expected<void, std::string> play(megakernel::tool::capture_player& from, full_screen& on,
                                      const replay_view_options& options,
                                      const std::atomic<int>& end);
