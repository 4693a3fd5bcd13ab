// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
module;
#include <cstddef>
#include <cstdint>
#include <string_view>
export module megakernel.health:state;

export namespace megakernel {

/// The state of a kernel, from harmless to grave: of several states the greatest counts.
/// One snapshot shows only `idle`, `busy` and `faulted`. docs/protocol.md#health-tracker
enum class kernel_state : std::uint8_t {
  idle,         ///< nothing is outstanding
  progressing,  ///< slots were drained since the last sample
  stopped,      ///< the heartbeat stands still, as SHUTDOWN asked
  watching,     ///< too early to say: the first sample, or quiet for less than the hold time
  busy,         ///< slots are outstanding; only more samples show whether they move
  faulted,      ///< some slots are in FAULT; the tracker counts them and never says so
  blocked,      ///< all that is outstanding waits for a mask or a token
  stalled,      ///< work is outstanding, none is drained, and the kernel still passes (or does not
                ///< report)
  dead,         ///< the kernel reports a heartbeat, and it stands still
};
inline constexpr std::size_t kernel_states = 9;

/// `"stalled"` and so on; empty for a value that is none.
[[nodiscard]] std::string_view to_string(kernel_state state) noexcept;

/// Whether outstanding work does not move: blocked, stalled or dead.
[[nodiscard]] constexpr bool stands_still(kernel_state state) noexcept {
  return state >= kernel_state::blocked;
}

/// Whether a person should act: the kernel stands still or has faulted.
[[nodiscard]] constexpr bool needs_attention(kernel_state state) noexcept {
  return state >= kernel_state::faulted;
}

}  // namespace megakernel
