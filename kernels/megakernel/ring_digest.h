// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The summary of a ring that a device sends to the host: a *digest*, a few kilobytes instead of
// the ring. Occupancy, counts by opcode and by tenant, windows of a few opcodes, and the Count-Min
// sketches of a ring. docs/protocol.md#ring-digest
//
// All of it is words, little-endian on the wire, so that a digest is a row of plain stores on one
// side and untrusted bytes on the other. A ring has one digest for a request: windows are in order,
// and what is not used is zero.
//
//     word   0  "MKRD", version, slots, depth and width of the sketches (both 0: none),
//               windows listed, window slots of no listed window, window opcodes,
//               active slots, slots of an opcode of 32 or more, of a tenant of 32 or more
//           11  zero
//           16  the window opcodes, ascending, then zeros
//           32  slots by status 0..7, and of an unknown one
//           41  zero
//           48  slots by opcode 0..31
//           80  slots by tenant 0..31
//          112  four sketches, ring_opcode, active_opcode, tenant and status: each depth rows of
//               width counters of two words, the low one first
//            -  the windows by (ticket, opcode), 16 words each: ticket, opcode, tenant of the first
//               slot, slots required and lookahead, published, claimed, done, wait_io, yield,
//               requeue and fault, all slots, whether tenants disagree, zero, zero
#pragma once

#include <megakernel/abi.h>

#include <stdint.h>

namespace megakernel {

/// The contents of a digest.
struct digest_request {
  static constexpr word most_window_opcodes = 16;
  word depth;  ///< rows of a sketch; both zero: no sketches
  word width;
  word window_opcodes;                      ///< how many there are
  word window_opcode[most_window_opcodes];  ///< ascending, each once

  MEGAKERNEL_HOST_DEVICE friend constexpr bool operator==(const digest_request& a,
                                                          const digest_request& b) {
    for (word i = 0; i < most_window_opcodes; ++i)
      if (a.window_opcode[i] != b.window_opcode[i]) return false;
    return a.depth == b.depth && a.width == b.width && a.window_opcodes == b.window_opcodes;
  }
};

/// The sketches of a ring, in the order they have in a digest.
enum class ring_sketch : word { ring_opcode, active_opcode, tenant, status };

/// Where things are in a digest, in words.
namespace abi::digest {

inline constexpr word magic = 0x4452'4B4Du;  // "MKRD"
inline constexpr word version = 1;

inline constexpr word magic_word = 0;
inline constexpr word version_word = 1;
inline constexpr word slots_word = 2;
inline constexpr word depth_word = 3;
inline constexpr word width_word = 4;
inline constexpr word windows_word = 5;
inline constexpr word unlisted_word = 6;
inline constexpr word window_opcodes_word = 7;
inline constexpr word active_word = 8;
inline constexpr word other_opcodes_word = 9;
inline constexpr word other_tenants_word = 10;
inline constexpr word window_opcode_word = 16;
inline constexpr word occupancy_word = 32;
inline constexpr word statuses = 9;  ///< the last: unknown
inline constexpr word opcodes_word = 48;
inline constexpr word tenants_word = 80;
inline constexpr word keys = 32;  ///< opcodes and tenants that are counted one by one
inline constexpr word sketches_word = 112;
inline constexpr word sketches = 4;
static_assert(window_opcode_word + digest_request::most_window_opcodes == occupancy_word);
static_assert(opcodes_word + keys == tenants_word && tenants_word + keys == sketches_word);
static_assert(sketches_word % 4 == 0, "counters and windows can be moved 16 bytes at once");

/// Words of a window.
inline constexpr word window_words = 16;
inline constexpr word ticket_word = 0;
inline constexpr word opcode_word = 1;
inline constexpr word tenant_word = 2;
inline constexpr word required_word = 3;
inline constexpr word lookahead_word = 4;
inline constexpr word published_word = 5;  ///< and so on by status, up to fault
inline constexpr word fault_word = 11;
inline constexpr word window_slots_word = 12;
inline constexpr word tenants_disagree_word = 13;

/// The capacity of a digest: counters of one sketch, and windows.
inline constexpr word most_counters = 16'384;
inline constexpr word most_windows = 8'192;

/// Whether digests can have sketches of that shape, or none of 0 by 0.
MEGAKERNEL_HOST_DEVICE constexpr bool holds_sketches(uint64_t depth, uint64_t width) {
  if (depth == 0 || width == 0) return depth == width;
  return depth <= most_counters && width <= most_counters / depth;
}
/// Length of a digest with sketches that it can have and at most `most_windows` windows.
MEGAKERNEL_HOST_DEVICE constexpr word words(word depth, word width, word windows) {
  return sketches_word + sketches * 2 * depth * width + windows * window_words;
}
inline constexpr word most_words = words(1, most_counters, most_windows);

}  // namespace abi::digest

/// Whether a digest can be made so.
MEGAKERNEL_HOST_DEVICE constexpr bool is_valid(const digest_request& wanted) {
  if (!abi::digest::holds_sketches(wanted.depth, wanted.width)) return false;
  if (wanted.window_opcodes > digest_request::most_window_opcodes) return false;
  for (word i = 1; i < wanted.window_opcodes; ++i)
    if (wanted.window_opcode[i - 1] >= wanted.window_opcode[i]) return false;
  for (word i = wanted.window_opcodes; i < digest_request::most_window_opcodes; ++i)
    if (wanted.window_opcode[i] != 0) return false;
  return true;
}

}  // namespace megakernel
