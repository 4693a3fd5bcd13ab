// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
module;
#include <algorithm>
#include <array>
#include <bit>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <expected>
#include <optional>
#include <string_view>
export module megakernel.metrics:page;
import megakernel.decoder;
import megakernel.health;
import megakernel.protocol;
import :ranking;

/// A kernel as a page that Prometheus reads. What each metric means: docs/metrics.md.
export namespace megakernel {

/// Durations of publications, counted by powers of two: a bucket's bound is 2^n - 1 ns, from
/// 1,023 ns to 17.2 s, so that a bucket holds exactly the whole nanoseconds up to its bound.
class latency_counts {
 public:
  static constexpr unsigned first_bits = 10;
  static constexpr unsigned bounded = 25;

  /// Counts `times` durations of `nanoseconds` each. Sums wrap at 2^64 ns, which is 584 years.
  inline void add(std::uint64_t nanoseconds, std::uint64_t times = 1) noexcept {
    counts_[bucket_of(nanoseconds)] += times;
    sum_ += nanoseconds * times;
  }
  /// The same where their sum is known better than by `times` of the greatest.
  inline void add(std::uint64_t nanoseconds, std::uint64_t times, std::uint64_t sum) noexcept {
    counts_[bucket_of(nanoseconds)] += times;
    sum_ += sum;
  }
  [[nodiscard]] static constexpr std::size_t bucket_of(std::uint64_t nanoseconds) noexcept {
    const auto bits = static_cast<unsigned>(std::bit_width(nanoseconds));
    return bits <= first_bits ? 0 : std::min(bits - first_bits, bounded);
  }
  /// The largest duration of bucket `i`, which is below `bounded`; the last has no bound.
  [[nodiscard]] static constexpr std::uint64_t bound(std::size_t i) noexcept {
    return (std::uint64_t{1} << (first_bits + i)) - 1;
  }
  /// By bucket, not added up.
  [[nodiscard]] inline const std::array<std::uint64_t, bounded + 1>& counts() const noexcept {
    return counts_;
  }
  /// Nanoseconds, together.
  [[nodiscard]] inline std::uint64_t sum() const noexcept { return sum_; }

 private:
  std::array<std::uint64_t, bounded + 1> counts_{};
  std::uint64_t sum_ = 0;
};
static_assert(latency_counts::bucket_of(1023) == 0 && latency_counts::bound(0) == 1023);
static_assert(latency_counts::bucket_of(1024) == 1 && latency_counts::bound(1) == 2047);
static_assert(latency_counts::bucket_of(~std::uint64_t{0}) == latency_counts::bounded);

/// Counts of the publishers that the buffers do not show; they only grow.
struct published_counts {
  std::uint64_t slots = 0;                      ///< published
  std::optional<std::uint64_t> publications{};  ///< each a slot, a packed slot, a window or a batch
  std::optional<std::uint64_t> ring_full{};     ///< publishing calls that found no room
  const latency_counts* latency = nullptr;      ///< of publications seen finished
};

/// The inputs of a page for one sample of a kernel. All of it may be gone after the call.
struct metrics_sample {
  const ring_telemetry& ring;
  const health_report* health = nullptr;  ///< of this look
  std::chrono::nanoseconds at{};          ///< the time stamp that the health tracker had for it
  const published_counts* publishers = nullptr;
  std::optional<std::uint32_t> torn_pages{};      ///< of 32 slots, where the source can tell
  std::optional<std::chrono::nanoseconds> age{};  ///< of buffers that somebody else copied out
  bool windows = false;                           ///< the ring was decoded with window opcodes
};

struct metrics_options {
  std::uint32_t top_tenants = 20;  ///< that have series of their own; at most `most_named`
  std::uint32_t top_opcodes = 20;  ///< likewise
  /// Labels of `megakernel_build_info`; bytes past the first 64 are cut, what is not UTF-8 becomes
  /// a question mark.
  std::string_view version{};
  std::string_view target{};  ///< where lanes run, or where the buffers come from
};

enum class metrics_format : std::uint8_t {
  openmetrics,  ///< OpenMetrics 1.0
  prometheus,   ///< Prometheus text 0.0.4
};

/// The media type of a format, for a Content-Type header.
[[nodiscard]] std::string_view media_type(metrics_format format) noexcept;

/// How large a page can get.
struct metrics_bound {
  std::size_t series = 0;
  std::size_t bytes = 0;
};

/// Follows a kernel look by look, and renders what the last one saw.
///
/// A page never has more series or bytes than `bound` says, whatever the ring holds: tenants and
/// opcodes are named up to the options' limits, all others are in one sum, `other`.
///
/// Counters never fall. The kernel's are 32 bits wide and wrap: a step of less than 2^31 is taken
/// as growth, so look at least that often. A word that fell was started anew: its new value is
/// added to what it had reached. Where the done count or the heartbeat fell, the kernel was, and
/// the same is done with all its words.
///
/// An unknown value has no series: a kernel that does not report its faults has no fault count,
/// not one of zero.
class metrics_page {
 public:
  static constexpr std::uint32_t most_named = 1'000;

  /// More than `most_named` is taken as `most_named`. Error: `out_of_memory`.
  [[nodiscard]] static result<metrics_page> make(const metrics_options& options) noexcept;

  /// Takes a sample. Error: `out_of_memory`; then the page is as before. O(slots); allocates only
  /// when a ring names more different tenants or opcodes than any before.
  [[nodiscard]] result<void> observe(const metrics_sample& seen) noexcept;

  /// The kernel could not be looked at: until the next sample the page says that it is not up, and
  /// has no values of it. Counters go on from where they were.
  void lose() noexcept;

  /// Writes the page, in place of what `to` holds. Error: `out_of_memory`; then `to` is empty.
  /// O(series); allocates only when `to` has no room.
  [[nodiscard]] result<void> render(metrics_format format, aligned_array<char>& to) const noexcept;

  /// Of any page of these options.
  [[nodiscard]] metrics_bound bound() const noexcept;

 private:
  friend class metrics_text;
  static constexpr std::size_t label_room = 64;
  /// A kernel's word, extended.
  struct counter {
    std::uint64_t value = 0;
    word last = 0;
  };
  /// The counts of the publishers, 64 bits wide.
  struct publisher_counters {
    std::uint64_t slots = 0;
    std::uint64_t publications = 0;
    std::uint64_t ring_full = 0;
    std::uint64_t latency_sum = 0;
    std::array<std::uint64_t, latency_counts::bounded + 1> latency{};
  };
  struct label {
    std::array<char, label_room> text{};
    std::size_t size = 0;
    [[nodiscard]] inline std::string_view view() const noexcept { return {text.data(), size}; }
  };
  /// Gauges of the last sample.
  struct gauges {
    ring_occupancy occupancy{};
    bool shutdown = false;
    word urgent = 0;
    word revision = 0;
    word authorised = 0;  ///< a bit a tenant; only the first 29 can be
    std::optional<word> workers{};
    std::optional<std::uint32_t> active_windows{};
    std::optional<std::uint32_t> torn_pages{};
    std::optional<std::chrono::nanoseconds> age{};
    struct health {
      kernel_state state{};
      std::chrono::nanoseconds quiet{};
      std::optional<std::chrono::nanoseconds> oldest{};
      std::uint32_t stuck = 0;
      std::uint32_t unauthorised = 0;
      std::uint32_t throttled = 0;
    };
    std::optional<struct health> health{};
    bool publishers = false;
    bool publications = false;
    bool ring_full = false;
    bool latency = false;
  };

  struct ranked {
    detail::key_tally tally;
    detail::top_k names;
    [[nodiscard]] static result<ranked> make(std::uint32_t most) noexcept;
  };
  metrics_page(ranked&& tenants, ranked&& opcodes, const metrics_options& options) noexcept;
  static label label_of(std::string_view text) noexcept;
  void count(const control_snapshot& control) noexcept;
  void count(const published_counts& publishers) noexcept;

  label version_;
  label target_;
  std::uint32_t top_tenants_ = 0;
  std::uint32_t top_opcodes_ = 0;
  ranked tenants_;
  ranked opcodes_;
  std::array<counter, abi::control_words> words_{};
  bool counted_ = false;
  std::uint64_t samples_ = 0;
  std::uint64_t lost_ = 0;
  std::uint64_t restarts_ = 0;
  bool up_ = false;
  gauges last_{};
  publisher_counters published_;
  publisher_counters published_before_;
};

}  // namespace megakernel
