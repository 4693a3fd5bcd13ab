// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <megakernel/abi.h>

// Uses the header in device code, so that what must be callable there is.
__global__ void touch(megakernel::abi::slot* slot, megakernel::word* out) {
  using namespace megakernel;
  *out = is_active(slot_status{slot->status}) + is_publishable(opcode{slot->opcode}) +
         abi::packed_metadata_words(slot->argument[0]) + abi::observable_word;
}
