// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <fmt/format.h>
#include <unistd.h>
#include <CLI/CLI.hpp>

#include <chrono>
#include <cstdint>
#include <expected>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "cli/options.h"
#include "cli/output.h"
#include "cli/replay.h"
#include "cli/signals.h"
#include "cli/status.h"
#include "cli/watch.h"
#include "observe/file_source.h"
#include "observe/observer.h"
#include "observe/verdict.h"
#include "render/capture.h"
#include "render/layout.h"
#include "render/names.h"
#include "render/run.h"
#include "render/sample_line.h"
#include "report/report.h"
#include "view/full_screen.h"
#include "view/terminal.h"
#include "view/view.h"

import megakernel;

namespace {

using namespace megakernel::tool;
using namespace std::chrono_literals;
using megakernel::opcode;
using megakernel::word;

struct watch_options {
  std::string capture;
  std::string control;
  std::string ring;
  std::vector<std::string> window_opcodes;
  std::string view = "auto";
  std::string colour = "auto";
  double interval = 0.5;
  std::optional<double> duration;
  std::optional<std::uint64_t> max_bytes;
};

class watch_command {
 public:
  explicit watch_command(const watch_options& options)
      : options_(options),
        style_{.width = screen_width(), .colour = wants_colour(options.colour)},
        to_(STDOUT_FILENO),
        files_(options.control, options.ring,
               {.max_bytes = options.max_bytes.value_or(usual_ring_bytes)}) {}

  int run() {
    catch_signals();
    auto made = observer::make(parse_opcodes(options_.window_opcodes), 1s);
    if (!made) return give_up(made.error());
    observer_ = std::move(*made);

    // The first sample must succeed: what was mistyped is said at once.
    if (auto looked = observe(); !looked) return give_up(looked.error());
    if (options_.view != "never")
      view_ = full_screen::open("megakernel watch  " + printable(options_.ring), style_.colour);
    if (view_ == nullptr && options_.view == "always") return give_up(no_terminal);
    if (view_ == nullptr) {
      screen page(to_, style_.width, style_.colour);
      print_sample_head(style_.width, page);
    }
    show();
    const int code = watch();
    view_.reset();
    if (!last_failure_.empty()) complain(last_failure_);
    return finish(to_, code);
  }

 private:
  using clock = std::chrono::steady_clock;

  /// Whether there was something new to see. The error is a sentence.
  std::expected<bool, std::string> observe() {
    const auto seen = files_.next();
    if (!seen) return std::unexpected(seen.error());
    if (!*seen) return false;
    auto observed = observer_->observe(**seen);
    if (!observed) return std::unexpected(std::move(observed.error()));
    fresh_ = std::move(*observed);
    rewritten_ = clock::now();
    return true;
  }

  void show() {
    if (!fresh_) return;
    attention_ = needs_attention(fresh_->state);
    if (view_ != nullptr) {
      view_->show(std::move(*fresh_));
    } else {
      render_observation(*fresh_, style_, to_);
      to_.flush();
    }
    fresh_.reset();
  }

  void remark() {
    if (view_ == nullptr) return;
    const auto quiet = clock::now() - rewritten_;
    view_->playback().remark = !last_failure_.empty() ? "unreadable now, trying again"
                               : quiet > 2s ? fmt::format("not rewritten for {} s", quiet / 1s)
                                            : "";
  }

  int watch() {
    const auto began = clock::now();
    while (signals() == 0 && !to_.failed()) {
      if (options_.duration && clock::now() - began >= from_seconds(*options_.duration)) break;
      remark();
      bool step = false;
      if (view_ != nullptr) {
        const view_request asked = view_->wait(from_seconds(options_.interval));
        if (asked == view_request::quit) break;
        step = asked == view_request::step;
        if (std::as_const(*view_).playback().paused && !step) continue;
      } else {
        std::this_thread::sleep_for(from_seconds(options_.interval));
      }
      const auto looked = observe();
      last_failure_ = looked ? std::string() : looked.error();
      if (looked && *looked) show();
    }
    return last_failure_.empty() ? attention_ ? attention : success : unusable;
  }

  const watch_options& options_;
  run_style style_;
  output to_;
  file_source files_;
  std::optional<observer> observer_;
  std::unique_ptr<full_screen> view_;
  std::optional<observation> fresh_;
  clock::time_point rewritten_ = clock::now();
  std::string last_failure_;
  bool attention_ = false;
};

}  // namespace

void add_watch(CLI::App& app, int& exit_code) {
  CLI::App& command = *app.add_subcommand(
      "watch", "Watch a kernel: a capture of it, or files that another process keeps rewriting");
  const auto options = std::make_shared<watch_options>();
  auto* const capture =
      add_file(command, "capture", options->capture, "A capture, played as `replay` does")
          ->type_name("CAPTURE");
  auto* const control =
      add_file(command, "--control", options->control, "Control buffer, a regular file")
          ->excludes(capture);
  auto* const ring =
      add_file(command, "--ring", options->ring, "Ring, a regular file")->needs(control);
  control->needs(ring);
  add_window_opcodes(command, options->window_opcodes)->needs(control);
  command.add_option("--interval", options->interval, "Seconds between looks at the files")
      ->check(CLI::Range(0.01, 3600.0))
      ->type_name("SECONDS")
      ->capture_default_str();
  command
      .add_option("--duration", options->duration, "Seconds to watch [until q, Ctrl-C or SIGTERM]")
      ->check(CLI::Range(0.01, 31'536'000.0))
      ->type_name("SECONDS");
  add_max_bytes(command, options->max_bytes, "Refuse a file over this size [1 GiB]");
  add_view(command, options->view, "The full-screen view; auto: on a terminal");
  add_colour(command, options->colour, "Colours");
  command.footer(
      "Examples:\n"
      "  megakernel watch run.mkcap\n"
      "  megakernel watch --control control.bin --ring ring.bin\n"
      "  megakernel watch --control /dev/shm/k.control --ring /dev/shm/k.ring \\\n"
      "      --interval 0.1 --window-opcode 1001 --duration 60 > watched.txt\n"
      "\n"
      "Exit status: 0 nothing looked wrong at the last look, 1 the files were not usable, 2 "
      "usage,\n"
      "3 the kernel looked stalled, dead, blocked or faulted.");
  command.callback([options, &exit_code] {
    if (!options->capture.empty()) {
      exit_code = replay_capture(options->capture, options->view, options->colour);
    } else if (!options->control.empty()) {
      exit_code = watch_command(*options).run();
    } else {
      throw CLI::ValidationError("Give a capture, or --control and --ring.");
    }
  });
}
