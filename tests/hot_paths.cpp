// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The paths that are taken for every slot, each once over the same input, for ci/instructions,
// which counts what they execute. Built as users build it; nothing here depends on time or chance.
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <expected>
#include <optional>
#include <span>
#include <utility>
#include <vector>

import megakernel;

namespace {

using namespace megakernel;

constexpr std::uint32_t slots = 4096;

/// What each path reads and writes, ready before any of them starts.
struct input {
  std::vector<word> control = std::vector<word>(168);
  std::vector<word> ring = std::vector<word>(std::size_t{slots} * 16);
  std::vector<word> fresh = std::vector<word>(std::size_t{slots} * 16);
  window_opcodes windows;
  ring_telemetry telemetry;
  ring_telemetry with_windows;
  ring_summary summary;
  telemetry_sketch sketch;
  count_min_sketch counts;
  byte_buffer travels;
  std::vector<work_item> items = std::vector<work_item>(slots / 4);

  [[nodiscard]] std::span<const std::byte> control_bytes() const {
    return std::as_bytes(std::span(control));
  }
  [[nodiscard]] std::span<const std::byte> ring_bytes() const {
    return std::as_bytes(std::span(ring));
  }
};

bool fill(input& in) {
  std::uint64_t state = 1;
  const auto next = [&state] { return state = splitmix64(state); };
  in.control[2] = 3;
  for (std::size_t t = 0; t < 29; ++t) in.control[3 + t] = 1;
  for (std::size_t i = 0; i < in.ring.size(); i += 16) {
    in.ring[i] = static_cast<word>(next() % 8);
    in.ring[i + 1] = static_cast<word>(next() % 12);
    in.ring[i + 2] = static_cast<word>(next() % 4);
    in.ring[i + 3] = 2;
    in.ring[i + 4] = static_cast<word>(next() % 64);
    in.ring[i + 5] = static_cast<word>(next() % 2);
  }
  const std::array listed{opcode{8}, opcode{9}};
  auto windows = window_opcodes::of(listed);
  auto sketch = telemetry_sketch::of_shape(4, 256);
  auto counts = count_min_sketch::of_shape(4, 1000);
  if (!windows || !sketch || !counts) return false;
  in.windows = std::move(*windows);
  in.sketch = std::move(*sketch);
  in.counts = std::move(*counts);
  auto bytes = write_sketch(in.counts);
  if (!bytes) return false;
  in.travels = std::move(*bytes);
  for (std::size_t i = 0; i < in.items.size(); ++i)
    in.items[i] = {.op = opcode{9}, .input = static_cast<word>(i)};
  // Storage grows at the first call.
  return in.telemetry.decode(in.control_bytes(), in.ring_bytes()) &&
         in.with_windows.decode(in.control_bytes(), in.ring_bytes(), in.windows) &&
         in.summary.decode(in.control_bytes(), in.ring_bytes()) && in.sketch.assign(in.telemetry);
}

}  // namespace

// Names that ci/instructions finds in the profile. Each says whether all went well.
extern "C" {

[[gnu::noinline]] bool hot_decode(input& in) {
  return in.telemetry.decode(in.control_bytes(), in.ring_bytes()).has_value();
}

[[gnu::noinline]] bool hot_decode_windows(input& in) {
  return in.with_windows.decode(in.control_bytes(), in.ring_bytes(), in.windows).has_value();
}

[[gnu::noinline]] bool hot_summary(input& in) {
  return in.summary.decode(in.control_bytes(), in.ring_bytes()).has_value();
}

[[gnu::noinline]] bool hot_publish(input& in) {
  auto publisher = ring_publisher::over(std::as_writable_bytes(std::span(in.fresh)));
  if (!publisher) return false;
  const std::array<word, 3> arguments{1, 2, 3};
  bool ok = true;
  for (std::uint32_t slot = 0; slot < slots / 2; ++slot)
    ok &= publisher->publish(slot, {.op = opcode{9}, .arguments = arguments}).has_value();
  const std::array<packed_op, 2> inner{packed_op{1, arguments}, packed_op{2, arguments}};
  for (std::uint32_t slot = slots / 2; slot < slots / 2 + slots / 4; ++slot)
    ok &= publisher->publish_packed(slot, {.ops = inner}).has_value();
  return ok && publisher->publish_work_items(slots / 2 + slots / 4, 0, in.items).has_value();
}

[[gnu::noinline]] bool hot_sketch(input& in) { return in.sketch.assign(in.telemetry).has_value(); }

[[gnu::noinline]] bool hot_sketch_add(input& in) {
  bool ok = true;
  for (std::uint32_t key = 0; key < slots; ++key) ok &= in.counts.add(key, 1).has_value();
  return ok;
}

[[gnu::noinline]] bool hot_sketch_read(input& in) {
  return read_count_min_sketch({in.travels.data(), in.travels.size()}).has_value();
}

[[gnu::noinline]] bool hot_recommend(input&) {
  auto request = launch_request::direct(1000, 64, 256);
  bool ok = true;
  std::optional<launch_topology> previous;
  for (std::uint32_t queue = 1; queue <= 1000; ++queue) {
    request.queue_len = queue;
    const auto launch = recommend(request, previous);
    ok &= launch.has_value();
    if (launch) previous = launch->topology;
  }
  return ok;
}

[[gnu::noinline]] bool hot_interpret(input& in) {
  const device::launch where{.control = in.control.data(),
                             .control_words = static_cast<word>(in.control.size()),
                             .ring = in.ring.data(),
                             .slots = slots};
  using counters_type = device::counter_batch<device::host_memory>;
  using slots_type = device::interpreter<device::host_memory, counters_type>;
  device::host_memory memory;
  counters_type counters(where, memory);
  slots_type each(where, memory, counters);
  device::ring_lane<slots_type, counters_type>(where, each, counters, {0, 1}).run_once();
  counters.flush();
  return true;
}
}

int main() {
  input in;
  bool ok = fill(in);
  ok = ok && hot_decode(in) && hot_decode_windows(in) && hot_summary(in) && hot_publish(in) &&
       hot_sketch(in) && hot_sketch_add(in) && hot_sketch_read(in) && hot_recommend(in) &&
       hot_interpret(in);
  if (!ok) std::fputs("A hot path was refused.\n", stderr);
  return ok ? 0 : 1;
}
