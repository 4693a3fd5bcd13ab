// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include "cli/output.h"
#include "report/report.h"

/// A report as a trace that ui.perfetto.dev and chrome://tracing open.
namespace megakernel::tool {

/// JSON of the Trace Event Format, an event a line: counters, the kernel's states, a track a tenant
/// for windows and one for stuck slots, faults as instants. Time stamps never fall; every slice
/// that begins ends. A column of the report's timeline gives each counter at most two values, the
/// least and the greatest, at the times of the samples that saw them. The same report gives the
/// same bytes. O(columns log columns).
void render_trace(const report& found, output& to);

}  // namespace megakernel::tool
