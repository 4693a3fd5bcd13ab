// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <expected>
#include <optional>
#include <string>
#include <utility>

#include "view/replay_view.h"

namespace {

using namespace megakernel::tool;
using namespace std::chrono_literals;

class replay_view {
 public:
  replay_view(capture_player& from, full_screen& on, double speed) : from_(from), on_(on) {
    on_.playback().live = false;
    on_.playback().speed = speed;
  }

  std::expected<void, std::string> run(const replay_view_options& options,
                                       const std::atomic<int>& end) {
    on_.playback().paused = options.paused;
    jump(options.from);
    while (end.load(std::memory_order_relaxed) == 0) {
      describe();
      const view_request asked = on_.wait(until_due());
      if (asked == view_request::quit) return {};
      obey(asked);
      if (!on_.playback().paused && asked == view_request::none) advance();
      if (!failure_.empty()) return std::unexpected(failure_);
    }
    return {};
  }

 private:
  using clock = std::chrono::steady_clock;

  void describe() {
    view_playback& play = on_.playback();
    play.length = from_.capture().length();
    play.remark = !from_.next_at()                        ? "the end"
                  : from_.capture().totals().dropped != 0 ? "frames were dropped"
                                                          : "";
  }

  /// The clock of the playback is bound to the time of the capture where it stands.
  void bind(std::chrono::nanoseconds at) {
    bound_at_ = at;
    bound_ = clock::now();
  }
  [[nodiscard]] std::chrono::nanoseconds now() const {
    const std::chrono::duration<double, std::nano> gone = clock::now() - bound_;
    constexpr double longest = 9e18;
    const double at = static_cast<double>(bound_at_.count()) + gone.count() * on_.playback().speed;
    return std::chrono::nanoseconds(static_cast<std::int64_t>(std::min(at, longest)));
  }
  [[nodiscard]] std::chrono::nanoseconds until_due() const {
    constexpr std::chrono::nanoseconds idle = 500ms;
    const auto due = from_.next_at();
    if (on_.playback().paused || !due) return idle;
    const double left = static_cast<double>((*due - now()).count()) / on_.playback().speed;
    return std::chrono::nanoseconds(static_cast<std::int64_t>(
        std::clamp(left, 0.0, static_cast<double>(std::chrono::nanoseconds(idle).count()))));
  }

  void show_next() {
    auto seen = from_.next();
    if (!seen) {
      failure_ = std::move(seen.error());
    } else if (*seen) {
      on_.show(std::move(**seen));
    }
  }

  /// Shows what is due by now. Of several frames the last: at a high speed nobody could see more.
  void advance() {
    if (!from_.next_at()) {
      if (from_.grow()) bind(on_.playback().position);
      return;
    }
    const std::uint64_t due = from_.capture().last_until(now());
    constexpr std::uint64_t patient = 8;
    if (due > from_.position() + patient) {
      if (auto sought = from_.seek(due); !sought) {
        failure_ = std::move(sought.error());
        return;
      }
    }
    while (failure_.empty() && from_.position() <= due && from_.next_at()) show_next();
  }

  void jump(std::chrono::nanoseconds to) {
    to = std::clamp<std::chrono::nanoseconds>(to, 0ns, from_.capture().length());
    if (auto sought = from_.seek(to); !sought) {
      failure_ = std::move(sought.error());
      return;
    }
    on_.forget();
    show_next();
    bind(to);
  }

  void obey(view_request asked) {
    view_playback& play = on_.playback();
    constexpr double least = 1.0 / 64;
    constexpr double most = 1024;
    switch (asked) {
      case view_request::none:
      case view_request::quit:
        return;
      case view_request::pause:
        return bind(play.position);
      case view_request::step:
        return show_next();
      case view_request::step_back:
        // The position is behind the frame that is shown.
        if (from_.position() >= 2) {
          if (auto sought = from_.seek(from_.position() - 2); !sought) {
            failure_ = std::move(sought.error());
            return;
          }
          show_next();
        }
        return;
      case view_request::seek_forward:
        return jump(play.position + 10s);
      case view_request::seek_back:
        return jump(play.position - 10s);
      case view_request::seek_start:
        return jump(0s);
      case view_request::seek_end:
        (void)from_.grow();
        return jump(from_.capture().length());
      case view_request::faster:
        bind(now());
        play.speed = std::min(play.speed * 2, most);
        return;
      case view_request::slower:
        bind(now());
        play.speed = std::max(play.speed / 2, least);
        return;
    }
  }

  capture_player& from_;
  full_screen& on_;
  std::chrono::nanoseconds bound_at_{};
  clock::time_point bound_ = clock::now();
  std::string failure_;
};

}  // namespace

std::expected<void, std::string> play(capture_player& from, full_screen& on,
                                      const replay_view_options& options,
                                      const std::atomic<int>& end) {
  return replay_view(from, on, options.speed).run(options, end);
}
