// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
module;
#include <megakernel/lane_order.h>

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <expected>
#include <memory>
#include <new>
#include <optional>
#include <thread>
#include <utility>
module megakernel.runtime;
import megakernel.decoder;
import megakernel.health;
import megakernel.protocol;
import megakernel.sketch;

namespace megakernel {

struct kernel_session::state {
  explicit state(kernel_buffers&& made, std::chrono::nanoseconds hold_time) noexcept
      : buffers(std::move(made)), dog(hold_time) {}

  kernel_buffers buffers;
  doorbell bell;
  std::optional<submission_queue> queue;
  std::optional<file_pump> pump;
  std::unique_ptr<kernel_target> target;
  class watchdog dog;
  std::atomic<bool> serving{false};
  std::thread server;

  [[nodiscard]] word control(word index, std::memory_order order) noexcept {
    return std::atomic_ref<word>(buffers.where().control[index]).load(order);
  }
  [[nodiscard]] work_totals count() noexcept;
  [[nodiscard]] std::optional<std::uint32_t> first_outstanding(std::uint32_t from) noexcept;
  void stop_serving() noexcept;
};

work_totals kernel_session::state::count() noexcept {
  work_totals now{.accepted = queue->accepted(),
                  .faults = control(abi::fault_count_word, std::memory_order_acquire),
                  .running = target == nullptr ? 0 : target->running()};
  // The upper half moves after the lower one has wrapped.
  word high = 0;
  word low = 0;
  do {
    high = control(abi::done_count_high_word, std::memory_order_acquire);
    low = control(abi::done_count_word, std::memory_order_acquire);
  } while (high != control(abi::done_count_high_word, std::memory_order_acquire));
  now.done = std::uint64_t{high} << 32 | low;
  const device::launch& where = buffers.where();
  for (std::size_t i = 0; i < where.slots; ++i) {
    std::atomic_ref<word> status(where.ring[i * abi::slot_words]);
    now.outstanding += is_active(slot_status{status.load(std::memory_order_acquire)});
  }
  return now;
}

std::optional<std::uint32_t> kernel_session::state::first_outstanding(std::uint32_t from) noexcept {
  const device::launch& where = buffers.where();
  for (std::uint32_t i = from; i < where.slots; ++i) {
    std::atomic_ref<word> status(where.ring[std::size_t{i} * abi::slot_words]);
    if (is_active(slot_status{status.load(std::memory_order_acquire)})) return i;
  }
  return std::nullopt;
}

void kernel_session::state::stop_serving() noexcept {
  serving.store(false, std::memory_order_relaxed);
  if (server.joinable()) server.join();
}

kernel_session::kernel_session(std::unique_ptr<state> made) noexcept : state_(std::move(made)) {}
kernel_session::kernel_session(kernel_session&&) noexcept = default;

kernel_session::~kernel_session() {
  if (state_ == nullptr) return;
  const auto stopped = stop(deadline::in(std::chrono::seconds(1)));
  state_->stop_serving();
  if (stopped || state_->target == nullptr || state_->target->end()) return;
  // Lanes that are still inside a handler go on using the buffers, and find the bell there.
  state_->target.reset();
  (void)state_.release();
}

result<kernel_session> kernel_session::make(const session_options& options) noexcept {
  auto buffers = kernel_buffers::make(options.layout);
  if (!buffers) return std::unexpected(buffers.error());
  std::unique_ptr<state> made(new (std::nothrow) state(std::move(*buffers), options.hold_time));
  if (made == nullptr) {
    return std::unexpected(
        error{.code = error_code::out_of_memory, .found = 1, .bound = sizeof(state)});
  }
  auto queue = submission_queue::over(made->buffers, options.order, &made->bell);
  if (!queue) return std::unexpected(queue.error());
  made->queue.emplace(std::move(*queue));
  auto pump = file_pump::over(made->buffers);
  if (!pump) return std::unexpected(pump.error());
  made->pump.emplace(std::move(*pump));
  return kernel_session(std::move(made));
}

result<void> kernel_session::launch(std::unique_ptr<kernel_target> target,
                                    deadline until) noexcept {
  state& s = *state_;
  if (s.target != nullptr) return std::unexpected(error{.code = error_code::already_launched});
  if (s.pump->resources() != 0) {
    s.serving.store(true, std::memory_order_relaxed);
    try {
      s.server = std::thread([&s]() noexcept {
        backoff wait(200, std::chrono::microseconds(500));
        while (s.serving.load(std::memory_order_relaxed)) {
          if (s.pump->serve() != 0) {
            s.bell.ring();
            wait.reset();
          } else {
            wait.pause();
          }
        }
      });
    } catch (const std::bad_alloc&) {
      return std::unexpected(
          error{.code = error_code::out_of_memory, .found = 1, .bound = sizeof(std::thread)});
    } catch (const std::exception&) {
      return std::unexpected(error{.code = error_code::lanes_refused, .found = 1});
    }
  }
  const launch_context context{.buffers = s.buffers, .bell = s.bell, .queue = &*s.queue};
  if (auto launched = target->launch(context); !launched) {
    s.stop_serving();
    return launched;
  }
  s.target = std::move(target);
  // A one-shot kernel may have come and gone: it has passed, and that is seen.
  backoff wait;
  while (s.control(abi::workers_alive_word, std::memory_order_acquire) == 0 &&
         s.control(abi::heartbeat_word, std::memory_order_acquire) == 0 &&
         s.target->running() != 0) {
    if (auto reports = s.target->check(); !reports) return reports;
    if (until.passed()) {
      return std::unexpected(error{.code = error_code::deadline_passed,
                                   .buffer = buffer::control,
                                   .index = abi::workers_alive_word,
                                   .bound = 1});
    }
    wait.pause();
  }
  return {};
}

result<word> kernel_session::observable(std::uint32_t index) const noexcept {
  const device::launch& where = state_->buffers.where();
  const std::uint64_t at = std::uint64_t{abi::observable_word} + index;
  if (at >= where.control_words) {
    return std::unexpected(error{.code = error_code::control_missing_word,
                                 .buffer = buffer::control,
                                 .index = at,
                                 .bound = where.control_words});
  }
  return state_->control(static_cast<word>(at), std::memory_order_acquire);
}

submission_queue& kernel_session::queue() noexcept { return *state_->queue; }
file_pump& kernel_session::pump() noexcept { return *state_->pump; }
kernel_buffers& kernel_session::buffers() noexcept { return state_->buffers; }
const class watchdog& kernel_session::watchdog() const noexcept { return state_->dog; }

result<void> kernel_session::snapshot(live_snapshot& into, deadline flush) noexcept {
  return into.take(state_->buffers, *state_->queue, state_->target.get(), flush);
}

result<void> kernel_session::digest(live_digest& into, const window_opcodes& windows,
                                    const sketch_shape& sketches, deadline flush) noexcept {
  return into.take(state_->buffers, *state_->queue, state_->target.get(), windows, sketches, flush);
}

result<health_report> kernel_session::observe(const window_opcodes& windows,
                                              deadline flush) noexcept {
  state& s = *state_;
  return s.dog.observe(s.buffers, *s.queue, s.target.get(), windows, flush);
}

result<work_totals> kernel_session::drain(deadline until) noexcept {
  state& s = *state_;
  if (auto closed = s.queue->close(until); !closed) return std::unexpected(closed.error());
  s.bell.ring();  // for what a lane may have left behind
  backoff wait;
  // A slot that is not outstanding once the queue is closed never is again.
  std::uint32_t finished = 0;
  while (const auto outstanding = s.first_outstanding(finished)) {
    finished = *outstanding;
    if (s.target != nullptr) {
      if (auto reports = s.target->check(); !reports) return std::unexpected(reports.error());
    }
    if (until.passed()) {
      std::atomic_ref<word> status(
          s.buffers.where().ring[std::size_t{*outstanding} * abi::slot_words]);
      return std::unexpected(error{.code = error_code::deadline_passed,
                                   .buffer = buffer::ring,
                                   .index = *outstanding,
                                   .found = status.load(std::memory_order_relaxed)});
    }
    wait.pause();
  }
  if (s.target != nullptr) (void)s.target->flush(until);
  return s.count();
}

result<work_totals> kernel_session::stop(deadline until) noexcept {
  state& s = *state_;
  // Work accepted from here on might never run.
  (void)s.queue->close(deadline::immediate());
  std::atomic_ref<word>(s.buffers.where().control[abi::shutdown_word])
      .store(1, std::memory_order_release);
  s.bell.ring();
  backoff wait;
  while (s.target != nullptr && s.target->running() != 0) {
    if (until.passed()) {
      return std::unexpected(error{.code = error_code::deadline_passed,
                                   .buffer = buffer::none,
                                   .found = s.target->running()});
    }
    wait.pause();
  }
  s.stop_serving();
  (void)s.queue->close(until);
  return s.count();
}

}  // namespace megakernel
