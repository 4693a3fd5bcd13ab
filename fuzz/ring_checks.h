// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// What the targets of rings share: every decoder of the library over one ring, against one another
// and against the plain decoder. Include it after the library.
#pragma once

namespace fuzz {

namespace mk = megakernel;

inline void check_control(const mk::control_snapshot& got, const oracle::control& plainly) {
  check(got.shutdown() == plainly.shutdown && got.done_count() == plainly.done_count &&
            got.epoch() == plainly.epoch,
        "a ring's control words are those of its control buffer");
}

inline void check_occupancy(const mk::ring_occupancy& got, const oracle::occupancy& plainly) {
  check(got.empty == plainly.empty && got.published == plainly.published &&
            got.claimed == plainly.claimed && got.done == plainly.done &&
            got.wait_io == plainly.wait_io && got.yield == plainly.yield &&
            got.requeue == plainly.requeue && got.fault == plainly.fault &&
            got.unknown == plainly.unknown,
        "every slot is counted under its status, once");
}

inline bool same(const mk::slot_snapshot& got, const oracle::slot& plainly) {
  return got.index == plainly.index && mk::word(got.status) == plainly.status &&
         mk::word(got.op) == plainly.opcode && got.tenant == plainly.tenant &&
         mk::word(got.level) == plainly.priority && got.arguments == plainly.arguments;
}

inline bool same(const mk::window_telemetry& got, const oracle::window& plainly) {
  const bool outstanding =
      plainly.published + plainly.claimed + plainly.wait_io + plainly.yield + plainly.requeue != 0;
  return got.ticket == plainly.ticket && mk::word(got.op) == plainly.opcode &&
         got.tenant == plainly.tenant && got.required_slots == plainly.required &&
         got.lookahead_slots == plainly.lookahead && got.published == plainly.published &&
         got.claimed == plainly.claimed && got.done == plainly.done &&
         got.wait_io == plainly.wait_io && got.yield == plainly.yield &&
         got.requeue == plainly.requeue && got.fault == plainly.fault &&
         got.tenants_disagree == plainly.tenants_disagree && got.active() == outstanding;
}

/// The gauges once more, each as the specification has it.
inline void check_counters(const mk::ring_summary& got, const oracle::decoded& plainly) {
  const oracle::occupancy& o = plainly.occupancy;
  const std::uint64_t total = plainly.slots.size();
  const std::uint64_t active = o.published + o.claimed + o.wait_io + o.yield + o.requeue;
  const std::uint64_t depth = active + o.fault + o.unknown;
  const std::uint64_t divisor = total == 0 ? 1 : total;  // of zeros
  std::uint64_t tenants = 0, priorities = 0;
  std::uint32_t most = 0, least = 0;
  for (const std::uint32_t claims : plainly.control.tenant_fairness) {
    tenants += claims;
    most = std::max(most, claims);
    if (claims != 0 && (least == 0 || claims < least)) least = claims;
  }
  for (const std::uint32_t claims : plainly.control.priority_fairness) priorities += claims;

  const mk::runtime_counters c = got.counters();
  check(got.occupancy().total_slots() == total && c.total_slots == total, "all slots are counted");
  check(got.occupancy().active() == active, "active is what the kernel owes");
  check(got.occupancy().queue_depth() == depth && c.queue_depth == depth,
        "the queue is what is neither free nor finished");
  check(
      c.gpu_idle_slots == o.empty && c.gpu_idle_ppm == o.empty * std::uint64_t{1'000'000} / divisor,
      "idle slots are the empty ones");
  check(c.frontier_density_bps == depth * 10'000 / divisor, "density is depth of total");
  check(c.occupancy_proxy_bps == (total - o.empty) * 10'000 / divisor, "occupied is not empty");
  check(c.drained_slots == plainly.control.done_count && c.unreclaimed_done_slots == o.done,
        "drained is DONE_COUNT, and what is DONE is not reclaimed");
  check(c.tenant_fairness_total == tenants && c.priority_fairness_total == priorities,
        "claims are summed in 64 bits");
  check(c.tenant_fairness_skew == most - least, "skew is from the least that is not zero");
  check(c.requeue_slots == o.requeue && c.fault_slots == o.fault &&
            got.priorities().requeue_count == o.requeue,
        "requeues and faults are those of the ring");
}

/// Everything that was decoded, against the plain decoder.
inline void check_telemetry(const mk::ring_telemetry& got, const oracle::decoded& plainly) {
  check_control(got.control(), plainly.control);
  check_occupancy(got.occupancy(), plainly.occupancy);
  check_counters(got.summary(), plainly);
  check(std::ranges::equal(got.slots(), plainly.slots,
                           [](const auto& a, const auto& b) { return same(a, b); }),
        "every slot is there as it stands");
  check(std::ranges::equal(got.windows(), plainly.windows,
                           [](const auto& a, const auto& b) { return same(a, b); }),
        "windows are by ticket and opcode, with their slots counted");
}

inline void check_active_windows(const mk::ring_summary& got, const oracle::decoded& plainly) {
  std::size_t outstanding = 0;
  for (const oracle::window& w : plainly.windows)
    outstanding += w.published + w.claimed + w.wait_io + w.yield + w.requeue != 0;
  std::size_t active = 0;
  for (const mk::window_telemetry& w : got.active_windows()) active += w.active();
  check(active == outstanding, "a window is active while some of it is owed");
}

inline bool is_empty(const mk::ring_summary& s) {
  return s.control() == mk::control_snapshot() && s.occupancy() == mk::ring_occupancy() &&
         s.windows().empty();
}

inline void check_same(const mk::ring_summary& a, const mk::ring_summary& b) {
  check(a.control() == b.control() && a.occupancy() == b.occupancy() &&
            std::ranges::equal(a.windows(), b.windows()),
        "a summary is what the full decode says without its slots");
}

/// Every way from slot to slot comes to the same ones.
inline void check_iterators(const mk::ring_view& view) {
  if (view.size() < 2) return;
  const auto first = view.begin();
  auto at = first;
  check(*at++ == view[0] && *at-- == view[1] && at == first, "a step after is a step");
  check(*++at == view[1] && *--at == view[0], "and so is a step before");
  at += 1;
  check(at == first + 1 && at == 1 + first && at - 1 == first && first < at, "steps add up");
  at -= 1;
  check(at == first && first[1] == view[1], "and can be taken back");
}

inline void check_view(const mk::ring_view& view, const mk::ring_telemetry& telemetry, bytes ring) {
  check(view.size() == telemetry.slots().size() && view.bytes().size() == ring.size(),
        "a view has all slots");
  check(view.control() == telemetry.control(), "a view has the control words");
  std::uint32_t i = 0;
  for (const mk::slot_snapshot slot : view) {
    check(slot == telemetry.slots()[i] && slot == view[i], "a view's slots are those decoded");
    check(mk::word(view.fault(i)) == word_at(ring, std::size_t{16} * i + 15),
          "the fault code is word 15");
    ++i;
  }
  check(i == view.size() && view.end() - view.begin() == i, "a view ends after its last slot");
  check_iterators(view);
  const mk::opcode op = view.empty() ? mk::opcode{} : view[i / 2].op;
  check(std::ranges::equal(view.active(op), telemetry.active(op)), "both find what is active");
  for (const mk::slot_snapshot& slot : telemetry.active(op)) {
    const std::uint32_t status = mk::word(slot.status);
    check(slot.op == op && (status == 1 || status == 2 || (status >= 4 && status <= 6)),
          "what is active is owed");
  }
}

/// What else is done with a ring.
struct ring_trial {
  unsigned failing_allocation = 0;  ///< of a full decode; 0: none
  bool reuses = false;              ///< decodes into storage that another ring was in
};

inline mk::result<mk::window_opcodes> opcodes_of(const words& list) {
  std::vector<mk::opcode> named;
  named.reserve(list.size());
  for (const std::uint32_t op : list) named.push_back(mk::opcode{op});
  return mk::window_opcodes::of(named);
}

inline void check_without_memory(const block& control, const block& ring, const words& list,
                                 unsigned nth) {
  mk::ring_telemetry telemetry;
  const short_memory scarce(nth);
  const auto windows = opcodes_of(list);
  const auto decoded = windows ? telemetry.decode(control.view(), ring.view(), *windows)
                               : mk::result<void>(std::unexpected(windows.error()));
  if (!short_memory::ran_out()) return;
  refused_as(decoded, "out_of_memory");
  check(telemetry.slots().empty() && is_empty(telemetry.summary()),
        "what there is no memory for leaves nothing behind");
}

inline void check_reuse(const block& control, const block& ring, const mk::window_opcodes& windows,
                        const mk::ring_telemetry& fresh) {
  mk::ring_telemetry reused;
  const auto half = ring.view().first(ring.view().size() / 128 * 64);
  check(reused.decode(control.view(), half, windows).has_value(), "half a ring is a ring");
  check(reused.decode(control.view(), ring.view(), windows).has_value(), "and so is all of it");
  check(std::ranges::equal(reused.slots(), fresh.slots()), "nothing is left of another ring");
  check_same(reused.summary(), fresh.summary());
  reused.clear();
  check(reused.slots().empty() && is_empty(reused.summary()), "what is cleared is forgotten");
  const mk::ring_view nothing;
  check(reused.decode(control.view(), {}, windows).has_value() && nothing.empty() &&
            nothing.control() == mk::control_snapshot() && reused.slots().empty(),
        "an empty ring is a ring, and a view of nothing one of zeros");
}

/// One ring through every decoder.
inline void check_ring(const block& control, const block& ring, const words& list,
                       const ring_trial& trial) {
  if (trial.failing_allocation != 0)
    check_without_memory(control, ring, list, trial.failing_allocation);
  const auto windows = opcodes_of(list);
  check(windows.has_value(), "there is memory for a list");
  check(std::ranges::is_sorted(windows->list()) && windows->empty() == list.empty(),
        "the list of windows is sorted");

  static oracle::decoded plainly;  // keeps its storage
  oracle::decode(control.plain(), ring.plain(), list, plainly);
  mk::ring_telemetry telemetry;
  mk::ring_summary summary;
  const auto decoded = telemetry.decode(control.view(), ring.view(), *windows);
  const auto summed = summary.decode(control.view(), ring.view(), *windows);
  const auto view = mk::ring_view::over(control.view(), ring.view());
  if (refused_as(decoded, plainly.error)) {
    check(!summed.has_value() && summed.error() == decoded.error() && !view.has_value() &&
              view.error() == decoded.error(),
          "all decoders refuse alike");
    check(telemetry.slots().empty() && is_empty(telemetry.summary()) && is_empty(summary),
          "what is refused leaves nothing behind");
    return;
  }
  check(summed.has_value() && view.has_value(), "no decoder refuses alone");
  check_telemetry(telemetry, plainly);
  check_same(telemetry.summary(), summary);
  check_active_windows(summary, plainly);
  check_view(*view, telemetry, ring.plain());
  if (trial.reuses) check_reuse(control, ring, *windows, telemetry);
}

}  // namespace fuzz
