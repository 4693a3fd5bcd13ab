// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The full-screen view at any size, of any bytes, after any keys: it never leaves its canvas, lets
// nothing but printable text through, and says what it must.
#include <rapidcheck.h>

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <expected>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "observe/frame.h"
#include "observe/observer.h"
#include "render/layout.h"
#include "rings.h"
#include "view/canvas.h"
#include "view/view.h"

import megakernel;

namespace {

namespace mk = megakernel;
namespace tool = megakernel::tool;

std::span<const std::byte> as_bytes(const props::bytes& b) {
  return std::as_bytes(std::span(b.data(), b.size()));
}

struct scene {
  tool::view_history history;
  std::optional<tool::observation> last;
};

/// A few frames of random rings of one size, observed.
scene any_scene() {
  scene made;
  const auto slots = *props::between<std::uint32_t>(0, 300);
  const auto frames = *props::between<std::uint32_t>(1, 5);
  auto watching = tool::observer::make(std::array{mk::opcode{3}}, std::chrono::milliseconds(1));
  RC_ASSERT(watching.has_value());
  tool::publisher_totals totals;
  for (std::uint32_t i = 0; i < frames; ++i) {
    const auto shape = *props::any_shape(rc::gen::just(slots));
    const props::built_ring ring = props::build(shape);
    tool::frame f;
    f.at = std::chrono::milliseconds(i * 100);
    f.control = as_bytes(ring.control);
    f.ring = as_bytes(ring.ring);
    totals.latency.add(i * 40 % tool::log_buckets::count, i);
    if (*rc::gen::arbitrary<bool>()) f.publishers = &totals;
    // A done count that has gone back is refused: the view goes on with what it has.
    auto seen = watching->observe(f);
    if (!seen) continue;
    made.history.add(*seen);
    made.last = std::move(*seen);
  }
  return made;
}

tool::key any_key() {
  constexpr std::string_view letters = "q .,+-stoc?h123456789x";
  tool::key pressed;
  pressed.what = *rc::gen::weightedOneOf<tool::key::code>(
      {{3, rc::gen::just(tool::key::code::character)},
       {2, rc::gen::map(rc::gen::inRange(0, 14),
                        [](int i) { return static_cast<tool::key::code>(i); })}});
  pressed.letter = letters[*rc::gen::inRange<std::size_t>(0, letters.size())];
  return pressed;
}

tool::view_content content_of(const scene& s, std::string title) {
  tool::view_content content;
  content.title = std::move(title);
  content.now = s.last ? &*s.last : nullptr;
  content.history = &s.history;
  return content;
}

bool printable_utf8(std::string_view text) {
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if ((byte < 0x20 && c != '\n') || byte == 0x7F) return false;
  }
  return true;
}

void any_size_any_bytes_any_keys() {
  const scene s = any_scene();
  tool::view_content content = content_of(s, *rc::gen::arbitrary<std::string>());
  content.playback.live = *rc::gen::arbitrary<bool>();
  if (*rc::gen::arbitrary<bool>()) content.playback.length = std::chrono::hours(30);
  tool::view_state state;
  const int keys = *rc::gen::inRange(0, 12);
  for (int i = 0; i < keys; ++i) {
    (void)state.press(any_key());
    const auto width = *props::between<std::size_t>(0, 210);
    const auto height = *props::between<std::size_t>(0, 70);
    const tool::canvas drawn = tool::draw(content, state, width, height);
    RC_ASSERT(drawn.width() == width);
    RC_ASSERT(drawn.height() == height);
    for (std::size_t y = 0; y < height; ++y) {
      for (std::size_t x = 0; x < width; ++x)
        RC_ASSERT(tool::columns_of(drawn.at(x, y).text()) == 1u);
    }
    RC_ASSERT(printable_utf8(drawn.text()));
  }
}

void the_verdict_is_there() {
  const scene s = any_scene();
  RC_PRE(s.last.has_value());
  tool::view_state state;
  const auto width = *props::between<std::size_t>(20, 210);
  const auto height = *props::between<std::size_t>(2, 70);
  const std::string text = tool::draw(content_of(s, "kernel"), state, width, height).text();
  const std::string said = tool::headline(*s.last);
  RC_ASSERT(text.find(said.substr(0, said.find_first_of(": "))) != std::string::npos);
}

void a_filter_leaves_one_tenant() {
  const scene s = any_scene();
  RC_PRE(s.last.has_value() && !s.last->tenants.empty());
  const auto& all = s.last->tenants;
  const std::uint32_t chosen = all[*rc::gen::inRange<std::size_t>(0, all.size())].tenant;
  tool::view_state state;
  (void)state.press({.what = tool::key::code::character, .letter = 't'});
  for (const char digit : std::to_string(chosen))
    (void)state.press({.what = tool::key::code::character, .letter = digit});
  RC_ASSERT(!state.prompt().empty());
  (void)state.press({.what = tool::key::code::enter});
  RC_ASSERT(state.tenant() == chosen);
  tool::canvas on(120, 10);
  const std::size_t lines =
      tool::put_panel(on, *s.last, tool::view_panel::tenants, state, {0, 0, 120, 10}, true);
  RC_ASSERT(lines == 2u);  // titles and the tenant
  RC_ASSERT(on.text().find(std::to_string(chosen)) != std::string::npos);
}

void scrolling_ends_at_the_last_row() {
  const scene s = any_scene();
  RC_PRE(s.last.has_value() && s.last->opcodes.size() > 3);
  tool::view_state state;
  (void)state.press({.what = tool::key::code::character, .letter = '2'});
  for (int i = 0; i < 2000; ++i) (void)state.press({.what = tool::key::code::page_down});
  tool::canvas on(120, 4);
  (void)tool::put_panel(on, *s.last, tool::view_panel::opcodes, state, {0, 0, 120, 4}, true);
  RC_ASSERT(state.scroll() == s.last->opcodes.size() - 3);
}

}  // namespace

int main() {
  bool held = rc::check("any size, any bytes, any keys", any_size_any_bytes_any_keys);
  held &= rc::check("the verdict is on every screen of two lines or more", the_verdict_is_there);
  held &= rc::check("a filter leaves one tenant", a_filter_leaves_one_tenant);
  held &= rc::check("scrolling ends at the last row", scrolling_ends_at_the_last_row);
  return held ? 0 : 1;
}
