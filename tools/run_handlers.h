// The opcodes of `megakernel run`'s own, for every target that it can run on.
#pragma once

#include <megakernel/handlers.h>

#include <stdint.h>

namespace megakernel::tool::run_handlers {

/// Where the blocks are, and where their sums go: among the observable words.
inline constexpr word first_sum = 256;
inline constexpr uint64_t block_words = 256;

MEGAKERNEL_HOST_DEVICE constexpr word sum_of(const word* block) {
  word a = 1;
  word b = 0;
  for (uint64_t i = 0; i < block_words; ++i) b += a += block[i];
  return a ^ (b << 16 | b >> 16);
}

/// Sums up block `block` of the arena and stores that in its word.
template <class Context>
MEGAKERNEL_HOST_DEVICE device::outcome sum_up(word block, Context& context) {
  constexpr fault_code no_such_block{100};
  const auto words =
      context.template arena<const word>(uint64_t{block} * block_words * sizeof(word), block_words);
  if (!words || !context.store_result(first_sum + block, sum_of(words.data)))
    return device::outcome::fault(no_such_block);
  return device::outcome::done();
}

struct checksum {
  static constexpr opcode op{1000};
  struct arguments {
    word block;
  };
  template <class Context>
  MEGAKERNEL_HOST_DEVICE device::outcome operator()(const arguments& a, Context& context) const {
    return sum_up(a.block, context);
  }
};

/// The same for an entry of a window, whose first two arguments are its ticket and class.
struct checksum_in_window {
  static constexpr opcode op{1001};
  struct arguments {
    word ticket, tag, block;
  };
  template <class Context>
  MEGAKERNEL_HOST_DEVICE device::outcome operator()(const arguments& a, Context& context) const {
    return sum_up(a.block, context);
  }
};

using all = device::handlers<checksum, checksum_in_window>;

}  // namespace megakernel::tool::run_handlers
