// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
module;
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <expected>
#include <span>
#include <utility>
export module megakernel.sketch:count_min;
import megakernel.protocol;
import :hash;

export namespace megakernel {

/// Rows and columns of a sketch, which settle its size and how far its estimates can be off.
struct sketch_shape {
  std::uint64_t depth = 0;
  std::uint64_t width = 0;

  /// An estimate exceeds the true count by at most epsilon() times the sum of all counts, but for
  /// a chance of delta(). e / width; infinite for width 0.
  [[nodiscard]] double epsilon() const noexcept;
  /// e^-depth.
  [[nodiscard]] double delta() const noexcept;
  friend constexpr bool operator==(const sketch_shape&, const sketch_shape&) = default;
};

namespace detail {
/// How many counters a shape has. Errors: `sketch_dim_zero`, `sketch_dim_overflow`.
[[nodiscard]] result<std::size_t> counters_of(const sketch_shape& shape) noexcept;
}  // namespace detail

/// The smallest shape with epsilon() <= `epsilon` and delta() <= `delta`: the inverse of the two.
/// Errors: `sketch_accuracy_invalid` unless epsilon is finite and above 0 and delta is between 0
/// and 1, both excluded; `sketch_dim_overflow` for a width over 2^53. O(1).
[[nodiscard]] result<sketch_shape> shape_for(double epsilon, double delta) noexcept;

/// Counts of 32-bit keys in little memory: a Count-Min sketch. docs/protocol.md#sketch-shape
///
/// An estimate is never below the true count. Counters are u64; nothing wraps. Sketches of one
/// shape merge by adding counters, whatever their order. Move-only, as a copy can fail; what has
/// been moved from has shape 0 x 0, estimates 0 and refuses adds until it is given a shape.
class count_min_sketch {
 public:
  /// Shape 0 x 0.
  count_min_sketch() noexcept = default;
  count_min_sketch(const count_min_sketch&) = delete;
  count_min_sketch& operator=(const count_min_sketch&) = delete;
  inline count_min_sketch(count_min_sketch&& other) noexcept
      : counters_(std::move(other.counters_)),
        modulus_(std::exchange(other.modulus_, {})),
        shape_(std::exchange(other.shape_, {})),
        total_(std::exchange(other.total_, unknown_total)) {}
  inline count_min_sketch& operator=(count_min_sketch&& other) noexcept {
    if (this != &other) {
      counters_ = std::move(other.counters_);
      other.counters_.clear();
      modulus_ = std::exchange(other.modulus_, {});
      shape_ = std::exchange(other.shape_, {});
      total_ = std::exchange(other.total_, unknown_total);
    }
    return *this;
  }
  ~count_min_sketch() = default;

  /// All counters zero. Errors: `sketch_dim_zero`, `sketch_dim_overflow` when depth times width is
  /// not representable, `out_of_memory`. O(depth width).
  [[nodiscard]] static result<count_min_sketch> of_shape(std::uint64_t depth,
                                                         std::uint64_t width) noexcept;

  /// Another sketch with the same contents. Error: `out_of_memory`. O(depth width).
  [[nodiscard]] result<count_min_sketch> copy() const noexcept;
  /// Takes over the shape and contents of `other`, in the storage there is where it suffices.
  /// Error: `out_of_memory`, with nothing changed. O(depth width).
  [[nodiscard]] result<void> assign(const count_min_sketch& other) noexcept;

  /// Makes the shape `depth` x `width` and all counters zero; allocates only when there are more
  /// counters than ever before. Errors as of_shape, with nothing changed. O(depth width).
  [[nodiscard]] result<void> reset_shape(std::uint64_t depth, std::uint64_t width) noexcept;

  /// All counters zero. O(depth width).
  void clear() noexcept;

  /// Counts `key` `amount` times more; amount 0 does nothing. Errors: `sketch_counter_overflow`
  /// when a counter would pass 2^64 - 1, `sketch_dim_zero` without a shape; then nothing has
  /// changed. O(depth). docs/protocol.md#sketch-count
  [[nodiscard]] inline result<void> add(std::uint32_t key, std::uint64_t amount) noexcept {
    std::uint64_t total = 0;
    // No counter exceeds the sum of all amounts: while that fits, no counter can overflow.
    if (__builtin_add_overflow(total_, amount, &total)) [[unlikely]]
      return add_checked(key, amount);
    total_ = total;
    std::uint64_t* const counters = counters_.data();
    each_bucket(key, [&](std::size_t at) { counters[at] += amount; });
    return {};
  }

  /// At least the true count of `key`, and at most that plus the counts of the keys it shares its
  /// luckiest bucket with. O(depth).
  [[nodiscard]] inline std::uint64_t estimate(std::uint32_t key) const noexcept {
    const std::uint64_t* const counters = counters_.data();
    std::uint64_t least = ~std::uint64_t{0};
    each_bucket(key, [&](std::size_t at) { least = std::min(least, counters[at]); });
    return shape_.depth == 0 ? 0 : least;
  }

  /// Adds the counters of `other`, which may be this one. Errors: `sketch_shape_mismatch`,
  /// `sketch_merge_overflow`; then nothing has changed. O(depth width).
  [[nodiscard]] result<void> merge(const count_min_sketch& other) noexcept;

  [[nodiscard]] inline sketch_shape shape() const noexcept { return shape_; }
  [[nodiscard]] inline std::uint64_t depth() const noexcept { return shape_.depth; }
  [[nodiscard]] inline std::uint64_t width() const noexcept { return shape_.width; }
  /// See sketch_shape.
  [[nodiscard]] inline double epsilon() const noexcept { return shape_.epsilon(); }
  [[nodiscard]] inline double delta() const noexcept { return shape_.delta(); }
  /// The sum of all amounts added; 2^64 - 1 when it is that or more. O(1).
  [[nodiscard]] inline std::uint64_t total() const noexcept {
    return shape_.depth == 0 ? 0 : total_;
  }
  /// Row after row.
  [[nodiscard]] inline std::span<const std::uint64_t> counters() const noexcept {
    return {counters_.data(), counters_.size()};
  }
  /// The column of `key` in row `row` < depth(). O(1). docs/protocol.md#sketch-hash
  [[nodiscard]] inline std::uint64_t bucket(std::uint64_t row, std::uint32_t key) const noexcept {
    return modulus_(sketch_hash(key, row));
  }

  /// Same shape, same counters.
  friend bool operator==(const count_min_sketch& a, const count_min_sketch& b) noexcept;

 private:
  friend class telemetry_sketch;
  friend class sketch_reader;

  static constexpr std::uint64_t unknown_total = ~std::uint64_t{0};

  // Calls `visit` with the position of `key`'s counter in each row.
  template <class Visit>
  inline void each_bucket(std::uint32_t key, Visit visit) const noexcept {
    if (modulus_.masks()) {
      each_row(key, [this](std::uint64_t hash) { return modulus_.by_mask(hash); }, visit);
    } else {
      each_row(key, [this](std::uint64_t hash) { return modulus_.by_reciprocal(hash); }, visit);
    }
  }
  template <class BucketOf, class Visit>
  inline void each_row(std::uint32_t key, BucketOf bucket_of, Visit visit) const noexcept {
    const auto bucket = [&](std::uint64_t row) { return bucket_of(sketch_hash(key, row)); };
    const std::uint64_t depth = shape_.depth;
    const std::uint64_t width = shape_.width;
    std::uint64_t row = 0;
    if (depth >= 4) {
      // Four hashes that wait neither for each other nor for a loop's branches.
      const std::uint64_t first = bucket(0);
      const std::uint64_t second = bucket(1);
      const std::uint64_t third = bucket(2);
      const std::uint64_t fourth = bucket(3);
      visit(first);
      visit(width + second);
      visit(2 * width + third);
      visit(3 * width + fourth);
      if (depth == 4) return;
      row = 4;
    }
    for (; row != depth; ++row) visit(row * width + bucket(row));
  }

  [[nodiscard]] result<void> add_checked(std::uint32_t key, std::uint64_t amount) noexcept;
  [[nodiscard]] result<void> check_merge(const count_min_sketch& other) const noexcept;
  void merge_unchecked(const count_min_sketch& other) noexcept;

  aligned_array<std::uint64_t> counters_;
  detail::modulus modulus_;
  sketch_shape shape_;
  // Saturates; `unknown_total` sends every add to the checked one.
  std::uint64_t total_ = unknown_total;
};

}  // namespace megakernel
