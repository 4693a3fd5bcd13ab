// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "cli/output.h"
#include "load/run.h"

/// A run for a person, or as JSON lines for a program.
namespace megakernel::tool {

/// 1234 ns -> "1.23 µs"; three digits, and the unit that suits them.
[[nodiscard]] std::string human_time(std::uint64_t nanoseconds);

struct run_style {
  std::size_t width = 100;  ///< columns of the screen; 60 to 100 are used
  bool colour = false;
  std::uint32_t top = 10;  ///< rows a table
};

/// The profile of the run, on one line.
[[nodiscard]] std::string describe(const run_profile& profile);
/// The profile of the run, and the columns of the lines.
void render_run_head(const run_profile& profile, const run_style& style, output& to);
/// One line.
void render_sample(const run_observation& seen, const run_style& style, output& to);
/// The findings about the ring, if any.
void render_diagnosis(const run_observation& seen, const run_style& style, output& to);
/// The outcome.
void render_findings(const run_findings& found, const run_style& style, output& to);

/// `"idle"` and so on, then in words what a person should know first.
[[nodiscard]] std::string sentence(const run_findings& found);
/// The remaining remarks.
[[nodiscard]] std::vector<std::string> warnings(const run_findings& found);

/// A line each: `"type"` is `"look"` or `"end"`; docs/run.md has the members.
void render_sample_json(const run_observation& seen, output& to);
void render_findings_json(const run_findings& found, output& to);

[[nodiscard]] std::string_view to_string(run_phase phase) noexcept;
[[nodiscard]] std::string_view to_string(run_end end) noexcept;

}  // namespace megakernel::tool
