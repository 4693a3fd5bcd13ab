// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
module;
#include <megakernel/lane_order.h>
#include <sched.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <expected>
#include <memory>
#include <new>
export module megakernel.runtime:workers;
import megakernel.protocol;
import :deadline;
import :submission_queue;
import :kernel;
import :target;

export namespace megakernel {

/// How lanes of this machine run.
struct worker_options {
  std::uint32_t workers = 1;  ///< threads, a lane each; 1 to 1024
  schedule order = schedule::ring_order;
  bool one_shot = false;  ///< look at each slot once and leave
  /// Poll without a pause: the least latency, and a core a worker even when idle.
  bool spin = false;
  device::search search{};  ///< of the plain form
};

namespace detail {

/// The state that lanes of one launch share with their owner; the last of them frees it.
struct worker_state {
  struct alignas(64) lane {
    std::atomic<std::uint32_t> flushed{0};
  };
  device::launch where{};
  worker_options options{};
  doorbell* bell = nullptr;
  alignas(64) std::atomic<std::uint32_t> flush_asked{0};
  alignas(64) std::atomic<std::uint32_t> running{0};
  std::unique_ptr<lane[]> lanes;
};

/// Lets a lane pass until SHUTDOWN: backs off while there is nothing to do, and flushes its counts
/// then, when asked, and every so many slots.
template <class Lane, class Counters>
void pass_until_shutdown(Lane& lane, Counters& counters, worker_state& state,
                         std::uint32_t number) noexcept {
  constexpr std::uint32_t flush_every = 256;
  constexpr std::uint32_t idle_flush = 64;
  constexpr std::uint32_t busy_passes = 4096;
  // A sample takes the line of the next slot from the producer that is writing it.
  constexpr std::uint32_t longest_pause = 8;
  // A pass may be long: who has work for this lane may be waiting for its core.
  constexpr std::uint32_t polite_passes = 64;
  // Naps, a second of them, after which a lane searches again: a bell can be missed.
  constexpr std::uint32_t naps_of_a_sleep = 1024;
  constexpr std::chrono::microseconds shortest{50};
  constexpr std::chrono::microseconds longest{1000};
  // A lane sleeps once it has looked at everything it could have left behind.
  const std::uint32_t awake = std::max(busy_passes, lane.passes_of_search());
  auto& flushed = state.lanes[number].flushed;
  std::uint32_t unflushed = 0;
  std::uint32_t idle_passes = 0;
  std::uint32_t idle_sleeps = 0;
  std::chrono::microseconds idle_sleep = shortest;
  for (;;) {
    const device::pass came = lane.step();
    if (came == device::pass::left) return;
    const std::uint32_t asked = state.flush_asked.load(std::memory_order_relaxed);
    ++unflushed;
    if (came == device::pass::ran) {
      idle_passes = 0;
      idle_sleep = shortest;
    } else {
      ++idle_passes;
    }
    if (unflushed >= flush_every || idle_passes == idle_flush ||
        asked != flushed.load(std::memory_order_relaxed)) {
      counters.flush();
      flushed.store(asked, std::memory_order_release);
      unflushed = 0;
    }
    if (idle_passes == 0) continue;
    if (idle_passes < awake || state.options.spin) {
      idle_passes -= idle_passes == awake;
      if (idle_passes % polite_passes == 0 && !state.options.spin) ::sched_yield();
      busy_wait(std::min(idle_passes, longest_pause));
      continue;
    }
    counters.flush();
    unflushed = 0;
    const bool rung = state.bell->sleep(idle_sleep);
    idle_sleeps = rung || idle_sleeps == naps_of_a_sleep ? 0 : idle_sleeps + 1;
    idle_passes = idle_sleeps == 0 ? 0 : awake - 1;
    idle_sleep = idle_sleep * 2 < longest ? idle_sleep * 2 : longest;
  }
}

template <class Handlers>
void run_worker(worker_state& state, std::uint32_t number) noexcept {
  using memory_type = device::host_memory;
  using counters_type = device::counter_batch<memory_type>;
  using interpreter_type = device::interpreter<memory_type, counters_type, Handlers>;
  memory_type memory;
  counters_type counters(state.where, memory);
  interpreter_type slots(state.where, memory, counters);
  const device::lane_number lane_number{.lane = number, .lanes = state.options.workers};
  const auto run = [&](auto lane) {
    if (state.options.one_shot) {
      lane.run_once();
    } else {
      pass_until_shutdown(lane, counters, state, number);
    }
  };
  device::enter(memory, state.where);
  if (state.options.order == schedule::ring_order) {
    run(device::ring_lane<interpreter_type, counters_type>(state.where, slots, counters,
                                                           lane_number, state.options.search));
  } else {
    run(device::priority_lane<memory_type, interpreter_type, counters_type>(
        state.where, memory, slots, counters, lane_number));
  }
  counters.flush();
  device::leave(memory, state.where);
}

}  // namespace detail

/// Lanes as threads of this machine: the CPU target.
class cpu_workers final : public kernel_target {
 public:
  /// Workers that know the built-in opcodes and `Handlers`, a `device::handlers<...>`. Errors:
  /// `worker_count_out_of_range`, `out_of_memory`.
  template <class Handlers = device::handlers<>>
  [[nodiscard]] static result<std::unique_ptr<cpu_workers>> make(
      const worker_options& options) noexcept {
    return make(options, &detail::run_worker<Handlers>);
  }
  /// Joins the threads that have left. Others, in a handler that does not return, are abandoned.
  ~cpu_workers() override;

  [[nodiscard]] result<void> launch(const launch_context& context) noexcept override;
  [[nodiscard]] bool flush(deadline until) noexcept override;
  [[nodiscard]] std::uint32_t running() const noexcept override;

 private:
  using lane_main = void (*)(detail::worker_state&, std::uint32_t) noexcept;
  struct threads;
  static result<std::unique_ptr<cpu_workers>> make(const worker_options& options,
                                                   lane_main main) noexcept;
  cpu_workers() noexcept;

  lane_main main_ = nullptr;
  worker_options options_;
  std::shared_ptr<detail::worker_state> state_;
  std::unique_ptr<threads> threads_;
};

}  // namespace megakernel
