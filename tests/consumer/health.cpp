// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <chrono>
#include <cstddef>
#include <span>
import megakernel.health;

// Two looks at an idle ring, with the health module alone.
int main() {
  using namespace std::chrono_literals;
  const auto control = megakernel::encode_control({.tenants = 2});
  const auto ring = megakernel::encode_ring(64);
  if (!control || !ring) return 1;
  megakernel::ring_telemetry telemetry;
  if (!telemetry.decode(std::span(control->data(), control->size()),
                        std::span(ring->data(), ring->size())))
    return 1;
  megakernel::diagnostician doctor;
  if (!doctor.observe(telemetry, 0s)) return 1;
  const auto second = doctor.observe(telemetry, 1s);
  if (!second || second->alarm()) return 1;
  return doctor.health().state == megakernel::kernel_state::idle ? 0 : 1;
}
