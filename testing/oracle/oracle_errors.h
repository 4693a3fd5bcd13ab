// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Which buffer a refusal is about, by the names of its code and of the buffer.
#pragma once

#include <array>
#include <string_view>
#include <utility>

namespace oracle {

/// Empty where it is about none. `buffer_unaligned` is about what was to be looked at.
inline std::string_view buffer_of(std::string_view code) {
  constexpr std::array<std::pair<std::string_view, std::string_view>, 13> prefixes{{
      {"control_", "control buffer"},
      {"observable_", "control buffer"},
      {"done_count_", "control buffer"},
      {"ring_", "ring"},
      {"slot_", "ring"},
      {"packed_", "ring"},
      {"window_", "ring"},
      {"work_items_", "ring"},
      {"debug_log_", "debug log"},
      {"record_", "debug log"},
      {"io_", "IO queue"},
      {"sketch_", "sketch"},
      {"digest_", "digest"},
  }};
  for (const auto& [prefix, buffer] : prefixes)
    if (code.starts_with(prefix)) return buffer;
  for (const std::string_view of_ring :
       {"too_many_args", "opcode_reserved", "priority_out_of_range", "batch_out_of_range",
        "item_count_overflow"})
    if (code == of_ring) return "ring";
  return {};
}

}  // namespace oracle
