// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <array>
#include <cstddef>
#include <span>
import megakernel.protocol;

// Publishes one slot and reads it back, with the protocol module alone.
int main() {
  auto ring = megakernel::encode_ring(4);
  if (!ring) return 1;
  const std::span<std::byte> bytes(ring->data(), ring->size());
  auto publisher = megakernel::ring_publisher::over(bytes);
  if (!publisher) return 1;
  const std::array<megakernel::word, 2> arguments{7, 8};
  if (!publisher->publish(2, {.op = megakernel::opcode{42}, .tenant = 1, .arguments = arguments}))
    return 1;
  const auto again = publisher->publish(2, {.op = megakernel::opcode{42}});
  return !again && again.error().code == megakernel::error_code::slot_not_publishable ? 0 : 1;
}
