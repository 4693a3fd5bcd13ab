// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "render/layout.h"
#include "view/canvas.h"

namespace megakernel::tool {
namespace {

/// The bytes of the code point that `text` begins with; 0 where they are none.
std::size_t code_point_length(std::string_view text) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char lead = byte(0);
  const std::size_t length = lead < 0x80                   ? 1
                             : lead >= 0xC2 && lead < 0xE0 ? 2
                             : lead >= 0xE0 && lead < 0xF0 ? 3
                             : lead >= 0xF0 && lead < 0xF5 ? 4
                                                           : 0;
  if (length == 0 || length > text.size()) return 0;
  for (std::size_t i = 1; i < length; ++i) {
    if ((byte(i) & 0xC0) != 0x80) return 0;
  }
  return length;
}

constexpr std::array<std::string_view, 8> bars{"▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"};

}  // namespace

glyph::glyph(std::string_view code_point, ink colour, bool inverse) noexcept
    : length_(static_cast<std::uint8_t>(std::min(code_point.size(), bytes_.size()))),
      colour_(colour),
      inverse_(inverse) {
  std::copy_n(code_point.begin(), length_, bytes_.begin());
}

std::size_t canvas::put(std::size_t x, std::size_t y, std::string_view text, ink colour,
                        std::size_t room, bool inverse) {
  while (!text.empty() && room-- != 0) {
    const std::size_t length = code_point_length(text);
    const bool control =
        length == 1 && (static_cast<unsigned char>(text[0]) < 0x20 || text[0] == 0x7F);
    if (x < width_ && y < height_) {
      const std::string_view shown = length == 0 ? "?" : control ? " " : text.substr(0, length);
      cells_[y * width_ + x] = glyph(shown, colour, inverse);
    }
    ++x;
    text.remove_prefix(std::max<std::size_t>(length, 1));
  }
  return x;
}

void canvas::put_right(std::size_t end, std::size_t y, std::string_view text, ink colour,
                       bool inverse) {
  std::size_t columns = columns_of(text);
  while (columns > end) {
    text.remove_prefix(std::max<std::size_t>(code_point_length(text), 1));
    columns = columns_of(text);
  }
  put(end - columns, y, text, colour, SIZE_MAX, inverse);
}

void canvas::invert_row(std::size_t y) {
  if (y >= height_) return;
  for (std::size_t x = 0; x < width_; ++x) cells_[y * width_ + x].invert();
}

void canvas::clear(std::size_t x, std::size_t y, std::size_t width, std::size_t height) {
  for (std::size_t row = y; row < std::min(height_, y + height); ++row) {
    for (std::size_t column = x; column < std::min(width_, x + width); ++column)
      cells_[row * width_ + column] = {};
  }
}

std::string canvas::text() const {
  std::string all;
  for (std::size_t y = 0; y < height_; ++y) {
    std::string line;
    for (std::size_t x = 0; x < width_; ++x) line += at(x, y).text();
    line.erase(line.find_last_not_of(' ') + 1);
    all += line + '\n';
  }
  return all;
}

void put_sparkline(canvas& on, std::size_t x, std::size_t y, std::size_t width,
                   std::span<const double> values, ink colour) {
  if (values.size() > width) values = values.last(width);
  if (values.empty()) return;
  const double most = *std::ranges::max_element(values);
  x += width - values.size();
  for (const double value : values) {
    if (value > 0 && most > 0) {
      const auto level = static_cast<std::size_t>(std::ceil(value / most * bars.size()));
      on.put(x, y, bars[std::clamp<std::size_t>(level, 1, bars.size()) - 1], colour);
    }
    ++x;
  }
}

std::size_t canvas_table::put(canvas& on, std::size_t x, std::size_t y, std::size_t width,
                              std::size_t height, std::size_t first) const {
  constexpr std::size_t gap = 2;
  if (height == 0) return 0;
  const std::size_t shown = first >= rows_.size() ? 0 : std::min(rows_.size() - first, height - 1);
  std::vector<std::size_t> widths;
  std::size_t used = 0;
  for (std::size_t c = 0; c < columns_.size(); ++c) {
    std::size_t widest = columns_of(columns_[c].title);
    // Of all rows, so that scrolling moves nothing sideways.
    for (const auto& row : rows_) widest = std::max(widest, columns_of(row[c].text));
    const std::size_t with_gap = widest + (c == 0 ? 0 : gap);
    if (used + with_gap > width) break;
    used += with_gap;
    widths.push_back(widest);
  }
  const auto put_row = [&](std::size_t line, auto cell_at) {
    std::size_t at = x;
    for (std::size_t c = 0; c < widths.size(); ++c) {
      const cell& one = cell_at(c);
      if (columns_[c].right) {
        on.put_right(at + widths[c], line, one.text, one.colour);
      } else {
        on.put(at, line, one.text, one.colour, widths[c]);
      }
      at += widths[c] + gap;
    }
  };
  cell title;
  put_row(y, [&](std::size_t c) -> const cell& {
    title = {std::string(columns_[c].title), ink::dim};
    return title;
  });
  for (std::size_t r = 0; r < shown; ++r)
    put_row(y + 1 + r, [&](std::size_t c) -> const cell& { return rows_[first + r][c]; });
  return shown;
}

}  // namespace megakernel::tool
