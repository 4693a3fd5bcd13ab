// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// What one would write without this library: a bounded ring of 64-byte items under one mutex, with
// a condition variable for each side, and a thread that runs them.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <thread>
#include <vector>

namespace oracle {

class mutex_queue {
 public:
  struct alignas(64) item {
    std::uint32_t opcode = 0;
    std::uint32_t tenant = 0;
    std::uint32_t arguments[12]{};
    std::atomic<bool>* done = nullptr;  ///< set when it was run, where somebody waits
  };

  explicit mutex_queue(std::size_t capacity) : ring_(capacity), worker_([this] { work(); }) {}
  ~mutex_queue() {
    {
      const std::scoped_lock lock(mutex_);
      closed_ = true;
    }
    not_empty_.notify_one();
    worker_.join();
  }

  void push(const item& work) {
    {
      std::unique_lock lock(mutex_);
      not_full_.wait(lock, [&] { return tail_ - head_ < ring_.size(); });
      ring_[tail_++ % ring_.size()] = work;
    }
    not_empty_.notify_one();
  }
  [[nodiscard]] std::uint64_t done() const { return done_.load(std::memory_order_acquire); }

 private:
  void work() {
    for (;;) {
      item next;
      {
        std::unique_lock lock(mutex_);
        not_empty_.wait(lock, [&] { return tail_ != head_ || closed_; });
        if (tail_ == head_) return;
        next = ring_[head_++ % ring_.size()];
      }
      not_full_.notify_one();
      // What there is to do for a NOP.
      done_.fetch_add(1, std::memory_order_release);
      if (next.done != nullptr) next.done->store(true, std::memory_order_release);
    }
  }

  std::mutex mutex_;
  std::condition_variable not_full_;
  std::condition_variable not_empty_;
  std::vector<item> ring_;
  std::uint64_t head_ = 0;
  std::uint64_t tail_ = 0;
  bool closed_ = false;
  std::atomic<std::uint64_t> done_{0};
  std::thread worker_;
};

}  // namespace oracle
