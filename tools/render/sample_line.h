// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include "standard.h"

#include <cstddef>
#include <string_view>

#include "observe/observer.h"
#include "render/layout.h"

import megakernel;

/// The line that a look at a ring is, under load or played back.
namespace megakernel::tool {

struct sample_style {
  unsigned decimals = 1;      ///< of the time, in seconds
  std::string_view remark{};  ///< after the state
};

/// The heads of the columns, for a screen of `width` columns, of which 76 to 94 make a difference.
void print_sample_head(std::size_t width, screen& to);
void print_sample(const ring_observation& seen, const sample_style& style, std::size_t width,
                  screen& to);

}  // namespace megakernel::tool
