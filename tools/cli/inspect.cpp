// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <unistd.h>
#include <CLI/CLI.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "cli/input.h"
#include "cli/inspect.h"
#include "cli/options.h"
#include "cli/output.h"
#include "cli/status.h"
#include "observe/capture_input.h"
#include "observe/frame.h"
#include "observe/inspect.h"
#include "observe/verdict.h"
#include "render/csv.h"
#include "render/json.h"
#include "render/table.h"
#include "view/terminal.h"

import megakernel;

namespace {

using namespace megakernel::tool;
using megakernel::opcode;

struct inspect_options {
  std::array<std::string, sources> files;
  capture_choice capture;
  std::vector<std::string> window_opcodes;
  std::string format = "table";
  std::string colour = "auto";
  std::uint32_t top = 10;
  input_bounds bounds;
  bool slots = false;
};

class inspect_command {
 public:
  explicit inspect_command(const inspect_options& options) : options_(options) {}

  int run() {
    if (!options_.capture.file.empty()) {
      auto frame = read_captured_frame(options_.capture.file, options_.capture.at());
      if (!frame) return give_up(about_input(options_.capture.file, frame.error()));
      captured_ = std::move(*frame);
      if (options_.window_opcodes.empty()) opcodes_ = captured_->windows;
    }
    for (std::size_t i = 0; i < sources; ++i) {
      if (!load(static_cast<source>(i))) return unusable;
    }
    if (!options_.window_opcodes.empty()) opcodes_ = parse_opcodes(options_.window_opcodes);
    const auto found = inspect(captured_ ? given(*captured_) : given());
    if (!found) {
      return give_up(about_input(captured_ ? options_.capture.file : file(found.error().from),
                                 found.error().why.message().text()));
    }
    return render(*found);
  }

 private:
  [[nodiscard]] const std::string& file(source from) const {
    return options_.files[static_cast<std::size_t>(from)];
  }
  [[nodiscard]] input& loaded(source from) { return inputs_[static_cast<std::size_t>(from)]; }
  [[nodiscard]] std::span<const std::byte> bytes(source from) {
    const input& read = loaded(from);
    return {read.bytes.data(), read.bytes.size()};
  }

  bool load(source from) {
    if (file(from).empty()) return true;
    const bool ring = from == source::ring || from == source::previous_ring;
    auto read =
        read_input(file(from), options_.bounds.limits(ring ? usual_ring_bytes : usual_dump_bytes));
    if (!read) {
      complain(about_input(file(from), sentence(read.error())));
      return false;
    }
    loaded(from) = std::move(*read);
    return true;
  }

  dumps given() {
    dumps all{.control = bytes(source::control),
              .ring = bytes(source::ring),
              .debug_log = std::nullopt,
              .io_queue = std::nullopt,
              .previous = std::nullopt,
              .window_opcodes = opcodes_};
    if (!file(source::debug_log).empty()) all.debug_log = bytes(source::debug_log);
    if (!file(source::io_queue).empty()) all.io_queue = bytes(source::io_queue);
    if (file(source::previous_control).empty()) return all;
    all.previous = {.control = bytes(source::previous_control),
                    .ring = bytes(source::previous_ring)};
    const auto now = loaded(source::control).modified;
    const auto before = loaded(source::previous_control).modified;
    if (now && before && *now > *before) all.interval = *now - *before;
    return all;
  }

  [[nodiscard]] dumps given(const captured_frame& frame) const {
    dumps all{.control = frame.control,
              .ring = frame.ring,
              .debug_log = std::nullopt,
              .io_queue = std::nullopt,
              .previous = std::nullopt,
              .window_opcodes = opcodes_};
    if (!frame.debug_log.empty()) all.debug_log = frame.debug_log;
    if (!frame.io_queue.empty()) all.io_queue = frame.io_queue;
    if (!frame.previous) return all;
    all.previous = {.control = frame.previous->control, .ring = frame.previous->ring};
    all.interval = frame.previous->interval;
    return all;
  }

  int render(const inspection& found) {
    output to(STDOUT_FILENO);
    if (options_.format == "json") {
      render_json(found, {.slots = options_.slots}, to);
    } else if (options_.format == "csv") {
      render_csv(found, to);
    } else {
      render_table(
          found,
          {.top = options_.top, .width = screen_width(), .colour = wants_colour(options_.colour)},
          to);
    }
    return finish(to, needs_attention(found.state) ? attention : success);
  }

  const inspect_options& options_;
  std::array<input, sources> inputs_;
  std::optional<captured_frame> captured_;
  std::vector<opcode> opcodes_;
};

void check_inspect(const inspect_options& options) {
  const auto lacks = [&](source from) {
    return options.files[static_cast<std::size_t>(from)].empty();
  };
  if (options.capture.file.empty() && (lacks(source::control) || lacks(source::ring)))
    throw CLI::ValidationError("--control and --ring are required, or --capture.");
  check_one_standard_input(std::ranges::count(options.files, "-"), "Write the others to files.");
  if (options.slots && options.format != "json") {
    throw CLI::ValidationError(
        "--slots goes with --format json. --format csv lists every slot anyway.");
  }
  check_bounds(options.bounds);
}

void add_inputs(CLI::App& command, inspect_options& options) {
  const auto file = [&](const char* option, source from, const char* help) {
    return add_file(command, option, options.files[static_cast<std::size_t>(from)], help);
  };
  auto* const control = file("--control", source::control, "Control buffer; '-' is standard input");
  auto* const ring = file("--ring", source::ring, "Ring");
  auto* const debug_log = file("--debug-log", source::debug_log, "Debug log");
  auto* const io_queue = file("--io-queue", source::io_queue, "IO queue");
  auto* const previous_control = file("--previous-control", source::previous_control,
                                      "Control buffer of an earlier snapshot of the same launch");
  auto* const previous_ring =
      file("--previous-ring", source::previous_ring, "Ring of that snapshot");
  previous_control->needs(previous_ring);
  previous_ring->needs(previous_control);
  auto* const capture = add_capture(command, options.capture);
  for (CLI::Option* dump : {control, ring, debug_log, io_queue, previous_control})
    capture->excludes(dump);
}

}  // namespace

void add_inspect(CLI::App& app, int& exit_code) {
  CLI::App& command =
      *app.add_subcommand("inspect", "Say what a dump of a control buffer and a ring shows");
  const auto options = std::make_shared<inspect_options>();
  add_inputs(command, *options);
  add_window_opcodes(command, options->window_opcodes);
  add_choice(command, "--format", options->format, {"table", "json", "csv"}, "How to say it");
  command.add_flag("--slots", options->slots, "List every slot in the JSON, too");
  command.add_option("--top", options->top, "Rows of each list in the table")
      ->check(CLI::Range(1u, 1'000'000u))
      ->type_name("N")
      ->capture_default_str();
  add_colour(command, options->colour, "Colours in the table");
  add_input_bounds(command, options->bounds, usual_bytes_help);
  command.footer(
      "Examples:\n"
      "  megakernel inspect --control control.bin --ring ring.bin\n"
      "  megakernel inspect --control c1.bin --ring r1.bin \\\n"
      "      --previous-control c0.bin --previous-ring r0.bin   # stalled, dead or blocked?\n"
      "  megakernel inspect --control c.bin --ring r.bin --window-opcode 0x2a --format json\n"
      "  ssh host cat ring.bin | megakernel inspect --control c.bin --ring - --format csv\n"
      "  megakernel inspect --capture run.mkcap --at 12.5\n"
      "\n"
      "Exit status: 0 healthy, 1 unusable input or output, 2 usage, 3 the kernel looks stalled,\n"
      "dead, blocked or faulted.");
  command.callback([options, &exit_code] {
    check_inspect(*options);
    exit_code = inspect_command(*options).run();
  });
}
