// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <string>
#include <string_view>

#include "cli/output.h"
#include "observe/capture.h"
#include "observe/capture_reader.h"
#include "observe/observer.h"
#include "render/run.h"

/// A capture, and what is seen in it, for a person; and as JSON lines for a program, with the
/// members that docs/capture.md has.
namespace megakernel::tool {

/// The capture that a run has written, in a sentence or as a line of type `"capture"`.
void render_captured(std::string_view file, const capture_totals& totals, const run_style& style,
                     output& to);
void render_captured_json(std::string_view file, const capture_totals& totals, output& to);

/// The source of the capture, and the columns of the lines.
void render_capture_head(const capture_reader& from, const run_style& style, output& to);
/// A line of type `"capture"`.
void render_capture_head_json(const capture_reader& from, output& to);

/// One line.
void render_observation(const observation& seen, const run_style& style, output& to);

}  // namespace megakernel::tool
