// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// What a report keeps of many samples: bounded, and with every spike in it; and what a page makes
// of texts that are not its own.
#include <rapidcheck.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <string>
#include <string_view>
#include <vector>

#include "observe/timeline.h"
#include "render/ring_bar.h"
#include "report/plot.h"

import megakernel;

namespace {

using namespace megakernel::tool;
using std::chrono::nanoseconds;

struct looked {
  nanoseconds at{};
  nanoseconds interval{};
  double value = 0;
};

std::vector<looked> any_samples() {
  const auto count = *rc::gen::inRange<std::size_t>(1, 400);
  std::vector<looked> samples;
  nanoseconds at{};
  for (std::size_t i = 0; i < count; ++i) {
    const nanoseconds step(i == 0 ? 0 : *rc::gen::inRange<std::int64_t>(1, 1'000'000));
    at += step;
    const bool known = *rc::gen::inRange(0, 8) != 0;
    samples.push_back({.at = at,
                       .interval = step,
                       .value = known ? *rc::gen::inRange(-1000, 1000) : timeline::absent});
  }
  return samples;
}

void columns_lose_no_spike() {
  const std::vector<looked> samples = any_samples();
  const auto most = 2 * *rc::gen::inRange<std::size_t>(1, 20);
  timeline line(1, most);
  for (const looked& l : samples) line.add(l.at, l.interval, std::vector{l.value});

  RC_ASSERT(line.columns().size() <= most);
  std::size_t next = 0;
  for (const timeline::column& column : line.columns()) {
    const bool last = &column == &line.columns().back();
    RC_ASSERT(column.samples == line.samples_per_column() ||
              (last && column.samples < line.samples_per_column()));
    RC_ASSERT(column.from == samples[next].at);
    double least = std::numeric_limits<double>::infinity();
    double greatest = -least;
    double sum = 0;
    double weight = 0;
    for (std::uint64_t i = 0; i < column.samples; ++i, ++next) {
      const looked& l = samples.at(next);
      RC_ASSERT(column.from <= l.at && l.at <= column.to);
      if (!std::isfinite(l.value)) continue;
      const double own = std::max(1.0, static_cast<double>(l.interval.count()));
      least = std::min(least, l.value);
      greatest = std::max(greatest, l.value);
      sum += l.value * own;
      weight += own;
    }
    const column_value& kept = column.values.front();
    RC_ASSERT(kept.known() == (weight > 0));
    if (!kept.known()) continue;
    RC_ASSERT(kept.least == least);
    RC_ASSERT(kept.most == greatest);
    RC_ASSERT(std::abs(kept.mean() - sum / weight) <= 1e-6 * (1 + std::abs(sum / weight)));
    const auto value_at = [&](nanoseconds at) {
      return std::ranges::lower_bound(samples, at, {}, &looked::at)->value;
    };
    RC_ASSERT(value_at(kept.least_at) == least);
    RC_ASSERT(value_at(kept.most_at) == greatest);
  }
  RC_ASSERT(next == samples.size());
}

std::string any_text() {
  const auto parts = *rc::gen::container<std::vector<std::string>>(rc::gen::oneOf(
      rc::gen::element<std::string>("<", ">", "&", "\"", "'", "</script>", "<!--", "\xff", "\xc3",
                                    "\xe2\x82", "µ", "\n", "\0", "\x1b[31m"),
      rc::gen::arbitrary<std::string>()));
  std::string text;
  for (const std::string& part : parts) text += part;
  return text;
}

void texts_are_no_markup() {
  const std::string text = any_text();
  const std::string page = html_text(text);
  RC_ASSERT(page.find_first_of("<>\"'") == std::string::npos);
  for (std::size_t at = page.find('&'); at != std::string::npos; at = page.find('&', at + 1)) {
    const std::string_view rest = std::string_view(page).substr(at);
    RC_ASSERT(rest.starts_with("&amp;") || rest.starts_with("&lt;") || rest.starts_with("&gt;") ||
              rest.starts_with("&quot;") || rest.starts_with("&#39;"));
  }
  const std::string data = json_text(text);
  RC_ASSERT(data.front() == '"' && data.back() == '"');
  for (const std::string& shown : {page, data}) {
    RC_ASSERT(shown.find('<') == std::string::npos);
    RC_ASSERT(
        std::ranges::none_of(shown, [](char c) { return static_cast<unsigned char>(c) < 0x20; }));
  }
}

void scales_keep_to_their_axis() {
  const double value = std::ldexp(*rc::gen::inRange(1, 1000), *rc::gen::inRange(-20, 60));
  const double other = std::ldexp(*rc::gen::inRange(1, 1000), *rc::gen::inRange(-20, 60));
  const double least = std::min(value, other);
  const double most = std::max(value, other);
  for (const scale& s :
       {scale::linear(most, plot_unit::rate), scale::logarithmic(least, most, plot_unit::duration),
        scale::time(nanoseconds(static_cast<std::int64_t>(std::min(most, 9e18))))}) {
    RC_ASSERT(s(least) >= 0 && s(most) <= 1 && s(least) <= s(most));
    RC_ASSERT(!s.ticks().empty() && s.ticks().size() <= 24);
    RC_ASSERT(std::ranges::is_sorted(s.ticks(), {}, &tick::at));
    RC_ASSERT(s.ticks().front().at == 0 && s.ticks().back().at <= 1);
  }
}

}  // namespace

int main() {
  bool good = rc::check("columns are bounded and lose no spike", columns_lose_no_spike);
  good &= rc::check("a text of anybody's is no markup", texts_are_no_markup);
  good &= rc::check("scales keep to their axis", scales_keep_to_their_axis);
  return good ? 0 : 1;
}
