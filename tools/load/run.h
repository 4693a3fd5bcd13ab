// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include "standard.h"

#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <expected>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "load/injection.h"
#include "load/producer.h"
#include "load/workload.h"
#include "observe/capture.h"
#include "observe/frame.h"
#include "observe/histogram.h"
#include "observe/inspect.h"
#include "observe/observer.h"
#include "observe/recommend.h"

import megakernel;

/// A kernel under load, and what is found of it: plain values, look by look and at the end. The
/// renderers only write them down.
namespace megakernel::tool {

enum class run_phase : std::uint8_t {
  load,   ///< producers publish
  drain,  ///< they do not, and what was accepted is run
};

/// One look at the running kernel. `accepted` and `latency` are always there.
struct run_observation : ring_observation {
  run_phase phase = run_phase::load;
  std::optional<injected_failure> injected{};  ///< so far
};

enum class run_end : std::uint8_t { duration, count, signal, output };

struct run_tenant {
  std::uint32_t tenant = 0;
  std::uint64_t demand = 0;     ///< slots published under load
  std::uint64_t served = 0;     ///< of those, seen finished when the load ended
  std::uint64_t mean_wait = 0;  ///< nanoseconds a publication took, the whole run
};

struct run_opcode {
  opcode op{};
  std::uint64_t slots = 0;       ///< published
  std::uint64_t inner = 0;       ///< operations inside packed slots
  std::optional<word> claims{};  ///< the kernel's metric; opcodes over 31 have none
};

/// A law that holds when nothing is outstanding and nothing went wrong.
struct conservation_law {
  std::string_view name;      ///< for programs
  std::string_view sentence;  ///< "accepted = done + faults + owed"
  std::uint64_t left = 0;
  std::uint64_t right = 0;
  [[nodiscard]] bool holds() const noexcept { return left == right; }
};

/// Everything found. Latencies are in nanoseconds, of publications.
struct run_findings {
  run_profile profile{};
  run_end ended_by = run_end::duration;
  kernel_state state = kernel_state::idle;
  std::chrono::nanoseconds load_time{};
  std::chrono::nanoseconds drain_time{};
  bool cut_short = false;  ///< what was outstanding was not waited for
  work_totals totals{};
  std::uint64_t served_under_load = 0;  ///< slots that producers saw finished under load
  double slots_per_second = 0;          ///< of the load
  double least_per_second = 0;          ///< of its looks
  double most_per_second = 0;
  std::uint64_t publications = 0;
  std::uint64_t ring_full = 0;  ///< publishing calls that found no room
  std::uint64_t unmet = 0;      ///< slots of an open loop that were due and not published
  quantiles latency{};
  std::array<quantiles, abi::priorities> latency_by_priority{};
  std::vector<run_tenant> tenants{};
  double jain_of_service = 1;  ///< of served / demand
  double jain_of_wait = 1;     ///< of the mean waits
  std::vector<run_opcode> opcodes{};
  std::vector<conservation_law> laws{};
  result_check results{};
  std::uint32_t alarms = 0;            ///< looks that found the kernel stalled, blocked or dead
  std::vector<fault_notice> faults{};  ///< some of them
  run_observation deepest{};           ///< the sample under load that found most in the queue
  run_observation last{};              ///< after the drain
  std::uint32_t workers_left = 0;      ///< lanes that did not leave
  std::optional<injected_failure> injected{};
  control_snapshot control{};  ///< after the lanes left, where they did
};

/// Whether somebody should look: exit status 3.
[[nodiscard]] bool needs_attention(const run_findings& found) noexcept;

/// The buffers of the last two samples, for a dump.
struct run_dump {
  struct sample {
    std::span<const std::byte> control;
    std::span<const std::byte> ring;
    std::chrono::system_clock::time_point at;
  };
  sample last;
  sample previous;
  std::span<const std::byte> debug_log;
  std::span<const std::byte> io_queue;
};

/// The storage of a frame for `live_run::sample`.
struct run_sample {
  live_snapshot snapshot;
  publisher_totals publishers;
};

/// A run: `start`, then `look` as often as one likes until `load_ended`, then `drain` until it says
/// so, then `finish`. For one thread.
class live_run {
 public:
  /// `keep_previous`: `dump` will be asked for. The error is a sentence.
  [[nodiscard]] static std::expected<std::unique_ptr<live_run>, std::string> start(
      const run_profile& profile, bool keep_previous);
  /// Stops everything, whatever is outstanding.
  ~live_run();

  /// Whether producers have ended, all they had to publish being published. Quotas are refilled
  /// here.
  [[nodiscard]] bool load_ended();
  /// Makes the failure happen that was asked for, when it is due. The error is a sentence.
  [[nodiscard]] std::expected<void, std::string> inject_when_due();
  /// The rest of the load's duration; a long time when it has none.
  [[nodiscard]] std::chrono::nanoseconds load_left() const;
  /// Tells producers to publish nothing more, and waits until they do not.
  void stop_load(run_end why);
  /// Takes a sample. Counts of the lanes are asked for and waited for until `flush`: to wait lets a
  /// ring run empty, to look at once misses what a lane has counted since it last flushed, at most
  /// 256 slots. The error is a sentence.
  [[nodiscard]] std::expected<run_observation, std::string> observe(
      std::chrono::nanoseconds flush = std::chrono::nanoseconds::zero());
  /// Waits at most `wait`; whether nothing is outstanding any more. Publishes nothing from now on.
  [[nodiscard]] bool drain(std::chrono::nanoseconds wait);
  [[nodiscard]] std::chrono::nanoseconds drained_for() const;
  /// Looks a last time, stops the lanes and adds everything up. `cut_short`: the drain was.
  [[nodiscard]] std::expected<run_findings, std::string> finish(bool cut_short);
  /// The frame of the last sample, until the next.
  [[nodiscard]] frame last_frame();
  /// After `finish`.
  [[nodiscard]] run_dump dump() const noexcept;

  [[nodiscard]] const run_profile& profile() const noexcept { return profile_; }
  /// For a capture; its texts are empty. For any thread.
  [[nodiscard]] capture_header about();
  /// A frame of now, whose spans live in `storage`. For any thread, each with a storage of its own,
  /// as long as this object lives. Lanes are not asked for their counts: at most 256 slots each are
  /// missing from them. The error is a sentence. O(slots).
  [[nodiscard]] std::expected<frame, std::string> sample(run_sample& storage);
  /// For who watches from another thread, until this object ends: what of the kernel can be read
  /// while it runs, and what its producers have counted so far. `latency` is filled in, and must
  /// outlive the result.
  [[nodiscard]] kernel_session& kernel() noexcept { return kernel_; }
  [[nodiscard]] published_counts published(latency_counts& latency) const;

 private:
  using clock = std::chrono::steady_clock;
  live_run(const run_profile& profile, kernel_session&& kernel) noexcept;

  [[nodiscard]] std::expected<void, std::string> start_threads();
  void refill() noexcept;
  [[nodiscard]] latency_histogram latency_now(std::optional<priority> only) const;
  template <class Get>
  [[nodiscard]] std::uint64_t sum(Get get) const;
  void count_publishers(publisher_totals& known) const;
  [[nodiscard]] frame frame_of(const live_snapshot& taken, std::chrono::nanoseconds at,
                               std::chrono::system_clock::time_point wall,
                               publisher_totals& known) const;
  void add_up(run_findings& found);
  void add_tenants(run_findings& found) const;
  void add_opcodes(run_findings& found) const;
  void add_laws(run_findings& found);

  run_profile profile_;
  kernel_session kernel_;
  window_opcodes windows_;
  producer_signals signals_;
  std::vector<std::unique_ptr<producer_counts>> counts_;
  std::unique_ptr<injector> injector_;
  std::vector<std::unique_ptr<producer>> producers_;
  std::vector<std::thread> threads_;
  clock::time_point drain_began_;
  clock::time_point last_sample_at_;
  clock::time_point refilled_at_;
  std::chrono::system_clock::time_point began_;  // as `signals_.begin`
  run_phase phase_ = run_phase::load;
  run_end why_ = run_end::count;
  bool keep_previous_ = false;
  latency_histogram latency_before_;
  run_observation last_;
  run_observation deepest_;
  std::uint64_t done_before_drain_ = 0;
  std::uint32_t alarms_ = 0;
  double least_ = 0;
  double most_ = 0;
  byte_buffer previous_control_;
  byte_buffer previous_ring_;
  std::chrono::system_clock::time_point previous_at_;
  std::chrono::system_clock::time_point last_at_;
  publisher_totals publishers_;
};

}  // namespace megakernel::tool
