// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <nlohmann/json.hpp>

#include <chrono>
#include <cmath>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>

#include "cli/output.h"
#include "load/injection.h"
#include "load/run.h"
#include "load/workload.h"
#include "observe/histogram.h"
#include "observe/verdict.h"
#include "render/names.h"
#include "render/run.h"
#include "render/values_json.h"
#include "report/report.h"

import megakernel;

namespace megakernel::tool {
namespace {

using json = nlohmann::ordered_json;

json head(const char* type) {
  return {{"schema", "megakernel.run"}, {"version", 1}, {"type", type}};
}

std::uint64_t rounded(double value) {
  return static_cast<std::uint64_t>(std::llround(value < 0 ? 0 : value));
}

json injected_json(const std::optional<injected_failure>& injected) {
  if (!injected) return nullptr;
  return {{"what", to_string(injected->what)},
          {"at_ns", injected->at.count()},
          {"slots", injected->slots},
          {"tenant", or_null(injected->tenant)},
          {"opcode", injected->op ? json(word(*injected->op)) : json(nullptr)}};
}

json sample_json(const run_observation& l) {
  const health_report& h = l.health;
  return {{"phase", to_string(l.phase)},
          {"verdict", to_string(l.state)},
          {"elapsed_ns", l.at.count()},
          {"interval_ns", l.interval.count()},
          {"accepted", l.accepted.value_or(0)},
          {"done", h.done},
          {"done_delta", h.done_delta},
          {"slots_per_second", rounded(l.done_per_second)},
          {"queue_depth", l.counters.queue_depth},
          {"frontier_density_bps", l.counters.frontier_density_bps},
          {"occupancy", to_json(l.occupancy)},
          {"latency_ns", to_json(l.latency.value_or(quantiles{}))},
          {"owed_slots", h.outstanding_slots},
          {"fault_slots", h.fault_slots},
          {"unauthorised_slots", h.unauthorised_slots},
          {"throttled_slots", h.throttled_slots},
          {"stuck_slots", h.stuck_slots},
          {"quiet_ns", h.quiet.count()},
          {"heartbeat_delta", or_null(h.heartbeat_delta)},
          {"torn_pages", l.torn_pages},
          {"injected", injected_json(l.injected)},
          {"diagnosis", to_json(l.diagnosis)}};
}

json profile_json(const run_profile& p) {
  return {
      {"target", "cpu"},
      {"workers", p.workers},
      {"producers", p.producers},
      {"slots", p.slots},
      {"tenants", p.tenants},
      {"form", p.order == schedule::ring_order ? "ring" : "priority"},
      {"mix", to_text(p.work)},
      {"priorities", to_text(p.priorities)},
      {"duration_ns", p.duration ? json(p.duration->count()) : json(nullptr)},
      {"count", or_null(p.count)},
      {"rate", or_null(p.rate)},
      {"in_flight", p.rate ? json(nullptr) : json(std::uint64_t{p.outstanding()} * p.producers)},
      {"spin", p.spin},
      {"quota", or_null(p.quota)},
      {"seed", p.seed},
      {"inject", to_string(p.inject)},
      {"patience_ns", p.hold_time.count()}};
}

json tenants_json(const run_findings& found) {
  json rows = json::array();
  for (const run_tenant& t : found.tenants) {
    rows.push_back({{"tenant", t.tenant},
                    {"demand", t.demand},
                    {"served", t.served},
                    {"mean_wait_ns", t.mean_wait}});
  }
  return rows;
}

json opcodes_json(const run_findings& found) {
  json rows = json::array();
  for (const run_opcode& o : found.opcodes) {
    rows.push_back({{"opcode", word(o.op)},
                    {"opcode_name", to_string(o.op)},
                    {"slots", o.slots},
                    {"in_packed", o.inner},
                    {"claims", or_null(o.claims)}});
  }
  return rows;
}

json faults_json(const run_findings& found) {
  json rows = json::array();
  for (const fault_notice& f : found.faults) rows.push_back(fault_json(f));
  return rows;
}

json laws_json(const run_findings& found) {
  json rows = json::array();
  for (const conservation_law& l : found.laws) {
    rows.push_back({{"name", l.name},
                    {"sentence", l.sentence},
                    {"left", l.left},
                    {"right", l.right},
                    {"holds", l.holds()}});
  }
  return rows;
}

json priorities_json(const run_findings& found) {
  json all = json::object();
  for (word level = 0; level < abi::priorities; ++level)
    all[to_string(priority{level})] = to_json(found.latency_by_priority[level]);
  return all;
}

}  // namespace

void render_sample_json(const run_observation& seen, output& to) {
  json line = head("look");
  line.update(sample_json(seen));
  to.write(line.dump() + "\n");
  to.flush();
}

void render_findings_json(const run_findings& found, output& to) {
  const work_totals& a = found.totals;
  json line = head("end");
  line.update(json{{"verdict", to_string(found.state)},
                   {"needs_attention", needs_attention(found)},
                   {"sentence", sentence(found)},
                   {"warnings", warnings(found)},
                   {"ended_by", to_string(found.ended_by)},
                   {"cut_short", found.cut_short},
                   {"profile", profile_json(found.profile)},
                   {"load_ns", found.load_time.count()},
                   {"drain_ns", found.drain_time.count()},
                   {"account",
                    {{"accepted", a.accepted},
                     {"done", a.done},
                     {"faults", a.faults},
                     {"owed", a.outstanding},
                     {"running", a.running}}},
                   {"conservation", laws_json(found)},
                   {"served_under_load", found.served_under_load},
                   {"slots_per_second", rounded(found.slots_per_second)},
                   {"least_per_second", rounded(found.least_per_second)},
                   {"most_per_second", rounded(found.most_per_second)},
                   {"publications", found.publications},
                   {"ring_full", found.ring_full},
                   {"unmet", found.unmet},
                   {"latency_ns", to_json(found.latency)},
                   {"latency_by_priority_ns", priorities_json(found)},
                   {"jain_of_service", found.jain_of_service},
                   {"jain_of_wait", found.jain_of_wait},
                   {"tenants", tenants_json(found)},
                   {"opcodes", opcodes_json(found)},
                   {"faults", faults_json(found)},
                   {"alarms", found.alarms},
                   {"injected", injected_json(found.injected)},
                   {"diagnosis", to_json(found.last.diagnosis)},
                   {"deepest", sample_json(found.deepest)},
                   {"last", sample_json(found.last)},
                   {"recommend", to_json(found.deepest.advice)}});
  to.write(line.dump() + "\n");
}

}  // namespace megakernel::tool
