// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
module;
#include <megakernel/lane_order.h>

#include <atomic>
#include <cstdint>
#include <exception>
#include <expected>
#include <memory>
#include <new>
#include <thread>
#include <utility>
#include <vector>
module megakernel.runtime;
import megakernel.protocol;

namespace megakernel {
namespace {

constexpr std::uint32_t most_workers = 1024;

std::unexpected<error> no_memory(std::uint64_t count, std::uint64_t size) noexcept {
  return std::unexpected(error{.code = error_code::out_of_memory, .found = count, .bound = size});
}

}  // namespace

struct cpu_workers::threads {
  std::vector<std::thread> all;
};

cpu_workers::cpu_workers() noexcept = default;

cpu_workers::~cpu_workers() {
  if (threads_ == nullptr) return;
  for (std::thread& thread : threads_->all) {
    if (running() == 0) {
      thread.join();
    } else {
      thread.detach();
    }
  }
}

result<std::unique_ptr<cpu_workers>> cpu_workers::make(const worker_options& options,
                                                       lane_main main) noexcept {
  if (options.workers == 0 || options.workers > most_workers) {
    return std::unexpected(error{.code = error_code::worker_count_out_of_range,
                                 .found = options.workers,
                                 .bound = most_workers});
  }
  try {
    std::unique_ptr<cpu_workers> made(new cpu_workers);
    made->main_ = main;
    made->options_ = options;
    made->state_ = std::make_shared<detail::worker_state>();
    made->state_->lanes = std::make_unique<detail::worker_state::lane[]>(options.workers);
    made->threads_ = std::make_unique<threads>();
    made->threads_->all.reserve(options.workers);
    return made;
  } catch (const std::bad_alloc&) {
    return no_memory(options.workers, sizeof(detail::worker_state::lane));
  }
}

result<void> cpu_workers::launch(const launch_context& context) noexcept {
  auto& all = threads_->all;
  if (!all.empty()) return std::unexpected(error{.code = error_code::already_launched});
  const device::launch& where = context.buffers.where();
  state_->where = where;
  state_->options = options_;
  state_->bell = &context.bell;
  for (std::uint32_t i = 0; i < options_.workers; ++i) {
    state_->running.fetch_add(1, std::memory_order_relaxed);
    const auto undo = [&](const error& why) {
      state_->running.fetch_sub(1, std::memory_order_relaxed);
      // Those that did start find SHUTDOWN and leave: a launch is whole or refused.
      device::host_memory{}.store(where.control + abi::shutdown_word, 1, device::release,
                                  device::in_system);
      for (std::thread& thread : all) thread.join();
      all.clear();
      device::host_memory{}.store(where.control + abi::shutdown_word, 0, device::release,
                                  device::in_system);
      return std::unexpected(why);
    };
    try {
      all.emplace_back([state = state_, main = main_, i]() noexcept {
        main(*state, i);
        state->running.fetch_sub(1, std::memory_order_release);
      });
    } catch (const std::bad_alloc&) {
      return undo({.code = error_code::out_of_memory, .found = 1, .bound = sizeof(std::thread)});
    } catch (const std::exception&) {
      return undo({.code = error_code::lanes_refused, .found = options_.workers, .bound = i});
    }
  }
  return {};
}

bool cpu_workers::flush(deadline until) noexcept {
  const std::uint32_t asked = state_->flush_asked.fetch_add(1, std::memory_order_relaxed) + 1;
  if (threads_->all.empty()) return true;
  backoff wait;
  for (std::uint32_t i = 0; i < options_.workers;) {
    const std::uint32_t flushed = state_->lanes[i].flushed.load(std::memory_order_acquire);
    if (flushed - asked < 1u << 31 || running() == 0) {
      ++i;
    } else if (until.passed()) {
      return false;
    } else {
      state_->bell->ring();
      wait.pause();
    }
  }
  return true;
}

std::uint32_t cpu_workers::running() const noexcept {
  return state_->running.load(std::memory_order_acquire);
}

}  // namespace megakernel
