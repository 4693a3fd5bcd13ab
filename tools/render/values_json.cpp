// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "render/values_json.h"

#include <nlohmann/json.hpp>

#include <chrono>
#include <optional>
#include <utility>

#include "observe/histogram.h"
#include "render/names.h"

import megakernel;

namespace megakernel::tool {
namespace {

using json = ordered_json;
using std::chrono::nanoseconds;

nanoseconds since(nanoseconds then, nanoseconds now) noexcept {
  return now > then ? now - then : nanoseconds{};
}

json slot_json(const concerned_slot& s, nanoseconds at) {
  return {{"index", s.slot.index},
          {"status", to_string(s.slot.status)},
          {"opcode", word(s.slot.op)},
          {"opcode_name", to_string(s.slot.op)},
          {"tenant", s.slot.tenant},
          {"priority", word(s.slot.level)},
          {"arguments", s.slot.arguments},
          {"for_ns", since(s.since, at).count()},
          {"looks", s.samples},
          {"fault_code", word(s.why)},
          {"fault_name", to_string(s.why)}};
}

json finding_json(const finding& of, nanoseconds at) {
  json evidence = json::array();
  for (const evidence_item& f : of.evidence) {
    json one{{"measure", to_string(f.what)}, {"found", f.found}};
    if (f.limit != evidence_metric::nothing) {
      one["against"] = to_string(f.limit);
      one["bound"] = f.bound;
    }
    evidence.push_back(std::move(one));
  }
  json slots = json::array();
  for (const concerned_slot& s : of.slots) slots.push_back(slot_json(s, at));
  json tenants = json::array();
  for (const concerned_key& k : of.tenants)
    tenants.push_back({{"tenant", k.key}, {"slots", k.slots}});
  json opcodes = json::array();
  for (const concerned_key& k : of.opcodes) {
    opcodes.push_back(
        {{"opcode", k.key}, {"opcode_name", to_string(opcode{k.key})}, {"slots", k.slots}});
  }
  return {{"ailment", to_string(of.what)},
          {"title", title(of.what)},
          {"alarm", is_alarm(of.what)},
          {"whole", of.kernel_wide},
          {"easing", of.clearing},
          {"for_ns", since(of.since, at).count()},
          {"sentence", sentence(of, at).text()},
          {"concerned", concerned(of, at).text()},
          {"remedy", to_string(of.what_to_try)},
          {"advice", advice(of.what_to_try)},
          {"evidence", std::move(evidence)},
          {"slots", std::move(slots)},
          {"slots_in_all", of.slots_in_all},
          {"tenants", std::move(tenants)},
          {"opcodes", std::move(opcodes)}};
}

}  // namespace

ordered_json to_json(const quantiles& q) {
  return {{"count", q.count}, {"mean", q.mean}, {"p50", q.p50}, {"p90", q.p90},
          {"p99", q.p99},     {"p999", q.p999}, {"max", q.max}};
}

ordered_json to_json(const ring_occupancy& o) {
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

ordered_json to_json(const runtime_counters& c) {
  return {{"queue_depth", c.queue_depth},
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

ordered_json to_json(const window_telemetry& w) {
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
          {"fault", w.fault}};
}

ordered_json to_json(const std::optional<kernel_report>& r) {
  if (!r) return nullptr;
  return {{"heartbeat", r->heartbeat},
          {"faults", r->faults},
          {"unauthorised_seen", r->unauthorised_seen},
          {"throttled_seen", r->throttled_seen},
          {"workers_alive", r->workers_alive},
          {"claims_lost", r->claims_lost},
          {"debug_dropped", r->debug_dropped},
          {"done_count_high", r->done_count_high}};
}

ordered_json to_json(const health_delta& d) {
  return {{"done_delta", d.done_delta},     {"queue_depth", d.queue_depth},
          {"fault_slots", d.fault_slots},   {"requeue_slots", d.requeue_slots},
          {"gpu_idle_ppm", d.gpu_idle_ppm}, {"suspected_stall", d.suspected_stall}};
}

ordered_json to_json(const health_report& h) {
  return {{"owed_slots", h.outstanding_slots},
          {"fault_slots", h.fault_slots},
          {"unauthorised_slots", h.unauthorised_slots},
          {"throttled_slots", h.throttled_slots},
          {"heartbeat_delta", or_null(h.heartbeat_delta)},
          {"stuck_slots", h.stuck_slots}};
}

ordered_json to_json(const diagnosis& of) {
  json findings = json::array();
  for (const finding& f : of.findings) findings.push_back(finding_json(f, of.at));
  return {{"primary", of.findings.empty() ? "" : to_string(of.primary().what)},
          {"alarm", of.alarm()},
          {"look", of.sample},
          {"findings", std::move(findings)}};
}

}  // namespace megakernel::tool
