// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
module;
#include <array>
#include <cstddef>
#include <cstdint>
#include <expected>
#include <optional>
#include <span>
export module megakernel.decoder:control;
import megakernel.protocol;

export namespace megakernel {

/// The self-report of a kernel of ABI revision 1. docs/protocol.md#extension-words
struct kernel_report {
  word heartbeat = 0;          ///< passes, wrapping: a dead kernel's stands still
  word faults = 0;             ///< slots turned to FAULT
  word unauthorised_seen = 0;  ///< looks at a slot whose tenant has no mask
  word throttled_seen = 0;     ///< looks at a slot whose tenant has no token left
  word workers_alive = 0;
  word claims_lost = 0;      ///< compare-and-swaps another lane won
  word debug_dropped = 0;    ///< PRINTF records that did not fit
  word done_count_high = 0;  ///< upper half of a 64-bit done count
  friend constexpr bool operator==(const kernel_report&, const kernel_report&) = default;
};

/// A copy of the 160 fixed words of a control buffer, with named readers.
/// docs/protocol.md#control-words docs/protocol.md#control-snapshot
///
/// Counters are cumulative and wrap at 2^32. Every reader is O(1) and total: any word is a legal
/// value.
class control_snapshot {
 public:
  [[nodiscard]] inline bool shutdown() const noexcept { return words_[abi::shutdown_word] != 0; }
  [[nodiscard]] inline word done_count() const noexcept { return words_[abi::done_count_word]; }
  [[nodiscard]] inline word epoch() const noexcept { return words_[abi::epoch_word]; }
  /// Claims per opcode below 32; iterates over the non-zero ones.
  [[nodiscard]] inline metric_counters metrics() const noexcept {
    std::array<word, abi::metrics> counts;
    for (word i = 0; i < abi::metrics; ++i) counts[i] = words_[abi::metric_word + i];
    return metric_counters(counts);
  }
  /// Claims per tenant, index tenant mod 32.
  [[nodiscard]] inline std::span<const word, abi::tenant_fairness_counters> tenant_fairness()
      const noexcept {
    return std::span(words_).subspan<abi::tenant_fairness_word, abi::tenant_fairness_counters>();
  }
  /// Claims per priority, CRITICAL first.
  [[nodiscard]] inline std::span<const word, abi::priorities> priority_fairness() const noexcept {
    return std::span(words_).subspan<abi::priority_fairness_word, abi::priorities>();
  }
  /// First slot of each priority partition, then the number of slots.
  [[nodiscard]] inline std::span<const word, abi::priority_offsets> priority_offsets()
      const noexcept {
    return std::span(words_).subspan<abi::priority_offset_word, abi::priority_offsets>();
  }
  /// Consecutive CRITICAL/HIGH claims.
  [[nodiscard]] inline word starvation() const noexcept { return words_[abi::starvation_word]; }
  /// Tokens left to tenants 0..31, where the launch asked for quotas.
  [[nodiscard]] inline std::span<const word, abi::tenant_quotas> quotas() const noexcept {
    return std::span(words_).subspan<abi::tenant_quota_word, abi::tenant_quotas>();
  }
  /// Whether the kernel serves this tenant: its mask, found through TENANT_BASE, lies inside the
  /// mask table and is not zero. docs/protocol.md#authorisation
  [[nodiscard]] inline bool authorises(std::uint32_t tenant) const noexcept {
    if (tenant >= abi::tenant_masks) return false;
    const std::uint64_t at = std::uint64_t{words_[abi::tenant_base_word]} + tenant;
    return at >= abi::tenant_mask_word && at < abi::tenant_quota_word && words_[at] != 0;
  }
  /// The extension words, or nothing when the kernel does not report them (revision not 1).
  [[nodiscard]] inline std::optional<kernel_report> report() const noexcept {
    if (words_[abi::revision_word] != abi::revision) return std::nullopt;
    return kernel_report{.heartbeat = words_[abi::heartbeat_word],
                         .faults = words_[abi::fault_count_word],
                         .unauthorised_seen = words_[abi::unauthorised_word],
                         .throttled_seen = words_[abi::throttled_word],
                         .workers_alive = words_[abi::workers_alive_word],
                         .claims_lost = words_[abi::claim_lost_word],
                         .debug_dropped = words_[abi::debug_dropped_word],
                         .done_count_high = words_[abi::done_count_high_word]};
  }
  /// All of them, in host order.
  [[nodiscard]] inline std::span<const word, abi::control_words> words() const noexcept {
    return words_;
  }

  friend bool operator==(const control_snapshot&, const control_snapshot&) = default;

 private:
  friend result<control_snapshot> decode_control(std::span<const std::byte>) noexcept;
  friend class ring_view;
  static control_snapshot copy_of(const std::byte* control) noexcept;
  std::array<word, abi::control_words> words_{};
};

/// Copies the fixed words out of a control buffer, which may be longer. Errors:
/// `control_too_short`, then `control_misaligned`. O(1), no allocation.
[[nodiscard]] result<control_snapshot> decode_control(std::span<const std::byte> control) noexcept;

}  // namespace megakernel
