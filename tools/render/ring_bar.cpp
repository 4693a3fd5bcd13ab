// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <fmt/format.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "observe/histogram.h"
#include "observe/inspect.h"
#include "render/layout.h"
#include "render/names.h"
#include "render/ring_bar.h"
#include "report/report.h"

import megakernel;

namespace megakernel::tool {
status_counts counts_of(const ring_occupancy& o) noexcept {
  return {o.done,      o.claimed, o.wait_io, o.yield, o.requeue,
          o.published, o.fault,   o.unknown, o.empty};
}

ink colour_of(slot_status status) noexcept {
  for (const status_style& sample : status_styles) {
    if (sample.status == status) return sample.colour;
  }
  return ink::magenta;
}

ink colour_of(kernel_state state) noexcept {
  switch (state) {
    case kernel_state::idle:
    case kernel_state::progressing:
    case kernel_state::stopped:
      return ink::green;
    case kernel_state::watching:
    case kernel_state::busy:
      return ink::cyan;
    case kernel_state::blocked:
      return ink::yellow;
    case kernel_state::faulted:
    case kernel_state::stalled:
    case kernel_state::dead:
      return ink::red;
  }
  return ink::plain;
}

std::string ring_bar(const ring_occupancy& of, std::size_t cells, const screen& on) {
  if (of.total_slots() == 0) return std::string(cells, ' ');
  const auto shares = apportion(counts_of(of), cells);
  std::string bar;
  for (std::size_t i = 0; i < status_styles.size(); ++i) {
    std::string run;
    for (std::size_t n = 0; n < shares[i]; ++n) run += status_styles[i].glyph;
    bar += on.paint(run, status_styles[i].colour);
  }
  return bar;
}

void print_ring(const ring_occupancy& of, screen& to) {
  const std::uint32_t total = of.total_slots();
  if (total == 0) return;
  to.line("  " + ring_bar(of, to.width() - 4, to));

  constexpr std::size_t entry = 32;
  const std::size_t per_line = (to.width() - 2) / entry;
  const auto counts = counts_of(of);
  std::string line;
  std::size_t on_line = 0;
  for (std::size_t i = 0; i < status_styles.size(); ++i) {
    if (counts[i] == 0) continue;
    line += "  " + to.paint(status_styles[i].glyph, status_styles[i].colour) +
            fmt::format(" {:<9} {:>10} {:>7}", to_string(status_styles[i].status),
                        grouped(counts[i]), percent(counts[i], total));
    if (++on_line == per_line) {
      to.line(line);
      line.clear();
      on_line = 0;
    }
  }
  if (!line.empty()) to.line(line);
}

}  // namespace megakernel::tool
