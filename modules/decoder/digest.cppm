// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
module;
#include <megakernel/ring_digest.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <expected>
#include <span>
export module megakernel.decoder:digest;
import megakernel.protocol;
import :telemetry;
import :view;

export namespace megakernel {
using megakernel::digest_request;
using megakernel::is_valid;
using megakernel::ring_sketch;

/// Slots by a key below 32, and of all other keys together.
struct key_counts {
  std::array<std::uint32_t, abi::digest::keys> of{};
  std::uint32_t others = 0;
  friend constexpr bool operator==(const key_counts&, const key_counts&) = default;
};

/// How many slots have each opcode and each tenant, whatever their status.
/// docs/protocol.md#ring-digest
struct slot_counts {
  key_counts opcodes{};
  key_counts tenants{};
  friend constexpr bool operator==(const slot_counts&, const slot_counts&) = default;
};

/// Counts the slots of a ring. O(slots).
[[nodiscard]] slot_counts counts_of(const ring_view& ring) noexcept;

/// A device's summary of a ring, so that a poll moves kilobytes and not the ring: occupancy,
/// windows, counts by opcode and tenant, and sketches, in the form that
/// kernels/megakernel/ring_digest.h describes. docs/protocol.md#ring-digest
///
/// It says what decoding the ring itself says. The bytes are as untrusted as those of a ring:
/// figures that contradict each other are refused. Storage is kept between calls; once it has grown
/// to a digest's size, decoding allocates nothing.
class ring_digest {
 public:
  /// The length of the longest digest, in bytes.
  static constexpr std::size_t most_bytes = std::size_t{abi::digest::most_words} * sizeof(word);

  /// Decodes a pair of control and digest bytes of any alignment. Errors, in this order:
  /// `control_too_short`, `control_misaligned`, `digest_wrong_size` for less than its fixed words,
  /// `digest_foreign`, `digest_inconsistent` for a request that no digest is made for,
  /// `digest_wrong_size`, `digest_inconsistent`, `out_of_memory`; then this object is empty.
  /// O(bytes), and allocates no more than they are.
  [[nodiscard]] result<void> decode(std::span<const std::byte> control,
                                    std::span<const std::byte> digest) noexcept;

  [[nodiscard]] inline const ring_summary& summary() const noexcept { return summary_; }
  [[nodiscard]] inline const slot_counts& counts() const noexcept { return counts_; }
  /// The request behind it.
  [[nodiscard]] inline const digest_request& request() const noexcept { return request_; }
  /// Window slots whose windows are not in the summary, for lack of room. Windows that are there
  /// have all their slots.
  [[nodiscard]] inline std::uint32_t unlisted_window_slots() const noexcept { return unlisted_; }
  /// Of one sketch, row after row; none where none were asked for.
  [[nodiscard]] inline std::span<const std::uint64_t> counters(ring_sketch which) const noexcept {
    const std::size_t each = counters_.size() / abi::digest::sketches;
    return std::span(counters_.data(), counters_.size())
        .subspan(each * static_cast<std::size_t>(which), each);
  }
  /// Forgets the digest, keeps the storage.
  void clear() noexcept;

 private:
  class reader;
  ring_summary summary_;
  slot_counts counts_;
  digest_request request_{};
  std::uint32_t unlisted_ = 0;
  aligned_array<std::uint64_t> counters_;
};

}  // namespace megakernel
