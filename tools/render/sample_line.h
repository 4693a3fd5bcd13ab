// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include "standard.h"

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "observe/histogram.h"
#include "observe/inspect.h"
#include "render/layout.h"

import megakernel;

/// The line that a look at a ring is, under load or played back.
namespace megakernel::tool {

struct sample_line {
  std::chrono::nanoseconds at{};
  unsigned decimals = 1;  ///< of the time, in seconds
  double slots_per_second = 0;
  std::uint32_t queue_depth = 0;
  ring_occupancy occupancy{};
  quantiles latency{};  ///< none where nothing was counted
  condition state = condition::idle;
  std::string_view remark{};  ///< after the verdict
};

/// The heads of the columns, for a screen of `width` columns, of which 76 to 94 make a difference.
void print_sample_head(std::size_t width, screen& to);
void print_sample(const sample_line& seen, std::size_t width, screen& to);

}  // namespace megakernel::tool
