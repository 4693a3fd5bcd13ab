// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>

#include "observe/observer.h"
#include "render/ring_bar.h"
#include "report/report.h"
#include "view/view.h"

import megakernel;

namespace megakernel::tool {
namespace {

constexpr std::size_t longest_answer = 10;

std::optional<std::uint32_t> number(std::string_view text) {
  std::uint32_t value = 0;
  const auto [end, problem] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (problem != std::errc{} || end != text.data() + text.size()) return std::nullopt;
  return value;
}

}  // namespace

void view_state::show(view_panel panel) {
  panel_ = panel;
  scroll_ = 0;
}

std::string view_state::prompt() const {
  switch (asking_) {
    case question::none:
      return {};
    case question::tenant:
      return fmt::format("Show only tenant: {}_  (Enter alone: all)", typed_);
    case question::of_opcode:
      return fmt::format("Show only opcode: {}_  (Enter alone: all)", typed_);
  }
  return {};
}

view_request view_state::answer(key pressed) {
  switch (pressed.what) {
    case key::code::character:
      if (pressed.letter >= '0' && pressed.letter <= '9' && typed_.size() < longest_answer)
        typed_ += pressed.letter;
      break;
    case key::code::backspace:
      if (!typed_.empty()) typed_.pop_back();
      break;
    case key::code::enter: {
      const auto chosen = number(typed_);
      if (!chosen && !typed_.empty()) break;  // over 2^32: to be corrected
      if (asking_ == question::tenant) {
        tenant_ = chosen;
      } else {
        opcode_ = chosen ? std::optional(opcode{*chosen}) : std::nullopt;
      }
      scroll_ = 0;
      asking_ = question::none;
      break;
    }
    case key::code::escape:
      asking_ = question::none;
      break;
    default:
      break;
  }
  return view_request::none;
}

view_request view_state::letter(char pressed) {
  const auto ask = [this](question what) {
    asking_ = what;
    typed_.clear();
    return view_request::none;
  };
  switch (pressed) {
    case 'q':
      return view_request::quit;
    case ' ':
    case 'p':
      return view_request::pause;
    case '.':
      return view_request::step;
    case ',':
      return view_request::step_back;
    case '+':
    case '=':
      return view_request::faster;
    case '-':
      return view_request::slower;
    case 's':
      order_ = static_cast<view_order>((static_cast<unsigned>(order_) + 1) % 4);
      scroll_ = 0;
      break;
    case 't':
      return ask(question::tenant);
    case 'o':
      return ask(question::of_opcode);
    case 'c':
      tenant_.reset();
      opcode_.reset();
      scroll_ = 0;
      break;
    case '?':
    case 'h':
      help_ = true;
      break;
    default:
      if (pressed >= '1' && pressed < '1' + static_cast<char>(view_panels))
        show(static_cast<view_panel>(pressed - '1'));
  }
  return view_request::none;
}

view_request view_state::press(key pressed) {
  if (asking_ != question::none) return answer(pressed);
  if (help_) {
    help_ = false;
    return pressed.letter == 'q' ? view_request::quit : view_request::none;
  }
  constexpr std::size_t page = 10;
  const auto turn = [this](std::size_t by) {
    show(static_cast<view_panel>((static_cast<std::size_t>(panel_) + by) % view_panels));
    return view_request::none;
  };
  switch (pressed.what) {
    case key::code::character:
      return letter(pressed.letter);
    case key::code::up:
      scroll_ -= std::min<std::size_t>(scroll_, 1);
      return view_request::none;
    case key::code::down:
      ++scroll_;
      return view_request::none;
    case key::code::page_up:
      scroll_ -= std::min(scroll_, page);
      return view_request::none;
    case key::code::page_down:
      scroll_ += page;
      return view_request::none;
    case key::code::left:
      return view_request::seek_back;
    case key::code::right:
      return view_request::seek_forward;
    case key::code::home:
      return view_request::seek_start;
    case key::code::end:
      return view_request::seek_end;
    case key::code::tab:
      return turn(1);
    case key::code::back_tab:
      return turn(view_panels - 1);
    case key::code::enter:
    case key::code::escape:
    case key::code::backspace:
      return view_request::none;
  }
  return view_request::none;
}

void view_history::add(const observation& seen) {
  constexpr std::size_t most = 1024;
  if (points_.size() == 2 * most)
    points_.erase(points_.begin(), points_.begin() + static_cast<std::ptrdiff_t>(most));
  points_.push_back({.rate = seen.done_per_second,
                     .outstanding = static_cast<double>(seen.health.outstanding_slots),
                     .p99 = seen.latency ? static_cast<double>(seen.latency->p99) : 0,
                     .statuses = counts_of(seen.occupancy)});
}

}  // namespace megakernel::tool
