// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
module;
#include <megakernel/abi.h>

#include <bit>
#include <cstddef>
#include <cstring>
export module megakernel.protocol:abi;

export namespace megakernel {
using megakernel::word;

using megakernel::fault_code;
using megakernel::io_operation;
using megakernel::io_status;
using megakernel::opcode;
using megakernel::priority;
using megakernel::slot_status;
using megakernel::window_class;

using megakernel::is_active;
using megakernel::is_builtin;
using megakernel::is_known;
using megakernel::is_publishable;
using megakernel::is_system;

namespace abi {
using abi::slot;

using abi::argument_word;
using abi::argument_words;
using abi::fault_code_word;
using abi::io_link_word;
using abi::no_io_slot;
using abi::opcode_word;
using abi::priority_word;
using abi::slot_bytes;
using abi::slot_words;
using abi::status_word;
using abi::tenant_word;

using abi::control_bytes;
using abi::control_words;
using abi::done_count_word;
using abi::epoch_word;
using abi::extension_word;
using abi::metric_word;
using abi::metrics;
using abi::observable_word;
using abi::priorities;
using abi::priority_fairness_word;
using abi::priority_offset_word;
using abi::priority_offsets;
using abi::shutdown_word;
using abi::starvation_limit;
using abi::starvation_word;
using abi::tenant_base_word;
using abi::tenant_fairness_counters;
using abi::tenant_fairness_word;
using abi::tenant_mask_word;
using abi::tenant_masks;
using abi::tenant_quota_word;
using abi::tenant_quotas;

using abi::claim_lost_word;
using abi::debug_dropped_word;
using abi::done_count_high_word;
using abi::fault_count_word;
using abi::first_reserved_word;
using abi::heartbeat_word;
using abi::revision;
using abi::revision_word;
using abi::throttled_word;
using abi::unauthorised_word;
using abi::workers_alive_word;

using abi::default_quota;
using abi::max_encoded;
using abi::max_observable_words;
using abi::max_ring_slots;

using abi::debug_cursor_word;
using abi::debug_record_word;
using abi::debug_record_words;
using abi::default_debug_records;
using abi::max_debug_records;

using abi::io_byte_count_word;
using abi::io_destination_word;
using abi::io_offset_high_word;
using abi::io_offset_low_word;
using abi::io_operation_word;
using abi::io_slot_bytes;
using abi::io_slot_words;
using abi::io_source_word;
using abi::io_status_word;
using abi::io_tag_word;
using abi::max_io_slots;

using abi::max_packed_ops;
using abi::packed_header_bytes;
using abi::packed_metadata_words;
using abi::packed_op_bytes;

using abi::window_header_words;
using abi::window_payload_words;
}  // namespace abi

/// Whether a word in memory is a word on the wire as it stands.
inline constexpr bool wire_is_native = std::endian::native == std::endian::little;

/// Between a word in memory as the wire has it and its value; the same function both ways.
/// docs/protocol.md#words
constexpr word wire_order(word value) noexcept {
  if constexpr (wire_is_native) {
    return value;
  } else {
    return __builtin_bswap32(value);
  }
}

/// Word `index` of the bytes at `base`, which may have any alignment. The caller has checked that
/// bytes [4 index, 4 index + 4) are there.
inline word load_word(const std::byte* base, std::size_t index) noexcept {
  word raw;
  std::memcpy(&raw, base + index * sizeof(word), sizeof raw);
  return wire_order(raw);
}

/// Stores word `index` of the bytes at `base`; the counterpart of `load_word`.
inline void store_word(std::byte* base, std::size_t index, word value) noexcept {
  const word raw = wire_order(value);
  std::memcpy(base + index * sizeof(word), &raw, sizeof raw);
}
}  // namespace megakernel
