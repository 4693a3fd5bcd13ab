// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// A ring in the device's memory. The host publishes into its own ring, and its slots are copied to
// the device's in ranges, by the copy engine: lanes neither read nor poll the host's slots. A range
// is announced in the mailbox once it is there whole, and is the lanes' from then on.
#pragma once

#include <megakernel/device/kernels.h>
#include <megakernel/gpu/plugin.h>

#include <stdint.h>

namespace megakernel::gpu::detail {

static_assert(device::mailbox::most_ranges == most_ranges);

class device_ring {
 public:
  device_ring() = default;
  device_ring(const device_ring&) = delete;
  device_ring& operator=(const device_ring&) = delete;
  ~device_ring() {
    if (stream_ != nullptr) {
      (void)hipStreamSynchronize(stream_);
      (void)hipStreamDestroy(stream_);
    }
    for (const batch& b : batches_)
      if (b.landed != nullptr) (void)hipEventDestroy(b.landed);
    if (slots_ != nullptr) (void)hipFree(slots_);
  }

  /// Memory for as many slots as the host's ring at `from` has, zero once `on` has come so far.
  hipError_t make(const word* from, word count, device::mailbox* box, hipStream_t on) {
    const uint64_t ring_words = uint64_t{count} * abi::slot_words;
    const uint64_t bytes = (ring_words + count / 32 + 1) * sizeof(word);
    void* memory = nullptr;
    if (const hipError_t s = hipMalloc(&memory, bytes); s != hipSuccess) return s;
    slots_ = static_cast<word*>(memory);
    ready_bits_ = slots_ + ring_words;
    host_ = from;
    count_ = count;
    box_ = box;
    if (const hipError_t s = hipMemsetAsync(memory, 0, bytes, on); s != hipSuccess) return s;
    if (const hipError_t s = hipStreamCreateWithFlags(&stream_, hipStreamNonBlocking);
        s != hipSuccess) {
      stream_ = nullptr;
      return s;
    }
    for (batch& b : batches_) {
      if (const hipError_t s = hipEventCreateWithFlags(&b.landed, hipEventDisableTiming);
          s != hipSuccess) {
        b.landed = nullptr;
        return s;
      }
    }
    return hipSuccess;
  }
  /// All of the host's ring at once, before a kernel on the same stream.
  hipError_t fill(hipStream_t on) {
    return hipMemcpyAsync(slots_, host_, uint64_t{count_} * abi::slot_bytes, hipMemcpyHostToDevice,
                          on);
  }

  [[nodiscard]] word* slots() const { return slots_; }
  [[nodiscard]] word* ready_bits() const { return ready_bits_; }

  /// Ranges there is room for: in the mailbox, and on their way.
  [[nodiscard]] uint32_t room() const {
    if (batches_under_way_ == most_batches) return 0;
    const word taken = __atomic_load_n(&box_->ranges_taken, __ATOMIC_ACQUIRE);
    return device::mailbox::most_ranges - (sent_ - taken);
  }

  /// Starts to copy ranges, no more than there is room for.
  hipError_t send(const slot_range* ranges, uint32_t count) {
    for (uint32_t i = 0; i < count; ++i) {
      const uint64_t at = uint64_t{ranges[i].first} * abi::slot_words;
      if (const hipError_t s =
              hipMemcpyAsync(slots_ + at, host_ + at, uint64_t{ranges[i].count} * abi::slot_bytes,
                             hipMemcpyHostToDevice, stream_);
          s != hipSuccess)
        return s;
      // Not announced yet: nobody reads it.
      box_->ranges[(sent_ + i) % device::mailbox::most_ranges] = {ranges[i].first, ranges[i].count};
    }
    sent_ += count;
    batch& last = batches_[(first_batch_ + batches_under_way_) % most_batches];
    last.sent = sent_;
    ++batches_under_way_;
    return hipEventRecord(last.landed, stream_);
  }

  /// Announces what has come.
  hipError_t announce() {
    while (batches_under_way_ != 0) {
      const batch& next = batches_[first_batch_ % most_batches];
      const hipError_t s = hipEventQuery(next.landed);
      if (s == hipErrorNotReady) {
        (void)hipGetLastError();
        return hipSuccess;
      }
      if (s != hipSuccess) return s;
      __atomic_store_n(&box_->ranges_came, next.sent, __ATOMIC_RELEASE);
      ++first_batch_;
      --batches_under_way_;
    }
    return hipSuccess;
  }

 private:
  /// Copies that were begun together.
  struct batch {
    hipEvent_t landed = nullptr;
    word sent = 0;  ///< ranges sent up to its last
  };
  static constexpr uint32_t most_batches = 16;

  word* slots_ = nullptr;
  word* ready_bits_ = nullptr;
  const word* host_ = nullptr;
  word count_ = 0;
  device::mailbox* box_ = nullptr;
  hipStream_t stream_ = nullptr;
  batch batches_[most_batches];
  uint32_t first_batch_ = 0;
  uint32_t batches_under_way_ = 0;
  word sent_ = 0;
};

}  // namespace megakernel::gpu::detail
