// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
module;
#include <cstddef>
#include <cstdint>
#include <expected>
#include <ranges>
#include <span>
export module megakernel.decoder:telemetry;
import megakernel.protocol;
import :control;
import :view;
import :window;

export namespace megakernel {

/// How many slots have each status. docs/protocol.md#occupancy
struct ring_occupancy {
  std::uint32_t empty = 0;
  std::uint32_t published = 0;
  std::uint32_t claimed = 0;
  std::uint32_t done = 0;
  std::uint32_t wait_io = 0;
  std::uint32_t yield = 0;
  std::uint32_t requeue = 0;
  std::uint32_t fault = 0;
  std::uint32_t unknown = 0;

  [[nodiscard]] constexpr std::uint32_t total_slots() const noexcept {
    return empty + done + queue_depth();
  }
  /// Everything that is neither free nor finished: the active ones, faults and unknown ones.
  [[nodiscard]] constexpr std::uint32_t queue_depth() const noexcept {
    return active() + fault + unknown;
  }
  [[nodiscard]] constexpr std::uint32_t active() const noexcept {
    return published + claimed + wait_io + yield + requeue;
  }
  friend constexpr bool operator==(const ring_occupancy&, const ring_occupancy&) = default;
};

/// Gauges derived from one snapshot. Ratios are floored; those of an empty ring are 0.
struct runtime_counters {
  std::uint32_t total_slots = 0;
  std::uint32_t queue_depth = 0;
  std::uint32_t gpu_idle_slots = 0;          ///< EMPTY slots
  std::uint32_t gpu_idle_ppm = 0;            ///< of all slots, parts per million
  std::uint32_t frontier_density_bps = 0;    ///< queue depth of all slots, basis points
  std::uint32_t occupancy_proxy_bps = 0;     ///< slots that are not EMPTY, basis points
  std::uint32_t drained_slots = 0;           ///< DONE_COUNT
  std::uint32_t unreclaimed_done_slots = 0;  ///< DONE slots the host has not reused
  std::uint64_t tenant_fairness_total = 0;
  std::uint32_t tenant_fairness_skew = 0;  ///< largest minus smallest non-zero counter
  std::uint64_t priority_fairness_total = 0;
  std::uint32_t requeue_slots = 0;
  std::uint32_t fault_slots = 0;
  friend constexpr bool operator==(const runtime_counters&, const runtime_counters&) = default;
};

/// The priority inputs of the launch policy. docs/protocol.md#priority-accounting
struct priority_accounting {
  std::uint64_t requeue_count = 0;
  std::uint64_t aged_promotions = 0;
  std::uint32_t max_priority_age = 0;
  friend constexpr bool operator==(const priority_accounting&,
                                   const priority_accounting&) = default;
};

/// Control words, occupancy and windows of a ring, without a list of its slots: for polling at
/// high rate. Storage is kept between calls; once it has grown to a ring's windows, decoding
/// allocates nothing.
class ring_summary {
 public:
  /// Decodes a pair of control and ring bytes of any alignment. Errors, in this order:
  /// `control_too_short`, `control_misaligned`, `ring_partial_slot`, `ring_too_large`,
  /// `out_of_memory`; then this object is empty. O(slots + window slots), reading each slot once;
  /// no branch depends on a slot's status.
  [[nodiscard]] result<void> decode(std::span<const std::byte> control,
                                    std::span<const std::byte> ring,
                                    const window_opcodes& windows = {}) noexcept;

  [[nodiscard]] inline const control_snapshot& control() const noexcept { return control_; }
  [[nodiscard]] inline const ring_occupancy& occupancy() const noexcept { return occupancy_; }
  /// By (ticket, opcode).
  [[nodiscard]] inline std::span<const window_telemetry> windows() const noexcept {
    return windows_.windows();
  }
  [[nodiscard]] inline auto active_windows() const noexcept {
    return std::views::filter(windows(), [](const window_telemetry& w) { return w.active(); });
  }
  [[nodiscard]] runtime_counters counters() const noexcept;
  [[nodiscard]] inline priority_accounting priorities() const noexcept {
    return {.requeue_count = occupancy_.requeue};
  }
  /// Forgets the snapshot, keeps the storage.
  void clear() noexcept;

  /// Same control words, occupancy and windows.
  friend bool operator==(const ring_summary& a, const ring_summary& b) noexcept;

 private:
  friend class ring_telemetry;
  friend class ring_digest;
  [[nodiscard]] result<void> decode(const ring_view& view, const window_opcodes& windows,
                                    slot_snapshot* slots) noexcept;
  control_snapshot control_;
  ring_occupancy occupancy_;
  detail::window_collector windows_;
};

/// A summary and a snapshot of every slot, in storage that is kept between calls.
/// docs/protocol.md#decode-storage
class ring_telemetry {
 public:
  /// As `ring_summary::decode`. A ring's first decode allocates 32 bytes a slot.
  [[nodiscard]] result<void> decode(std::span<const std::byte> control,
                                    std::span<const std::byte> ring,
                                    const window_opcodes& windows = {}) noexcept;
  /// The same of a view, which has been validated once. Error: `out_of_memory`; then this is empty.
  [[nodiscard]] result<void> decode(const ring_view& view,
                                    const window_opcodes& windows = {}) noexcept;

  [[nodiscard]] inline const ring_summary& summary() const noexcept { return summary_; }
  [[nodiscard]] inline const control_snapshot& control() const noexcept {
    return summary_.control();
  }
  [[nodiscard]] inline const ring_occupancy& occupancy() const noexcept {
    return summary_.occupancy();
  }
  [[nodiscard]] inline std::span<const window_telemetry> windows() const noexcept {
    return summary_.windows();
  }
  /// By slot index.
  [[nodiscard]] inline std::span<const slot_snapshot> slots() const noexcept {
    return {slots_.data(), slots_.size()};
  }
  /// The slots that still owe `op`.
  [[nodiscard]] inline auto active(opcode op) const noexcept {
    return std::views::filter(slots(), active_with{op});
  }
  void clear() noexcept;

 private:
  ring_summary summary_;
  aligned_array<slot_snapshot> slots_;
};

/// Decodes once, into storage of its own: `ring_telemetry::decode` for who does not poll. Errors:
/// those of `ring_view::over`, `out_of_memory`. O(slots), 32 bytes a slot.
/// docs/protocol.md#decode-storage
[[nodiscard]] result<ring_telemetry> decode(std::span<const std::byte> control,
                                            std::span<const std::byte> ring,
                                            const window_opcodes& windows = {}) noexcept;

}  // namespace megakernel
