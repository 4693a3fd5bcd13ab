// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <fmt/format.h>
#include <unistd.h>
#include <CLI/CLI.hpp>

#include <algorithm>
#include <array>
#include <chrono>
#include <cmath>
#include <csignal>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <expected>
#include <limits>
#include <memory>
#include <new>
#include <optional>
#include <span>
#include <sstream>
#include <string>
#include <string_view>
#include <system_error>
#include <type_traits>
#include <utility>
#include <vector>

#include "cli/capture_options.h"
#include "cli/input.h"
#include "cli/numbers.h"
#include "cli/output.h"
#include "cli/replay.h"
#include "cli/report.h"
#include "cli/run.h"
#include "cli/serve.h"
#include "cli/sketch.h"
#include "cli/watch.h"
#include "conformance/conformance.h"
#include "observe/capture_input.h"
#include "observe/frame.h"
#include "observe/histogram.h"
#include "observe/inspect.h"
#include "observe/recommend.h"
#include "observe/verdict.h"
#include "render/csv.h"
#include "render/json.h"
#include "render/names.h"
#include "render/run.h"
#include "render/table.h"
#include "report/report.h"
#include "view/terminal.h"

import megakernel;

namespace {

using namespace megakernel::tool;
using megakernel::opcode;
using megakernel::word;

enum exit_status : int { healthy = 0, unusable = 1, usage = 2, attention = 3 };

/// To stderr, where a failure to write has nowhere left to be told.
void complain(std::string_view sentence) {
  std::fputs(fmt::format("megakernel: {}\n", sentence).c_str(), stderr);
}

void complain(std::string_view file, std::string_view sentence) {
  complain(fmt::format("{}: {}", printable(file == "-" ? "standard input" : file), sentence));
}

/// `code`, or 1 with a sentence when not all of the text could be written.
int finish(output& to, int code) {
  const int failure = to.finish();
  if (failure == 0) return code;
  complain(fmt::format("The output could not be written: {}.", std::strerror(failure)));
  return unusable;
}

struct inspect_options {
  std::array<std::string, sources> files;
  capture_choice capture;
  std::vector<std::string> window_opcodes;
  std::string format = "table";
  std::string colour = "auto";
  std::uint32_t top = 10;
  std::optional<std::uint64_t> max_bytes;
  double timeout = 10;
  bool slots = false;
};

class inspect_command {
 public:
  explicit inspect_command(const inspect_options& options) : options_(options) {}

  int run() {
    if (!options_.capture.file.empty()) {
      auto frame = read_captured_frame(options_.capture.file, options_.capture.at());
      if (!frame) {
        complain(options_.capture.file, frame.error());
        return unusable;
      }
      captured_ = std::move(*frame);
      if (options_.window_opcodes.empty()) opcodes_ = captured_->windows;
    }
    for (std::size_t i = 0; i < sources; ++i) {
      if (!load(static_cast<source>(i))) return unusable;
    }
    for (const std::string& text : options_.window_opcodes)
      opcodes_.push_back(opcode{*parse_number<word>(text)});  // the command line has checked it
    const auto found = inspect(captured_ ? given(*captured_) : given());
    if (!found) {
      complain(captured_ ? options_.capture.file : file(found.error().from),
               found.error().why.message().text());
      return unusable;
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
    const std::uint64_t usual = std::uint64_t{ring ? 1024u : 64u} << 20;
    const input_limits limits{
        .max_bytes = options_.max_bytes.value_or(usual),
        .timeout = std::chrono::milliseconds(static_cast<std::int64_t>(options_.timeout * 1000))};
    auto read = read_input(file(from), limits);
    if (!read) {
      complain(file(from), sentence(read.error()));
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
    return finish(to, needs_attention(found.state) ? attention : healthy);
  }

  const inspect_options& options_;
  std::array<input, sources> inputs_;
  std::optional<captured_frame> captured_;
  std::vector<opcode> opcodes_;
};

/// CLI11 lacks two checks: `-` can be read once, and no range of its refuses a NaN.
void check_inspect(const inspect_options& options) {
  const auto lacks = [&](source from) {
    return options.files[static_cast<std::size_t>(from)].empty();
  };
  if (options.capture.file.empty() && (lacks(source::control) || lacks(source::ring)))
    throw CLI::ValidationError("--control and --ring are required, or --capture.");
  if (std::ranges::count(options.files, "-") > 1) {
    throw CLI::ValidationError(
        "Only one input can be '-', the standard input. Write the others to files.");
  }
  if (options.slots && options.format != "json") {
    throw CLI::ValidationError(
        "--slots goes with --format json. --format csv lists every slot anyway.");
  }
  if (std::isnan(options.timeout)) throw CLI::ValidationError("--timeout: not a number.");
}

void add_inspect(CLI::App& app, int& exit_code) {
  CLI::App& command =
      *app.add_subcommand("inspect", "Say what a dump of a control buffer and a ring shows");
  const auto options = std::make_shared<inspect_options>();
  const auto file = [&](const char* option, source from, const char* help) {
    return command.add_option(option, options->files[static_cast<std::size_t>(from)], help)
        ->type_name("FILE")
        ->check([](const std::string& name) {
          return name.empty() ? std::string("A file name is empty.") : std::string();
        });
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
  auto* const capture = add_capture(command, options->capture, nullptr);
  for (CLI::Option* dump : {control, ring, debug_log, io_queue, previous_control})
    capture->excludes(dump);
  command
      .add_option("--window-opcode", options->window_opcodes,
                  "Opcode whose slots form windows, decimal or 0x...; may be repeated")
      ->type_name("N")
      ->take_all()
      ->expected(1)
      ->check([](const std::string& text) {
        return parse_number<word>(text)
                   ? std::string()
                   : std::string("An opcode is a number from 0 to 4294967295.");
      });
  command.add_option("--format", options->format, "How to say it")
      ->check(CLI::IsMember({"table", "json", "csv"}))
      ->type_name("table|json|csv")
      ->capture_default_str();
  command.add_flag("--slots", options->slots, "List every slot in the JSON, too");
  command.add_option("--top", options->top, "Rows of each list in the table")
      ->check(CLI::Range(1u, 1'000'000u))
      ->type_name("N")
      ->capture_default_str();
  command.add_option("--color,--colour", options->colour, "Colours in the table")
      ->check(CLI::IsMember({"auto", "always", "never"}))
      ->type_name("auto|always|never")
      ->capture_default_str();
  command
      .add_option("--max-bytes", options->max_bytes,
                  "Refuse an input over this size: 4096, 64M, 2GiB... (1 GiB for a ring, 64 MiB "
                  "for the others)")
      ->transform(CLI::AsSizeValue(false))
      ->check(CLI::Range(std::uint64_t{0}, std::uint64_t{1} << 40))
      ->type_name("SIZE");
  command
      .add_option("--timeout", options->timeout,
                  "Seconds to wait for all of an input that is not a regular file")
      ->check(CLI::Range(0.0, 86'400.0))
      ->type_name("SECONDS")
      ->capture_default_str();
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

struct recommend_options {
  std::string control;
  std::string ring;
  capture_choice capture;
  std::vector<std::string> window_opcodes;
  std::string previous;
  std::string format = "table";
  std::string colour = "auto";
  std::optional<std::uint64_t> max_bytes;
  double timeout = 10;
  std::optional<std::uint32_t> queue_len;
  std::uint32_t groups = megakernel::sizing_parameters{}.default_workers;
  std::uint32_t width = 256;
  std::optional<std::uint32_t> max_groups;
  std::optional<std::uint32_t> max_invocations;
  megakernel::launch_request rest{};  // whatever has no default of the command's own
};

class recommend_command {
 public:
  explicit recommend_command(const recommend_options& options) : options_(options) {}

  int run() {
    const bool from_capture = !options_.capture.file.empty();
    const bool from_dumps = from_capture || !options_.control.empty();
    if (from_dumps && !(from_capture ? decode_capture() : decode())) return unusable;
    const auto previous = megakernel::topology_named(options_.previous);
    constexpr auto policy = megakernel::launch_policy::standard();
    const auto request = asked(from_dumps ? telemetry_.counters().queue_depth : 0);
    const launch_advice advice{.why = from_dumps
                                          ? explain_launch(policy, telemetry_, request, previous)
                                          : explain(policy, request, previous),
                               .previous = previous};
    if (!advice.why.outcome()) {
      complain(advice.why.outcome().error().message().text());
      return unusable;
    }
    output to(STDOUT_FILENO);
    if (options_.format == "json") {
      render_advice_json(advice, to);
    } else {
      render_advice_table(advice,
                          {.width = screen_width(), .colour = wants_colour(options_.colour)}, to);
    }
    return finish(to, healthy);
  }

 private:
  bool decode() {
    constexpr std::uint64_t mebibyte = std::uint64_t{1} << 20;
    const auto control = read(options_.control, 64 * mebibyte);
    if (!control) return false;
    const auto ring = read(options_.ring, 1024 * mebibyte);
    if (!ring) return false;
    const auto decoded = decode({control->bytes.data(), control->bytes.size()},
                                {ring->bytes.data(), ring->bytes.size()}, {});
    if (decoded) return true;
    const megakernel::error& why = decoded.error();
    complain(why.buffer == megakernel::buffer::ring ? options_.ring : options_.control,
             why.message().text());
    return false;
  }

  bool decode_capture() {
    const auto frame = read_captured_frame(options_.capture.file, options_.capture.at());
    if (!frame) {
      complain(options_.capture.file, frame.error());
      return false;
    }
    const auto decoded = decode(frame->control, frame->ring, frame->windows);
    if (!decoded) complain(options_.capture.file, decoded.error().message().text());
    return decoded.has_value();
  }

  /// `opcodes`: of windows, where the command line names none.
  megakernel::result<void> decode(std::span<const std::byte> control,
                                  std::span<const std::byte> ring, std::vector<opcode> opcodes) {
    if (!options_.window_opcodes.empty()) opcodes.clear();
    for (const std::string& text : options_.window_opcodes)
      opcodes.push_back(opcode{*parse_number<word>(text)});  // the command line has checked it
    const auto windows = megakernel::window_opcodes::of(opcodes);
    if (!windows) return std::unexpected(windows.error());
    return telemetry_.decode(control, ring, *windows);
  }

  [[nodiscard]] std::optional<input> read(const std::string& file, std::uint64_t usual) const {
    auto got = read_input(
        file,
        {.max_bytes = options_.max_bytes.value_or(usual),
         .timeout = std::chrono::milliseconds(static_cast<std::int64_t>(options_.timeout * 1000))});
    if (got) return std::move(*got);
    complain(file, sentence(got.error()));
    return std::nullopt;
  }

  /// Where nothing else is said, a launch of the adapter's whole size.
  [[nodiscard]] megakernel::launch_request asked(std::uint32_t queue_depth) const {
    constexpr std::uint32_t usual_most = 65'535;
    auto request = options_.rest;
    request.queue_len = options_.queue_len.value_or(queue_depth);
    request.requested_worker_groups = options_.groups;
    request.limits = {
        .max_workgroup_size_x = options_.width,
        .max_compute_workgroups_per_dimension =
            options_.max_groups.value_or(options_.groups == 0 ? usual_most : options_.groups),
        .max_compute_invocations_per_workgroup = options_.max_invocations.value_or(options_.width)};
    return request;
  }

  const recommend_options& options_;
  megakernel::ring_summary telemetry_;
};

void check_recommend(const recommend_options& options) {
  if (options.control == "-" && options.ring == "-") {
    throw CLI::ValidationError(
        "Only one input can be '-', the standard input. Write the other to a file.");
  }
  if (!options.queue_len && options.control.empty() && options.capture.file.empty()) {
    throw CLI::ValidationError(
        "--queue-len is required, or --control and --ring to take it from, or --capture.");
  }
  if (!options.window_opcodes.empty() && options.control.empty() && options.capture.file.empty()) {
    throw CLI::ValidationError(
        "--window-opcode says what a ring shows: give --control and --ring, or --capture.");
  }
  if (std::isnan(options.timeout)) throw CLI::ValidationError("--timeout: not a number.");
}

void add_recommend(CLI::App& app, int& exit_code) {
  CLI::App& command =
      *app.add_subcommand("recommend", "Size the next launch, and say why it is sized so");
  const auto options = std::make_shared<recommend_options>();
  const auto number = [&]<class T>(const char* option, T& to, const std::string& help) {
    using value = std::remove_cvref_t<decltype(*std::optional(to))>;
    return command
        .add_option_function<std::string>(
            option,
            [&to](const std::string& text) {
              const auto given = parse_number<value>(text);  // the check below has passed
              if constexpr (std::is_same_v<T, value>) {
                to = *given;
              } else {
                to = given;
              }
            },
            help)
        ->check([](const std::string& text) {
          return parse_number<value>(text) ? std::string()
                                           : fmt::format("A number from 0 to {} is needed.",
                                                         std::numeric_limits<value>::max());
        })
        ->type_name("N");
  };
  auto& rest = options->rest;
  number("--queue-len", options->queue_len, "Items waiting (with dumps: the ring's queue depth)")
      ->group("Work");
  number("--hits-per-item", rest.expected_hits_per_item, "Expected hits of an item [1]")
      ->group("Work");
  number("--hit-capacity", rest.requested_hit_capacity, "Room for hits (0: derived)")
      ->group("Work");
  auto* const opcodes =
      number("--hot-opcodes", rest.hot_opcode_count, "Hot opcodes")->group("Work");
  auto* const windows =
      number("--hot-windows", rest.hot_window_count, "Hot windows")->group("Work");
  number("--requeues", rest.requeue_count, "Times work came back unfinished")->group("Work");
  number("--priority-age", rest.max_priority_age, "Age of the oldest waiting work")->group("Work");
  number("--nodes", rest.graph_node_count, "Nodes of the graph (0: no graph is known)")
      ->group("Graph");
  number("--edges", rest.graph_edge_count, "Its edges")->group("Graph");
  number("--density-bps", rest.frontier_density_bps,
         "Share of it that is active, in hundredths of a percent (0: inferred)")
      ->group("Graph");
  number("--worker-groups", options->groups, "Worker groups (0: as suit the adapter) [64]")
      ->group("Adapter");
  number("--max-workgroup-size", options->width, "Most lanes of a workgroup along x [256]")
      ->group("Adapter");
  number("--max-workgroups", options->max_groups,
         "Most workgroups along x [the worker groups; 65535 for 0 of them]")
      ->group("Adapter");
  number("--max-invocations", options->max_invocations,
         "Most lanes of a workgroup in all [those along x]")
      ->group("Adapter");
  number("--memory-pressure-bps", rest.memory_pressure_bps,
         "Memory in use, in hundredths of a percent (0: inferred)")
      ->group("Memory");
  number("--resident-bytes", rest.resident_device_bytes, "Bytes on the device already")
      ->group("Memory");
  number("--budget-bytes", rest.device_memory_budget_bytes, "Most bytes it may use (0: no bound)")
      ->group("Memory");
  const auto not_empty = [](const std::string& name) {
    return name.empty() ? std::string("A file name is empty.") : std::string();
  };
  auto* const control =
      command.add_option("--control", options->control, "Control buffer; '-' is standard input")
          ->type_name("FILE")
          ->check(not_empty)
          ->group("Dumps");
  auto* const ring = command.add_option("--ring", options->ring, "Ring")
                         ->type_name("FILE")
                         ->check(not_empty)
                         ->group("Dumps");
  control->needs(ring);
  ring->needs(control);
  auto* const capture = add_capture(command, options->capture, "Dumps");
  capture->excludes(control);
  for (CLI::Option* counted : {opcodes, windows}) {
    counted->excludes(control);  // the dumps say how many
    counted->excludes(capture);
  }
  command
      .add_option("--window-opcode", options->window_opcodes,
                  "Opcode whose slots form windows, decimal or 0x...; may be repeated")
      ->type_name("N")
      ->take_all()
      ->expected(1)
      ->check([](const std::string& text) {
        return parse_number<word>(text)
                   ? std::string()
                   : std::string("An opcode is a number from 0 to 4294967295.");
      })
      ->group("Dumps");
  command
      .add_option("--max-bytes", options->max_bytes,
                  "Refuse an input over this size: 4096, 64M, 2GiB... (1 GiB for a ring, 64 MiB "
                  "for the others)")
      ->transform(CLI::AsSizeValue(false))
      ->check(CLI::Range(std::uint64_t{0}, std::uint64_t{1} << 40))
      ->type_name("SIZE")
      ->group("Dumps");
  command
      .add_option("--timeout", options->timeout,
                  "Seconds to wait for all of an input that is not a regular file")
      ->check(CLI::Range(0.0, 86'400.0))
      ->type_name("SECONDS")
      ->capture_default_str()
      ->group("Dumps");
  command
      .add_option("--previous-topology", options->previous,
                  "Topology of the last launch, which a small change does not overturn")
      ->check(CLI::IsMember({"Empty", "SparseFrontier", "HybridFrontier", "DenseFrontier",
                             "FusedDense", "MemoryConstrained"}))
      ->type_name("NAME");
  command.add_option("--format", options->format, "How to say it")
      ->check(CLI::IsMember({"table", "json"}))
      ->type_name("table|json")
      ->capture_default_str();
  command.add_option("--color,--colour", options->colour, "Colours in the table")
      ->check(CLI::IsMember({"auto", "always", "never"}))
      ->type_name("auto|always|never")
      ->capture_default_str();
  command.footer(
      "Examples:\n"
      "  megakernel recommend --queue-len 5000 --nodes 10000 --edges 80000\n"
      "  megakernel recommend --queue-len 900 --worker-groups 0 --max-workgroups 65535 \\\n"
      "      --max-invocations 1024 --resident-bytes 7000000 --budget-bytes 8000000\n"
      "  megakernel recommend --control control.bin --ring ring.bin --window-opcode 0x2a \\\n"
      "      --previous-topology HybridFrontier --format json\n"
      "\n"
      "Exit status: 0 a recommendation, 1 there is none or an unusable input or output, 2 usage.");
  command.callback([options, &exit_code] {
    check_recommend(*options);
    exit_code = recommend_command(*options).run();
  });
}

void add_conformance(CLI::App& app, int& exit_code) {
  CLI::App& command = *app.add_subcommand("conformance", "Run golden vectors against the library");
  const auto files = std::make_shared<std::vector<std::string>>();
  command.add_option("files", *files, "JSON lines, plain or compressed with zstd")
      ->type_name("FILE")
      ->required();
  command.footer(
      "Example:\n"
      "  megakernel conformance tests/golden/vectors.jsonl.zst\n"
      "\n"
      "Exit status: 0 all cases that were not skipped passed, 1 a case failed or a file was not\n"
      "usable, 2 usage.");
  command.callback([files, &exit_code] {
    output to(STDOUT_FILENO);
    const int code = run_conformance(*files, to);
    exit_code = finish(to, code);
  });
}

int run(int argc, char** argv) {
  CLI::App app("Tools for persistent-kernel work rings", "megakernel");
  app.set_version_flag("--version", "megakernel " MEGAKERNEL_VERSION);
  app.require_subcommand(1);
  int exit_code = healthy;
  add_run(app, exit_code);
  add_watch(app, exit_code);
  add_replay(app, exit_code);
  add_serve(app, exit_code);
  add_inspect(app, exit_code);
  add_report(app, exit_code);
  add_recommend(app, exit_code);
  add_sketch(app, exit_code);
  add_conformance(app, exit_code);

  try {
    app.parse(argc, argv);
    return exit_code;
  } catch (const CLI::ParseError& problem) {
    std::ostringstream out;
    std::ostringstream err;
    const int code = app.exit(problem, out, err);
    std::fputs(err.str().c_str(), stderr);
    output to(STDOUT_FILENO);
    to.write(out.str());
    return finish(to, code == 0 ? healthy : usage);
  }
}

}  // namespace

int main(int argc, char** argv) {
  // A reader that leaves is an error to report, not a reason to die.
  std::signal(SIGPIPE, SIG_IGN);
  try {
    return run(argc, argv);
  } catch (const std::bad_alloc&) {
    std::fputs("megakernel: There is no memory left. Inspect a smaller dump, or free some.\n",
               stderr);
  } catch (const std::exception& problem) {
    std::fputs("megakernel: This is a mistake of the command's own: ", stderr);
    std::fputs(problem.what(), stderr);
    std::fputs(".\n", stderr);
  }
  return unusable;
}
