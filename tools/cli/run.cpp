// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <fmt/format.h>
#include <unistd.h>
#include <CLI/CLI.hpp>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cmath>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <expected>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <type_traits>
#include <utility>

#include "cli/dump.h"
#include "cli/input.h"
#include "cli/numbers.h"
#include "cli/output.h"
#include "cli/run.h"
#include "cli/signals.h"
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
using megakernel::schedule;

enum exit_status : int { healthy = 0, unusable = 1, attention = 3 };

void complain(std::string_view sentence) {
  std::fputs(fmt::format("megakernel: {}\n", sentence).c_str(), stderr);
}

struct run_options {
  run_profile profile;
  std::string target = "cpu";
  std::string ring_memory = "auto";
  bool in_process = false;
  std::string form;
  std::string work;
  std::string priorities;
  std::string inject;
  std::optional<double> duration;
  double drain = 5;
  std::optional<std::uint32_t> workers;
  std::string format = "table";
  std::string colour = "auto";
  std::string view = "auto";
  std::string dump;
  std::string capture;
  double capture_rate = 10;
  std::string serve;
  std::uint32_t top = 10;
};

std::chrono::nanoseconds from_seconds(double seconds) {
  return std::chrono::nanoseconds(std::max<std::int64_t>(1, std::llround(seconds * 1e9)));
}

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
      if (!opened) return give_up(fmt::format("{}: {}", printable(options_.dump), opened.error()));
      directory.emplace(std::move(*opened));
    }
    catch_signals();
    std::signal(SIGXFSZ, SIG_IGN);  // a file over its limit is an error to report
    auto kernel = live_run::start(options_.profile, directory.has_value());
    if (!kernel) return give_up(kernel.error());
    kernel_ = std::move(*kernel);
    if (!options_.capture.empty()) {
      auto capture = run_capture::start(*kernel_, options_.capture, options_.capture_rate,
                                        "megakernel " MEGAKERNEL_VERSION ", " __VERSION__);
      if (!capture) return give_up(about_capture(capture.error()));
      capture_ = std::move(*capture);
    }
    std::unique_ptr<live_metrics> pages;  // these end before the kernel
    std::unique_ptr<http_server> server;
    if (!options_.serve.empty()) {
      if (auto served = serve(pages, server); !served) return give_up(served.error());
    }
    if (auto viewed = open_view(); !viewed) return give_up(viewed.error());
    if (!json() && view_ == nullptr) render_run_head(options_.profile, style_, to_);

    if (auto loaded = watch_load(); !loaded) return give_up(loaded.error());
    const auto drained = watch_drain();
    if (!drained) return give_up(drained.error());
    const auto found = kernel_->finish(!*drained);
    if (!found) return give_up(found.error());
    const bool captured = end_capture();

    if (view_ != nullptr) {
      view_.reset();  // what follows is for the terminal's ordinary screen
      render_run_head(options_.profile, style_, to_);
    }
    if (json()) {
      render_findings_json(*found, to_);
    } else {
      render_findings(*found, style_, to_);
    }
    const int failure = to_.finish();
    int code = !captured ? unusable : needs_attention(*found) ? attention : healthy;
    if (failure != 0)
      code = give_up(fmt::format("The output could not be written: {}.", std::strerror(failure)));
    if (!directory) return code;
    const auto written = directory->write(kernel_->dump());
    if (written) return code;
    return give_up(fmt::format("{}: {}", printable(options_.dump), written.error()));
  }

 private:
  using clock = std::chrono::steady_clock;
  using outcome = std::expected<void, std::string>;
  static constexpr std::chrono::nanoseconds turn = 10ms;
  static constexpr std::chrono::nanoseconds between_lines = 990ms;

  [[nodiscard]] bool json() const { return options_.format == "json"; }

  static int give_up(std::string_view sentence) {
    complain(sentence);
    return unusable;
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
    if (view_ == nullptr && options_.view == "always")
      return std::unexpected("There is no terminal to show the view on. Leave --view out.");
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

  [[nodiscard]] std::string about_capture(std::string_view why) const {
    return fmt::format("{}: {}", printable(options_.capture), why);
  }

  /// Whether all is well with it; if not, that is said once.
  bool watch_capture() {
    if (!capture_ || capture_failed_) return !capture_failed_;
    const std::string why = capture_->failure();
    if (why.empty()) return true;
    complain(about_capture(why));
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

/// Completes the profile from what was given, and refuses what cannot be.
void finish(run_options& options) {
  const auto refuse = [](const std::string& why) { throw CLI::ValidationError(why); };
  run_profile& profile = options.profile;
  if (options.form.empty()) options.form = options.priorities.empty() ? "ring" : "priority";
  profile.order = options.form == "ring" ? schedule::ring_order : schedule::by_priority;
  profile.priorities = usual_priorities(profile.order);
  if (!options.work.empty()) {
    const auto parsed = parse_work_mix(options.work);
    if (!parsed) return refuse("--mix: " + printable(parsed.error()));
    profile.work = *parsed;
  }
  if (!options.priorities.empty()) {
    const auto parsed = parse_priority_mix(options.priorities);
    if (!parsed) return refuse("--priorities: " + printable(parsed.error()));
    profile.priorities = *parsed;
  }
  constexpr double usual_duration = 5;
  if (options.duration || !profile.count)
    profile.duration = from_seconds(options.duration.value_or(usual_duration));
  profile.drain = from_seconds(options.drain);
  if (!options.inject.empty()) {
    profile.inject = *parse_injection(options.inject);  // the check has passed
    profile.inject_after =
        profile.duration ? std::min<std::chrono::nanoseconds>(*profile.duration / 3, 10s) : 1s;
    profile.hold_time = 500ms;
  }
  std::expected<megakernel::gpu_plugin, std::string> gpu = std::unexpected(std::string());
  if (options.target != "cpu") {
    using megakernel::gpu_process;
    // A device that is lost is then lost to its own process alone.
    profile.gpu_in = options.in_process || !megakernel::has_gpu_process() ? gpu_process::shared
                                                                          : gpu_process::own;
    gpu = megakernel::gpu_plugin::find(gpu_plugin_name, profile.gpu_in);
  }
  profile.on_gpu = options.target == "gpu" || gpu.has_value();
  if (options.ring_memory != "auto") {
    profile.ring = options.ring_memory == "host" ? megakernel::ring_memory::host
                                                 : megakernel::ring_memory::device;
  }
  if (profile.on_gpu) {
    // Where there is none, the launch will say so.
    const std::uint32_t wave_size = gpu ? gpu->wave_size() : 32;
    profile.workers = options.workers.value_or(
        megakernel::recommended_lanes(profile.slots, wave_size).value_or(wave_size));
  } else {
    const std::uint32_t cores = std::thread::hardware_concurrency();
    profile.workers =
        options.workers.value_or(cores > profile.producers ? cores - profile.producers : 1);
    if (profile.workers > 1024) refuse("--workers: Threads can be 1 to 1024.");
  }
  if (const auto why = impossible(profile)) refuse(*why);
}

}  // namespace

void add_run(CLI::App& app, int& exit_code) {
  CLI::App& command =
      *app.add_subcommand("run", "Run a kernel under load and say how it does, live");
  const auto options = std::make_shared<run_options>();
  run_profile& profile = options->profile;
  const auto number = [&]<class T, class V>(const char* option, T& to, V least, V most,
                                            const char* help, const char* group) {
    return command
        .add_option_function<std::string>(
            option,
            [&to](const std::string& text) {
              const auto given = parse_number<V>(text);  // the check below has passed
              if constexpr (std::is_same_v<T, V>) {
                to = *given;
              } else {
                to = given;
              }
            },
            help)
        ->check([least, most](const std::string& text) {
          const auto given = parse_number<V>(text);
          return given && *given >= least && *given <= most
                     ? std::string()
                     : fmt::format("A number from {} to {} is needed.", least, most);
        })
        ->type_name("N")
        ->group(group);
  };
  const auto positive = [&](const char* option, auto& to, double most, const char* type,
                            const char* help, const char* group) {
    return command.add_option(option, to, help)
        ->check([most](const std::string& text) {
          double value = 0;
          const bool number = CLI::detail::lexical_cast(text, value);
          return number && value > 0 && value <= most
                     ? std::string()
                     : fmt::format("A number over 0, at most {:.0f}, is needed.", most);
        })
        ->type_name(type)
        ->group(group);
  };
  using u32 = std::uint32_t;
  using u64 = std::uint64_t;
  constexpr double year = 31'536'000;
  command
      .add_option("--target", options->target,
                  "Where lanes run: threads of this machine, a GPU, or a GPU where there is one")
      ->check(CLI::IsMember({"cpu", "gpu", "auto"}))
      ->type_name("cpu|gpu|auto")
      ->capture_default_str()
      ->group("Kernel");
  command
      .add_option("--ring-memory", options->ring_memory,
                  "Of a GPU: lanes work on the ring in this machine's memory, or on a copy in the "
                  "device's")
      ->check(CLI::IsMember({"host", "device", "auto"}))
      ->type_name("host|device|auto")
      ->capture_default_str()
      ->group("Kernel");
  command
      .add_flag("--in-process", options->in_process,
                "Drive the GPU from this process, not from one of its own")
      ->group("Kernel");
  number("--workers", options->workers, u32{1}, u32{1'048'576},
         "Lanes: threads [the cores that producers leave, at least 1], of a GPU [1024]", "Kernel");
  number("--slots", profile.slots, u32{1}, u32{1'048'576}, "Slots of the ring [1024]", "Kernel");
  command
      .add_option("--form", options->form,
                  "How lanes look for work [ring; with --priorities: priority]")
      ->check(CLI::IsMember({"ring", "priority"}))
      ->type_name("ring|priority")
      ->group("Kernel");
  command
      .add_flag("--spin", profile.spin, "Idle workers poll instead of sleeping: a core for each")
      ->group("Kernel");
  number("--quotas", profile.quota, u32{0}, u32{0xFFFF'FFFF},
         "Claims that a tenant may have a second [no limit]", "Kernel");

  number("--producers", profile.producers, u32{1}, u32{256}, "Threads that publish [1]", "Work");
  number("--tenants", profile.tenants, u32{1}, u32{29}, "Tenants, all alike [4]", "Work");
  command
      .add_option(
          "--mix", options->work,
          "Kinds of work by weight [" + to_text(usual_work()) + "]; there are printf and bad, too")
      ->type_name("KIND=N,...")
      ->group("Work");
  command
      .add_option("--priorities", options->priorities,
                  "Priorities by weight [" + to_text(usual_priorities(schedule::by_priority)) + "]")
      ->type_name("NAME=N,...")
      ->group("Work");
  number("--in-flight", profile.in_flight, u32{1}, u32{1'048'576},
         "Closed loop: slots published and not yet seen finished [64 a producer]", "Work");
  positive("--rate", profile.rate, 1e9, "SLOTS_PER_S",
           "Open loop: slots published a second, all producers together", "Work");
  number("--seed", profile.seed, u64{0}, ~u64{0}, "The same seed publishes the same work [1]",
         "Work");
  positive("--duration", options->duration, year, "SECONDS",
           "How long to publish [5; with --count: until then]", "Work");
  number("--count", profile.count, u64{1}, ~u64{0}, "Stop publishing after so many slots", "Work");
  positive("--drain-timeout", options->drain, year, "SECONDS",
           "How long to wait for what is owed after that [5]", "Work");

  command
      .add_option(
          "--inject", options->inject,
          "Make the kernel suffer from this, a third of the duration (at most 10 s) after the "
          "start")
      ->check(CLI::IsMember(
          {"stall", "dead", "fault", "unauthorised", "quota", "lost-io", "torn", "regressed"}))
      ->type_name("FAILURE")
      ->group("Work");

  command.add_option("--dump", options->dump, "Leave the buffers there, for `megakernel inspect`")
      ->type_name("DIR")
      ->check([](const std::string& name) {
        return name.empty() ? std::string("A directory name is empty.") : std::string();
      });
  auto* const capture =
      command
          .add_option("--capture", options->capture,
                      "Write frames of the ring over time there, for `megakernel replay`")
          ->type_name("FILE")
          ->check([](const std::string& name) {
            return name.empty() ? std::string("A file name is empty.") : std::string();
          });
  positive("--capture-rate", options->capture_rate, 10'000, "HZ", "Frames a second [10]", "Options")
      ->needs(capture);
  command.add_option("--format", options->format, "A line a second and a table, or JSON lines")
      ->check(CLI::IsMember({"table", "json"}))
      ->type_name("table|json")
      ->capture_default_str();
  command
      .add_option("--serve", options->serve,
                  "Answer Prometheus there while it runs; port 0 is any that is free")
      ->type_name("HOST:PORT")
      ->check([](const std::string& text) {
        const auto where = parse_listen_address(text);
        return where ? std::string() : where.error();
      });
  number("--top", options->top, u32{1}, u32{1'000'000}, "Rows of each list in the table [10]",
         "Options");
  command
      .add_option("--view", options->view,
                  "The full-screen view while it runs; auto: on a terminal, with --format table")
      ->check(CLI::IsMember({"auto", "always", "never"}))
      ->type_name("auto|always|never")
      ->capture_default_str();
  command.add_option("--color,--colour", options->colour, "Colours in the table")
      ->check(CLI::IsMember({"auto", "always", "never"}))
      ->type_name("auto|always|never")
      ->capture_default_str();
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
    finish(*options);
    exit_code = run_command(*options).run();
  });
}
