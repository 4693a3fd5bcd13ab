// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// What a benchmark on a GPU stands on: runtime calls that are checked, memory that frees itself,
// and waits that end. An error ends the program with a sentence; nothing here can hang.
#pragma once

#include <megakernel/device/hip_on_cuda.h>

#include <atomic>
#include <chrono>
#include <cstdarg>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <fstream>
#include <string>
#include <thread>
#include <utility>

namespace gpu_support {

/// Exit statuses; the second is what test drivers take for "skipped".
inline constexpr int failed = 1;
inline constexpr int no_gpu = 77;

using clock = std::chrono::steady_clock;
inline double seconds_since(clock::time_point start) {
  return std::chrono::duration<double>(clock::now() - start).count();
}

/// Says why and leaves at once, without destructors: they would wait for work that may never end.
[[noreturn]] __attribute__((format(printf, 1, 2))) inline void fail(const char* format, ...) {
  std::fflush(stdout);
  std::va_list arguments;
  va_start(arguments, format);
  std::vfprintf(stderr, format, arguments);
  va_end(arguments);
  std::fputc('\n', stderr);
  std::_Exit(failed);
}

inline void check(hipError_t status, const char* call) {
  if (status != hipSuccess) fail("%s failed: %s", call, hipGetErrorString(status));
}
#define CHECKED(call) gpu_support::check((call), #call)

/// Ends the program when one step takes longer than `limit`, for the runtime calls that wait
/// without a deadline of their own.
class watchdog {
 public:
  explicit watchdog(std::chrono::seconds limit) : limit_(limit), thread_([this] { watch(); }) {
    begin("the start");
  }
  watchdog(const watchdog&) = delete;
  watchdog& operator=(const watchdog&) = delete;
  ~watchdog() {
    leave_ = true;
    thread_.join();
  }

  /// `step` is kept: a literal, or what outlives the step.
  void begin(const char* step) {
    step_ = step;
    started_ = clock::now().time_since_epoch().count();
  }

 private:
  void watch() const {
    while (!leave_) {
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
      const clock::duration running(clock::now().time_since_epoch().count() - started_);
      if (running > limit_) fail("gave up after %lld s in: %s", seconds(), step_.load());
    }
  }
  long long seconds() const { return static_cast<long long>(limit_.count()); }

  std::chrono::seconds limit_;
  std::atomic<const char*> step_{""};
  std::atomic<clock::rep> started_{clock::now().time_since_epoch().count()};
  std::atomic<bool> leave_{false};
  std::thread thread_;  // last: it reads the others
};

class stream {
 public:
  stream() { CHECKED(hipStreamCreateWithFlags(&handle_, hipStreamNonBlocking)); }
  stream(const stream&) = delete;
  stream& operator=(const stream&) = delete;
  ~stream() { CHECKED(hipStreamDestroy(handle_)); }

  operator hipStream_t() const { return handle_; }

  [[nodiscard]] bool is_done() const {
    const hipError_t status = hipStreamQuery(handle_);
    if (status != hipErrorNotReady) check(status, "the work on a stream");
    return status == hipSuccess;
  }

  void wait() const {
    const auto start = clock::now();
    while (!is_done())
      if (seconds_since(start) > 10) fail("the work on a stream did not end within 10 s");
  }

 private:
  hipStream_t handle_{};
};

/// Time on the device between two points of a stream.
class stopwatch {
 public:
  stopwatch() {
    CHECKED(hipEventCreate(&begin_));
    CHECKED(hipEventCreate(&end_));
  }
  stopwatch(const stopwatch&) = delete;
  stopwatch& operator=(const stopwatch&) = delete;
  ~stopwatch() {
    CHECKED(hipEventDestroy(begin_));
    CHECKED(hipEventDestroy(end_));
  }

  /// Seconds that what `enqueue` puts on the stream takes; waits for all of the stream.
  template <class Enqueue>
  double time(const stream& on, Enqueue&& enqueue) {
    CHECKED(hipEventRecord(begin_, on));
    enqueue();
    CHECKED(hipEventRecord(end_, on));
    on.wait();
    float milliseconds = 0;
    CHECKED(hipEventElapsedTime(&milliseconds, begin_, end_));
    return static_cast<double>(milliseconds) * 1e-3;
  }

 private:
  hipEvent_t begin_{};
  hipEvent_t end_{};
};

template <class T>
class device_memory {
 public:
  explicit device_memory(std::size_t count) : count_(count) {
    void* data = nullptr;
    CHECKED(hipMalloc(&data, bytes()));
    data_ = static_cast<T*>(data);
  }
  device_memory(const device_memory&) = delete;
  device_memory& operator=(const device_memory&) = delete;
  ~device_memory() { CHECKED(hipFree(data_)); }

  [[nodiscard]] T* data() const { return data_; }
  [[nodiscard]] std::size_t bytes() const { return count_ * sizeof(T); }

 private:
  std::size_t count_;
  T* data_ = nullptr;
};

/// Memory of the host that the device reads and writes where it is.
template <class T>
class pinned_memory {
 public:
  explicit pinned_memory(std::size_t count) : count_(count) {
    void* host = nullptr;
    void* device = nullptr;
    CHECKED(hipHostMalloc(&host, bytes(),
                          hipHostMallocMapped | hipHostMallocPortable | hipHostMallocCoherent));
    CHECKED(hipHostGetDevicePointer(&device, host, 0));
    host_ = static_cast<T*>(host);
    device_ = static_cast<T*>(device);
  }
  pinned_memory(const pinned_memory&) = delete;
  pinned_memory& operator=(const pinned_memory&) = delete;
  ~pinned_memory() { CHECKED(hipHostFree(host_)); }

  [[nodiscard]] T* host() const { return host_; }
  [[nodiscard]] T* device() const { return device_; }
  [[nodiscard]] std::size_t bytes() const { return count_ * sizeof(T); }

 private:
  std::size_t count_;
  T* host_ = nullptr;
  T* device_ = nullptr;
};

/// The device of this run.
struct properties {
  std::string name;
  std::string driver;
  std::string date;
  std::uint32_t processors = 0;
  std::uint32_t wave_size = 0;
  std::uint64_t memory_bytes = 0;
  std::uint64_t cache_bytes = 0;
};

/// The kernel driver says its version in a file; elsewhere the runtime's number has to do.
inline std::string driver_version() {
#if defined(__HIP__)
  std::ifstream file("/sys/module/amdgpu/version");
  const char* const prefix = "amdgpu ";
#else
  std::ifstream file("/proc/driver/nvidia/version");
  const char* const prefix = "";
#endif
  std::string line;
  if (std::getline(file, line)) {
    // "NVRM version: NVIDIA UNIX x86_64 Kernel Module  1.2.3  date": the word that is a number.
    for (std::size_t at = 0; at < line.size();) {
      const std::size_t end = std::min(line.find(' ', at), line.size());
      const std::string word = line.substr(at, end - at);
      if (word.find('.') != std::string::npos &&
          word.find_first_not_of("0123456789.") == std::string::npos)
        return prefix + word;
      at = end + 1;
    }
  }
  int version = 0;
  CHECKED(hipDriverGetVersion(&version));
  return "interface " + std::to_string(version);
}

inline std::string today() {
  const std::time_t now = std::time(nullptr);
  char text[sizeof "2000-01-01T00:00:00Z"];
  std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", std::gmtime(&now));
  return text;
}

/// Takes the first device, or leaves with `no_gpu` and a sentence that says that there is none.
inline properties take(const char* program) {
  int cards = 0;
  const hipError_t status = hipGetDeviceCount(&cards);
  if (cards == 0 || status == hipErrorNoDevice || status == hipErrorInsufficientDriver) {
    std::printf("%s: there is no GPU to run on (%s)\n", program,
                status == hipSuccess ? "no device is visible" : hipGetErrorString(status));
    std::exit(no_gpu);
  }
  check(status, "hipGetDeviceCount");
  CHECKED(hipSetDevice(0));
  hipDeviceProp_t found;
  CHECKED(hipGetDeviceProperties(&found, 0));
  properties gpu_properties;
  gpu_properties.name = found.name;
  gpu_properties.driver = driver_version();
  gpu_properties.date = today();
  gpu_properties.processors = static_cast<std::uint32_t>(found.multiProcessorCount);
  gpu_properties.wave_size = static_cast<std::uint32_t>(found.warpSize);
  gpu_properties.memory_bytes = found.totalGlobalMem;
  gpu_properties.cache_bytes = static_cast<std::uint64_t>(found.l2CacheSize);
  return gpu_properties;
}

/// How many blocks, of how many lanes.
struct shape {
  std::uint32_t blocks;
  std::uint32_t lanes;
};

/// Launches a kernel, arguments converted to its parameters.
template <class... Parameters, class... Arguments>
void launch(void (*kernel)(Parameters...), shape grid, const stream& on, Arguments... arguments) {
  static_assert(sizeof...(Parameters) == sizeof...(Arguments));
  const auto with = [&](Parameters... values) {
    void* pointers[] = {&values..., nullptr};
    CHECKED(hipLaunchKernel(reinterpret_cast<const void*>(kernel), dim3(grid.blocks),
                            dim3(grid.lanes), pointers, 0, on));
  };
  with(arguments...);
}

/// As many blocks as can be on the device at once.
template <class... Parameters>
shape resident(void (*kernel)(Parameters...), std::uint32_t lanes,
               const properties& gpu_properties) {
  int blocks = 0;
  CHECKED(
      hipOccupancyMaxActiveBlocksPerMultiprocessor(&blocks, kernel, static_cast<int>(lanes), 0));
  if (blocks < 1) fail("a kernel does not fit the device in blocks of %u lanes", lanes);
  return {static_cast<std::uint32_t>(blocks) * gpu_properties.processors, lanes};
}

}  // namespace gpu_support
