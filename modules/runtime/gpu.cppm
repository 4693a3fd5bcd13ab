// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
module;
#include <megakernel/gpu/plugin.h>
#include <megakernel/lane_order.h>

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <expected>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <thread>
#include <vector>
export module megakernel.runtime:gpu;
import megakernel.protocol;
import megakernel.scaling;
import :upload_scanner;
import :deadline;
import :submission_queue;
import :kernel;
import :target;

/// The interface between library and plugin; see kernels/megakernel/gpu/gpu_plugin.h.
export namespace megakernel::gpu {
using gpu::call_status;
using gpu::device_info;
using gpu::failure;
using gpu::interface;
using gpu::interface_version;
using gpu::kernel;
using gpu::most_ranges;
using gpu::request;
using gpu::scan_request;
using gpu::shared_memory;
using gpu::slot_range;
}  // namespace megakernel::gpu

namespace megakernel::detail {

/// A plugin that another process has loaded: the program `host` of this library, which is
/// started for it. The interface is there for good. Or a sentence why there is none.
struct remote_gpu {
  const gpu::interface* calls;
  gpu::device_info found;
};
std::expected<remote_gpu, std::string> find_remote_gpu(std::string_view name,
                                                       const std::vector<std::string>& files,
                                                       const std::string& host);

}  // namespace megakernel::detail

export namespace megakernel {

/// Whose process drives a GPU.
enum class gpu_process : std::uint8_t {
  /// This one. A kernel that crashes takes all that the process has on the GPU along, and often the
  /// GPU is given to it no more.
  shared,
  /// One of its own for each launch, a program that comes with the library. All that can be lost
  /// is lost there: this process sees `device_failed`, also where the driver does not answer, and
  /// a new launch gets a new process. The runtime's buffers are to be `shared`.
  own,
};

/// Whether the program for a GPU in a process of its own is there. It is looked for in the
/// directory that the environment variable MEGAKERNEL_GPU_PATH names, beside the program, in the
/// directory for such programs beside the program's, and where the library was installed.
[[nodiscard]] bool has_gpu_process();

/// A shared object that knows a GPU, and the handlers it was compiled with. The library itself
/// needs no GPU toolkit. A plugin that was loaded stays loaded.
class gpu_plugin {
 public:
  /// Loads `lib<name>.cuda.so` or `lib<name>.amd.so`, whichever finds a GPU: from the directory
  /// that the environment variable MEGAKERNEL_GPU_PATH names; without it from beside the program,
  /// from the library directory beside the program's, and from where the system looks. The error is
  /// a sentence: what was tried, and why it was not that. In a process of its own it is loaded
  /// there, and that process waits for the launch.
  [[nodiscard]] static std::expected<gpu_plugin, std::string> find(
      std::string_view name = "megakernel_gpu", gpu_process where = gpu_process::shared);

  [[nodiscard]] const gpu::interface& calls() const noexcept { return *calls_; }
  [[nodiscard]] std::string_view device_name() const noexcept { return device_name_; }
  /// Lanes that work in step; launches are whole multiples of it.
  [[nodiscard]] std::uint32_t wave_size() const noexcept { return wave_size_; }

 private:
  gpu_plugin(const gpu::interface& calls, const gpu::device_info& found)
      : calls_(&calls), device_name_(found.name), wave_size_(found.wave_size) {}
  const gpu::interface* calls_;
  std::string device_name_;
  std::uint32_t wave_size_;
};

/// Lanes that suit a GPU whose ring of `slots` is in this machine's memory, as `recommend` sizes
/// the launch: a wave for as many slots as it has lanes, and no more waves than the bus can serve.
/// Errors: those of `recommend`. O(1).
[[nodiscard]] result<std::uint32_t> recommended_lanes(std::uint32_t slots,
                                                      std::uint32_t wave_size) noexcept;

/// In whose memory the ring is that lanes of a GPU work on. Nothing else depends on it but speed.
enum class ring_memory : std::uint8_t {
  automatic,  ///< as it was measured, the host's (bench/README.md)
  /// This machine's, pinned: lanes look at its slots over the bus.
  host,
  /// The device's: a thread copies what is published there in runs, and lanes tell this machine's
  /// ring the statuses. The one-shot form takes a copy of the ring as it stands; by priority it
  /// works on the host's all the same.
  device,
};

/// How lanes of a GPU run.
struct gpu_options {
  /// Rounded up to whole waves. 0: in the persistent forms as `recommended_lanes` says, in the
  /// one-shot form as many as are on the device at once.
  std::uint32_t lanes = 0;
  schedule order = schedule::ring_order;
  bool one_shot = false;  ///< look at each slot once and leave
  ring_memory ring = ring_memory::automatic;
  /// The kernel leaves after so long and is started anew, for displays and debuggers that allow no
  /// endless kernel; zero: one kernel until SHUTDOWN.
  std::chrono::nanoseconds quantum{};
};

/// Lanes of a GPU, over buffers in this machine's memory, which are pinned while it runs.
class gpu_target final : public kernel_target {
 public:
  /// The plugin's calls outlive the target. Error: `out_of_memory`.
  [[nodiscard]] static result<std::unique_ptr<gpu_target>> make(
      const gpu::interface& calls, const gpu_options& options) noexcept;
  /// Ends the kernel, at most two seconds. One that does not end keeps what it works on, unless it
  /// is in a process of its own, which then ends.
  ~gpu_target() override;

  /// Errors: also `device_lanes_refused`, `device_failed`, `memory_not_shared`. O(slots) with a
  /// ring in the device's memory.
  [[nodiscard]] result<void> launch(const launch_context& context) noexcept override;
  [[nodiscard]] bool flush(deadline until) noexcept override;
  [[nodiscard]] bool makes_digests() const noexcept override { return kernel_ != nullptr; }
  /// The device scans the ring, beside the kernel. It needs room for that: zero bytes where the
  /// kernel has taken all of it, and for a scan that was given up until it has ended after all.
  [[nodiscard]] result<std::size_t> digest(const digest_request& what, std::span<std::byte> into,
                                           deadline until) noexcept override;
  [[nodiscard]] std::uint32_t running() const noexcept override;
  /// Ends a process of the GPU's own.
  [[nodiscard]] bool end() noexcept override;
  /// Error: `device_failed`, with the number that the GPU's runtime has for it.
  [[nodiscard]] result<void> check() const noexcept override;

 private:
  gpu_target(const gpu::interface& calls, const gpu_options& options) noexcept
      : calls_(calls), options_(options) {}

  [[nodiscard]] result<void> start(const launch_context& context) noexcept;
  void start_relauncher() noexcept;
  [[nodiscard]] result<void> start_uploader(upload_scanner&& work, doorbell& bell) noexcept;
  void upload(upload_scanner& work, doorbell& bell) noexcept;
  void stop_threads() noexcept;
  void bring_down() noexcept;

  const gpu::interface& calls_;
  gpu_options options_;
  gpu::kernel* kernel_ = nullptr;
  std::atomic<bool> keeping_{false};
  std::thread relauncher_;  // starts the next quantum
  std::thread uploader_;    // brings work to a ring in the device's memory
};

}  // namespace megakernel
