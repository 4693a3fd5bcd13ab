// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Rings to decode, the same every run.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <random>
#include <span>
#include <vector>

namespace rings {

enum class statuses { one, unpredictable };

inline constexpr std::array<std::uint32_t, 8> window_opcodes{7001, 13,         0x12345,     999'999,
                                                             4242, 77'777'777, 0xF000'0000, 65'537};

/// Fills a ring with slots of 29 tenants and 40 opcodes. With `windows`, a quarter of them carry
/// one of the eight window opcodes and a ticket, so that 2^20 slots form about 113,000 windows.
inline void fill(std::span<std::byte> ring, statuses which, bool windows) {
  std::mt19937 engine(20261122);
  const auto random = [&engine] { return static_cast<std::uint32_t>(engine()); };
  const std::size_t slots = ring.size() / 64;
  const auto tickets = static_cast<std::uint32_t>(slots * 17'500 / (1u << 20) + 1);
  std::vector<std::uint32_t> names(tickets);
  for (auto& name : names) name = random();
  for (std::size_t i = 0; i < slots; ++i) {
    std::array<std::uint32_t, 16> slot;
    for (auto& w : slot) w = random();
    slot[0] = which == statuses::one ? 1 : random() % 9;
    slot[1] = 100 + random() % 40;
    slot[2] = random() % 29;
    if (windows && random() % 4 == 0) {
      slot[1] = window_opcodes[random() % window_opcodes.size()];
      slot[4] = names[random() % tickets];
      slot[5] = random() % 2;
    }
    std::memcpy(ring.data() + i * 64, slot.data(), sizeof slot);
  }
}

}  // namespace rings
