// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <nlohmann/json.hpp>

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "cli/output.h"
#include "observe/inspect.h"
#include "observe/verdict.h"
#include "render/json.h"
#include "render/names.h"
#include "render/run.h"
#include "render/values_json.h"
#include "report/report.h"

import megakernel;

namespace megakernel::tool {
namespace {

using json = nlohmann::ordered_json;

/// The top-level object: values are nlohmann's, only the frame is ours.
class document {
 public:
  explicit document(output& to) : to_(to) {}

  void member(std::string_view key, const json& value) {
    start(key);
    to_.write(value.dump());
  }

  template <class Range, class ToJson>
  void list(std::string_view key, Range&& range, ToJson to_json) {
    start(key);
    write_list(range, to_json);
  }

  /// A member that is an object whose last member is a list.
  template <class Range, class ToJson>
  void object_with_list(std::string_view key, const json& head, std::string_view list_key,
                        Range&& range, ToJson to_json) {
    start(key);
    std::string text = head.dump();
    text.pop_back();  // its closing brace; `head` has members
    to_.write(text + "," + json(list_key).dump() + ":");
    write_list(range, to_json);
    to_.write("}");
  }

  void finish() { to_.write("\n}\n"); }

 private:
  void start(std::string_view key) {
    to_.write(first_ ? "{\n  " : ",\n  ");
    first_ = false;
    to_.write(json(key).dump() + ": ");
  }

  template <class Range, class ToJson>
  void write_list(Range& range, ToJson to_json) {
    bool first = true;
    to_.write("[");
    for (const auto& element : range) {
      if (to_.failed()) return;
      to_.write(first ? "\n    " : ",\n    ");
      first = false;
      to_.write(to_json(element).dump());
    }
    to_.write(first ? "]" : "\n  ]");
  }

  output& to_;
  bool first_ = true;
};

json control_json(const control_snapshot& control) {
  json metrics = json::array();
  for (const metric& m : control.metrics()) {
    metrics.push_back(
        {{"index", m.index}, {"opcode_name", to_string(opcode{m.index})}, {"count", m.count}});
  }
  return {{"shutdown", control.shutdown()},
          {"done_count", control.done_count()},
          {"epoch", control.epoch()},
          {"starvation", control.starvation()},
          {"tenant_base", control.words()[abi::tenant_base_word]},
          {"priority_offsets", control.priority_offsets()},
          {"metrics", metrics},
          {"tenant_fairness", control.tenant_fairness()},
          {"priority_fairness", control.priority_fairness()},
          {"report", to_json(control.report())}};
}

json counters_json(const runtime_counters& c) {
  json all;
  all["total_slots"] = c.total_slots;
  all.update(to_json(c));
  return all;
}

json window_json(const window_telemetry& w) {
  json all = to_json(w);
  all["active"] = w.active();
  all["tenants_disagree"] = w.tenants_disagree;
  return all;
}

json tenant_json(const tenant_row& t) {
  return {{"tenant", t.tenant},         {"slots", t.slots},
          {"owed", t.outstanding},      {"faulted", t.faulted},
          {"claims", t.claims},         {"claims_shared", t.claims_shared},
          {"authorised", t.authorised}, {"quota", or_null(t.quota)}};
}

json opcode_json(const opcode_row& o) {
  return {{"opcode", word(o.op)},  {"opcode_name", to_string(o.op)}, {"slots", o.slots},
          {"owed", o.outstanding}, {"faulted", o.faulted},           {"claims", or_null(o.claims)}};
}

json slot_json(const slot_snapshot& s) {
  return {
      {"index", s.index},          {"status", to_string(s.status)},  {"status_raw", word(s.status)},
      {"opcode", word(s.op)},      {"opcode_name", to_string(s.op)}, {"tenant", s.tenant},
      {"priority", word(s.level)}, {"arguments", s.arguments}};
}

json io_json(const io_row& row) {
  return {{"index", row.index},
          {"status", to_string(row.status)},
          {"status_raw", word(row.status)},
          {"operation", word(row.request.operation)},
          {"operation_name", to_string(row.request.operation)},
          {"source", row.request.source},
          {"destination", row.request.destination},
          {"offset", row.request.offset},
          {"byte_count", row.request.byte_count},
          {"tag", row.request.tag}};
}

json health_json(const health_findings& h) {
  const health_report& r = h.report;
  json all{{"tracker_verdict", to_string(r.state)},
           {"interval_ns", h.interval.count()},
           {"done", r.done},
           {"done_delta", r.done_delta}};
  all.update(to_json(r));
  all["since_previous"] = h.delta ? to_json(*h.delta) : json(nullptr);
  return all;
}

void write_debug_log(const std::optional<debug_findings>& debug, document& to) {
  if (!debug) return to.member("debug_log", nullptr);
  json strict;
  if (debug->strict) {
    strict = {{"code", megakernel::to_string(debug->strict->code)},
              {"message", debug->strict->message().text()}};
  }
  const json head{{"dropped", debug->log.dropped}, {"strict_error", strict}};
  to.object_with_list("debug_log", head, "records", debug->log.records,
                      [](const debug_record& r) -> json {
                        return {{"format", r.format}, {"arguments", r.arguments}};
                      });
}

void write_io_queue(const std::optional<io_findings>& queue, document& to) {
  if (!queue) return to.member("io_queue", nullptr);
  const json head{
      {"slots", queue->slots},     {"empty", queue->empty}, {"published", queue->published},
      {"claimed", queue->claimed}, {"ok", queue->ok},       {"error", queue->error},
      {"unknown", queue->unknown}};
  to.object_with_list("io_queue", head, "requests", queue->requests, io_json);
}

void write_stuck(const std::optional<health_findings>& health, document& to) {
  if (!health) return to.member("stuck", nullptr);
  to.list("stuck", health->stuck, [](const stuck_slot& s) {
    json slot = slot_json(s.slot);
    slot["looks"] = s.samples;
    return slot;
  });
}

}  // namespace

void render_json(const inspection& found, const json_options& options, output& to) {
  document out(to);
  out.member("schema", "megakernel.inspect");
  out.member("version", 1);
  out.member("verdict", to_string(found.state));
  out.member("needs_attention", needs_attention(found.state));
  out.member("sentence", sentence(found));
  out.member("warnings", warnings(found));
  out.member("control", control_json(found.current.control()));
  out.member("occupancy", to_json(found.current.occupancy()));
  out.member("counters", counters_json(found.current.counters()));
  out.list("windows", found.current.windows(), window_json);
  out.list("tenants", found.tenants, tenant_json);
  out.list("opcodes", found.opcodes, opcode_json);
  write_stuck(found.health, out);
  out.list("faults", found.with_status(slot_status::fault), [&](const slot_snapshot& s) {
    json slot = slot_json(s);
    const fault_code code = found.slots.fault(s.index);
    slot["fault_code"] = word(code);
    slot["fault_name"] = to_string(code);
    return slot;
  });
  out.list("unknown", found.with_unknown_status(), slot_json);
  write_debug_log(found.debug_log, out);
  write_io_queue(found.io_queue, out);
  out.member("health", found.health ? health_json(*found.health) : json(nullptr));
  out.member("diagnosis", found.health ? to_json(found.health->diagnosis) : json(nullptr));
  if (options.slots) out.list("slots", found.slots, slot_json);
  out.finish();
}

}  // namespace megakernel::tool
