// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <nlohmann/json.hpp>

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <expected>
#include <new>
#include <optional>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "cli/input.h"
#include "conformance/vectors.h"
#include "load/workload.h"
#include "report/report.h"

import megakernel;

namespace megakernel::tool {
namespace {

json outcome(const result<void>& r) { return r ? ok(nullptr) : refused(to_string(r.error().code)); }

/// An array up to 64 counters, else their number and hash, and those that are not zero if few.
json counters_json(const count_min_sketch& sketch) {
  constexpr std::size_t most_spelled = 64;
  constexpr std::size_t most_listed = 24;
  const auto counters = sketch.counters();
  if (counters.size() <= most_spelled) return counters;
  std::vector<std::byte> bytes(counters.size() * sizeof(std::uint64_t));
  json sparse = json::array();
  std::size_t nonzero = 0;
  for (std::size_t i = 0; i < counters.size(); ++i) {
    store_word(bytes.data(), 2 * i, static_cast<word>(counters[i]));
    store_word(bytes.data(), 2 * i + 1, static_cast<word>(counters[i] >> 32));
    if (counters[i] == 0) continue;
    if (++nonzero <= most_listed) sparse.push_back({i, counters[i]});
  }
  json described{{"len", counters.size()}, {"fnv1a64", fnv1a64(bytes)}, {"nonzero", nonzero}};
  if (nonzero <= most_listed) described["sparse"] = std::move(sparse);
  return described;
}

/// Adds `[[key, amount]...]`; the refused ones as `[[index, class]...]`.
json add_all(count_min_sketch& sketch, const json& adds) {
  json errors = json::array();
  for (std::size_t i = 0; i < adds.size(); ++i) {
    const auto added =
        sketch.add(adds[i].at(0).get<std::uint32_t>(), adds[i].at(1).get<std::uint64_t>());
    if (!added) errors.push_back({i, to_string(added.error().code)});
  }
  return errors;
}

json merge(count_min_sketch& sketch, const json& in) {
  auto other = count_min_sketch::of_shape(in.at("depth"), in.at("width"));
  if (!other) return refused(to_string(other.error().code));
  add_all(*other, in.at("adds"));
  return outcome(sketch.merge(*other));
}

json answer(const json& in) {
  auto sketch = count_min_sketch::of_shape(in.at("depth"), in.at("width"));
  if (!sketch) return refused(to_string(sketch.error().code));
  json answered{{"add_errors", add_all(*sketch, in.at("adds"))}};
  answered["merge"] = in.at("merge").is_null() ? json() : merge(*sketch, in.at("merge"));
  answered["reset"] = json();
  if (const json& reset = in.at("reset"); !reset.is_null()) {
    answered["reset"] = outcome(sketch->reset_shape(reset.at("depth"), reset.at("width")));
    add_all(*sketch, reset.at("adds"));
  }
  answered["depth"] = sketch->depth();
  answered["width"] = sketch->width();
  answered["counters"] = counters_json(*sketch);
  answered["estimates"] = json::array();
  for (const std::uint32_t key : in.at("estimate"))
    answered["estimates"].push_back(sketch->estimate(key));
  return ok(std::move(answered));
}

json telemetry_json(const telemetry_sketch& sketch) {
  return {{"depth", sketch.shape().depth},
          {"width", sketch.shape().width},
          {"total_slots", sketch.total_slots()},
          {"active_slots", sketch.active_slots()},
          {"ring_opcode", counters_json(sketch.ring_opcode())},
          {"active_opcode", counters_json(sketch.active_opcode())},
          {"tenant", counters_json(sketch.tenant())},
          {"status", counters_json(sketch.status())},
          {"dispatch_metrics", counters_json(sketch.dispatch_metrics())}};
}

}  // namespace

json sketches_of(const ring_telemetry& telemetry) {
  constexpr std::array<sketch_shape, 4> shapes{{{1, 1}, {2, 8}, {3, 17}, {4, 64}}};
  json sketches = json::array();
  telemetry_sketch sketch;  // one for all: storage is reused where it suffices
  for (const sketch_shape shape : shapes) {
    const auto reset = sketch.reset_shape(shape.depth, shape.width);
    if (!reset || !sketch.assign(telemetry)) throw std::bad_alloc();
    const auto bytes = write_sketch(sketch);
    if (!bytes) throw std::bad_alloc();
    const auto read = read_telemetry_sketch({bytes->data(), bytes->size()});
    if (!read || *read != sketch) throw std::logic_error("a sketch does not survive its byte form");
    sketches.push_back(telemetry_json(*read));
  }
  return sketches;
}

std::optional<json> answer_sketch(std::string_view kind, const json& input) {
  if (kind == "sketch") return answer(input);
  return std::nullopt;
}

}  // namespace megakernel::tool
