// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// How operations lie in the argument words of a packed slot (docs/protocol.md#packed-layout). Lanes
// judge and execute a copy: the words of the ring may change meanwhile.
#pragma once

#include <megakernel/abi.h>

namespace megakernel::device::detail {

/// Words of any content: nothing is read outside of them.
struct packed_slot {
  word words[abi::argument_words];
  MEGAKERNEL_HOST_DEVICE explicit packed_slot(const word (&argument)[abi::argument_words]) {
    for (word i = 0; i < abi::argument_words; ++i) words[i] = argument[i];
  }
  MEGAKERNEL_HOST_DEVICE word byte(word at) const { return words[at / 4] >> (at % 4 * 8) & 0xFF; }
  MEGAKERNEL_HOST_DEVICE word ops() const { return byte(0); }
  MEGAKERNEL_HOST_DEVICE word used() const { return byte(1); }
  MEGAKERNEL_HOST_DEVICE word table() const { return abi::packed_metadata_words(ops()); }
  MEGAKERNEL_HOST_DEVICE opcode op(word i) const {
    return opcode{byte(abi::packed_header_bytes + abi::packed_op_bytes * i)};
  }
  MEGAKERNEL_HOST_DEVICE word offset(word i) const {
    return i < ops() ? byte(abi::packed_header_bytes + abi::packed_op_bytes * i + 1) : used();
  }
  MEGAKERNEL_HOST_DEVICE bool well_formed() const {
    if (table() > abi::argument_words || table() + used() > abi::argument_words) return false;
    for (word i = 0; i < ops(); ++i) {
      if (offset(i) > offset(i + 1)) return false;
    }
    return true;
  }
  /// The arguments of operation `i`; those it was not given are zero.
  MEGAKERNEL_HOST_DEVICE void arguments(word i, word (&a)[abi::argument_words]) const {
    for (word k = 0; k < abi::argument_words; ++k) a[k] = 0;
    const word first = table() + offset(i);
    const word end = table() + offset(i + 1);
    for (word k = first; k < end && k < abi::argument_words; ++k) a[k - first] = words[k];
  }
};

}  // namespace megakernel::device::detail
