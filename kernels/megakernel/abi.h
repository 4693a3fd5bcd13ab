// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The wire ABI of the persistent-kernel work ring: what host and device agree on.
//
// One textual header for every compiler that builds a side of the protocol: clang and GCC for the
// host, hipcc and nvcc for the device. No containers, no allocation, no host-only headers; the
// module megakernel.protocol re-exports all of it. docs/protocol.md#words
#pragma once

#include <stddef.h>
#include <stdint.h>

#if defined(__HIP__) || (defined(__clang__) && defined(__CUDA__))
#define MEGAKERNEL_HOST_DEVICE __attribute__((host)) __attribute__((device))
#elif defined(__CUDACC__)
#define MEGAKERNEL_HOST_DEVICE __host__ __device__
#else
#define MEGAKERNEL_HOST_DEVICE
#endif

namespace megakernel {

/// The unit of every buffer: 32 bits, little-endian on the wire whatever the host.
using word = uint32_t;

/// Life of a slot, in word 0 of the slot, the claim target. docs/protocol.md#slot-status
///
///     empty -> published (host) -> claimed -> done | fault (device) -> published | empty (host)
///                                  claimed -> wait_io | yield | requeue -> claimed (device)
///                                  claimed -> published (device), where the slot has become that
///                                  of a tenant who may not run while a lane was claiming it
///
/// The enumeration is open: a device can write any word. A value past `fault` is *unknown*, and
/// the enumerator keeps the raw word.
enum class slot_status : word {
  empty = 0,
  published = 1,
  claimed = 2,
  done = 3,
  wait_io = 4,
  yield = 5,
  requeue = 6,
  fault = 7,
};

/// True for the eight values the protocol defines.
MEGAKERNEL_HOST_DEVICE constexpr bool is_known(slot_status status) {
  return static_cast<word>(status) <= static_cast<word>(slot_status::fault);
}

/// Work that the kernel still owes: published, claimed, wait_io, yield or requeue. Neither a fault
/// nor an unknown status is active. docs/protocol.md#slot-active
MEGAKERNEL_HOST_DEVICE constexpr bool is_active(slot_status status) {
  constexpr word active_set = 1u << 1 | 1u << 2 | 1u << 4 | 1u << 5 | 1u << 6;
  return is_known(status) && (active_set >> static_cast<word>(status) & 1u) != 0;
}

/// True when the host may write the slot: nobody has it, or the kernel is finished with it.
/// docs/protocol.md#slot-publishable
MEGAKERNEL_HOST_DEVICE constexpr bool is_publishable(slot_status status) {
  return status == slot_status::empty || status == slot_status::done;
}

/// Scheduling class of a slot, most urgent first. docs/protocol.md#priority-levels
enum class priority : word { critical = 0, high = 1, normal = 2, low = 3, idle = 4 };

/// The operation of a slot. Open: a user registers opcodes of its own. docs/protocol.md#opcodes
enum class opcode : word {
  nop = 0,
  store_u32 = 1,     ///< control[a1] = a0
  atomic_add = 2,    ///< control[a1] += a0, wrapping
  load_u32 = 3,      ///< control[160 + a1] = control[a0]
  compare_swap = 4,  ///< control[a0]: a1 -> a2, previous value to control[160 + a0]
  memcpy = 5,        ///< a2 words from control[a0] to control[a1], ascending
  dfa_step = 6,      ///< control[160 + a2] = table[a0 * 256 + a1]
  batch_fence = 7,   ///< EPOCH += 1; control[160] = a1
  load_miss = 0xFFFD,
  printf = 0xFFFE,
  packed_slot = 0x8000'0001,
  shutdown = 0xFFFF'FFFF,
};

/// Opcodes the protocol keeps for itself: high bit set, 0xFFF0..0xFFFF, or at most 7.
/// docs/protocol.md#opcode-classes
MEGAKERNEL_HOST_DEVICE constexpr bool is_system(opcode op) {
  const word raw = static_cast<word>(op);
  return raw >> 31 != 0 || (raw >= 0xFFF0 && raw <= 0xFFFF) || raw <= 7;
}

/// System opcodes that the kernel implements and a host may publish.
/// docs/protocol.md#opcode-classes
MEGAKERNEL_HOST_DEVICE constexpr bool is_builtin(opcode op) {
  return static_cast<word>(op) <= 7 || op == opcode::packed_slot || op == opcode::printf ||
         op == opcode::shutdown;
}

/// Opcodes that the ordinary publisher accepts: built-in opcodes and the user's own. LOAD_MISS is
/// neither.
MEGAKERNEL_HOST_DEVICE constexpr bool is_publishable(opcode op) {
  return !is_system(op) || is_builtin(op);
}

/// Why a slot is in FAULT, in its word 15. Zero: the kernel did not say.
/// docs/protocol.md#fault-codes
enum class fault_code : word {
  unreported = 0,
  unknown_opcode = 1,
  address_outside_buffer = 2,
  system_word_write = 3,
  malformed_packed_slot = 4,
  no_dfa_table = 5,
  io_queue_refused = 6,
};

/// The operation of an IO request. docs/protocol.md#io-slot-layout
enum class io_operation : word { read = 1, write = 2, fence = 3 };

MEGAKERNEL_HOST_DEVICE constexpr bool is_known(io_operation operation) {
  return operation >= io_operation::read && operation <= io_operation::fence;
}

/// Life of an IO request: the slot values, and how it ended. docs/protocol.md#io-status
enum class io_status : word {
  empty = 0,
  published = 1,
  claimed = 2,
  ok = 0x10,
  error = 0x11,
};

/// Class of a slot of a route window, its argument 1. docs/protocol.md#window-arguments
enum class window_class : word { required = 0, lookahead = 1 };

/// Slot layout. docs/protocol.md#slot-layout
namespace abi {

inline constexpr word slot_words = 16;
inline constexpr word slot_bytes = slot_words * sizeof(word);
inline constexpr word argument_words = 12;

inline constexpr word status_word = 0;
inline constexpr word opcode_word = 1;
inline constexpr word tenant_word = 2;
inline constexpr word priority_word = 3;
inline constexpr word argument_word = 4;
inline constexpr word fault_code_word = 15;
/// A slot parked in WAIT_IO keeps the number of its IO slot here, or that it has none yet.
/// docs/protocol.md#io-link
inline constexpr word io_link_word = 14;
inline constexpr word no_io_slot = 0xFFFF'FFFFu;

/// The slot as a device sees it.
struct alignas(64) slot {
  word status;  ///< commit word: stored last, with release
  word opcode;
  word tenant;
  word priority;
  word argument[argument_words];
};
static_assert(sizeof(slot) == 64 && sizeof(slot) == slot_bytes);
static_assert(offsetof(slot, status) == status_word * sizeof(word));
static_assert(offsetof(slot, opcode) == opcode_word * sizeof(word));
static_assert(offsetof(slot, tenant) == tenant_word * sizeof(word));
static_assert(offsetof(slot, priority) == priority_word * sizeof(word));
static_assert(offsetof(slot, argument) == argument_word * sizeof(word));
static_assert(argument_word + argument_words == slot_words);
static_assert(fault_code_word == slot_words - 1);
static_assert(io_link_word >= argument_word + 2, "LOAD_MISS has two arguments");
static_assert(static_cast<word>(slot_status::empty) == 0, "zeroed memory is an empty ring");

/// Control words. docs/protocol.md#control-words
inline constexpr word shutdown_word = 0;
inline constexpr word done_count_word = 1;
inline constexpr word tenant_base_word = 2;
inline constexpr word tenant_mask_word = 3;
inline constexpr word tenant_masks = 29;
inline constexpr word tenant_quota_word = 32;
inline constexpr word tenant_quotas = 32;
inline constexpr word tenant_fairness_word = 64;
inline constexpr word tenant_fairness_counters = 32;
inline constexpr word metric_word = 96;
inline constexpr word metrics = 32;
inline constexpr word epoch_word = 128;
inline constexpr word priority_offset_word = 129;
inline constexpr word priorities = 5;
inline constexpr word priority_offsets = priorities + 1;
inline constexpr word starvation_word = 135;
inline constexpr word priority_fairness_word = 136;
inline constexpr word extension_word = 141;
inline constexpr word observable_word = 160;
inline constexpr word control_words = observable_word;
inline constexpr word control_bytes = control_words * sizeof(word);
static_assert(tenant_mask_word == tenant_base_word + 1);
static_assert(tenant_mask_word + tenant_masks == tenant_quota_word);
static_assert(tenant_quota_word + tenant_quotas == tenant_fairness_word);
static_assert(tenant_fairness_word + tenant_fairness_counters == metric_word);
static_assert(metric_word + metrics == epoch_word);
static_assert(epoch_word + 1 == priority_offset_word);
static_assert(priority_offset_word + priority_offsets == starvation_word);
static_assert(starvation_word + 1 == priority_fairness_word);
static_assert(priority_fairness_word + priorities == extension_word);
static_assert(control_bytes == 640);

/// Extension words; all zero in the base ABI. docs/protocol.md#extension-words
inline constexpr word revision_word = 141;
inline constexpr word heartbeat_word = 142;
inline constexpr word fault_count_word = 143;
inline constexpr word unauthorised_word = 144;
inline constexpr word throttled_word = 145;
inline constexpr word workers_alive_word = 146;
inline constexpr word claim_lost_word = 147;
inline constexpr word debug_dropped_word = 148;
inline constexpr word done_count_high_word = 149;
inline constexpr word first_reserved_word = 150;
inline constexpr word revision = 1;
static_assert(revision_word == extension_word && done_count_high_word + 1 == first_reserved_word);
static_assert(first_reserved_word < observable_word);

/// An encoder gives each tenant this quota. docs/protocol.md#encode-control
inline constexpr word default_quota = 1'000'000;
/// Consecutive CRITICAL/HIGH claims after which those two are skipped for a pass.
/// docs/protocol.md#starvation
inline constexpr word starvation_limit = 16;

/// The limit of a 32-bit word index, and of an allocating encoder.
/// docs/protocol.md#buffer-sizes
inline constexpr word max_observable_words = 0xFFFF'FFFFu - control_words;
inline constexpr word max_ring_slots = 0xFFFF'FFFFu / slot_words;
inline constexpr word max_encoded = 1'048'576;

/// Debug log: the cursor, then records of four words. docs/protocol.md#debug-log-layout
inline constexpr word debug_cursor_word = 0;
inline constexpr word debug_record_word = 1;
inline constexpr word debug_record_words = 4;
inline constexpr word default_debug_records = 64;
inline constexpr word max_debug_records = (0xFFFF'FFFFu - debug_record_word) / debug_record_words;
static_assert(debug_record_word + default_debug_records * debug_record_words == 257);

/// IO queue. docs/protocol.md#io-slot-layout
inline constexpr word io_slot_words = 8;
inline constexpr word io_slot_bytes = io_slot_words * sizeof(word);
inline constexpr word max_io_slots = 64;
inline constexpr word io_operation_word = 0;
inline constexpr word io_source_word = 1;
inline constexpr word io_destination_word = 2;
inline constexpr word io_offset_low_word = 3;
inline constexpr word io_offset_high_word = 4;
inline constexpr word io_byte_count_word = 5;
inline constexpr word io_status_word = 6;
inline constexpr word io_tag_word = 7;
static_assert(io_tag_word + 1 == io_slot_words);

/// Packed slot: bytes counted little-endian from the first argument word. Byte 0 counts
/// the inner ops, byte 1 their argument words; then an (opcode, argument offset) pair of bytes an
/// op; the arguments start at the next whole word. docs/protocol.md#packed-layout
inline constexpr word packed_header_bytes = 2;
inline constexpr word packed_op_bytes = 2;
inline constexpr word max_packed_ops = 255;
MEGAKERNEL_HOST_DEVICE constexpr word packed_metadata_words(word ops) {
  return (packed_header_bytes + packed_op_bytes * ops + 3) / 4;
}

/// A window entry's first two arguments are its ticket and its class.
/// docs/protocol.md#window-arguments
inline constexpr word window_header_words = 2;
inline constexpr word window_payload_words = argument_words - window_header_words;

}  // namespace abi
}  // namespace megakernel
