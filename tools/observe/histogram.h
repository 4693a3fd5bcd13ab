// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <span>

/// Durations, counted in buckets whose width grows with them.
namespace megakernel::tool {

/// The summary of a distribution, for a person. Quantiles are upper edges of buckets, so at most
/// 1/32 over the true value; the greatest is exact.
struct quantiles {
  std::uint64_t count = 0;
  std::uint64_t mean = 0;
  std::uint64_t p50 = 0;
  std::uint64_t p90 = 0;
  std::uint64_t p99 = 0;
  std::uint64_t p999 = 0;
  std::uint64_t max = 0;
};

/// Buckets of 1/32 of a power of two; values below 32 have one each.
namespace log_buckets {
inline constexpr unsigned bits = 5;
inline constexpr std::size_t per_octave = std::size_t{1} << bits;
inline constexpr std::size_t count = (64 - bits + 1) * per_octave;

[[nodiscard]] constexpr std::size_t of(std::uint64_t value) noexcept {
  if (value < per_octave) return static_cast<std::size_t>(value);
  const auto shift = static_cast<unsigned>(std::bit_width(value)) - 1 - bits;
  return shift * per_octave + static_cast<std::size_t>(value >> shift);
}
/// The largest value of a bucket.
[[nodiscard]] constexpr std::uint64_t upper_edge(std::size_t bucket) noexcept {
  if (bucket < 2 * per_octave) return bucket;
  const std::size_t shift = bucket / per_octave - 1;
  const std::uint64_t first = std::uint64_t{bucket - shift * per_octave} << shift;
  return first + ((std::uint64_t{1} << shift) - 1);
}
static_assert(of(31) == 31 && of(32) == 32 && of(63) == 63 && of(64) == 64 && of(65) == 64);
static_assert(of(~std::uint64_t{0}) == count - 1 && upper_edge(count - 1) == ~std::uint64_t{0});
static_assert(upper_edge(of(1000)) >= 1000 && upper_edge(of(1000) - 1) < 1000);
}  // namespace log_buckets

class latency_histogram {
 public:
  inline void add(std::size_t bucket, std::uint64_t times) noexcept { counts_[bucket] += times; }
  inline void add_extremes(std::uint64_t sum, std::uint64_t max) noexcept {
    sum_ += sum;
    max_ = std::max(max_, max);
  }
  inline void add(const latency_histogram& other) noexcept {
    for (std::size_t i = 0; i < counts_.size(); ++i) counts_[i] += other.counts_[i];
    add_extremes(other.sum_, other.max_);
  }

  /// The increase since `before`, an earlier state of the same one. Its greatest value is known by
  /// bucket only.
  [[nodiscard]] latency_histogram since(const latency_histogram& before) const noexcept {
    latency_histogram grown;
    for (std::size_t i = 0; i < counts_.size(); ++i) {
      grown.counts_[i] = counts_[i] - before.counts_[i];
      if (grown.counts_[i] != 0) grown.max_ = std::min(log_buckets::upper_edge(i), max_);
    }
    grown.sum_ = sum_ - before.sum_;
    return grown;
  }

  /// Times by bucket of `log_buckets`, for who keeps a histogram; `add` and `add_extremes` make it
  /// again.
  [[nodiscard]] std::span<const std::uint64_t, log_buckets::count> buckets() const noexcept {
    return counts_;
  }
  [[nodiscard]] std::uint64_t sum() const noexcept { return sum_; }
  [[nodiscard]] std::uint64_t max() const noexcept { return max_; }

  [[nodiscard]] std::uint64_t count() const noexcept {
    std::uint64_t all = 0;
    for (const std::uint64_t n : counts_) all += n;
    return all;
  }

  /// Calls `each(the largest value of a bucket, its count)` for those that are not empty.
  template <class Each>
  void visit(Each each) const {
    for (std::size_t i = 0; i < counts_.size(); ++i) {
      if (counts_[i] != 0) each(log_buckets::upper_edge(i), counts_[i]);
    }
  }

  [[nodiscard]] quantiles summary() const noexcept {
    quantiles q{.count = count()};
    if (q.count == 0) return q;
    q.mean = sum_ / q.count;
    q.p50 = at(500, q.count);
    q.p90 = at(900, q.count);
    q.p99 = at(990, q.count);
    q.p999 = at(999, q.count);
    q.max = max_;
    return q;
  }

 private:
  /// The least upper edge that `thousandths` of the values do not exceed.
  [[nodiscard]] std::uint64_t at(std::uint64_t thousandths, std::uint64_t all) const noexcept {
    // all * thousandths / 1000, rounded up, without overflow
    const std::uint64_t rank = all / 1000 * thousandths + (all % 1000 * thousandths + 999) / 1000;
    std::uint64_t seen = 0;
    for (std::size_t i = 0; i < counts_.size(); ++i) {
      seen += counts_[i];
      if (seen >= rank && seen != 0) return std::min(log_buckets::upper_edge(i), max_);
    }
    return max_;
  }
  std::array<std::uint64_t, log_buckets::count> counts_{};
  std::uint64_t sum_ = 0;
  std::uint64_t max_ = 0;
};

/// A counter that one thread moves and others read. Cheaper than a read-modify-write, which the
/// one writer does not need.
class tally {
 public:
  inline void add(std::uint64_t amount) noexcept {
    value_.store(value_.load(std::memory_order_relaxed) + amount, std::memory_order_relaxed);
  }
  inline void raise_to(std::uint64_t value) noexcept {
    if (value > get()) value_.store(value, std::memory_order_relaxed);
  }
  [[nodiscard]] inline std::uint64_t get() const noexcept {
    return value_.load(std::memory_order_relaxed);
  }

 private:
  std::atomic<std::uint64_t> value_{0};
};

/// A histogram that one thread fills while others read it.
class live_histogram {
 public:
  inline void record(std::uint64_t value) noexcept {
    counts_[log_buckets::of(value)].add(1);
    sum_.add(value);
    max_.raise_to(value);
  }
  void add_to(latency_histogram& sum) const noexcept {
    for (std::size_t i = 0; i < counts_.size(); ++i) {
      if (const std::uint64_t n = counts_[i].get(); n != 0) sum.add(i, n);
    }
    sum.add_extremes(sum_.get(), max_.get());
  }

 private:
  std::array<tally, log_buckets::count> counts_{};
  tally sum_;
  tally max_;
};

}  // namespace megakernel::tool
