// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Tests that try every case there is, and so need no generator.
#pragma once

#include <cstddef>
#include <cstdint>
#include <exception>
#include <iostream>
#include <source_location>
#include <span>
#include <stdexcept>
#include <string>

#include "support.h"

namespace props {

/// RC_ASSERT for millions of cases: nothing but a comparison while all is well.
inline void require(bool holds, std::source_location at = std::source_location::current()) {
  if (!holds) [[unlikely]]
    throw std::runtime_error("line " + std::to_string(at.line()));
}

/// Runs `test`, which returns how many cases it has tried; says which case `now` names when one
/// fails.
template <class Test>
bool exhaustively(const char* what, Test test) {
  std::string now;
  try {
    const std::uint64_t cases = test(now);
    std::cerr << "OK, " << cases << " cases: " << what << '\n';
    return cases != 0;
  } catch (const std::exception& failed) {
    std::cerr << "FAILED: " << what << ": " << failed.what() << ", " << now << '\n';
    return false;
  }
}

inline void flip(std::span<unsigned char> bytes, std::size_t bit) {
  bytes[bit / 8] = static_cast<unsigned char>(bytes[bit / 8] ^ 1u << bit % 8);
}

/// Calls `check` with each of `bits` flipped, and with each two of them. Returns how often.
template <class Bits, class Check>
std::uint64_t with_flips(std::span<unsigned char> bytes, const Bits& bits, std::string& now,
                         Check check) {
  std::uint64_t cases = 0;
  const auto attempt = [&](std::size_t a, std::size_t b) {
    try {
      check();
    } catch (...) {
      now = "bits " + std::to_string(a) + " and " + std::to_string(b);
      throw;
    }
    ++cases;
  };
  for (std::size_t i = 0; i < bits.size(); ++i) {
    flip(bytes, bits[i]);
    attempt(bits[i], bits[i]);
    for (std::size_t k = 0; k < i; ++k) {
      flip(bytes, bits[k]);
      attempt(bits[i], bits[k]);
      flip(bytes, bits[k]);
    }
    flip(bytes, bits[i]);
  }
  return cases;
}

/// Bits first, first + 1, ... of `count`.
struct bit_range {
  std::size_t first;
  std::size_t count;
  [[nodiscard]] std::size_t size() const { return count; }
  [[nodiscard]] std::size_t operator[](std::size_t i) const { return first + i; }
};

}  // namespace props
