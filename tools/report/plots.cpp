// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "observe/histogram.h"
#include "observe/timeline.h"
#include "render/layout.h"
#include "render/names.h"
#include "report/page.h"
#include "report/plot.h"
#include "report/report.h"

import megakernel;

namespace megakernel::tool::detail {
namespace {

/// The rest of the top is one series, `other`.
constexpr std::size_t top = 6;

class plots {
 public:
  explicit plots(const report& found) : found_(found), line_(found.line) {
    add(occupancy());
    add(outstanding());
    add(throughput());
    add(latency());
    add(tenants());
    add(opcodes());
    add(fairness());
    add(windows());
  }
  [[nodiscard]] std::vector<plot> take() { return std::move(made_); }

 private:
  void add(plot made) {
    if (!made.series.empty()) made_.push_back(std::move(made));
  }
  [[nodiscard]] column_value of(std::size_t which) const { return line_.overall(which); }

  [[nodiscard]] plot_series named(std::size_t which, std::string name, std::string ink,
                                  std::string remark = {}) const {
    plot_series series = series_of(line_, which);
    series.name = std::move(name);
    series.ink = std::move(ink);
    series.remark = std::move(remark);
    return series;
  }

  /// The first `count` statuses that were seen at all.
  [[nodiscard]] std::vector<plot_series> statuses(std::size_t count) const {
    namespace at = report_series;
    std::vector<plot_series> shown;
    for (std::size_t i = 0; i < count; ++i) {
      const column_value e = of(at::status + i);
      const std::string name(at::status_names[i]);
      if (e.known() && e.most > 0)
        shown.push_back(named(at::status + i, name, name, short_count(e.mean())));
    }
    return shown;
  }

  [[nodiscard]] plot occupancy() const {
    const std::uint32_t slots = found_.last->occupancy.total_slots();
    return {.id = "occupancy",
            .title = "Ring occupancy",
            .note = fmt::format("{} by status; beside each name its mean", counted(slots, "slot")),
            .y = scale::whole(slots),
            .stacked = true,
            .series = statuses(report_series::statuses)};
  }

  [[nodiscard]] plot outstanding() const {
    namespace at = report_series;
    const double most = std::max(of(at::outstanding).most, of(at::faults).most);
    plot made{.id = "owed",
              .title = "Owed slots",
              .note = "The same without done and empty ones, on a scale of its own",
              .y = scale::linear(most, plot_unit::count),
              .stacked = true,
              .series = statuses(at::outstanding_statuses)};
    double stack = most;
    for (std::size_t i = 0; i < line_.columns().size(); ++i) {
      double sum = 0;
      for (const plot_series& s : made.series) sum += std::isfinite(s.mean[i]) ? s.mean[i] : 0;
      stack = std::max(stack, sum);
    }
    made.y = scale::linear(stack, plot_unit::count);
    if (line_.samples_per_column() > 1 && !made.series.empty()) {
      plot_series peak =
          named(at::outstanding, "most owed", "peak", short_count(of(at::outstanding).most));
      peak.mean = std::move(peak.most);
      peak.least.clear();
      peak.most.clear();
      peak.over = true;
      made.series.push_back(std::move(peak));
    }
    return made;
  }

  [[nodiscard]] plot throughput() const {
    namespace at = report_series;
    plot made{
        .id = "throughput",
        .title = "Throughput",
        .note = "Slots a second, of the time since the look before",
        .unit = plot_unit::rate,
        .y = scale::linear(std::max(of(at::done).most, of(at::accepted).most), plot_unit::rate)};
    if (const column_value e = of(at::done); e.known())
      made.series.push_back(named(at::done, "drained", "c0", text_of(e.mean(), plot_unit::rate)));
    if (const column_value e = of(at::accepted); e.known()) {
      plot_series accepted =
          named(at::accepted, "published", "c1", text_of(e.mean(), plot_unit::rate));
      accepted.dashed = true;
      made.series.push_back(std::move(accepted));
    }
    return made;
  }

  [[nodiscard]] plot latency() const {
    namespace at = report_series;
    plot made{.id = "latency",
              .title = "Latency over time",
              .note =
                  "Of the publications that finished since the look before, from the call "
                  "until it was seen finished",
              .unit = plot_unit::duration,
              .y = scale::linear(1, plot_unit::duration)};
    double least = 0;
    double most = 0;
    for (std::size_t i = 0; i < at::latencies; ++i) {
      const column_value e = of(at::latency + i);
      if (!e.known()) continue;
      const std::string name(at::latency_names[i]);
      made.series.push_back(named(at::latency + i, name, name));
      least = least == 0 ? e.least : std::min(least, e.least);
      most = std::max(most, e.most);
    }
    made.y = scale::logarithmic(least, most, plot_unit::duration);
    if (!made.series.empty()) made.series.back().dashed = true;
    return made;
  }

  /// The top of `count` series from `first` by their means, the rest added up.
  template <class Name>
  void add_top(plot& made, std::size_t first, Name name) const {
    namespace at = report_series;
    std::vector<std::pair<double, std::size_t>> by_mean;
    for (std::size_t i = 0; i < at::tracked; ++i) {
      if (const column_value e = of(first + i); e.known() && e.most > 0)
        by_mean.emplace_back(e.mean(), i);
    }
    std::ranges::sort(by_mean, [](const auto& a, const auto& b) {
      return a.first != b.first ? a.first > b.first : a.second < b.second;
    });
    double most = 0;
    for (std::size_t k = 0; k < std::min(top, by_mean.size()); ++k) {
      const auto [mean, i] = by_mean[k];
      plot_series series =
          named(first + i, name(i), fmt::format("c{}", k), text_of(mean, plot_unit::rate));
      series.dashed = k >= top / 2;
      most = std::max(most, of(first + i).most);
      made.series.push_back(std::move(series));
    }
    if (by_mean.size() > top) {
      plot_series rest{.name = fmt::format("{} others", by_mean.size() - top), .ink = "other"};
      rest.mean.assign(line_.columns().size(), timeline::absent);
      for (std::size_t k = top; k < by_mean.size(); ++k) {
        const plot_series one = series_of(line_, first + by_mean[k].second);
        for (std::size_t i = 0; i < one.mean.size(); ++i) {
          if (!std::isfinite(one.mean[i])) continue;
          rest.mean[i] = (std::isfinite(rest.mean[i]) ? rest.mean[i] : 0) + one.mean[i];
          most = std::max(most, rest.mean[i]);
        }
      }
      made.series.push_back(std::move(rest));
    }
    made.y = scale::linear(most, plot_unit::rate);
  }

  [[nodiscard]] plot tenants() const {
    plot made{.id = "tenants",
              .title = "Rate by tenant",
              .note = found_.publishers
                          ? "Slots a second that its publisher saw finished"
                          : "Claims a second; tenants whose numbers are equal mod 32 share a count",
              .unit = plot_unit::rate,
              .y = scale::linear(1, plot_unit::rate)};
    add_top(made, report_series::tenants,
            [](std::size_t i) { return fmt::format("tenant {}", i); });
    return made;
  }

  [[nodiscard]] plot opcodes() const {
    plot made{.id = "opcodes",
              .title = "Rate by opcode",
              .note = "Claims a second; opcodes over 31 have no count",
              .unit = plot_unit::rate,
              .y = scale::linear(1, plot_unit::rate)};
    add_top(made, report_series::opcodes,
            [](std::size_t i) { return to_string(opcode{static_cast<word>(i)}); });
    return made;
  }

  [[nodiscard]] plot fairness() const {
    namespace at = report_series;
    plot made{.id = "fairness",
              .title = "Fairness over time",
              .note =
                  "Jain index among tenants: 1 when all are treated alike, 1/n when one of n "
                  "has everything",
              .unit = plot_unit::index,
              .y = scale::linear(1, plot_unit::index)};
    const auto index = [&](std::size_t which, const char* name, const char* ink) {
      if (const column_value e = of(which); e.known())
        made.series.push_back(named(which, name, ink, text_of(e.mean(), plot_unit::index)));
    };
    index(at::jain_of_claims, "of claims", "c0");
    index(at::jain_of_wait, "of mean wait", "c1");
    if (made.series.size() > 1) made.series.back().dashed = true;
    return made;
  }

  [[nodiscard]] plot windows() const {
    const column_value e = of(report_series::windows);
    plot made{.id = "windows",
              .title = "Active windows",
              .note = "Windows with slots that are still owed",
              .y = scale::linear(e.most, plot_unit::count)};
    if (e.known() && e.most > 0)
      made.series.push_back(
          named(report_series::windows, "active windows", "c2", short_count(e.mean())));
    return made;
  }

  const report& found_;
  const timeline& line_;
  std::vector<plot> made_;
};

}  // namespace

std::vector<plot> report_plots(const report& found) { return plots(found).take(); }

}  // namespace megakernel::tool::detail
