// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <expected>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "observe/frame.h"
#include "observe/histogram.h"
#include "observe/inspect.h"
#include "observe/observer.h"
#include "report/report.h"

import megakernel;

namespace megakernel::tool {
namespace {

constexpr std::size_t most_listed = 64;

/// The same adapter that `megakernel recommend` assumes for dumps.
launch_request usual_request(std::uint32_t queue_depth) {
  constexpr std::uint32_t usual_width = 256;
  return launch_request::direct(queue_depth, sizing_parameters{}.default_workers, usual_width);
}

const publisher_totals::tenant* find(const publisher_totals& totals, std::uint32_t tenant) {
  const auto at =
      std::ranges::lower_bound(totals.tenants, tenant, {}, &publisher_totals::tenant::tenant);
  return at != totals.tenants.end() && at->tenant == tenant ? &*at : nullptr;
}

std::vector<fault_observation> faults_of(const inspection& found, const frame& seen) {
  std::vector<fault_observation> faults;
  if (found.current.occupancy().fault == 0) return faults;
  for (const slot_snapshot& slot : found.with_status(slot_status::fault)) {
    if (faults.size() == most_listed) break;
    const std::byte* const words = seen.ring.data() + std::size_t{slot.index} * abi::slot_bytes;
    faults.push_back({.slot = slot.index,
                      .op = slot.op,
                      .tenant = slot.tenant,
                      .why = fault_code{load_word(words, abi::fault_code_word)},
                      .arguments = slot.arguments});
  }
  return faults;
}

}  // namespace

double per_second(std::uint64_t count, std::chrono::nanoseconds interval) noexcept {
  if (interval.count() <= 0) return 0;
  return static_cast<double>(count) / std::chrono::duration<double>(interval).count();
}

ring_observation observe_ring(const ring_summary& ring, const diagnosis& diagnosed,
                              const health_report& health, std::chrono::nanoseconds at,
                              std::chrono::nanoseconds interval) {
  ring_observation to{.at = at,
                      .interval = interval,
                      .state = state_of(diagnosed),
                      .diagnosis = diagnosed,
                      .health = health,
                      .stuck = {health.oldest.begin(), health.oldest.end()},
                      .occupancy = ring.occupancy(),
                      .counters = ring.counters(),
                      .done_per_second = per_second(health.done_delta, interval)};
  to.health.oldest = {};
  to.advice.why =
      explain_launch(launch_policy::standard(), ring, usual_request(to.counters.queue_depth));
  return to;
}

double jain_index(std::span<const double> values) noexcept {
  double sum = 0;
  double squares = 0;
  for (const double v : values) {
    sum += v;
    squares += v * v;
  }
  return squares > 0 ? sum * sum / (static_cast<double>(values.size()) * squares) : 1;
}

std::expected<observer, std::string> observer::make(std::span<const opcode> windows,
                                                    std::chrono::nanoseconds hold_time) {
  return observer({windows.begin(), windows.end()}, hold_time);
}

void observer::add_tenants(const inspection& found, const frame& seen, observation& to) const {
  const auto claims_now = found.current.control().tenant_fairness();
  const auto claims_before = before_.tenant_fairness();
  std::vector<double> claimed;
  std::vector<double> waits;
  for (const tenant_row& row : found.tenants) {
    const std::size_t counter = row.tenant % abi::tenant_fairness_counters;
    const word step = frames_ == 0 ? 0 : claims_now[counter] - claims_before[counter];
    tenant_observation t{.tenant = row.tenant,
                         .outstanding = row.outstanding,
                         .faulted = row.faulted,
                         .claims = claims_[counter] + step,
                         .claims_per_second = per_second(step, to.interval),
                         .authorised = row.authorised,
                         .quota = row.quota};
    for (const stuck_slot& s : to.stuck) {
      if (s.slot.tenant == row.tenant) t.oldest = std::max(t.oldest, to.at - s.since);
    }
    if (row.outstanding != 0 || step != 0) claimed.push_back(static_cast<double>(step));
    const auto* const now =
        seen.publishers != nullptr ? find(*seen.publishers, row.tenant) : nullptr;
    const auto* const before = totals_before_ ? find(*totals_before_, row.tenant) : nullptr;
    if (now != nullptr) {
      const publisher_totals::tenant none{};
      const publisher_totals::tenant& was = before != nullptr ? *before : none;
      t.demand_per_second = per_second(now->demand - was.demand, to.interval);
      t.served_per_second = per_second(now->finished - was.finished, to.interval);
      if (const std::uint64_t finished = now->waits - was.waits; finished != 0) {
        t.mean_wait = (now->waited - was.waited) / finished;
        waits.push_back(static_cast<double>(*t.mean_wait));
      }
    }
    to.tenants.push_back(t);
  }
  to.jain_of_claims = jain_index(claimed);
  if (!waits.empty()) to.jain_of_wait = jain_index(waits);
}

void observer::add_opcodes(const inspection& found, observation& to) const {
  const auto metric_at = [](const control_snapshot& control, word index) {
    return control.words()[abi::metric_word + index];
  };
  for (const opcode_row& row : found.opcodes) {
    opcode_observation o{
        .op = row.op, .slots = row.slots, .outstanding = row.outstanding, .faulted = row.faulted};
    if (const word index = word(row.op); index < abi::metrics) {
      const word now = metric_at(found.current.control(), index);
      o.claims_per_second =
          frames_ == 0 ? 0 : per_second(word{now - metric_at(before_, index)}, to.interval);
    }
    to.opcodes.push_back(o);
  }
}

void observer::remember(const inspection& found, const frame& seen) {
  const auto now = found.current.control().tenant_fairness();
  const auto before = before_.tenant_fairness();
  if (frames_ != 0) {
    for (std::size_t i = 0; i < claims_.size(); ++i) claims_[i] += word{now[i] - before[i]};
  }
  before_ = found.current.control();
  if (seen.publishers != nullptr) {
    totals_before_ = *seen.publishers;
  } else {
    totals_before_.reset();
  }
  at_ = seen.at;
  ++frames_;
}

std::expected<observation, std::string> observer::observe(const frame& seen) {
  const auto refused = [](const error& why) {
    return std::unexpected(std::string(why.message().text()));
  };
  dumps given{};
  given.control = seen.control;
  given.ring = seen.ring;
  given.window_opcodes = windows_;
  const auto found = inspect(given);
  if (!found) return refused(found.error().why);
  if (auto decoded = telemetry_.decode(seen.control, seen.ring); !decoded)
    return refused(decoded.error());
  const auto diagnosed = doctor_.observe(telemetry_, seen.at, seen.torn_pages, seen.ring);
  if (!diagnosed) return refused(diagnosed.error());

  const ring_summary& ring = found->current;
  observation to{observe_ring(ring, *diagnosed, doctor_.health(), seen.at,
                              frames_ == 0 ? std::chrono::nanoseconds{} : seen.at - at_)};
  to.number = frames_;
  to.wall = seen.wall;
  to.report = ring.control().report();
  to.epoch = ring.control().epoch();
  to.shutdown = ring.control().shutdown();
  to.active_windows = found->active_windows;
  to.faults = faults_of(*found, seen);
  to.torn_pages = seen.torn_pages.size();
  if (seen.publishers != nullptr) {
    to.accepted = seen.publishers->accepted;
    to.latency = (totals_before_ ? seen.publishers->latency.since(totals_before_->latency)
                                 : seen.publishers->latency)
                     .summary();
  }
  add_tenants(*found, seen, to);
  add_opcodes(*found, to);
  for (const window_telemetry& window : ring.active_windows()) {
    if (to.windows.size() == most_listed) break;
    to.windows.push_back(window);
  }
  remember(*found, seen);
  return to;
}

}  // namespace megakernel::tool
