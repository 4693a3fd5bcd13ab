// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The host's side of device/scan.h: memory for a scan, taken once, and the kernels of a scan
// one after the other on a stream of their own. With a persistent kernel resident nothing may be
// allocated or loaded, so all of that happens in `prepare`.
#pragma once

#include <megakernel/device/scan.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>

namespace megakernel::device {

/// Where a ring is, which decides how many lanes it takes to read it.
enum class ring_in { device_memory, host_memory };

/// Makes digests of rings, one at a time. Not for several threads at once.
class ring_scanner {
 public:
  ring_scanner() = default;
  ring_scanner(const ring_scanner&) = delete;
  ring_scanner& operator=(const ring_scanner&) = delete;
  /// Only when no kernel stays on the device: what is freed waits for it.
  ~ring_scanner() {
    wait();
    if (has_stream_) (void)hipStreamDestroy(stream_);
    if (host_ != nullptr) (void)hipHostFree(host_);
    if (device_memory_ != nullptr) (void)hipFree(device_memory_);
  }

  /// Takes memory for any request, and runs a scan of nothing: then every kernel is loaded. Once.
  /// `places`, a power of two, is how many windows can be listed.
  hipError_t prepare(word places = abi::digest::most_windows) {
    namespace d = abi::digest;
    memory_.places = places;
    constexpr std::size_t sketch_bytes =
        std::size_t{d::sketches} * d::most_counters * sizeof(uint64_t);
    const std::size_t table_bytes = std::size_t{places} * sizeof(window_place);
    const std::size_t list_bytes = std::size_t{places} * sizeof(word);
    const std::size_t device_bytes =
        table_bytes + sketch_bytes + 2 * list_bytes + sizeof(ring_counts);
    if (const hipError_t s = hipMalloc(&device_memory_, device_bytes); s != hipSuccess) return s;
    auto* at = static_cast<unsigned char*>(device_memory_);
    const auto take = [&](auto*& part, std::size_t bytes) {
      part = reinterpret_cast<std::remove_reference_t<decltype(part)>>(at);
      at += bytes;
    };
    // From the widest alignment to the narrowest.
    take(memory_.windows, table_bytes);
    take(memory_.sketches, sketch_bytes);
    take(memory_.taken, list_bytes);
    take(memory_.ordered, list_bytes);
    take(memory_.counts, sizeof(ring_counts));

    const std::size_t host_bytes = d::words(1, d::most_counters, places) * sizeof(word);
    if (const hipError_t s =
            hipHostMalloc(&host_, host_bytes,
                          hipHostMallocMapped | hipHostMallocPortable | hipHostMallocCoherent);
        s != hipSuccess)
      return s;
    void* there = nullptr;
    if (const hipError_t s = hipHostGetDevicePointer(&there, host_, 0); s != hipSuccess) return s;
    on_device_ = static_cast<word*>(there);
    if (const hipError_t s = hipStreamCreateWithFlags(&stream_, hipStreamNonBlocking);
        s != hipSuccess)
      return s;
    has_stream_ = true;
    int processors = 0;
    if (const hipError_t s =
            hipDeviceGetAttribute(&processors, hipDeviceAttributeMultiprocessorCount, 0);
        s != hipSuccess)
      return s;
    processors_ = static_cast<uint32_t>(processors);
    for (const bool windows : {false, true}) {
      int resident = 0;
      if (const hipError_t s =
              hipOccupancyMaxActiveBlocksPerMultiprocessor(&resident, code(windows), scan_lanes, 0);
          s != hipSuccess)
        return s;
      resident_[windows] = static_cast<uint32_t>(resident) * processors_;
      const digest_request nothing{1, 1, windows ? 1u : 0u, {}};
      if (const hipError_t s = start(nullptr, 0, ring_in::device_memory, nothing); s != hipSuccess)
        return s;
      if (const hipError_t s = hipStreamSynchronize(stream_); s != hipSuccess) return s;
    }
    return hipSuccess;
  }

  /// Starts a scan of a ring that others may be writing, at an address of the device. The request
  /// is valid, and no scan is on its way.
  hipError_t start(const abi::slot* ring, word slots, ring_in where, const digest_request& what) {
    const bool windows = what.window_opcodes != 0;
    const uint64_t chunk = uint64_t{scan_lanes} * unroll;
    const uint64_t useful = std::max<uint64_t>((slots + chunk - 1) / chunk, 1);
    // A few blocks have as many loads on their way as the bus carries; more would only stand in the
    // way of the waves that look for work there.
    const uint64_t most = where == ring_in::host_memory ? blocks_of_bus : resident_[windows];
    const auto blocks = static_cast<uint32_t>(std::min(useful, std::max<uint64_t>(most, 1)));
    wanted_ = what;
    word* to = on_device_;
    void* clear[] = {&memory_, &wanted_};
    void* scan[] = {&ring, &slots, &memory_, &wanted_};
    void* finish[] = {&memory_, &wanted_};
    void* rank[] = {&memory_};
    void* write[] = {&memory_, &slots, &wanted_, &to};
    const struct {
      const void* kernel;
      uint32_t blocks, lanes;
      void** arguments;
      bool runs;
    } steps[] = {
        {reinterpret_cast<const void*>(clear_scan), processors_, 256, clear, true},
        {code(windows), blocks, scan_lanes, scan, true},
        {reinterpret_cast<const void*>(finish_scan), 1, 1024, finish, true},
        {reinterpret_cast<const void*>(rank_windows), memory_.places / rank_tile + 1, rank_tile,
         rank, windows},
        {reinterpret_cast<const void*>(write_digest), processors_, 256, write, true},
    };
    for (const auto& step : steps) {
      if (!step.runs) continue;
      if (const hipError_t s = hipLaunchKernel(step.kernel, dim3(step.blocks), dim3(step.lanes),
                                               step.arguments, 0, stream_);
          s != hipSuccess)
        return s;
    }
    return hipSuccess;
  }

  /// `hipSuccess` when no scan is on its way, `hipErrorNotReady` while one is, else why it failed.
  hipError_t query() const {
    const hipError_t status = hipStreamQuery(stream_);
    if (status == hipErrorNotReady) (void)hipGetLastError();
    return status;
  }

  /// For a scan that is on its way, without a deadline.
  void wait() const {
    if (has_stream_) (void)hipStreamSynchronize(stream_);
  }

  /// The digest of the last scan, once that has ended.
  [[nodiscard]] const word* digest() const { return static_cast<const word*>(host_); }
  /// Its length, which is never more than there is memory.
  [[nodiscard]] word digest_words() const {
    const word windows = std::min(digest()[abi::digest::windows_word], memory_.places);
    return abi::digest::words(wanted_.depth, wanted_.width, windows);
  }
  [[nodiscard]] hipStream_t stream() const { return stream_; }

 private:
  static constexpr uint32_t scan_lanes = 512;
  static constexpr word unroll = 4;
  static constexpr uint32_t blocks_of_bus = 16;

  static const void* code(bool windows) {
    return windows ? reinterpret_cast<const void*>(scan_ring<unroll, ring_is::in_use, true>)
                   : reinterpret_cast<const void*>(scan_ring<unroll, ring_is::in_use, false>);
  }

  scan_memory memory_{};
  digest_request wanted_{};  // of the last scan
  void* device_memory_ = nullptr;
  void* host_ = nullptr;
  word* on_device_ = nullptr;
  hipStream_t stream_{};
  bool has_stream_ = false;
  uint32_t processors_ = 0;
  uint32_t resident_[2] = {};
};

}  // namespace megakernel::device
