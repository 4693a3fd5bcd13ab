// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "view/terminal_screen.h"

#define NCURSES_WIDECHAR 1
#include <curses.h>
#include <langinfo.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <clocale>
#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

namespace {

/// Where the locale cannot show the bars, something of ASCII that can be told apart.
std::string_view plain(std::string_view glyph) {
  struct twin {
    std::string_view glyph, ascii;
  };
  constexpr std::array<twin, 17> twins{{{"█", "#"},
                                        {"▓", "%"},
                                        {"▒", "="},
                                        {"·", "."},
                                        {"▁", "_"},
                                        {"▂", "."},
                                        {"▃", "-"},
                                        {"▄", "-"},
                                        {"▅", "="},
                                        {"▆", "+"},
                                        {"▇", "*"},
                                        {"≤", "<"},
                                        {"µ", "u"},
                                        {"…", "."},
                                        {"←", "<"},
                                        {"→", ">"},
                                        {"↑", "^"}}};
  for (const twin& t : twins) {
    if (t.glyph == glyph) return t.ascii;
  }
  return static_cast<unsigned char>(glyph.front()) < 0x80 ? glyph : "?";
}

bool shows_utf8() { return std::strcmp(nl_langinfo(CODESET), "UTF-8") == 0; }

/// By `ink`: plain, bold, dim, red, green, yellow, blue, magenta, cyan.
constexpr std::array<short, 9> colours{
    -1, -1, -1, COLOR_RED, COLOR_GREEN, COLOR_YELLOW, COLOR_BLUE, COLOR_MAGENTA, COLOR_CYAN};

}  // namespace

std::unique_ptr<terminal_screen> terminal_screen::open(bool colour) {
  if (::isatty(STDIN_FILENO) != 1 || ::isatty(STDOUT_FILENO) != 1) return nullptr;
  const char* const kind = std::getenv("TERM");
  if (kind == nullptr || *kind == '\0' || std::strcmp(kind, "dumb") == 0) return nullptr;
  std::setlocale(LC_CTYPE, "");
  // newterm, unlike initscr, does not end the process where the terminal is unknown.
  SCREEN* const screen = newterm(nullptr, stdout, stdin);
  if (screen == nullptr) return nullptr;
  set_term(screen);
  return std::unique_ptr<terminal_screen>(new terminal_screen(colour));
}

terminal_screen::terminal_screen(bool colour) : colour_(colour && has_colors()) {
  if (colour_) {
    start_color();
    use_default_colors();
    for (std::size_t i = 0; i < colours.size(); ++i)
      init_pair(static_cast<short>(i + 1), colours[i], -1);
  }
  cbreak();
  noecho();
  nonl();
  curs_set(0);
  keypad(stdscr, TRUE);
  set_escdelay(50);
}

terminal_screen::~terminal_screen() { endwin(); }

std::size_t terminal_screen::width() const { return static_cast<std::size_t>(COLS > 0 ? COLS : 0); }
std::size_t terminal_screen::height() const {
  return static_cast<std::size_t>(LINES > 0 ? LINES : 0);
}

void terminal_screen::put(std::size_t x, std::size_t y, const shown_cell& cell) {
  attr_t how = A_NORMAL;
  if (cell.ink == 1) how |= A_BOLD;
  if (cell.ink == 2) how |= A_DIM;
  if (cell.inverse) how |= A_REVERSE;
  if (colour_ && cell.ink > 2) how |= COLOR_PAIR(cell.ink + 1);
  attrset(how);
  const std::string text(shows_utf8() ? cell.text : plain(cell.text));
  mvaddstr(static_cast<int>(y), static_cast<int>(x), text.c_str());
}

void terminal_screen::show() { ::refresh(); }
void terminal_screen::redraw() { clearok(stdscr, TRUE); }

std::optional<int> terminal_screen::read_key(std::chrono::milliseconds wait) {
  timeout(static_cast<int>(wait.count()));
  const int key = getch();
  const auto special = [](raw_key k) { return static_cast<int>(k); };
  switch (key) {
    case ERR:
      return std::nullopt;
    case KEY_UP:
      return special(raw_key::up);
    case KEY_DOWN:
      return special(raw_key::down);
    case KEY_LEFT:
      return special(raw_key::left);
    case KEY_RIGHT:
      return special(raw_key::right);
    case KEY_PPAGE:
      return special(raw_key::page_up);
    case KEY_NPAGE:
      return special(raw_key::page_down);
    case KEY_HOME:
      return special(raw_key::home);
    case KEY_END:
      return special(raw_key::end);
    case '\t':
      return special(raw_key::tab);
    case KEY_BTAB:
      return special(raw_key::back_tab);
    case '\r':
    case '\n':
    case KEY_ENTER:
      return special(raw_key::enter);
    case 27:
      return special(raw_key::escape);
    case KEY_BACKSPACE:
    case 127:
    case 8:
      return special(raw_key::backspace);
    case KEY_RESIZE:
      return special(raw_key::resized);
    default:
      return key < 0x80 ? std::optional(key) : std::nullopt;
  }
}
