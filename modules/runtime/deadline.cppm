// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
module;
#include <sched.h>

#include <chrono>
#include <cstdint>
#include <thread>
export module megakernel.runtime:deadline;

export namespace megakernel {

/// A point of the steady clock until which a call may wait. Nothing here waits without one.
class deadline {
 public:
  using clock = std::chrono::steady_clock;

  /// `wait` from now, at the latest the end of the clock: where a call takes a deadline, a duration
  /// will do.
  template <class Rep, class Period>
  deadline(std::chrono::duration<Rep, Period> wait) noexcept  // NOLINT(google-explicit-constructor)
      : deadline(in(within_the_clock(wait))) {}

  /// Already passed: try once and do not wait.
  [[nodiscard]] static deadline immediate() noexcept { return deadline(clock::time_point::min()); }
  /// `wait` from now, at the latest the end of the clock.
  [[nodiscard]] static deadline in(std::chrono::nanoseconds wait) noexcept {
    const auto now = clock::now();
    const auto left = clock::time_point::max() - now;
    return deadline(wait < left ? now + wait : clock::time_point::max());
  }
  [[nodiscard]] bool passed() const noexcept {
    return at_ == clock::time_point::min() || clock::now() >= at_;
  }
  /// The time left; zero when the deadline has passed.
  [[nodiscard]] std::chrono::nanoseconds left() const noexcept {
    if (passed()) return {};
    const auto now = clock::now();
    return now < at_ ? at_ - now : std::chrono::nanoseconds{};
  }

 private:
  explicit deadline(clock::time_point at) noexcept : at_(at) {}
  template <class Rep, class Period>
  [[nodiscard]] static std::chrono::nanoseconds within_the_clock(
      std::chrono::duration<Rep, Period> wait) noexcept {
    constexpr auto longest = std::chrono::nanoseconds::max();
    using seconds = std::chrono::duration<double>;
    return seconds(wait) < seconds(longest)
               ? std::chrono::duration_cast<std::chrono::nanoseconds>(wait)
               : longest;
  }
  clock::time_point at_;
};

/// A moment for the other hardware thread, and for a cache line to be left where it is.
inline void busy_wait(std::uint32_t turns) noexcept {
#if defined(__x86_64__)
  for (std::uint32_t i = 0; i < turns; ++i) __builtin_ia32_pause();
#else
  for (std::uint32_t i = 0; i < turns; ++i) __asm__ volatile("");
#endif
}

/// Waits a little longer each time: first busily, then giving the core away, then asleep.
class backoff {
 public:
  /// `busy`: turns before the core is given away. `longest`: of one sleep; zero never sleeps.
  explicit backoff(std::uint32_t busy = 200,
                   std::chrono::microseconds longest = std::chrono::microseconds(200)) noexcept
      : busy_(busy), longest_(longest) {}

  inline void pause() noexcept {
    if (turn_ < busy_) {
      ++turn_;
      busy_wait(1);
      return;
    }
    if (turn_ < busy_ + yields || longest_ == std::chrono::microseconds::zero()) {
      turn_ += turn_ < busy_ + yields;
      ::sched_yield();
      return;
    }
    std::this_thread::sleep_for(sleep_);
    sleep_ = sleep_ * 2 < longest_ ? sleep_ * 2 : longest_;
  }
  inline void reset() noexcept {
    turn_ = 0;
    sleep_ = shortest;
  }

 private:
  static constexpr std::uint32_t yields = 16;
  static constexpr std::chrono::microseconds shortest{20};
  std::uint32_t busy_;
  std::chrono::microseconds longest_;
  std::uint32_t turn_ = 0;
  std::chrono::microseconds sleep_ = shortest;
};

}  // namespace megakernel
