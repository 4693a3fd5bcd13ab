// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The hash of sketches (docs/protocol.md#sketch-hash), which their byte form names: counters of a
// device and of a host can be merged because both take it from here.
#pragma once

#include <megakernel/abi.h>

#include <stdint.h>

namespace megakernel {

/// Row r hashes `key XOR (r * sketch_seed mod 2^64)`.
inline constexpr uint64_t sketch_seed = 0x9E37'79B9'7F4A'7C15;

/// Sebastiano Vigna's splitmix64, one step from state `x`.
[[nodiscard]] MEGAKERNEL_HOST_DEVICE constexpr uint64_t splitmix64(uint64_t x) noexcept {
  x += 0x9E37'79B9'7F4A'7C15;
  x = (x ^ x >> 30) * 0xBF58'476D'1CE4'E5B9;
  x = (x ^ x >> 27) * 0x94D0'49BB'1331'11EB;
  return x ^ x >> 31;
}

/// The hash of `key` in row `row`, before it is reduced to a column.
[[nodiscard]] MEGAKERNEL_HOST_DEVICE constexpr uint64_t sketch_hash(uint64_t key,
                                                                    uint64_t row) noexcept {
  return splitmix64(key ^ row * sketch_seed);
}

}  // namespace megakernel
