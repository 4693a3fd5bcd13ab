// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <cstddef>
#include <ranges>
#include <span>
import megakernel.decoder;

// Decodes an empty ring in the three ways, with the decoder module alone.
int main() {
  const auto control = megakernel::encode_control({.tenants = 2});
  const auto ring = megakernel::encode_ring(64);
  if (!control || !ring) return 1;
  const std::span<const std::byte> control_bytes(control->data(), control->size());
  const std::span<const std::byte> ring_bytes(ring->data(), ring->size());
  megakernel::ring_telemetry telemetry;
  megakernel::ring_summary summary;
  if (!telemetry.decode(control_bytes, ring_bytes)) return 1;
  if (!summary.decode(control_bytes, ring_bytes)) return 1;
  const auto view = megakernel::ring_view::over(control_bytes, ring_bytes);
  if (!view || summary.occupancy() != telemetry.occupancy()) return 1;
  const auto outstanding = std::ranges::distance(view->active(megakernel::opcode{42}));
  return telemetry.slots().size() == 64 && outstanding == 0 && summary.occupancy().empty == 64 ? 0
                                                                                               : 1;
}
