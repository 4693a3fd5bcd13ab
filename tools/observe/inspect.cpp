// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <expected>
#include <functional>
#include <optional>
#include <span>
#include <tuple>
#include <utility>
#include <vector>

#include "observe/histogram.h"
#include "observe/inspect.h"
#include "report/report.h"

import megakernel;

namespace megakernel::tool {
namespace {

/// Which file a refusal is about. The library names the buffer; the caller knows which snapshot.
std::unexpected<refusal> blame(const error& why, bool previous = false) {
  const bool ring = why.buffer == buffer::ring;
  if (previous)
    return std::unexpected(refusal{ring ? source::previous_ring : source::previous_control, why});
  return std::unexpected(refusal{ring ? source::ring : source::control, why});
}

struct tally {
  word key;
  std::uint32_t slots = 0;
  std::uint32_t outstanding = 0;
  std::uint32_t faulted = 0;
};

/// Counts slots by a word of theirs. Sorted rather than hashed: the words are a device's to choose,
/// and no choice of them makes sorting slow.
template <class KeyOf>
std::vector<tally> tally_by(const ring_view& slots, std::size_t present, KeyOf key_of) {
  constexpr std::uint64_t outstanding = 1;
  constexpr std::uint64_t faulted = 2;
  std::vector<std::uint64_t> keys;
  keys.reserve(present);
  for (const slot_snapshot& slot : slots) {
    if (slot.status == slot_status::empty || !is_known(slot.status)) continue;
    keys.push_back(std::uint64_t{key_of(slot)} << 2 | (is_active(slot.status) ? outstanding : 0) |
                   (slot.status == slot_status::fault ? faulted : 0));
  }
  std::ranges::sort(keys);
  std::vector<tally> tallies;
  for (const std::uint64_t key : keys) {
    const word value = static_cast<word>(key >> 2);
    if (tallies.empty() || tallies.back().key != value) tallies.push_back({.key = value});
    tally& last = tallies.back();
    ++last.slots;
    last.outstanding += (key & outstanding) != 0;
    last.faulted += (key & faulted) != 0;
  }
  return tallies;
}

std::size_t present_slots(const ring_occupancy& occupancy) {
  return occupancy.total_slots() - occupancy.empty - occupancy.unknown;
}

std::vector<tenant_row> tenants_of(const inspection& found) {
  const control_snapshot& control = found.current.control();
  const auto fairness = control.tenant_fairness();
  const auto row_of = [&](const tally& t) {
    return tenant_row{.tenant = t.key,
                      .slots = t.slots,
                      .outstanding = t.outstanding,
                      .faulted = t.faulted,
                      .claims = fairness[t.key % abi::tenant_fairness_counters],
                      .claims_shared = t.key >= abi::tenant_fairness_counters,
                      .authorised = control.authorises(t.key),
                      .quota = t.key < abi::tenant_quotas ? std::optional(control.quotas()[t.key])
                                                          : std::nullopt};
  };
  std::array<bool, abi::tenant_fairness_counters> counter_seen{};
  std::vector<tenant_row> rows;
  for (const tally& t : tally_by(found.slots, present_slots(found.current.occupancy()),
                                 [](const slot_snapshot& s) { return s.tenant; })) {
    counter_seen[t.key % abi::tenant_fairness_counters] = true;
    rows.push_back(row_of(t));
  }
  // Tenants that were served and have left.
  for (word t = 0; t < abi::tenant_fairness_counters; ++t) {
    if (!counter_seen[t] && fairness[t] != 0) rows.push_back(row_of({.key = t}));
  }
  std::ranges::sort(rows, std::greater{}, [](const tenant_row& r) {
    return std::tuple(r.outstanding, r.claims_shared ? 0 : r.claims, ~r.tenant);
  });
  return rows;
}

std::vector<opcode_row> opcodes_of(const inspection& found) {
  const metric_counters metrics = found.current.control().metrics();
  std::array<bool, abi::metrics> seen{};
  std::vector<opcode_row> rows;
  for (const tally& t : tally_by(found.slots, present_slots(found.current.occupancy()),
                                 [](const slot_snapshot& s) { return word(s.op); })) {
    if (t.key < abi::metrics) seen[t.key] = true;
    rows.push_back({.op = opcode{t.key},
                    .slots = t.slots,
                    .outstanding = t.outstanding,
                    .faulted = t.faulted,
                    .claims = t.key < abi::metrics ? std::optional(metrics[t.key]) : std::nullopt});
  }
  for (const metric& m : metrics) {
    if (!seen[m.index])
      rows.push_back(
          {.op = opcode{m.index}, .slots = 0, .outstanding = 0, .faulted = 0, .claims = m.count});
  }
  std::ranges::sort(rows, std::greater{}, [](const opcode_row& r) {
    return std::tuple(r.outstanding, r.slots, r.claims.value_or(0), ~word(r.op));
  });
  return rows;
}

std::uint32_t unauthorised_outstanding(const inspection& found) {
  std::uint32_t slots = 0;
  for (const tenant_row& row : found.tenants) slots += row.authorised ? 0 : row.outstanding;
  return slots;
}

debug_findings debug_log_of(std::span<const std::byte> log) {
  debug_findings found{.log = recover_debug_log(log), .strict = std::nullopt};
  if (const auto strict = read_debug_log(log); !strict) found.strict = strict.error();
  return found;
}

/// Reads the queue without being its host: `io_queue::claim` would be the only way to see a
/// request, and it changes the bytes.
std::expected<io_findings, refusal> io_queue_of(std::span<const std::byte> queue) {
  byte_buffer copy;
  if (auto sized = copy.resize_for_overwrite(queue.size()); !sized)
    return std::unexpected(refusal{source::io_queue, sized.error()});
  std::ranges::copy(queue, copy.begin());
  const auto host = io_queue::over({copy.data(), copy.size()});
  if (!host) return std::unexpected(refusal{source::io_queue, host.error()});

  io_findings found{.slots = host->slots()};
  for (std::uint32_t i = 0; i < found.slots; ++i) {
    const std::byte* const slot = queue.data() + std::size_t{i} * abi::io_slot_bytes;
    const io_status status{load_word(slot, abi::io_status_word)};
    switch (status) {
      case io_status::empty:
        ++found.empty;
        continue;
      case io_status::published:
        ++found.published;
        break;
      case io_status::claimed:
        ++found.claimed;
        break;
      case io_status::ok:
        ++found.ok;
        break;
      case io_status::error:
        ++found.error;
        break;
      default:
        ++found.unknown;
    }
    found.requests.push_back(
        {.index = i,
         .status = status,
         .request = {.operation = io_operation{load_word(slot, abi::io_operation_word)},
                     .source = load_word(slot, abi::io_source_word),
                     .destination = load_word(slot, abi::io_destination_word),
                     .offset = load_word(slot, abi::io_offset_low_word) |
                               std::uint64_t{load_word(slot, abi::io_offset_high_word)} << 32,
                     .byte_count = load_word(slot, abi::io_byte_count_word),
                     .tag = load_word(slot, abi::io_tag_word)}});
  }
  return found;
}

/// Two samples of a tracker without a hold time: the interval is all the time there was.
std::expected<health_findings, refusal> health_of(const dumps& given) {
  ring_telemetry previous;
  if (auto decoded = previous.decode(given.previous->control, given.previous->ring); !decoded)
    return blame(decoded.error(), true);
  ring_telemetry current;
  if (auto decoded = current.decode(given.control, given.ring); !decoded)
    return blame(decoded.error());

  health_tracker tracker;
  if (auto first = tracker.observe(previous, {}); !first) return blame(first.error(), true);
  const auto second = tracker.observe(current, given.interval);
  if (!second) return blame(second.error());

  health_findings found{.report = *second,
                        .stuck = {second->oldest.begin(), second->oldest.end()},
                        .delta = std::nullopt,
                        .diagnosis = {},
                        .interval = given.interval};
  found.report.oldest = {};
  diagnostician doctor({.hold_time = {}, .samples = 1});
  if (auto first = doctor.observe(previous, {}, {}, given.previous->ring); !first)
    return blame(first.error(), true);
  auto diagnosed = doctor.observe(current, given.interval, {}, given.ring);
  if (!diagnosed) return blame(diagnosed.error());
  found.diagnosis = *diagnosed;
  // The tracker follows a count that wraps, `health_since` does not: it stays empty then.
  if (const auto delta = health_since(previous.summary(), current.summary()); delta)
    found.delta = *delta;
  return found;
}

kernel_state judge(const inspection& found) {
  if (found.health) return state_of(found.health->report);
  if (found.current.occupancy().fault != 0) return kernel_state::faulted;
  return found.current.occupancy().active() == 0 ? kernel_state::idle : kernel_state::busy;
}

}  // namespace

std::expected<inspection, refusal> inspect(const dumps& given) {
  auto opcodes = window_opcodes::of(given.window_opcodes);
  if (!opcodes) return blame(opcodes.error());
  const auto view = ring_view::over(given.control, given.ring);
  if (!view) return blame(view.error());

  inspection found;
  found.slots = *view;
  if (auto decoded = found.current.decode(given.control, given.ring, *opcodes); !decoded)
    return blame(decoded.error());
  for (const window_telemetry& window : found.current.windows()) {
    found.active_windows += window.active();
    found.disagreeing_windows += window.tenants_disagree;
  }
  found.tenants = tenants_of(found);
  found.opcodes = opcodes_of(found);
  found.unauthorised_outstanding = unauthorised_outstanding(found);
  if (given.debug_log) found.debug_log = debug_log_of(*given.debug_log);
  if (given.io_queue) {
    auto queue = io_queue_of(*given.io_queue);
    if (!queue) return std::unexpected(queue.error());
    found.io_queue = std::move(*queue);
  }
  if (given.previous) {
    auto health = health_of(given);
    if (!health) return std::unexpected(health.error());
    found.health = std::move(*health);
  }
  found.state = judge(found);
  return found;
}

}  // namespace megakernel::tool
