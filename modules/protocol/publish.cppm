// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
module;
#include <array>
#include <cstddef>
#include <cstdint>
#include <expected>
#include <span>
#include <variant>
export module megakernel.protocol:publish;
import :abi;
import :encode;
import :error;
import :memory;

/// Work into the ring. Every call validates everything before it writes anything: a
/// refused call changes no byte. docs/protocol.md#publish-slot
export namespace megakernel {

/// One slot's worth of work.
struct slot_request {
  opcode op = opcode::nop;
  std::uint32_t tenant = 0;
  priority level = priority::normal;
  std::span<const word> arguments = {};  ///< at most 12; the other argument words become zero
};

/// One operation inside a packed slot.
struct packed_op {
  std::uint8_t op = 0;
  std::span<const word> arguments = {};
};

/// Several small operations that run in order in one slot. Opcode table and arguments together
/// take at most 12 words.
struct packed_request {
  std::uint32_t tenant = 0;
  priority level = priority::normal;
  std::span<const packed_op> ops = {};
};

/// An item of a fenced batch; the batch names the tenant.
struct batch_item {
  opcode op = opcode::nop;
  std::span<const word> arguments = {};
};

/// Slots that share a ticket: first the required entries, then the lookahead ones. An entry is a
/// payload of at most 10 words, after which the slot's arguments are {ticket, class, payload...}.
struct window_request {
  opcode op = opcode::nop;
  std::uint32_t tenant = 0;
  word ticket = 0;
  priority level = priority::normal;
  std::span<const std::span<const word>> required = {};
  std::span<const std::span<const word>> lookahead = {};
};

/// A slot with exactly three arguments, for launches that are all alike.
struct work_item {
  opcode op = opcode::nop;
  word input = 0;
  word output = 0;
  word param = 0;
};

/// The argument words of one slot: how many are used, and all twelve with the rest zero.
struct slot_arguments {
  std::uint32_t count = 0;
  std::array<word, abi::argument_words> words{};
  [[nodiscard]] inline std::span<const word> used() const noexcept {
    return std::span(words).first(count);
  }
};

/// The arguments of a packed slot.
/// Errors, in this order: `packed_too_many_ops`, `packed_metadata_too_large`,
/// `packed_payload_too_large`. O(ops).
[[nodiscard]] result<slot_arguments> packed_arguments(std::span<const packed_op> ops) noexcept;

/// The arguments of a window entry. Error: `window_payload_too_large`. O(payload).
[[nodiscard]] result<slot_arguments> window_arguments(word ticket, window_class tag,
                                                      std::span<const word> payload) noexcept;

/// The checks of `ring_publisher` on a request before it reads the ring, in its order.
/// Errors: `too_many_args`, `opcode_reserved`, `priority_out_of_range`. O(1).
[[nodiscard]] result<void> check(const slot_request& request) noexcept;
/// Errors: `too_many_args` or `opcode_reserved` of the first item that has one. O(items).
[[nodiscard]] result<void> check(std::span<const batch_item> items) noexcept;
/// Errors: `window_payload_too_large` or those of a slot, of the first entry that has one.
/// O(entries).
[[nodiscard]] result<void> check(const window_request& window) noexcept;

/// Writes work into a ring that a kernel may be draining at the same time.
///
/// A view: the ring must outlive it. One thread publishes to a given slot at a time; different
/// slots may be published by different threads. Each slot's status is read with acquire, so that
/// the kernel's last use of the slot is over, and PUBLISHED is stored last, with release, so that
/// whoever sees it sees the whole slot.
///
/// Errors of a slot, in the order they are checked: `slot_out_of_range`, `too_many_args`,
/// `opcode_reserved`, `priority_out_of_range`, `slot_not_publishable`.
/// docs/protocol.md#publish-order
class ring_publisher {
 public:
  /// Errors: `ring_partial_slot`, `ring_too_large`, `buffer_unaligned` (words are 4-byte aligned).
  [[nodiscard]] static result<ring_publisher> over(std::span<std::byte> ring) noexcept;

  [[nodiscard]] inline std::uint32_t slots() const noexcept { return slots_; }

  /// One slot. O(1).
  [[nodiscard]] result<void> publish(std::uint32_t slot, const slot_request& request) noexcept;

  /// One packed slot. The errors of `packed_arguments` come first. O(ops).
  [[nodiscard]] result<void> publish_packed(std::uint32_t slot,
                                            const packed_request& request) noexcept;

  /// One LOAD_MISS, as `encode_load_miss` has it; `publish` refuses its opcode. Errors:
  /// `slot_out_of_range`, `slot_not_publishable`. O(1). An extension.
  [[nodiscard]] result<void> publish_load_miss(std::uint32_t slot, load_miss request) noexcept;

  /// `requests` in consecutive slots from `first`; returns how many. Errors:
  /// `slot_index_overflow`, then those of the first slot that has one. O(requests).
  [[nodiscard]] result<std::uint32_t> publish_each(
      std::uint32_t first,
      std::span<const std::variant<slot_request, packed_request>> requests) noexcept;

  /// `items` in consecutive slots from `first`, then a BATCH_FENCE with arguments (items, tag);
  /// returns slots used, items + 1. Errors: `slot_index_overflow`, `batch_out_of_range`, then
  /// `too_many_args` or `opcode_reserved` of the first item that has one, then
  /// `slot_not_publishable` of the first slot. O(items).
  [[nodiscard]] result<std::uint32_t> publish_batch(std::uint32_t first, std::uint32_t tenant,
                                                    std::span<const batch_item> items,
                                                    word tag) noexcept;

  /// A window in consecutive slots from `first`; returns slots used. Errors:
  /// `slot_index_overflow`, then `window_payload_too_large` or those of a slot, of the first entry
  /// that has one. O(entries).
  [[nodiscard]] result<std::uint32_t> publish_window(std::uint32_t first,
                                                     const window_request& window) noexcept;

  /// `items` in consecutive slots from `first`; returns how many. Errors: `opcode_reserved` of the
  /// first item that has it, `slot_index_overflow`, `batch_out_of_range`, then
  /// `slot_not_publishable` of the first slot. O(items).
  [[nodiscard]] result<std::uint32_t> publish_work_items(std::uint32_t first, std::uint32_t tenant,
                                                         std::span<const work_item> items) noexcept;

 private:
  inline ring_publisher(std::byte* base, std::uint32_t slots) noexcept
      : base_(base), slots_(slots) {}

  [[nodiscard]] inline std::byte* at(std::uint32_t slot) const noexcept {
    return base_ + std::size_t{slot} * abi::slot_bytes;
  }
  [[nodiscard]] result<void> check_run(std::uint32_t first, std::uint64_t count) const noexcept;
  [[nodiscard]] result<void> check_free(std::uint32_t first, std::uint32_t count) const noexcept;
  [[nodiscard]] result<void> check_status(std::uint32_t slot) const noexcept;
  [[nodiscard]] result<void> check_slot(std::uint32_t slot, std::uint32_t entry,
                                        const slot_request& request) const noexcept;

  std::byte* base_;
  std::uint32_t slots_;
};

/// A fresh ring of `slots` slots with `items` published from slot 0 on. Errors:
/// `work_items_exceed_slot_count`, `opcode_reserved`, `slot_count_too_large`, `out_of_memory`.
[[nodiscard]] result<byte_buffer> encode_work_items(std::uint32_t slots, std::uint32_t tenant,
                                                    std::span<const work_item> items) noexcept;

}  // namespace megakernel
