// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The full-screen view on a real terminal: shows observations, reads keys.
#pragma once

#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "observe/histogram.h"
#include "observe/inspect.h"
#include "observe/observer.h"
#include "report/report.h"
#include "view/terminal_screen.h"
#include "view/view.h"

class full_screen {
 public:
  /// Nothing where there is no terminal to draw on.
  static std::unique_ptr<full_screen> open(const std::string& title, bool colour);

  /// The latest observation: it is drawn at the next `wait`.
  void show(megakernel::tool::observation&& seen);
  /// Forgets the course of figures, after a jump in time.
  void forget();
  /// How the frames come. To change it has it drawn at the next `wait`.
  megakernel::tool::view_playback& playback() noexcept {
    stale_ = true;
    return playback_;
  }
  const megakernel::tool::view_playback& playback() const noexcept { return playback_; }

  /// Draws what is new, and reads keys until one asks for something that is not the view's own, or
  /// until `longest` has passed: then `none`. Pausing is remembered in `playback`.
  megakernel::tool::view_request wait(std::chrono::nanoseconds longest);

 private:
  using clock = std::chrono::steady_clock;
  full_screen(std::unique_ptr<terminal_screen> on, const std::string& title)
      : on_(std::move(on)), title_(title) {}
  void draw();

  std::unique_ptr<terminal_screen> on_;
  std::string title_;
  megakernel::tool::view_state state_;
  megakernel::tool::view_history history_;
  megakernel::tool::view_playback playback_;
  std::optional<megakernel::tool::observation> now_;
  bool stale_ = true;
};
