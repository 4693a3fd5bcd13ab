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

struct runtime::state {
  explicit state(kernel_buffers&& made, std::chrono::nanoseconds patience) noexcept
      : buffers(std::move(made)), dog(patience) {}

  kernel_buffers buffers;
  doorbell bell;
  std::optional<work_feed> feed;
  std::optional<file_pump> pump;
  std::unique_ptr<kernel_target> target;
  class watchdog dog;
  std::atomic<bool> serving{false};
  std::thread server;

  [[nodiscard]] word control(word index, std::memory_order order) noexcept {
    return std::atomic_ref<word>(buffers.where().control[index]).load(order);
  }
  [[nodiscard]] account count() noexcept;
  [[nodiscard]] std::optional<std::uint32_t> first_owed(std::uint32_t from) noexcept;
  void stop_serving() noexcept;
};

account runtime::state::count() noexcept {
  account now{.accepted = feed->accepted(),
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
    now.owed += is_active(slot_status{status.load(std::memory_order_acquire)});
  }
  return now;
}

std::optional<std::uint32_t> runtime::state::first_owed(std::uint32_t from) noexcept {
  const device::launch& where = buffers.where();
  for (std::uint32_t i = from; i < where.slots; ++i) {
    std::atomic_ref<word> status(where.ring[std::size_t{i} * abi::slot_words]);
    if (is_active(slot_status{status.load(std::memory_order_acquire)})) return i;
  }
  return std::nullopt;
}

void runtime::state::stop_serving() noexcept {
  serving.store(false, std::memory_order_relaxed);
  if (server.joinable()) server.join();
}

runtime::runtime(std::unique_ptr<state> made) noexcept : state_(std::move(made)) {}
runtime::runtime(runtime&&) noexcept = default;

runtime::~runtime() {
  if (state_ == nullptr) return;
  const auto stopped = stop(deadline::in(std::chrono::seconds(1)));
  state_->stop_serving();
  if (stopped || state_->target == nullptr || state_->target->end()) return;
  // Lanes that are still inside a handler go on using the buffers, and find the bell there.
  state_->target.reset();
  (void)state_.release();
}

result<runtime> runtime::make(const runtime_options& options) noexcept {
  auto buffers = kernel_buffers::make(options.layout);
  if (!buffers) return std::unexpected(buffers.error());
  std::unique_ptr<state> made(new (std::nothrow) state(std::move(*buffers), options.patience));
  if (made == nullptr) {
    return std::unexpected(
        error{.code = error_code::out_of_memory, .found = 1, .bound = sizeof(state)});
  }
  auto feed = work_feed::over(made->buffers, options.order, &made->bell);
  if (!feed) return std::unexpected(feed.error());
  made->feed.emplace(std::move(*feed));
  auto pump = file_pump::over(made->buffers);
  if (!pump) return std::unexpected(pump.error());
  made->pump.emplace(std::move(*pump));
  return runtime(std::move(made));
}

result<void> runtime::launch(std::unique_ptr<kernel_target> target, deadline until) noexcept {
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
  const launch_site site{.buffers = s.buffers, .bell = s.bell, .feed = &*s.feed};
  if (auto launched = target->launch(site); !launched) {
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

work_feed& runtime::feed() noexcept { return *state_->feed; }
file_pump& runtime::pump() noexcept { return *state_->pump; }
kernel_buffers& runtime::buffers() noexcept { return state_->buffers; }
const class watchdog& runtime::watchdog() const noexcept { return state_->dog; }

result<void> runtime::snapshot(live_snapshot& into, deadline flush) noexcept {
  return into.take(state_->buffers, *state_->feed, state_->target.get(), flush);
}

result<void> runtime::digest(live_digest& into, const window_opcodes& windows,
                             const sketch_shape& sketches, deadline flush) noexcept {
  return into.take(state_->buffers, *state_->feed, state_->target.get(), windows, sketches, flush);
}

result<health_report> runtime::look(const window_opcodes& windows, deadline flush) noexcept {
  state& s = *state_;
  return s.dog.look(s.buffers, *s.feed, s.target.get(), windows, flush);
}

result<account> runtime::drain(deadline until) noexcept {
  state& s = *state_;
  if (auto closed = s.feed->close(until); !closed) return std::unexpected(closed.error());
  s.bell.ring();  // for what a lane may have left behind
  backoff wait;
  // What is not owed once the feed is closed never is again.
  std::uint32_t finished = 0;
  while (const auto owed = s.first_owed(finished)) {
    finished = *owed;
    if (s.target != nullptr) {
      if (auto reports = s.target->check(); !reports) return std::unexpected(reports.error());
    }
    if (until.passed()) {
      std::atomic_ref<word> status(s.buffers.where().ring[std::size_t{*owed} * abi::slot_words]);
      return std::unexpected(error{.code = error_code::deadline_passed,
                                   .buffer = buffer::ring,
                                   .index = *owed,
                                   .found = status.load(std::memory_order_relaxed)});
    }
    wait.pause();
  }
  if (s.target != nullptr) (void)s.target->flush(until);
  return s.count();
}

result<account> runtime::stop(deadline until) noexcept {
  state& s = *state_;
  // What would be accepted from here on might never be run.
  (void)s.feed->close(deadline::immediate());
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
  (void)s.feed->close(until);
  return s.count();
}

}  // namespace megakernel
