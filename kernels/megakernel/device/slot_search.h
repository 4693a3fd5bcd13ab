// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Where a wave of a persistent kernel looks for work next: over a ring in the host's memory, where
// a sample is a trip over the bus, and over one in the device's, where bits say what has come.
#pragma once

#include <megakernel/device/control_wave.h>
#include <megakernel/device/wave.h>
#include <megakernel/device/wave_memory.h>

namespace megakernel::device::detail {

/// A coarse clock of 32 bits, in units of 1,024 ns.
__device__ inline word ticks() { return static_cast<word>(nanoseconds() >> 10); }

/// Which group of slots a wave looks at next. Wave w of W owns groups w, w + W, ... of as many
/// slots as a wave has lanes.
class group_search {
 public:
  __device__ group_search(const persistent_launch& of, word number, word waves)
      : mirror_(of.on),
        number_(number),
        waves_(waves),
        groups_(of.where.slots / wave_size() + (of.where.slots % wave_size() != 0)),
        next_(number),
        search_(number) {}

  /// The group to fetch, from which of its slots on, and how many pieces of it. Pieces, so that a
  /// wait for one slot does not fetch the whole group over and over.
  struct candidates {
    word group;
    word from;
    word pieces;
    bool searching;
  };
  [[nodiscard]] __device__ candidates next(word idle_passes) {
    constexpr word search_every = 8;
    const bool searching = idle_passes % search_every == search_every - 1;
    if (searching) {
      search_ = after(search_);
      return {search_, 0, 4, true};
    }
    const word of_piece = wave_size() / 4;
    const word piece = at_ / of_piece;
    return {next_, piece * of_piece, plenty_ ? 4 - piece : 1, false};
  }

  /// Reports the lanes that ran. `whole`: every fetched slot ran, so more may wait behind.
  __device__ void ran(const candidates& looked, lane_mask lanes, bool whole) {
    const word last = 63 - static_cast<word>(__clzll(static_cast<long long>(lanes)));
    plenty_ = whole;
    next_ = looked.group;
    at_ = looked.from + last + 1;
    if (at_ >= wave_size()) {
      at_ = 0;
      next_ = after(next_);
    }
    if (looked.searching) search_ = looked.group;
    if (lane_index() != 0) return;
    const word frontier = load(&mirror_->frontier, relaxed, in_device);
    // On the ring's circle: ahead when less than half of it away.
    if ((looked.group + groups_ - frontier) % groups_ <= groups_ / 2 && looked.group != frontier)
      device::store(&mirror_->frontier, looked.group, relaxed, in_device);
    const word now = ticks();
    if (load(&mirror_->last_work, relaxed, in_device) != now)
      device::store(&mirror_->last_work, now, relaxed, in_device);
  }

  /// After a quiet pass: rests as long as the others' finds allow. While there is work each wave
  /// whose turn may come soon goes on looking; while there is none one or two do, for the others a
  /// word in the device's memory stands.
  __device__ void rest(word idle_passes) {
    constexpr word busy_ticks = 50;
    constexpr word soon = 32;
    plenty_ = false;
    if (idle_passes < 4) return;
    for (word idle_sleep = 0; idle_sleep < 4; ++idle_sleep) {
      const word frontier = load(&mirror_->frontier, relaxed, in_device);
      const word away = (next_ + groups_ - frontier) % groups_;
      if (away > groups_ / 2 && away != 0) catch_up(frontier);
      const bool busy = ticks() - load(&mirror_->last_work, relaxed, in_device) < busy_ticks;
      if (away < (busy ? soon : 2)) return;
      pause<4000>();
    }
  }

 private:
  __device__ word after(word group) const {
    return groups_ - group > waves_ ? group + waves_ : number_;
  }
  /// The work has passed this wave by: on to its first group that is not behind the frontier. What
  /// was left behind is found by searching.
  __device__ void catch_up(word frontier) {
    const word behind = (frontier + groups_ - next_) % groups_;
    const word skip = (behind + waves_ - 1) / waves_;
    if (skip == 0 || groups_ <= waves_) return;
    next_ = groups_ - next_ > skip * waves_ ? next_ + skip * waves_ : number_;
    at_ = 0;
  }

  control_mirror* mirror_;
  word number_;
  word waves_;
  word groups_;
  word next_;
  word search_;
  word at_ = 0;
  bool plenty_ = false;
};

/// The same where the ring is in the device's memory: bits say which slots have come. Each lane
/// looks at 32 of them, so that a wave sees a thousand slots of its groups at once, and nobody
/// looks at slots that are not there.
class arrival_search {
 public:
  __device__ arrival_search(const persistent_launch& of, word number, word waves)
      : of_(of),
        number_(number),
        waves_(waves),
        groups_((of.where.slots - 1) / wave_size() + 1),
        owned_(number < groups_ ? (groups_ - number - 1) / waves + 1 : 0),
        arrivals_(load(&of.on->arrivals, relaxed, in_device)) {}

  /// Asks for the bits of the next groups.
  __device__ void ask() {
    const word ahead = lane_index() / words_of_group();
    bits_ = 0;
    if (ahead >= owned_) return;
    const uint64_t group = group_of(ahead);
    const uint64_t at = group * words_of_group() + lane_index() % words_of_group();
    if (at * 32 < of_.where.slots) bits_ = load(of_.where.ready_bits + at, relaxed, in_device);
  }

  /// The first of them with slots, and which: a bit a lane.
  struct found {
    uint64_t first;
    lane_mask slots;
  };
  __device__ found next() {
    const lane_mask lanes = lanes_where(bits_ != 0);
    if (lanes == 0) {
      const word seen = wave_size() / words_of_group();
      looked_ += seen;
      next_ = seen < owned_ ? (next_ + seen) % owned_ : next_;
      return {0, 0};
    }
    const word ahead = first(lanes) / words_of_group();
    lane_mask slots = 0;
    for (word w = 0; w < words_of_group(); ++w)
      slots |= lane_mask{shuffle(bits_, ahead * words_of_group() + w)} << 32 * w;
    const uint64_t group = group_of(ahead);
    next_ = (next_ + ahead + 1) % owned_;
    fence(acquire, in_device);
    return {group * wave_size(), slots};
  }
  __device__ void ran() { looked_ = 0; }

  /// After a pass that ran nothing: rests until the doorbell rings, where all of the wave's groups
  /// have been looked at. What waits for something else is looked at again a little later.
  __device__ void rest(word idle_passes) {
    if (looked_ < owned_ && idle_passes < owned_) return;
    for (word idle_sleep = 0; idle_sleep < 4; ++idle_sleep) {
      const word now = load(&of_.on->arrivals, relaxed, in_device);
      if (now != arrivals_) {
        arrivals_ = now;
        looked_ = 0;
        return;
      }
      pause<1000>();
    }
  }

 private:
  __device__ static word words_of_group() { return wave_size() / 32; }
  __device__ uint64_t group_of(word ahead) const {
    return number_ + uint64_t{(next_ + ahead) % owned_} * waves_;
  }

  const persistent_launch& of_;
  word number_;
  word waves_;
  word groups_;
  word owned_;
  word arrivals_;
  word next_ = 0;
  word looked_ = 0;
  word bits_ = 0;
};

}  // namespace megakernel::device::detail
