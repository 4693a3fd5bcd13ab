// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
module;
#include <algorithm>
#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <expected>
#include <limits>
#include <numbers>
module megakernel.sketch;
import megakernel.protocol;

namespace megakernel {
namespace {

std::unexpected<error> refuse(error_code code, std::uint64_t index, std::uint64_t found,
                              std::uint64_t bound) noexcept {
  return std::unexpected(error{
      .code = code, .buffer = buffer::sketch, .index = index, .found = found, .bound = bound});
}

}  // namespace

result<std::size_t> detail::counters_of(const sketch_shape& shape) noexcept {
  const auto [depth, width] = shape;
  if (depth == 0 || width == 0)
    return refuse(error_code::sketch_dim_zero, depth == 0 ? 0 : 1, depth, width);
  std::size_t counters = 0;
  if (__builtin_mul_overflow(depth, width, &counters)) {
    return refuse(error_code::sketch_dim_overflow, std::numeric_limits<std::size_t>::max(), depth,
                  width);
  }
  return counters;
}

double sketch_shape::epsilon() const noexcept {
  return std::numbers::e / static_cast<double>(width);
}

double sketch_shape::delta() const noexcept { return std::exp(-static_cast<double>(depth)); }

result<sketch_shape> shape_for(double epsilon, double delta) noexcept {
  if (!(epsilon > 0) || !std::isfinite(epsilon))
    return refuse(error_code::sketch_accuracy_invalid, 0, std::bit_cast<std::uint64_t>(epsilon), 0);
  if (!(delta > 0 && delta < 1))
    return refuse(error_code::sketch_accuracy_invalid, 1, std::bit_cast<std::uint64_t>(delta), 1);
  constexpr double most = 0x1p53;  // up to here a double tells widths apart
  const double wanted = std::ceil(std::numbers::e / epsilon);
  if (!(wanted <= most)) {
    return refuse(error_code::sketch_dim_overflow, static_cast<std::uint64_t>(most), 1,
                  wanted < 0x1p64 ? static_cast<std::uint64_t>(wanted) : ~std::uint64_t{0});
  }
  // Rounding may have put either one off; the definitions decide.
  sketch_shape shape{.depth = static_cast<std::uint64_t>(std::max(std::ceil(-std::log(delta)), 1.)),
                     .width = static_cast<std::uint64_t>(std::max(wanted, 1.))};
  while (shape.epsilon() > epsilon) ++shape.width;
  while (shape.width > 1 && sketch_shape{1, shape.width - 1}.epsilon() <= epsilon) --shape.width;
  while (shape.delta() > delta) ++shape.depth;
  while (shape.depth > 1 && sketch_shape{shape.depth - 1, 1}.delta() <= delta) --shape.depth;
  return shape;
}

result<count_min_sketch> count_min_sketch::of_shape(std::uint64_t depth,
                                                    std::uint64_t width) noexcept {
  count_min_sketch made;
  if (auto reset = made.reset_shape(depth, width); !reset) return std::unexpected(reset.error());
  return made;
}

result<count_min_sketch> count_min_sketch::copy() const noexcept {
  count_min_sketch made;
  if (auto assigned = made.assign(*this); !assigned) return std::unexpected(assigned.error());
  return made;
}

result<void> count_min_sketch::assign(const count_min_sketch& other) noexcept {
  if (this == &other) return {};
  const std::size_t count = other.counters_.size();
  if (auto sized = counters_.resize_for_overwrite(count); !sized) return sized;
  if (count != 0)
    std::memcpy(counters_.data(), other.counters_.data(), count * sizeof(std::uint64_t));
  modulus_ = other.modulus_;
  shape_ = other.shape_;
  total_ = other.total_;
  return {};
}

result<void> count_min_sketch::reset_shape(std::uint64_t depth, std::uint64_t width) noexcept {
  const auto counters = detail::counters_of({depth, width});
  if (!counters) return std::unexpected(counters.error());
  if (auto sized = counters_.resize_for_overwrite(*counters); !sized) return sized;
  shape_ = {.depth = depth, .width = width};
  modulus_ = detail::modulus(width);
  clear();
  return {};
}

void count_min_sketch::clear() noexcept {
  counters_.fill_zero();
  if (shape_.depth != 0) total_ = 0;
}

result<void> count_min_sketch::add_checked(std::uint32_t key, std::uint64_t amount) noexcept {
  if (shape_.depth == 0) return refuse(error_code::sketch_dim_zero, 0, 0, 0);
  std::uint64_t most = 0;
  each_bucket(key, [&](std::size_t at) { most = std::max(most, counters_[at]); });
  if (most > ~std::uint64_t{0} - amount)
    return refuse(error_code::sketch_counter_overflow, key, amount, most);
  each_bucket(key, [&](std::size_t at) { counters_[at] += amount; });
  total_ = ~std::uint64_t{0};
  return {};
}

result<void> count_min_sketch::check_merge(const count_min_sketch& other) const noexcept {
  if (shape_ != other.shape_) {
    const bool depth = shape_.depth != other.shape_.depth;
    return refuse(error_code::sketch_shape_mismatch, depth ? 0 : 1,
                  depth ? other.shape_.depth : other.shape_.width,
                  depth ? shape_.depth : shape_.width);
  }
  std::uint64_t total = 0;
  if (!__builtin_add_overflow(total_, other.total_, &total)) return {};
  for (std::size_t i = 0; i < counters_.size(); ++i) {
    if (counters_[i] > ~std::uint64_t{0} - other.counters_[i])
      return refuse(error_code::sketch_merge_overflow, i, other.counters_[i], counters_[i]);
  }
  return {};
}

void count_min_sketch::merge_unchecked(const count_min_sketch& other) noexcept {
  std::uint64_t* const to = counters_.data();
  const std::uint64_t* const from = other.counters_.data();
  for (std::size_t i = 0; i < counters_.size(); ++i) to[i] += from[i];
  total_ = detail::saturating_add(total_, other.total_);
}

// docs/protocol.md#sketch-merge
result<void> count_min_sketch::merge(const count_min_sketch& other) noexcept {
  if (auto checked = check_merge(other); !checked) return checked;
  merge_unchecked(other);
  return {};
}

bool operator==(const count_min_sketch& a, const count_min_sketch& b) noexcept {
  return a.shape_ == b.shape_ && std::ranges::equal(a.counters(), b.counters());
}

}  // namespace megakernel
