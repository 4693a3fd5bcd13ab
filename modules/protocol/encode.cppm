// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
module;
#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
export module megakernel.protocol:encode;
import :abi;
import :error;
import :memory;

/// Fresh buffers. Encoders allocate; what they make is zero but for the words
/// their comment names. Errors: the size is over `abi::max_encoded`, or `out_of_memory`.
export namespace megakernel {

/// The contents of a fresh control buffer.
struct control_layout {
  bool shutdown = false;
  /// Tenants 0..tenants-1 get a full mask (the first 29 of them) and the default quota (32).
  std::uint32_t tenants = 0;
  /// Words of user-visible results after the 160 fixed ones; at most `abi::max_encoded`.
  std::uint32_t observable_words = 0;
};

/// A control buffer: SHUTDOWN, TENANT_BASE = 3, masks and quotas as the layout says.
/// Error: `observable_slots_too_large`.
[[nodiscard]] result<byte_buffer> encode_control(const control_layout& layout) noexcept;

/// An empty ring. Error: `slot_count_too_large`.
[[nodiscard]] result<byte_buffer> encode_ring(std::uint32_t slots) noexcept;

/// An empty debug log. Error: `record_capacity_too_large`.
[[nodiscard]] result<byte_buffer> encode_debug_log(
    std::uint32_t records = abi::default_debug_records) noexcept;

/// An empty IO queue. Error: `io_queue_too_large` over 64 slots.
[[nodiscard]] result<byte_buffer> encode_io_queue(std::uint32_t slots = abi::max_io_slots) noexcept;

/// A request of the kernel to bring in a resource it missed.
struct load_miss {
  std::uint32_t resource = 0;
  bool prefetch = false;
  friend constexpr bool operator==(const load_miss&, const load_miss&) = default;
};

/// One slot: PUBLISHED, opcode LOAD_MISS, tenant 0, priority 0, arguments resource and prefetch.
[[nodiscard]] std::array<std::byte, abi::slot_bytes> encode_load_miss(load_miss request) noexcept;

/// Byte length of a buffer, or nothing when its words cannot be counted in 32 bits. Larger than
/// what the encoders make: a buffer may come from elsewhere.
[[nodiscard]] std::optional<std::uint64_t> control_byte_length(
    std::uint32_t observable_words) noexcept;
[[nodiscard]] std::optional<std::uint64_t> ring_byte_length(std::uint32_t slots) noexcept;
[[nodiscard]] std::optional<std::uint64_t> debug_log_byte_length(std::uint32_t records) noexcept;

/// First slot of each of the five priority partitions, then the number of slots. Each partition
/// has slots/5 slots; the remainder goes to NORMAL.
[[nodiscard]] std::array<word, abi::priority_offsets> default_priority_offsets(
    std::uint32_t slots) noexcept;

/// Stores the default priority offsets for `slots` slots in control words 129..134.
/// Errors: `control_misaligned`, `control_too_short`; then nothing is written.
[[nodiscard]] result<void> write_priority_offsets(std::span<std::byte> control,
                                                  std::uint32_t slots) noexcept;

}  // namespace megakernel
