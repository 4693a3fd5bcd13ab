// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "cli/output.h"
#include "observe/capture.h"
#include "observe/inspect.h"
#include "observe/verdict.h"
#include "render/diagnosis.h"
#include "render/layout.h"
#include "render/names.h"
#include "render/ring_bar.h"
#include "render/run.h"
#include "render/table.h"
#include "report/report.h"

import megakernel;

namespace megakernel::tool {
namespace {

std::string tenant_name(std::uint32_t tenant) { return fmt::format("tenant {}", tenant); }

std::string number(word value) { return fmt::format("{}", value); }

cell count_cell(std::uint64_t count, ink colour = ink::plain) {
  return {grouped(count), count == 0 ? ink::dim : colour};
}

/// Labels and values with units, two to a line.
class fact_list {
 public:
  void add(std::string_view label, std::uint64_t value, std::string_view unit = {}) {
    if (row_.size() == 6) end_line();
    row_.push_back({std::string(label), ink::dim});
    row_.push_back(count_cell(value));
    row_.push_back({std::string(unit)});
  }
  void print(screen& to) {
    end_line();
    rows_.print(to);
  }

 private:
  void end_line() {
    if (!row_.empty()) rows_.add(std::exchange(row_, {}));
  }
  grid rows_{{{}, {.right = true}, {.gap = 1}, {.gap = 3}, {.right = true}, {.gap = 1}}};
  std::vector<cell> row_;
};

class table_renderer {
 public:
  table_renderer(const inspection& found, const table_options& options, output& to)
      : found_(found),
        control_(found.current.control()),
        occupancy_(found.current.occupancy()),
        top_(options.top),
        to_(to, std::clamp<std::size_t>(options.width, 60, 100), options.colour) {}

  void render() {
    verdict();
    occupancy();
    counters();
    kernel_report();
    tenants();
    opcodes();
    windows();
    stuck();
    in_flight();
    faults();
    unknown();
    debug_log();
    io_queue();
  }

 private:
  void verdict();
  void occupancy();
  void counters();
  void kernel_report();
  void tenants();
  void opcodes();
  void windows();
  void stuck();
  void in_flight();
  void faults();
  void unknown();
  void debug_log();
  void io_queue();
  void more(std::uint64_t total, std::size_t shown, std::string_view remark = {});
  [[nodiscard]] std::string progress(std::uint64_t done, std::uint64_t total) const;

  /// The first `top` of a range of slots, one a row.
  template <class Range, class AddTo>
  void slot_rows(grid& rows, Range range, AddTo add) {
    for (const auto& slot : range) {
      if (rows.rows() == top_) return;
      add(rows, slot);
    }
  }

  const inspection& found_;
  const control_snapshot& control_;
  const ring_occupancy& occupancy_;
  std::uint32_t top_;
  screen to_;
};

void table_renderer::verdict() {
  to_.paragraph(fmt::format("{}: {}", to_string(found_.state), sentence(found_)), 0, 2,
                colour_of(found_.state));
  for (const std::string& warning : warnings(found_)) to_.paragraph("- " + warning, 0, 2);
  if (found_.health)
    render_diagnosis_section(found_.health->diagnosis, "of both snapshots, without patience",
                             std::min(top_, 3u), to_);
}

void table_renderer::more(std::uint64_t total, std::size_t shown, std::string_view remark) {
  if (total <= shown) return;
  to_.line("  " +
           to_.paint(fmt::format("… and {} more{}", grouped(total - shown), remark), ink::dim));
}

void table_renderer::occupancy() {
  const std::uint32_t total = occupancy_.total_slots();
  to_.section("Ring", fmt::format("{}, epoch {}, {} drained", counted(total, "slot"),
                                  grouped(control_.epoch()), grouped(control_.done_count())));
  print_ring(occupancy_, to_);
}

void table_renderer::counters() {
  const runtime_counters c = found_.current.counters();
  const auto ratio = [](std::string_view unit, std::uint32_t value, std::uint32_t per_cent) {
    return fmt::format("{} {:.2f} %", unit, static_cast<double>(value) / per_cent);
  };
  to_.section("Counters");
  fact_list facts;
  facts.add("queue depth", c.queue_depth, "slots");
  facts.add("frontier density", c.frontier_density_bps, ratio("bps", c.frontier_density_bps, 100));
  facts.add("total", c.total_slots, "slots");
  facts.add("occupancy proxy", c.occupancy_proxy_bps, ratio("bps", c.occupancy_proxy_bps, 100));
  facts.add("idle", c.gpu_idle_slots, "slots");
  facts.add("idle", c.gpu_idle_ppm, ratio("ppm", c.gpu_idle_ppm, 10'000));
  facts.add("requeue", c.requeue_slots, "slots");
  facts.add("fault", c.fault_slots, "slots");
  facts.add("drained", c.drained_slots, "slots");
  facts.add("unreclaimed done", c.unreclaimed_done_slots, "slots");
  facts.add("claims by tenant", c.tenant_fairness_total, "slots");
  facts.add("their skew", c.tenant_fairness_skew, "slots");
  facts.add("claims by priority", c.priority_fairness_total, "slots");
  facts.add("urgent in a row", control_.starvation(), fmt::format("of {}", abi::starvation_limit));
  facts.print(to_);
  if (c.priority_fairness_total == 0) return;
  std::string line = "priorities:";
  for (word p = 0; p < abi::priorities; ++p) {
    line += fmt::format("{} {} {}", p == 0 ? "" : ",", to_string(priority{p}),
                        grouped(control_.priority_fairness()[p]));
  }
  to_.paragraph(line, 2, 4, ink::dim);
}

void table_renderer::kernel_report() {
  const auto report = control_.report();
  if (!report) {
    const word revision = control_.words()[abi::revision_word];
    to_.section("Kernel's report", revision == 0
                                       ? std::string("none: word 141 is 0, the base ABI")
                                       : fmt::format("none: word 141 names revision {}, not {}",
                                                     revision, abi::revision));
    return;
  }
  to_.section("Kernel's report");
  fact_list facts;
  facts.add("workers alive", report->workers_alive);
  facts.add("heartbeat", report->heartbeat, "passes");
  facts.add("faults", report->faults, "slots");
  facts.add("claims lost", report->claims_lost);
  facts.add("unauthorised seen", report->unauthorised_seen, "looks");
  facts.add("throttled seen", report->throttled_seen, "looks");
  facts.add("debug dropped", report->debug_dropped, "records");
  facts.add("drained, 64 bits",
            std::uint64_t{report->done_count_high} << 32 | control_.done_count(), "slots");
  if (found_.health && found_.health->report.heartbeat_delta)
    facts.add("heartbeat step", *found_.health->report.heartbeat_delta, "passes");
  facts.print(to_);
}

void table_renderer::tenants() {
  if (found_.tenants.empty()) return;
  to_.section("Tenants", grouped(found_.tenants.size()));
  grid rows({{"tenant"},
             {"owed", true},
             {"of owed", true},
             {"fault", true},
             {"claims", true},
             {"authorised"},
             {"quota left", true}});
  bool shared = false;
  for (const tenant_row& t :
       std::span(found_.tenants).first(std::min<std::size_t>(top_, found_.tenants.size()))) {
    shared |= t.claims_shared;
    rows.add(
        {{tenant_name(t.tenant)},
         count_cell(t.outstanding),
         {percent(t.outstanding, occupancy_.active()), t.outstanding == 0 ? ink::dim : ink::plain},
         count_cell(t.faulted, ink::red),
         {grouped(t.claims) + (t.claims_shared ? "*" : ""), t.claims == 0 ? ink::dim : ink::plain},
         t.authorised ? cell{"yes", ink::dim}
                      : cell{"no", t.outstanding ? ink::yellow : ink::plain},
         t.quota ? cell{grouped(*t.quota), *t.quota == 0 ? ink::yellow : ink::plain}
                 : cell{"-", ink::dim}});
  }
  rows.print(to_);
  more(found_.tenants.size(), rows.rows());
  if (shared)
    to_.line("  " +
             to_.paint("* a counter shared by the tenants that are equal modulo 32", ink::dim));
}

void table_renderer::opcodes() {
  if (found_.opcodes.empty()) return;
  to_.section("Opcodes", grouped(found_.opcodes.size()));
  grid rows({{"opcode"}, {"slots", true}, {"owed", true}, {"fault", true}, {"claims", true}});
  for (const opcode_row& o :
       std::span(found_.opcodes).first(std::min<std::size_t>(top_, found_.opcodes.size()))) {
    rows.add({{to_string(o.op)},
              count_cell(o.slots),
              count_cell(o.outstanding),
              count_cell(o.faulted, ink::red),
              o.claims ? count_cell(*o.claims) : cell{"-", ink::dim}});
  }
  rows.print(to_);
  more(found_.opcodes.size(), rows.rows());
}

std::string table_renderer::progress(std::uint64_t done, std::uint64_t total) const {
  constexpr std::size_t cells = 8;
  const std::array<std::uint64_t, 2> parts{done, total - done};
  const auto shares = apportion(parts, cells);
  std::string bar;
  for (std::size_t i = 0; i < shares[0]; ++i) bar += "█";
  for (std::size_t i = 0; i < shares[1]; ++i) bar += "·";
  return bar;
}

void table_renderer::windows() {
  const auto windows = found_.current.windows();
  if (windows.empty()) return;
  to_.section("Windows", fmt::format("{}, {} active", grouped(windows.size()),
                                     grouped(found_.active_windows)));
  grid rows({{"ticket", true},
             {"opcode"},
             {"tenant", true},
             {"req", true},
             {"look", true},
             {"done"},
             {"", true},
             {""}});
  const auto add = [&](const window_telemetry& w) {
    if (rows.rows() == top_) return;
    const std::uint64_t total =
        std::uint64_t{w.published} + w.claimed + w.done + w.wait_io + w.yield + w.requeue + w.fault;
    std::string state = w.active() ? "active" : w.fault != 0 ? "ended" : "done";
    if (total == 0) state = "empty";
    ink colour = w.active() ? ink::cyan : ink::dim;
    if (w.fault != 0) {
      state += fmt::format(", {}", counted(w.fault, "fault"));
      colour = ink::red;
    }
    rows.add({{number(w.ticket)},
              {to_string(w.op)},
              {fmt::format("{}{}", w.tenant, w.tenants_disagree ? ", others" : ""),
               w.tenants_disagree ? ink::magenta : ink::plain},
              count_cell(w.required_slots),
              count_cell(w.lookahead_slots),
              {progress(w.done, total), w.active() ? ink::cyan : ink::dim},
              {fmt::format("{}/{}", grouped(w.done), grouped(total))},
              {state, colour}});
  };
  for (const bool active : {true, false}) {
    for (const window_telemetry& w : windows) {
      if (w.active() == active) add(w);
    }
  }
  rows.print(to_);
  more(windows.size(), rows.rows());
}

std::vector<grid::column> slot_columns() {
  return {{"slot", true}, {"status"},   {"opcode"},   {"tenant", true},
          {"priority"},   {"a0", true}, {"a1", true}, {"a2", true}};
}

std::vector<cell> slot_cells(const slot_snapshot& s) {
  const bool known = is_known(s.status);
  return {{number(s.index)},
          {known ? std::string(to_string(s.status)) : fmt::format("{:#010x}", word(s.status)),
           colour_of(s.status)},
          {to_string(s.op)},
          {number(s.tenant)},
          {s.level <= priority::idle ? to_string(s.level) : number(word(s.level)),
           s.level == priority::normal ? ink::dim : ink::plain},
          {number(s.arguments[0])},
          {number(s.arguments[1])},
          {number(s.arguments[2])}};
}

void table_renderer::stuck() {
  if (!found_.health || found_.health->stuck.empty()) return;
  const health_findings& health = *found_.health;
  // Two snapshots are two samples, so every age is the same and stands in the title.
  to_.section("Stuck slots", fmt::format("{} unchanged for {} looks",
                                         counted(health.report.stuck_slots, "owed slot"),
                                         health.stuck.front().samples));
  grid rows(slot_columns());
  for (const stuck_slot& s : health.stuck) {
    if (rows.rows() == top_) break;
    rows.add(slot_cells(s.slot));
  }
  rows.print(to_);
  more(health.report.stuck_slots, rows.rows());
}

void table_renderer::in_flight() {
  const std::uint64_t total = std::uint64_t{occupancy_.claimed} + occupancy_.wait_io;
  if (found_.health || total == 0) return;
  to_.section("In flight", fmt::format("{} claimed or waiting for IO; an earlier snapshot would "
                                       "tell stuck from busy",
                                       grouped(total)));
  grid rows(slot_columns());
  slot_rows(rows, found_.in_flight(),
            [](grid& to, const slot_snapshot& s) { to.add(slot_cells(s)); });
  rows.print(to_);
  more(total, rows.rows());
}

void table_renderer::faults() {
  if (occupancy_.fault == 0) return;
  to_.section("Faults", grouped(occupancy_.fault));
  grid rows({{"slot", true},
             {"opcode"},
             {"tenant", true},
             {"fault"},
             {"a0", true},
             {"a1", true},
             {"a2", true}});
  slot_rows(rows, found_.with_status(slot_status::fault), [&](grid& to, const slot_snapshot& s) {
    const fault_code code = found_.slots.fault(s.index);
    to.add({{number(s.index)},
            {to_string(s.op)},
            {number(s.tenant)},
            {fmt::format("{} {}", word(code), to_string(code)), ink::red},
            {number(s.arguments[0])},
            {number(s.arguments[1])},
            {number(s.arguments[2])}});
  });
  rows.print(to_);
  more(occupancy_.fault, rows.rows());
}

void table_renderer::unknown() {
  if (occupancy_.unknown == 0) return;
  to_.section("Unknown statuses", fmt::format("{}; the other words of such a slot are as doubtful",
                                              grouped(occupancy_.unknown)));
  grid rows(slot_columns());
  slot_rows(rows, found_.with_unknown_status(),
            [](grid& to, const slot_snapshot& s) { to.add(slot_cells(s)); });
  rows.print(to_);
  more(occupancy_.unknown, rows.rows());
}

void table_renderer::debug_log() {
  if (!found_.debug_log) return;
  const recovered_debug_log& log = found_.debug_log->log;
  const std::size_t size = log.records.size();
  to_.section("Debug log",
              fmt::format("{}{}{}", counted(size, "record"), size > 1 ? ", newest first" : "",
                          log.dropped == 0 ? std::string()
                                           : fmt::format("; {} dropped", grouped(log.dropped))));
  if (found_.debug_log->strict)
    to_.paragraph(found_.debug_log->strict->message().text(), 2, 2, ink::yellow);
  if (size == 0) return;
  grid rows({{"record", true}, {"format", true}, {"arg 0", true}, {"arg 1", true}, {"slot", true}});
  for (std::size_t i = size; i-- > 0 && rows.rows() < top_;) {
    const debug_record record = log.records[i];
    const word at = record.arguments[2];
    // The kernel stores the slot's first word; anything else is shown as it stands.
    const bool slot = at % abi::slot_words == 0 && at / abi::slot_words < found_.slots.size();
    rows.add({{grouped(i)},
              {number(record.format)},
              {number(record.arguments[0])},
              {number(record.arguments[1])},
              slot ? cell{grouped(at / abi::slot_words)}
                   : cell{fmt::format("word {}", at), ink::magenta}});
  }
  rows.print(to_);
  more(size, rows.rows(), ", older");
}

void table_renderer::io_queue() {
  if (!found_.io_queue) return;
  const io_findings& queue = *found_.io_queue;
  std::string counts;
  const auto count = [&counts](std::uint32_t slots, std::string_view status) {
    if (slots != 0) counts += fmt::format(", {} {}", slots, status);
  };
  count(queue.empty, "empty");
  count(queue.published, "published");
  count(queue.claimed, "claimed");
  count(queue.ok, "ok");
  count(queue.error, "error");
  count(queue.unknown, "unknown");
  to_.section("IO queue", counted(queue.slots, "slot") + counts);
  if (queue.requests.empty()) return;
  grid rows({{"slot", true},
             {"status"},
             {"operation"},
             {"source", true},
             {"dest", true},
             {"offset", true},
             {"bytes", true},
             {"tag", true}});
  for (const io_row& row : queue.requests) {
    if (rows.rows() == top_) break;
    const io_request& request = row.request;
    const std::string_view status = to_string(row.status);
    rows.add({{number(row.index)},
              {status == "unknown" ? fmt::format("{:#x}", word(row.status)) : std::string(status),
               row.status == io_status::error ? ink::red : ink::plain},
              {is_known(request.operation) ? to_string(request.operation)
                                           : fmt::format("{:#x}", word(request.operation))},
              {number(request.source)},
              {number(request.destination)},
              {fmt::format("{}", request.offset)},
              {number(request.byte_count)},
              {number(request.tag)}});
  }
  rows.print(to_);
  more(queue.requests.size(), rows.rows());
}

}  // namespace

void render_table(const inspection& found, const table_options& options, output& to) {
  table_renderer(found, options, to).render();
}

}  // namespace megakernel::tool
