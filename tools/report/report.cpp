// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <map>
#include <optional>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include "observe/frame.h"
#include "observe/histogram.h"
#include "observe/inspect.h"
#include "observe/observer.h"
#include "observe/timeline.h"
#include "report/report.h"

import megakernel;

namespace megakernel::tool {
namespace {

constexpr std::size_t most_events = 256;
/// Rows of one sample that are followed, and rows that are followed in all: whatever a ring holds,
/// memory is bounded.
constexpr std::size_t most_rows_a_sample = 64;
constexpr std::size_t most_rows = 256;
/// As many as an observation lists.
constexpr std::size_t most_listed = 64;

/// Longest first, then the earlier.
bool longer(const seen_span& a, const seen_span& b) {
  return a.length() != b.length() ? a.length() > b.length() : a.from < b.from;
}

/// Keeps the `most` longest: `kept` is a heap whose top is the shortest.
template <class Span>
void keep_longest(std::vector<Span>& kept, Span span, std::size_t most) {
  if (span.length().count() <= 0 || most == 0) return;
  if (kept.size() == most) {
    if (!longer(span, kept.front())) return;
    std::ranges::pop_heap(kept, longer);
    kept.pop_back();
  }
  kept.push_back(std::move(span));
  std::ranges::push_heap(kept, longer);
}

double as_value(const std::optional<double>& value) { return value.value_or(timeline::absent); }

bool same_fault(const fault_observation& a, const fault_observation& b) {
  return a.slot == b.slot && a.op == b.op && a.tenant == b.tenant && a.why == b.why &&
         a.arguments == b.arguments;
}

}  // namespace

void report_builder::add(const observation& seen, const publisher_totals* publishers) {
  if (report_.samples == 0) {
    report_.first = seen;
  } else {
    report_.longest_gap = std::max(report_.longest_gap, seen.interval);
    report_.time_in[static_cast<std::size_t>(seen.health.state)] += seen.interval;
    report_.done += seen.health.done_delta;
  }
  if (seen.torn_pages != 0) ++report_.samples_with_torn_pages;
  if (const std::uint32_t outstanding = seen.occupancy.active();
      outstanding > report_.most_outstanding) {
    report_.most_outstanding = outstanding;
    report_.most_outstanding_at = seen.at;
  }
  add_values(seen);
  add_alarm(seen);
  add_faults(seen);
  add_windows(seen);
  add_stuck(seen);
  add_tenants(seen);
  add_opcodes(seen);
  if (publishers != nullptr) report_.publishers = *publishers;
  report_.last = seen;
  ++report_.samples;
}

void report_builder::add_values(const observation& seen) {
  namespace at = report_series;
  std::array<double, at::count> values{};
  values.fill(timeline::absent);
  values[at::state] = static_cast<double>(seen.health.state);
  const ring_occupancy& o = seen.occupancy;
  const std::array<std::uint32_t, at::statuses> counts{
      o.fault, o.unknown, o.claimed, o.wait_io, o.yield, o.requeue, o.published, o.done, o.empty};
  for (std::size_t i = 0; i < counts.size(); ++i) values[at::status + i] = counts[i];
  values[at::outstanding] = o.active();
  values[at::windows] = seen.active_windows;
  values[at::faults] = o.fault;
  values[at::torn_pages] = static_cast<double>(seen.torn_pages);
  if (seen.interval.count() > 0) {  // rates of nothing are no zeros
    values[at::done] = seen.done_per_second;
    if (seen.accepted && report_.last && report_.last->accepted) {
      values[at::accepted] =
          static_cast<double>(*seen.accepted - std::min(*seen.accepted, *report_.last->accepted)) /
          std::chrono::duration<double>(seen.interval).count();
    }
    if (seen.latency && seen.latency->count != 0) {
      const quantiles& q = *seen.latency;
      const std::array<std::uint64_t, at::latencies> shown{q.p50, q.p90, q.p99, q.max};
      for (std::size_t i = 0; i < shown.size(); ++i)
        values[at::latency + i] = static_cast<double>(shown[i]);
    }
    values[at::jain_of_claims] = seen.jain_of_claims;
    values[at::jain_of_wait] = as_value(seen.jain_of_wait);
    for (const tenant_observation& t : seen.tenants) {
      if (t.tenant < at::tracked)
        values[at::tenants + t.tenant] = t.served_per_second.value_or(t.claims_per_second);
    }
    for (const opcode_observation& op : seen.opcodes) {
      if (word(op.op) < at::tracked)
        values[at::opcodes + word(op.op)] = as_value(op.claims_per_second);
    }
  }
  report_.line.add(seen.at, seen.interval, values);
}

void report_builder::add_alarm(const observation& seen) {
  const kernel_state state = seen.health.state;
  if (alarm_) {
    alarm_->to = seen.at;
    alarm_->lasts = alarm_->state == state;
    if (alarm_->lasts) {
      ++alarm_->samples;
      alarm_->outstanding = seen.occupancy.active();
      return;
    }
    if (report_.alarms.size() < most_events) report_.alarms.push_back(*alarm_);
    alarm_.reset();
  }
  if (!needs_attention(state)) return;
  ++report_.alarms_in_all;
  alarm_span began{};
  began.from = began.to = seen.at;
  began.samples = 1;
  began.lasts = true;
  began.state = state;
  began.outstanding = seen.occupancy.active();
  alarm_ = began;
}

void report_builder::add_faults(const observation& seen) {
  // Of a long list only the lowest slots are shown: what lies beyond its end was not seen before
  // and may be old.
  const bool cut = faults_before_.size() >= most_listed;
  for (const fault_observation& f : seen.faults) {
    if (cut && f.slot > faults_before_.back().slot) break;
    const auto known =
        std::ranges::lower_bound(faults_before_, f.slot, {}, &fault_observation::slot);
    if (known != faults_before_.end() && same_fault(*known, f)) continue;
    ++report_.faults_in_all;
    if (report_.faults.size() < most_events)
      report_.faults.push_back({.at = seen.at, .what = f, .before = report_.samples == 0});
  }
  faults_before_ = seen.faults;
}

void report_builder::keep(window_span span) {
  keep_longest(report_.windows, std::move(span), limits_.windows);
}
void report_builder::keep(stuck_span span) {
  keep_longest(report_.stuck, std::move(span), limits_.stuck);
}

void report_builder::add_windows(const observation& seen) {
  for (const window_telemetry& w : seen.windows) {
    auto [at, is_new] = windows_now_.try_emplace({w.ticket, word(w.op)});
    if (is_new) {
      at->second.from = seen.at;
      ++report_.windows_in_all;
    }
    at->second.window = w;
    at->second.to = seen.at;
    at->second.lasts = true;
    ++at->second.samples;
  }
  for (auto at = windows_now_.begin(); at != windows_now_.end();) {
    if (!std::exchange(at->second.lasts, false)) {
      at->second.to = seen.at;
      keep(at->second);
      at = windows_now_.erase(at);
    } else {
      ++at;
    }
  }
}

void report_builder::add_stuck(const observation& seen) {
  for (const stuck_slot& s : seen.stuck) {
    auto [at, is_new] = stuck_now_.try_emplace(s.slot.index);
    stuck_span& span = at->second;
    if (!is_new && span.from != s.since) {  // the slot moved on and stuck again
      keep(span);
      span = {};
      is_new = true;
    }
    if (is_new) ++report_.stuck_in_all;
    span.from = s.since;
    span.to = seen.at;
    span.samples = s.samples;
    span.lasts = true;
    span.slot = s.slot;
  }
  for (auto at = stuck_now_.begin(); at != stuck_now_.end();) {
    if (!std::exchange(at->second.lasts, false)) {
      at->second.to = seen.at;
      keep(at->second);
      at = stuck_now_.erase(at);
    } else {
      ++at;
    }
  }
}

void report_builder::add_tenants(const observation& seen) {
  const std::size_t rows = std::min(seen.tenants.size(), most_rows_a_sample);
  for (auto& [number, total] : tenants_) total.outstanding = total.faulted = 0;
  for (const tenant_observation& t : std::span(seen.tenants).first(rows)) {
    auto at = tenants_.find(t.tenant);
    if (at == tenants_.end()) {
      if (tenants_.size() == most_rows) continue;
      at = tenants_.try_emplace(t.tenant).first;
    }
    tenant_total& total = at->second;
    total.tenant = t.tenant;
    total.authorised = t.authorised;
    total.claims = t.claims;
    total.outstanding = t.outstanding;
    total.most_outstanding = std::max(total.most_outstanding, t.outstanding);
    total.faulted = t.faulted;
  }
  report_.tenants_left_out = seen.tenants.size() - rows;
}

void report_builder::add_opcodes(const observation& seen) {
  const std::size_t rows = std::min(seen.opcodes.size(), most_rows_a_sample);
  for (auto& [number, total] : opcodes_) total.slots = total.outstanding = total.faulted = 0;
  for (const opcode_observation& o : std::span(seen.opcodes).first(rows)) {
    auto at = opcodes_.find(word(o.op));
    if (at == opcodes_.end()) {
      if (opcodes_.size() == most_rows) continue;
      at = opcodes_.try_emplace(word(o.op)).first;
    }
    opcode_total& total = at->second;
    total.op = o.op;
    total.claims +=
        o.claims_per_second.value_or(0) * std::chrono::duration<double>(seen.interval).count();
    total.slots = o.slots;
    total.outstanding = o.outstanding;
    total.most_outstanding = std::max(total.most_outstanding, o.outstanding);
    total.faulted = o.faulted;
  }
  report_.opcodes_left_out = seen.opcodes.size() - rows;
}

void report_builder::finish_fairness() {
  std::vector<double> claims;
  for (const tenant_total& t : report_.tenants) {
    if (t.claims != 0 || t.outstanding != 0) claims.push_back(static_cast<double>(t.claims));
  }
  report_.jain_of_claims = jain_index(claims);
  if (!report_.publishers) return;
  std::vector<double> service;
  std::vector<double> waits;
  for (const publisher_totals::tenant& t : report_.publishers->tenants) {
    if (t.demand != 0)
      service.push_back(static_cast<double>(t.finished) / static_cast<double>(t.demand));
    if (t.waits != 0) waits.push_back(static_cast<double>(t.waited) / static_cast<double>(t.waits));
  }
  if (!service.empty()) report_.jain_of_service = jain_index(service);
  if (!waits.empty()) report_.jain_of_wait = jain_index(waits);
}

report report_builder::finish(report_source source) {
  report_.source = std::move(source);
  if (alarm_ && report_.alarms.size() < most_events) report_.alarms.push_back(*alarm_);
  // The state of the last sample lasts; `to` is that sample.
  for (auto& [key, span] : windows_now_) {
    span.lasts = true;
    keep(span);
  }
  for (auto& [key, span] : stuck_now_) {
    span.lasts = true;
    keep(span);
  }
  std::ranges::sort_heap(report_.windows, longer);
  std::ranges::sort_heap(report_.stuck, longer);

  if (report_.publishers) {
    for (const publisher_totals::tenant& t : report_.publishers->tenants) {
      auto at = tenants_.find(t.tenant);
      if (at == tenants_.end()) {
        if (tenants_.size() >= most_rows) continue;
        at = tenants_.try_emplace(t.tenant, tenant_total{.tenant = t.tenant}).first;
      }
      at->second.published = t;
    }
  }
  for (const auto& [number, total] : tenants_) report_.tenants.push_back(total);
  for (const auto& [number, total] : opcodes_) report_.opcodes.push_back(total);
  const auto served = [](const tenant_total& t) {
    return t.published ? t.published->finished : t.claims;
  };
  std::ranges::sort(report_.tenants, [&](const tenant_total& a, const tenant_total& b) {
    return served(a) != served(b) ? served(a) > served(b) : a.tenant < b.tenant;
  });
  std::ranges::sort(report_.opcodes, [](const opcode_total& a, const opcode_total& b) {
    return a.claims != b.claims ? a.claims > b.claims
           : a.slots != b.slots ? a.slots > b.slots
                                : word(a.op) < word(b.op);
  });
  finish_fairness();
  return std::move(report_);
}

}  // namespace megakernel::tool
