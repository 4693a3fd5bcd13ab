// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>
#include <vector>

/// However many samples -> a bounded number of columns, in which no spike is lost.
namespace megakernel::tool {

/// The range of a series in one column. Meaningless unless `known`.
struct column_value {
  double least = 0;
  double most = 0;
  double sum = 0;     ///< of value times weight
  double weight = 0;  ///< zero: the series had no value
  std::chrono::nanoseconds least_at{};
  std::chrono::nanoseconds most_at{};

  [[nodiscard]] inline bool known() const noexcept { return weight > 0; }
  [[nodiscard]] inline double mean() const noexcept { return sum / weight; }
};

/// Series that share their times. Each column stands for as many samples as any other, but the
/// last, which may stand for fewer; when there are too many columns, neighbours become one. So
/// memory is bounded, and the least and the greatest value of every column are values that were
/// seen.
class timeline {
 public:
  struct column {
    std::chrono::nanoseconds from{};  ///< of its first sample
    std::chrono::nanoseconds to{};    ///< of its last
    std::uint64_t samples = 0;
    std::vector<column_value> values{};  ///< a series each
  };
  /// The value of a series that has none.
  static constexpr double absent = std::numeric_limits<double>::quiet_NaN();

  /// `most_columns`: an even number, 2 or more.
  timeline(std::size_t series, std::size_t most_columns)
      : series_(series), most_columns_(most_columns) {}

  /// `values`: a series each; what is not finite counts as absent. A sample weighs as much as the
  /// time since the sample before. O(series), amortised.
  void add(std::chrono::nanoseconds at, std::chrono::nanoseconds interval,
           std::span<const double> values);

  /// All columns of a series together. O(columns).
  [[nodiscard]] column_value overall(std::size_t which) const noexcept;
  [[nodiscard]] std::span<const column> columns() const noexcept { return columns_; }
  [[nodiscard]] std::size_t series() const noexcept { return series_; }
  /// Looks in a column; 1 as long as every sample has its own.
  [[nodiscard]] std::uint64_t samples_per_column() const noexcept { return stride_; }

 private:
  void halve();

  std::size_t series_;
  std::size_t most_columns_;
  std::uint64_t stride_ = 1;
  std::vector<column> columns_;
};

}  // namespace megakernel::tool
