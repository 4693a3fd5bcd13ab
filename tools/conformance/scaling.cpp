// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <nlohmann/json.hpp>

#include <algorithm>
#include <bit>
#include <charconv>
#include <chrono>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <expected>
#include <optional>
#include <ranges>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "cli/input.h"
#include "conformance/vectors.h"
#include "observe/histogram.h"
#include "report/report.h"

import megakernel;

namespace megakernel::tool {
namespace {

double double_of(const json& hex) {
  const auto& text = hex.get_ref<const std::string&>();
  std::uint64_t bits = 0;
  const char* const end = text.data() + text.size();
  const auto [at, problem] = std::from_chars(text.data(), end, bits, 16);
  if (text.size() != 16 || problem != std::errc{} || at != end)
    throw std::invalid_argument("not the 16 hexadecimal digits of a double");
  return std::bit_cast<double>(bits);
}

std::vector<double> doubles_of(const json& list) {
  std::vector<double> values;
  for (const json& hex : list) values.push_back(double_of(hex));
  return values;
}

json json_of_doubles(std::span<const double> values) {
  json list = json::array();
  for (const double value : values) {
    if (std::isnan(value)) {
      list.push_back("nan");
      continue;
    }
    const auto bits = std::bit_cast<std::uint64_t>(value);
    std::string hex(16, '0');
    for (std::size_t i = 0; i < hex.size(); ++i)
      hex[i] = "0123456789abcdef"[bits >> (60 - 4 * i) & 15];
    list.push_back(hex);
  }
  return list;
}

json error_json(const error& why) {
  json details{{"class", to_string(why.code)}};
  if (why.code == error_code::limit_zero) details["limit"] = why.subject();
  if (why.code == error_code::device_out_of_memory) {
    details["requested"] = why.found;
    details["available"] = why.bound;
  }
  return {{"error", std::move(details)}};
}

json geometry_json(const launch_geometry& g) {
  return {{"workgroup_size_x", g.workgroup_size_x},
          {"slot_count", g.slot_count},
          {"dispatch_grid", g.dispatch_grid}};
}

launch_request request_of(const json& in) {
  return {.queue_len = in.at("queue_len"),
          .requested_worker_groups = in.at("requested_worker_groups"),
          .limits = {.max_workgroup_size_x = in.at("max_workgroup_size_x"),
                     .max_compute_workgroups_per_dimension =
                         in.at("max_compute_workgroups_per_dimension"),
                     .max_compute_invocations_per_workgroup =
                         in.at("max_compute_invocations_per_workgroup")},
          .requested_hit_capacity = in.at("requested_hit_capacity"),
          .expected_hits_per_item = in.at("expected_hits_per_item"),
          .hot_opcode_count = in.at("hot_opcode_count"),
          .hot_window_count = in.at("hot_window_count"),
          .requeue_count = in.at("requeue_count"),
          .max_priority_age = in.at("max_priority_age"),
          .graph_node_count = in.at("graph_node_count"),
          .graph_edge_count = in.at("graph_edge_count"),
          .frontier_density_bps = in.at("frontier_density_bps"),
          .memory_pressure_bps = in.at("memory_pressure_bps"),
          .resident_device_bytes = in.at("resident_device_bytes"),
          .device_memory_budget_bytes = in.at("device_memory_budget_bytes")};
}

json recommendation_json(const result<launch_recommendation>& got) {
  if (!got) return error_json(got.error());
  return ok({{"geometry", geometry_json(got->geometry)},
             {"worker_groups", got->worker_groups},
             {"hit_capacity", got->hit_capacity},
             {"pressure", to_string(got->pressure)},
             {"execution_mode", to_string(got->mode)},
             {"topology", to_string(got->topology)},
             {"promote_hot_opcodes", got->promote_hot_opcodes},
             {"promote_hot_windows", got->promote_hot_windows},
             {"age_priority_work", got->age_priority_work},
             {"estimated_peak_device_bytes", got->estimated_peak_device_bytes},
             {"device_memory_budget_bytes", got->device_memory_budget_bytes}});
}

/// Clang 19 does not link `std::expected`'s own comparison of types from modules.
bool same(const result<launch_recommendation>& a, const result<launch_recommendation>& b) {
  if (a.has_value() != b.has_value()) return false;
  return a ? *a == *b : a.error() == b.error();
}

/// All the ways to ask, which must agree before one of them is compared.
json agreed(const result<launch_recommendation>& standard,
            const result<launch_recommendation>& built, const explanation& explained) {
  if (!same(standard, built) || !same(standard, explained.outcome()))
    throw std::logic_error("the ways to recommend disagree");
  return recommendation_json(standard);
}

json recommendation(const json& in) {
  const launch_request request = request_of(in.at("request"));
  std::optional<launch_topology> previous;
  if (const json& named = in.at("previous_topology"); !named.is_null()) {
    previous = topology_named(named.get_ref<const std::string&>());
    if (!previous) throw std::invalid_argument("unknown topology");
  }
  const auto policy = launch_policy::build({});
  return agreed(recommend(request, previous), recommend(*policy, request, previous),
                explain(request, previous));
}

json recommendation_from_telemetry(const json& in) {
  const auto once = bytes_of(in.at("ring"));
  std::vector<std::byte> ring;
  const auto times = in.value("ring_repeat", std::uint64_t{1});
  for (std::uint64_t i = 0; i < times; ++i) ring.insert(ring.end(), once.begin(), once.end());
  std::vector<opcode> opcodes;
  for (const word op : in.at("windows")) opcodes.push_back(opcode{op});
  const auto windows = window_opcodes::of(opcodes);
  if (!windows) throw std::bad_alloc();
  ring_telemetry telemetry;
  const auto decoded = telemetry.decode(bytes_of(in.at("control")), ring, *windows);
  if (!decoded) return error_json(decoded.error());
  const launch_request request = request_of(in.at("request"));
  constexpr launch_policy policy = launch_policy::standard();
  return agreed(recommend_launch(telemetry, request),
                recommend_launch(policy, telemetry.summary(), request),
                explain_launch(policy, telemetry.summary(), request));
}

json diffusion(const json& in) {
  auto values = doubles_of(in.at("stalks"));
  diffuse(values, doubles_of(in.at("diag")), double_of(in.at("damping")), in.at("iterations"));
  return ok(json_of_doubles(values));
}

json gradient_step(const json& in) {
  const auto gradient = doubles_of(in.at("grad"));
  std::vector<double> out(gradient.size());
  return ok(json_of_doubles(natural_gradient_step(doubles_of(in.at("m")), gradient, in.at("n"),
                                                  double_of(in.at("learning_rate")), out)));
}

json autotuned(const json& in) {
  const auto what = in.at("what").get<std::string>();
  std::uint32_t fallback = 0;
  if (what == "workgroup_size") {
    fallback = in.at("current");
  } else if (what == "hit_capacity_multiplier") {
    fallback = launch_policy::standard().parameters().hit_capacity_multiplier;
  } else {
    throw std::invalid_argument("unknown knob " + what);
  }
  const auto candidates = in.at("candidates").get<std::vector<std::uint32_t>>();
  return ok(autotune_choice(candidates, doubles_of(in.at("costs")), fallback));
}

json sizing(const json& in) {
  const std::uint32_t workers = in.at("worker_count");
  const std::uint32_t queue = in.at("queue_len");
  const std::uint32_t width = in.at("max_workgroup_size_x");
  const std::uint32_t groups = in.at("max_compute_workgroups_per_dimension");
  const std::uint32_t invocations = in.at("max_compute_invocations_per_workgroup");
  const auto plan = plan_grid(queue, workers,
                              {.max_workgroup_size_x = width,
                               .max_compute_workgroups_per_dimension = groups,
                               .max_compute_invocations_per_workgroup = invocations});
  const auto items = geometry_for_items(in.at("item_count"), workers, width);
  return {{"worker_workgroup_size", worker_workgroup_size(workers, width)},
          {"padded_slot_count", padded_slot_count(queue, width)},
          {"dispatch_grid", dispatch_grid(workers, queue, width)},
          {"default_worker_groups", default_worker_groups(groups, invocations)},
          {"grid_plan", plan ? ok({{"geometry", geometry_json(plan->geometry)},
                                   {"worker_groups", plan->worker_groups}})
                             : error_json(plan.error())},
          {"from_item_count", items ? ok(geometry_json(*items)) : error_json(items.error())}};
}

}  // namespace

std::optional<json> answer_scaling(std::string_view kind, const json& input) {
  if (kind == "recommend") return recommendation(input);
  if (kind == "recommend_from_telemetry") return recommendation_from_telemetry(input);
  if (kind == "diffuse") return diffusion(input);
  if (kind == "natural_gradient") return gradient_step(input);
  if (kind == "autotune") return autotuned(input);
  if (kind == "sizing") return sizing(input);
  return std::nullopt;
}

}  // namespace megakernel::tool
