// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>
#include <CLI/CLI.hpp>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <expected>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "cli/input.h"
#include "cli/numbers.h"
#include "cli/options.h"
#include "cli/output.h"
#include "cli/sketch.h"
#include "cli/status.h"
#include "observe/capture_input.h"
#include "observe/frame.h"
#include "observe/sketch.h"
#include "render/names.h"
#include "render/run.h"
#include "report/report.h"
#include "view/terminal.h"

import megakernel;

namespace {

using namespace megakernel::tool;
using megakernel::telemetry_sketch;
using megakernel::word;

/// A value, or a sentence that says why there is none.
template <class T = void>
using outcome = std::expected<T, std::string>;

std::unexpected<std::string> refuse(std::string_view file, std::string_view why) {
  return std::unexpected(about_input(file, why));
}

std::unexpected<std::string> refuse(std::string_view file, const megakernel::error& why) {
  return refuse(file, why.message().text());
}

/// `N` or `FIRST-LAST`.
std::optional<std::pair<word, word>> parse_range(std::string_view text) {
  const std::size_t dash = text.find('-');
  const auto first = parse_number<word>(text.substr(0, dash));
  const auto last =
      dash == std::string_view::npos ? first : parse_number<word>(text.substr(dash + 1));
  constexpr word most = 1u << 24;
  if (!first || !last || *first > *last || *last - *first >= most) return std::nullopt;
  return std::pair(*first, *last);
}

struct sketch_options {
  std::string control;
  std::string ring;
  capture_choice capture;
  std::vector<std::string> files;
  std::string to;
  std::string format = "table";
  input_bounds bounds;
  std::uint64_t depth = 4;
  std::uint64_t width = 1024;
  std::vector<sketch_key> keys;
  std::vector<std::string> candidates;
  std::size_t top = 10;
  bool opcodes = false;
  bool tenants = false;
};

outcome<input> load(const sketch_options& options, const std::string& file) {
  auto read = read_input(file, options.bounds.limits(usual_ring_bytes));
  if (!read) return refuse(file, sentence(read.error()));
  return std::move(*read);
}

std::span<const std::byte> bytes_of(const input& read) {
  return {read.bytes.data(), read.bytes.size()};
}

outcome<telemetry_sketch> load_sketch(const sketch_options& options, const std::string& file) {
  const auto read = load(options, file);
  if (!read) return std::unexpected(read.error());
  auto sketch = megakernel::read_telemetry_sketch(bytes_of(*read));
  if (!sketch) return refuse(file, sketch.error());
  return std::move(*sketch);
}

/// A control buffer and a ring, from dumps or from a capture.
struct snapshot {
  input control_file;
  input ring_file;
  captured_frame frame;
  bool captured = false;
  [[nodiscard]] std::span<const std::byte> control() const {
    return captured ? std::span<const std::byte>(frame.control) : bytes_of(control_file);
  }
  [[nodiscard]] std::span<const std::byte> ring() const {
    return captured ? std::span<const std::byte>(frame.ring) : bytes_of(ring_file);
  }
};

outcome<snapshot> load_snapshot(const sketch_options& options) {
  snapshot found;
  if (!options.capture.file.empty()) {
    auto frame = read_captured_frame(options.capture.file, options.capture.at());
    if (!frame) return refuse(options.capture.file, frame.error());
    found.frame = std::move(*frame);
    found.captured = true;
    return found;
  }
  auto control = load(options, options.control);
  if (!control) return std::unexpected(control.error());
  auto ring = load(options, options.ring);
  if (!ring) return std::unexpected(ring.error());
  found.control_file = std::move(*control);
  found.ring_file = std::move(*ring);
  return found;
}

std::unexpected<std::string> blame(const sketch_options& options, const megakernel::error& why) {
  if (why.buffer == megakernel::buffer::sketch)
    return std::unexpected(std::string(why.message().text()));
  if (!options.capture.file.empty()) return refuse(options.capture.file, why);
  return refuse(why.buffer == megakernel::buffer::ring ? options.ring : options.control, why);
}

outcome<std::uint64_t> store(const telemetry_sketch& sketch, const std::string& file) {
  const auto bytes = megakernel::write_sketch(sketch);
  if (!bytes) return refuse(file, bytes.error());
  const bool to_stdout = file == "-";
  const int descriptor = to_stdout
                             ? STDOUT_FILENO
                             : ::open(file.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
  if (descriptor < 0)
    return refuse(file, fmt::format("It cannot be written: {}.", std::strerror(errno)));
  output to(descriptor);
  to.write({reinterpret_cast<const char*>(bytes->data()), bytes->size()});
  int failure = to.finish();
  if (!to_stdout && ::close(descriptor) != 0 && failure == 0) failure = errno;
  if (failure != 0) {
    return std::unexpected(fmt::format("{}: It could not be written: {}.",
                                       to_stdout ? "standard output" : printable(file),
                                       std::strerror(failure)));
  }
  return bytes->size();
}

sketch_style style_of(const sketch_options& options) {
  return {.json = options.format == "json", .width = screen_width()};
}

/// Writes the file, and says so unless it went to standard output.
outcome<> deliver(const telemetry_sketch& sketch, const sketch_options& options) {
  const auto bytes = store(sketch, options.to);
  if (!bytes) return std::unexpected(bytes.error());
  if (options.to == "-") return {};
  output to(STDOUT_FILENO);
  render_written({.file = options.to, .bytes = *bytes, .sketch = sketch}, style_of(options), to);
  return finish(to);
}

outcome<> build(const sketch_options& options) {
  if (options.control.empty() && options.capture.file.empty())
    throw CLI::ValidationError("--control and --ring are required, or --capture.");
  auto sketch = telemetry_sketch::of_shape(options.depth, options.width);
  if (!sketch) return blame(options, sketch.error());
  const auto found = load_snapshot(options);
  if (!found) return std::unexpected(found.error());
  megakernel::ring_telemetry telemetry;
  if (auto decoded = telemetry.decode(found->control(), found->ring()); !decoded)
    return blame(options, decoded.error());
  if (auto assigned = sketch->assign(telemetry); !assigned) return blame(options, assigned.error());
  return deliver(*sketch, options);
}

outcome<> merge(const sketch_options& options) {
  auto sum = load_sketch(options, options.files.front());
  if (!sum) return std::unexpected(sum.error());
  for (const std::string& file : std::span(options.files).subspan(1)) {
    const auto next = load_sketch(options, file);
    if (!next) return std::unexpected(next.error());
    if (auto merged = sum->merge(*next); !merged) return refuse(file, merged.error());
  }
  return deliver(*sum, options);
}

outcome<> query(const sketch_options& options) {
  const auto sketch = load_sketch(options, options.files.front());
  if (!sketch) return std::unexpected(sketch.error());
  const auto results = look_up_keys(*sketch, options.keys);
  output to(STDOUT_FILENO);
  render_results(*sketch, results, style_of(options), to);
  return finish(to);
}

outcome<std::vector<word>> candidates(const sketch_options& options, sketch_of what) {
  std::vector<word> all;
  const bool from_ring = !options.ring.empty() || !options.capture.file.empty();
  if (from_ring) {
    const auto found = load_snapshot(options);
    if (!found) return std::unexpected(found.error());
    const auto view = megakernel::ring_view::over(found->control(), found->ring());
    if (!view) return blame(options, view.error());
    all = candidates_in(*view, what);
  }
  for (const std::string& text : options.candidates) {
    const auto [first, last] = *parse_range(text);  // the command line has checked it
    for (std::uint64_t key = first; key <= last; ++key) all.push_back(static_cast<word>(key));
  }
  if (!from_ring && options.candidates.empty()) all = usual_candidates(what);
  return all;
}

outcome<> top(const sketch_options& options) {
  const auto sketch = load_sketch(options, options.files.front());
  if (!sketch) return std::unexpected(sketch.error());
  const bool both = options.opcodes == options.tenants;
  std::vector<sketch_results> results;
  for (const sketch_of what : {sketch_of::opcode, sketch_of::tenant}) {
    if (!both && options.tenants != (what == sketch_of::tenant)) continue;
    const auto keys = candidates(options, what);
    if (!keys) return std::unexpected(keys.error());
    results.push_back(largest(*sketch, what, *keys, options.top));
  }
  output to(STDOUT_FILENO);
  render_results(*sketch, results, style_of(options), to);
  return finish(to);
}

/// The subcommands, whose options are one set of values.
class sketch_commands {
 public:
  sketch_commands(CLI::App& sketch, int& exit_code) : sketch_(sketch), exit_code_(exit_code) {}

  void add_build() {
    CLI::App& command = add("build", "Sketch a dump of a control buffer and a ring", build);
    add_snapshot(command);
    add_destination(command);
    command.add_option("--depth", options_->depth, "Rows: each makes a bad estimate e times rarer")
        ->check(CLI::Range(std::uint64_t{1}, std::uint64_t{64}))
        ->type_name("N")
        ->capture_default_str();
    command.add_option("--width", options_->width, "Columns: twice as many halve the error")
        ->check(CLI::Range(std::uint64_t{1}, std::uint64_t{1} << 24))
        ->type_name("N")
        ->capture_default_str();
  }

  void add_merge() {
    constexpr int any_number = 1 << 20;
    CLI::App& command = add("merge", "Add sketches of one shape up", merge);
    add_files(command, any_number);
    add_destination(command);
  }

  void add_query() {
    CLI::App& command = add("query", "Say how often keys were counted", query);
    add_files(command, 1);
    auto* const keys = command.add_option_group("keys", "What to look up; each may be repeated");
    const auto key = [&](const char* option, sketch_of what, const char* help) {
      keys->add_option_function<std::vector<std::string>>(
              option,
              [options = options_, what](const std::vector<std::string>& texts) {
                for (const std::string& text : texts)
                  options->keys.push_back({.what = what, .key = *parse_number<word>(text)});
              },
              help)
          ->type_name("N")
          ->take_all()
          ->expected(1)
          ->allow_extra_args(false)
          ->check(is_word("A key"));
    };
    key("--opcode", sketch_of::opcode, "Slots of an opcode, decimal or 0x...");
    key("--active-opcode", sketch_of::active_opcode, "Active slots of an opcode");
    key("--tenant", sketch_of::tenant, "Slots of a tenant");
    key("--status", sketch_of::status, "Slots with a status word");
    key("--metric", sketch_of::metric, "Claims of an opcode below 32");
    keys->require_option(1, 0);
  }

  void add_top() {
    CLI::App& command = add("top", "List the opcodes and tenants that count most", top);
    add_files(command, 1);
    command.add_option("-k", options_->top, "How many of each")
        ->check(CLI::Range(std::size_t{1}, std::size_t{10'000}))
        ->type_name("N")
        ->capture_default_str();
    command.add_flag("--opcodes", options_->opcodes, "Only opcodes");
    command.add_flag("--tenants", options_->tenants, "Only tenants");
    command
        .add_option("--candidate", options_->candidates,
                    "Keys to try, N or FIRST-LAST; may be repeated. Without any, and without "
                    "dumps: 0-65535 and the protocol's opcodes")
        ->type_name("N")
        ->take_all()
        ->expected(1)
        ->allow_extra_args(false)
        ->check([](const std::string& text) {
          return parse_range(text) ? std::string()
                                   : std::string(
                                         "A candidate is a number up to 4294967295, or a "
                                         "range of at most 16777216 of them.");
        });
    add_snapshot(command);
  }

 private:
  CLI::App& add(const char* name, const char* help, outcome<> (*run)(const sketch_options&)) {
    CLI::App& command = *sketch_.add_subcommand(name, help);
    add_choice(command, "--format", options_->format, {"table", "json"}, "How to say it");
    add_input_bounds(command, options_->bounds, "Refuse an input over this size [1 GiB]");
    command.callback([options = options_, run, &exit_code = exit_code_] {
      check_one_standard_input(std::ranges::count(options->files, "-") + (options->control == "-") +
                                   (options->ring == "-"),
                               "Write the others to files.");
      check_bounds(options->bounds);
      const auto done = run(*options);
      exit_code = done ? success : give_up(done.error());
    });
    return command;
  }

  void add_snapshot(CLI::App& command) {
    auto* const control = add_dumps(command, options_->control, options_->ring).control;
    add_capture(command, options_->capture)->excludes(control);
  }

  void add_files(CLI::App& command, int most) {
    command.add_option("file", options_->files, "Sketch that `build` or `merge` has written")
        ->type_name("FILE")
        ->required()
        ->expected(1, most)
        ->check(check_file_name);
  }

  void add_destination(CLI::App& command) {
    add_file(command, "-o,--output", options_->to, "Where the sketch goes; '-' is standard output")
        ->required();
  }

  CLI::App& sketch_;
  int& exit_code_;
  std::shared_ptr<sketch_options> options_ = std::make_shared<sketch_options>();
};

}  // namespace

void add_sketch(CLI::App& app, int& exit_code) {
  CLI::App& sketch =
      *app.add_subcommand("sketch", "Keep, merge and query small summaries of many rings");
  sketch.require_subcommand(1);
  sketch_commands commands(sketch, exit_code);
  commands.add_build();
  commands.add_merge();
  commands.add_query();
  commands.add_top();
  sketch.footer(
      "Examples:\n"
      "  megakernel sketch build --control c0.bin --ring r0.bin -o device0.sketch\n"
      "  megakernel sketch build --capture run.mkcap --at 12.5 -o then.sketch\n"
      "  megakernel sketch merge device0.sketch device1.sketch -o all.sketch\n"
      "  megakernel sketch query all.sketch --opcode 0x2a --tenant 7 --status 1\n"
      "  megakernel sketch top all.sketch -k 5 --tenants --format json\n"
      "\n"
      "Exit status: 0 done, 1 unusable input or output, 2 usage.");
}
