// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <fmt/chrono.h>
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <ctime>
#include <iterator>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "observe/capture.h"
#include "observe/histogram.h"
#include "observe/inspect.h"
#include "render/layout.h"
#include "render/names.h"
#include "render/run.h"
#include "report/page.h"
#include "report/plot.h"
#include "report/report.h"

import megakernel;

namespace megakernel::tool {

std::string wall_text(std::chrono::system_clock::time_point at) {
  const auto since = std::chrono::floor<std::chrono::seconds>(at.time_since_epoch()).count();
  const auto seconds = static_cast<std::time_t>(since);
  std::tm parts{};
  if (::gmtime_r(&seconds, &parts) == nullptr) return "-";
  return fmt::format("{:%Y-%m-%d %H:%M:%S} UTC", parts);
}

}  // namespace megakernel::tool

namespace megakernel::tool::detail {
namespace {

std::string facts(const std::vector<std::pair<std::string, std::string>>& rows) {
  std::string text = "<dl class=\"why\">";
  for (const auto& [label, value] : rows)
    text += "<dt>" + html_text(label) + "</dt><dd>" + html_text(value) + "</dd>";
  return text + "</dl>";
}

/// Neighbouring buckets of a histogram, together: eight of them to a power of two.
struct bin {
  double low = 0;
  double high = 0;
  std::uint64_t times = 0;
};
std::vector<bin> bins_of(const latency_histogram& counted_in) {
  constexpr std::size_t together = 4;
  std::vector<bin> bins;
  const auto buckets = counted_in.buckets();
  double edge = 0;
  bin open;
  for (std::size_t i = 0; i < buckets.size(); ++i) {
    if (i % together == 0) open = {.low = edge};
    open.times += buckets[i];
    edge = static_cast<double>(log_buckets::upper_edge(i)) + 1;
    open.high = edge;
    if (i % together == together - 1 && open.times != 0) bins.push_back(open);
  }
  return bins;
}

}  // namespace

std::string distribution_section(const report& found) {
  if (!found.publishers || found.publishers->latency.count() == 0) return {};
  constexpr double width = 1000;
  constexpr double height = 300;
  const latency_histogram& latency = found.publishers->latency;
  const quantiles q = latency.summary();
  const std::vector<bin> bins = bins_of(latency);
  std::uint64_t most = 0;
  for (const bin& b : bins) most = std::max(most, b.times);
  const scale x =
      scale::logarithmic(std::max(1.0, bins.front().low), bins.back().high, plot_unit::duration);
  const scale y = scale::logarithmic(1, static_cast<double>(most) * 1.05, plot_unit::count);

  std::string text = fmt::format(
      "<figure class=\"plot\" id=\"distribution\"><figcaption><h2>Latency distribution</h2><p>{} "
      "since the load began, by how long they took; both scales are logarithmic</p></figcaption>"
      "<ul class=\"legend\">",
      counted(q.count, "publication"));
  const std::array<std::pair<std::string_view, std::uint64_t>, 4> marks{
      {{"p50", q.p50}, {"p90", q.p90}, {"p99", q.p99}, {"max", q.max}}};
  for (const auto& [name, value] : marks) {
    fmt::format_to(
        std::back_inserter(text),
        "<li style=\"--ink:var(--{0})\"><i class=\"stroke\"></i>{0} <small>{1}</small></li>", name,
        human_time(value));
  }
  text += "</ul><div class=\"frame\"><div class=\"ys\">";
  for (const tick& t : y.ticks()) {
    fmt::format_to(std::back_inserter(text), "<span style=\"bottom:{:.2f}%\">{}</span>", t.at * 100,
                   t.label);
  }
  fmt::format_to(std::back_inserter(text),
                 "</div><div class=\"canvas\"><svg viewBox=\"0 0 {} {}\" "
                 "preserveAspectRatio=\"none\" role=\"img\" aria-label=\"Latency distribution\"><g "
                 "class=\"rules\">",
                 width, height);
  for (const tick& t : y.ticks())
    fmt::format_to(std::back_inserter(text), "<path d=\"M0 {:.1f}H{}\"/>", (1 - t.at) * height,
                   width);
  for (const tick& t : x.ticks())
    fmt::format_to(std::back_inserter(text), "<path d=\"M{:.1f} 0V{}\"/>", t.at * width, height);
  text += "</g>";
  for (const bin& b : bins) {
    const double left = x(std::max(1.0, b.low)) * width;
    const double right = std::max(left + 1, x(b.high) * width - 1);
    // One of a kind is a low bar, not none.
    const double top = (1 - std::max(0.015, y(static_cast<double>(b.times)))) * height;
    fmt::format_to(std::back_inserter(text),
                   "<path class=\"bin\" d=\"M{:.1f} {}V{:.1f}H{:.1f}V{}Z\"><title>{} to {}: {} ({})"
                   "</title></path>",
                   left, height, top, right, height, text_of(b.low, plot_unit::duration),
                   text_of(b.high, plot_unit::duration), grouped(b.times),
                   html_text(percent(b.times, q.count)));
  }
  for (const auto& [name, value] : marks) {
    fmt::format_to(std::back_inserter(text),
                   "<path class=\"mark\" style=\"--ink:var(--{})\" d=\"M{:.1f} 0V{}\"/>", name,
                   x(static_cast<double>(value)) * width, height);
  }
  text += "</svg></div><div class=\"xs\">";
  for (const tick& t : x.ticks()) {
    fmt::format_to(std::back_inserter(text), "<span{} style=\"left:{:.2f}%\">{}</span>",
                   t.at > 0.97 ? " class=\"end\""
                   : t.minor   ? " class=\"minor\""
                               : "",
                   t.at * 100, t.label);
  }
  return text + "</div></div></figure>\n";
}

std::string advice_section(const report& found) {
  const explanation& why = found.last->advice.why;
  std::string text = "<section class=\"card\"><h2>Next launch, for the ring at the last look</h2>";
  if (!why.outcome()) {
    return text + "<p>" + html_text(why.outcome().error().message().text()) + "</p></section>\n";
  }
  text += "<p>" + html_text(headline(*why.outcome())) + "</p>";
  std::vector<std::pair<std::string, std::string>> rows;
  std::optional<decision> before;
  for (const reason& r : why.reasons()) {
    std::string label(to_string(r.about()));
    std::ranges::replace(label, '_', ' ');
    rows.emplace_back(r.about() == before ? "" : label, r.sentence().text());
    before = r.about();
  }
  return text + facts(rows) + "</section>\n";
}

std::string source_section(const report& found) {
  std::vector<std::pair<std::string, std::string>> rows = found.source.about;
  rows.emplace_back("looks", grouped(found.samples));
  if (found.samples > 1) {
    const auto mean = found.length() / static_cast<std::int64_t>(found.samples - 1);
    rows.emplace_back("between looks", fmt::format("{}, at most {}", clock_text(mean),
                                                   clock_text(found.longest_gap)));
  }
  if (found.samples != 0) {
    rows.emplace_back("from", wall_text(found.first->wall));
    rows.emplace_back("to", wall_text(found.last->wall));
    rows.emplace_back("looks with torn pages", grouped(found.samples_with_torn_pages));
    rows.emplace_back("windows seen", grouped(found.windows_in_all));
  }
  return "<section class=\"card\"><h2>What it was made from</h2>" + facts(rows) + "</section>\n";
}

}  // namespace megakernel::tool::detail
