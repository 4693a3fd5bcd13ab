// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Rings of tens of thousands of slots, which the decoder sorts and streams in other ways than small
// ones, and whose keys are counted together before they reach a sketch: an input is a shape and a
// seed, the checks are those of ring_fuzz.cpp, and that sketches are those of the slots one by one.
#include "failing_heap.h"
#include "fuzz.h"
#include "oracle_decoder.h"
#include "oracle_sketch.h"

#include "megakernel_import.h"

#include "ring_checks.h"

namespace {

constexpr std::uint32_t most_slots = 40'000;

/// Numbers out of a seed.
class prng {
 public:
  explicit prng(std::uint64_t seed) : state_(seed) {}
  std::uint32_t next() {
    state_ = state_ * 6'364'136'223'846'793'005u + 1'442'695'040'888'963'407u;
    return static_cast<std::uint32_t>(state_ >> 32);
  }
  std::uint32_t below(std::uint32_t limit) { return next() % limit; }

 private:
  std::uint64_t state_;
};

/// Opcodes, tenants and statuses that are seldom seen twice make combining them useless.
void check_sketches(const fuzz::block& control, const fuzz::block& ring, std::uint64_t depth,
                    std::uint64_t width) {
  std::vector<oracle::textbook> books(4, oracle::textbook(depth, width));
  std::uint64_t active_slots = 0;
  for (std::size_t at = 0; at < ring.plain().size(); at += 64) {
    const fuzz::bytes slot = ring.plain().subspan(at, 64);
    const std::uint32_t status = fuzz::word_at(slot, 0);
    const bool active = status == 1 || status == 2 || (status >= 4 && status <= 6);
    books[0].add(fuzz::word_at(slot, 1), 1);
    if (active) books[1].add(fuzz::word_at(slot, 1), 1);
    books[2].add(fuzz::word_at(slot, 2), 1);
    books[3].add(status, 1);
    active_slots += active;
  }
  megakernel::ring_telemetry telemetry;
  fuzz::check(telemetry.decode(control.view(), ring.view()).has_value(), "a ring decodes");
  auto sketch = megakernel::telemetry_sketch::of_shape(depth, width).value();
  fuzz::check(sketch.assign(telemetry).has_value(), "a ring can be counted");
  fuzz::check(books[0].is(sketch.ring_opcode()) && books[1].is(sketch.active_opcode()) &&
                  books[2].is(sketch.tenant()) && books[3].is(sketch.status()),
              "sketches of a ring are those of its slots, one by one");
  fuzz::check(
      sketch.total_slots() == ring.plain().size() / 64 && sketch.active_slots() == active_slots,
      "and so is how many there are");
}

/// A decoder that has seen a ring asks for no more memory for another look at it; and where there
/// is none for a larger ring, nothing of the smaller one is left.
void check_storage(const fuzz::block& control, const fuzz::block& ring, const fuzz::words& list) {
  const auto windows = fuzz::opcodes_of(list).value();
  const auto half = ring.view().first(ring.view().size() / 128 * 64);
  for (unsigned nth = 1; nth <= 12; ++nth) {
    megakernel::ring_telemetry telemetry;
    megakernel::ring_summary summary;
    fuzz::check(telemetry.decode(control.view(), half, windows).has_value() &&
                    summary.decode(control.view(), half, windows).has_value(),
                "a ring decodes");
    {
      const fuzz::short_memory scarce(nth);
      const auto larger = summary.decode(control.view(), ring.view(), windows);
      if (fuzz::refused_as(larger, fuzz::short_memory::ran_out() ? "out_of_memory" : ""))
        fuzz::check(fuzz::is_empty(summary), "nor does a summary");
    }
    {
      const fuzz::short_memory scarce(nth);
      const auto larger = telemetry.decode(control.view(), ring.view(), windows);
      if (fuzz::refused_as(larger, fuzz::short_memory::ran_out() ? "out_of_memory" : "")) {
        fuzz::check(telemetry.slots().empty() && fuzz::is_empty(telemetry.summary()),
                    "what there is no memory for leaves nothing behind");
        continue;
      }
    }
    const fuzz::short_memory none(1);
    fuzz::check(telemetry.decode(control.view(), ring.view(), windows).has_value() &&
                    !fuzz::short_memory::ran_out(),
                "another look takes no memory");
    return;
  }
}

fuzz::seldom storage_of_sizes;

enum tickets : std::uint32_t { any, few, ascending, descending, equal, spaced };

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const fuzz::balanced_memory balance;
  fuzz::input in(data, size);
  std::uint32_t slots = in.take<std::uint16_t>() % most_slots;
  const std::uint32_t code = in.byte();
  const std::uint32_t order = code == 255 ? std::uint32_t{spaced} : code % 5;
  const std::uint32_t opcodes = in.below(24) + 1;
  const std::uint32_t tenants = in.number();  // how many there are
  const fuzz::ring_trial trial{.failing_allocation = in.below(16), .reuses = in.flag()};
  prng d(in.take<std::uint64_t>());
  const std::uint32_t offset = in.below(4);
  const bool windowless = in.flag();
  // How many statuses and opcodes there are beside the usual ones.
  const std::uint32_t statuses = in.number();
  const std::uint32_t others = in.number();
  const std::uint64_t depth = in.below(6) + 1;
  const std::uint64_t width = in.below(80) + 1;
  const std::uint32_t usual_from = in.take<std::uint16_t>();  // the slots before it are unusual
  const std::uint32_t times = in.byte();
  if (times >= 254) slots *= times == 255 ? 3 : 4;

  fuzz::block control(640);
  fuzz::block ring(std::size_t{64} * slots, offset);
  for (std::uint32_t s = 0; s < slots; ++s) {
    const std::array<std::uint32_t, 6> ticket{
        d.next(),        d.below(40), s / 2,
        (slots - s) / 2, 7,           order == spaced ? d.next() & 0xFFFF'F000u : 0};
    const std::array<std::uint32_t, 6> words{
        d.below(9), d.below(opcodes + 1), tenants == 0 ? 0 : d.below(tenants),
        d.below(5), ticket[order],        d.below(3)};
    const std::span<std::uint8_t> slot(&ring[std::size_t{64} * s], 64);
    for (std::size_t i = 0; i < words.size(); ++i) fuzz::put_word(slot, i, words[i]);
  }
  for (std::uint32_t s = 0; s < std::min(slots, usual_from); ++s) {
    const std::span<std::uint8_t> slot(&ring[std::size_t{64} * s], 64);
    if (statuses != 0) fuzz::put_word(slot, 0, d.below(statuses));
    if (others != 0) fuzz::put_word(slot, 1, 1 + d.below(others));
  }
  fuzz::words windows(windowless ? 0 : opcodes);
  for (std::size_t i = 0; i < windows.size(); ++i)
    windows[i] = opcodes - static_cast<std::uint32_t>(i);
  fuzz::check_ring(control, ring, windows, trial);
  check_sketches(control, ring, depth, width);
  // This decodes it many times.
  if (slots <= 4000 && storage_of_sizes.due(std::bit_width(slots)))
    check_storage(control, ring, windows);
  return 0;
}

/// Most rings get fewer than 256 slots, and the fewer the likelier: a large one takes hundreds of
/// times as long. One in 256 keeps the size it has, and the seeds have every way of sorting.
extern "C" std::size_t LLVMFuzzerCustomMutator(std::uint8_t* data, std::size_t size,
                                               std::size_t most, unsigned seed) {
  const std::size_t made = fuzz::mutate(data, size, most);
  if (made >= 2 && seed % 256 != 0) {
    data[0] >>= seed / 256 % 4;
    data[1] = 0;
  }
  return made;
}
