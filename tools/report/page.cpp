// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "cli/output.h"
#include "observe/histogram.h"
#include "observe/inspect.h"
#include "observe/observer.h"
#include "observe/timeline.h"
#include "render/names.h"
#include "render/run.h"
#include "report/page.h"
#include "report/plot.h"
#include "report/report.h"

import megakernel;

namespace megakernel::tool::detail {
namespace {

using std::chrono::nanoseconds;

double seconds(nanoseconds d) { return std::chrono::duration<double>(d).count(); }

std::string_view hide_if_whole(const plot_columns& at) { return at.merged() ? "" : " hidden"; }

/// "stalled for 4.2 s", "idle" and so on, of the last sample.
std::string state_now(const report& found) {
  const kernel_state state = found.last->health.state;
  if (needs_attention(state) && !found.alarms.empty() && found.alarms.back().lasts) {
    const nanoseconds quiet = std::max(found.alarms.back().length(), found.last->health.quiet);
    if (quiet.count() > 0) return fmt::format("{} for {}", to_string(state), clock_text(quiet));
  }
  return std::string(to_string(state));
}

std::string alarms_text(const report& found) {
  if (found.alarms_in_all == 0)
    return fmt::format("no alarm in {}", counted(found.samples, "look"));
  nanoseconds alarmed{};
  for (std::size_t i = 0; i < kernel_states; ++i) {
    if (needs_attention(static_cast<kernel_state>(i))) alarmed += found.time_in[i];
  }
  return fmt::format("{}, {} in all", counted(found.alarms_in_all, "alarm"), clock_text(alarmed));
}

class page {
 public:
  page(const report& found, output& to)
      : found_(found), at_(found.line), plots_(report_plots(found)), to_(to) {}

  void render() {
    head();
    summary();
    write(timeline_section(found_, at_));
    to_.write("<div class=\"grid\">\n");
    for (const plot& p : plots_) {
      std::string text;
      render_plot(p, at_, text);
      write(std::move(text));
      if (p.id == "latency") write(distribution_section(found_));
    }
    to_.write("</div>\n");
    write(table_sections(found_));
    foot();
  }

 private:
  void write(std::string text) { to_.write(text); }

  void head() {
    write(fmt::format(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
        "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src "
        "'unsafe-inline'; script-src 'unsafe-inline'; base-uri 'none'; form-action 'none'\">\n"
        "<meta name=\"generator\" content=\"megakernel report\">\n"
        "<title>{} - megakernel report</title>\n<style>{}</style>\n</head>\n<body>\n<main>\n",
        html_text(found_.source.name), report_style()));
    write(
        fmt::format("<header><span>megakernel report</span><bdi>{}</bdi><span>{}</span>"
                    "<button id=\"theme\" type=\"button\" hidden>Dark</button></header>\n",
                    html_text(found_.source.name), html_text(wall_text(found_.first->wall))));
  }

  void summary() {
    const observation& last = *found_.last;
    const kernel_state state = last.health.state;
    const std::uint32_t outstanding = last.occupancy.active();
    const std::uint32_t faults = last.occupancy.fault;
    std::string text = fmt::format(
        "<h1>At the end the kernel is <span class=\"state\" style=\"--ink:var(--{})\">{}</span>: "
        "{}{}.</h1>\n",
        to_string(state), html_text(state_now(found_)),
        outstanding == 0 ? "nothing is owed"
                         : fmt::format("{} {} owed", counted(outstanding, "slot"),
                                       outstanding == 1 ? "is" : "are"),
        faults == 0
            ? ""
            : fmt::format(", {} {} in fault", counted(faults, "slot"), faults == 1 ? "is" : "are"));
    text += fmt::format("<p class=\"lead\"><b>{}</b> were drained in <b>{}</b>",
                        counted(found_.done, "slot"), clock_text(found_.length()));
    if (const auto latency = latency_of()) {
      text += fmt::format(
          "; half of the publications took at most <b>{}</b>, 99&nbsp;% at most <b>{}</b>",
          human_time(latency->p50), human_time(latency->p99));
    }
    text += fmt::format("; {}.</p>\n", alarms_text(found_));
    if (!found_.source.warnings.empty()) {
      text += "<ul class=\"warnings\">";
      for (const std::string& warning : found_.source.warnings)
        text += "<li>" + html_text(warning) + "</li>";
      text += "</ul>\n";
    }
    write(text + tiles());
  }

  [[nodiscard]] std::optional<quantiles> latency_of() const {
    if (!found_.publishers || found_.publishers->latency.count() == 0) return std::nullopt;
    return found_.publishers->latency.summary();
  }

  [[nodiscard]] std::string tiles() const {
    std::string text = "<dl class=\"tiles\">";
    const auto tile = [&](std::string_view label, std::string value, std::string remark,
                          bool bad = false) {
      fmt::format_to(std::back_inserter(text), "<div{}><dt>{}</dt><dd>{}</dd><dd>{}</dd></div>",
                     bad ? " class=\"bad\"" : "", label, html_text(value), html_text(remark));
    };
    const column_value rate = found_.line.overall(report_series::done);
    const double length = seconds(found_.length());
    tile("Throughput",
         length > 0 ? text_of(static_cast<double>(found_.done) / length, plot_unit::rate) : "-",
         rate.known() ? fmt::format("slots; {} to {} between looks", short_count(rate.least),
                                    short_count(rate.most))
                      : "one look shows no rate");
    if (const auto latency = latency_of()) {
      tile("Latency p99", human_time(latency->p99),
           fmt::format("p50 {}, greatest {}", human_time(latency->p50), human_time(latency->max)));
    }
    tile("Most owed", counted(found_.most_outstanding, "slot"),
         fmt::format("of {}, at {}", grouped(found_.last->occupancy.total_slots()),
                     clock_text(found_.most_outstanding_at - found_.first->at)));
    const auto& report = found_.last->report;
    const std::uint64_t faults = found_.faults_in_all;
    tile("Faults seen", grouped(faults),
         report ? fmt::format("{} by the kernel's own count", grouped(report->faults))
                : "slots in FAULT, as looks found them",
         faults != 0);
    tile("Alarms", grouped(found_.alarms_in_all),
         found_.alarms_in_all == 0 ? "stalled, blocked or dead: never"
                                   : "times stalled, blocked or dead",
         found_.alarms_in_all != 0);
    const bool known = found_.jain_of_service.has_value();
    tile("Fairness",
         text_of(found_.jain_of_service.value_or(found_.jain_of_claims), plot_unit::index),
         known ? "Jain index of served by demand" : "Jain index of claims by tenant");
    return text + "</dl>\n";
  }

  void foot() {
    write(fmt::format(
        "<p class=\"note\"{}>Every point of a plot stands for {}: the line is their mean, the band "
        "reaches from the least to the greatest.</p>\n",
        hide_if_whole(at_), counted(found_.line.samples_per_column(), "look")));
    std::string data = "<script type=\"application/json\" id=\"data\">";
    render_plot_data(plots_, found_.line, at_, data);
    data += "</script>\n<script>";
    data += report_script();
    data += "</script>\n</main>\n</body>\n</html>\n";
    write(std::move(data));
  }

  const report& found_;
  plot_columns at_;
  std::vector<plot> plots_;
  output& to_;
};

/// Without a sample there is nothing to plot.
void render_empty(const report& found, output& to) {
  to.write(fmt::format(
      "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<meta "
      "name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>{0} - megakernel "
      "report</title>\n<style>{1}</style>\n</head>\n<body>\n<main>\n<header><span>megakernel "
      "report</span><bdi>{0}</bdi></header>\n<h1>There is no whole frame in it.</h1>\n",
      html_text(found.source.name), report_style()));
  for (const std::string& warning : found.source.warnings)
    to.write("<p>" + html_text(warning) + "</p>\n");
  to.write(source_section(found) + "</main>\n</body>\n</html>\n");
}

}  // namespace
}  // namespace megakernel::tool::detail

namespace megakernel::tool {

void render_report_html(const report& found, output& to) {
  if (found.samples == 0) return detail::render_empty(found, to);
  detail::page(found, to).render();
}

}  // namespace megakernel::tool
