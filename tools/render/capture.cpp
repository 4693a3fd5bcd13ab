// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <fmt/chrono.h>
#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <ctime>
#include <string>
#include <string_view>
#include <utility>

#include "cli/input.h"
#include "cli/output.h"
#include "observe/capture.h"
#include "observe/capture_reader.h"
#include "observe/histogram.h"
#include "observe/observer.h"
#include "render/capture.h"
#include "render/layout.h"
#include "render/names.h"
#include "render/run.h"
#include "render/sample_line.h"
#include "report/report.h"

import megakernel;

namespace megakernel::tool {
namespace {

using json = nlohmann::ordered_json;

double seconds(std::chrono::nanoseconds d) { return std::chrono::duration<double>(d).count(); }

/// "2026-11-26 06:30:00 UTC"; the seconds since 1970 where the calendar has no such day.
std::string calendar(std::chrono::system_clock::time_point at) {
  const auto since = std::chrono::floor<std::chrono::seconds>(at.time_since_epoch()).count();
  const auto whole = static_cast<std::time_t>(since);
  std::tm parts{};
  if (::gmtime_r(&whole, &parts) == nullptr) return fmt::format("{} s since 1970", since);
  return fmt::format("{:%F %T} UTC", parts);
}

std::string dropped_text(std::uint64_t dropped) {
  if (dropped == 0) return "none dropped";
  return fmt::format("{} dropped", grouped(dropped));
}

/// Text that a file claims to be UTF-8.
std::string dumped(const json& line) {
  return line.dump(-1, ' ', false, json::error_handler_t::replace) + "\n";
}

}  // namespace

void render_captured(std::string_view file, const capture_totals& totals, const run_style& style,
                     output& to) {
  screen page(to, std::clamp<std::size_t>(style.width, 60, 100), style.colour);
  page.line();
  page.paragraph(
      fmt::format("Captured {}, {}, {}: {}", counted(totals.frames, "frame"),
                  dropped_text(totals.dropped), human_bytes(totals.bytes), printable(file)),
      0, 2);
}

void render_captured_json(std::string_view file, const capture_totals& totals, output& to) {
  to.write(dumped({{"schema", "megakernel.run"},
                   {"version", 1},
                   {"type", "capture"},
                   {"file", file},
                   {"frames", totals.frames},
                   {"dropped", totals.dropped},
                   {"bytes", totals.bytes}}));
}

void render_capture_head(const capture_reader& from, const run_style& style, output& to) {
  screen page(to, std::clamp<std::size_t>(style.width, 60, 100), style.colour);
  const capture_header& header = from.header();
  const capture_totals& totals = from.totals();
  page.paragraph(
      fmt::format("{} over {:.1f} s, {}, of a ring of {}, from {}", counted(totals.frames, "frame"),
                  seconds(from.length()), dropped_text(totals.dropped),
                  counted(header.slots(), "slot"), calendar(header.began)),
      0, 2);
  for (const std::string& text : {header.profile, header.device, header.build}) {
    if (!text.empty()) page.paragraph(printable(text), 2, 4, ink::dim);
  }
  if (!from.damage().empty()) page.paragraph("- " + from.damage(), 0, 2, ink::yellow);
  page.line();
  print_sample_head(style.width, page);
  to.flush();
}

void render_capture_head_json(const capture_reader& from, output& to) {
  const capture_header& header = from.header();
  json windows = json::array();
  for (const opcode op : header.windows) windows.push_back(word(op));
  to.write(
      dumped({{"schema", "megakernel.observation"},
              {"version", 1},
              {"type", "capture"},
              {"frames", from.frames()},
              {"dropped", from.totals().dropped},
              {"bytes", from.totals().bytes},
              {"length_ns", from.length().count()},
              {"began_unix_ns", std::chrono::nanoseconds(header.began.time_since_epoch()).count()},
              {"whole", from.damage().empty()},
              {"damage", from.damage()},
              {"abi_revision", header.abi_revision},
              {"slots", header.slots()},
              {"control_bytes", header.bytes.control},
              {"ring_bytes", header.bytes.ring},
              {"debug_log_bytes", header.bytes.debug_log},
              {"io_queue_bytes", header.bytes.io_queue},
              {"window_opcodes", std::move(windows)},
              {"device", header.device},
              {"build", header.build},
              {"profile", header.profile}}));
  to.flush();
}

void render_observation(const observation& seen, const run_style& style, output& to) {
  screen page(to, std::clamp<std::size_t>(style.width, 60, 100), style.colour);
  print_sample(seen, {.decimals = 2}, style.width, page);
  to.flush();
}

}  // namespace megakernel::tool
