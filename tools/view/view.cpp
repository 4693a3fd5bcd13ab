// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "load/workload.h"
#include "observe/observer.h"
#include "observe/verdict.h"
#include "render/diagnosis.h"
#include "render/layout.h"
#include "render/names.h"
#include "render/ring_bar.h"
#include "render/run.h"
#include "report/report.h"
#include "view/canvas.h"
#include "view/view.h"

import megakernel;

namespace megakernel::tool {
namespace {

std::uint64_t rounded(double value) {
  return static_cast<std::uint64_t>(std::llround(std::max(0.0, value)));
}

std::string age(std::chrono::nanoseconds d) {
  return human_time(static_cast<std::uint64_t>(std::max<std::int64_t>(0, d.count())));
}

/// "1:02:03.4", hours where there are any.
std::string clock_text(std::chrono::nanoseconds at) {
  const auto tenths = std::max<std::int64_t>(0, at.count()) / 100'000'000;
  const auto seconds = tenths / 10;
  if (seconds < 3600) return fmt::format("{}:{:02}.{}", seconds / 60, seconds % 60, tenths % 10);
  return fmt::format("{}:{:02}:{:02}.{}", seconds / 3600, seconds / 60 % 60, seconds % 60,
                     tenths % 10);
}

/// Labels and values on a line, as many as there is room for.
class fact_line {
 public:
  fact_line(canvas& on, std::size_t y) : on_(on), y_(y) {}
  void add(std::string_view label, std::string_view value, ink colour = ink::plain) {
    const std::size_t needed = columns_of(label) + 1 + columns_of(value);
    if (x_ + needed > on_.width()) return;
    x_ = on_.put(x_, y_, label, ink::dim) + 1;
    x_ = on_.put(x_, y_, value, colour) + 3;
  }

 private:
  canvas& on_;
  std::size_t y_;
  std::size_t x_ = 1;
};

class view_drawing {
 public:
  view_drawing(const view_content& content, view_state& state, std::size_t width,
               std::size_t height)
      : content_(content), state_(state), on_(width, height), left_(height) {}

  canvas draw() {
    if (on_.height() == 0 || on_.width() == 0) return std::move(on_);
    title();
    if (content_.now == nullptr) {
      on_.put(1, y_, "Waiting for the first look.", ink::dim);
    } else {
      // The last line is for keys, where there is room for one.
      if (left_ > 4) --left_;
      headline_rows();
      ring();
      figures();
      charts();
      panels();
      if (on_.height() > 5) keys();
    }
    if (state_.help()) help();
    return std::move(on_);
  }

 private:
  void take(std::size_t rows) {
    y_ += rows;
    left_ -= std::min(left_, rows);
  }
  void title();
  void headline_rows();
  void ring();
  void figures();
  void charts();
  void panels();
  void keys();
  void help();
  void stacked(std::size_t rows);

  const view_content& content_;
  view_state& state_;
  canvas on_;
  std::size_t y_ = 0;
  std::size_t left_;
};

void view_drawing::title() {
  const view_playback& play = content_.playback;
  std::string right = clock_text(play.position);
  if (play.length) right += " of " + clock_text(*play.length);
  if (!play.live && play.speed != 1) right += fmt::format("  {:g}x", play.speed);
  if (!play.remark.empty()) right = play.remark + "  " + right;
  right += play.paused ? "  paused " : play.live ? "  live " : "  replay ";
  const std::size_t room =
      on_.width() > columns_of(right) + 2 ? on_.width() - columns_of(right) - 2 : on_.width();
  on_.put(1, 0, content_.title, ink::bold, room);
  if (room != on_.width()) on_.put_right(on_.width(), 0, right);
  on_.invert_row(0);
  take(1);
}

/// The headline for a person, then, where something is wrong, what is concerned and what to
/// try, in at most a third of the screen.
void view_drawing::headline_rows() {
  const observation& now = *content_.now;
  const std::size_t width = on_.width() > 2 ? on_.width() - 2 : on_.width();
  std::size_t room = std::min(left_, std::max<std::size_t>(on_.height() / 3, 1));
  const auto put = [&](std::string_view text, ink colour) {
    const std::size_t used = put_paragraph(on_, text, {1, y_, width, room}, colour);
    take(used);
    room -= used;
  };
  put(headline(now), colour_of(now.state));
  const diagnosis& found = now.diagnosis;
  for (const finding& f : found.findings) {
    if (!is_noteworthy(f)) continue;
    if (&f != found.findings.begin()) {
      put(fmt::format("{}{}: {}", f.kernel_wide ? "" : "in part ", megakernel::title(f.what),
                      megakernel::sentence(f, found.at).text()),
          is_alarm(f.what) ? ink::red : ink::yellow);
    }
    put(megakernel::concerned(f, found.at).text(), ink::plain);
    put(advice(f.what_to_try), ink::bold);
  }
}

void view_drawing::ring() {
  if (left_ == 0 || on_.width() < 10) return;
  const observation& now = *content_.now;
  const auto counts = counts_of(now.occupancy);
  const auto shares = apportion(counts, on_.width() - 2);
  std::size_t x = 1;
  for (std::size_t i = 0; i < status_styles.size(); ++i) {
    for (std::size_t n = 0; n < shares[i]; ++n)
      x = on_.put(x, y_, status_styles[i].glyph, status_styles[i].colour);
  }
  take(1);
  if (on_.height() < 12) return;
  std::size_t at = 1;
  for (std::size_t i = 0; i < status_styles.size(); ++i) {
    if (counts[i] == 0) continue;
    const std::string entry =
        fmt::format(" {} {}", to_string(status_styles[i].status), grouped(counts[i]));
    if (at + columns_of(entry) + 1 > on_.width()) break;
    at = on_.put(at, y_, status_styles[i].glyph, status_styles[i].colour);
    at = on_.put(at, y_, entry) + 3;
  }
  take(1);
}

void view_drawing::figures() {
  if (left_ == 0) return;
  const observation& now = *content_.now;
  fact_line first(on_, y_);
  first.add("rate", grouped(rounded(now.done_per_second)) + "/s", ink::bold);
  first.add("owed", grouped(now.health.outstanding_slots));
  if (!now.stuck.empty()) first.add("oldest", age(now.at - now.stuck.front().since));
  if (now.health.fault_slots != 0) first.add("fault", grouped(now.health.fault_slots), ink::red);
  first.add("done", grouped(now.health.done));
  if (now.report) first.add("workers", grouped(now.report->workers_alive));
  if (now.health.heartbeat_delta) {
    const double passes =
        now.interval.count() > 0
            ? *now.health.heartbeat_delta / std::chrono::duration<double>(now.interval).count()
            : 0;
    first.add("passes", grouped(rounded(passes)) + "/s");
  }
  first.add("epoch", grouped(now.epoch));
  if (now.torn_pages != 0) first.add("torn pages", grouped(now.torn_pages), ink::magenta);
  take(1);
  if (left_ < 4) return;
  fact_line second(on_, y_);
  if (now.latency && now.latency->count != 0) {
    second.add("latency p50", human_time(now.latency->p50));
    second.add("p90", human_time(now.latency->p90));
    second.add("p99", human_time(now.latency->p99));
    second.add("p99.9", human_time(now.latency->p999));
  } else {
    second.add("latency", now.latency ? "nothing finished" : "not known to these buffers",
               ink::dim);
  }
  second.add("Jain of claims", fmt::format("{:.3f}", now.jain_of_claims));
  if (now.jain_of_wait) second.add("of waits", fmt::format("{:.3f}", *now.jain_of_wait));
  if (now.latency && now.latency->count != 0) second.add("max", human_time(now.latency->max));
  take(1);
}

/// Statuses over time, a column a sample: the ring bar, stood upright.
void view_drawing::stacked(std::size_t rows) {
  const auto points = content_.history->points();
  const std::size_t width = on_.width() - 2;
  const auto shown = points.size() > width ? points.last(width) : points;
  for (std::size_t i = 0; i < shown.size(); ++i) {
    const auto shares = apportion(shown[i].statuses, rows);
    std::size_t row = rows;
    for (std::size_t s = 0; s < shares.size(); ++s) {
      for (std::size_t n = 0; n < shares[s]; ++n) {
        --row;
        on_.put(1 + width - shown.size() + i, y_ + row, status_styles[s].glyph,
                status_styles[s].colour);
      }
    }
  }
  take(rows);
}

void view_drawing::charts() {
  // Panels come first where there is little room.
  if (content_.history == nullptr || left_ < 13 || on_.width() < 40) return;
  const auto points = content_.history->points();
  if (left_ >= 26) {
    on_.put(1, y_, "occupancy over time", ink::dim);
    take(1);
    stacked(std::clamp<std::size_t>(left_ / 7, 3, 10));
  }
  constexpr std::size_t label = 7;
  constexpr std::size_t value = 13;
  const std::size_t width = on_.width() - label - value - 2;
  const auto chart = [&](std::string_view name, auto get, auto text, ink colour) {
    std::vector<double> values;
    for (const view_history::point& p : points.last(std::min(points.size(), width)))
      values.push_back(get(p));
    const double most = values.empty() ? 0 : *std::ranges::max_element(values);
    on_.put(1, y_, name, ink::dim);
    put_sparkline(on_, 1 + label, y_, width, values, colour);
    on_.put_right(on_.width() - 1, y_, "≤ " + text(most), ink::dim);
    take(1);
  };
  const auto count = [](double v) { return grouped(rounded(v)); };
  chart("rate/s", [](const auto& p) { return p.rate; }, count, ink::green);
  chart("owed", [](const auto& p) { return p.outstanding; }, count, ink::yellow);
  if (content_.now->latency)
    chart(
        "p99", [](const auto& p) { return p.p99; }, [](double v) { return human_time(rounded(v)); },
        ink::cyan);
}

void view_drawing::panels() {
  if (left_ < 2) return;
  const auto& now = *content_.now;
  // Wide and tall: two columns of three. Else the chosen one, under a line of their names.
  if (on_.width() >= 150 && left_ >= 24) {
    const std::size_t each = left_ / 3;
    const std::size_t half = on_.width() / 2;
    for (std::size_t i = 0; i < view_panels; ++i) {
      const std::size_t x = 1 + i % 2 * half;
      const std::size_t y = y_ + i / 2 * each;
      const auto panel = static_cast<view_panel>(i);
      const bool chosen = panel == state_.panel();
      on_.put(x, y, fmt::format("{} {}", i + 1, panel_title(now, panel, state_)),
              chosen ? ink::bold : ink::dim, half - 2, chosen);
      put_panel(on_, now, panel, state_, {x, y + 1, half - 3, each - 2}, chosen);
    }
    return;
  }
  std::size_t x = 1;
  for (std::size_t i = 0; i < view_panels; ++i) {
    const auto panel = static_cast<view_panel>(i);
    const bool chosen = panel == state_.panel();
    const std::string name = on_.width() >= 70 || chosen
                                 ? fmt::format("{} {}", i + 1, panel_title(now, panel, state_))
                                 : fmt::format("{}", i + 1);
    if (x + columns_of(name) > on_.width()) break;
    x = on_.put(x, y_, name, chosen ? ink::bold : ink::dim, SIZE_MAX, chosen) + 2;
  }
  take(1);
  take(put_panel(on_, now, state_.panel(), state_, {1, y_, on_.width() - 2, left_}, true));
  // The remaining room goes to those that follow it and have something to show.
  for (std::size_t i = 1; i < view_panels && left_ >= 5; ++i) {
    const auto panel =
        static_cast<view_panel>((static_cast<std::size_t>(state_.panel()) + i) % view_panels);
    if (is_empty(now, panel)) continue;
    on_.put(1, y_ + 1, panel_title(now, panel, state_), ink::dim);
    take(2);
    take(put_panel(on_, now, panel, state_, {1, y_, on_.width() - 2, left_}, false));
  }
}

void view_drawing::keys() {
  const std::size_t y = on_.height() - 1;
  on_.clear(0, y, on_.width(), 1);
  if (const std::string prompt = state_.prompt(); !prompt.empty()) {
    on_.put(1, y, prompt, ink::bold);
    return;
  }
  const bool replay = !content_.playback.live;
  const std::array<std::pair<std::string_view, std::string_view>, 8> all{{
      {"q", "quit"},
      {"?", "help"},
      {"space", content_.playback.paused ? "go on" : "pause"},
      {"Tab", "panel"},
      {"s", "sort"},
      {"t o", "filter"},
      {replay ? "← →" : "", "seek"},
      {replay || content_.playback.paused ? "." : "", "step"},
  }};
  std::size_t x = 1;
  for (const auto& [name, what] : all) {
    if (name.empty()) continue;
    if (x + columns_of(name) + columns_of(what) + 1 > on_.width()) break;
    x = on_.put(x, y, name, ink::bold) + 1;
    x = on_.put(x, y, what, ink::dim) + 3;
  }
}

void view_drawing::help() {
  constexpr std::array<std::string_view, 16> lines{
      "space p      pause, or go on",
      ".  ,         a frame on, a frame back",
      "← →          ten seconds back, on (replay)",
      "Home End     to the start, to the end (replay)",
      "+  -         faster, slower (replay)",
      "Tab  1 to 6  another panel",
      "↑ ↓ PgUp PgDn  scroll",
      "s            sort: owed, rate, age, number",
      "t            show one tenant only",
      "o            show one opcode only",
      "c            show all again",
      "q            quit",
      "",
      "█ done  ▓ claimed  ▒ published  ! fault",
      "w wait_io  y yield  r requeue  · empty",
      "? unknown, or changed while it was copied",
  };
  const std::size_t width = std::min<std::size_t>(on_.width(), 52);
  const std::size_t height = std::min(on_.height(), lines.size() + 2);
  const std::size_t x = (on_.width() - width) / 2;
  const std::size_t y = (on_.height() - height) / 2;
  on_.clear(x, y, width, height);
  for (std::size_t i = 0; i < height; ++i) {
    const bool edge = i == 0 || i + 1 == height;
    const std::string_view text = i == 0 ? " Keys" : edge ? " Any key closes this" : lines[i - 1];
    on_.put(x, y + i, std::string(width, ' '), ink::plain, width, edge);
    on_.put(x + 2, y + i, text, ink::plain, width > 2 ? width - 2 : width, edge);
  }
}

}  // namespace

std::string headline(const observation& seen) {
  const diagnosis& found = seen.diagnosis;
  if (!found.findings.empty() && is_noteworthy(found.primary())) {
    return fmt::format("{}: {}", title(found.primary().what),
                       megakernel::sentence(found.primary(), found.at).text());
  }
  const health_report& h = seen.health;
  if (h.outstanding_slots == 0 && seen.done_per_second == 0)
    return fmt::format("{}: nothing is owed", to_string(seen.state));
  return fmt::format("{}: {} slots/s, {} {} owed", to_string(seen.state),
                     grouped(rounded(seen.done_per_second)), counted(h.outstanding_slots, "slot"),
                     h.outstanding_slots == 1 ? "is" : "are");
}

canvas draw(const view_content& content, view_state& state, std::size_t width, std::size_t height) {
  return view_drawing(content, state, width, height).draw();
}

}  // namespace megakernel::tool
