// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstddef>
#include <iterator>
#include <string>
#include <string_view>
#include <vector>

#include "observe/timeline.h"
#include "render/layout.h"
#include "report/plot.h"
#include "report/report.h"

namespace megakernel::tool {
namespace {

/// The SVG's own units, which the page stretches.
constexpr double width = 1000;
constexpr double height = 300;

bool known(double value) { return std::isfinite(value); }

void point(std::string& to, char verb, double x, double y) {
  fmt::format_to(std::back_inserter(to), "{}{:.1f} {:.1f}", verb, x * width, (1 - y) * height);
}

/// Runs of columns in which `values` are known: [first, last).
struct run {
  std::size_t first;
  std::size_t last;
};
std::vector<run> runs_of(const std::vector<double>& values) {
  std::vector<run> runs;
  for (std::size_t i = 0; i < values.size(); ++i) {
    if (!known(values[i])) continue;
    if (!runs.empty() && runs.back().last == i) {
      ++runs.back().last;
    } else {
      runs.push_back({i, i + 1});
    }
  }
  return runs;
}

/// Between two curves, from left to right and back.
template <class Upper, class Lower>
void area(std::string& to, const plot_columns& at, run part, Upper upper, Lower lower) {
  if (part.last - part.first == 1) {
    // Alone it would have no width: its own part of the plot.
    const double half = 0.5 / static_cast<double>(at.places().size());
    const double x = at.places()[part.first];
    point(to, 'M', x - half, upper(part.first));
    point(to, 'L', x + half, upper(part.first));
    point(to, 'L', x + half, lower(part.first));
    point(to, 'L', x - half, lower(part.first));
    to += 'Z';
    return;
  }
  for (std::size_t i = part.first; i < part.last; ++i)
    point(to, i == part.first ? 'M' : 'L', at.places()[i], upper(i));
  for (std::size_t i = part.last; i-- > part.first;) point(to, 'L', at.places()[i], lower(i));
  to += 'Z';
}

void curve(std::string& to, const plot_columns& at, run part, const std::vector<double>& values,
           const scale& y) {
  for (std::size_t i = part.first; i < part.last; ++i)
    point(to, i == part.first ? 'M' : 'L', at.places()[i], y(values[i]));
  if (part.last - part.first == 1) to += "h.1";  // a dot, by the round ends of its stroke
}

void open_series(const plot_series& series, std::size_t number, std::string& to) {
  fmt::format_to(std::back_inserter(to), "<g data-series=\"{}\" style=\"--ink:var(--{})\">", number,
                 series.ink);
}

void render_line(const plot_series& series, std::size_t number, const plot_columns& at,
                 const scale& y, std::string& to) {
  open_series(series, number, to);
  const std::vector<run> runs = runs_of(series.mean);
  if (at.merged() && !series.least.empty()) {
    std::string band;
    for (const run part : runs) {
      area(
          band, at, part, [&](std::size_t i) { return y(series.most[i]); },
          [&](std::size_t i) { return y(series.least[i]); });
    }
    to += "<path class=\"band\" d=\"" + band + "\"/>";
  }
  std::string line;
  for (const run part : runs) curve(line, at, part, series.mean, y);
  fmt::format_to(std::back_inserter(to), "<path class=\"line{}\" d=\"{}\"/></g>",
                 series.dashed ? " dashed" : "", line);
}

void render_stack(const plot& shown, const plot_columns& at, std::string& to) {
  std::vector<double> below(at.places().size(), 0.0);
  for (std::size_t s = 0; s < shown.series.size(); ++s) {
    const plot_series& series = shown.series[s];
    if (series.over) {
      render_line(series, s, at, shown.y, to);
      continue;
    }
    std::vector<double> above = below;
    for (std::size_t i = 0; i < above.size(); ++i) {
      if (known(series.mean[i])) above[i] += series.mean[i];
    }
    std::string path;
    for (const run part : runs_of(series.mean)) {
      area(
          path, at, part, [&](std::size_t i) { return shown.y(above[i]); },
          [&](std::size_t i) { return shown.y(below[i]); });
    }
    open_series(series, s, to);
    to += "<path class=\"area\" d=\"" + path + "\"/></g>";
    below = std::move(above);
  }
}

void render_legend(const plot& shown, std::string& to) {
  to += "<ul class=\"legend\">";
  // The topmost series is named first.
  const std::size_t count = shown.series.size();
  for (std::size_t i = 0; i < count; ++i) {
    const std::size_t s = shown.stacked ? count - 1 - i : i;
    const plot_series& series = shown.series[s];
    fmt::format_to(std::back_inserter(to),
                   "<li data-series=\"{}\" style=\"--ink:var(--{})\"><i{}></i>{}", s, series.ink,
                   shown.stacked && !series.over ? ""
                   : series.dashed               ? " class=\"stroke dashed\""
                                                 : " class=\"stroke\"",
                   html_text(series.name));
    if (!series.remark.empty()) to += " <small>" + html_text(series.remark) + "</small>";
    to += "</li>";
  }
  to += "</ul>";
}

void numbers(const std::vector<double>& values, std::string& to) {
  to += '[';
  for (std::size_t i = 0; i < values.size(); ++i) {
    if (i != 0) to += ',';
    if (known(values[i])) {
      fmt::format_to(std::back_inserter(to), "{:.4g}", values[i]);
    } else {
      to += "null";
    }
  }
  to += ']';
}

std::string_view to_string(plot_unit unit) {
  switch (unit) {
    case plot_unit::count:
      return "count";
    case plot_unit::rate:
      return "rate";
    case plot_unit::duration:
      return "duration";
    case plot_unit::index:
      return "index";
  }
  return "";
}

}  // namespace

plot_series series_of(const timeline& line, std::size_t which) {
  plot_series series;
  for (const timeline::column& column : line.columns()) {
    const column_value& value = column.values[which];
    series.mean.push_back(value.known() ? value.mean() : timeline::absent);
    series.least.push_back(value.known() ? value.least : timeline::absent);
    series.most.push_back(value.known() ? value.most : timeline::absent);
  }
  return series;
}

plot_columns::plot_columns(const timeline& line)
    : axis_(scale::time({})), merged_(line.samples_per_column() > 1) {
  const auto columns = line.columns();
  if (columns.empty()) return;
  first_ = columns.front().from;
  axis_ = scale::time(columns.back().to - first_);
  for (const timeline::column& c : columns) places_.push_back((place(c.from) + place(c.to)) / 2);
  if (places_.size() == 1) places_.front() = 0.5;
}

double plot_columns::place(std::chrono::nanoseconds at) const noexcept {
  return axis_(std::chrono::duration<double>(at - first_).count());
}

void render_time_axis(const plot_columns& at, std::string& to) {
  to += "<div class=\"xs\">";
  for (const tick& t : at.axis().ticks()) {
    const bool end = t.at > 0.97;
    fmt::format_to(std::back_inserter(to), "<span{} style=\"left:{:.2f}%\">{}</span>",
                   end       ? " class=\"end\""
                   : t.minor ? " class=\"minor\""
                             : "",
                   t.at * 100, html_text(t.label));
  }
  to += "</div>";
}

void render_plot(const plot& shown, const plot_columns& at, std::string& to) {
  fmt::format_to(std::back_inserter(to),
                 "<figure class=\"plot\" id=\"{}\"><figcaption><h2>{}</h2><p>{}</p></figcaption>",
                 shown.id, html_text(shown.title), html_text(shown.note));
  render_legend(shown, to);
  to += "<div class=\"frame\"><div class=\"ys\">";
  for (const tick& t : shown.y.ticks()) {
    fmt::format_to(std::back_inserter(to), "<span style=\"bottom:{:.2f}%\">{}</span>", t.at * 100,
                   html_text(t.label));
  }
  fmt::format_to(std::back_inserter(to),
                 "</div><div class=\"canvas\" data-plot=\"{}\"><svg viewBox=\"0 0 {} {}\" "
                 "preserveAspectRatio=\"none\" role=\"img\" aria-label=\"{}\"><g class=\"rules\">",
                 shown.id, width, height, html_text(shown.title + " over time"));
  for (const tick& t : shown.y.ticks()) {
    fmt::format_to(std::back_inserter(to), "<path d=\"M0 {:.1f}H{}\"/>", (1 - t.at) * height,
                   width);
  }
  to += "</g>";
  if (shown.stacked) {
    render_stack(shown, at, to);
  } else {
    for (std::size_t s = 0; s < shown.series.size(); ++s)
      render_line(shown.series[s], s, at, shown.y, to);
  }
  to += "</svg></div>";
  render_time_axis(at, to);
  to += "</div></figure>\n";
}

void render_plot_data(const std::vector<plot>& shown, const timeline& line, const plot_columns& at,
                      std::string& to) {
  to += "{\"columns\":[";
  bool first = true;
  const auto columns = line.columns();
  for (std::size_t i = 0; i < columns.size(); ++i) {
    const auto since = [&](std::chrono::nanoseconds time) {
      return std::chrono::duration<double>(time - columns.front().from).count();
    };
    fmt::format_to(std::back_inserter(to), "{}[{:.5f},{:.6g},{:.6g},{}]", first ? "" : ",",
                   at.places()[i], since(columns[i].from), since(columns[i].to),
                   columns[i].samples);
    first = false;
  }
  to += "],\"plots\":{";
  first = true;
  for (const plot& p : shown) {
    fmt::format_to(std::back_inserter(to),
                   "{}{}:{{\"unit\":\"{}\",\"stacked\":{},\"high\":{:.6g},\"series\":[",
                   first ? "" : ",", json_text(p.id), to_string(p.unit), p.stacked, p.y.high());
    for (std::size_t s = 0; s < p.series.size(); ++s) {
      const plot_series& series = p.series[s];
      to += s == 0 ? "{\"name\":" : ",{\"name\":";
      to += json_text(series.name) + (series.over ? ",\"over\":true" : "") + ",\"mean\":";
      numbers(series.mean, to);
      if (at.merged() && !series.least.empty()) {
        to += ",\"least\":";
        numbers(series.least, to);
        to += ",\"most\":";
        numbers(series.most, to);
      }
      to += '}';
    }
    to += "]}";
    first = false;
  }
  to += "}}";
}

}  // namespace megakernel::tool
