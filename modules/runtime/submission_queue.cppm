// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
module;
#include <array>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <expected>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
export module megakernel.runtime:submission_queue;
import megakernel.protocol;
import :buffers;
import :deadline;

export namespace megakernel {

/// The search order of lanes, and so of the places a queue uses.
enum class schedule : std::uint8_t {
  ring_order,   ///< the plain forms: one ring
  by_priority,  ///< the priority form: the partitions of control words 129..134
};

/// Says that there is work, to lanes that sleep. Without it a sleeping lane looks by itself, after
/// a millisecond at most.
class doorbell {
 public:
  /// Wakes the sleepers there are. A load, where there are none.
  inline void ring() noexcept {
    if (sleepers_.load(std::memory_order_relaxed) != 0) wake();
  }
  /// Sleeps until the bell is rung, and is true, or until `longest` has passed.
  [[nodiscard]] bool sleep(std::chrono::microseconds longest) noexcept;

 private:
  void wake() noexcept;
  std::atomic<std::uint32_t> sleepers_{0};
  std::uint64_t rings_ = 0;
  std::mutex mutex_;
  std::condition_variable rung_;
};

/// Accepted work: consecutive slots, and the generation in which they hold it.
struct submission {
  std::uint64_t generation = 0;
  std::uint32_t first = 0;
  std::uint32_t slots = 0;
  friend constexpr bool operator==(const submission&, const submission&) = default;
};

/// How far accepted work has come.
enum class progress : std::uint8_t {
  pending,  ///< a slot of it is still outstanding
  done,     ///< every slot is DONE, or was finished and holds other work by now
  faulted,  ///< no slot is outstanding, and one is in FAULT, or was reclaimed from it and not used
            ///< since
};

struct work_state {
  megakernel::progress progress = progress::pending;
  /// The first slot that is pending or faulted.
  std::uint32_t slot = 0;
  /// Why it faulted, while it has not been reclaimed.
  fault_code why = fault_code::unreported;
};

/// A slot that faulted, as it stood when it was reclaimed.
struct fault_notice {
  std::uint32_t slot = 0;
  std::uint64_t generation = 0;  ///< of its submission
  opcode op = opcode::nop;
  std::uint32_t tenant = 0;
  fault_code why = fault_code::unreported;
  std::array<word, 3> arguments{};
};

class submission_queue;

namespace detail {

/// A producer that does not finish, for trying what watches a ring. Takes a free slot of the region
/// of normal priority, as a producer does before it writes, and leaves it so: a sample sees its
/// page torn, `close` waits for it. Errors: `ring_full`, `feed_closed`. O(slots).
[[nodiscard]] result<std::uint32_t> try_claim(submission_queue& queue, deadline until) noexcept;
/// Frees a slot that `try_claim` has taken.
void abort(submission_queue& queue, std::uint32_t slot) noexcept;

}  // namespace detail

/// Work from any number of threads into one ring that a kernel is draining.
///
/// Free slots are found in ring order; slots that stay occupied are stepped over. Every publishing
/// call is checked whole before it takes a slot, waits until `until` for free ones, and a refused
/// call changes nothing. Errors beside those of `ring_publisher`: `ring_full`, which says what
/// most slots are; `feed_closed` once `close` was called; `batch_out_of_range` where so
/// many consecutive slots do not exist.
///
/// A slot has a generation beside the ring, which a submission names; it is odd while somebody
/// has taken the slot to write it, and moves on when that is done. Producers take a slot by
/// compare-and-swap on it, and `live_snapshot` tells by it whether what it read was whole.
class submission_queue {
 public:
  /// The buffers and the bell must outlive the queue. Error: `out_of_memory`.
  [[nodiscard]] static result<submission_queue> over(kernel_buffers& buffers, schedule order,
                                                     doorbell* bell = nullptr) noexcept;
  submission_queue(submission_queue&&) noexcept;

  /// O(1) while the ring has free slots where they are expected, else O(slots).
  [[nodiscard]] result<submission> publish(const slot_request& request,
                                           deadline until = deadline::immediate()) noexcept;
  [[nodiscard]] result<submission> publish_packed(const packed_request& request,
                                                  deadline until = deadline::immediate()) noexcept;
  [[nodiscard]] result<submission> publish_batch(std::uint32_t tenant,
                                                 std::span<const batch_item> items, word tag,
                                                 deadline until = deadline::immediate()) noexcept;
  [[nodiscard]] result<submission> publish_window(const window_request& window,
                                                  deadline until = deadline::immediate()) noexcept;
  [[nodiscard]] result<submission> publish_load_miss(
      load_miss request, deadline until = deadline::immediate()) noexcept;

  /// O(slots of the submission).
  [[nodiscard]] work_state state(const submission& accepted) const noexcept;

  /// Waits until the work is no longer outstanding. Error: `deadline_passed`, with the first slot
  /// that is still outstanding and its status.
  [[nodiscard]] result<work_state> wait(const submission& accepted, deadline until) const noexcept;

  /// Waits until EPOCH has come to `epoch`, counted modulo 2^32, and returns it. A fence says that
  /// it was run, not that the slots before it were: for that, wait for their submission. Error:
  /// `deadline_passed`, with the epoch found and the one waited for.
  [[nodiscard]] result<word> wait_epoch(word epoch, deadline until) const noexcept;

  /// Frees slots in FAULT, at most as many as `out` has room for, and says what they were; returns
  /// how many. DONE slots need no reclaiming. O(slots).
  [[nodiscard]] std::size_t reclaim_faults(std::span<fault_notice> out) noexcept;

  /// From now on nothing is accepted; returns when no producer is between taking a slot and
  /// publishing it. Error: `deadline_passed`, when one still is.
  [[nodiscard]] result<void> close(deadline until) noexcept;

  /// Slots published so far, and those that producers are about to publish or wait to.
  [[nodiscard]] std::uint64_t accepted() const noexcept;
  [[nodiscard]] inline std::uint32_t slots() const noexcept { return ring_.slots(); }
  /// The generation of slot `slot`: odd while it may be being written.
  [[nodiscard]] std::uint64_t generation_of(std::uint32_t slot) const noexcept;
  /// The generation of the work that was published in slot `slot` last; 0 where there is none:
  /// nothing was, it was reclaimed, or a producer has the slot. Whoever sees it sees the work.
  [[nodiscard]] std::uint64_t published(std::uint32_t slot) const noexcept;

 private:
  friend result<std::uint32_t> detail::try_claim(submission_queue& queue, deadline until) noexcept;
  friend void detail::abort(submission_queue& queue, std::uint32_t slot) noexcept;
  struct alignas(64) region {
    std::uint32_t first = 0;
    std::uint32_t size = 0;
    std::atomic<std::uint64_t> next{0};     ///< ticket of the next slot
    std::atomic<std::uint64_t> skipped{0};  ///< tickets whose slot nobody published
  };
  struct shared {
    std::array<region, abi::priorities> regions;
    alignas(64) std::atomic<bool> closed{false};
  };

  submission_queue(kernel_buffers& buffers, ring_publisher ring, schedule order,
                   doorbell* bell) noexcept
      : buffers_(buffers), ring_(ring), order_(order), bell_(bell) {}

  template <class Write>
  [[nodiscard]] result<submission> place(priority level, std::uint64_t count, deadline until,
                                         Write write) noexcept;
  [[nodiscard]] region& region_of(priority level) noexcept;
  [[nodiscard]] std::optional<std::uint32_t> take(const region& in, std::uint32_t from,
                                                  std::uint32_t count,
                                                  std::uint32_t samples) noexcept;
  [[nodiscard]] bool take_slot(std::uint32_t slot) noexcept;
  void release(std::uint32_t first, std::uint32_t count) noexcept;
  [[nodiscard]] error full(const region& of, std::uint64_t count) const noexcept;
  [[nodiscard]] std::atomic_ref<std::uint64_t> generation_ref(std::uint32_t slot) const noexcept;
  [[nodiscard]] word& slot_words(std::uint32_t slot) const noexcept;
  [[nodiscard]] std::atomic_ref<word> status_of(std::uint32_t slot) const noexcept;

  kernel_buffers& buffers_;
  ring_publisher ring_;
  schedule order_;
  doorbell* bell_;
  aligned_array<std::uint64_t> generations_;
  std::unique_ptr<shared> shared_;
};

}  // namespace megakernel
