// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "observe/frame.h"
#include "render/layout.h"
#include "render/names.h"
#include "report/page.h"
#include "report/plot.h"
#include "report/report.h"

import megakernel;

namespace megakernel::tool::detail {
namespace {

using std::chrono::nanoseconds;

std::string from_to(const report& found, const seen_span& span) {
  const nanoseconds zero = found.first->at;
  return fmt::format("{} to {}{}", clock_text(span.from - zero), clock_text(span.to - zero),
                     span.lasts ? ", and lasts" : "");
}

/// A lane of the timeline: a label, and spans on a track.
class lane {
 public:
  lane(std::string_view label, const plot_columns& at, std::string_view kind = {}) : at_(at) {
    text_ = fmt::format(
        "<div class=\"lane\"><b>{}</b><div class=\"track{}\" style=\"--rows:", label, kind);
  }
  void span(nanoseconds from, nanoseconds to, std::size_t row, std::string_view ink,
            std::string_view kind, const std::string& title) {
    const double left = at_.place(from);
    const double right = std::max(left, at_.place(to));
    fmt::format_to(
        std::back_inserter(spans_),
        "<span class=\"{}\" style=\"left:{:.3f}%;width:{:.3f}%;--row:{};--ink:var(--{})\" "
        "title=\"{}\"></span>",
        kind, left * 100, (right - left) * 100, row, ink, html_text(title));
    rows_ = std::max(rows_, row + 1);
  }
  [[nodiscard]] std::string take() const {
    return fmt::format("{}{}\">{}</div></div>\n", text_, rows_, spans_);
  }

 private:
  const plot_columns& at_;
  std::string text_;
  std::string spans_;
  std::size_t rows_ = 1;
};

std::string health_lane(const report& found, const plot_columns& at) {
  lane shown("health", at, " health");
  const auto columns = found.line.columns();
  const auto state_at = [&](std::size_t i) {
    return static_cast<kernel_state>(std::lround(columns[i].values[report_series::state].most));
  };
  nanoseconds from = columns.front().from;
  for (std::size_t i = 0; i < columns.size(); ++i) {
    if (i + 1 < columns.size() && state_at(i + 1) == state_at(i)) continue;
    const kernel_state state = state_at(i);
    // Where one sample is all there is, it fills the strip.
    const nanoseconds to = found.samples == 1 ? from + std::chrono::seconds(1) : columns[i].to;
    const std::string_view word = to_string(state);
    shown.span(from, to, 0, word, fmt::format("state-{}", word),
               fmt::format("{}: {} to {}", word, clock_text(from - found.first->at),
                           clock_text(columns[i].to - found.first->at)));
    from = to;
  }
  return shown.take();
}

std::string state_legend(const report& found) {
  std::string text = "<ul class=\"legend\">";
  for (std::size_t i = 0; i < kernel_states; ++i) {
    const auto state = static_cast<kernel_state>(i);
    const bool now = found.last->health.state == state;
    if (found.time_in[i].count() == 0 && !now) continue;
    fmt::format_to(
        std::back_inserter(text),
        "<li style=\"--ink:var(--{0})\"><i class=\"state-{0}\"></i>{0} <small>{1}</small>"
        "</li>",
        to_string(state), clock_text(found.time_in[i]));
  }
  return text + "</ul>";
}

/// Spans by time, on as few rows as do; what finds no room on them is left out.
template <class Span, class Title>
std::string span_lane(std::string_view label, std::string_view ink, std::vector<Span> spans,
                      const plot_columns& at, Title title) {
  constexpr std::size_t most_rows = 6;
  std::ranges::sort(spans, {}, [](const Span& s) { return std::pair(s.from, s.to); });
  const std::vector<std::size_t> rows = rows_of(spans, most_rows);
  lane shown(label, at);
  for (std::size_t i = 0; i < spans.size(); ++i) {
    if (rows[i] < most_rows)
      shown.span(spans[i].from, spans[i].to, rows[i], ink, "", title(spans[i]));
  }
  return shown.take();
}

std::string slot_text(const slot_snapshot& slot) {
  return fmt::format("slot {}, {}, tenant {}", slot.index, to_string(slot.op), slot.tenant);
}

/// A table's head and rows; nothing without rows.
class table {
 public:
  table(std::string title, std::string note) : title_(std::move(title)), note_(std::move(note)) {}
  void head(std::string_view label, bool text = false) {
    fmt::format_to(std::back_inserter(head_), "<th{}>{}</th>", text ? " class=\"text\"" : "",
                   label);
  }
  void row() { rows_ += rows_.empty() ? "<tr>" : "</tr>\n<tr>"; }
  void cell(std::string_view value) { rows_ += "<td>" + html_text(value) + "</td>"; }
  void text(std::string_view value) { rows_ += "<td class=\"text\">" + html_text(value) + "</td>"; }
  /// `part` of 1 as a bar beside it.
  void bar(std::string_view value, double part) {
    fmt::format_to(std::back_inserter(rows_),
                   "<td>{}<span class=\"bar\"><i style=\"width:{:.1f}%\"></i></span></td>",
                   html_text(value), std::clamp(part, 0.0, 1.0) * 100);
  }
  [[nodiscard]] std::string take() const {
    if (rows_.empty()) return {};
    return fmt::format(
        "<section class=\"card\"><h2>{}</h2><p class=\"note\">{}</p><div class=\"scroll\"><table>"
        "<thead><tr>{}</tr></thead>\n<tbody>{}</tr></tbody></table></div></section>\n",
        html_text(title_), html_text(note_), head_, rows_);
  }

 private:
  std::string title_;
  std::string note_;
  std::string head_;
  std::string rows_;
};

constexpr std::size_t most_rows = 24;

std::string more_of(std::uint64_t all, std::size_t shown) {
  return all > shown ? fmt::format("; {} of {}", shown, grouped(all)) : std::string();
}

double share(double part, double whole) { return whole > 0 ? part / whole : 0; }

std::string tenant_table(const report& found) {
  const std::size_t shown = std::min(found.tenants.size(), most_rows);
  const std::uint64_t all = found.tenants.size() + found.tenants_left_out;
  std::string fairness = fmt::format("Jain index {:.4f} of claims", found.jain_of_claims);
  if (found.jain_of_service)
    fairness = fmt::format("Jain index {:.4f} of served by demand", *found.jain_of_service);
  if (found.jain_of_wait) fairness += fmt::format(", {:.4f} of mean wait", *found.jain_of_wait);
  table rows("Tenants", fairness + more_of(all, shown));
  const bool known = found.publishers.has_value();
  double demand = 0;
  double served = 0;
  double longest = 0;
  double claims = 0;
  const auto wait_of = [](const publisher_totals::tenant& t) {
    return t.waits == 0 ? 0.0 : static_cast<double>(t.waited) / static_cast<double>(t.waits);
  };
  for (const tenant_total& t : found.tenants) {
    claims = std::max(claims, static_cast<double>(t.claims));
    if (!t.published) continue;
    demand += static_cast<double>(t.published->demand);
    served += static_cast<double>(t.published->finished);
    longest = std::max(longest, wait_of(*t.published));
  }
  rows.head("tenant", true);
  if (known) {
    rows.head("demand");
    rows.head("of demand");
    rows.head("served");
    rows.head("of served");
    rows.head("mean wait");
  }
  for (const char* label : {"claims", "owed", "most owed", "in fault", "authorised"})
    rows.head(label);
  for (std::size_t i = 0; i < shown; ++i) {
    const tenant_total& t = found.tenants[i];
    rows.row();
    rows.text(fmt::format("tenant {}", t.tenant));
    if (known) {
      const publisher_totals::tenant p = t.published.value_or(publisher_totals::tenant{});
      const auto asked = static_cast<double>(p.demand);
      const auto given = static_cast<double>(p.finished);
      rows.cell(grouped(p.demand));
      rows.bar(fmt::format("{:.1f} %", share(asked, demand) * 100), share(asked, demand));
      rows.cell(grouped(p.finished));
      rows.bar(fmt::format("{:.1f} %", share(given, served) * 100), share(given, served));
      rows.bar(p.waits == 0 ? "-" : text_of(wait_of(p), plot_unit::duration),
               share(wait_of(p), longest));
      rows.cell(grouped(t.claims));
    } else {
      rows.bar(grouped(t.claims), share(static_cast<double>(t.claims), claims));
    }
    rows.cell(grouped(t.outstanding));
    rows.cell(grouped(t.most_outstanding));
    rows.cell(grouped(t.faulted));
    rows.cell(t.authorised ? "yes" : "no");
  }
  return rows.take();
}

std::string opcode_table(const report& found) {
  const std::size_t shown = std::min(found.opcodes.size(), most_rows);
  table rows("Opcodes", "Claims since the first look; slots of the last look" +
                            more_of(found.opcodes.size() + found.opcodes_left_out, shown));
  rows.head("opcode", true);
  for (const char* label : {"claims", "slots", "owed", "most owed", "in fault"}) rows.head(label);
  double most = 0;
  for (const opcode_total& o : found.opcodes) most = std::max(most, o.claims);
  for (std::size_t i = 0; i < shown; ++i) {
    const opcode_total& o = found.opcodes[i];
    rows.row();
    rows.text(to_string(o.op));
    if (word(o.op) < abi::metrics) {
      rows.bar(grouped(static_cast<std::uint64_t>(std::llround(o.claims))), share(o.claims, most));
    } else {
      rows.cell("-");
    }
    rows.cell(grouped(o.slots));
    rows.cell(grouped(o.outstanding));
    rows.cell(grouped(o.most_outstanding));
    rows.cell(grouped(o.faulted));
  }
  return rows.take();
}

std::string alarm_table(const report& found) {
  const std::size_t shown = std::min(found.alarms.size(), most_rows);
  table rows("Alarms", "From the first look that saw it until the first that did not" +
                           more_of(found.alarms_in_all, shown));
  for (const char* label : {"state", "when"}) rows.head(label, true);
  for (const char* label : {"for", "looks", "owed"}) rows.head(label);
  for (std::size_t i = 0; i < shown; ++i) {
    const alarm_span& a = found.alarms[i];
    rows.row();
    rows.text(to_string(a.state));
    rows.text(from_to(found, a));
    rows.cell(clock_text(a.length()));
    rows.cell(grouped(a.samples));
    rows.cell(grouped(a.outstanding));
  }
  return rows.take();
}

std::string fault_table(const report& found) {
  const std::size_t shown = std::min(found.faults.size(), most_rows);
  table rows("Faults", "By the look that saw each first" + more_of(found.faults_in_all, shown));
  rows.head("slot", true);
  for (const char* label : {"why", "opcode", "tenant", "seen at", "arguments"})
    rows.head(label, true);
  for (std::size_t i = 0; i < shown; ++i) {
    const fault_event& f = found.faults[i];
    rows.row();
    rows.text(fmt::format("slot {}", f.what.slot));
    rows.text(to_string(f.what.why));
    rows.text(to_string(f.what.op));
    rows.text(fmt::format("tenant {}", f.what.tenant));
    rows.text(f.before ? "before the first look" : clock_text(f.at - found.first->at));
    rows.text(fmt::format("{}", fmt::join(f.what.arguments, ", ")));
  }
  return rows.take();
}

std::string stuck_table(const report& found) {
  constexpr std::size_t few = 12;
  const std::size_t shown = std::min(found.stuck.size(), few);
  table rows("Slots that stood longest",
             "Owed, and unchanged from look to look: those at the end first, then by how long");
  for (const char* label : {"slot", "status", "opcode", "tenant", "priority", "when"})
    rows.head(label, true);
  rows.head("for");
  std::vector<stuck_span> order = found.stuck;
  std::ranges::sort(order, [](const stuck_span& a, const stuck_span& b) {
    if (a.lasts != b.lasts) return a.lasts;
    return a.length() != b.length() ? a.length() > b.length() : a.slot.index < b.slot.index;
  });
  for (std::size_t i = 0; i < shown; ++i) {
    const stuck_span& s = order[i];
    rows.row();
    rows.text(fmt::format("slot {}", s.slot.index));
    rows.text(to_string(s.slot.status));
    rows.text(to_string(s.slot.op));
    rows.text(fmt::format("tenant {}", s.slot.tenant));
    rows.text(to_string(s.slot.level));
    rows.text(from_to(found, s));
    rows.cell(clock_text(s.length()));
  }
  return rows.take();
}

}  // namespace

std::string timeline_section(const report& found, const plot_columns& at) {
  std::string text = "<section class=\"card\"><h2>Timeline</h2>\n" + health_lane(found, at);
  if (!found.faults.empty()) {
    lane faults("faults", at);
    for (const fault_event& f : found.faults) {
      faults.span(
          f.at, f.at, 0, "fault", "tick",
          fmt::format("slot {}: {}, {}, tenant {}, {}", f.what.slot, to_string(f.what.why),
                      to_string(f.what.op), f.what.tenant,
                      f.before ? "before the first look" : clock_text(f.at - found.first->at)));
    }
    text += faults.take();
  }
  if (!found.windows.empty()) {
    text += span_lane("windows", "c2", found.windows, at, [&](const window_span& w) {
      return fmt::format("window {} of {}, tenant {}: {}", w.window.ticket, to_string(w.window.op),
                         w.window.tenant, from_to(found, w));
    });
  }
  if (!found.stuck.empty()) {
    text += span_lane("stuck", "published", found.stuck, at, [&](const stuck_span& s) {
      return fmt::format("{}, {}: {}", slot_text(s.slot), to_string(s.slot.status),
                         from_to(found, s));
    });
  }
  text += "<div class=\"lane\"><b></b>";
  render_time_axis(at, text);
  return text + "</div>\n" + state_legend(found) +
         "<p class=\"note\">Windows and stuck slots reach from the look that saw them first until "
         "the first that did not; the longest are shown.</p></section>\n";
}

std::string table_sections(const report& found) {
  return alarm_table(found) + fault_table(found) + stuck_table(found) + tenant_table(found) +
         opcode_table(found) + advice_section(found) + source_section(found);
}

}  // namespace megakernel::tool::detail
