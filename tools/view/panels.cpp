// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <tuple>
#include <utility>
#include <vector>

#include "observe/observer.h"
#include "render/layout.h"
#include "render/names.h"
#include "render/ring_bar.h"
#include "render/run.h"
#include "report/report.h"
#include "view/canvas.h"
#include "view/view.h"

import megakernel;

namespace megakernel::tool {
namespace {

std::string per_second(double rate) {
  return grouped(static_cast<std::uint64_t>(std::llround(std::max(0.0, rate))));
}

std::string time_of(std::chrono::nanoseconds d) {
  return d.count() <= 0 ? std::string("-") : human_time(static_cast<std::uint64_t>(d.count()));
}

ink if_any(std::uint64_t count, ink colour) { return count != 0 ? colour : ink::dim; }

bool passes(const view_state& state, std::uint32_t tenant, opcode op) {
  return (!state.tenant() || *state.tenant() == tenant) &&
         (!state.of_opcode() || *state.of_opcode() == op);
}

/// Greatest first by what was chosen, then by number.
template <class Row, class Number, class Outstanding, class Rate, class Age>
void sort_rows(std::vector<Row>& rows, view_order order, Number number, Outstanding outstanding,
               Rate rate, Age age) {
  const auto by = [&](auto get) {
    std::ranges::sort(rows, [&](const Row& a, const Row& b) {
      return get(a) != get(b) ? get(a) > get(b) : number(a) < number(b);
    });
  };
  switch (order) {
    case view_order::outstanding:
      by(outstanding);
      break;
    case view_order::rate:
      by(rate);
      break;
    case view_order::age:
      by(age);
      break;
    case view_order::number:
      std::ranges::sort(rows, {}, number);
      break;
  }
}

canvas_table tenants_table(const observation& now, const view_state& state) {
  canvas_table table({{"tenant"},
                      {"owed", true},
                      {"claims/s", true},
                      {"oldest", true},
                      {"fault", true},
                      {"mask"},
                      {"demand/s", true},
                      {"served/s", true},
                      {"wait", true},
                      {"quota left", true},
                      {"claims", true}});
  std::vector<tenant_observation> rows;
  for (const tenant_observation& t : now.tenants) {
    if (!state.tenant() || *state.tenant() == t.tenant) rows.push_back(t);
  }
  sort_rows(
      rows, state.order(), [](const auto& t) { return t.tenant; },
      [](const auto& t) { return t.outstanding; },
      [](const auto& t) { return t.claims_per_second; }, [](const auto& t) { return t.oldest; });
  const auto known = [](const auto& value, auto text) {
    return value ? cell{text(*value)} : cell{"-", ink::dim};
  };
  for (const tenant_observation& t : rows) {
    table.add({{fmt::format("{}", t.tenant)},
               {grouped(t.outstanding), if_any(t.outstanding, ink::yellow)},
               {per_second(t.claims_per_second)},
               {time_of(t.oldest)},
               {grouped(t.faulted), if_any(t.faulted, ink::red)},
               t.authorised ? cell{"yes"} : cell{"none", ink::red},
               known(t.demand_per_second, per_second),
               known(t.served_per_second, per_second),
               known(t.mean_wait, human_time),
               known(t.quota, [](word left) { return grouped(left); }),
               {grouped(t.claims)}});
  }
  return table;
}

canvas_table opcodes_table(const observation& now, const view_state& state) {
  canvas_table table(
      {{"opcode"}, {"slots", true}, {"owed", true}, {"claims/s", true}, {"fault", true}});
  std::vector<opcode_observation> rows;
  for (const opcode_observation& o : now.opcodes) {
    if (!state.of_opcode() || *state.of_opcode() == o.op) rows.push_back(o);
  }
  sort_rows(
      rows, state.order(), [](const auto& o) { return word(o.op); },
      [](const auto& o) { return o.outstanding; },
      [](const auto& o) { return o.claims_per_second.value_or(-1); },
      [](const auto& o) { return o.slots; });
  for (const opcode_observation& o : rows) {
    table.add({{to_string(o.op)},
               {grouped(o.slots)},
               {grouped(o.outstanding), if_any(o.outstanding, ink::yellow)},
               o.claims_per_second ? cell{per_second(*o.claims_per_second)} : cell{"-", ink::dim},
               {grouped(o.faulted), if_any(o.faulted, ink::red)}});
  }
  return table;
}

canvas_table stuck_table(const observation& now, const view_state& state) {
  canvas_table table({{"slot", true},
                      {"for", true},
                      {"status"},
                      {"opcode"},
                      {"tenant", true},
                      {"looks", true},
                      {"a0", true},
                      {"a1", true},
                      {"a2", true}});
  for (const stuck_slot& s : now.stuck) {
    if (!passes(state, s.slot.tenant, s.slot.op)) continue;
    table.add({{grouped(s.slot.index)},
               {time_of(now.at - s.since), ink::yellow},
               {std::string(to_string(s.slot.status)), colour_of(s.slot.status)},
               {to_string(s.slot.op)},
               {fmt::format("{}", s.slot.tenant)},
               {grouped(s.samples)},
               {fmt::format("{}", s.slot.arguments[0])},
               {fmt::format("{}", s.slot.arguments[1])},
               {fmt::format("{}", s.slot.arguments[2])}});
  }
  return table;
}

canvas_table windows_table(const observation& now, const view_state& state) {
  canvas_table table({{"ticket", true},
                      {"opcode"},
                      {"tenant", true},
                      {"required", true},
                      {"lookahead", true},
                      {"owed", true},
                      {"done", true},
                      {"fault", true}});
  for (const window_telemetry& w : now.windows) {
    if (!passes(state, w.tenant, w.op)) continue;
    const std::uint32_t outstanding = w.published + w.claimed + w.wait_io + w.yield + w.requeue;
    table.add({{fmt::format("{}", w.ticket)},
               {to_string(w.op)},
               {fmt::format("{}{}", w.tenant, w.tenants_disagree ? "?" : "")},
               {grouped(w.required_slots)},
               {grouped(w.lookahead_slots)},
               {grouped(outstanding), ink::yellow},
               {grouped(w.done)},
               {grouped(w.fault), if_any(w.fault, ink::red)}});
  }
  return table;
}

canvas_table faults_table(const observation& now, const view_state& state) {
  canvas_table table({{"slot", true},
                      {"why"},
                      {"opcode"},
                      {"tenant", true},
                      {"a0", true},
                      {"a1", true},
                      {"a2", true}});
  for (const fault_observation& f : now.faults) {
    if (!passes(state, f.tenant, f.op)) continue;
    table.add({{grouped(f.slot)},
               {fmt::format("{} {}", word(f.why), to_string(f.why)), ink::red},
               {to_string(f.op)},
               {fmt::format("{}", f.tenant)},
               {fmt::format("{}", f.arguments[0])},
               {fmt::format("{}", f.arguments[1])},
               {fmt::format("{}", f.arguments[2])}});
  }
  return table;
}

std::size_t put_launch(canvas& on, const observation& now, panel_place at) {
  const explanation& why = now.advice.why;
  const std::size_t first = at.y;
  const auto put = [&](std::string_view text, ink colour) {
    const std::size_t used = put_paragraph(on, text, at, colour);
    at.y += used;
    at.height -= used;
  };
  if (why.outcome()) {
    put(headline(*why.outcome()), ink::bold);
  } else {
    put(why.outcome().error().message().text(), ink::yellow);
  }
  for (const reason& r : why.reasons()) put(r.sentence().text(), ink::plain);
  return at.y - first;
}

std::string_view order_name(view_order order) {
  switch (order) {
    case view_order::outstanding:
      return "owed";
    case view_order::rate:
      return "rate";
    case view_order::age:
      return "age";
    case view_order::number:
      return "number";
  }
  return "";
}

canvas_table table_of(const observation& now, view_panel panel, const view_state& state) {
  switch (panel) {
    case view_panel::tenants:
      return tenants_table(now, state);
    case view_panel::opcodes:
      return opcodes_table(now, state);
    case view_panel::stuck:
      return stuck_table(now, state);
    case view_panel::windows:
      return windows_table(now, state);
    case view_panel::faults:
      return faults_table(now, state);
    case view_panel::launch:
      break;
  }
  return canvas_table({});
}

}  // namespace

std::size_t put_paragraph(canvas& on, std::string_view text, panel_place at, ink colour) {
  std::size_t row = 0;
  while (!text.empty() && row < at.height) {
    std::size_t cut = text.size();
    if (columns_of(text) > at.width) {
      cut = text.rfind(' ', at.width);
      if (cut == std::string_view::npos || cut == 0) cut = at.width;
    }
    on.put(at.x, at.y + row++, text.substr(0, cut), colour, at.width);
    text.remove_prefix(cut);
    while (text.starts_with(' ')) text.remove_prefix(1);
  }
  return row;
}

std::string panel_title(const observation& now, view_panel panel, const view_state& state) {
  const bool filtered = state.tenant() || state.of_opcode();
  const auto sorted = [&](std::string_view name, std::size_t count) {
    return fmt::format(
        "{} {}{}", name, grouped(count),
        panel == state.panel() ? fmt::format(" by {}", order_name(state.order())) : std::string());
  };
  const auto plain = [&](std::string_view name, std::uint64_t count) {
    return fmt::format("{} {}{}", name, grouped(count), filtered ? "*" : "");
  };
  switch (panel) {
    case view_panel::tenants:
      return sorted("Tenants", now.tenants.size());
    case view_panel::opcodes:
      return sorted("Opcodes", now.opcodes.size());
    case view_panel::stuck:
      return plain("Stuck", now.health.stuck_slots);
    case view_panel::windows:
      return plain("Windows", now.active_windows);
    case view_panel::faults:
      return plain("Faults", now.health.fault_slots);
    case view_panel::launch:
      return "Launch";
  }
  return {};
}

bool is_empty(const observation& now, view_panel panel) {
  switch (panel) {
    case view_panel::tenants:
      return now.tenants.empty();
    case view_panel::opcodes:
      return now.opcodes.empty();
    case view_panel::stuck:
      return now.stuck.empty();
    case view_panel::windows:
      return now.windows.empty();
    case view_panel::faults:
      return now.faults.empty();
    case view_panel::launch:
      return false;
  }
  return true;
}

std::size_t put_panel(canvas& on, const observation& now, view_panel panel, view_state& state,
                      panel_place at, bool scrolls) {
  if (at.height == 0) return 0;
  if (panel == view_panel::launch) return put_launch(on, now, at);
  const canvas_table table = table_of(now, panel, state);
  if (table.rows() == 0) {
    const bool filtered = state.tenant() || state.of_opcode();
    on.put(at.x, at.y, filtered ? "none that the filter shows; c shows all" : "none", ink::dim,
           at.width);
    return 1;
  }
  const std::size_t room = at.height - 1;
  if (scrolls) state.limit_scroll(table.rows() > room ? table.rows() - room : 0);
  return 1 + table.put(on, at.x, at.y, at.width, at.height, scrolls ? state.scroll() : 0);
}

}  // namespace megakernel::tool
