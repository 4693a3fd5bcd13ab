// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <nlohmann/json.hpp>

#include <algorithm>
#include <chrono>
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
#include "render/values_json.h"
#include "report/report.h"

import megakernel;

namespace megakernel::tool {
namespace {

std::vector<opcode> opcodes_of(const json& list) {
  std::vector<opcode> opcodes;
  for (const word op : list) opcodes.push_back(opcode{op});
  return opcodes;
}

json control_json(const control_snapshot& control) {
  json metrics = json::array();
  for (const metric m : control.metrics()) metrics.push_back({m.index, m.count});
  return {{"shutdown", control.shutdown()},
          {"done_count", control.done_count()},
          {"epoch", control.epoch()},
          {"metrics", metrics},
          {"tenant_fairness", control.tenant_fairness()},
          {"priority_fairness", control.priority_fairness()}};
}

json occupancy_json(const ring_occupancy& o) {
  return {{"empty", o.empty},
          {"published", o.published},
          {"claimed", o.claimed},
          {"done", o.done},
          {"wait_io", o.wait_io},
          {"yield_count", o.yield},
          {"requeue", o.requeue},
          {"fault", o.fault},
          {"unknown", o.unknown},
          {"total_slots", o.total_slots()},
          {"queue_depth", o.queue_depth()}};
}

json slot_json(const slot_snapshot& slot) {
  return {word(slot.status), slot.tenant,       word(slot.op),
          slot.arguments[0], slot.arguments[1], slot.arguments[2]};
}

json window_json(const window_telemetry& w) {
  return {{"ticket", w.ticket},
          {"tenant_id", w.tenant},
          {"opcode", word(w.op)},
          {"required_slots", w.required_slots},
          {"lookahead_slots", w.lookahead_slots},
          {"published", w.published},
          {"claimed", w.claimed},
          {"done", w.done},
          {"wait_io", w.wait_io},
          {"yield_count", w.yield},
          {"requeue", w.requeue},
          {"fault", w.fault},
          {"active", w.active()}};
}

json counters_json(const runtime_counters& c) {
  json all = to_json(c);
  all["total_slots"] = c.total_slots;
  return all;
}

/// Decodes in all three ways, which must agree before any of them is compared.
json decode(const json& in) {
  const auto control = bytes_of(in.at("control"));
  const auto ring = bytes_of(in.at("ring"));
  const auto windows = window_opcodes::of(opcodes_of(in.at("windows")));
  if (!windows) throw std::bad_alloc();
  ring_telemetry full;
  ring_summary summary;
  const auto decoded = full.decode(control, ring, *windows);
  const auto summed = summary.decode(control, ring, *windows);
  const auto view = ring_view::over(control, ring);
  if (decoded.has_value() != summed.has_value() || decoded.has_value() != view.has_value())
    throw std::logic_error("the three ways to decode disagree on whether the input is valid");
  if (!decoded) return refused(to_string(decoded.error().code));
  if (summary.occupancy() != full.occupancy() ||
      !std::ranges::equal(summary.windows(), full.windows()) ||
      !std::ranges::equal(*view, full.slots()) || view->control() != full.control())
    throw std::logic_error("the three ways to decode disagree");

  json slots = json::array();
  for (const slot_snapshot& slot : full.slots()) slots.push_back(slot_json(slot));
  json window_list = json::array();
  for (const window_telemetry& w : full.windows()) window_list.push_back(window_json(w));
  const auto& all = full.summary();
  std::uint64_t active_slots = 0;
  for (const slot_snapshot& slot : *view) active_slots += is_active(slot.status);
  json by_opcode = json::array();
  for (const opcode op : windows->list())
    by_opcode.push_back({word(op), std::ranges::distance(full.active(op))});
  const priority_accounting priorities = all.priorities();
  return ok(
      {{"control", control_json(full.control())},
       {"occupancy", occupancy_json(full.occupancy())},
       {"slots", slots},
       {"windows", window_list},
       {"runtime_counters", counters_json(all.counters())},
       {"sketches", sketches_of(full)},
       {"active_windows", std::ranges::distance(all.active_windows())},
       {"active_slots", active_slots},
       {"active_slots_by_opcode", by_opcode},
       {"priority_accounting",
        {priorities.requeue_count, priorities.aged_promotions, priorities.max_priority_age}}});
}

json health(const json& in) {
  ring_summary previous;
  ring_summary current;
  for (auto [summary, dump] :
       {std::pair(&previous, &in.at("previous")), std::pair(&current, &in.at("current"))}) {
    const auto decoded = summary->decode(bytes_of(dump->at("control")), bytes_of(dump->at("ring")));
    if (!decoded) return refused(to_string(decoded.error().code));
  }
  const auto delta = health_since(previous, current);
  if (!delta) return refused(to_string(delta.error().code));
  return ok(to_json(*delta));
}

}  // namespace

std::optional<json> answer_decoder(std::string_view kind, const json& input) {
  if (kind == "decode") return decode(input);
  if (kind == "health") return health(input);
  return std::nullopt;
}

}  // namespace megakernel::tool
