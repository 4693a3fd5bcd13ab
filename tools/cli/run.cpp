// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <fmt/format.h>
#include <unistd.h>
#include <CLI/CLI.hpp>

#include <algorithm>
#include <array>
#include <chrono>
#include <csignal>
#include <expected>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <utility>

#include "cli/dump.h"
#include "cli/options.h"
#include "cli/output.h"
#include "cli/run.h"
#include "cli/run_options.h"
#include "cli/signals.h"
#include "cli/status.h"
#include "load/injection.h"
#include "load/run.h"
#include "load/run_capture.h"
#include "load/workload.h"
#include "observe/observer.h"
#include "observe/verdict.h"
#include "render/capture.h"
#include "render/diagnosis.h"
#include "render/names.h"
#include "render/run.h"
#include "report/report.h"
#include "serve/http_server.h"
#include "serve/metrics.h"
#include "view/full_screen.h"
#include "view/terminal.h"
#include "view/view.h"

import megakernel;

namespace {

using namespace megakernel::tool;
using namespace std::chrono_literals;

class run_command {
 public:
  explicit run_command(const run_options& options)
      : options_(options),
        style_{.width = screen_width(), .colour = wants_colour(options.colour), .top = options.top},
        to_(STDOUT_FILENO) {}

  int run() {
    std::optional<dump_directory> directory;
    if (!options_.dump.empty()) {
      auto opened = dump_directory::open(options_.dump);
      if (!opened) return give_up(about(options_.dump, opened.error()));
      directory.emplace(std::move(*opened));
    }
    std::unique_ptr<live_metrics> pages;  // these end before the kernel
    std::unique_ptr<http_server> server;
    if (auto started = start(directory.has_value(), pages, server); !started)
      return give_up(started.error());
    if (auto loaded = watch_load(); !loaded) return give_up(loaded.error());
    const auto drained = watch_drain();
    if (!drained) return give_up(drained.error());
    const auto found = kernel_->finish(!*drained);
    if (!found) return give_up(found.error());
    const int code = tell(*found);
    if (!directory) return code;
    const auto written = directory->write(kernel_->dump());
    return written ? code : give_up(about(options_.dump, written.error()));
  }

 private:
  using clock = std::chrono::steady_clock;
  using outcome = std::expected<void, std::string>;
  static constexpr std::chrono::nanoseconds turn = 10ms;
  static constexpr std::chrono::nanoseconds between_lines = 990ms;

  [[nodiscard]] bool json() const { return options_.format == "json"; }

  /// The kernel, and what looks at it.
  outcome start(bool keep_dump, std::unique_ptr<live_metrics>& pages,
                std::unique_ptr<http_server>& server) {
    catch_signals();
    std::signal(SIGXFSZ, SIG_IGN);  // a file over its limit is an error to report
    auto kernel = live_run::start(options_.profile, keep_dump);
    if (!kernel) return std::unexpected(kernel.error());
    kernel_ = std::move(*kernel);
    if (!options_.capture.empty()) {
      auto capture = run_capture::start(*kernel_, options_.capture, options_.capture_rate,
                                        "megakernel " MEGAKERNEL_VERSION ", " __VERSION__);
      if (!capture) return std::unexpected(about(options_.capture, capture.error()));
      capture_ = std::move(*capture);
    }
    if (!options_.serve.empty()) {
      if (auto served = serve(pages, server); !served) return served;
    }
    if (auto viewed = open_view(); !viewed) return viewed;
    if (!json() && view_ == nullptr) render_run_head(options_.profile, style_, to_);
    return {};
  }

  /// Says what came of it; returns the exit status.
  int tell(const run_findings& found) {
    const bool captured = end_capture();
    if (view_ != nullptr) {
      view_.reset();  // what follows is for the terminal's ordinary screen
      render_run_head(options_.profile, style_, to_);
    }
    if (json()) {
      render_findings_json(found, to_);
    } else {
      render_findings(found, style_, to_);
    }
    return finish(to_, !captured ? unusable : needs_attention(found) ? attention : success);
  }

  /// The address goes to stderr: stdout belongs to the run.
  outcome serve(std::unique_ptr<live_metrics>& pages, std::unique_ptr<http_server>& server) {
    auto made = live_metrics::make(*kernel_, {.version = MEGAKERNEL_VERSION,
                                              .target = options_.profile.on_gpu ? "gpu" : "cpu"});
    if (!made) return std::unexpected(made.error());
    pages = std::move(*made);
    const auto where = parse_listen_address(options_.serve);  // the command line has checked it
    auto opened = http_server::open(*where, answers_of(*pages));
    if (!opened) return std::unexpected(opened.error());
    server = std::move(*opened);
    complain(fmt::format("The metrics are at {}", server->url()));
    metrics_at_ = server->url();
    return {};
  }

  outcome open_view() {
    if (json() || options_.view == "never") return {};
    const run_profile& p = options_.profile;
    view_ = full_screen::open(
        fmt::format("megakernel run  {} on {}, {}{}{}", counted(p.workers, "worker"),
                    counted(p.slots, "slot"), counted(p.tenants, "tenant"),
                    metrics_at_.empty() ? "" : "  ", metrics_at_),
        style_.colour);
    if (view_ == nullptr && options_.view == "always") return std::unexpected(no_terminal);
    if (view_ == nullptr) return {};
    auto made = observer::make(std::array{window_opcode}, p.hold_time);
    if (!made) return std::unexpected(made.error());
    observer_ = std::move(*made);
    return {};
  }

  /// Lets time pass; in the view, for its user.
  void wait(std::chrono::nanoseconds longest) {
    if (view_ == nullptr) return std::this_thread::sleep_for(longest);
    const view_request asked = view_->wait(longest);
    if (asked == view_request::quit) quit_ = true;
    if (asked == view_request::step) stepped_ = true;
  }

  /// Signals that asked for an end so far, and the view's key for it.
  [[nodiscard]] int ends_asked() const { return signals() + (quit_ ? 1 : 0); }

  /// Whether all is well with it; if not, that is said once.
  bool watch_capture() {
    if (!capture_ || capture_failed_) return !capture_failed_;
    const std::string why = capture_->failure();
    if (why.empty()) return true;
    complain(about(options_.capture, why));
    capture_failed_ = true;
    return false;
  }

  bool end_capture() {
    if (!capture_) return true;
    const auto totals = capture_->stop();
    if (!totals) return watch_capture();
    if (json()) {
      render_captured_json(options_.capture, *totals, to_);
    } else {
      render_captured(options_.capture, *totals, style_, to_);
    }
    return true;
  }

  outcome observe() {
    if (view_ != nullptr && std::as_const(*view_).playback().paused &&
        !std::exchange(stepped_, false))
      return {};
    const auto seen = kernel_->observe();
    if (!seen) return std::unexpected(seen.error());
    (void)watch_capture();
    if (view_ != nullptr) {
      auto observed = observer_->observe(kernel_->last_frame());
      if (!observed) return std::unexpected(observed.error());
      view_->playback().remark = seen->phase == run_phase::drain ? "draining" : "";
      view_->show(std::move(*observed));
      return {};
    }
    if (json()) {
      render_sample_json(*seen, to_);
      return {};
    }
    // Looks may come more often than lines that a person can read.
    const std::string ailing = headline(seen->diagnosis);
    const bool changed = ailing != ailing_;
    if (samples_apart() < between_lines && !changed && clock::now() < next_line_) return {};
    render_sample(*seen, style_, to_);
    next_line_ = clock::now() + between_lines;
    if (changed) render_diagnosis(*seen, style_, to_);
    ailing_ = ailing;
    return {};
  }

  /// Looks once a second, and when the load is about to end: what was found under load is of then.
  outcome watch_load() {
    auto next = clock::now() + samples_apart();
    while (!kernel_->load_ended()) {
      if (auto injected = kernel_->inject_when_due(); !injected) return injected;
      const bool over = kernel_->load_left() == 0ns;
      if (over || ends_asked() != 0 || stepped_ || clock::now() >= next) {
        if (auto looked = observe(); !looked) return looked;
        next += samples_apart();
      }
      if (to_.failed()) return kernel_->stop_load(run_end::output), outcome();
      if (ends_asked() != 0) return kernel_->stop_load(run_end::signal), outcome();
      if (over) return kernel_->stop_load(run_end::duration), outcome();
      const auto wait = std::min<std::chrono::nanoseconds>(kernel_->load_left(), turn);
      this->wait(std::min<std::chrono::nanoseconds>(wait, next - clock::now()));
    }
    return observe();  // all that was to be published is
  }

  /// Whether it was drained, or waited for as long as it was asked to.
  std::expected<bool, std::string> watch_drain() {
    auto next = clock::now() + samples_apart();
    while (!kernel_->drain(turn)) {
      if (view_ != nullptr) wait(0ns);
      if (ends_asked() > 1 || to_.failed()) return false;
      if (kernel_->drained_for() >= options_.profile.drain) return true;
      if (clock::now() < next) continue;
      if (auto looked = observe(); !looked) return std::unexpected(looked.error());
      next += samples_apart();
    }
    return true;
  }

  /// A failure that is injected should be found within a second.
  [[nodiscard]] std::chrono::nanoseconds samples_apart() const {
    if (options_.profile.inject != injection::nothing) return 25ms;
    return view_ != nullptr ? 250ms : 1s;
  }

  const run_options& options_;
  run_style style_;
  std::string ailing_;  // as last shown
  clock::time_point next_line_{};
  output to_;
  std::unique_ptr<live_run> kernel_;
  std::unique_ptr<run_capture> capture_;  // of the run above, so it ends before it
  bool capture_failed_ = false;
  std::string metrics_at_;
  std::unique_ptr<full_screen> view_;
  std::optional<observer> observer_;
  bool quit_ = false;
  bool stepped_ = false;
};

}  // namespace

void add_run(CLI::App& app, int& exit_code) {
  CLI::App& command =
      *app.add_subcommand("run", "Run a kernel under load and say how it does, live");
  const auto options = std::make_shared<run_options>();
  add_run_options(command, *options);
  command.footer(
      "Examples:\n"
      "  megakernel run\n"
      "  megakernel run --mix nop --producers 1 --workers 1 --spin --duration 10\n"
      "  megakernel run --priorities critical=1,normal=8 --rate 200000 --tenants 8\n"
      "  megakernel run --inject stall\n"
      "  megakernel run --count 1000000 --seed 7 --format json --dump /tmp/run\n"
      "  megakernel run --duration 60 --capture run.mkcap --capture-rate 100\n"
      "  megakernel run --duration 3600 --serve 127.0.0.1:9464   # metrics for Prometheus\n"
      "\n"
      "Ctrl-C ends the load and drains the ring; a second one ends that, too.\n"
      "\n"
      "Exit status: 0 nothing looks wrong, 1 there was no run or no output, 2 usage, 3 the kernel\n"
      "looks stalled, dead, blocked or faulted, or lost work.");
  command.callback([options, &exit_code] {
    complete(*options);
    exit_code = run_command(*options).run();
  });
}
