// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Whether the threads of this process had their cores, or waited for one.
#pragma once

#include <time.h>

#include <charconv>
#include <chrono>
#include <filesystem>
#include <string>
#include <vector>

/// Processor time of the threads that this process has when the object is made, to the nanosecond.
/// (That of the process as a whole counts a thread on another core only at ticks of the kernel.)
class thread_times {
 public:
  thread_times() {
    for (const auto& entry : std::filesystem::directory_iterator("/proc/self/task")) {
      const std::string name = entry.path().filename();
      int thread = 0;
      if (std::from_chars(name.data(), name.data() + name.size(), thread).ptr !=
          name.data() + name.size())
        continue;
      // As Linux numbers the clock of a thread's run time.
      constexpr int of_a_thread = 4;
      constexpr int run_time = 2;
      clocks_.push_back(static_cast<clockid_t>(~thread * 8) | of_a_thread | run_time);
    }
  }
  void start() {
    ran_ = ran();
    at_ = std::chrono::steady_clock::now();
  }
  /// How many cores they had since `start`, on average.
  [[nodiscard]] double cores() const {
    const std::chrono::duration<double, std::nano> took = std::chrono::steady_clock::now() - at_;
    return (ran() - ran_) / took.count();
  }

 private:
  [[nodiscard]] double ran() const {
    double sum = 0;
    for (const clockid_t clock : clocks_) {
      timespec time{};
      if (::clock_gettime(clock, &time) == 0)
        sum += static_cast<double>(time.tv_sec) * 1e9 + static_cast<double>(time.tv_nsec);
    }
    return sum;
  }

  std::vector<clockid_t> clocks_;
  double ran_ = 0;
  std::chrono::steady_clock::time_point at_;
};
