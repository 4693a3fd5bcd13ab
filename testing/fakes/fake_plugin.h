// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// What the plugin of fake_plugin.cpp and its tests agree on.
#pragma once

#include <cstdint>

namespace fake {

/// Its opcode, and what the first argument of a slot may ask for.
inline constexpr std::uint32_t mischief = 9;
enum asked : std::uint32_t {
  add = 0,           ///< the third argument, to the observable word that the second one names
  crash = 1,         ///< takes the process along
  lose = 2,          ///< the device says from now on that it is lost
  hang_driver = 3,   ///< who asks it how many lanes run waits for ever
  never_return = 4,  ///< the handler does not return
};
inline constexpr std::uint32_t wave_size = 2;
inline constexpr std::uint32_t most_lanes = 8;
inline constexpr std::int32_t lost_number = 719;
/// The observable word in which slots are counted that were brought in runs.
inline constexpr std::uint32_t carried_word = 100;

}  // namespace fake
