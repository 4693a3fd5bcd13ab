// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Targets that do what no test can ask of a real one. Include it after the library.
#pragma once

namespace props::fakes {

namespace mk = megakernel;

/// A GPU plugin that refuses, or loses its device: what no test can ask of a real one. What the
/// device answers, from the start and once it runs; and when it is looked at, as what.
template <mk::gpu::call_status Start, mk::gpu::call_status Running,
          mk::gpu::call_status Look = mk::gpu::call_status::yes, std::uint32_t Wave = 32>
inline constexpr mk::gpu::interface fake_gpu{
    .version = mk::gpu::interface_version,
    .own_process = 0,
    .context = nullptr,
    .probe = [](void*, mk::gpu::device_info* found, mk::gpu::failure* why) -> mk::gpu::call_status {
      *found = {};
      found->wave_size = Wave;
      why->number = 709;
      return Look;
    },
    .start = [](void*, const mk::gpu::request* wanted, mk::gpu::kernel** started,
                std::uint32_t* lanes, mk::gpu::failure* why) -> mk::gpu::call_status {
      *started = nullptr;
      *lanes = 96;
      why->number = 719;
      // Never looked into: the calls below are all that knows it.
      if (Start == mk::gpu::call_status::yes)
        *started = reinterpret_cast<mk::gpu::kernel*>(wanted->where.control);
      return Start;
    },
    .running = [](mk::gpu::kernel*, std::uint32_t* lanes,
                  mk::gpu::failure* why) -> mk::gpu::call_status {
      *lanes = 0;
      why->number = 700;
      return Running;
    },
    .ask_flush = [](mk::gpu::kernel*) -> std::uint32_t { return 1; },
    .flushed = [](mk::gpu::kernel*, std::uint32_t) { return false; },
    .leave = [](mk::gpu::kernel*) {},
    .close = [](mk::gpu::kernel*) {},
    .upload = [](mk::gpu::kernel*, const mk::gpu::slot_range*, std::uint32_t, std::uint32_t* room,
                 mk::gpu::failure*) -> mk::gpu::call_status {
      *room = 0;
      return Running;
    },
    .scan = [](mk::gpu::kernel*, const mk::gpu::scan_request*, void*, std::uint64_t,
               std::uint64_t* size, mk::gpu::failure* why) -> mk::gpu::call_status {
      *size = 0;
      why->number = 719;
      return mk::gpu::call_status::failed;
    },
};

/// Lanes of which it is only known how many there are; none ever reports.
class silent_lanes : public mk::kernel_target {
 public:
  explicit silent_lanes(std::atomic<std::uint32_t>& count) : count_(count) {}
  mk::result<void> launch(const mk::launch_context&) noexcept override { return {}; }
  bool flush(mk::deadline) noexcept override { return false; }
  [[nodiscard]] std::uint32_t running() const noexcept override { return count_; }

 private:
  std::atomic<std::uint32_t>& count_;
};

/// Such lanes, of which none ever will.
class lost_lanes final : public silent_lanes {
 public:
  using silent_lanes::silent_lanes;
  [[nodiscard]] mk::result<void> check() const noexcept override {
    return std::unexpected(mk::error{.code = mk::error_code::device_failed, .found = 700});
  }
};

/// While it lives, no thread can be created: its stack would be larger than the address space.
class no_more_threads {
 public:
  no_more_threads() {
    pthread_getattr_default_np(&usual_);
    pthread_attr_t huge;
    pthread_attr_init(&huge);
    pthread_attr_setstacksize(&huge, std::size_t{1} << 47);
    pthread_setattr_default_np(&huge);
    pthread_attr_destroy(&huge);
  }
  ~no_more_threads() {
    pthread_setattr_default_np(&usual_);
    pthread_attr_destroy(&usual_);
  }
  no_more_threads(const no_more_threads&) = delete;
  no_more_threads& operator=(const no_more_threads&) = delete;

 private:
  pthread_attr_t usual_{};
};

}  // namespace props::fakes
