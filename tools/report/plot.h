// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "observe/timeline.h"

/// Plots of a web page, from plain values: curves as SVG that stretches with the page, labels as
/// text that does not. Nothing in them needs a script.
namespace megakernel::tool {

/// Text of anybody's for a page: nothing in it is markup, control characters are made visible and
/// what is no UTF-8 becomes U+FFFD.
[[nodiscard]] std::string html_text(std::string_view text);
/// The same as a JSON string that may stand in a script element.
[[nodiscard]] std::string json_text(std::string_view text);

/// 4289590 -> "4.29 M"; at most four digits. Not finite: "-".
[[nodiscard]] std::string short_count(double value);
/// Seconds since the beginning: "250 ms", "12.5 s", "3:05 min", "2:10 h".
[[nodiscard]] std::string clock_text(std::chrono::nanoseconds since);

enum class plot_unit : std::uint8_t { count, rate, duration, index };
/// `"4.29 M/s"`, `"16.9 µs"` and so on.
[[nodiscard]] std::string text_of(double value, plot_unit unit);

struct tick {
  double at = 0;  ///< 0 to 1 along the axis
  std::string label;
  bool minor = false;  ///< left out where there is little room
};

/// Values -> places along an axis.
class scale {
 public:
  /// From 0 to at least `most`.
  [[nodiscard]] static scale linear(double most, plot_unit unit);
  /// From 0 to exactly `most`, in quarters where it has such.
  [[nodiscard]] static scale whole(std::uint64_t most);
  /// Whole decades around `least` and `most`, which are positive.
  [[nodiscard]] static scale logarithmic(double least, double most, plot_unit unit);
  /// From 0 to exactly `length`.
  [[nodiscard]] static scale time(std::chrono::nanoseconds length);

  /// 0 to 1; what lies outside is moved to the end.
  [[nodiscard]] double operator()(double value) const noexcept;
  [[nodiscard]] const std::vector<tick>& ticks() const noexcept { return ticks_; }
  [[nodiscard]] double high() const noexcept { return high_; }

 private:
  double low_ = 0;
  double high_ = 1;
  bool logarithmic_ = false;
  std::vector<tick> ticks_;
};

struct plot_series {
  std::string name;
  std::string ink;             ///< a colour's name in the page's style
  std::vector<double> mean{};  ///< a column each; `timeline::absent` is a gap
  std::vector<double> least{};
  std::vector<double> most{};
  std::string remark{};  ///< beside its name
  bool dashed = false;
  bool over = false;  ///< of a stacked plot: a line over the stack, no part of it
};

struct plot {
  std::string id;
  std::string title;
  std::string note;
  plot_unit unit = plot_unit::count;
  scale y;
  bool stacked = false;
  std::vector<plot_series> series{};
};

/// One series of a timeline, without what a plot says of it.
[[nodiscard]] plot_series series_of(const timeline& line, std::size_t which);

/// The places of a timeline's columns: their middles.
class plot_columns {
 public:
  explicit plot_columns(const timeline& line);
  [[nodiscard]] const std::vector<double>& places() const noexcept { return places_; }
  [[nodiscard]] const scale& axis() const noexcept { return axis_; }
  /// Whether a column is more than one sample: then a band shows the least and the most.
  [[nodiscard]] bool merged() const noexcept { return merged_; }
  /// 0 to 1.
  [[nodiscard]] double place(std::chrono::nanoseconds at) const noexcept;

 private:
  std::chrono::nanoseconds first_{};
  scale axis_;
  std::vector<double> places_;
  bool merged_;
};

/// A `figure`.
void render_plot(const plot& shown, const plot_columns& at, std::string& to);
/// The axis of times alone.
void render_time_axis(const plot_columns& at, std::string& to);
/// The data of the plots for the page's script, as JSON.
void render_plot_data(const std::vector<plot>& shown, const timeline& line, const plot_columns& at,
                      std::string& to);

}  // namespace megakernel::tool
