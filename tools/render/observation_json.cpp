// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <nlohmann/json.hpp>

#include <chrono>
#include <cstdint>
#include <string>
#include <utility>

#include "cli/output.h"
#include "observe/histogram.h"
#include "observe/observer.h"
#include "render/names.h"
#include "render/observation_json.h"
#include "render/values_json.h"
#include "report/report.h"

import megakernel;

namespace megakernel::tool {
namespace {

using json = nlohmann::ordered_json;

json health_of(const health_report& h) {
  json all{{"tracker_verdict", to_string(h.state)},
           {"done", h.done},
           {"done_delta", h.done_delta},
           {"quiet_ns", h.quiet.count()}};
  all.update(to_json(h));
  return all;
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
    rows.push_back(to_json(w));
    rows.back()["tenants_disagree"] = w.tenants_disagree;
  }
  return rows;
}

json faults_of(const observation& seen) {
  json rows = json::array();
  for (const fault_observation& f : seen.faults) rows.push_back(fault_json(f));
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
                  {"diagnosis", to_json(seen.diagnosis)},
                  {"health", health_of(seen.health)},
                  {"stuck", stuck_of(seen)},
                  {"occupancy", to_json(seen.occupancy)},
                  {"counters", to_json(seen.counters)},
                  {"report", to_json(seen.report)},
                  {"epoch", seen.epoch},
                  {"shutdown", seen.shutdown},
                  {"accepted", or_null(seen.accepted)},
                  {"done_per_second", seen.done_per_second},
                  {"latency_ns", seen.latency ? to_json(*seen.latency) : json(nullptr)},
                  {"jain_of_claims", seen.jain_of_claims},
                  {"jain_of_wait", or_null(seen.jain_of_wait)},
                  {"tenants", tenants_of(seen)},
                  {"opcodes", opcodes_of(seen)},
                  {"active_windows", seen.active_windows},
                  {"windows", windows_of(seen)},
                  {"faults", faults_of(seen)},
                  {"torn_pages", seen.torn_pages},
                  {"recommend", to_json(seen.advice)}};
  return line.dump();
}

void render_observation_json(const observation& seen, output& to) {
  to.write(observation_json(seen) + "\n");
  to.flush();
}

}  // namespace megakernel::tool
