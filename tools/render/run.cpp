// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "cli/output.h"
#include "load/run.h"
#include "load/workload.h"
#include "observe/histogram.h"
#include "observe/inspect.h"
#include "observe/recommend.h"
#include "observe/verdict.h"
#include "render/diagnosis.h"
#include "render/layout.h"
#include "render/names.h"
#include "render/ring_bar.h"
#include "render/run.h"
#include "render/sample_line.h"
#include "report/report.h"

import megakernel;

namespace megakernel::tool {
namespace {

double seconds(std::chrono::nanoseconds d) { return std::chrono::duration<double>(d).count(); }

std::string in_seconds(std::chrono::nanoseconds d) {
  const double s = seconds(d);
  return s < 1 ? human_time(static_cast<std::uint64_t>(d.count())) : fmt::format("{:.1f} s", s);
}

std::string whole(double value) {
  return grouped(static_cast<std::uint64_t>(std::llround(std::max(0.0, value))));
}

/// With room to break the line.
std::string spaced(std::string_view list) {
  std::string text;
  for (const char c : list) text += c == ',' ? std::string(", ") : std::string(1, c);
  return text;
}

std::string loop_of(const run_profile& profile) {
  if (profile.rate) return fmt::format("open loop, {} slots/s", whole(*profile.rate));
  return fmt::format("closed loop, {} in flight",
                     counted(std::uint64_t{profile.outstanding()} * profile.producers, "slot"));
}

std::string until_of(const run_profile& profile) {
  std::string text;
  if (profile.duration) text = fmt::format("for {:g} s", seconds(*profile.duration));
  if (!profile.count) return text;
  return fmt::format("{}{}until {}", text, text.empty() ? "" : " or ",
                     counted(*profile.count, "slot"));
}

std::string headline_of(const run_profile& profile) {
  return fmt::format(
      "{} and {} on a ring of {} in {} order, {}; {}, {}, seed {}",
      counted(profile.workers, "worker"), counted(profile.producers, "producer"),
      counted(profile.slots, "slot"), profile.order == schedule::ring_order ? "ring" : "priority",
      counted(profile.tenants, "tenant"), loop_of(profile), until_of(profile), profile.seed);
}

std::size_t used(const run_style& style) { return std::clamp<std::size_t>(style.width, 60, 100); }

class run_renderer {
 public:
  run_renderer(const run_findings& found, const run_style& style, output& to)
      : found_(found), top_(style.top), to_(to, used(style), style.colour) {}

  void render() {
    verdict();
    throughput();
    latency();
    ring();
    tenants();
    opcodes();
    faults();
    stuck();
    conservation();
    advice();
  }

 private:
  void verdict();
  void throughput();
  void latency();
  void ring();
  void tenants();
  void opcodes();
  void faults();
  void stuck();
  void conservation();
  void advice();
  void more(std::uint64_t total, std::size_t shown) {
    if (total <= shown) return;
    to_.line("  " + to_.paint(fmt::format("… and {} more", grouped(total - shown)), ink::dim));
  }

  const run_findings& found_;
  std::uint32_t top_;
  screen to_;
};

void run_renderer::verdict() {
  to_.line();
  to_.paragraph(fmt::format("{}: {}", to_string(found_.state), sentence(found_)), 0, 2,
                needs_attention(found_) ? ink::red : colour_of(found_.state));
  for (const std::string& warning : warnings(found_)) to_.paragraph("- " + warning, 0, 2);
  render_diagnosis_section(found_.last.diagnosis, "of the last look", top_, to_);
}

void run_renderer::throughput() {
  to_.section("Throughput", fmt::format("under load, {}", in_seconds(found_.load_time)));
  grid rows({{}, {.right = true}, {.gap = 1}});
  const auto row = [&](std::string_view label, std::string value, std::string unit) {
    rows.add({{std::string(label), ink::dim}, {std::move(value)}, {std::move(unit)}});
  };
  row("finished", grouped(found_.served_under_load), "slots");
  const std::string least = whole(found_.least_per_second);
  const std::string most = whole(found_.most_per_second);
  row("rate", whole(found_.slots_per_second),
      least == most ? "slots/s" : fmt::format("slots/s, {} to {} between looks", least, most));
  const double each = found_.slots_per_second / found_.profile.workers;
  row("per worker", whole(each), "slots/s");
  row("publications", grouped(found_.publications),
      "each a slot, a packed slot, a window or a batch");
  if (found_.ring_full != 0)
    row("ring full", grouped(found_.ring_full),
        found_.ring_full == 1 ? "call found no room" : "calls found no room");
  if (found_.unmet != 0)
    row("not published", grouped(found_.unmet), "slots were due when the load ended");
  rows.print(to_);
}

void run_renderer::latency() {
  to_.section("Latency",
              found_.profile.rate
                  ? "of every publication: from when it was due until its producer saw it finished"
                  : "of every publication: from the call until its producer saw it finished");
  if (found_.latency.count == 0) return to_.line("  nothing has finished");
  grid rows({{""},
             {"seen", true},
             {"mean", true},
             {"p50", true},
             {"p90", true},
             {"p99", true},
             {"p99.9", true},
             {"max", true}});
  const auto row = [&](std::string label, const quantiles& q) {
    rows.add({{std::move(label)},
              {grouped(q.count)},
              {human_time(q.mean)},
              {human_time(q.p50)},
              {human_time(q.p90)},
              {human_time(q.p99)},
              {human_time(q.p999)},
              {human_time(q.max)}});
  };
  row("all", found_.latency);
  if (found_.profile.order == schedule::by_priority) {
    for (word level = 0; level < abi::priorities; ++level) {
      const quantiles& q = found_.latency_by_priority[level];
      if (q.count != 0) row(to_string(priority{level}), q);
    }
  }
  rows.print(to_);
}

void run_renderer::ring() {
  const run_observation& busy = found_.deepest;
  if (busy.occupancy.total_slots() == 0) return;
  to_.section("Ring", fmt::format("{}, at the deepest look, after {}: {} owed",
                                  counted(busy.occupancy.total_slots(), "slot"),
                                  in_seconds(busy.at), grouped(busy.health.outstanding_slots)));
  print_ring(busy.occupancy, to_);
}

void run_renderer::tenants() {
  to_.section("Fairness",
              found_.served_under_load == 0
                  ? std::string("nobody was served under load")
                  : fmt::format("Jain index {:.4f} of served by demand, {:.4f} of mean wait",
                                found_.jain_of_service, found_.jain_of_wait));
  grid rows({{"tenant"},
             {"demand", true},
             {"of demand", true},
             {"served", true},
             {"share", true},
             {"mean wait", true}});
  std::uint64_t demand = 0;
  std::uint64_t served = 0;
  for (const run_tenant& t : found_.tenants) {
    demand += t.demand;
    served += t.served;
  }
  for (const run_tenant& t : found_.tenants) {
    if (rows.rows() == top_) break;
    rows.add({{fmt::format("tenant {}", t.tenant)},
              {grouped(t.demand)},
              {percent(t.demand, demand)},
              {grouped(t.served)},
              {percent(t.served, served)},
              {t.mean_wait == 0 ? "-" : human_time(t.mean_wait)}});
  }
  rows.print(to_);
  more(found_.tenants.size(), rows.rows());
}

void run_renderer::opcodes() {
  if (found_.opcodes.empty()) return;
  to_.section("Opcodes", grouped(found_.opcodes.size()));
  grid rows({{"opcode"}, {"slots", true}, {"of all", true}, {"in packed", true}, {"claims", true}});
  for (const run_opcode& o : found_.opcodes) {
    rows.add({{to_string(o.op)},
              {grouped(o.slots)},
              {percent(o.slots, found_.totals.accepted)},
              {grouped(o.inner), o.inner == 0 ? ink::dim : ink::plain},
              o.claims ? cell{grouped(*o.claims)} : cell{"-", ink::dim}});
  }
  rows.print(to_);
}

void run_renderer::faults() {
  if (found_.faults.empty()) return;
  to_.section("Faults", grouped(found_.totals.faults));
  grid rows({{"slot", true},
             {"opcode"},
             {"tenant", true},
             {"fault"},
             {"a0", true},
             {"a1", true},
             {"a2", true}});
  for (const fault_notice& f : found_.faults) {
    if (rows.rows() == top_) break;
    rows.add({{grouped(f.slot)},
              {to_string(f.op)},
              {grouped(f.tenant)},
              {fmt::format("{} {}", word(f.why), to_string(f.why)), ink::red},
              {fmt::format("{}", f.arguments[0])},
              {fmt::format("{}", f.arguments[1])},
              {fmt::format("{}", f.arguments[2])}});
  }
  rows.print(to_);
  more(found_.totals.faults, rows.rows());
}

void run_renderer::stuck() {
  if (found_.totals.outstanding == 0 || found_.last.stuck.empty()) return;
  to_.section("Stuck slots", fmt::format("{} of {} owed, unchanged for two looks or more",
                                         grouped(found_.last.health.stuck_slots),
                                         grouped(found_.last.health.outstanding_slots)));
  grid rows({{"slot", true}, {"status"}, {"opcode"}, {"tenant", true}, {"looks", true}});
  for (const stuck_slot& s : found_.last.stuck) {
    if (rows.rows() == top_) break;
    rows.add({{grouped(s.slot.index)},
              {std::string(to_string(s.slot.status)), colour_of(s.slot.status)},
              {to_string(s.slot.op)},
              {grouped(s.slot.tenant)},
              {grouped(s.samples)}});
  }
  rows.print(to_);
  more(found_.last.health.stuck_slots, rows.rows());
}

void run_renderer::conservation() {
  const work_totals& a = found_.totals;
  const bool whole_run = std::ranges::all_of(found_.laws, &conservation_law::holds);
  to_.section("Conservation",
              fmt::format("{} accepted = {} done + {} faults + {} owed", grouped(a.accepted),
                          grouped(a.done), grouped(a.faults), grouped(a.outstanding)));
  grid rows({{}, {.right = true}, {.right = true}, {}});
  for (const conservation_law& law : found_.laws) {
    rows.add({{std::string(law.sentence)},
              {grouped(law.left)},
              {law.holds() ? "" : grouped(law.right), ink::red},
              law.holds() ? cell{"holds", ink::green} : cell{"BROKEN", ink::red}});
  }
  rows.print(to_);
  if (!whole_run) to_.paragraph("Work was lost, run twice or counted wrongly.", 2, 2, ink::red);
}

void run_renderer::advice() {
  const launch_advice& next = found_.deepest.advice;
  to_.section("Next launch", "for the ring at the deepest look");
  if (!next.why.outcome())
    return to_.paragraph(next.why.outcome().error().message().text(), 2, 2, ink::yellow);
  to_.paragraph(headline(*next.why.outcome()), 2, 4, ink::green);
  render_launch(next, to_);
  render_reasons(next, to_);
}

std::string load_sentence(const run_findings& found) {
  const work_totals& a = found.totals;
  return fmt::format("{} {} run in {}", counted(a.done, "slot"), a.done == 1 ? "was" : "were",
                     in_seconds(found.load_time + found.drain_time));
}

std::string outstanding_sentence(const run_findings& found) {
  const std::uint32_t outstanding = found.totals.outstanding;
  if (outstanding == 0) return "nothing is owed";
  return fmt::format("{} {} owed", counted(outstanding, "slot"), outstanding == 1 ? "is" : "are");
}

}  // namespace

std::string human_time(std::uint64_t nanoseconds) {
  constexpr std::array<std::pair<std::uint64_t, std::string_view>, 3> units{
      {{1'000'000'000, "s"}, {1'000'000, "ms"}, {1'000, "µs"}}};
  for (const auto& [size, unit] : units) {
    if (nanoseconds < size) continue;
    const double value = static_cast<double>(nanoseconds) / static_cast<double>(size);
    const int digits = value < 9.995 ? 2 : value < 99.95 ? 1 : 0;
    return fmt::format("{:.{}f} {}", value, digits, unit);
  }
  return fmt::format("{} ns", nanoseconds);
}

std::string_view to_string(run_phase phase) noexcept {
  return phase == run_phase::load ? "load" : "drain";
}

std::string_view to_string(run_end end) noexcept {
  switch (end) {
    case run_end::duration:
      return "duration";
    case run_end::count:
      return "count";
    case run_end::signal:
      return "signal";
    case run_end::output:
      return "output";
  }
  return "";
}

std::string sentence(const run_findings& found) {
  const health_report& health = found.last.health;
  switch (found.state) {
    case kernel_state::blocked: {
      std::string reasons;
      if (health.unauthorised_slots != 0)
        reasons = fmt::format("{} for a mask (not authorised)", grouped(health.unauthorised_slots));
      if (health.throttled_slots != 0) {
        reasons += fmt::format("{}{} for quota", reasons.empty() ? "" : ", ",
                               grouped(health.throttled_slots));
      }
      return fmt::format("{} and none can be claimed: {}", outstanding_sentence(found), reasons);
    }
    case kernel_state::stalled:
      return fmt::format("{} and none was drained for {}", outstanding_sentence(found),
                         in_seconds(health.quiet));
    case kernel_state::dead:
      return fmt::format("the kernel's heartbeat stands still; {}", outstanding_sentence(found));
    case kernel_state::faulted:
      return fmt::format("{} faulted; {}; {}", counted(found.totals.faults, "slot"),
                         load_sentence(found), outstanding_sentence(found));
    case kernel_state::stopped:
      return fmt::format("{}; the drain was cut short, {}", load_sentence(found),
                         outstanding_sentence(found));
    case kernel_state::progressing:
      return fmt::format("{}; {} after a drain of {}", load_sentence(found),
                         outstanding_sentence(found), in_seconds(found.drain_time));
    case kernel_state::idle:
    case kernel_state::watching:
    case kernel_state::busy:
      break;
  }
  return fmt::format("{}; {}", load_sentence(found), outstanding_sentence(found));
}

std::vector<std::string> warnings(const run_findings& found) {
  std::vector<std::string> notes;
  if (found.workers_left != 0) {
    notes.push_back(fmt::format("{} did not leave when SHUTDOWN was set.",
                                counted(found.workers_left, "worker")));
  }
  if (found.profile.inject != injection::nothing) {
    notes.push_back(found.injected
                        ? fmt::format("The failure '{}' was injected {} after the load began.",
                                      to_string(found.profile.inject),
                                      in_seconds(found.injected->at))
                        : fmt::format("The load ended before the failure '{}' was injected.",
                                      to_string(found.profile.inject)));
  }
  if (found.ended_by == run_end::signal) notes.push_back("The load was ended by a signal.");
  if (found.alarms != 0 && !needs_attention(found.state)) {
    notes.push_back(fmt::format("{} found the kernel stalled, blocked or dead; it went on.",
                                counted(found.alarms, "look")));
  }
  if (found.unmet != 0) {
    notes.push_back(
        fmt::format("The rate was not kept: {} of {} slots were not published when they were due.",
                    grouped(found.unmet), grouped(found.unmet + found.totals.accepted)));
  }
  return notes;
}

std::string describe(const run_profile& profile) {
  std::string text = headline_of(profile) + "; mix " + spaced(to_text(profile.work));
  if (profile.order == schedule::by_priority)
    text += "; priorities " + spaced(to_text(profile.priorities));
  if (profile.quota)
    text += fmt::format("; quota {} a tenant a second", counted(*profile.quota, "claim"));
  return text;
}

void render_run_head(const run_profile& profile, const run_style& style, output& to) {
  screen page(to, used(style), style.colour);
  page.paragraph(headline_of(profile), 0, 2);
  page.paragraph("mix " + spaced(to_text(profile.work)), 2, 6, ink::dim);
  if (profile.order == schedule::by_priority)
    page.paragraph("priorities " + spaced(to_text(profile.priorities)), 2, 13, ink::dim);
  if (profile.quota) {
    page.paragraph(fmt::format("quota {} a tenant a second", counted(*profile.quota, "claim")), 2,
                   8, ink::dim);
  }
  page.line();
  print_sample_head(style.width, page);
  to.flush();
}

void render_sample(const run_observation& seen, const run_style& style, output& to) {
  screen page(to, used(style), style.colour);
  print_sample(seen, {.remark = seen.phase == run_phase::drain ? ", draining" : ""}, style.width,
               page);
  to.flush();
}

void render_diagnosis(const run_observation& seen, const run_style& style, output& to) {
  screen page(to, used(style), style.colour);
  render_diagnosis(seen.diagnosis, style.top, page);
  to.flush();
}

void render_findings(const run_findings& found, const run_style& style, output& to) {
  run_renderer(found, style, to).render();
}

}  // namespace megakernel::tool
