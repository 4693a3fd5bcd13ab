// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The arithmetic that must not overflow, at widths where every operand can be tried: the same
// templates as the library's 32- and 64-bit ones.
#include <algorithm>
#include <cstdint>
#include <limits>
#include <string>

#include "exhaustive.h"

import megakernel;

namespace {

using namespace props;
namespace scaling = megakernel::detail;
namespace sketch = megakernel::detail;

/// Every pair of 8-bit numbers.
template <class Check>
std::uint64_t all_pairs(std::string& now, Check check) {
  std::uint64_t cases = 0;
  for (unsigned a = 0; a < 256; ++a) {
    for (unsigned b = 0; b < 256; ++b, ++cases) {
      now = std::to_string(a) + " and " + std::to_string(b);
      check(a, b);
    }
  }
  return cases;
}

template <class Count>
void check_covering(unsigned slots, unsigned width) {
  const std::uint64_t most = std::numeric_limits<Count>::max();
  const std::uint64_t s = std::max(1u, slots);
  const std::uint64_t w = std::max(1u, width);
  // Rounded up, but never so far that the padded ring has more slots than can be counted.
  const std::uint64_t wanted = std::min((s + w - 1) / w, most / w);
  require(scaling::covering_workgroups(static_cast<Count>(slots), static_cast<Count>(width)) ==
          wanted);
  require(scaling::padded_slot_count(static_cast<Count>(slots), static_cast<Count>(width)) ==
          wanted * w);
}

std::uint64_t covering_8(std::string& now) {
  return all_pairs(
      now, [](unsigned slots, unsigned width) { check_covering<std::uint8_t>(slots, width); });
}

std::uint64_t covering_16(std::string&) {
  std::uint64_t cases = 0;
  for (unsigned width = 0; width < 65536; ++width) {
    const unsigned w = std::max(1u, width);
    // It never falls as the slots grow, and is right on both sides of every step: so everywhere.
    for (unsigned step = 0; step <= 65535; step += w, cases += 2) {
      check_covering<std::uint16_t>(step, width);
      check_covering<std::uint16_t>(std::min(step + 1, 65535u), width);
    }
    check_covering<std::uint16_t>(65535, width);
  }
  return cases;
}

std::uint64_t modulus_8(std::string& now) {
  return all_pairs(now, [](unsigned x, unsigned width) {
    if (width == 0) return;
    const sketch::basic_modulus<std::uint8_t, std::uint16_t> by(static_cast<std::uint8_t>(width));
    require(by(static_cast<std::uint8_t>(x)) == x % width);
  });
}

std::uint64_t modulus_16(std::string&) {
  std::uint64_t cases = 0;
  for (unsigned width = 1; width < 65536; ++width) {
    const sketch::basic_modulus<std::uint16_t, std::uint32_t> by(static_cast<std::uint16_t>(width));
    const auto right = [&](unsigned x) {
      require(by(static_cast<std::uint16_t>(x)) == x % width);
      ++cases;
    };
    // Between two multiples of the width the quotient it estimates never falls, and it may be one
    // short: right at both ends is right in between.
    for (unsigned multiple = 0; multiple < 65536; multiple += width) {
      right(multiple);
      right(std::min(multiple + width - 1, 65535u));
    }
  }
  return cases;
}

std::uint64_t saturating_8(std::string& now) {
  return all_pairs(now, [](unsigned a, unsigned b) {
    require(sketch::saturating_add(static_cast<std::uint8_t>(a), static_cast<std::uint8_t>(b)) ==
            std::min(a + b, 255u));
  });
}

std::uint64_t saturating_16(std::string&) {
  std::uint64_t cases = 0;
  for (unsigned a = 0; a < 65536; ++a) {
    // All pairs: a sum is two instructions.
    bool right = true;
    for (unsigned b = 0; b < 65536; ++b) {
      right &= sketch::saturating_add(static_cast<std::uint16_t>(a),
                                      static_cast<std::uint16_t>(b)) == std::min(a + b, 65535u);
    }
    require(right);
    cases += 65536;
  }
  return cases;
}

}  // namespace

int main() {
  bool ok = true;
  ok &= exhaustively("workgroups that cover slots, 8 bits", covering_8);
  ok &= exhaustively("workgroups that cover slots, 16 bits", covering_16);
  ok &= exhaustively("remainders without a division, 8 bits", modulus_8);
  ok &= exhaustively("remainders without a division, 16 bits", modulus_16);
  ok &= exhaustively("sums that saturate, 8 bits", saturating_8);
  ok &= exhaustively("sums that saturate, 16 bits", saturating_16);
  return ok ? 0 : 1;
}
