// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include "standard.h"

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "cli/output.h"

import megakernel;

/// The output of the `sketch` command.
namespace megakernel::tool {

/// The kind of a sketch's keys.
enum class sketch_of : std::uint8_t { opcode, active_opcode, tenant, status, metric };

/// The one of a telemetry sketch's five.
[[nodiscard]] const count_min_sketch& member(const telemetry_sketch& sketch,
                                             sketch_of which) noexcept;

/// A sketch that was written to a file.
struct written_sketch {
  std::string file;
  std::uint64_t bytes;
  const telemetry_sketch& sketch;
};

/// A key whose count was asked for.
struct sketch_key {
  sketch_of what;
  word key;
};

/// A list of keys with their counts; `largest` says that it is the top of a longer one.
struct sketch_results {
  sketch_of what;
  bool largest;
  std::vector<heavy_hitter> rows;
};

/// The counts of keys, grouped by what they are, in the order asked.
[[nodiscard]] std::vector<sketch_results> look_up_keys(const telemetry_sketch& sketch,
                                                       std::span<const sketch_key> keys);

/// The `most` largest among the candidates.
[[nodiscard]] sketch_results largest(const telemetry_sketch& sketch, sketch_of what,
                                     std::span<const word> candidates, std::size_t most);

/// Opcodes or tenants to try when nobody says which were seen: 0 to 65535, and the opcodes of the
/// protocol that are larger.
[[nodiscard]] std::vector<word> usual_candidates(sketch_of what);
/// Those in the slots of a ring, each once.
[[nodiscard]] std::vector<word> candidates_in(const ring_view& ring, sketch_of what);

struct sketch_style {
  bool json = false;
  std::size_t width = 100;
  bool colour = false;
};

/// For a person, or one JSON object.
void render_written(const written_sketch& written, const sketch_style& style, output& to);
void render_results(const telemetry_sketch& sketch, std::span<const sketch_results> results,
                    const sketch_style& style, output& to);

}  // namespace megakernel::tool
