// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Figures of a ring while a kernel runs: the same whether a device reduces the ring or it is
// decoded here, and never those of a device that contradicts itself.
#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <expected>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "support.h"

#include "runtime_support.h"

import megakernel;

#include "fake_gpu.h"

namespace {

using namespace props;
using fakes::device_mood;
using mk::word;

constexpr std::uint32_t slots = 100;
constexpr mk::sketch_shape some_shape{.depth = 3, .width = 50};

mk::window_opcodes windows_of(std::initializer_list<word> list) {
  std::vector<mk::opcode> named;
  for (const word op : list) named.push_back(mk::opcode{op});
  return value_of(mk::window_opcodes::of(named));
}

/// Windows, a batch and single slots, some of which a kernel is done with.
void fill(mk::kernel_session& kernel) {
  const std::array<word, 2> payload{5, 6};
  const std::array<std::span<const word>, 3> entries{payload, payload, payload};
  for (const word ticket : {9u, 3u, 7u})
    value_of(kernel.queue().publish_window({.op = mk::opcode{9},
                                            .tenant = ticket,
                                            .ticket = ticket,
                                            .required = entries,
                                            .lookahead = std::span(entries).first(1)}));
  const std::array<mk::batch_item, 2> items{};
  value_of(kernel.queue().publish_batch(1, items, 4));
  for (word i = 0; i < 30; ++i)
    value_of(kernel.queue().publish({.op = mk::opcode{1000 + i % 3}, .tenant = i}));
  for (std::uint32_t slot = 0; slot < slots; slot += 3) {
    const auto at = status(kernel.buffers(), slot);
    if (at.load() != 0) at.store(slot % 9);
  }
  for (word i = 0; i < 32; ++i) control(kernel, mk::abi::metric_word + i).store(i * i);
}

mk::kernel_session filled() {
  auto kernel = value_of(mk::kernel_session::make({.layout = {.slots = slots}}));
  fill(kernel);
  return kernel;
}

/// A kernel on a fake device, which runs nothing.
mk::kernel_session on_device() {
  fakes::mood = device_mood::able;
  auto kernel = filled();
  value_of(kernel.launch(value_of(mk::gpu_target::make(fakes::reducing_gpu, {})), soon()));
  return kernel;
}

/// What decoding a snapshot says.
void require_right(mk::kernel_session& kernel, const mk::live_digest& digest,
                   const mk::window_opcodes& windows, const mk::sketch_shape& shape) {
  mk::live_snapshot snapshot;
  value_of(kernel.snapshot(snapshot));
  mk::ring_telemetry telemetry;
  value_of(telemetry.decode(snapshot.control(), snapshot.ring(), windows));
  require(digest.summary() == telemetry.summary(), "occupancy, windows or control words differ");
  require(digest.counts() ==
              mk::counts_of(value_of(mk::ring_view::over(snapshot.control(), snapshot.ring()))),
          "the census differs");
  mk::telemetry_sketch sketch;
  if (shape != mk::sketch_shape{}) {
    sketch = value_of(mk::telemetry_sketch::of_shape(shape.depth, shape.width));
    value_of(sketch.assign(telemetry));
  }
  require(digest.sketches() == sketch && digest.sketches().shape() == shape &&
              digest.sketches().total_slots() == sketch.total_slots(),
          "the sketches differ");
}

void require_empty(const mk::live_digest& digest) {
  require(digest.summary() == mk::ring_summary() && digest.counts() == mk::slot_counts() &&
              !digest.by_device() && !digest.flushed() && digest.sketches().total_slots() == 0,
          "something is left of a refused look");
}

bool here_and_there() {
  return once("a device's figures differ from those that are decoded here", [] {
    const auto none = windows_of({});
    const auto some = windows_of({1000, 9});
    auto here = filled();
    auto there = on_device();
    mk::live_digest reduced;
    mk::live_digest decoded;
    for (int again = 0; again < 2; ++again) {
      for (const mk::window_opcodes* windows : {&some, &none}) {
        for (const mk::sketch_shape& shape : {mk::sketch_shape{}, some_shape, {1, 1}}) {
          value_of(here.digest(decoded, *windows, shape));
          require(!decoded.by_device());
          require_right(here, decoded, *windows, shape);
          value_of(there.digest(reduced, *windows, shape, soon()));
          require(reduced.by_device() && reduced.flushed());
          require_right(there, reduced, *windows, shape);
          require(reduced.summary().occupancy() == decoded.summary().occupancy() &&
                  std::ranges::equal(reduced.summary().windows(), decoded.summary().windows()));
        }
      }
    }
    // And so are the figures that are derived from them.
    require(value_of(mk::health_since(decoded.summary(), decoded.summary())) ==
            value_of(mk::health_since(reduced.summary(), reduced.summary())));
    require(decoded.summary().counters() == reduced.summary().counters());
  });
}

bool decoded_after_all() {
  return once("what a device has no room for is missing", [] {
    auto kernel = on_device();
    mk::live_digest digest;
    const auto some = windows_of({9, 1000});
    const auto many = windows_of({1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 1000});
    const auto observe = [&](device_mood mood, const mk::window_opcodes& windows,
                             const mk::sketch_shape& shape, std::uint32_t scans) {
      fakes::mood = mood;
      fakes::scans = 0;
      value_of(kernel.digest(digest, windows, shape));
      require(!digest.by_device() && fakes::scans == scans);
      require_right(kernel, digest, windows, shape);
    };
    observe(device_mood::busy, some, some_shape, 1);
    observe(device_mood::busy, some, {}, 1);
    observe(device_mood::cramped, some, some_shape, 1);
    observe(device_mood::able, many, some_shape, 0);
    observe(device_mood::able, some, {.depth = 1, .width = 16'385}, 0);
    fakes::mood = device_mood::able;
    value_of(kernel.digest(digest, some, {.depth = 1, .width = 16'384}));
    require(digest.by_device());
  });
}

/// Says that it makes digests, and makes none.
class boaster final : public mk::kernel_target {
 public:
  mk::result<void> launch(const mk::launch_context&) noexcept override { return {}; }
  bool flush(mk::deadline) noexcept override { return true; }
  [[nodiscard]] bool makes_digests() const noexcept override { return true; }
  [[nodiscard]] std::uint32_t running() const noexcept override { return 0; }
};

bool no_digest_of_its_own() {
  return once("a target that makes no digest leaves the figures out", [] {
    auto kernel = filled();
    value_of(kernel.launch(std::make_unique<boaster>(), soon()));
    mk::live_digest digest;
    const auto some = windows_of({9});
    value_of(kernel.digest(digest, some, some_shape));
    require(!digest.by_device());
    require_right(kernel, digest, some, some_shape);
  });
}

bool not_believed() {
  return once("a device that contradicts itself is believed", [] {
    auto kernel = on_device();
    mk::live_digest digest;
    const auto some = windows_of({9});
    const auto observe = [&](device_mood mood, mk::error_code wanted,
                             const mk::sketch_shape& shape) {
      fakes::mood = device_mood::able;
      value_of(kernel.digest(digest, some, some_shape));
      require(digest.by_device());
      fakes::mood = mood;
      const auto got = kernel.digest(digest, some, shape);
      require(!got && got.error().code == wanted);
      require_empty(digest);
    };
    using enum mk::error_code;
    observe(device_mood::careless, digest_inconsistent, some_shape);
    observe(device_mood::deaf, digest_inconsistent, some_shape);
    observe(device_mood::short_sighted, digest_inconsistent, some_shape);
    observe(device_mood::boastful, digest_wrong_size, some_shape);
    observe(device_mood::lost, device_failed, some_shape);
    observe(device_mood::able, sketch_dim_zero, {.depth = 0, .width = 4});
    observe(device_mood::able, sketch_dim_zero, {.depth = 4, .width = 0});
    observe(device_mood::able, sketch_dim_overflow, {.depth = ~0ull, .width = 3});
  });
}

bool while_lanes_run() {
  return once("figures of a ring that is worked on do not add up", [] {
    auto kernel = running({.layout = {.slots = 512}}, 2);
    const auto none = windows_of({});
    std::atomic<bool> enough{false};
    std::jthread producer([&] {
      while (!enough) (void)kernel.queue().publish({.tenant = 3}, soon());
    });
    mk::live_digest before;
    mk::live_digest now;
    value_of(kernel.digest(before));
    std::uint64_t done = 0;
    const bool moves = comes_true([&] {
      value_of(kernel.digest(now, none, some_shape, soon()));
      require(now.flushed() && now.summary().occupancy().total_slots() == 512);
      require(now.sketches().active_slots() == now.summary().occupancy().active());
      const auto change = value_of(mk::health_since(before.summary(), now.summary()));
      done += change.done_delta;
      std::swap(before, now);
      return done > 10'000;
    });
    enough = true;
    producer.join();
    require(moves, "nothing is done");
    // A slot that is being written has no status yet.
    const std::uint32_t held = value_of(mk::detail::try_claim(kernel.queue(), soon()));
    value_of(kernel.digest(now));
    require(now.summary().occupancy().unknown == 1);
    mk::detail::abort(kernel.queue(), held);
    value_of(kernel.drain(soon()));
  });
}

}  // namespace

int main() {
  bool ok = true;
  ok &= here_and_there();
  ok &= decoded_after_all();
  ok &= no_digest_of_its_own();
  ok &= not_believed();
  ok &= while_lanes_run();
  return ok ? 0 : 1;
}
