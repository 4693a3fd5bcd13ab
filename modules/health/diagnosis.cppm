// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
module;
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <expected>
#include <span>
#include <string_view>
export module megakernel.health:diagnosis;
import megakernel.decoder;
import megakernel.protocol;
import :state;
import :tracker;

export namespace megakernel {

/// The kinds of finding about a ring, healthy ones included. docs/protocol.md#diagnosis
enum class finding_kind : std::uint8_t {
  too_early,          ///< nothing can be said yet
  healthy,            ///< work is drained
  idle,               ///< nothing is outstanding: never a stall
  stopped,            ///< the kernel left as SHUTDOWN told it
  slow,               ///< far less is drained than was usual, while work waits
  stalled,            ///< work that may run does not
  unauthorised,       ///< slots wait for their tenant's mask
  throttled,          ///< slots wait for a token of their tenant's quota
  waiting_for_io,     ///< slots wait for an answer to their IO request
  faulted,            ///< slots ended in FAULT
  dead,               ///< the kernel reports a heartbeat, and it stands still
  count_regressed,    ///< the done count went back, as after a restart
  torn,               ///< a page of the ring cannot be copied whole
  observer_too_slow,  ///< looks are too far apart to tell
};
inline constexpr std::size_t finding_kinds = 14;

/// The action that a finding suggests.
enum class suggested_action : std::uint8_t {
  nothing,
  sample_again,
  sample_more_often,
  find_the_handler,  ///< that does not return
  find_the_claim,    ///< that no lane makes
  relaunch,          ///< the kernel
  authorise_the_tenant,
  refill_the_quota,
  complete_the_request,  ///< in the IO queue
  mend_the_arguments,    ///< of what faulted, and reclaim its slots
  check_for_a_restart,
  find_the_producer,  ///< that stays inside a slot
  find_the_load,      ///< that takes the lanes' time
};

/// The metric of an evidence item.
enum class evidence_metric : std::uint8_t {
  nothing,
  samples,
  time,       ///< nanoseconds
  hold_time,  ///< nanoseconds
  interval,   ///< nanoseconds between the last two samples
  ring_slots,
  outstanding_slots,
  waiting_slots,  ///< may be claimed, and are not
  held_slots,     ///< inside a handler
  blocked_slots,  ///< wait for a mask, a token or an answer
  fault_slots,
  counted_faults,    ///< since the sample before, by the kernel
  drained_slots,     ///< since the sample before
  drain_rate,        ///< slots a second
  usual_drain_rate,  ///< slots a second
  heartbeats,        ///< passes since the sample before
  lanes,             ///< that say they are there
  done_count,
  previous_done_count,
  torn_pages,
  longest_step,  ///< of a 32-bit count that can be told from a step back
};

/// One figure, and what it is held against where there is something.
struct evidence_item {
  evidence_metric what = evidence_metric::nothing;
  std::uint64_t found = 0;
  evidence_metric limit = evidence_metric::nothing;
  std::uint64_t bound = 0;
  friend constexpr bool operator==(const evidence_item&, const evidence_item&) = default;
};

/// At most `N` values, in the object itself.
template <class T, std::size_t N>
class short_list {
 public:
  static constexpr std::size_t most = N;
  [[nodiscard]] constexpr std::size_t size() const noexcept { return size_; }
  [[nodiscard]] constexpr bool empty() const noexcept { return size_ == 0; }
  [[nodiscard]] constexpr bool full() const noexcept { return size_ == N; }
  [[nodiscard]] constexpr const T* begin() const noexcept { return all_.data(); }
  [[nodiscard]] constexpr const T* end() const noexcept { return all_.data() + size_; }
  [[nodiscard]] constexpr T* begin() noexcept { return all_.data(); }
  [[nodiscard]] constexpr T* end() noexcept { return all_.data() + size_; }
  [[nodiscard]] constexpr const T& operator[](std::size_t i) const noexcept { return all_[i]; }
  [[nodiscard]] constexpr T& operator[](std::size_t i) noexcept { return all_[i]; }
  /// Adds one, or drops it when the list is full.
  constexpr void push(const T& value) noexcept {
    if (!full()) all_[size_++] = value;
  }
  constexpr void pop() noexcept { --size_; }
  constexpr void clear() noexcept { size_ = 0; }
  friend constexpr bool operator==(const short_list& a, const short_list& b) noexcept {
    if (a.size_ != b.size_) return false;
    for (std::size_t i = 0; i < a.size_; ++i) {
      if (!(a.all_[i] == b.all_[i])) return false;
    }
    return true;
  }

 private:
  std::array<T, N> all_{};
  std::size_t size_ = 0;
};

struct concerned_slot {
  slot_snapshot slot{};
  std::chrono::nanoseconds since{};  ///< stamp of the first sample that saw it so
  std::uint32_t samples = 0;         ///< in a row that saw it so; 1 where that is not followed
  fault_code why = fault_code::unreported;  ///< of a slot in FAULT, where the ring was given
  friend constexpr bool operator==(const concerned_slot&, const concerned_slot&) = default;
};

/// A tenant or an opcode, and how many of the slots concerned are its own.
struct concerned_key {
  std::uint32_t key = 0;
  std::uint32_t slots = 0;
  friend constexpr bool operator==(const concerned_key&, const concerned_key&) = default;
};

/// One thing that is so.
struct finding {
  finding_kind what = finding_kind::too_early;
  /// Of the ring as a whole; else of a part of it, while the rest goes on.
  bool kernel_wide = true;
  /// The last sample no longer shows it: what follows is of the sample before.
  bool clearing = false;
  std::chrono::nanoseconds since{};  ///< stamp of the sample since which it is so
  suggested_action what_to_try = suggested_action::nothing;
  short_list<evidence_item, 4> evidence{};
  short_list<concerned_slot, 8> slots{};  ///< longest first, then by index
  std::uint32_t slots_in_all = 0;
  /// Most slots first, then by number: the top of the first 16 kinds in ring order.
  short_list<concerned_key, 8> tenants{};
  short_list<concerned_key, 8> opcodes{};

  /// The figure of `what`, or zero where there is none.
  [[nodiscard]] constexpr std::uint64_t operator[](evidence_metric of) const noexcept {
    for (const evidence_item& f : evidence) {
      if (f.what == of) return f.found;
      if (f.limit == of) return f.bound;
    }
    return 0;
  }
  friend constexpr bool operator==(const finding&, const finding&) = default;
};

namespace detail {
/// A 32-bit count that moved by this much or more went back.
inline constexpr std::uint64_t longest_step = std::uint64_t{1} << 31;
}  // namespace detail

/// Whether somebody should do something about it.
[[nodiscard]] constexpr bool is_alarm(finding_kind what) noexcept {
  using enum finding_kind;
  return what != too_early && what != healthy && what != idle && what != stopped &&
         what != observer_too_slow;
}

/// The findings of one sample: first the finding about the ring as a whole, then
/// everything else, gravest first.
struct diagnosis {
  std::chrono::nanoseconds at{};  ///< stamp of the sample
  std::uint64_t sample = 0;       ///< its number, from 0
  static constexpr std::size_t most_findings = 12;
  short_list<finding, most_findings> findings{};

  /// Of a diagnosis that was made: there is always one.
  [[nodiscard]] constexpr const finding& primary() const noexcept { return findings[0]; }
  [[nodiscard]] constexpr std::span<const finding> secondary() const noexcept {
    return std::span(findings.begin(), findings.end()).subspan(findings.empty() ? 0 : 1);
  }
  /// The finding of `what`, or null.
  [[nodiscard]] constexpr const finding* find(finding_kind what) const noexcept {
    for (const finding& f : findings) {
      if (f.what == what) return &f;
    }
    return nullptr;
  }
  [[nodiscard]] constexpr bool alarm() const noexcept {
    for (const finding& f : findings) {
      if (is_alarm(f.what)) return true;
    }
    return false;
  }
  friend constexpr bool operator==(const diagnosis&, const diagnosis&) = default;
};

struct diagnosis_options {
  /// How long something must have been so before it is an alarm.
  std::chrono::nanoseconds hold_time = std::chrono::seconds(1);
  /// And in how many samples in a row.
  std::uint32_t samples = 3;
};

/// Follows one ring over many samples and says what ails it. docs/protocol.md#diagnosis
///
/// An alarm is raised when its symptom was there in `options.samples` samples in a row and for the
/// hold time, and is given up when two samples in a row do not show it; in between it is
/// `clearing`. The symptoms, each of a sample and the sample before it; *ended* is done or faulted:
///
/// - dead: the heartbeat stands still, nothing ended, SHUTDOWN is not set, and there are not as
///   many slots CLAIMED and unchanged as lanes: those would all be inside handlers, a stall.
/// - stalled: slots are outstanding that wait for no mask, token or answer, and nothing ended.
///   Raised at a sample that shows a heartbeat or a kernel that reports none, or whose lanes are in
///   handlers; a sample between two heartbeats does not end it. Of a part: a slot has stayed
///   CLAIMED for the hold time while others ended.
/// - unauthorised, throttled: slots that wait to be claimed, of a tenant without a mask, or whose
///   quota is empty while the kernel counts slots as throttled.
/// - waiting_for_io: slots that have been in WAIT_IO for the hold time.
///   These three are of the whole ring when nothing else is outstanding and nothing ended for the
///   hold time.
/// - faulted: slots are in FAULT, or the kernel counted faults; said at once.
/// - slow: over three windows of a second (of the hold time, where that is longer) the drain rate
///   was less than an eighth of the usual one, while at every sample two slots or more could have
///   been claimed. The usual rate is a mean of all windows in which something ended, which follows
///   a higher rate within 4 of them, a lower one within 16, and while the ring is slow within 64.
/// - count_regressed: the done count went back; said at once and for four times the hold time. The
///   new count is taken up.
/// - torn: the same page of 32 slots could not be copied whole in 8 samples or more.
/// - observer_too_slow: the time between the two samples times the fastest drain rate seen so far
///   is over what a 32-bit count can tell (2^31), and no upper half is reported. Of a part: a slot
///   looks unchanged for the hold time, but may have turned over between samples, because at least
///   as many ended as slots were free. Such a slot is believed after 16 samples, where no more than
///   a quarter of the ring has its status.
class diagnostician {
 public:
  explicit diagnostician(const diagnosis_options& options = {}) noexcept
      : options_(options), tracker_(options.hold_time) {}

  /// Takes a sample, stamped with a monotonic clock of the caller's. `torn_pages` could not be
  /// copied whole, ascending; of `ring`, the bytes that were decoded, only fault codes are read.
  /// Errors: `ring_resized`, `clock_regressed`, `out_of_memory`; then nothing has changed.
  /// O(slots); allocates at the first sample only.
  [[nodiscard]] result<diagnosis> observe(const ring_telemetry& telemetry,
                                          std::chrono::nanoseconds at,
                                          std::span<const std::uint32_t> torn_pages = {},
                                          std::span<const std::byte> ring = {}) noexcept;

  /// The tracker's report on the last sample. Its span is valid until the next sample.
  [[nodiscard]] const health_report& health() const noexcept { return health_; }
  [[nodiscard]] const diagnosis_options& options() const noexcept { return options_; }

 private:
  /// Something that may become a finding.
  struct symptom {
    std::chrono::nanoseconds since{};
    std::uint32_t present = 0;  // samples in a row
    std::uint32_t absent = 0;   // samples in a row since it was raised
    bool raised = false;
    finding last{};  // while it is raised
  };
  /// Slots that have something in common.
  struct slot_group {
    short_list<concerned_slot, 8> oldest{};
    std::uint32_t slots = 0;
    short_list<concerned_key, 16> tenants{};
    short_list<concerned_key, 16> opcodes{};
    void clear() noexcept;
    void add(const slot_snapshot& slot, slot_age age,
             fault_code why = fault_code::unreported) noexcept;
    void fill(finding& to) const noexcept;
  };
  struct page_memory {
    std::int64_t since;
    std::uint32_t samples;  // in a row that saw it torn
  };
  /// The inputs of the symptoms.
  struct facts {
    bool first = false;
    bool ended = false;  // something did since the sample before
    bool heartbeat_still = false;
    bool in_handlers = false;  // as many slots as there are lanes
    bool left = false;         // as SHUTDOWN told it
    bool turned_over = false;  // slots may have been used again since the sample before
    std::uint32_t outstanding = 0;
    std::uint32_t claimable = 0;  // waiting, authorised, with a token
    std::uint32_t claimed = 0;
    std::uint32_t parked = 0;  // in WAIT_IO
    std::uint32_t rest = 0;    // outstanding, but for parked, unauthorised and throttled ones
    std::uint32_t faults = 0;  // in the ring
    std::uint32_t lanes = 0;
    std::uint64_t drained = 0;
    std::uint64_t faulted = 0;  // since the sample before
    std::chrono::nanoseconds interval{};
    std::uint64_t regressed_from = 0;
  };

  [[nodiscard]] facts establish(const ring_telemetry& telemetry,
                                std::chrono::nanoseconds at) noexcept;
  void sort_slots(const ring_telemetry& telemetry, std::chrono::nanoseconds at,
                  std::span<const std::byte> ring, facts& now) noexcept;
  void follow_pages(const ring_telemetry& telemetry, std::chrono::nanoseconds at,
                    std::span<const std::uint32_t> torn_pages) noexcept;
  void follow_rate(const facts& now, std::chrono::nanoseconds at) noexcept;
  [[nodiscard]] bool unchanged(slot_age age, std::uint32_t alike, std::uint32_t slots,
                               std::chrono::nanoseconds at) noexcept;
  bool update(symptom& s, bool present, std::chrono::nanoseconds from, std::chrono::nanoseconds at,
              std::uint32_t samples, std::chrono::nanoseconds hold_time) noexcept;
  void conclude(const facts& now, std::chrono::nanoseconds at, diagnosis& to) noexcept;
  [[nodiscard]] finding base(const facts& now, std::chrono::nanoseconds at) noexcept;

  diagnosis_options options_;
  health_tracker tracker_;
  health_report health_;
  control_snapshot before_;
  aligned_array<page_memory> pages_;
  std::uint64_t samples_ = 0;
  bool rest_before_ = false;  // at the sample before
  std::chrono::nanoseconds last_sample_{};
  std::chrono::nanoseconds last_ended_{};        // or the first sample
  std::chrono::nanoseconds throttled_at_{};      // the kernel last counted a slot as throttled
  std::chrono::nanoseconds told_apart_since_{};  // no slot can have turned over unseen
  std::chrono::nanoseconds regressed_at_{};
  bool ever_ended_ = false;
  bool ever_throttled_ = false;
  bool regressed_ = false;
  bool doubtful_ = false;  // a slot looks unchanged, and may not be
  std::uint32_t torn_pages_ = 0;

  double fastest_ = 0;  // slots a second
  double usual_ = 0;
  double pace_ = 0;  // of the last window
  std::uint32_t windows_ = 0;
  std::chrono::nanoseconds window_began_{};
  std::uint64_t window_ended_ = 0;
  bool window_backlog_ = true;

  bool blind_now_ = false;
  slot_group rest_, held_, hung_slots_, unauthorised_, throttled_, parked_, faults_, torn_;
  symptom dead_, stalled_, hung_, unauthorised_symptom_, throttled_symptom_, parked_symptom_,
      fault_symptom_, slow_, torn_symptom_, blind_, doubt_, regress_;
  finding_kind base_ = finding_kind::too_early;
  std::chrono::nanoseconds base_since_{};
};

/// The primary finding as a state, where slots in FAULT count.
[[nodiscard]] kernel_state state_of(const diagnosis& of) noexcept;

/// The tracker's state, where slots in FAULT count; `busy` where it is `watching`.
[[nodiscard]] kernel_state state_of(const health_report& of) noexcept;

/// The end of a drain: the time in which nothing was published.
struct drain_end {
  kernel_state last = kernel_state::idle;  ///< of the diagnosis of the last sample
  std::uint64_t outstanding = 0;           ///< slots
  bool faults = false;                     ///< some slots faulted
  bool moved = false;                      ///< slots were done during the drain
  bool cut_short = false;                  ///< the drain did not wait for all of them
};
/// `health` is of the last sample.
[[nodiscard]] kernel_state state_of(const drain_end& end, const health_report& health) noexcept;

/// `"waiting_for_io"` and so on, for programs; empty for a value that is none.
[[nodiscard]] std::string_view to_string(finding_kind what) noexcept;
[[nodiscard]] std::string_view to_string(suggested_action what) noexcept;
[[nodiscard]] std::string_view to_string(evidence_metric what) noexcept;

/// `"waiting for IO"` and so on, for people.
[[nodiscard]] std::string_view title(finding_kind what) noexcept;

/// The suggested action in a sentence or two; empty for `nothing`.
[[nodiscard]] std::string_view advice(suggested_action what) noexcept;

/// Text in storage of its own, like an `error_message`.
class diagnosis_text {
 public:
  [[nodiscard]] inline std::string_view text() const noexcept { return {text_.data(), size_}; }
  /// Adds as much of it as there is room for.
  void add(std::string_view more) noexcept;
  void add(std::uint64_t number) noexcept;
  /// `"1.2 s"`, `"350 ms"`, `"40 us"`.
  void add(std::chrono::nanoseconds time) noexcept;

 private:
  std::array<char, 640> text_{};
  std::size_t size_ = 0;
};

/// The finding with its evidence, in a sentence or two. O(1), no allocation.
[[nodiscard]] diagnosis_text sentence(const finding& of, std::chrono::nanoseconds at) noexcept;

/// Which slots, tenants and opcodes are concerned, by number: a sentence, or nothing. O(1), no
/// allocation.
[[nodiscard]] diagnosis_text concerned(const finding& of, std::chrono::nanoseconds at) noexcept;

}  // namespace megakernel
