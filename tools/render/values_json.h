// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include "standard.h"

#include <nlohmann/json.hpp>

#include <optional>

#include "observe/histogram.h"
#include "observe/recommend.h"
#include "render/names.h"

import megakernel;

/// The JSON of each value, once: the members that all documents with such a value share, in their
/// order.
namespace megakernel::tool {

using ordered_json = nlohmann::ordered_json;

template <class T>
ordered_json or_null(const std::optional<T>& value) {
  return value ? ordered_json(*value) : ordered_json(nullptr);
}

[[nodiscard]] ordered_json to_json(const quantiles& q);
[[nodiscard]] ordered_json to_json(const ring_occupancy& o);
/// Without `total_slots`.
[[nodiscard]] ordered_json to_json(const runtime_counters& c);
/// Without `active` and `tenants_disagree`.
[[nodiscard]] ordered_json to_json(const window_telemetry& w);
/// Null where the kernel reports nothing.
[[nodiscard]] ordered_json to_json(const std::optional<kernel_report>& r);
[[nodiscard]] ordered_json to_json(const health_delta& d);
/// The counts of slots and the heartbeat.
[[nodiscard]] ordered_json to_json(const health_report& h);
/// The object that docs/diagnosis.md describes.
[[nodiscard]] ordered_json to_json(const diagnosis& of);
/// Null where there is no outcome.
[[nodiscard]] ordered_json to_json(const launch_advice& advice);

/// Of a `fault_observation` or a `fault_notice`.
[[nodiscard]] ordered_json fault_json(const auto& f) {
  return {{"slot", f.slot},          {"opcode", word(f.op)},      {"opcode_name", to_string(f.op)},
          {"tenant", f.tenant},      {"fault_code", word(f.why)}, {"fault_name", to_string(f.why)},
          {"arguments", f.arguments}};
}

}  // namespace megakernel::tool
