// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include "standard.h"

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "observe/histogram.h"

import megakernel;

/// One look at a kernel's buffers, wherever it comes from: a live run, a capture of one, or files
/// that another process rewrites. What observes a kernel is given frames and nothing else, so that
/// it shows the same live and replayed.
namespace megakernel::tool {

/// Counts of the publishers of a run that its buffers do not show; all since the load began.
struct publisher_totals {
  struct tenant {
    std::uint32_t tenant = 0;
    std::uint64_t demand = 0;    ///< slots published
    std::uint64_t finished = 0;  ///< of those, seen finished
    std::uint64_t waits = 0;     ///< publications seen finished
    std::uint64_t waited = 0;    ///< nanoseconds they took, together
  };
  std::uint64_t accepted = 0;      ///< slots
  std::uint64_t publications = 0;  ///< each a slot, a packed slot, a window or a batch
  std::uint64_t ring_full = 0;     ///< publishing calls that found no room
  std::vector<tenant> tenants{};   ///< by number
  latency_histogram latency{};     ///< of publications seen finished; nanoseconds
};

/// The spans live as long as the source says, usually until its next frame.
struct frame {
  std::chrono::nanoseconds at{};  ///< of a steady clock, since the source began; never falls
  std::chrono::system_clock::time_point wall{};
  std::span<const std::byte> control;
  std::span<const std::byte> ring;
  std::span<const std::byte> debug_log;       ///< empty where there is none
  std::span<const std::byte> io_queue;        ///< empty where there is none
  std::span<const std::uint32_t> torn_pages;  ///< of 32 slots, ascending
  const publisher_totals* publishers = nullptr;
};

}  // namespace megakernel::tool
