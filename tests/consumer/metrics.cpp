// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <chrono>
#include <cstddef>
#include <span>
#include <string_view>
import megakernel.metrics;

// The page of an empty ring out of its bytes, with the metrics module alone.
int main() {
  using namespace std::chrono_literals;
  const auto control = megakernel::encode_control({.tenants = 2});
  const auto ring = megakernel::encode_ring(64);
  if (!control || !ring) return 1;
  megakernel::ring_telemetry telemetry;
  if (!telemetry.decode(std::span(control->data(), control->size()),
                        std::span(ring->data(), ring->size())))
    return 1;
  megakernel::health_tracker tracker;
  const auto health = tracker.observe(telemetry, 0s);
  auto page = megakernel::metrics_page::make({.version = "1", .target = "a file"});
  if (!health || !page || !page->observe({.ring = telemetry, .health = &*health})) return 1;
  megakernel::aligned_array<char> text;
  if (!page->render(megakernel::metrics_format::openmetrics, text)) return 1;
  const std::string_view shown(text.data(), text.size());
  return shown.contains("\nmegakernel_ring_slots{status=\"empty\"} 64\n") &&
                 shown.ends_with("# EOF\n")
             ? 0
             : 1;
}
