// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
module;
#include <megakernel/sketch_hash.h>

#include <algorithm>
#include <bit>
#include <concepts>
#include <cstdint>
#include <limits>
export module megakernel.sketch:hash;

/// The hash, which the byte form names: two sketches can be merged only when it agrees.
/// docs/protocol.md#sketch-hash
export namespace megakernel {

using megakernel::sketch_hash;
using megakernel::sketch_seed;
using megakernel::splitmix64;

namespace detail {

/// `x mod width` for a width that is known long before x, without a division.
///
/// A power of two is a mask. For any other width w, m = floor(2^64 / w), which is less than 2^64
/// as w > 1; then q = floor(x m / 2^64) is floor(x / w) or one less:
///   x/w - x m / 2^64 = (x / 2^64) (2^64/w - m), and both factors are in [0, 1).
/// So x - q w is in [0, 2w), never above x, and one conditional subtraction makes it exact.
template <std::unsigned_integral Word, class Wide>
class basic_modulus {
  static constexpr unsigned word_bits = std::numeric_limits<Word>::digits;
  static_assert(sizeof(Wide) == 2 * sizeof(Word));

 public:
  /// Modulo one.
  constexpr basic_modulus() noexcept = default;
  /// `width` is not 0.
  constexpr explicit basic_modulus(Word width) noexcept
      : width_(width),
        reciprocal_(std::has_single_bit(width)
                        ? Word{0}
                        : static_cast<Word>(std::numeric_limits<Word>::max() / width)) {}

  [[nodiscard]] constexpr Word width() const noexcept { return width_; }
  [[nodiscard]] constexpr bool masks() const noexcept { return reciprocal_ == 0; }

  /// Where masks().
  [[nodiscard]] constexpr Word by_mask(Word x) const noexcept {
    return static_cast<Word>(x & (width_ - 1));
  }
  /// Where not masks().
  [[nodiscard]] constexpr Word by_reciprocal(Word x) const noexcept {
    const Wide quotient = static_cast<Wide>(static_cast<Wide>(x) * reciprocal_) >> word_bits;
    const auto rest = static_cast<Word>(x - quotient * width_);
    // Below the width the difference wraps and is the larger of the two.
    return std::min(rest, static_cast<Word>(rest - width_));
  }
  [[nodiscard]] constexpr Word operator()(Word x) const noexcept {
    return masks() ? by_mask(x) : by_reciprocal(x);
  }

 private:
  Word width_ = 1;
  Word reciprocal_ = 0;
};

// Narrower ones are for tests, which can try every number.
using modulus = basic_modulus<std::uint64_t, unsigned __int128>;

/// a + b, or the largest number where that is more.
template <std::unsigned_integral Word>
[[nodiscard]] constexpr Word saturating_add(Word a, Word b) noexcept {
  Word sum = 0;
  return __builtin_add_overflow(a, b, &sum) ? std::numeric_limits<Word>::max() : sum;
}

static_assert(modulus(1)(~0ull) == 0 && modulus(2)(~0ull) == 1 && modulus(3)(~0ull) == 0);
static_assert(modulus(~0ull)(~0ull) == 0 && modulus(~0ull)(~0ull - 1) == ~0ull - 1);
static_assert(modulus((1ull << 63) + 1)(~0ull) == (1ull << 63) - 2);
static_assert(splitmix64(0) == 0xE220'A839'7B1D'CDAF);

}  // namespace detail
}  // namespace megakernel
