// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "view/full_screen.h"

namespace {

using namespace megakernel::tool;

std::optional<key> key_of(int raw) {
  if (raw < 0x80) return key{.what = key::code::character, .letter = static_cast<char>(raw)};
  switch (static_cast<raw_key>(raw)) {
    case raw_key::up:
      return key{.what = key::code::up};
    case raw_key::down:
      return key{.what = key::code::down};
    case raw_key::left:
      return key{.what = key::code::left};
    case raw_key::right:
      return key{.what = key::code::right};
    case raw_key::page_up:
      return key{.what = key::code::page_up};
    case raw_key::page_down:
      return key{.what = key::code::page_down};
    case raw_key::home:
      return key{.what = key::code::home};
    case raw_key::end:
      return key{.what = key::code::end};
    case raw_key::tab:
      return key{.what = key::code::tab};
    case raw_key::back_tab:
      return key{.what = key::code::back_tab};
    case raw_key::enter:
      return key{.what = key::code::enter};
    case raw_key::escape:
      return key{.what = key::code::escape};
    case raw_key::backspace:
      return key{.what = key::code::backspace};
    case raw_key::resized:
      return std::nullopt;
  }
  return std::nullopt;
}

}  // namespace

std::unique_ptr<full_screen> full_screen::open(const std::string& title, bool colour) {
  auto screen = terminal_screen::open(colour);
  if (screen == nullptr) return nullptr;
  return std::unique_ptr<full_screen>(new full_screen(std::move(screen), title));
}

void full_screen::show(observation&& seen) {
  history_.add(seen);
  playback_.position = seen.at;
  now_ = std::move(seen);
  stale_ = true;
}

void full_screen::forget() { history_.clear(); }

void full_screen::draw() {
  const view_content content{
      .title = title_, .now = now_ ? &*now_ : nullptr, .history = &history_, .playback = playback_};
  const canvas drawn = megakernel::tool::draw(content, state_, on_->width(), on_->height());
  for (std::size_t y = 0; y < drawn.height(); ++y) {
    for (std::size_t x = 0; x < drawn.width(); ++x) {
      const glyph& g = drawn.at(x, y);
      on_->put(
          x, y,
          {.text = g.text(), .ink = static_cast<std::uint8_t>(g.colour()), .inverse = g.inverse()});
    }
  }
  on_->show();
  stale_ = false;
}

view_request full_screen::wait(std::chrono::nanoseconds longest) {
  const auto until = clock::now() + longest;
  for (;;) {
    if (stale_) draw();
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(until - clock::now());
    // Rounded down: a last turn of no time at all reads what was typed meanwhile.
    const auto raw = on_->read_key(std::max(left, std::chrono::milliseconds(0)));
    if (!raw) return view_request::none;
    stale_ = true;
    const auto pressed = key_of(*raw);
    if (!pressed) continue;
    const view_request asked = state_.press(*pressed);
    if (asked == view_request::pause) playback_.paused = !playback_.paused;
    if (asked == view_request::step || asked == view_request::step_back) playback_.paused = true;
    if (asked != view_request::none) {
      draw();
      return asked;
    }
  }
}
