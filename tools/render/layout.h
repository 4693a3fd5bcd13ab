// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "cli/output.h"

/// Columns, colours and line breaks of a terminal.
namespace megakernel::tool {

enum class ink : std::uint8_t { plain, bold, dim, red, green, yellow, blue, magenta, cyan };

/// Columns that `text` takes: its code points, each of which is one column wide here.
[[nodiscard]] std::size_t columns_of(std::string_view text) noexcept;

/// 4 of 10 -> "40.0 %"; what is not quite nothing or all says so: "<0.1 %", ">99.9 %".
[[nodiscard]] std::string percent(std::uint64_t part, std::uint64_t whole);

/// Divides `cells` among `parts` by size, each part that is not zero getting at least one while
/// there are enough.
[[nodiscard]] std::vector<std::size_t> apportion(std::span<const std::uint64_t> parts,
                                                 std::size_t cells);

/// Lines of at most `width` columns, in colour or without any escape.
class screen {
 public:
  screen(output& to, std::size_t width, bool colour) noexcept
      : to_(to), width_(width), colour_(colour) {}

  [[nodiscard]] std::size_t width() const noexcept { return width_; }
  [[nodiscard]] std::string paint(std::string_view text, ink colour) const;

  void line(std::string_view text = {});
  /// Breaks at spaces. The first line starts with `first` spaces, the others with `rest`.
  void paragraph(std::string_view text, std::size_t first, std::size_t rest,
                 ink colour = ink::plain);
  /// A blank line, a title and what there is to say beside it, or below where it does not fit.
  void section(std::string_view title, std::string_view remark = {});

 private:
  output& to_;
  std::size_t width_;
  bool colour_;
};

struct cell {
  std::string text;
  ink colour = ink::plain;
};

/// A table whose columns are as wide as their widest cell.
class grid {
 public:
  struct column {
    std::string_view title{};
    bool right = false;   ///< numbers
    std::size_t gap = 2;  ///< spaces before it
  };
  explicit grid(std::vector<column> columns) : columns_(std::move(columns)) {}

  void add(std::vector<cell> row) { rows_.push_back(std::move(row)); }
  [[nodiscard]] std::size_t rows() const noexcept { return rows_.size(); }
  void print(screen& to) const;

 private:
  std::vector<column> columns_;
  std::vector<std::vector<cell>> rows_;
};

}  // namespace megakernel::tool
