// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <tuple>
#include <utility>
#include <vector>

#include "cli/output.h"
#include "load/workload.h"
#include "observe/capture.h"
#include "observe/inspect.h"
#include "observe/timeline.h"
#include "render/names.h"
#include "render/run.h"
#include "report/page.h"
#include "report/plot.h"
#include "report/report.h"
#include "report/trace.h"

import megakernel;

namespace megakernel::tool {
namespace {

using std::chrono::nanoseconds;

/// Of one time, in this order: what ends, then what is, then what begins.
enum class step : std::uint8_t { end, sample, instant, begin };

struct event {
  nanoseconds at;
  step what;
  std::size_t number;  ///< in the order in which they were found
  std::string text;    ///< the members but its time
};

constexpr int kernel_process = 1;
constexpr int window_process = 2;
constexpr int stuck_process = 3;
constexpr std::size_t most_rows = 64;

/// Microseconds to a thousandth, exactly.
std::string stamp(nanoseconds at) {
  const std::int64_t ns = std::max<std::int64_t>(0, at.count());
  return fmt::format("{}.{:03}", ns / 1000, ns % 1000);
}

class trace {
 public:
  trace(const report& found, output& to) : found_(found), to_(to) {}

  void render() {
    to_.write("{\"displayTimeUnit\":\"ms\",\"otherData\":" + facts() + ",\n\"traceEvents\":[\n");
    name("process_name", kernel_process, 0, "kernel");
    name("thread_name", kernel_process, 1, "state");
    name("thread_name", kernel_process, 2, "faults");
    if (found_.samples != 0) {
      counters();
      states();
      faults();
      tracks(
          found_.windows, window_process, "windows",
          [](const window_span& s) { return s.window.tenant; }, window_text);
      tracks(
          found_.stuck, stuck_process, "stuck slots",
          [](const stuck_span& s) { return s.slot.tenant; }, stuck_text);
    }
    std::ranges::sort(events_, {},
                      [](const event& e) { return std::tuple(e.at, e.what, e.number); });
    for (const event& e : events_) write(fmt::format("{},\"ts\":{}}}", e.text, stamp(e.at)));
    to_.write("\n]}\n");
  }

 private:
  void write(std::string_view text) {
    if (!first_) to_.write(",\n");
    first_ = false;
    to_.write(text);
  }
  void name(std::string_view what, int process, int thread, std::string_view given) {
    write(fmt::format(
        "{{\"ph\":\"M\",\"name\":\"{}\",\"pid\":{},\"tid\":{},\"args\":{{\"name\":{}}}}}", what,
        process, thread, json_text(given)));
  }
  void add(nanoseconds at, step what, std::string text) {
    events_.push_back({.at = at - found_.first->at,
                       .what = what,
                       .number = events_.size(),
                       .text = std::move(text)});
  }

  [[nodiscard]] std::string facts() const {
    std::string text = fmt::format("{{\"source\":{},\"looks\":{},\"looks_per_column\":{}",
                                   json_text(found_.source.name), found_.samples,
                                   found_.line.samples_per_column());
    for (const auto& [label, value] : found_.source.about)
      text += "," + json_text(label) + ":" + json_text(value);
    for (std::size_t i = 0; i < found_.source.warnings.size(); ++i) {
      text += fmt::format(",\"warning {}\":{}", i + 1, json_text(found_.source.warnings[i]));
    }
    return text + "}";
  }

  void counter(std::size_t series, const std::string& track, std::string_view unit) {
    const std::string head =
        fmt::format("{{\"ph\":\"C\",\"pid\":{},\"name\":{},\"args\":{{\"{}\":", kernel_process,
                    json_text(track), unit);
    std::optional<double> last;
    for (const timeline::column& column : found_.line.columns()) {
      const column_value& v = column.values[series];
      if (!v.known()) continue;
      std::array<std::pair<nanoseconds, double>, 2> values{
          {{v.least_at, v.least}, {v.most_at, v.most}}};
      std::ranges::sort(values);
      for (const auto& [time, value] : values) {
        // A counter keeps its value until the next: what repeats it says nothing.
        if (last && *last == value) continue;
        add(time, step::sample, fmt::format("{}{:.10g}}}", head, value));
        last = value;
      }
    }
  }

  void counters() {
    namespace at = report_series;
    const auto seen = [&](std::size_t series) {
      const column_value all = found_.line.overall(series);
      return all.known() && all.most > 0;
    };
    for (std::size_t i = 0; i < at::statuses; ++i) {
      if (seen(at::status + i))
        counter(at::status + i, fmt::format("slots {}", at::status_names[i]), "slots");
    }
    counter(at::outstanding, "slots owed", "slots");
    counter(at::done, "rate drained", "slots per second");
    counter(at::accepted, "rate published", "slots per second");
    for (std::size_t i = 0; i < at::latencies; ++i)
      counter(at::latency + i, fmt::format("latency {}", at::latency_names[i]), "ns");
    counter(at::jain_of_claims, "fairness of claims", "Jain index");
    counter(at::jain_of_wait, "fairness of wait", "Jain index");
    if (seen(at::windows)) counter(at::windows, "windows active", "windows");
    if (seen(at::torn_pages)) counter(at::torn_pages, "torn pages", "pages");
    const std::string_view unit = found_.publishers ? "slots per second" : "claims per second";
    for (std::size_t i = 0; i < at::tracked; ++i) {
      if (seen(at::tenants + i)) counter(at::tenants + i, fmt::format("tenant {}", i), unit);
    }
    for (std::size_t i = 0; i < at::tracked; ++i) {
      if (seen(at::opcodes + i))
        counter(at::opcodes + i, "opcode " + to_string(opcode{static_cast<word>(i)}),
                "claims per second");
    }
  }

  void slice(nanoseconds from, nanoseconds to, int process, int thread, std::string_view title,
             std::string_view arguments) {
    if (to <= from) return;
    add(from, step::begin,
        fmt::format("{{\"ph\":\"B\",\"pid\":{},\"tid\":{},\"name\":{},\"args\":{}", process, thread,
                    json_text(title), arguments));
    add(to, step::end, fmt::format("{{\"ph\":\"E\",\"pid\":{},\"tid\":{}", process, thread));
  }

  void states() {
    const auto columns = found_.line.columns();
    const auto state_at = [&](std::size_t i) {
      return static_cast<kernel_state>(std::lround(columns[i].values[report_series::state].most));
    };
    nanoseconds from = columns.front().from;
    for (std::size_t i = 0; i < columns.size(); ++i) {
      if (i + 1 < columns.size() && state_at(i + 1) == state_at(i)) continue;
      slice(from, columns[i].to, kernel_process, 1, to_string(state_at(i)), "{}");
      from = columns[i].to;
    }
  }

  void faults() {
    for (const fault_event& f : found_.faults) {
      add(f.at, step::instant,
          fmt::format("{{\"ph\":\"i\",\"s\":\"t\",\"pid\":{},\"tid\":2,\"name\":{},\"args\":{{"
                      "\"slot\":{},\"opcode\":{},\"tenant\":{},\"arguments\":[{}]}}",
                      kernel_process, json_text(to_string(f.what.why)), f.what.slot,
                      json_text(to_string(f.what.op)), f.what.tenant,
                      fmt::join(f.what.arguments, ",")));
    }
  }

  static std::pair<std::string, std::string> window_text(const window_span& s) {
    const window_telemetry& w = s.window;
    return {
        fmt::format("window {} of {}", w.ticket, to_string(w.op)),
        fmt::format("{{\"ticket\":{},\"opcode\":{},\"required\":{},\"lookahead\":{},\"looks\":{}}}",
                    w.ticket, json_text(to_string(w.op)), w.required_slots, w.lookahead_slots,
                    s.samples)};
  }
  static std::pair<std::string, std::string> stuck_text(const stuck_span& s) {
    return {fmt::format("slot {} {}", s.slot.index, to_string(s.slot.status)),
            fmt::format(
                "{{\"slot\":{},\"opcode\":{},\"priority\":{},\"arguments\":[{}],\"looks\":{}}}",
                s.slot.index, json_text(to_string(s.slot.op)), json_text(to_string(s.slot.level)),
                fmt::join(s.slot.arguments, ","), s.samples)};
  }

  /// A track a tenant, and more where its spans overlap.
  template <class Span, class Tenant, class Text>
  void tracks(const std::vector<Span>& spans, int process, std::string_view title, Tenant tenant,
              Text text) {
    if (spans.empty()) return;
    name("process_name", process, 0, title);
    std::map<std::uint32_t, std::vector<Span>> by_tenant;
    for (const Span& s : spans) {
      if (s.length().count() > 0) by_tenant[tenant(s)].push_back(s);
    }
    int thread = 0;
    for (auto& [number, own] : by_tenant) {
      std::ranges::sort(own, {}, [](const Span& s) { return std::pair(s.from, s.to); });
      const std::vector<std::size_t> rows = rows_of(own, most_rows);
      const std::size_t used = std::min(most_rows, std::ranges::max(rows) + 1);
      for (std::size_t row = 0; row < used; ++row) {
        name("thread_name", process, thread + static_cast<int>(row) + 1,
             fmt::format("tenant {}", number));
      }
      for (std::size_t i = 0; i < own.size(); ++i) {
        if (rows[i] == most_rows) continue;
        const auto [label, arguments] = text(own[i]);
        slice(std::max(own[i].from, found_.first->at), own[i].to, process,
              thread + static_cast<int>(rows[i]) + 1, label, arguments);
      }
      thread += static_cast<int>(used);
    }
  }

  const report& found_;
  output& to_;
  std::vector<event> events_;
  bool first_ = true;
};

}  // namespace

void render_trace(const report& found, output& to) { trace(found, to).render(); }

}  // namespace megakernel::tool
