// Rings of tens of thousands of slots, which the decoder sorts and streams in other ways than small
// ones: an input is a shape and a seed, the checks are those of ring_fuzz.cpp.
#include "failing_heap.h"
#include "fuzz.h"
#include "plain_decoder.h"

#include "megakernel_import.h"

#include "ring_checks.h"

namespace {

constexpr std::uint32_t most_slots = 40'000;

/// Numbers out of a seed.
class dice {
 public:
  explicit dice(std::uint64_t seed) : state_(seed) {}
  std::uint32_t next() {
    state_ = state_ * 6'364'136'223'846'793'005u + 1'442'695'040'888'963'407u;
    return static_cast<std::uint32_t>(state_ >> 32);
  }
  std::uint32_t below(std::uint32_t limit) { return next() % limit; }

 private:
  std::uint64_t state_;
};

enum tickets : std::uint32_t { any, few, ascending, descending, equal };

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  fuzz::input in(data, size);
  const std::uint32_t slots = in.take<std::uint16_t>() % most_slots;
  const std::uint32_t order = in.below(5);
  const std::uint32_t opcodes = in.below(24) + 1;
  const std::uint32_t tenants = in.number();  // how many there are
  const fuzz::ring_trial trial{.failing_allocation = in.below(16), .reuses = in.flag()};
  dice d(in.take<std::uint64_t>());

  fuzz::block control(640);
  fuzz::block ring(std::size_t{64} * slots, in.below(4));
  for (std::uint32_t s = 0; s < slots; ++s) {
    const std::array<std::uint32_t, 5> ticket{d.next(), d.below(40), s / 2, (slots - s) / 2, 7};
    const std::array<std::uint32_t, 6> words{
        d.below(9), d.below(opcodes + 1), tenants == 0 ? 0 : d.below(tenants),
        d.below(5), ticket[order],        d.below(3)};
    for (std::size_t i = 0; i < words.size(); ++i)
      fuzz::put_word({&ring[std::size_t{64} * s], 64}, i, words[i]);
  }
  fuzz::words windows(opcodes);
  for (std::uint32_t op = 0; op < opcodes; ++op) windows[op] = opcodes - op;
  if (in.flag()) windows.clear();
  fuzz::check_ring(control, ring, windows, trial);
  return 0;
}
