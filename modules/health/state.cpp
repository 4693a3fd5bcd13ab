// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
module;
#include <array>
#include <cstddef>
#include <optional>
#include <string_view>
module megakernel.health;
import megakernel.protocol;

namespace megakernel {
namespace {

constexpr std::array<std::string_view, kernel_states> names{
    "idle", "progressing", "stopped", "watching", "busy", "faulted", "blocked", "stalled", "dead"};

/// Faults hide no standstill, and everything else hides no fault.
kernel_state beside_faults(kernel_state state, bool faults) noexcept {
  return faults && !stands_still(state) ? kernel_state::faulted : state;
}

kernel_state state_of(const finding& primary) noexcept {
  using enum kernel_state;
  switch (primary.what) {
    case finding_kind::stalled:
    case finding_kind::waiting_for_io:
      return stalled;
    case finding_kind::unauthorised:
    case finding_kind::throttled:
      return blocked;
    case finding_kind::dead:
      return dead;
    case finding_kind::faulted:
      return faulted;
    case finding_kind::idle:
      // Nothing is outstanding at this moment; a sample between two bursts finds that, too.
      return primary[evidence_metric::drained_slots] != 0 ? progressing : idle;
    case finding_kind::stopped:
      return stopped;
    case finding_kind::too_early:
      return busy;
    case finding_kind::healthy:
    case finding_kind::slow:
    case finding_kind::count_regressed:
    case finding_kind::torn:
    case finding_kind::observer_too_slow:
      return progressing;
  }
  return busy;
}

}  // namespace

std::string_view to_string(kernel_state state) noexcept {
  const auto i = static_cast<std::size_t>(state);
  return i < names.size() ? names[i] : std::string_view{};
}

kernel_state state_of(const diagnosis& of) noexcept {
  if (of.findings.empty()) return kernel_state::busy;
  return beside_faults(state_of(of.primary()), of.find(finding_kind::faulted) != nullptr);
}

kernel_state state_of(const health_report& of) noexcept {
  return beside_faults(of.state == kernel_state::watching ? kernel_state::busy : of.state,
                       of.fault_slots != 0);
}

kernel_state state_of(const drain_end& end, const health_report& health) noexcept {
  using enum kernel_state;
  if (stands_still(end.last)) return end.last;
  if (end.outstanding == 0) return end.faults ? faulted : idle;
  // Nothing new is outstanding since the drain began: here a symptom need not last, and a drain
  // that moved nothing at all needs no hold time.
  if (stands_still(health.state)) return health.state;
  if (!end.cut_short && !end.moved) {
    if (health.heartbeat_delta == word{0}) return dead;
    return health.unauthorised_slots + health.throttled_slots == end.outstanding ? blocked
                                                                                 : stalled;
  }
  if (end.faults) return faulted;
  return end.cut_short ? stopped : progressing;
}

}  // namespace megakernel
