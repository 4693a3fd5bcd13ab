// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// What the library decodes, in the plain decoder's terms, and the three ways to decode one pair of
// buffers against it. Include it after all other headers: it imports the library.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <expected>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include "oracle_decoder.h"
#include "support.h"

import megakernel;

namespace props {

namespace mk = megakernel;

inline std::vector<mk::opcode> opcodes(const std::vector<std::uint32_t>& raw) {
  std::vector<mk::opcode> out;
  for (const std::uint32_t op : raw) out.push_back(mk::opcode{op});
  return out;
}

inline mk::window_opcodes prepared(const std::vector<std::uint32_t>& raw) {
  auto of = mk::window_opcodes::of(opcodes(raw));
  RC_ASSERT(of.has_value());
  return std::move(*of);
}

inline oracle::control plainly(const mk::control_snapshot& c) {
  oracle::control out{.shutdown = c.shutdown(), .done_count = c.done_count(), .epoch = c.epoch()};
  for (const mk::metric m : c.metrics()) out.metrics.emplace_back(m.index, m.count);
  std::ranges::copy(c.tenant_fairness(), out.tenant_fairness.begin());
  std::ranges::copy(c.priority_fairness(), out.priority_fairness.begin());
  if (const auto r = c.report()) {
    out.reports = true;
    out.extension = {r->heartbeat,     r->faults,      r->unauthorised_seen, r->throttled_seen,
                     r->workers_alive, r->claims_lost, r->debug_dropped,     r->done_count_high};
  }
  return out;
}

inline oracle::occupancy plainly(const mk::ring_occupancy& o) {
  return {o.empty, o.published, o.claimed, o.done,   o.wait_io,
          o.yield, o.requeue,   o.fault,   o.unknown};
}

inline oracle::slot plainly(const mk::slot_snapshot& s) {
  return {s.index,  static_cast<std::uint32_t>(s.status), static_cast<std::uint32_t>(s.op),
          s.tenant, static_cast<std::uint32_t>(s.level),  s.arguments};
}

inline oracle::window plainly(const mk::window_telemetry& w) {
  return {w.ticket,          static_cast<std::uint32_t>(w.op),
          w.tenant,          w.required_slots,
          w.lookahead_slots, w.published,
          w.claimed,         w.done,
          w.wait_io,         w.yield,
          w.requeue,         w.fault,
          w.tenants_disagree};
}

template <class Range>
auto oracle_list(Range&& range) {
  std::vector<decltype(plainly(*range.begin()))> out;
  for (auto&& element : range) out.push_back(plainly(element));
  return out;
}

inline oracle::decoded plainly(const mk::result<void>& outcome, const mk::ring_summary& s) {
  return {.error = outcome ? std::string_view() : mk::to_string(outcome.error().code),
          .control = plainly(s.control()),
          .occupancy = plainly(s.occupancy()),
          .slots = {},
          .windows = oracle_list(s.windows())};
}

inline oracle::decoded plainly(const mk::result<void>& outcome, const mk::ring_telemetry& t) {
  auto out = plainly(outcome, t.summary());
  out.slots = oracle_list(t.slots());
  return out;
}

/// The three ways to decode one pair, kept as a polling host keeps them.
struct decoders {
  mk::ring_telemetry telemetry;
  mk::ring_summary summary;

  void agree_with_the_oracle(std::span<const unsigned char> control,
                             std::span<const unsigned char> ring,
                             const std::vector<std::uint32_t>& windows) {
    const auto control_bytes = std::as_bytes(control);
    const auto ring_bytes = std::as_bytes(ring);
    const auto list = prepared(windows);
    const oracle::decoded expected = oracle::decode(control, ring, windows);

    const auto whole = telemetry.decode(control_bytes, ring_bytes, list);
    expect_none(difference(plainly(whole, telemetry), expected));

    const auto brief = summary.decode(control_bytes, ring_bytes, list);
    oracle::decoded without_slots = expected;
    without_slots.slots.clear();
    expect_none(difference(plainly(brief, summary), without_slots));

    const auto view = mk::ring_view::over(control_bytes, ring_bytes);
    RC_ASSERT(view.has_value() == expected.error.empty());
    if (!view) {
      RC_ASSERT(mk::to_string(view.error().code) == expected.error);
      RC_ASSERT((view.error() == whole.error() && view.error() == brief.error()));
      return;
    }
    RC_ASSERT((plainly(view->control()) == expected.control));
    expect_none(difference("view", oracle_list(*view), expected.slots));
    RC_ASSERT(view->size() == expected.slots.size());
    for (std::uint32_t i = 0; i < view->size(); ++i) {
      RC_ASSERT(static_cast<std::uint32_t>(view->fault(i)) ==
                oracle::word_at(ring, std::size_t{i} * 16 + 15));
    }
  }
};

}  // namespace props
