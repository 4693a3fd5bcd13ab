// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstddef>
#include <span>
#include <utility>
#include <vector>

#include "observe/histogram.h"
#include "observe/inspect.h"
#include "observe/timeline.h"

namespace megakernel::tool {
namespace {

void merge(column_value& to, const column_value& from) {
  if (!from.known()) return;
  if (!to.known()) {
    to = from;
    return;
  }
  // On ties the earlier stays.
  if (from.least < to.least) {
    to.least = from.least;
    to.least_at = from.least_at;
  }
  if (from.most > to.most) {
    to.most = from.most;
    to.most_at = from.most_at;
  }
  to.sum += from.sum;
  to.weight += from.weight;
}

void merge(timeline::column& to, const timeline::column& from) {
  to.to = from.to;
  to.samples += from.samples;
  for (std::size_t i = 0; i < to.values.size(); ++i) merge(to.values[i], from.values[i]);
}

}  // namespace

void timeline::halve() {
  for (std::size_t i = 0; i * 2 < columns_.size(); ++i) {
    if (i != 0) columns_[i] = std::move(columns_[i * 2]);
    if (i * 2 + 1 < columns_.size()) merge(columns_[i], columns_[i * 2 + 1]);
  }
  columns_.resize((columns_.size() + 1) / 2);
  stride_ *= 2;
}

column_value timeline::overall(std::size_t which) const noexcept {
  column_value all;
  for (const column& c : columns_) merge(all, c.values[which]);
  return all;
}

void timeline::add(std::chrono::nanoseconds at, std::chrono::nanoseconds interval,
                   std::span<const double> values) {
  // The first sample has no interval; it weighs next to nothing, and still has its value.
  const double weight = std::max(1.0, static_cast<double>(interval.count()));
  column now{.from = at, .to = at, .samples = 1, .values = std::vector<column_value>(series_)};
  for (std::size_t i = 0; i < std::min(series_, values.size()); ++i) {
    if (!std::isfinite(values[i])) continue;
    now.values[i] = {.least = values[i],
                     .most = values[i],
                     .sum = values[i] * weight,
                     .weight = weight,
                     .least_at = at,
                     .most_at = at};
  }
  if (!columns_.empty() && columns_.back().samples < stride_) {
    merge(columns_.back(), now);
    return;
  }
  if (columns_.size() == most_columns_) halve();
  columns_.push_back(std::move(now));
}

}  // namespace megakernel::tool
