// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The opcodes of `megakernel run`'s own, for every target that it can run on.
#pragma once

#include <megakernel/handlers.h>

#include <stdint.h>

#if defined(__CUDACC__) || defined(__HIP__)
#include <megakernel/device/shared_memory_policy.h>
#else
#define MEGAKERNEL_ON_DEVICE 0
#endif

#include <chrono>
#include <thread>

namespace megakernel::tool::run_handlers {

/// Where the blocks are, and where their sums go: among the observable words.
inline constexpr word first_sum = 256;
inline constexpr uint64_t blocks = 64;
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

/// Does not return while the gate, a word of the arena behind the blocks, is zero.
struct hang {
  static constexpr opcode op{1002};
  struct arguments {
    word ticket, tag;
  };
  static constexpr uint64_t gate = blocks * block_words * sizeof(word);
  template <class Context>
  MEGAKERNEL_HOST_DEVICE device::outcome operator()(const arguments&, Context& context) const {
    constexpr fault_code no_gate{101};
    const auto word_of_gate = context.template arena<word>(gate, 1);
    if (!word_of_gate) return device::outcome::fault(no_gate);
    while (is_zero(word_of_gate.data)) pause();
    return device::outcome::done();
  }

 private:
  MEGAKERNEL_HOST_DEVICE static bool is_zero(const word* at) {
#if MEGAKERNEL_ON_DEVICE
    return device::load(at, device::relaxed, device::in_system) == 0;
#else
    return __atomic_load_n(at, __ATOMIC_RELAXED) == 0;
#endif
  }
  MEGAKERNEL_HOST_DEVICE static void pause() {
#if MEGAKERNEL_ON_DEVICE
    device::pause<4000>();
#elif !defined(__CUDACC__) && !defined(__HIP__)
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
#endif
  }
};

using all = device::handlers<checksum, checksum_in_window, hang>;

}  // namespace megakernel::tool::run_handlers
