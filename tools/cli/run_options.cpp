// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <CLI/CLI.hpp>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <expected>
#include <optional>
#include <string>
#include <thread>

#include "cli/options.h"
#include "cli/run_options.h"
#include "load/injection.h"
#include "load/run.h"
#include "load/workload.h"
#include "render/names.h"

import megakernel;

namespace megakernel::tool {
namespace {

using namespace std::chrono_literals;

/// A time that passes, however short it was asked to be.
std::chrono::nanoseconds some_seconds(double seconds) {
  return std::max<std::chrono::nanoseconds>(from_seconds(seconds), 1ns);
}

void refuse(const std::string& why) { throw CLI::ValidationError(why); }

/// The work, its order and how long it is published.
void complete_work(run_options& options) {
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
    profile.duration = some_seconds(options.duration.value_or(usual_duration));
  profile.drain = some_seconds(options.drain);
  if (options.inject.empty()) return;
  profile.inject = *parse_injection(options.inject);  // the check has passed
  profile.inject_after =
      profile.duration ? std::min<std::chrono::nanoseconds>(*profile.duration / 3, 10s) : 1s;
  profile.hold_time = 500ms;
}

/// Where lanes run, and how many.
void complete_target(run_options& options) {
  run_profile& profile = options.profile;
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
    return;
  }
  const std::uint32_t cores = std::thread::hardware_concurrency();
  profile.workers =
      options.workers.value_or(cores > profile.producers ? cores - profile.producers : 1);
  if (profile.workers > 1024) refuse("--workers: Threads can be 1 to 1024.");
}

constexpr double year = 31'536'000;  // in seconds

void add_kernel_options(CLI::App& command, run_options& options) {
  run_profile& profile = options.profile;
  command.option_defaults()->group("Kernel");
  add_choice(command, "--target", options.target, {"cpu", "gpu", "auto"},
             "Where lanes run: threads of this machine, a GPU, or a GPU where there is one");
  add_choice(command, "--ring-memory", options.ring_memory, {"host", "device", "auto"},
             "Of a GPU: lanes work on the ring in this machine's memory, or on a copy in the "
             "device's");
  command.add_flag("--in-process", options.in_process,
                   "Drive the GPU from this process, not from one of its own");
  add_number(command, "--workers", options.workers,
             "Lanes: threads [the cores that producers leave, at least 1], of a GPU [1024]", 1,
             1'048'576);
  add_number(command, "--slots", profile.slots, "Slots of the ring [1024]", 1, 1'048'576);
  add_choice(command, "--form", options.form, {"ring", "priority"},
             "How lanes look for work [ring; with --priorities: priority]");
  command.add_flag("--spin", profile.spin,
                   "Idle workers poll instead of sleeping: a core for each");
  add_number(command, "--quotas", profile.quota,
             "Claims that a tenant may have a second [no limit]");
}

void add_work_options(CLI::App& command, run_options& options) {
  run_profile& profile = options.profile;
  command.option_defaults()->group("Work");
  add_number(command, "--producers", profile.producers, "Threads that publish [1]", 1, 256);
  add_number(command, "--tenants", profile.tenants, "Tenants, all alike [4]", 1, 29);
  command
      .add_option(
          "--mix", options.work,
          "Kinds of work by weight [" + to_text(usual_work()) + "]; there are printf and bad, too")
      ->type_name("KIND=N,...");
  command
      .add_option("--priorities", options.priorities,
                  "Priorities by weight [" + to_text(usual_priorities(schedule::by_priority)) + "]")
      ->type_name("NAME=N,...");
  add_number(command, "--in-flight", profile.in_flight,
             "Closed loop: slots published and not yet seen finished [64 a producer]", 1,
             1'048'576);
  add_positive(command, "--rate", profile.rate, 1e9, "SLOTS_PER_S",
               "Open loop: slots published a second, all producers together");
  add_number(command, "--seed", profile.seed, "The same seed publishes the same work [1]");
  add_positive(command, "--duration", options.duration, year, "SECONDS",
               "How long to publish [5; with --count: until then]");
  add_number(command, "--count", profile.count, "Stop publishing after so many slots", 1);
  add_positive(command, "--drain-timeout", options.drain, year, "SECONDS",
               "How long to wait for what is owed after that [5]");
  command
      .add_option(
          "--inject", options.inject,
          "Make the kernel suffer from this, a third of the duration (at most 10 s) after the "
          "start")
      ->check(CLI::IsMember(
          {"stall", "dead", "fault", "unauthorised", "quota", "lost-io", "torn", "regressed"}))
      ->type_name("FAILURE");
}

void add_output_options(CLI::App& command, run_options& options) {
  command.option_defaults()->group("Options");
  command.add_option("--dump", options.dump, "Leave the buffers there, for `megakernel inspect`")
      ->type_name("DIR")
      ->check([](const std::string& name) {
        return name.empty() ? std::string("A directory name is empty.") : std::string();
      });
  auto* const capture =
      add_file(command, "--capture", options.capture,
               "Write frames of the ring over time there, for `megakernel replay`");
  add_positive(command, "--capture-rate", options.capture_rate, 10'000, "HZ",
               "Frames a second [10]")
      ->needs(capture);
  add_choice(command, "--format", options.format, {"table", "json"},
             "A line a second and a table, or JSON lines");
  add_listen(command, "--serve", options.serve,
             "Answer Prometheus there while it runs; port 0 is any that is free");
  add_number(command, "--top", options.top, "Rows of each list in the table [10]", 1, 1'000'000);
  add_view(command, options.view,
           "The full-screen view while it runs; auto: on a terminal, with --format table");
  add_colour(command, options.colour, "Colours in the table");
}

}  // namespace

void add_run_options(CLI::App& command, run_options& options) {
  add_kernel_options(command, options);
  add_work_options(command, options);
  add_output_options(command, options);
}

void complete(run_options& options) {
  complete_work(options);
  complete_target(options);
  if (const auto why = impossible(options.profile)) refuse(*why);
}

}  // namespace megakernel::tool
