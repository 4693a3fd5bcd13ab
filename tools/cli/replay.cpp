// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <fmt/format.h>
#include <unistd.h>
#include <CLI/CLI.hpp>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <thread>

#include "cli/options.h"
#include "cli/output.h"
#include "cli/replay.h"
#include "cli/signals.h"
#include "cli/status.h"
#include "observe/capture_player.h"
#include "observe/capture_reader.h"
#include "observe/observer.h"
#include "render/capture.h"
#include "render/names.h"
#include "render/observation_json.h"
#include "render/run.h"
#include "report/report.h"
#include "view/full_screen.h"
#include "view/replay_view.h"
#include "view/terminal.h"

import megakernel;

namespace {

using namespace megakernel::tool;
using namespace std::chrono_literals;

struct replay_options {
  std::string file;
  std::string speed = "1";
  std::optional<double> from;
  std::optional<double> to;
  std::optional<double> every;
  double hold_time = 1;
  bool step = false;
  std::string format = "auto";
  std::string view = "auto";
  std::string colour = "auto";
};

/// Keeps the times of a capture, faster or slower, and never catches up by hurrying.
class pace {
 public:
  explicit pace(std::optional<double> speed) : speed_(speed) {}

  /// Waits until the frame of that time is due; whether nobody has interrupted.
  bool wait_for(std::chrono::nanoseconds at) {
    const auto now = clock::now();
    if (speed_ && before_) {
      const auto step = std::chrono::duration<double, std::nano>(at - *before_) / *speed_;
      constexpr std::chrono::duration<double, std::nano> longest = std::chrono::hours(24 * 365);
      due_ += std::chrono::duration_cast<clock::duration>(std::min(step, longest));
      due_ = std::max(due_, now - 100ms);
      // In short turns: the sleep of a thread goes on after a signal.
      while (signals() == 0 && clock::now() < due_)
        std::this_thread::sleep_for(std::min<clock::duration>(due_ - clock::now(), 50ms));
    } else {
      due_ = now;
    }
    before_ = at;
    return signals() == 0;
  }

 private:
  using clock = std::chrono::steady_clock;
  std::optional<double> speed_;
  std::optional<std::chrono::nanoseconds> before_;
  clock::time_point due_;
};

/// A line of standard input for a frame; whether to go on. `q` ends, and so does the end of it.
bool next_step() {
  bool go_on = true;
  for (bool first = true;; first = false) {
    char c = 0;
    const ssize_t got = ::read(STDIN_FILENO, &c, 1);
    if (got < 0 && errno == EINTR && signals() == 0) continue;
    if (got <= 0) return false;
    if (first && (c == 'q' || c == 'Q')) go_on = false;
    if (c == '\n') return go_on;
  }
}

class replay_command {
 public:
  explicit replay_command(const replay_options& options)
      : options_(options),
        style_{.width = screen_width(), .colour = wants_colour(options.colour)},
        to_(STDOUT_FILENO) {}

  int run() {
    if (auto shown = view(); shown) return *shown;
    auto opened = capture_reader::open(options_.file);
    if (!opened) return give_up(opened.error());
    capture_reader& capture = *opened;
    auto watching = observer::make(capture.header().windows, from_seconds(options_.hold_time));
    if (!watching) return give_up(watching.error());
    if (json()) {
      render_capture_head_json(capture, to_);
    } else {
      render_capture_head(capture, style_, to_);
    }
    catch_signals();
    const bool whole = play(capture, *watching);
    return finish(to_, whole ? success : unusable);
  }

 private:
  [[nodiscard]] bool json() const { return options_.format == "json"; }

  int give_up(std::string_view why) const {
    return megakernel::tool::give_up(about(options_.file, why));
  }

  /// The exit status, where there is a terminal to show the view on and nothing else was asked for.
  std::optional<int> view() {
    const bool lines = options_.format != "auto" || options_.step || options_.every || options_.to;
    if (options_.view == "never" || (options_.view == "auto" && lines)) return std::nullopt;
    auto from = capture_player::open(options_.file, from_seconds(options_.hold_time));
    if (!from) return give_up(from.error());
    const auto on =
        full_screen::open("megakernel replay  " + printable(options_.file), style_.colour);
    if (on == nullptr && options_.view == "auto") return std::nullopt;
    if (on == nullptr) return give_up(no_terminal);
    catch_signals();
    constexpr double fastest = 1024;
    const double speed = options_.speed == "max" ? fastest : std::stod(options_.speed);
    const auto played =
        ::play(*from, *on, {.speed = speed, .from = from_seconds(options_.from.value_or(0))},
               signals_caught);
    if (played) return success;
    return give_up(played.error());
  }

  /// Shows the frames that were asked for; whether all of them could be read.
  bool play(capture_reader& capture, observer& watching) {
    const auto first = from_seconds(options_.from.value_or(0));
    const auto last = options_.to ? from_seconds(*options_.to) : capture.length();
    const auto every = from_seconds(options_.every.value_or(0));
    std::optional<double> speed;
    if (!options_.step && options_.speed != "max") speed = std::stod(options_.speed);
    pace beat(speed);
    // A verdict needs what came before: as much as the hold time of the observer.
    capture.seek(capture.first_from(first - from_seconds(options_.hold_time)));
    bool whole = true;
    bool shown = false;
    while (!to_.failed() && signals() == 0) {
      const std::uint64_t number = capture.position();
      if (number >= capture.frames() || capture.time_of(number) > last) break;
      const auto seen = capture.next();
      if (!seen) {
        whole = false;
        give_up(seen.error());
        continue;  // others may be whole
      }
      const bool due = (*seen)->at >= first;
      if (due && !beat.wait_for((*seen)->at)) break;
      auto found = watching.observe(**seen);
      if (!found) {
        whole = false;
        give_up(fmt::format("Frame {}: {}", number, found.error()));
        continue;
      }
      // Rates are of the time between samples, so that what no line shows is not looked at, either.
      const std::uint64_t after = capture.first_from(found->at + every);
      const std::uint64_t begin = shown || due ? capture.frames() : capture.first_from(first);
      if (every.count() != 0) capture.seek(std::max(number + 1, std::min(after, begin)));
      if (!due) continue;
      shown = true;
      found->number = number;
      if (json()) {
        render_observation_json(*found, to_);
      } else {
        render_observation(*found, style_, to_);
      }
      if (options_.step && !next_step()) break;
    }
    return whole;
  }

  const replay_options& options_;
  run_style style_;
  output to_;
};

std::string check_speed(const std::string& text) {
  const auto value = parse_decimal(text);
  return text == "max" || (value && *value >= 1e-6 && *value <= 1e6)
             ? ""
             : "A number from 0.000001 to 1000000 is needed, or max.";
}

}  // namespace

int replay_capture(const std::string& file, const std::string& view, const std::string& colour) {
  replay_options options;
  options.file = file;
  options.view = view;
  options.colour = colour;
  return replay_command(options).run();
}

void add_replay(CLI::App& app, int& exit_code) {
  CLI::App& command = *app.add_subcommand("replay", "Play a capture back, at any speed");
  const auto options = std::make_shared<replay_options>();
  const auto seconds = [&](const char* option, std::optional<double>& to, const char* help) {
    command.add_option(option, to, help)->type_name("SECONDS")->check(is_seconds());
  };
  add_file(command, "file", options->file, "What `megakernel run --capture` has written")
      ->required();
  command.add_option("--speed", options->speed, "Times as fast as it was, or max: without a pause")
      ->type_name("X|max")
      ->capture_default_str()
      ->check(check_speed);
  seconds("--from", options->from, "Begin so many seconds after the capture did [0]");
  seconds("--to", options->to, "End there [the end of the capture]");
  seconds("--every", options->every,
          "A line every so many seconds of the capture [a line a frame]");
  add_patience(command, options->hold_time,
               "Seconds that nothing may be drained before it counts as stalled");
  command.add_flag("--step", options->step, "A frame for each line of standard input; q ends");
  add_choice(command, "--format", options->format, {"auto", "lines", "json"},
             "A line a frame, for a person or as JSON; auto: lines, where there is no view");
  add_view(command, options->view,
           "The full-screen view; auto: on a terminal, without --format, --every, --to, "
           "--step");
  add_colour(command, options->colour, "Colours in the view and the lines");
  command.footer(
      "Examples:\n"
      "  megakernel replay run.mkcap\n"
      "  megakernel replay run.mkcap --speed 10 --every 1\n"
      "  megakernel replay run.mkcap --from 12 --to 14 --step\n"
      "  megakernel replay run.mkcap --speed max --format json | jq .verdict\n"
      "\n"
      "Exit status: 0 all frames that were asked for were shown, 1 the capture or the output was\n"
      "not usable in whole, 2 usage.");
  command.callback([options, &exit_code] {
    if (options->from && options->to && *options->from > *options->to)
      throw CLI::ValidationError("--to is before --from.");
    exit_code = replay_command(*options).run();
  });
}
