// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>
#include <CLI/CLI.hpp>

#include <chrono>
#include <cstdint>
#include <cstdio>
#include <expected>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "cli/options.h"
#include "cli/output.h"
#include "cli/report.h"
#include "cli/status.h"
#include "cli/whole_file.h"
#include "observe/capture.h"
#include "observe/capture_reader.h"
#include "observe/frame.h"
#include "observe/inspect.h"
#include "observe/observer.h"
#include "observe/verdict.h"
#include "render/capture.h"
#include "render/names.h"
#include "render/observation_json.h"
#include "render/run.h"
#include "report/page.h"
#include "report/report.h"
#include "report/trace.h"

import megakernel;

namespace {

using namespace megakernel::tool;
using namespace std::chrono_literals;

struct report_options {
  std::string capture;
  std::string file;
  std::string format = "html";
  double hold_time = 1;
};

/// A line on a terminal that says how far a long work is, and is taken away at its end.
class progress_line {
 public:
  progress_line() : shown_(::isatty(STDERR_FILENO) == 1) {}
  progress_line(const progress_line&) = delete;
  progress_line& operator=(const progress_line&) = delete;
  ~progress_line() {
    if (began_) std::fputs("\r\033[K", stderr);
  }

  void at(std::uint64_t done, std::uint64_t all) {
    const auto now = clock::now();
    if (!shown_ || now < next_) return;
    next_ = now + 100ms;
    began_ = true;
    std::fputs(fmt::format("\rframe {} of {}\033[K", grouped(done), grouped(all)).c_str(), stderr);
    std::fflush(stderr);
  }

 private:
  using clock = std::chrono::steady_clock;
  bool shown_;
  bool began_ = false;
  clock::time_point next_ = clock::now() + 500ms;  // what is soon done needs no line
};

bool same_file(const std::string& a, const std::string& b) {
  struct stat first{};
  struct stat second{};
  return ::stat(a.c_str(), &first) == 0 && ::stat(b.c_str(), &second) == 0 &&
         first.st_dev == second.st_dev && first.st_ino == second.st_ino;
}

class report_command {
 public:
  explicit report_command(const report_options& options) : options_(options) {}

  int run() {
    const bool to_stdout = options_.file == "-";
    if (!to_stdout) {
      // Before the long work, not after it.
      if (const auto fine = check_writable(options_.file); !fine)
        return give_up(about(options_.file, fine.error()));
      if (same_file(options_.file, options_.capture))
        return give_up(about(options_.file, "It is the capture itself. Name another file."));
    }
    auto opened = capture_reader::open(options_.capture);
    if (!opened) return give_up(about(options_.capture, opened.error()));
    if (opened->frames() == 0) {
      return give_up(about(options_.capture, opened->damage().empty()
                                                 ? "There is no frame in it: nothing was captured."
                                                 : opened->damage()));
    }
    outcome written;
    if (to_stdout) {
      output to(STDOUT_FILENO);
      written = write(*opened, to);
      if (!written) {
        to.flush();
      } else if (finish(to, success) != success) {
        return unusable;
      }
    } else {
      written = write_whole_file(options_.file, [&](output& to) { return write(*opened, to); });
    }
    if (!written)
      return give_up(about(refused_ ? options_.capture : options_.file, written.error()));
    if (left_out_ != 0)
      return give_up(about(options_.capture, left_out_text() + " All others are in it."));
    return attention_ ? attention : success;
  }

 private:
  using outcome = std::expected<void, std::string>;

  [[nodiscard]] std::string left_out_text() const {
    return fmt::format("{} cannot be read. {}", counted(left_out_, "frame"), first_left_out_);
  }

  /// Every look at the capture; the error is a sentence about it.
  template <class Use>
  outcome look_at(capture_reader& capture, const output& to, Use use) {
    auto watching = observer::make(capture.header().windows, from_seconds(options_.hold_time));
    if (!watching) return std::unexpected(watching.error());
    progress_line progress;
    std::uint64_t samples = 0;
    const auto leave_out = [&](std::string why) {
      if (left_out_++ == 0) first_left_out_ = std::move(why);
    };
    while (!to.failed()) {
      const std::uint64_t number = capture.position();
      progress.at(number, capture.frames());
      const auto read = capture.next();
      if (!read) {
        leave_out(read.error());
        continue;
      }
      if (!*read) break;
      auto seen = watching->observe(**read);
      if (!seen) {
        leave_out(fmt::format("Frame {}: {}", number, seen.error()));
        continue;
      }
      seen->number = number;
      use(*seen, (*read)->publishers);
      attention_ = needs_attention(seen->state);
      ++samples;
    }
    if (samples != 0 || to.failed()) return {};
    refused_ = true;
    return std::unexpected(left_out_text());
  }

  outcome write(capture_reader& capture, output& to) {
    if (options_.format == "json") {
      render_capture_head_json(capture, to);
      return look_at(capture, to, [&](const observation& seen, const publisher_totals*) {
        render_observation_json(seen, to);
      });
    }
    const bool page = options_.format == "html";
    report_builder builder(page ? report_limits{}
                                : report_limits{.columns = 2000, .windows = 2000, .stuck = 500});
    const auto looked =
        look_at(capture, to, [&](const observation& seen, const publisher_totals* publishers) {
          builder.add(seen, publishers);
        });
    if (!looked) return looked;
    const report found = builder.finish(source_of(capture));
    if (page) {
      render_report_html(found, to);
    } else {
      render_trace(found, to);
    }
    return {};
  }

  [[nodiscard]] report_source source_of(const capture_reader& capture) const {
    const capture_header& header = capture.header();
    const capture_totals& totals = capture.totals();
    const std::string_view name = options_.capture;
    report_source source{.name = std::string(name.substr(name.find_last_of('/') + 1))};
    const auto about = [&](const char* label, const std::string& text) {
      if (!text.empty()) source.about.emplace_back(label, text);
    };
    about("what ran", header.profile);
    about("device", header.device);
    about("written by", header.build);
    about("ring", counted(header.slots(), "slot"));
    about("ABI revision", fmt::format("{}", header.abi_revision));
    about("frames",
          fmt::format("{}, {}", grouped(totals.frames),
                      totals.dropped == 0 ? std::string("none dropped")
                                          : fmt::format("{} dropped", grouped(totals.dropped))));
    about("capture",
          fmt::format("{}, {}", counted(totals.bytes, "byte"),
                      capture.damage().empty() ? "closed as it should be" : "cut short"));
    about("patience",
          fmt::format("{:g} s without a drained slot before an alarm", options_.hold_time));
    if (!capture.damage().empty()) source.warnings.push_back(capture.damage());
    if (left_out_ != 0) source.warnings.push_back(left_out_text());
    if (totals.dropped != 0) {
      source.warnings.push_back(fmt::format(
          "{} due and not captured: the disk or the machine was behind. Rates between looks are of "
          "longer times there.",
          totals.dropped == 1 ? "1 frame was" : counted(totals.dropped, "frame") + " were"));
    }
    return source;
  }

  const report_options& options_;
  std::uint64_t left_out_ = 0;
  std::string first_left_out_;
  bool refused_ = false;
  bool attention_ = false;
};

}  // namespace

void add_report(CLI::App& app, int& exit_code) {
  CLI::App& command = *app.add_subcommand(
      "report", "Make a page with plots of a capture, a trace for Perfetto, or JSON lines");
  const auto options = std::make_shared<report_options>();
  add_file(command, "capture", options->capture, "What `megakernel run --capture` wrote")
      ->type_name("CAPTURE")
      ->required();
  add_file(command, "-o,--output", options->file,
           "Where to write it; '-' is standard output. A file that is there is replaced when "
           "the new one is whole")
      ->required();
  add_choice(command, "--format", options->format, {"html", "perfetto", "json"},
             "A page for a browser, a trace for ui.perfetto.dev, or a line a look");
  constexpr double longest = 1e6;
  add_patience(command, options->hold_time,
               "Seconds in which nothing is drained before that is an alarm", longest);
  command.footer(
      "Examples:\n"
      "  megakernel report run.capture -o report.html\n"
      "  megakernel report run.capture -o trace.json --format perfetto   # for ui.perfetto.dev\n"
      "  megakernel report run.capture -o - --format json | jq .done_per_second\n"
      "\n"
      "Exit status: 0 the kernel looks healthy at the end, 1 an unusable capture or output, 2 "
      "usage,\n"
      "3 the kernel looks stalled, dead, blocked or faulted at the end.");
  command.callback([options, &exit_code] { exit_code = report_command(*options).run(); });
}
