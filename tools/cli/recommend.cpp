// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <unistd.h>
#include <CLI/CLI.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <expected>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "cli/input.h"
#include "cli/options.h"
#include "cli/output.h"
#include "cli/recommend.h"
#include "cli/status.h"
#include "observe/capture_input.h"
#include "observe/frame.h"
#include "observe/recommend.h"
#include "view/terminal.h"

import megakernel;

namespace {

using namespace megakernel::tool;
using megakernel::opcode;

struct recommend_options {
  std::string control;
  std::string ring;
  capture_choice capture;
  std::vector<std::string> window_opcodes;
  std::string previous;
  std::string format = "table";
  std::string colour = "auto";
  input_bounds bounds;
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
    if (!advice.why.outcome()) return give_up(advice.why.outcome().error().message().text());
    output to(STDOUT_FILENO);
    if (options_.format == "json") {
      render_advice_json(advice, to);
    } else {
      render_advice_table(advice,
                          {.width = screen_width(), .colour = wants_colour(options_.colour)}, to);
    }
    return finish(to, success);
  }

 private:
  bool decode() {
    const auto control = read(options_.control, usual_dump_bytes);
    if (!control) return false;
    const auto ring = read(options_.ring, usual_ring_bytes);
    if (!ring) return false;
    const auto decoded = decode({control->bytes.data(), control->bytes.size()},
                                {ring->bytes.data(), ring->bytes.size()}, {});
    if (decoded) return true;
    const megakernel::error& why = decoded.error();
    complain(about_input(why.buffer == megakernel::buffer::ring ? options_.ring : options_.control,
                         why.message().text()));
    return false;
  }

  bool decode_capture() {
    const auto frame = read_captured_frame(options_.capture.file, options_.capture.at());
    if (!frame) {
      complain(about_input(options_.capture.file, frame.error()));
      return false;
    }
    const auto decoded = decode(frame->control, frame->ring, frame->windows);
    if (!decoded) complain(about_input(options_.capture.file, decoded.error().message().text()));
    return decoded.has_value();
  }

  /// `opcodes`: of windows, where the command line names none.
  megakernel::result<void> decode(std::span<const std::byte> control,
                                  std::span<const std::byte> ring, std::vector<opcode> opcodes) {
    if (!options_.window_opcodes.empty()) opcodes = parse_opcodes(options_.window_opcodes);
    const auto windows = megakernel::window_opcodes::of(opcodes);
    if (!windows) return std::unexpected(windows.error());
    return telemetry_.decode(control, ring, *windows);
  }

  [[nodiscard]] std::optional<input> read(const std::string& file, std::uint64_t usual) const {
    auto got = read_input(file, options_.bounds.limits(usual));
    if (got) return std::move(*got);
    complain(about_input(file, sentence(got.error())));
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
  check_one_standard_input((options.control == "-") + (options.ring == "-"),
                           "Write the other to a file.");
  if (!options.queue_len && options.control.empty() && options.capture.file.empty()) {
    throw CLI::ValidationError(
        "--queue-len is required, or --control and --ring to take it from, or --capture.");
  }
  if (!options.window_opcodes.empty() && options.control.empty() && options.capture.file.empty()) {
    throw CLI::ValidationError(
        "--window-opcode says what a ring shows: give --control and --ring, or --capture.");
  }
  check_bounds(options.bounds);
}

/// Options for what a launch is sized by; returns those that dumps answer.
std::array<CLI::Option*, 2> add_request(CLI::App& command, recommend_options& options) {
  const auto group = [&](const char* title) { command.option_defaults()->group(title); };
  const auto number = [&](const char* option, auto& to, const char* help) {
    return add_number(command, option, to, help);
  };
  auto& rest = options.rest;
  group("Work");
  number("--queue-len", options.queue_len, "Items waiting (with dumps: the ring's queue depth)");
  number("--hits-per-item", rest.expected_hits_per_item, "Expected hits of an item [1]");
  number("--hit-capacity", rest.requested_hit_capacity, "Room for hits (0: derived)");
  auto* const opcodes = number("--hot-opcodes", rest.hot_opcode_count, "Hot opcodes");
  auto* const windows = number("--hot-windows", rest.hot_window_count, "Hot windows");
  number("--requeues", rest.requeue_count, "Times work came back unfinished");
  number("--priority-age", rest.max_priority_age, "Age of the oldest waiting work");
  group("Graph");
  number("--nodes", rest.graph_node_count, "Nodes of the graph (0: no graph is known)");
  number("--edges", rest.graph_edge_count, "Its edges");
  number("--density-bps", rest.frontier_density_bps,
         "Share of it that is active, in hundredths of a percent (0: inferred)");
  group("Adapter");
  number("--worker-groups", options.groups, "Worker groups (0: as suit the adapter) [64]");
  number("--max-workgroup-size", options.width, "Most lanes of a workgroup along x [256]");
  number("--max-workgroups", options.max_groups,
         "Most workgroups along x [the worker groups; 65535 for 0 of them]");
  number("--max-invocations", options.max_invocations,
         "Most lanes of a workgroup in all [those along x]");
  group("Memory");
  number("--memory-pressure-bps", rest.memory_pressure_bps,
         "Memory in use, in hundredths of a percent (0: inferred)");
  number("--resident-bytes", rest.resident_device_bytes, "Bytes on the device already");
  number("--budget-bytes", rest.device_memory_budget_bytes, "Most bytes it may use (0: no bound)");
  return {opcodes, windows};
}

}  // namespace

void add_recommend(CLI::App& app, int& exit_code) {
  CLI::App& command =
      *app.add_subcommand("recommend", "Size the next launch, and say why it is sized so");
  const auto options = std::make_shared<recommend_options>();
  const auto counted = add_request(command, *options);
  command.option_defaults()->group("Dumps");
  auto* const control = add_dumps(command, options->control, options->ring).control;
  auto* const capture = add_capture(command, options->capture);
  capture->excludes(control);
  for (CLI::Option* option : counted) {
    option->excludes(control);  // the dumps say how many
    option->excludes(capture);
  }
  add_window_opcodes(command, options->window_opcodes);
  add_input_bounds(command, options->bounds, usual_bytes_help);
  command.option_defaults()->group("Options");
  command
      .add_option("--previous-topology", options->previous,
                  "Topology of the last launch, which a small change does not overturn")
      ->check(CLI::IsMember({"Empty", "SparseFrontier", "HybridFrontier", "DenseFrontier",
                             "FusedDense", "MemoryConstrained"}))
      ->type_name("NAME");
  add_choice(command, "--format", options->format, {"table", "json"}, "How to say it");
  add_colour(command, options->colour, "Colours in the table");
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
