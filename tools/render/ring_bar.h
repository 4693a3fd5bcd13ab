// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include "standard.h"

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "observe/inspect.h"
#include "render/layout.h"

import megakernel;

/// A ring's slots by status, as a bar.
namespace megakernel::tool {

/// How a status looks in a bar or a chart: told apart without colour, too.
struct status_style {
  slot_status status;
  std::string_view glyph;
  ink colour;
};
/// All of them, in the order of a bar: finished, moving, waiting, wrong, free.
inline constexpr std::array status_styles{
    status_style{slot_status::done, "█", ink::green},
    status_style{slot_status::claimed, "▓", ink::cyan},
    status_style{slot_status::wait_io, "w", ink::blue},
    status_style{slot_status::yield, "y", ink::blue},
    status_style{slot_status::requeue, "r", ink::blue},
    status_style{slot_status::published, "▒", ink::yellow},
    status_style{slot_status::fault, "!", ink::red},
    status_style{slot_status{8}, "?", ink::magenta},
    status_style{slot_status::empty, "·", ink::dim},
};
using status_counts = std::array<std::uint64_t, status_styles.size()>;
/// In the same order.
[[nodiscard]] status_counts counts_of(const ring_occupancy& o) noexcept;

[[nodiscard]] ink colour_of(slot_status status) noexcept;
[[nodiscard]] ink colour_of(kernel_state state) noexcept;

/// `"██▓▒▒▒····"`, `cells` columns wide: finished, moving, waiting, wrong, free. Every status that
/// occurs has at least one column while there are enough. Blank for an empty ring.
[[nodiscard]] std::string ring_bar(const ring_occupancy& of, std::size_t cells, const screen& on);

/// The bar as wide as the screen, and what its glyphs mean, with counts.
void print_ring(const ring_occupancy& of, screen& to);

}  // namespace megakernel::tool
