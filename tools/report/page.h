// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <chrono>
#include <string>
#include <string_view>
#include <vector>

#include "cli/output.h"
#include "report/plot.h"
#include "report/report.h"

/// A report as a page that a browser shows, without a network.
namespace megakernel::tool {

/// One HTML file with all it needs in it: plots, colours for light and dark, and a script without
/// which it reads, too. The same report gives the same bytes. O(columns).
void render_report_html(const report& found, output& to);

}  // namespace megakernel::tool

/// The page's parts.
namespace megakernel::tool::detail {

[[nodiscard]] std::string_view report_style() noexcept;
[[nodiscard]] std::string_view report_script() noexcept;

/// Those that have something to show.
[[nodiscard]] std::vector<plot> report_plots(const report& found);
/// States, faults, windows and stuck slots over time.
[[nodiscard]] std::string timeline_section(const report& found, const plot_columns& at);
/// Empty where nothing is known of latencies.
[[nodiscard]] std::string distribution_section(const report& found);
/// Tenants, opcodes, alarms, faults, stuck slots, windows; those that have rows.
[[nodiscard]] std::string table_sections(const report& found);
[[nodiscard]] std::string advice_section(const report& found);
/// The facts of the source, and how it was sampled.
[[nodiscard]] std::string source_section(const report& found);

}  // namespace megakernel::tool::detail

namespace megakernel::tool {

/// "2026-11-26 06:18:14 UTC"; "-" for what no calendar has.
[[nodiscard]] std::string wall_text(std::chrono::system_clock::time_point at);

/// Spans that overlap, one below the other: the row of each, `rows` where there was none free.
template <class Span>
[[nodiscard]] std::vector<std::size_t> rows_of(const std::vector<Span>& by_time, std::size_t rows) {
  std::vector<std::chrono::nanoseconds> until;
  std::vector<std::size_t> chosen;
  for (const Span& span : by_time) {
    std::size_t row = 0;
    while (row < until.size() && until[row] > span.from) ++row;
    if (row == until.size() && row < rows) until.push_back(span.to);
    if (row < until.size()) until[row] = span.to;
    chosen.push_back(row < rows ? row : rows);
  }
  return chosen;
}

}  // namespace megakernel::tool
