// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <fmt/format.h>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <expected>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "observe/capture_input.h"
#include "observe/capture_reader.h"

import megakernel;

namespace megakernel::tool {
namespace {

std::vector<std::byte> copy_of(std::span<const std::byte> bytes) {
  return {bytes.begin(), bytes.end()};
}

}  // namespace

std::expected<captured_frame, std::string> read_captured_frame(
    const std::string& path, std::optional<std::chrono::nanoseconds> at) {
  using namespace std::chrono_literals;
  auto reader = capture_reader::open(path);
  if (!reader) return std::unexpected(reader.error());
  if (reader->frames() == 0)
    return std::unexpected(std::string("It has no frame. ") + reader->damage());
  const std::uint64_t number = at ? reader->last_until(*at) : reader->frames() - 1;
  captured_frame found{.number = number, .at = reader->time_of(number)};
  if (number != 0) {
    const auto before = reader->frame_at(reader->last_until(found.at - 1s));
    if (!before) return std::unexpected(before.error());
    found.previous = {.control = copy_of(before->control),
                      .ring = copy_of(before->ring),
                      .interval = found.at - before->at};
  }
  const auto seen = reader->frame_at(number);
  if (!seen) return std::unexpected(seen.error());
  found.control = copy_of(seen->control);
  found.ring = copy_of(seen->ring);
  found.debug_log = copy_of(seen->debug_log);
  found.io_queue = copy_of(seen->io_queue);
  found.windows = reader->header().windows;
  return found;
}

}  // namespace megakernel::tool
