// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "observe/histogram.h"
#include "observe/observer.h"
#include "render/layout.h"
#include "render/names.h"
#include "render/ring_bar.h"
#include "render/run.h"
#include "render/sample_line.h"
#include "report/report.h"

import megakernel;

namespace megakernel::tool {
namespace {

/// The bar takes what the other columns leave.
std::size_t bar_of(std::size_t width) { return std::clamp<std::size_t>(width, 76, 94) - 66; }

std::string padded(const std::string& text, std::size_t width) {
  return std::string(width - std::min(width, columns_of(text)), ' ') + text;
}

}  // namespace

void print_sample_head(std::size_t width, screen& to) {
  to.line(to.paint(fmt::format("{:>8}  {:>11}  {:>9}  {:<{}}  {:>7}  {:>7}  {}", "time", "slots/s",
                               "depth", "ring", bar_of(width), "p50", "p99", "verdict"),
                   ink::dim));
}

void print_sample(const ring_observation& seen, const sample_style& style, std::size_t width,
                  screen& to) {
  const quantiles latency = seen.latency.value_or(quantiles{});
  const auto time_of = [&](std::uint64_t value) {
    return padded(latency.count == 0 ? "-" : human_time(value), 7);
  };
  // No rate is over 2^63: what a file claims may be.
  const double rate = std::clamp(seen.done_per_second, 0.0, 9.2e18);
  to.line(fmt::format(
      "{}  {:>11}  {:>9}  {}  {}  {}  {}{}",
      padded(
          fmt::format("{:.{}f} s", std::chrono::duration<double>(seen.at).count(), style.decimals),
          8),
      grouped(static_cast<std::uint64_t>(std::llround(rate))), grouped(seen.counters.queue_depth),
      ring_bar(seen.occupancy, bar_of(width), to), time_of(latency.p50), time_of(latency.p99),
      to.paint(to_string(seen.state), colour_of(seen.state)), to.paint(style.remark, ink::dim)));
}

}  // namespace megakernel::tool
