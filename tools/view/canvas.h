// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "render/layout.h"

/// A screen of a terminal as a value: what is drawn on it can be looked at without a terminal.
namespace megakernel::tool {

/// One column of one row. Every glyph here is one column wide.
class glyph {
 public:
  glyph() noexcept = default;
  /// `code_point`: the UTF-8 of one.
  glyph(std::string_view code_point, ink colour, bool inverse) noexcept;
  [[nodiscard]] std::string_view text() const noexcept { return {bytes_.data(), length_}; }
  [[nodiscard]] ink colour() const noexcept { return colour_; }
  [[nodiscard]] bool inverse() const noexcept { return inverse_; }
  void invert() noexcept { inverse_ = true; }
  friend bool operator==(const glyph&, const glyph&) = default;

 private:
  std::array<char, 4> bytes_{' '};
  std::uint8_t length_ = 1;
  ink colour_ = ink::plain;
  bool inverse_ = false;
};

/// Rows of columns. What does not fit is cut; a place outside is no mistake.
class canvas {
 public:
  canvas(std::size_t width, std::size_t height)
      : width_(width), height_(height), cells_(width * height) {}

  [[nodiscard]] std::size_t width() const noexcept { return width_; }
  [[nodiscard]] std::size_t height() const noexcept { return height_; }
  [[nodiscard]] const glyph& at(std::size_t x, std::size_t y) const {
    return cells_[y * width_ + x];
  }

  /// Writes `text` from column `x` on, at most `room` columns; returns the column behind it.
  /// Control characters become spaces, and bytes that are no UTF-8 question marks.
  std::size_t put(std::size_t x, std::size_t y, std::string_view text, ink colour = ink::plain,
                  std::size_t room = SIZE_MAX, bool inverse = false);
  /// The same, ending before column `end`; what does not fit is cut at its start.
  void put_right(std::size_t end, std::size_t y, std::string_view text, ink colour = ink::plain,
                 bool inverse = false);
  /// Makes all of a row inverse.
  void invert_row(std::size_t y);
  void clear(std::size_t x, std::size_t y, std::size_t width, std::size_t height);

  /// Lines without colour, trailing blanks cut: for tests and for people without a terminal.
  [[nodiscard]] std::string text() const;

 private:
  std::size_t width_;
  std::size_t height_;
  std::vector<glyph> cells_;
};

/// `values` as one row of bars of at most `width` columns, newest last, the greatest full; a value
/// over zero has a bar, however small.
void put_sparkline(canvas& on, std::size_t x, std::size_t y, std::size_t width,
                   std::span<const double> values, ink colour);

/// A table whose columns are as wide as their widest cell. Where the width does not suffice, the
/// last columns are left out.
class canvas_table {
 public:
  struct column {
    std::string_view title;
    bool right = false;
  };
  explicit canvas_table(std::vector<column> columns) : columns_(std::move(columns)) {}
  void add(std::vector<cell> row) { rows_.push_back(std::move(row)); }
  [[nodiscard]] std::size_t rows() const noexcept { return rows_.size(); }
  /// A line of titles, then rows from `first` on. Returns how many rows there was room for.
  std::size_t put(canvas& on, std::size_t x, std::size_t y, std::size_t width, std::size_t height,
                  std::size_t first) const;

 private:
  std::vector<column> columns_;
  std::vector<std::vector<cell>> rows_;
};

}  // namespace megakernel::tool
