// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include "standard.h"

#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "load/workload.h"
#include "observe/histogram.h"

import megakernel;

/// A thread that publishes the work of a profile and watches it finish.
namespace megakernel::tool {

/// The counts of one producer so far. It alone writes, any thread may read.
struct alignas(64) producer_counts {
  tally publications;
  tally slots;
  tally finished_slots;  ///< of publications seen DONE or faulted
  tally served_slots;    ///< the same when the load ended
  tally faulted;         ///< publications seen faulted
  tally ring_full;       ///< calls that found no room
  tally added;           ///< what the accepted ATOMIC_ADDs add up to
  tally unmet;           ///< slots that were due and not published, when an open loop ended
  std::array<tally, counted_opcodes.size()> opcode_slots;
  std::array<tally, counted_opcodes.size()> opcode_inner;  ///< operations in packed slots
  struct tenant {
    tally demand;    ///< slots published
    tally finished;  ///< of those, seen finished
    tally served;    ///< the same when the load ended
    tally waits;     ///< publications seen finished
    tally waited;    ///< nanoseconds they took, together
  };
  std::array<tenant, abi::tenant_masks> tenants;
  std::array<live_histogram, abi::priorities> latency;  ///< of publications, in nanoseconds
};

/// The signals to producers and from them. Set by the thread that owns them.
struct producer_signals {
  std::chrono::steady_clock::time_point begin{};  ///< of the load
  std::chrono::steady_clock::time_point end{};    ///< of the load, at the latest
  std::atomic<bool> stop{false};                  ///< publish nothing more
  std::atomic<bool> abandon{false};               ///< wait no longer for what is outstanding
  std::atomic<std::uint32_t> loading{0};          ///< producers that may still publish
  /// When the last of them stopped; valid when none is loading.
  std::atomic<std::chrono::steady_clock::time_point> ended{};
};

/// A latency is the time from just before the call that published, in an open loop from when the
/// publication was due, until its producer saw its last slot finished. It looks at all that it has
/// outstanding after every 16 publications, or every 1/16 of those outstanding where that is more,
/// and all the time while it has nothing to publish.
class producer {
 public:
  /// Allocates all that it will need.
  producer(const run_profile& profile, std::uint32_t number, submission_queue& queue,
           producer_signals& signals, producer_counts& counts);
  /// Publishes until the load ends, and then waits for what is outstanding.
  void run() noexcept;
  /// Faulted slots that stood in its way, the first few. For when it has ended.
  [[nodiscard]] std::span<const fault_notice> faults() const noexcept { return faults_; }

  static constexpr std::size_t most_faults = 16;  ///< that `faults` names

 private:
  using clock = std::chrono::steady_clock;
  struct pending {
    megakernel::submission submission;
    clock::time_point since;
    std::uint32_t slots;
    std::uint8_t tenant;
    std::uint8_t level;
  };

  [[nodiscard]] bool load_is_over() noexcept;
  void load() noexcept;
  [[nodiscard]] bool hand_over(const publication& work, clock::time_point due) noexcept;
  void accept(const publication& work, const submission& accepted,
              clock::time_point since) noexcept;
  bool observe() noexcept;
  void finish(const pending& p, progress how, clock::time_point seen) noexcept;
  void idle(bool progressed) noexcept;
  void wait_until(clock::time_point due) noexcept;
  void reclaim() noexcept;
  [[nodiscard]] std::uint64_t left() const noexcept;

  work_source source_;
  submission_queue& queue_;
  producer_signals& signals_;
  producer_counts& counts_;
  std::uint64_t share_;       // slots to publish; of no count: endless
  std::uint32_t most_slots_;  // outstanding
  double interval_ = 0;       // nanoseconds a slot, in an open loop
  std::vector<pending> pending_;
  std::vector<fault_notice> faults_;
  std::uint32_t pending_slots_ = 0;
  std::uint32_t since_poll_ = 0;
  clock::time_point last_progress_;
  backoff wait_{0, std::chrono::microseconds(100)};
};

}  // namespace megakernel::tool
