// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// A ring and its windows: full decode, summary and view say the same, and what the plain
// decoder says, whatever the bytes; what is refused or has no memory leaves nothing behind.
// docs/protocol.md#decode-validation docs/protocol.md#windows
#include "failing_heap.h"
#include "fuzz.h"
#include "oracle_decoder.h"

#include "megakernel_import.h"

#include "ring_checks.h"

namespace {

/// Slots in fewer bytes: numbers for the first seven words, of which the others are made.
fuzz::block slots_from(fuzz::input& in) {
  constexpr std::size_t most = 64;
  std::array<std::uint8_t, most * 64> bytes;
  std::size_t slots = 0;
  for (; slots < most && !in.empty(); ++slots) {
    const std::span slot(bytes.data() + slots * 64, 64);
    for (std::size_t i = 0; i < 7; ++i) fuzz::put_word(slot, i, in.number());
    for (std::size_t i = 7; i < 16; ++i)
      fuzz::put_word(slot, i, fuzz::word_at(slot, i - 7) + static_cast<std::uint32_t>(i));
  }
  return fuzz::block(fuzz::bytes(bytes.data(), slots * 64));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  fuzz::input in(data, size);
  const std::uint8_t what_else = in.byte();  // mostly nothing: it takes its time
  const fuzz::ring_trial trial{.failing_allocation = what_else < 16 ? what_else : 0u,
                               .reuses = what_else >= 16 && what_else < 24};
  const fuzz::words windows = in.numbers(24);
  const auto more = static_cast<std::int8_t>(in.byte());  // or less
  fuzz::block control(static_cast<std::size_t>(640 + more), in.below(4));
  for (std::uint32_t words = in.below(16); words != 0; --words) {
    const std::size_t at = in.byte() % 160;
    const std::uint32_t value = in.number();
    if (at * 4 + 4 <= control.plain().size()) fuzz::put_word({&control[0], at * 4 + 4}, at, value);
  }
  const bool as_it_stands = in.flag();
  const std::size_t offset = in.below(4);
  const fuzz::block ring = as_it_stands ? fuzz::block(in.rest(), offset) : slots_from(in);
  fuzz::check_ring(control, ring, windows, trial);

  if (as_it_stands && offset == 0) {
    // Long enough to be refused before a byte of it is read.
    const std::span<const std::byte> endless(ring.view().data(), std::size_t{64} << 32);
    fuzz::refused_as(fuzz::mk::ring_view::over(fuzz::block(640).view(), endless), "ring_too_large");
  }
  return 0;
}

/// Few inputs reuse storage or run out of memory: those take several times as long, and a fuzzer
/// that was left alone would keep to them, because they count every edge more often.
extern "C" std::size_t LLVMFuzzerCustomMutator(std::uint8_t* data, std::size_t size,
                                               std::size_t most, unsigned seed) {
  const std::size_t made = fuzz::mutate(data, size, most);
  if (made != 0 && data[0] < 24 && seed % 16 != 0) data[0] += 24;
  return made;
}
