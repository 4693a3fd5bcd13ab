// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <array>
#include <chrono>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "render/names.h"
#include "render/run.h"
#include "report/plot.h"
#include "report/report.h"

import megakernel;

namespace megakernel::tool {
namespace {

using std::chrono::nanoseconds;

/// Replaces what is no UTF-8, by the library that has to know how anyway.
std::string valid_utf8(std::string_view text) {
  using json = nlohmann::json;
  const std::string quoted =
      json(text).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
  return json::parse(quoted).get<std::string>();
}

/// 1, 2 or 5 times a power of ten, so that `range` has at most `parts` steps.
double nice_step(double range, double parts) {
  const double rough = range / parts;
  const double power = std::pow(10.0, std::floor(std::log10(rough)));
  for (const double times : {1.0, 2.0, 5.0}) {
    if (times * power >= rough * (1 - 1e-9)) return times * power;
  }
  return 10 * power;
}

double time_step(double seconds) {
  constexpr std::array<double, 16> steps{1,   2,   5,    10,   15,   30,   60,    120,
                                         300, 600, 1200, 1800, 3600, 7200, 21600, 43200};
  constexpr double parts = 6;
  if (seconds <= parts) return nice_step(seconds, parts);
  for (const double step : steps) {
    if (seconds / step <= parts) return step;
  }
  constexpr double day = 86'400;
  return std::max(day, nice_step(seconds / day, parts) * day);
}

}  // namespace

std::string html_text(std::string_view text) {
  std::string safe;
  for (const char c : valid_utf8(printable(text))) {
    switch (c) {
      case '&':
        safe += "&amp;";
        break;
      case '<':
        safe += "&lt;";
        break;
      case '>':
        safe += "&gt;";
        break;
      case '"':
        safe += "&quot;";
        break;
      case '\'':
        safe += "&#39;";
        break;
      default:
        safe += c;
    }
  }
  return safe;
}

std::string json_text(std::string_view text) {
  std::string safe;
  for (const char c :
       nlohmann::json(text).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace)) {
    // "</script" and "<!--" would end or change the element.
    if (c == '<') {
      safe += "\\u003c";
    } else {
      safe += c;
    }
  }
  return safe;
}

std::string short_count(double value) {
  if (!std::isfinite(value)) return "-";
  constexpr std::array<std::pair<double, std::string_view>, 5> units{
      {{1e15, " P"}, {1e12, " T"}, {1e9, " G"}, {1e6, " M"}, {1e3, " k"}}};
  for (const auto& [size, unit] : units) {
    // 999,950 would be shown as "1000 k".
    if (std::abs(value) < size * 0.99995 || (size == 1e3 && std::abs(value) < 9999.5)) continue;
    return fmt::format("{:.3g}{}", std::abs(value / size) >= 999.5 ? 1000 : value / size, unit);
  }
  if (std::abs(value) >= 999.5) return fmt::format("{:.0f}", value);
  if (value > 0 && value < 0.01) return "<0.01";
  return fmt::format("{:.3g}", value);
}

std::string clock_text(nanoseconds since) {
  const auto ns = static_cast<std::uint64_t>(std::max<std::int64_t>(0, since.count()));
  constexpr std::uint64_t second = 1'000'000'000;
  if (ns == 0) return "0 s";
  if (ns < second) return human_time(ns);
  const std::uint64_t seconds = ns / second;
  if (seconds < 120) return fmt::format("{:.4g} s", static_cast<double>(ns) / 1e9);
  if (seconds < 7200) return fmt::format("{}:{:02} min", seconds / 60, seconds % 60);
  return fmt::format("{}:{:02} h", seconds / 3600, seconds % 3600 / 60);
}

std::string text_of(double value, plot_unit unit) {
  if (!std::isfinite(value)) return "-";
  switch (unit) {
    case plot_unit::count:
      return short_count(value);
    case plot_unit::rate:
      return short_count(value) + "/s";
    case plot_unit::duration:
      return value >= 1e18 ? "over 30 years"
                           : human_time(static_cast<std::uint64_t>(std::max(0.0, value)));
    case plot_unit::index:
      return fmt::format("{:.3f}", value);
  }
  return {};
}

scale scale::linear(double most, plot_unit unit) {
  constexpr double parts = 4;
  scale made;
  if (!(most > 0)) most = 1;
  const double step = unit == plot_unit::index ? 0.25 : nice_step(most, parts);
  const auto steps = static_cast<int>(std::ceil(most / step - 1e-9));
  made.high_ = step * steps;
  for (int i = 0; i <= steps; ++i) {
    const double value = step * i;
    made.ticks_.push_back({.at = static_cast<double>(i) / steps,
                           .label = i == 0                     ? "0"
                                    : unit == plot_unit::index ? fmt::format("{:.2f}", value)
                                                               : short_count(value)});
  }
  return made;
}

scale scale::whole(std::uint64_t most) {
  most = std::max<std::uint64_t>(1, most);
  const std::uint64_t parts = most % 4 == 0 ? 4 : most % 2 == 0 ? 2 : 1;
  scale made;
  made.high_ = static_cast<double>(most);
  for (std::uint64_t i = 0; i <= parts; ++i) {
    made.ticks_.push_back({.at = static_cast<double>(i) / static_cast<double>(parts),
                           .label = grouped(most / parts * i)});
  }
  return made;
}

scale scale::logarithmic(double least, double most, plot_unit unit) {
  scale made;
  made.logarithmic_ = true;
  const double first = std::floor(std::log10(std::max(least, 1.0)) + 1e-9);
  const double last = std::max(first + 1, std::ceil(std::log10(std::max(most, 1.0)) - 1e-9));
  made.low_ = first;
  made.high_ = last;
  const int decades = static_cast<int>(last - first);
  const int labelled = 1 + (decades - 1) / 8;
  for (int i = 0; i <= decades; ++i) {
    const double value = std::pow(10.0, first + i);
    std::string label;
    if (unit == plot_unit::duration) {
      constexpr std::array<std::string_view, 4> units{"ns", "µs", "ms", "s"};
      const auto power = static_cast<std::size_t>(first) + static_cast<std::size_t>(i);
      const std::size_t at = std::min<std::size_t>(power / 3, 3);
      label =
          fmt::format("{:.0f} {}", std::pow(10.0, static_cast<double>(power - at * 3)), units[at]);
    } else {
      label = short_count(value);
    }
    made.ticks_.push_back({.at = static_cast<double>(i) / decades,
                           .label = i % labelled == 0 ? label : std::string(),
                           .minor = i % 2 == 1});
  }
  return made;
}

scale scale::time(nanoseconds length) {
  scale made;
  made.high_ = std::max(1e-9, std::chrono::duration<double>(length).count());
  if (length.count() <= 0) {
    made.ticks_.push_back({.at = 0, .label = "0"});
    return made;
  }
  const double step = time_step(made.high_);
  for (int i = 0; i * step <= made.high_ * (1 + 1e-9); ++i) {
    const nanoseconds at(std::llround(i * step * 1e9));
    made.ticks_.push_back({.at = std::min(1.0, i * step / made.high_),
                           .label = i == 0 ? "0" : clock_text(at),
                           .minor = i % 2 == 1});
  }
  return made;
}

double scale::operator()(double value) const noexcept {
  if (logarithmic_) value = std::log10(std::max(value, 1e-300));
  return std::clamp((value - low_) / (high_ - low_), 0.0, 1.0);
}

}  // namespace megakernel::tool
