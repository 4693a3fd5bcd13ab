// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// A terminal that a canvas is shown on: alternate screen, keys, sizes. Through ncurses.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string_view>

/// A column as it is shown. The ink is one of `megakernel::tool::ink`, by number.
struct shown_cell {
  std::string_view text;
  std::uint8_t ink = 0;
  bool inverse = false;
};

/// A key as ncurses says it; the special ones are numbered here.
enum class raw_key : int {
  up = 0x10000,
  down,
  left,
  right,
  page_up,
  page_down,
  home,
  end,
  tab,
  back_tab,
  enter,
  escape,
  backspace,
  resized,
};

/// One a process, used by one thread. Destroying it puts the terminal back.
class terminal_screen {
 public:
  /// Nothing where standard input or output is no terminal, or one of a kind that cannot be drawn
  /// on.
  static std::unique_ptr<terminal_screen> open(bool colour);
  terminal_screen(const terminal_screen&) = delete;
  terminal_screen& operator=(const terminal_screen&) = delete;
  ~terminal_screen();

  std::size_t width() const;
  std::size_t height() const;
  void put(std::size_t x, std::size_t y, const shown_cell& cell);
  /// Shows what was put since the last time.
  void show();
  /// Draws everything anew at the next `show`: for a terminal that somebody else wrote on.
  void redraw();
  /// A key, a letter or a `raw_key`; nothing within `wait`.
  std::optional<int> read_key(std::chrono::milliseconds wait);

 private:
  explicit terminal_screen(bool colour);
  bool colour_;
};
