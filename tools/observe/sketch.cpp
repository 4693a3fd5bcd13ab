// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <array>
#include <chrono>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "cli/input.h"
#include "cli/output.h"
#include "observe/histogram.h"
#include "observe/inspect.h"
#include "observe/sketch.h"
#include "render/layout.h"
#include "render/names.h"

import megakernel;

namespace megakernel::tool {
namespace {

using json = nlohmann::ordered_json;

std::string_view title(sketch_of what) {
  switch (what) {
    case sketch_of::opcode:
      return "Opcodes";
    case sketch_of::active_opcode:
      return "Opcodes of active slots";
    case sketch_of::tenant:
      return "Tenants";
    case sketch_of::status:
      return "Statuses";
    case sketch_of::metric:
      return "Claims by opcode";
  }
  return {};
}

std::string_view json_name(sketch_of what) {
  switch (what) {
    case sketch_of::opcode:
      return "opcode";
    case sketch_of::active_opcode:
      return "active_opcode";
    case sketch_of::tenant:
      return "tenant";
    case sketch_of::status:
      return "status";
    case sketch_of::metric:
      return "metric";
  }
  return {};
}

std::string key_name(sketch_of what, word key) {
  switch (what) {
    case sketch_of::opcode:
    case sketch_of::active_opcode:
    case sketch_of::metric:
      return to_string(opcode{key});
    case sketch_of::tenant:
      return fmt::format("tenant {}", key);
    case sketch_of::status: {
      const slot_status status{key};
      return is_known(status) ? std::string(to_string(status)) : fmt::format("status {}", key);
    }
  }
  return {};
}

/// How far estimates of a sketch can be off, in words.
std::string accuracy(const sketch_shape& shape) {
  return fmt::format(
      "An estimate is never too low; it is too high by at most {:.2g} % of what was counted, but "
      "for a chance of {:.2g} %.",
      100 * shape.epsilon(), 100 * shape.delta());
}

std::string counted_slots(const telemetry_sketch& sketch) {
  return fmt::format("{}, {} active", counted(sketch.total_slots(), "slot"),
                     grouped(sketch.active_slots()));
}

json head(const telemetry_sketch& sketch) {
  return {{"schema", "megakernel.sketch"},       {"version", 1},
          {"depth", sketch.shape().depth},       {"width", sketch.shape().width},
          {"epsilon", sketch.shape().epsilon()}, {"delta", sketch.shape().delta()},
          {"total_slots", sketch.total_slots()}, {"active_slots", sketch.active_slots()}};
}

/// The count of one key, and its bound.
heavy_hitter look_up(const count_min_sketch& sketch, word key) {
  const std::array<word, 1> candidates{key};
  std::array<heavy_hitter, 1> found;
  const auto top = heavy_hitters(sketch, candidates, found);
  return top.empty() ? heavy_hitter{.key = key} : top.front();
}

}  // namespace

const count_min_sketch& member(const telemetry_sketch& sketch, sketch_of which) noexcept {
  switch (which) {
    case sketch_of::opcode:
      return sketch.ring_opcode();
    case sketch_of::active_opcode:
      return sketch.active_opcode();
    case sketch_of::tenant:
      return sketch.tenant();
    case sketch_of::status:
      return sketch.status();
    case sketch_of::metric:
      break;
  }
  return sketch.dispatch_metrics();
}

std::vector<sketch_results> look_up_keys(const telemetry_sketch& sketch,
                                         std::span<const sketch_key> keys) {
  std::vector<sketch_results> results;
  for (const sketch_key& asked : keys) {
    auto group = std::ranges::find(results, asked.what, &sketch_results::what);
    if (group == results.end())
      group = results.insert(results.end(), {.what = asked.what, .largest = false, .rows = {}});
    group->rows.push_back(look_up(member(sketch, asked.what), asked.key));
  }
  return results;
}

sketch_results largest(const telemetry_sketch& sketch, sketch_of what,
                       std::span<const word> candidates, std::size_t most) {
  sketch_results results{.what = what, .largest = true, .rows = {}};
  results.rows.resize(std::min(most, candidates.size()));
  results.rows.resize(heavy_hitters(member(sketch, what), candidates, results.rows).size());
  return results;
}

std::vector<word> usual_candidates(sketch_of what) {
  constexpr word usual = 0x10000;
  std::vector<word> candidates(usual);
  for (word key = 0; key < usual; ++key) candidates[key] = key;
  if (what != sketch_of::tenant) {
    candidates.push_back(word(opcode::packed_slot));
    candidates.push_back(word(opcode::shutdown));
  }
  return candidates;
}

std::vector<word> candidates_in(const ring_view& ring, sketch_of what) {
  std::vector<word> candidates;
  candidates.reserve(ring.size());
  for (const slot_snapshot& slot : ring)
    candidates.push_back(what == sketch_of::tenant ? slot.tenant : word(slot.op));
  std::ranges::sort(candidates);
  const auto repeated = std::ranges::unique(candidates);
  candidates.erase(repeated.begin(), repeated.end());
  return candidates;
}

void render_written(const written_sketch& written, const sketch_style& style, output& to) {
  const sketch_shape shape = written.sketch.shape();
  if (style.json) {
    json all = head(written.sketch);
    all["file"] = written.file;
    all["bytes"] = written.bytes;
    to.write(all.dump(2, ' ', false, json::error_handler_t::replace) + "\n");
    return;
  }
  screen page(to, std::clamp<std::size_t>(style.width, 60, 100), style.colour);
  page.paragraph(fmt::format("{}: five sketches of {} x {} counters, {}. {}",
                             printable(written.file), grouped(shape.depth), grouped(shape.width),
                             human_bytes(written.bytes), counted_slots(written.sketch) + "."),
                 0, 2);
  page.paragraph(accuracy(shape), 0, 2, ink::dim);
}

void render_results(const telemetry_sketch& sketch, std::span<const sketch_results> results,
                    const sketch_style& style, output& to) {
  if (style.json) {
    json all = head(sketch);
    for (const sketch_results& group : results) {
      json rows = json::array();
      for (const heavy_hitter& row : group.rows) {
        rows.push_back({{"key", row.key},
                        {"name", key_name(group.what, row.key)},
                        {"estimate", row.estimate},
                        {"at_least", row.at_least}});
      }
      all[group.largest ? fmt::format("top_{}", json_name(group.what)) : json_name(group.what)] =
          std::move(rows);
    }
    to.write(all.dump(2) + "\n");
    return;
  }
  screen page(to, std::clamp<std::size_t>(style.width, 60, 100), style.colour);
  page.paragraph(counted_slots(sketch) + ". " + accuracy(sketch.shape()), 0, 2);
  for (const sketch_results& group : results) {
    const std::uint64_t total = member(sketch, group.what).total();
    page.section(title(group.what), group.largest ? "largest of the keys tried" : "");
    if (group.rows.empty()) {
      page.line("  none");
      continue;
    }
    grid rows({{.gap = 2},
               {.title = "key", .right = true},
               {.title = "at most", .right = true},
               {.title = "likely at least", .right = true},
               {.title = "share", .right = true}});
    for (const heavy_hitter& row : group.rows) {
      rows.add({{key_name(group.what, row.key)},
                {fmt::format("{}", row.key)},
                {grouped(row.estimate), row.estimate == 0 ? ink::dim : ink::plain},
                {grouped(row.at_least), row.at_least == 0 ? ink::dim : ink::plain},
                {total == 0 ? "-" : percent(row.estimate, total)}});
    }
    rows.print(page);
  }
}

}  // namespace megakernel::tool
