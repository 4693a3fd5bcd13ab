// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <nlohmann/json.hpp>

#include <chrono>
#include <cmath>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>

#include "cli/output.h"
#include "observe/histogram.h"
#include "observe/observer.h"
#include "observe/recommend.h"
#include "observe/verdict.h"
#include "render/diagnosis.h"
#include "render/names.h"
#include "render/observation_json.h"
#include "report/report.h"

import megakernel;

namespace megakernel::tool {
namespace {

using json = nlohmann::ordered_json;

template <class T>
json or_null(const std::optional<T>& value) {
  return value ? json(*value) : json(nullptr);
}

json quantiles_of(const std::optional<quantiles>& q) {
  if (!q) return nullptr;
  return {{"count", q->count}, {"mean", q->mean}, {"p50", q->p50}, {"p90", q->p90},
          {"p99", q->p99},     {"p999", q->p999}, {"max", q->max}};
}

json occupancy_of(const ring_occupancy& o) {
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

json counters_of(const runtime_counters& c) {
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

json health_of(const health_report& h) {
  return {{"tracker_verdict", megakernel::to_string(h.verdict)},
          {"done", h.done},
          {"done_delta", h.done_delta},
          {"quiet_ns", h.quiet.count()},
          {"owed_slots", h.outstanding_slots},
          {"fault_slots", h.fault_slots},
          {"unauthorised_slots", h.unauthorised_slots},
          {"throttled_slots", h.throttled_slots},
          {"heartbeat_delta", or_null(h.heartbeat_delta)},
          {"stuck_slots", h.stuck_slots}};
}

json report_of(const std::optional<kernel_report>& r) {
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

json stuck_of(const observation& seen) {
  json rows = json::array();
  for (const stuck_slot& s : seen.stuck) {
    rows.push_back({{"slot", s.slot.index},
                    {"status", to_string(s.slot.status)},
                    {"opcode", word(s.slot.op)},
                    {"opcode_name", to_string(s.slot.op)},
                    {"tenant", s.slot.tenant},
                    {"priority", word(s.slot.level)},
                    {"arguments", s.slot.arguments},
                    {"since_ns", s.since.count()},
                    {"age_ns", (seen.at - s.since).count()},
                    {"looks", s.samples}});
  }
  return rows;
}

json tenants_of(const observation& seen) {
  json rows = json::array();
  for (const tenant_observation& t : seen.tenants) {
    rows.push_back({{"tenant", t.tenant},
                    {"owed", t.outstanding},
                    {"faulted", t.faulted},
                    {"claims", t.claims},
                    {"claims_per_second", t.claims_per_second},
                    {"authorised", t.authorised},
                    {"quota", or_null(t.quota)},
                    {"oldest_ns", t.oldest.count()},
                    {"demand_per_second", or_null(t.demand_per_second)},
                    {"served_per_second", or_null(t.served_per_second)},
                    {"mean_wait_ns", or_null(t.mean_wait)}});
  }
  return rows;
}

json opcodes_of(const observation& seen) {
  json rows = json::array();
  for (const opcode_observation& o : seen.opcodes) {
    rows.push_back({{"opcode", word(o.op)},
                    {"opcode_name", to_string(o.op)},
                    {"slots", o.slots},
                    {"owed", o.outstanding},
                    {"faulted", o.faulted},
                    {"claims_per_second", or_null(o.claims_per_second)}});
  }
  return rows;
}

json windows_of(const observation& seen) {
  json rows = json::array();
  for (const window_telemetry& w : seen.windows) {
    rows.push_back({{"ticket", w.ticket},
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
                    {"tenants_disagree", w.tenants_disagree}});
  }
  return rows;
}

json faults_of(const observation& seen) {
  json rows = json::array();
  for (const fault_observation& f : seen.faults) {
    rows.push_back({{"slot", f.slot},
                    {"opcode", word(f.op)},
                    {"opcode_name", to_string(f.op)},
                    {"tenant", f.tenant},
                    {"fault_code", word(f.why)},
                    {"fault_name", to_string(f.why)},
                    {"arguments", f.arguments}});
  }
  return rows;
}

}  // namespace

std::string observation_json(const observation& seen) {
  const std::chrono::nanoseconds wall = seen.wall.time_since_epoch();
  const json line{{"schema", "megakernel.observation"},
                  {"version", 1},
                  {"type", "frame"},
                  {"frame", seen.number},
                  {"at_ns", seen.at.count()},
                  {"interval_ns", seen.interval.count()},
                  {"unix_ns", wall.count()},
                  {"verdict", to_string(seen.state)},
                  {"needs_attention", needs_attention(seen.state)},
                  {"diagnosis", json::parse(diagnosis_json(seen.diagnosis))},
                  {"health", health_of(seen.health)},
                  {"stuck", stuck_of(seen)},
                  {"occupancy", occupancy_of(seen.occupancy)},
                  {"counters", counters_of(seen.counters)},
                  {"report", report_of(seen.report)},
                  {"epoch", seen.epoch},
                  {"shutdown", seen.shutdown},
                  {"accepted", or_null(seen.accepted)},
                  {"done_per_second", seen.done_per_second},
                  {"latency_ns", quantiles_of(seen.latency)},
                  {"jain_of_claims", seen.jain_of_claims},
                  {"jain_of_wait", or_null(seen.jain_of_wait)},
                  {"tenants", tenants_of(seen)},
                  {"opcodes", opcodes_of(seen)},
                  {"active_windows", seen.active_windows},
                  {"windows", windows_of(seen)},
                  {"faults", faults_of(seen)},
                  {"torn_pages", seen.torn_pages},
                  {"recommend", seen.advice.why.outcome() ? json::parse(advice_json(seen.advice))
                                                          : json(nullptr)}};
  return line.dump();
}

void render_observation_json(const observation& seen, output& to) {
  to.write(observation_json(seen) + "\n");
  to.flush();
}

}  // namespace megakernel::tool
