// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <fmt/format.h>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "observe/histogram.h"
#include "observe/inspect.h"
#include "observe/verdict.h"
#include "render/names.h"
#include "render/run.h"
#include "report/report.h"

import megakernel;

namespace megakernel::tool {
namespace {

std::string_view is_or_are(std::uint64_t count) { return count == 1 ? "is" : "are"; }

std::string faults_of(const inspection& found) {
  const std::uint32_t faults = found.current.occupancy().fault;
  return fmt::format("{} {} in fault", counted(faults, "slot"), is_or_are(faults));
}

std::string outstanding_of(const inspection& found) {
  const std::uint32_t outstanding = found.current.occupancy().active();
  if (outstanding == 0) return "nothing is owed";
  return fmt::format("{} {} owed", counted(outstanding, "slot"), is_or_are(outstanding));
}

std::string drained_of(const inspection& found) {
  if (!found.health) return {};
  const std::uint64_t drained = found.health->report.done_delta;
  if (drained == 0) return "none was drained since the previous snapshot";
  return fmt::format("{} {} drained since the previous snapshot", counted(drained, "slot"),
                     drained == 1 ? "was" : "were");
}

std::string blocked_sentence(const inspection& found) {
  const health_report& report = found.health->report;
  std::vector<std::string> reasons;
  if (report.unauthorised_slots != 0)
    reasons.push_back(fmt::format("{} for a mask (not authorised)", report.unauthorised_slots));
  if (report.throttled_slots != 0)
    reasons.push_back(fmt::format("{} for quota", report.throttled_slots));
  return fmt::format("{} and none can be claimed: {}", outstanding_of(found),
                     fmt::join(reasons, ", "));
}

std::string core_sentence(const inspection& found) {
  const bool faults = found.current.occupancy().fault != 0;
  switch (found.state) {
    case kernel_state::idle:
      return "nothing is owed";
    case kernel_state::watching:
    case kernel_state::busy:
      return outstanding_of(found);
    case kernel_state::progressing:
      return fmt::format("{}; {}", drained_of(found), outstanding_of(found));
    case kernel_state::faulted:
      return fmt::format("{}; {}{}{}", faults_of(found), outstanding_of(found),
                         found.health ? "; " : "", drained_of(found));
    case kernel_state::stalled:
      return fmt::format("{} and {}{}{}", outstanding_of(found), drained_of(found),
                         faults ? "; " : "", faults ? faults_of(found) : "");
    case kernel_state::blocked:
      return blocked_sentence(found);
    case kernel_state::dead:
      return fmt::format("the kernel's heartbeat stood still since the previous snapshot; {}",
                         outstanding_of(found));
    case kernel_state::stopped:
      return fmt::format("the kernel left as SHUTDOWN asked; {}", outstanding_of(found));
  }
  return {};
}

}  // namespace

std::string sentence(const inspection& found) {
  std::string text = core_sentence(found);
  if (const std::uint32_t unknown = found.current.occupancy().unknown; unknown != 0) {
    text += fmt::format("; {} {} no known status (a torn or damaged copy)",
                        counted(unknown, "slot"), unknown == 1 ? "has" : "have");
  }
  return text;
}

std::vector<std::string> warnings(const inspection& found) {
  std::vector<std::string> notes;
  const control_snapshot& control = found.current.control();
  if (found.state == kernel_state::busy) {
    notes.push_back(
        "One snapshot cannot tell busy from stuck: give an earlier one with --previous-control "
        "and --previous-ring.");
  }
  if (control.shutdown() && found.state != kernel_state::stopped)
    notes.push_back("SHUTDOWN is set: the kernel leaves at its next pass.");
  if (found.unauthorised_outstanding != 0 && found.state != kernel_state::blocked) {
    notes.push_back(fmt::format(
        "{} {} owed to tenants without a mask, so the kernel will not "
        "claim {}.",
        counted(found.unauthorised_outstanding, "slot"), is_or_are(found.unauthorised_outstanding),
        found.unauthorised_outstanding == 1 ? "it" : "them"));
  }
  if (found.disagreeing_windows != 0) {
    notes.push_back(fmt::format("{} {} slots of more than one tenant.",
                                counted(found.disagreeing_windows, "window"),
                                found.disagreeing_windows == 1 ? "has" : "have"));
  }
  if (found.health && !found.health->delta) {
    notes.push_back(
        "The 32-bit done count wrapped between the snapshots; the difference is "
        "taken modulo 2^32.");
  }
  if (found.health && found.health->report.done_delta != 0 &&
      found.health->report.heartbeat_delta == word{0}) {
    notes.push_back("The heartbeat stood still although slots were drained.");
  }
  return notes;
}

}  // namespace megakernel::tool
