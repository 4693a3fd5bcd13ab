// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// What a target makes of a GPU that does not do as it should: it waits no longer than it was told
// to, keeps what is still used, and leaves no thread. The device here is only what it says of
// itself.
#include <pthread.h>

#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <expected>
#include <memory>
#include <optional>
#include <span>
#include <thread>
#include <utility>

#include "support.h"

#include "runtime_support.h"

import megakernel;

#include "fake_targets.h"

namespace {

using namespace props;
using namespace std::chrono_literals;
namespace gpu = mk::gpu;

/// A kernel of one lane, and what was asked of it.
struct device {
  std::atomic<std::uint32_t> lanes{1};
  std::atomic<bool> obeys{true};  ///< it leaves when it is told to
  std::atomic<bool> carries{true};
  std::atomic<std::uint32_t> samples{0};
  std::atomic<std::uint32_t> carried{0};
  std::atomic<std::uint32_t> left{0};
  std::atomic<std::uint32_t> closed{0};

  [[nodiscard]] gpu::interface calls() {
    return {
        .version = gpu::interface_version,
        .own_process = 0,
        .context = this,
        .probe = [](void*, gpu::device_info*, gpu::failure*) { return gpu::call_status::no_gpu; },
        .start = [](void* self, const gpu::request*, gpu::kernel** started, std::uint32_t* count,
                    gpu::failure*) -> gpu::call_status {
          *started = reinterpret_cast<gpu::kernel*>(self);
          *count = 1;
          return gpu::call_status::yes;
        },
        .running = [](gpu::kernel* of, std::uint32_t* count, gpu::failure*) -> gpu::call_status {
          ++self(of).samples;
          *count = self(of).lanes;
          return gpu::call_status::yes;
        },
        .ask_flush = [](gpu::kernel*) -> std::uint32_t { return 1; },
        .flushed = [](gpu::kernel*, std::uint32_t) { return false; },
        .leave =
            [](gpu::kernel* of) {
              ++self(of).left;
              if (self(of).obeys) self(of).lanes = 0;
            },
        .close = [](gpu::kernel* of) { ++self(of).closed; },
        .upload = [](gpu::kernel* of, const gpu::slot_range*, std::uint32_t, std::uint32_t* room,
                     gpu::failure*) -> gpu::call_status {
          ++self(of).carried;
          *room = 0;
          return self(of).carries ? gpu::call_status::yes : gpu::call_status::failed;
        },
        .scan = [](gpu::kernel*, const gpu::scan_request*, void*, std::uint64_t, std::uint64_t*,
                   gpu::failure*) { return gpu::call_status::busy; },
    };
  }

 private:
  static device& self(gpu::kernel* of) { return *reinterpret_cast<device*>(of); }
};

/// A target over such a device. The buffers outlive it, whatever it leaves behind.
struct trial {
  device its;
  gpu::interface calls = its.calls();
  mk::kernel_buffers buffers = value_of(mk::kernel_buffers::make({.slots = 8}));
  mk::doorbell bell;
  std::unique_ptr<mk::gpu_target> target;

  explicit trial(const mk::gpu_options& options = {.lanes = 1})
      : target(value_of(mk::gpu_target::make(calls, options))) {}
  mk::result<void> launch() { return target->launch({.buffers = buffers, .bell = bell}); }
};

bool before_its_launch() {
  return once("a target without a kernel asks one", [] {
    trial t;
    require(t.target->running() == 0 && t.target->check() && t.target->end());
    require(t.target->flush(mk::deadline::immediate()), "nothing is counted that could be missing");
    std::array<std::byte, 4> room{};
    require(!t.target->makes_digests());
    require(value_of(t.target->digest({}, room, mk::deadline::immediate())) == 0);
    t.target.reset();
    require(t.its.samples == 0 && t.its.left == 0 && t.its.closed == 0);
  });
}

bool flushes_in_time() {
  return once("a device that does not flush is waited for too long, or when it has left", [] {
    trial t;
    value_of(t.launch());
    require(!t.target->flush(mk::deadline::immediate()));
    require(!t.target->flush(mk::deadline::in(3ms)));
    t.its.lanes = 0;
    require(t.target->flush(mk::deadline::in(1h)), "who has left has counted");
  });
}

bool quanta() {
  return once("nobody starts the next quantum, or somebody goes on when the target has ended", [] {
    for (const auto ring : {mk::ring_memory::host, mk::ring_memory::device}) {
      trial t({.lanes = 1, .ring = ring, .quantum = 1ms});
      value_of(t.launch());
      require(comes_true([&] { return t.its.samples > 20; }), "nobody looks");
      t.target.reset();
      const std::uint32_t samples = t.its.samples;
      std::this_thread::sleep_for(5ms);
      require(t.its.samples == samples && t.its.closed == 1);
    }
    // Without a thread for it: whoever asks how many lanes run does it.
    trial t({.lanes = 1, .quantum = 1ms});
    {
      const fakes::no_more_threads limit;
      value_of(t.launch());
    }
    std::this_thread::sleep_for(5ms);
    require(t.its.samples == 0 && t.target->running() == 1 && t.its.samples == 1);
  });
}

bool carrying_ends() {
  return once("a device that takes no more runs is brought some all the same", [] {
    trial t({.lanes = 1, .ring = mk::ring_memory::device});
    t.its.carries = false;
    value_of(t.launch());
    require(comes_true([&] { return t.its.carried == 1; }));
    std::this_thread::sleep_for(5ms);
    require(t.its.carried == 1);
  });
}

bool not_leaving() {
  return once("a kernel that does not leave is closed, or waited for for ever", [] {
    trial t;
    value_of(t.launch());
    require(!t.target->end() && t.its.left == 0, "it was asked, and not told");
    t.target.reset();
    require(t.its.left == 1 && t.its.closed == 1);

    trial stays;
    stays.its.obeys = false;
    value_of(stays.launch());
    const auto before = std::chrono::steady_clock::now();
    stays.target.reset();
    const auto took = std::chrono::steady_clock::now() - before;
    // Two seconds by its own word; the rest is for a machine that is busy.
    require(took >= 2s && took < 30s && stays.its.left == 1);
    require(stays.its.closed == 0, "what it works on was taken away");
  });
}

}  // namespace

int main() {
  bool ok = true;
  ok &= before_its_launch();
  ok &= flushes_in_time();
  ok &= quanta();
  ok &= carrying_ends();
  ok &= not_leaving();
  return ok ? 0 : 1;
}
