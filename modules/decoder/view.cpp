// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
module;
#include <array>
#include <cstddef>
#include <cstdint>
#include <expected>
#include <span>
module megakernel.decoder;
import megakernel.protocol;

namespace megakernel {
namespace {

constexpr std::array<std::byte, abi::control_bytes> zero_control{};

}  // namespace

ring_view::ring_view() noexcept : control_(zero_control.data()) {}

result<void> detail::check_control(std::span<const std::byte> control) noexcept {
  if (control.size() < abi::control_bytes) {
    return std::unexpected(error{.code = error_code::control_too_short,
                                 .buffer = buffer::control,
                                 .found = control.size(),
                                 .bound = abi::control_bytes});
  }
  if (control.size() % sizeof(word) != 0) {
    return std::unexpected(error{.code = error_code::control_misaligned,
                                 .buffer = buffer::control,
                                 .found = control.size(),
                                 .bound = sizeof(word)});
  }
  return {};
}

// docs/protocol.md#decode-validation
result<ring_view> ring_view::over(std::span<const std::byte> control,
                                  std::span<const std::byte> ring) noexcept {
  if (auto checked = detail::check_control(control); !checked)
    return std::unexpected(checked.error());
  if (ring.size() % abi::slot_bytes != 0) {
    return std::unexpected(error{.code = error_code::ring_partial_slot,
                                 .buffer = buffer::ring,
                                 .found = ring.size(),
                                 .bound = abi::slot_bytes});
  }
  constexpr std::uint64_t most = 0xFFFF'FFFFu;
  const std::uint64_t slots = ring.size() / abi::slot_bytes;
  if (slots > most) {
    return std::unexpected(error{
        .code = error_code::ring_too_large, .buffer = buffer::ring, .found = slots, .bound = most});
  }
  ring_view view;
  view.control_ = control.data();
  view.ring_ = ring.data();
  view.slots_ = static_cast<std::uint32_t>(slots);
  return view;
}

}  // namespace megakernel
