// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <expected>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "cli/output.h"
#include "observe/recommend.h"
#include "render/layout.h"
#include "render/names.h"
#include "render/run.h"
#include "render/values_json.h"

import megakernel;

namespace megakernel::tool {
namespace {

using json = nlohmann::ordered_json;

std::string promoted(const launch_recommendation& launch) {
  if (launch.promote_hot_opcodes && launch.promote_hot_windows) return "hot opcodes and windows";
  if (launch.promote_hot_opcodes) return "hot opcodes";
  return launch.promote_hot_windows ? "hot windows" : "nothing";
}

std::string memory(const launch_recommendation& launch) {
  const std::string peak = counted(launch.estimated_peak_device_bytes, "byte");
  if (launch.device_memory_budget_bytes == 0) return peak + ", no budget";
  return fmt::format("{} of {}", peak, grouped(launch.device_memory_budget_bytes));
}

std::string slots(const launch_recommendation& launch) {
  std::string all = grouped(launch.geometry.slot_count);
  if (launch.slots_short == 0) return all;
  return fmt::format("{}, {} too few", all, grouped(launch.slots_short));
}

void launch_table(const launch_recommendation& launch, screen& to) {
  const launch_geometry& g = launch.geometry;
  grid rows({{.gap = 2}, {.gap = 2}});
  const auto row = [&](std::string_view label, std::string value) {
    rows.add({{std::string(label), ink::dim}, {std::move(value)}});
  };
  row("topology", std::string(to_string(launch.topology)));
  row("execution mode", std::string(to_string(launch.mode)));
  row("dispatch grid",
      fmt::format("{} x {} x {}", g.dispatch_grid[0], g.dispatch_grid[1], g.dispatch_grid[2]));
  row("workgroup size", counted(g.workgroup_size_x, "lane"));
  row("worker groups", grouped(launch.worker_groups));
  row("ring slots", slots(launch));
  row("hit capacity", grouped(launch.hit_capacity));
  row("peak memory", memory(launch));
  row("queue pressure", std::string(to_string(launch.pressure)));
  row("fuse", promoted(launch));
  row("lift waiting work", launch.age_priority_work ? "yes" : "no");
  rows.print(to);
}

std::string label_of(decision what) {
  std::string text(to_string(what));
  std::ranges::replace(text, '_', ' ');
  return text;
}

void reason_list(const explanation& why, screen& to) {
  constexpr std::size_t column = 16;
  std::optional<decision> last;
  for (const reason& r : why.reasons()) {
    const reason_text sentence = r.sentence();
    if (r.about() == last) {
      to.paragraph(sentence.text(), column, column);
    } else {
      to.paragraph(fmt::format("{:<{}}{}", label_of(r.about()), column - 2, sentence.text()), 2,
                   column);
    }
    last = r.about();
  }
}

json recommendation_json(const launch_recommendation& launch) {
  return {{"topology", to_string(launch.topology)},
          {"execution_mode", to_string(launch.mode)},
          {"pressure", to_string(launch.pressure)},
          {"geometry",
           {{"workgroup_size_x", launch.geometry.workgroup_size_x},
            {"slot_count", launch.geometry.slot_count},
            {"dispatch_grid", launch.geometry.dispatch_grid}}},
          {"worker_groups", launch.worker_groups},
          {"hit_capacity", launch.hit_capacity},
          {"slots_short", launch.slots_short},
          {"promote_hot_opcodes", launch.promote_hot_opcodes},
          {"promote_hot_windows", launch.promote_hot_windows},
          {"age_priority_work", launch.age_priority_work},
          {"estimated_peak_device_bytes", launch.estimated_peak_device_bytes},
          {"device_memory_budget_bytes", launch.device_memory_budget_bytes}};
}

json request_json(const launch_request& request) {
  return {
      {"queue_len", request.queue_len},
      {"requested_worker_groups", request.requested_worker_groups},
      {"max_workgroup_size_x", request.limits.max_workgroup_size_x},
      {"max_compute_workgroups_per_dimension", request.limits.max_compute_workgroups_per_dimension},
      {"max_compute_invocations_per_workgroup",
       request.limits.max_compute_invocations_per_workgroup},
      {"requested_hit_capacity", request.requested_hit_capacity},
      {"expected_hits_per_item", request.expected_hits_per_item},
      {"hot_opcode_count", request.hot_opcode_count},
      {"hot_window_count", request.hot_window_count},
      {"requeue_count", request.requeue_count},
      {"max_priority_age", request.max_priority_age},
      {"graph_node_count", request.graph_node_count},
      {"graph_edge_count", request.graph_edge_count},
      {"frontier_density_bps", request.frontier_density_bps},
      {"memory_pressure_bps", request.memory_pressure_bps},
      {"resident_device_bytes", request.resident_device_bytes},
      {"device_memory_budget_bytes", request.device_memory_budget_bytes}};
}

}  // namespace

ordered_json to_json(const launch_advice& advice) {
  if (!advice.why.outcome()) return nullptr;
  json reasons = json::array();
  for (const reason& r : advice.why.reasons()) {
    reasons.push_back({{"about", to_string(r.about())},
                       {"rule", r.name()},
                       {"numbers", r.numbers},
                       {"sentence", r.sentence().text()}});
  }
  return {
      {"schema", "megakernel.recommend"},
      {"version", 1},
      {"recommendation", recommendation_json(*advice.why.outcome())},
      {"request", request_json(advice.why.request())},
      {"previous_topology", advice.previous ? json(to_string(*advice.previous)) : json(nullptr)},
      {"reasons", std::move(reasons)}};
}

std::string headline(const launch_recommendation& launch) {
  return fmt::format("Launch {} of {}: {}, {}.",
                     counted(launch.geometry.dispatch_grid[0], "workgroup"),
                     counted(launch.geometry.workgroup_size_x, "lane"), to_string(launch.topology),
                     launch.mode == execution_mode::jit ? "compiled" : "interpreted");
}

void render_advice_table(const launch_advice& advice, const advice_table_options& options,
                         output& to) {
  screen page(to, options.width, options.colour);
  const launch_recommendation& launch = *advice.why.outcome();
  page.paragraph(headline(launch), 0, 2, launch.slots_short == 0 ? ink::green : ink::yellow);
  page.section("Launch");
  render_launch(advice, page);
  render_reasons(advice, page);
}

void render_launch(const launch_advice& advice, screen& page) {
  launch_table(*advice.why.outcome(), page);
}

void render_reasons(const launch_advice& advice, screen& page) {
  page.section("Why");
  reason_list(advice.why, page);
}

void render_advice_json(const launch_advice& advice, output& to) {
  to.write(to_json(advice).dump(2) + "\n");
}

}  // namespace megakernel::tool
