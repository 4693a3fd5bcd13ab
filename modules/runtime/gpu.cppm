module;
#include <megakernel/forms.h>
#include <megakernel/gpu_component.h>

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
export module megakernel.runtime:gpu;
import megakernel.protocol;
import megakernel.scaling;
import :courier;
import :deadline;
import :feed;
import :kernel;
import :target;

/// What library and component say to each other; see kernels/megakernel/gpu_component.h.
export namespace megakernel::gpu {
using gpu::answer;
using gpu::card;
using gpu::interface;
using gpu::interface_version;
using gpu::kernel;
using gpu::most_runs;
using gpu::reason;
using gpu::request;
using gpu::run;
using gpu::scan_request;
}  // namespace megakernel::gpu

export namespace megakernel {

/// A shared object that knows a GPU, and the handlers it was compiled with. The library itself
/// needs no GPU toolkit. A component that was loaded stays loaded.
class gpu_component {
 public:
  /// Loads `lib<name>.cuda.so` or `lib<name>.amd.so`, whichever finds a GPU: from the directory
  /// that the environment variable MEGAKERNEL_GPU_PATH names; without it from beside the program,
  /// from the library directory beside the program's, and from where the system looks. The error is
  /// a sentence: what was tried, and why it was not that.
  [[nodiscard]] static std::expected<gpu_component, std::string> find(
      std::string_view name = "megakernel_gpu");

  [[nodiscard]] const gpu::interface& calls() const noexcept { return *calls_; }
  [[nodiscard]] std::string_view card() const noexcept { return card_; }
  /// Lanes that work in step; launches are whole multiples of it.
  [[nodiscard]] std::uint32_t wave_size() const noexcept { return wave_size_; }

 private:
  gpu_component() = default;
  const gpu::interface* calls_ = nullptr;
  std::string card_;
  std::uint32_t wave_size_ = 0;
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
  /// The component's calls outlive the target. Error: `out_of_memory`.
  [[nodiscard]] static result<std::unique_ptr<gpu_target>> make(
      const gpu::interface& calls, const gpu_options& options) noexcept;
  /// Ends the kernel, at most two seconds. One that does not end keeps what it works on.
  ~gpu_target() override;

  /// Errors: also `device_lanes_refused`, `device_failed`. O(slots) with a ring in the device's
  /// memory.
  [[nodiscard]] result<void> launch(const launch_site& site) noexcept override;
  [[nodiscard]] bool flush(deadline until) noexcept override;
  [[nodiscard]] bool makes_digests() const noexcept override { return kernel_ != nullptr; }
  /// The device scans the ring, beside the kernel. It needs room for that: zero bytes where the
  /// kernel has taken all of it, and for a scan that was given up until it has ended after all.
  [[nodiscard]] result<std::size_t> digest(const digest_request& what, std::span<std::byte> into,
                                           deadline until) noexcept override;
  [[nodiscard]] std::uint32_t running() const noexcept override;
  /// Error: `device_failed`, with the number that the GPU's runtime has for it.
  [[nodiscard]] result<void> check() const noexcept override;

 private:
  gpu_target(const gpu::interface& calls, const gpu_options& options) noexcept
      : calls_(calls), options_(options) {}

  [[nodiscard]] result<void> start(const launch_site& site) noexcept;
  void start_keeper() noexcept;
  [[nodiscard]] result<void> start_carrier(courier&& work, doorbell& bell) noexcept;
  void carry(courier& work, doorbell& bell) noexcept;
  void end() noexcept;

  const gpu::interface& calls_;
  gpu_options options_;
  gpu::kernel* kernel_ = nullptr;
  std::atomic<bool> keeping_{false};
  std::thread keeper_;   // starts the next quantum
  std::thread carrier_;  // brings work to a ring in the device's memory
};

}  // namespace megakernel
