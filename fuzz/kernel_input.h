// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// A kernel's memory out of an input: sensible where the input says nothing, any words where it
// does.
#pragma once

#include "fuzz.h"
#include "oracle_kernel.h"

namespace fuzz {

/// Sizes of what a launch may have.
struct kernel_sizes {
  std::size_t observable = 0;
  std::size_t slots = 0;
  std::size_t debug_words = 0;
  std::size_t io_slots = 0;
  std::size_t table = 0;
};

inline kernel_sizes kernel_sizes_from(input& in) {
  constexpr std::array<std::size_t, 8> logs{0, 1, 4, 5, 6, 9, 17, 13};
  constexpr std::array<std::size_t, 6> tables{0, 1, 255, 256, 257, 600};
  std::size_t observable = in.below(48);
  if (observable == 47) observable = 240;  // enough for COMPARE_SWAP, and for long copies
  const std::size_t slots = in.below(13);
  return {observable, slots, logs[in.below(8)], in.below(4), tables[in.below(6)]};
}

/// Twelve argument words: numbers, or bytes as they stand, as a packed slot needs them.
inline void arguments_from(input& in, std::span<std::uint32_t> to) {
  const std::uint32_t count = in.below(32);
  if (count >= 16) {
    for (std::size_t i = 0; i < (count - 12) / 2 && i < to.size(); ++i)
      to[i] = in.take<std::uint32_t>();
    return;
  }
  for (std::size_t i = 0; i < count && i < to.size(); ++i) to[i] = in.number();
}

/// Every tenant may run, partitions are as the encoder has them; then words of the input's.
inline oracle::kernel_state kernel_from(input& in, const kernel_sizes& sizes) {
  oracle::kernel_state k;
  k.control.resize(160 + sizes.observable);
  k.ring.resize(16 * sizes.slots);
  k.debug_log.resize(sizes.debug_words);
  k.io_queue.resize(8 * sizes.io_slots);
  k.table.resize(sizes.table);
  const std::uint32_t what = in.byte();
  k.quotas = (what & 1) != 0;
  k.system_tenant = what >> 1 & 3;
  k.control[2] = 3;
  for (std::size_t t = 0; t < 29; ++t) k.control[3 + t] = 1;
  for (std::size_t t = 0; t < 32; ++t) k.control[32 + t] = (what & 8) != 0 ? 1 : 1000;
  const auto slots = static_cast<std::uint32_t>(sizes.slots);
  for (std::uint32_t p = 0, first = 0; p < 6; ++p) {
    k.control[129 + p] = first;
    first += slots / 5 + (p == 2 ? slots % 5 : 0);
  }
  for (std::size_t i = 0; i < k.table.size(); ++i)
    k.table[i] = what * 0x0101'0101u + static_cast<std::uint32_t>(i);
  for (std::uint32_t changes = in.below(24); changes != 0; --changes) {
    const std::size_t at = in.byte() % k.control.size();
    k.control[at] = in.number();
  }
  if (!k.debug_log.empty()) k.debug_log[0] = in.number();
  for (std::size_t i = 0; i < sizes.io_slots; ++i) {
    k.io_queue[8 * i + 6] = in.number();
    k.io_queue[8 * i + 7] = in.number();
  }
  for (std::size_t s = 0; s < sizes.slots; ++s) {
    const std::span slot(&k.ring[16 * s], 16);
    for (std::size_t i = 0; i < 4; ++i) slot[i] = in.number();
    arguments_from(in, slot.subspan(4));
    if (slot[0] == 4) slot[14] = in.number();  // where it waits
  }
  return k;
}

}  // namespace fuzz
