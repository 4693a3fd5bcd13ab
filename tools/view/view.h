// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include "standard.h"

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "observe/observer.h"
#include "render/layout.h"
#include "render/ring_bar.h"
#include "view/canvas.h"

import megakernel;

/// The full-screen view: what was observed and what its user has chosen -> a canvas. Terminals,
/// clocks and files are elsewhere.
namespace megakernel::tool {

struct key {
  enum class code : std::uint8_t {
    character,  ///< `letter`
    up,
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
  };
  code what = code::character;
  char letter = 0;
};

/// The request of a key to the source of frames.
enum class view_request : std::uint8_t {
  none,
  quit,
  pause,         ///< or to go on
  step,          ///< a frame on, and stay there
  step_back,     ///< a frame back, where the source can
  seek_forward,  ///< ten seconds
  seek_back,
  seek_start,
  seek_end,
  faster,
  slower,
};

enum class view_panel : std::uint8_t { tenants, opcodes, stuck, windows, faults, launch };
inline constexpr std::size_t view_panels = 6;

enum class view_order : std::uint8_t { outstanding, rate, age, number };

/// The user's choices.
class view_state {
 public:
  [[nodiscard]] view_request press(key pressed);

  [[nodiscard]] view_panel panel() const noexcept { return panel_; }
  [[nodiscard]] view_order order() const noexcept { return order_; }
  [[nodiscard]] std::size_t scroll() const noexcept { return scroll_; }
  void limit_scroll(std::size_t most) noexcept { scroll_ = scroll_ < most ? scroll_ : most; }
  [[nodiscard]] bool help() const noexcept { return help_; }
  [[nodiscard]] std::optional<std::uint32_t> tenant() const noexcept { return tenant_; }
  [[nodiscard]] std::optional<opcode> of_opcode() const noexcept { return opcode_; }
  /// The text being typed, with its question; empty when there is none.
  [[nodiscard]] std::string prompt() const;

 private:
  enum class question : std::uint8_t { none, tenant, of_opcode };
  view_request answer(key pressed);
  view_request letter(char pressed);
  void show(view_panel panel);

  view_panel panel_ = view_panel::tenants;
  view_order order_ = view_order::outstanding;
  std::size_t scroll_ = 0;
  bool help_ = false;
  question asking_ = question::none;
  std::string typed_;
  std::optional<std::uint32_t> tenant_;
  std::optional<opcode> opcode_;
};

/// The course of a few figures, one point an observation, at least the latest 1,024.
class view_history {
 public:
  struct point {
    double rate = 0;
    double outstanding = 0;
    double p99 = 0;  ///< nanoseconds; 0 where unknown
    status_counts statuses{};
  };
  void add(const observation& seen);
  void clear() noexcept { points_.clear(); }
  [[nodiscard]] std::span<const point> points() const noexcept { return points_; }

 private:
  std::vector<point> points_;
};

/// How the frames come.
struct view_playback {
  bool live = true;
  bool paused = false;
  double speed = 1;                                  ///< of a replay
  std::chrono::nanoseconds position{};               ///< since the source began
  std::optional<std::chrono::nanoseconds> length{};  ///< of a replay
  std::string remark{};  ///< "draining", "the file ends here", "12 frames were dropped"
};

struct view_content {
  std::string title;                 ///< what is looked at
  const observation* now = nullptr;  ///< none yet: the view says that it waits
  const view_history* history = nullptr;
  view_playback playback{};
};

/// At any size; what has no room is left out, least important first. Scrolling beyond the last row
/// is taken back.
[[nodiscard]] canvas draw(const view_content& content, view_state& state, std::size_t width,
                          std::size_t height);

/// Where a panel's lines go.
struct panel_place {
  std::size_t x, y, width, height;
};
/// Text broken at spaces; returns how many lines it took.
std::size_t put_paragraph(canvas& on, std::string_view text, panel_place at, ink colour);
/// `"Tenants 4 by owed"`.
[[nodiscard]] std::string panel_title(const observation& now, view_panel panel,
                                      const view_state& state);
[[nodiscard]] bool is_empty(const observation& now, view_panel panel);
/// Returns how many lines it took. Only the chosen panel scrolls.
std::size_t put_panel(canvas& on, const observation& now, view_panel panel, view_state& state,
                      panel_place at, bool scrolls);

/// The headline for a person: `"progressing: 41,205 slots/s, 64 slots are owed"`, or what is
/// wrong with the ring as a whole.
[[nodiscard]] std::string headline(const observation& seen);

}  // namespace megakernel::tool
