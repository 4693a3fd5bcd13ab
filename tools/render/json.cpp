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
#include "render/diagnosis.h"
#include "render/json.h"
#include "render/names.h"
#include "render/run.h"
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

template <class T>
json or_null(const std::optional<T>& value) {
  return value ? json(*value) : json(nullptr);
}

json control_json(const control_snapshot& control) {
  json metrics = json::array();
  for (const metric& m : control.metrics()) {
    metrics.push_back(
        {{"index", m.index}, {"opcode_name", to_string(opcode{m.index})}, {"count", m.count}});
  }
  json report;
  if (const auto r = control.report()) {
    report = {{"heartbeat", r->heartbeat},
              {"faults", r->faults},
              {"unauthorised_seen", r->unauthorised_seen},
              {"throttled_seen", r->throttled_seen},
              {"workers_alive", r->workers_alive},
              {"claims_lost", r->claims_lost},
              {"debug_dropped", r->debug_dropped},
              {"done_count_high", r->done_count_high}};
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
          {"report", report}};
}

json occupancy_json(const ring_occupancy& o) {
  return {{"total_slots", o.total_slots()},
          {"active", o.active()},
          {"empty", o.empty},
          {"published", o.published},
          {"claimed", o.claimed},
          {"done", o.done},
          {"wait_io", o.wait_io},
          {"yield", o.yield},
          {"requeue", o.requeue},
          {"fault", o.fault},
          {"unknown", o.unknown}};
}

json counters_json(const runtime_counters& c) {
  return {{"total_slots", c.total_slots},
          {"queue_depth", c.queue_depth},
          {"gpu_idle_slots", c.gpu_idle_slots},
          {"gpu_idle_ppm", c.gpu_idle_ppm},
          {"frontier_density_bps", c.frontier_density_bps},
          {"occupancy_proxy_bps", c.occupancy_proxy_bps},
          {"drained_slots", c.drained_slots},
          {"unreclaimed_done_slots", c.unreclaimed_done_slots},
          {"tenant_fairness_total", c.tenant_fairness_total},
          {"tenant_fairness_skew", c.tenant_fairness_skew},
          {"priority_fairness_total", c.priority_fairness_total},
          {"requeue_slots", c.requeue_slots},
          {"fault_slots", c.fault_slots}};
}

json window_json(const window_telemetry& w) {
  return {{"ticket", w.ticket},
          {"opcode", word(w.op)},
          {"opcode_name", to_string(w.op)},
          {"tenant", w.tenant},
          {"required_slots", w.required_slots},
          {"lookahead_slots", w.lookahead_slots},
          {"published", w.published},
          {"claimed", w.claimed},
          {"done", w.done},
          {"wait_io", w.wait_io},
          {"yield", w.yield},
          {"requeue", w.requeue},
          {"fault", w.fault},
          {"active", w.active()},
          {"tenants_disagree", w.tenants_disagree}};
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

json delta_json(const std::optional<health_delta>& d) {
  if (!d) return nullptr;
  return {{"done_delta", d->done_delta},     {"queue_depth", d->queue_depth},
          {"fault_slots", d->fault_slots},   {"requeue_slots", d->requeue_slots},
          {"gpu_idle_ppm", d->gpu_idle_ppm}, {"suspected_stall", d->suspected_stall}};
}

json health_json(const health_findings& h) {
  const health_report& r = h.report;
  return {{"tracker_verdict", megakernel::to_string(r.verdict)},
          {"interval_ns", h.interval.count()},
          {"done", r.done},
          {"done_delta", r.done_delta},
          {"owed_slots", r.outstanding_slots},
          {"fault_slots", r.fault_slots},
          {"unauthorised_slots", r.unauthorised_slots},
          {"throttled_slots", r.throttled_slots},
          {"heartbeat_delta", or_null(r.heartbeat_delta)},
          {"stuck_slots", r.stuck_slots},
          {"since_previous", delta_json(h.delta)}};
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
  out.member("occupancy", occupancy_json(found.current.occupancy()));
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
  out.member("diagnosis",
             found.health ? json::parse(diagnosis_json(found.health->diagnosis)) : json(nullptr));
  if (options.slots) out.list("slots", found.slots, slot_json);
  out.finish();
}

}  // namespace megakernel::tool
