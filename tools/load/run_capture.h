// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <expected>
#include <memory>
#include <mutex>
#include <string>
#include <thread>

#include "load/run.h"
#include "observe/capture.h"
#include "observe/capture_writer.h"

namespace megakernel::tool {

/// Takes frames of a run at a steady rate, in a thread of its own that sleeps in between, and hands
/// them to a writer. A frame whose time has passed is not made up for but counted as dropped, and
/// so is one that the writer has no room for, which is then not even copied.
class run_capture {
 public:
  /// `rate`: frames a second, over 0 and at most 10,000. `build`: what writes the file, for a
  /// person. `of` outlives this object. The error is a sentence without the name.
  [[nodiscard]] static std::expected<std::unique_ptr<run_capture>, std::string> start(
      live_run& of, const std::string& path, double rate, const std::string& build);
  /// As `stop`, and nobody learns how that went.
  ~run_capture();
  run_capture(const run_capture&) = delete;
  run_capture& operator=(const run_capture&) = delete;

  /// So far; for any thread.
  [[nodiscard]] capture_totals totals() const noexcept { return writer_->totals(); }
  /// Why nothing is written any more, in a sentence; empty while all is well.
  [[nodiscard]] std::string failure() const { return writer_->failure(); }

  /// Takes a last frame and closes the file. The error is a sentence.
  [[nodiscard]] std::expected<capture_totals, std::string> stop();

 private:
  using clock = std::chrono::steady_clock;
  run_capture(live_run& of, std::unique_ptr<capture_writer> writer, clock::duration period)
      : run_(of), writer_(std::move(writer)), period_(period) {}
  void follow() noexcept;
  void take() noexcept;
  void join();

  live_run& run_;
  run_sample sample_;
  std::unique_ptr<capture_writer> writer_;
  clock::duration period_;
  std::mutex guard_;
  std::condition_variable wake_;
  bool stop_ = false;
  std::thread thread_;
};

}  // namespace megakernel::tool
