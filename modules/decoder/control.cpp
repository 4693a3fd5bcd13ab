// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
module;
#include <cstddef>
#include <cstring>
#include <expected>
#include <span>
module megakernel.decoder;
import megakernel.protocol;

namespace megakernel {

control_snapshot control_snapshot::copy_of(const std::byte* control) noexcept {
  control_snapshot snapshot;
  std::memcpy(snapshot.words_.data(), control, abi::control_bytes);
  if constexpr (!wire_is_native) {
    for (word& w : snapshot.words_) w = wire_order(w);
  }
  return snapshot;
}

result<control_snapshot> decode_control(std::span<const std::byte> control) noexcept {
  if (auto checked = detail::check_control(control); !checked)
    return std::unexpected(checked.error());
  return control_snapshot::copy_of(control.data());
}

}  // namespace megakernel
