// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "observe/histogram.h"
#include "render/diagnosis.h"
#include "render/layout.h"
#include "render/names.h"
#include "render/run.h"
#include "report/report.h"

import megakernel;

namespace megakernel::tool {
namespace {

using std::chrono::nanoseconds;

nanoseconds since(nanoseconds then, nanoseconds now) noexcept {
  return now > then ? now - then : nanoseconds{};
}

std::string for_how_long(nanoseconds time) {
  return human_time(static_cast<std::uint64_t>(time.count()));
}

std::string keys_of(const finding& of, std::string_view title, bool opcodes) {
  const auto& keys = opcodes ? of.opcodes : of.tenants;
  if (keys.empty()) return {};
  std::string text;
  std::uint64_t named = 0;
  constexpr std::size_t most = 4;
  for (std::size_t i = 0; i < std::min(keys.size(), most); ++i) {
    const concerned_key& k = keys[i];
    text += fmt::format("{}{}, {}", text.empty() ? "" : "; ",
                        opcodes ? to_string(opcode{k.key}) : fmt::format("{}", k.key),
                        counted(k.slots, "slot"));
    named += k.slots;
  }
  return fmt::format("{}: {}{}.", title, text, named < of.slots_in_all ? "; others" : "");
}

void print_slots(const finding& of, nanoseconds at, std::uint32_t top, screen& to) {
  if (of.slots.empty()) return;
  const bool faulted = of.what == finding_kind::faulted;
  grid rows({{"slot", true, 4},
             {"status"},
             {"opcode"},
             {"tenant", true},
             {"priority"},
             {"for", true},
             {faulted ? "why" : ""}});
  for (const concerned_slot& s : of.slots) {
    if (rows.rows() == top) break;
    const bool known = is_known(s.slot.status);
    rows.add({{grouped(s.slot.index)},
              {std::string(known ? to_string(s.slot.status) : "not whole")},
              {known ? to_string(s.slot.op) : "-"},
              {known ? grouped(s.slot.tenant) : "-"},
              {known ? to_string(s.slot.level) : "-"},
              {for_how_long(since(s.since, at))},
              {faulted ? fmt::format("{} {}", word(s.why), to_string(s.why)) : ""}});
  }
  rows.print(to);
  if (of.slots_in_all > rows.rows())
    to.line("    " + to.paint(fmt::format("… and {} more", grouped(of.slots_in_all - rows.rows())),
                              ink::dim));
}

}  // namespace

bool is_noteworthy(const finding& of) noexcept {
  return is_alarm(of.what) || of.what == finding_kind::observer_too_slow;
}

std::string headline(const diagnosis& of) {
  std::string text;
  for (const finding& f : of.findings) {
    if (!is_noteworthy(f)) continue;
    text += fmt::format("{}{}{}", text.empty() ? "" : ", ", f.kernel_wide ? "" : "in part ",
                        title(f.what));
  }
  return text;
}

void render_diagnosis(const diagnosis& of, std::uint32_t top, screen& to) {
  for (const finding& f : of.findings) {
    if (!is_noteworthy(f)) continue;
    const ink colour = is_alarm(f.what) ? ink::red : ink::yellow;
    to.paragraph(fmt::format("{}{}: {}", f.kernel_wide ? "" : "in part ", title(f.what),
                             megakernel::sentence(f, of.at).text()),
                 2, 4, colour);
    if (f.slots_in_all > std::min<std::size_t>(top, f.slots.size())) {
      for (const std::string& keys : {keys_of(f, "Tenants", false), keys_of(f, "Opcodes", true)}) {
        if (!keys.empty()) to.paragraph(keys, 4, 6);
      }
    }
    print_slots(f, of.at, top, to);
    if (const std::string_view what_to_try = advice(f.what_to_try); !what_to_try.empty())
      to.paragraph(fmt::format("Try: {}", what_to_try), 4, 6, ink::cyan);
  }
}

void render_diagnosis_section(const diagnosis& of, std::string_view remark, std::uint32_t top,
                              screen& to) {
  if (headline(of).empty()) return;
  to.section("Diagnosis", remark);
  render_diagnosis(of, top, to);
}

}  // namespace megakernel::tool
