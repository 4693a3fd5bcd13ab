// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// A device on a thread of this machine that works on a ring of its own, as a GPU does whose ring is
// in its memory: slots come in runs, some calls after they were sent, and the host's ring is told
// the statuses. What it runs is the library's interpreter. Include it after the library.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <deque>
#include <mutex>
#include <span>
#include <thread>
#include <vector>

namespace props {

class ring_device {
  using word = std::uint32_t;
  using status = megakernel::slot_status;

 public:
  /// The plugin's interface; `context` is the device, which one kernel is started on.
  [[nodiscard]] megakernel::gpu::interface calls() {
    namespace gpu = megakernel::gpu;
    return {
        .version = gpu::interface_version,
        .own_process = 0,
        .context = this,
        .probe = [](void*, gpu::device_info* found, gpu::failure*) -> gpu::call_status {
          *found = {};
          found->wave_size = 32;
          return gpu::call_status::yes;
        },
        .start = [](void* self, const gpu::request* wanted, gpu::kernel** started,
                    std::uint32_t* lanes, gpu::failure*) -> gpu::call_status {
          *lanes = 1;
          *started = reinterpret_cast<gpu::kernel*>(self);
          static_cast<ring_device*>(self)->start(*wanted);
          return gpu::call_status::yes;
        },
        .running = [](gpu::kernel* of, std::uint32_t* lanes, gpu::failure*) -> gpu::call_status {
          *lanes = self(of).running_;
          return gpu::call_status::yes;
        },
        .ask_flush = [](gpu::kernel*) -> std::uint32_t { return 0; },
        .flushed = [](gpu::kernel*, std::uint32_t) { return true; },  // counts are added one by one
        .leave = [](gpu::kernel* of) { self(of).leave_ = true; },
        .close = [](gpu::kernel* of) { self(of).lane_.join(); },
        .upload = [](gpu::kernel* of, const gpu::slot_range* ranges, std::uint32_t count,
                     std::uint32_t* room, gpu::failure*) -> gpu::call_status {
          *room = self(of).upload({ranges, count});
          return gpu::call_status::yes;
        },
        .scan = [](gpu::kernel*, const gpu::scan_request*, void*, std::uint64_t,
                   std::uint64_t* size, gpu::failure*) -> gpu::call_status {
          *size = 0;
          return gpu::call_status::busy;
        },
    };
  }

  /// Slots that came while they were with the lanes, or were not published, or too many at once.
  [[nodiscard]] std::uint64_t wrong() const { return wrong_; }
  [[nodiscard]] std::uint64_t ranges() const { return ranges_; }
  [[nodiscard]] bool on_its_own_ring() const { return own_ring_; }

 private:
  static ring_device& self(megakernel::gpu::kernel* of) {
    return *reinterpret_cast<ring_device*>(of);
  }

  void start(const megakernel::gpu::request& wanted) {
    own_ring_ = wanted.device_ring != 0;
    host_ = wanted.where;
    ring_.assign(std::size_t{host_.slots} * 16, 0);
    running_ = 1;
    lane_ = std::thread([this] { run(); });
  }

  /// What was sent in the call before has come by now.
  std::uint32_t upload(std::span<const megakernel::gpu::slot_range> ranges) {
    const std::lock_guard lock(mutex_);
    wrong_ += sent_.size() + ranges.size() > megakernel::gpu::most_ranges;
    while (!sent_.empty()) {
      const auto run = sent_.front();
      sent_.pop_front();
      ++ranges_;
      for (word slot = run.first; slot < run.first + run.count; ++slot) {
        wrong_ += !is_finished(status_of(ring_.data(), slot));
        wrong_ += host_status(slot).load(std::memory_order_acquire) != word(status::published);
        std::memcpy(&ring_[std::size_t{slot} * 16], host_.ring + std::size_t{slot} * 16, 64);
        with_lanes_.push_back(slot);
      }
    }
    sent_.insert(sent_.end(), ranges.begin(), ranges.end());
    return megakernel::gpu::most_ranges - static_cast<std::uint32_t>(sent_.size());
  }

  void run() {
    namespace dev = megakernel::device;
    dev::launch where = host_;
    where.ring = ring_.data();
    dev::host_memory memory;
    dev::direct_counters<dev::host_memory> counters(where, memory);
    dev::interpreter<dev::host_memory, dev::direct_counters<dev::host_memory>> slots(where, memory,
                                                                                     counters);
    dev::enter(memory, where);
    while (!slots.shutdown_requested() && !leave_) {
      std::deque<word> mine;
      {
        const std::lock_guard lock(mutex_);
        mine.swap(with_lanes_);
      }
      std::deque<word> left;
      for (const word slot : mine) {
        (void)slots.visit_owned(slot);
        const status now = status_of(ring_.data(), slot);
        if (!is_finished(now)) left.push_back(slot);
        if (now == status::fault)
          host_.ring[std::size_t{slot} * 16 + 15] = ring_[std::size_t{slot} * 16 + 15];
        host_status(slot).store(word(now), std::memory_order_release);
      }
      if (mine.empty()) std::this_thread::yield();
      const std::lock_guard lock(mutex_);
      with_lanes_.insert(with_lanes_.end(), left.begin(), left.end());
    }
    dev::leave(memory, where);
    running_ = 0;
  }

  static bool is_finished(status s) {
    return s == status::empty || s == status::done || s == status::fault;
  }
  static status status_of(const word* ring, word slot) {
    return status{ring[std::size_t{slot} * 16]};
  }
  std::atomic_ref<word> host_status(word slot) {
    return std::atomic_ref(host_.ring[std::size_t{slot} * 16]);
  }

  megakernel::device::launch host_{};
  std::vector<word> ring_;
  std::mutex mutex_;
  std::deque<megakernel::gpu::slot_range> sent_;
  std::deque<word> with_lanes_;
  std::thread lane_;
  std::atomic<std::uint32_t> running_{0};
  std::atomic<bool> leave_{false};
  std::atomic<std::uint64_t> wrong_{0};
  std::atomic<std::uint64_t> ranges_{0};
  bool own_ring_ = false;
};

}  // namespace props
