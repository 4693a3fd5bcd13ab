// Targets that do what no test can ask of a real one. Include it after the library.
#pragma once

namespace props::fakes {

namespace mk = megakernel;

/// A GPU component that refuses, or loses its device: what no test can ask of a real one. What the
/// device answers, from the start and once it runs; and when it is looked at, as what.
template <mk::gpu::answer Start, mk::gpu::answer Running,
          mk::gpu::answer Look = mk::gpu::answer::yes, std::uint32_t Wave = 32>
inline constexpr mk::gpu::interface fake_gpu{
    .version = mk::gpu::interface_version,
    .own_process = 0,
    .context = nullptr,
    .look = [](void*, mk::gpu::card* found, mk::gpu::reason* why) -> mk::gpu::answer {
      *found = {};
      found->wave_size = Wave;
      why->number = 709;
      return Look;
    },
    .start = [](void*, const mk::gpu::request* wanted, mk::gpu::kernel** started,
                std::uint32_t* lanes, mk::gpu::reason* why) -> mk::gpu::answer {
      *started = nullptr;
      *lanes = 96;
      why->number = 719;
      // Never looked into: the calls below are all that knows it.
      if (Start == mk::gpu::answer::yes)
        *started = reinterpret_cast<mk::gpu::kernel*>(wanted->where.control);
      return Start;
    },
    .running = [](mk::gpu::kernel*, std::uint32_t* lanes, mk::gpu::reason* why) -> mk::gpu::answer {
      *lanes = 0;
      why->number = 700;
      return Running;
    },
    .ask_flush = [](mk::gpu::kernel*) -> std::uint32_t { return 1; },
    .flushed = [](mk::gpu::kernel*, std::uint32_t) { return false; },
    .leave = [](mk::gpu::kernel*) {},
    .close = [](mk::gpu::kernel*) {},
    .carry = [](mk::gpu::kernel*, const mk::gpu::run*, std::uint32_t, std::uint32_t* room,
                mk::gpu::reason*) -> mk::gpu::answer {
      *room = 0;
      return Running;
    },
    .scan = [](mk::gpu::kernel*, const mk::gpu::scan_request*, void*, std::uint64_t,
               std::uint64_t* size, mk::gpu::reason* why) -> mk::gpu::answer {
      *size = 0;
      why->number = 719;
      return mk::gpu::answer::failed;
    },
};

/// Lanes of which it is only known how many there are; none ever reports.
class silent_lanes : public mk::kernel_target {
 public:
  explicit silent_lanes(std::atomic<std::uint32_t>& count) : count_(count) {}
  mk::result<void> launch(const mk::launch_site&) noexcept override { return {}; }
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
