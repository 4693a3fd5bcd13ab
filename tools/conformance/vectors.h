// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include "standard.h"

#include <nlohmann/json.hpp>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

import megakernel;

/// Between golden JSON and the library's types, for the parts of the conformance command.
namespace megakernel::tool {

using json = nlohmann::json;

/// The library's result for a case's input, in the form of the case's expectation; nothing for
/// a kind this part does not implement. Throws json's exceptions on a malformed case.
std::optional<json> answer_protocol(std::string_view kind, const json& input);
std::optional<json> answer_decoder(std::string_view kind, const json& input);
std::optional<json> answer_scaling(std::string_view kind, const json& input);
std::optional<json> answer_sketch(std::string_view kind, const json& input);
/// The `sketches` member of a decode case's expectation.
json sketches_of(const ring_telemetry& telemetry);

/// Bytes from lower-case hexadecimal.
std::vector<std::byte> bytes_of(const json& hex);
/// `{"len", "hex"}` up to 4096 bytes, else `{"len", "fnv1a64"}`.
json json_of(std::span<const std::byte> bytes);
std::string fnv1a64(std::span<const std::byte> bytes);

/// `{"ok": value}`.
inline json ok(json value) { return {{"ok", std::move(value)}}; }
inline json refused(std::string_view code) { return {{"error", {{"class", code}}}}; }

}  // namespace megakernel::tool
