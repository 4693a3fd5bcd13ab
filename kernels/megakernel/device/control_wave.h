// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The mailbox between host and persistent kernel, beside the protocol, and the wave that goes
// between them: of the kernel it alone looks at the control buffer and the mailbox, in the host's
// memory, and writes the counts there.
#pragma once

#include <megakernel/device/hip_on_cuda.h>
#include <megakernel/device/wave.h>
#include <megakernel/device/wave_memory.h>
#include <megakernel/handlers.h>

#include <stddef.h>

namespace megakernel::device {

/// The channel between host and kernel beside the protocol, in memory of the host.
struct mailbox {
  alignas(128) word flush_asked;  ///< by the host: number of the last flush wanted
  word leave;                     ///< by the host: not zero ends the kernel as SHUTDOWN does
  word ranges_came;               ///< by the host: ranges of slots that have come to the device
  alignas(128) word flushed;      ///< by the kernel: number of the last flush that all have done
  word ranges_taken;              ///< by the kernel: how many of the ranges are with the lanes
  static constexpr word most_ranges = 64;
  struct slot_range {
    word first;
    word count;
  };
  alignas(128) slot_range
      ranges[most_ranges];  ///< by the host: the ranges, by their number modulo `most_ranges`
};

struct persistent_launch {
  launch where;
  mailbox* box;
  control_mirror* on;
  word* flushed;  ///< of each wave but the control wave, in the device's memory
  swap_locks locks;
  uint64_t quantum;  ///< nanoseconds after which waves leave; 0: only when told to
};

/// Puts on the control mirror what the control buffer, as the host sees it, says now: before each
/// launch, the counters before the first of several.
inline hipError_t prepare(control_mirror* on, const word* control, bool first, hipStream_t stream) {
  constexpr size_t counters = control_mirror::first_total;
  const auto copy = [&](word* to, const word* from, size_t words) {
    return hipMemcpyAsync(to, from, words * sizeof(word), hipMemcpyHostToDevice, stream);
  };
  const hipError_t statuses[] = {
      first ? hipMemsetAsync(on, 0, sizeof(control_mirror), stream) : hipSuccess,
      first ? copy(on->totals + counters, control + counters, abi::control_words - counters)
            : hipSuccess,
      first ? copy(on->totals + abi::done_count_word, control + abi::done_count_word, 1)
            : hipSuccess,
      copy(on->head, control, head_words),
      copy(on->offsets, control + abi::priority_offset_word, abi::priority_offsets),
      hipMemsetAsync(&on->leave, 0, sizeof(word), stream),
      hipMemsetAsync(&on->left, 0, sizeof(word), stream)};
  for (const hipError_t status : statuses) {
    if (status != hipSuccess) return status;
  }
  return hipSuccess;
}

namespace detail {

/// The wave that goes between control mirror and host.
class control_wave {
 public:
  __device__ explicit control_wave(const persistent_launch& of) : of_(of), begin_(nanoseconds()) {
    acked_ = load(&of.box->flushed, relaxed, in_system);
    ranges_ = load(&of.box->ranges_taken, relaxed, in_system);
    for (word k = 0; k < counts_of_lane; ++k)
      written_[k] =
          is_written(word_of(k)) ? load(of.where.control + word_of(k), relaxed, in_system) : 0;
  }

  __device__ void run(word waves) {
    const word* const control = of_.where.control;
    const word lane = lane_index();
    if (lane == 0)
      device::store(of_.on->totals + abi::revision_word, abi::revision, relaxed, in_device);
    for (;;) {
      // All that the host says, in one trip.
      word head = 0;
      word second = 0;
      if (lane < head_words) head = load(control + lane, relaxed, in_system);
      if (lane < abi::priority_offsets)
        second = load(control + abi::priority_offset_word + lane, relaxed, in_system);
      else if (lane < abi::priority_offsets + 3)
        second = load(&of_.box->flush_asked + lane - abi::priority_offsets, relaxed, in_system);
      if (lane == abi::priority_offsets + 1 && of_.quantum != 0)
        second |= nanoseconds() - begin_ >= of_.quantum;
      if (lane < head_words) device::store(of_.on->head + lane, head, relaxed, in_device);
      if (lane < abi::priority_offsets + 2)
        device::store(of_.on->offsets + lane, second, relaxed, in_device);
      if (const word came = shuffle(second, abi::priority_offsets + 2); came != ranges_) take(came);

      const word left = load(&of_.on->left, acquire, in_device);
      const word asked = shuffle(second, abi::priority_offsets);
      const bool all_flushed = asked != acked_ && all_have(asked, waves);
      write_back();
      if (all_flushed) {
        acked_ = asked;
        if (lane == 0) device::store(&of_.box->flushed, asked, release, in_system);
      }
      if (left == waves) return;
    }
  }

 private:
  static constexpr word counts_of_lane = abi::control_words / smallest_wave;

  /// The lane's `k`th control word, in the order of writing: claims, then ends.
  __device__ word word_of(word k) const { return k * wave_size() + lane_index(); }
  [[nodiscard]] __device__ static bool is_written(word at) {
    const bool offset = at - abi::priority_offset_word < abi::priority_offsets;
    return (at >= control_mirror::first_total && at < abi::control_words && !offset) ||
           at == abi::done_count_word;
  }
  [[nodiscard]] __device__ static bool is_end(word at) {
    return at == abi::done_count_word || at == abi::fault_count_word ||
           at == abi::done_count_high_word;
  }
  __device__ word total(word k) const {
    return is_written(word_of(k)) ? load(of_.on->totals + word_of(k), relaxed, in_device) : 0;
  }

  /// Whether every wave has done flush `asked`; its counts are on the control mirror then.
  __device__ bool all_have(word asked, word waves) const {
    bool all = true;
    for (word i = lane_index(); i < waves; i += wave_size())
      all = all && load(of_.flushed + i, relaxed, in_device) == asked;
    const bool agreed = lanes_where(!all) == 0;
    fence(acquire, in_device);
    return agreed;
  }

  /// Gives the lanes the ranges of slots up to number `came`, which are in the device's ring by
  /// then.
  __device__ void take(word came) {
    const word lane = lane_index();
    fence(acquire, in_system);
    mailbox::slot_range mine{0, 0};
    const word ranges = came - ranges_ < wave_size() ? came - ranges_ : wave_size();
    if (lane < ranges) {
      const mailbox::slot_range* const from =
          of_.box->ranges + (ranges_ + lane) % mailbox::most_ranges;
      mine.first = load(&from->first, relaxed, in_system);
      mine.count = load(&from->count, relaxed, in_system);
    }
    fence(acq_rel, in_system);
    for (word i = 0; i < ranges; ++i) {
      const uint64_t first = shuffle(mine.first, i);
      const uint64_t wanted = first + shuffle(mine.count, i);
      const uint64_t end = wanted < of_.where.slots ? wanted : of_.where.slots;
      for (uint64_t at = first / 32 * 32 + 32 * lane; at < end; at += 32 * wave_size()) {
        word bits = 0xFFFF'FFFFu;
        if (at < first) bits <<= first - at;
        if (end - at < 32) bits &= 0xFFFF'FFFFu >> (32 - (end - at));
        fetch_or(of_.where.ready_bits + at / 32, bits, relaxed, in_device);
      }
    }
    ranges_ += ranges;
    sync_wave();
    fence(acq_rel, in_system);
    if (lane != 0) return;
    device::store(&of_.on->arrivals, ranges_, relaxed, in_device);
    device::store(&of_.box->ranges_taken, ranges_, relaxed, in_system);
  }

  /// Writes changed counters to the control buffer: it reads ends before claims, and writes
  /// claims before ends.
  __device__ void write_back() {
    word now[counts_of_lane];
    bool ends_moved = false;
    for (word k = 0; k < counts_of_lane; ++k) {
      now[k] = is_end(word_of(k)) ? total(k) : 0;
      ends_moved = ends_moved || (is_end(word_of(k)) && now[k] != written_[k]);
    }
    fence(acquire, in_device);
    sync_wave();
    for (word k = 0; k < counts_of_lane; ++k) {
      if (!is_end(word_of(k))) now[k] = total(k);
      if (!is_end(word_of(k)) && now[k] != written_[k])
        device::store(of_.where.control + word_of(k), now[k], relaxed, in_system);
    }
    if (lanes_where(ends_moved) != 0) {
      sync_wave();
      fence(acq_rel, in_system);
      for (word k = 0; k < counts_of_lane; ++k) {
        if (is_end(word_of(k)) && now[k] != written_[k])
          device::store(of_.where.control + word_of(k), now[k], relaxed, in_system);
      }
    }
    for (word k = 0; k < counts_of_lane; ++k) written_[k] = now[k];
  }

  const persistent_launch& of_;
  uint64_t begin_;
  word acked_;
  word ranges_;  // with the lanes
  word written_[counts_of_lane];
};

}  // namespace detail

}  // namespace megakernel::device
