// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// How claims are judged: by the rounds of one run, so that a red line is a regression and no noise.
#pragma once

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdio>
#include <limits>
#include <string_view>
#include <vector>

namespace judge {

struct quantiles {
  double low, median, high;  ///< of 10 %, 50 % and 90 %
};

inline double quantile(std::vector<double>& samples, double q) {
  std::ranges::sort(samples);
  return samples[static_cast<std::size_t>(q * static_cast<double>(samples.size() - 1))];
}

/// Of at least one sample.
inline quantiles of(std::vector<double> samples) {
  return {quantile(samples, 0.1), quantile(samples, 0.5), quantile(samples, 0.9)};
}

/// The ratio of each round; of rounds that both sides have, where one is `disturbed`.
inline constexpr double disturbed = std::numeric_limits<double>::quiet_NaN();
inline std::vector<double> over(const std::vector<double>& a, const std::vector<double>& b) {
  std::vector<double> ratios;
  for (std::size_t i = 0; i < std::min(a.size(), b.size()); ++i) {
    if (!std::isnan(a[i]) && !std::isnan(b[i])) ratios.push_back(a[i] / b[i]);
  }
  return ratios;
}

enum class bound { at_most, at_least };

inline int missed = 0;
inline int open = 0;

/// A figure that no claim is made of.
inline void record(std::string_view what, const std::vector<double>& rounds) {
  const quantiles q = of(rounds);
  fmt::print("         {:<50}{:>7.2f} ({:.2f} to {:.2f})\n", what, q.median, q.low, q.high);
}

/// Fewer rounds than these decide nothing.
inline constexpr std::size_t least_rounds = 3;

/// Of a claim for which too few rounds were undisturbed.
inline void leave_open(std::string_view what) {
  ++open;
  fmt::print("  open   {:<50}   too few undisturbed rounds\n", what);
}

/// `met` where the median round is within the bound; `MISSED` where nine rounds in ten are not;
/// `open` in between, where the run's own spread is wider than what is asked, and where there are
/// too few rounds.
inline void claim(std::string_view what, const std::vector<double>& rounds, bound side,
                  double limit) {
  const std::string_view limits = side == bound::at_most ? "at most" : "at least";
  if (rounds.size() < least_rounds) return leave_open(what);
  const quantiles q = of(rounds);
  const auto within = [&](double x) { return side == bound::at_most ? x <= limit : x >= limit; };
  const bool broken = !within(side == bound::at_most ? q.low : q.high);
  const bool met = within(q.median);
  missed += broken;
  open += !broken && !met;
  fmt::print("  {} {:<50}{:>7.2f} ({:.2f} to {:.2f})   {} {:.2f}\n",
             broken ? "MISSED"
             : met  ? "met   "
                    : "open  ",
             what, q.median, q.low, q.high, limits, limit);
}

/// Of a figure that has the run's spread in it.
inline void claim_once(std::string_view what, double figure, bound side, double limit) {
  const bool met = side == bound::at_most ? figure <= limit : figure >= limit;
  missed += !met;
  fmt::print("  {} {:<50}{:>7.2f}   {} {:.2f}\n", met ? "met   " : "MISSED", what, figure,
             side == bound::at_most ? "at most" : "at least", limit);
}

/// Prints the sum and returns the exit status: 1 when a claim is missed, 77 when none is and some
/// are open, else 0.
inline int verdict() {
  if (missed == 0 && open == 0) {
    fmt::print("\nEvery claim is met.\n");
  } else {
    fmt::print("\n{} missed; {} open, for which the machine was too busy.\n", missed, open);
  }
  std::fflush(stdout);
  return missed != 0 ? 1 : open != 0 ? 77 : 0;
}

}  // namespace judge
