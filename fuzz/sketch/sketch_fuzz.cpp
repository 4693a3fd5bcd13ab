// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Sketches at work: an input is a shape and a sequence of calls on two sketches, next to
// textbook ones. They stay the same; what is refused changes nothing; sketches of a ring are those
// of its slots one by one. docs/protocol.md#sketch-count docs/protocol.md#sketch-merge
#include <bit>
#include <cmath>
#include <numbers>
#include <utility>

#include "failing_heap.h"
#include "fuzz.h"
#include "oracle_sketch.h"
#include "refusal.h"

#include "megakernel_import.h"

#include "telemetry_sketch_checks.h"

namespace mk = megakernel;

namespace {

using u64 = std::uint64_t;

u64 amount_from(fuzz::input& in) {
  const std::uint32_t kind = in.below(8);
  if (kind < 5) return in.number();
  return kind == 5 ? in.take<u64>() : ~u64{0} - (kind == 6 ? in.byte() : 0);
}

/// A sketch and its twin.
struct pair {
  mk::count_min_sketch real;
  oracle::textbook book;

  pair(u64 depth, u64 width)
      : real(std::move(mk::count_min_sketch::of_shape(depth, width).value())), book(depth, width) {}

  [[nodiscard]] u64 total() const {
    unsigned __int128 row = 0;
    for (u64 i = 0; i < book.width; ++i) row += book.counters[i];
    return row > ~u64{0} ? ~u64{0} : static_cast<u64>(row);
  }
  /// What a key that is estimated so counts at least, but for a chance.
  [[nodiscard]] u64 at_least(u64 estimate) const {
    const double off =
        std::ceil(std::numbers::e / static_cast<double>(book.width) * static_cast<double>(total()));
    if (off >= 18'446'744'073'709'551'616.0) return 0;
    return static_cast<u64>(off) > estimate ? 0 : estimate - static_cast<u64>(off);
  }
  void check() const {
    fuzz::check(book.is(real), "a sketch counts as the textbook's does");
    fuzz::check(real.total() == total(), "the total is the sum of a row");
    fuzz::check(real.shape() == mk::sketch_shape{book.depth, book.width} &&
                    real.epsilon() == std::numbers::e / static_cast<double>(book.width) &&
                    real.delta() == std::exp(-static_cast<double>(book.depth)),
                "its bounds follow from its shape");
    const std::uint32_t key = static_cast<std::uint32_t>(real.total());
    for (u64 row = 0; row < book.depth; ++row)
      fuzz::check(row * book.width + real.bucket(row, key) == book.at(row, key),
                  "a key has the textbook's column in each row");
  }
};

void add(pair& p, fuzz::input& in) {
  const std::uint32_t key = in.number();
  const u64 amount = amount_from(in);
  const u64 most = p.book.most(key);
  const auto got = p.real.add(key, amount);
  fuzz::refused_as(got, p.book.add(key, amount)
                            ? fuzz::refusal{}
                            : fuzz::refusal{"sketch_counter_overflow", key, amount, most});
  fuzz::check(p.real.estimate(key) == p.book.estimate(key), "an estimate is the least of its row");
}

/// Adds `from` to `to`, which may be the same.
void merge(pair& to, const pair& from) {
  const oracle::textbook added = from.book;
  if (fuzz::refused_as(to.real.merge(from.real), fuzz::wrong_merge(to.book, added))) return;
  for (std::size_t i = 0; i < added.counters.size(); ++i) to.book.counters[i] += added.counters[i];
}

bool same(const oracle::textbook& a, const oracle::textbook& b) {
  return a.depth == b.depth && a.width == b.width && a.counters == b.counters;
}

/// Shapes that there is no sketch of, by every way to one.
void refuse_shape(pair& p, u64 depth, u64 width) {
  const fuzz::refusal wrong = fuzz::wrong_shape(depth, width);
  fuzz::refused_as(mk::count_min_sketch::of_shape(depth, width), wrong);
  fuzz::refused_as(mk::telemetry_sketch::of_shape(depth, width), wrong);
  fuzz::refused_as(p.real.reset_shape(depth, width), wrong);
}

void reset(pair& p, fuzz::input& in) {
  u64 depth = in.below(7);
  u64 width = in.below(40);
  const std::uint32_t kind = in.below(16);
  // Too large, or nothing.
  if (kind == 0) depth = u64{1} << 63;
  if (kind == 1) width = ~u64{0} - 1;
  if (kind == 2 && (depth & width & 1) != 0) depth = width = ~u64{0};
  if (kind == 2 && (depth & 1) == 0) depth = 0;
  if (kind == 2 && (width & 1) == 0) width = 0;
  if (kind < 3 && depth != 0 && width != 0 && depth < 7 && width < 40) depth = ~u64{0} / width + 1;
  if (kind < 3) {
    refuse_shape(p, depth, width);
    return;
  }
  const fuzz::short_memory scarce(kind == 3 ? 1 : 0);
  const auto got = p.real.reset_shape(depth, width);
  const bool none_left = fuzz::short_memory::ran_out();
  if (fuzz::refused_as(got, none_left ? fuzz::refusal{"out_of_memory", 0, depth * width, 8}
                                      : fuzz::wrong_shape(depth, width)))
    return;
  p.book = oracle::textbook(depth, width);
}

/// The largest estimates among `candidates`, found by sorting them all.
void check_heavy(const pair& p, fuzz::input& in) {
  const fuzz::words candidates = in.numbers(12);
  std::vector<mk::heavy_hitter> room(in.below(6));
  const auto got = mk::heavy_hitters(p.real, candidates, room);
  std::vector<std::pair<u64, std::uint32_t>> wanted;  // how much to the least, key
  for (const std::uint32_t key : candidates)
    if (p.book.estimate(key) != 0) wanted.emplace_back(~p.book.estimate(key), key);
  std::ranges::sort(wanted);
  wanted.erase(std::ranges::unique(wanted).begin(), wanted.end());
  if (wanted.size() > room.size()) wanted.resize(room.size());
  fuzz::check(got.size() == wanted.size(), "heavy hitters are as many as there is room for");
  for (std::size_t i = 0; i < wanted.size(); ++i)
    fuzz::check(got[i].key == wanted[i].second && got[i].estimate == ~wanted[i].first &&
                    got[i].at_least == p.at_least(~wanted[i].first),
                "the heaviest come first");
}

/// With so little memory that `make` may fail, which then is all that happens.
template <class Make>
auto scarcely(unsigned nth, Make make) {
  const fuzz::short_memory scarce(nth);
  auto made = make();
  fuzz::refused_as(made, fuzz::short_memory::ran_out() ? "out_of_memory" : "");
  return made;
}

/// A sketch that has been moved from is none until it is given a shape, or what `like` has counted.
void check_moved_from(mk::count_min_sketch& gone, const mk::count_min_sketch& like,
                      const oracle::textbook& book) {
  fuzz::check(gone.shape() == mk::sketch_shape() && gone.counters().empty() &&
                  gone.estimate(7) == 0 && gone.total() == 0,
              "what has been moved from is no sketch");
  gone.clear();
  fuzz::refused_as(gone.add(7, 1), fuzz::refusal{"sketch_dim_zero"});
  fuzz::check(gone.add(7, 0).has_value(), "nothing can be added to any sketch");
  fuzz::refused_as(mk::write_sketch(gone), fuzz::refusal{"sketch_dim_zero"});
  fuzz::refused_as(gone.merge(like), fuzz::refusal{"sketch_shape_mismatch", 0, book.depth, 0});
  fuzz::check(gone.assign(like).has_value() && book.is(gone) && gone.total() == like.total() &&
                  gone.estimate(7) == book.estimate(7),
              "it can take over what another has counted");
}

/// A copy takes the place of what it is one of, which is written and read back.
void copy(pair& p, fuzz::input& in) {
  const std::uint32_t nth = in.below(4);
  const unsigned reading = nth == 2 ? 1 : 0;
  if (const auto bytes = scarcely(nth == 1, [&] { return mk::write_sketch(p.real); })) {
    const auto back = scarcely(
        reading, [&] { return mk::read_count_min_sketch({bytes->data(), bytes->size()}); });
    fuzz::check(!back || (*back == p.real && back->total() == p.real.total()),
                "what is written reads back");
  }
  auto got = scarcely(nth == 3, [&] { return p.real.copy(); });
  if (!got) return;
  fuzz::check(*got == p.real && got->total() == p.real.total(), "a copy is equal");
  const std::uint64_t* const storage = got->counters().data();
  fuzz::check(got->assign(*got).has_value() && *got == p.real, "and may be assigned to itself");
  p.real = std::move(*got);
  fuzz::check(p.real.counters().data() == storage, "moving moves the storage");
  check_moved_from(*got, p.real, p.book);  // NOLINT: on purpose
  fuzz::check(got->reset_shape(p.book.depth, p.book.width).has_value() && got->total() == 0 &&
                  got->estimate(7) == 0,
              "a shape of its own makes it a sketch again");
  mk::count_min_sketch third(std::move(p.real));
  check_moved_from(p.real, third, p.book);  // NOLINT: on purpose
  p.real = std::move(third);
  auto& itself = p.real;
  p.real = std::move(itself);
}

void shape_for(fuzz::input& in) {
  const double epsilon = std::bit_cast<double>(in.take<u64>());
  const double delta = std::bit_cast<double>(in.take<u64>());
  const auto got = mk::shape_for(epsilon, delta);
  fuzz::refusal wrong;
  const double wanted = std::ceil(std::numbers::e / epsilon);
  if (!(epsilon > 0 && epsilon <= 1.7976931348623157e308))
    wrong = {"sketch_accuracy_invalid", 0, std::bit_cast<u64>(epsilon), 0};
  else if (!(delta > 0 && delta < 1))
    wrong = {"sketch_accuracy_invalid", 1, std::bit_cast<u64>(delta), 1};
  else if (wanted > 9'007'199'254'740'992.0)
    wrong = {"sketch_dim_overflow", u64{1} << 53, 1,
             wanted < 18'446'744'073'709'551'616.0 ? static_cast<u64>(wanted) : ~u64{0}};
  if (fuzz::refused_as(got, wrong)) return;
  fuzz::check(got->epsilon() <= epsilon && got->delta() <= delta,
              "a shape is as accurate as was asked for");
  const mk::sketch_shape narrower{got->depth, got->width - 1};
  const mk::sketch_shape lower{got->depth - 1, got->width};
  fuzz::check((got->width == 1 || narrower.epsilon() > epsilon) &&
                  (got->depth == 1 || lower.delta() > delta),
              "and no larger than it must be");
}

/// What can be done with the sketches of a ring of so many slots.
void check_uses(mk::telemetry_sketch& sketch, std::vector<oracle::textbook> books, u64 slots,
                const mk::ring_telemetry& decoded) {
  const auto [depth, width] = sketch.shape();
  const auto bytes = mk::write_sketch(sketch).value();
  auto back = mk::read_telemetry_sketch({bytes.data(), bytes.size()}).value();
  fuzz::check(back == sketch, "what is written reads back");
  if (slots != 0) fuzz::double_up(back, std::move(books), slots);
  back.clear();
  fuzz::check(back.total_slots() == 0 && back.shape() == sketch.shape() &&
                  back == mk::telemetry_sketch::of_shape(depth, width).value(),
              "clearing keeps the shape");
  fuzz::refused_as(back.merge(mk::telemetry_sketch::of_shape(depth + 1, width).value()),
                   fuzz::refusal{"sketch_shape_mismatch", 0, depth + 1, depth});
  fuzz::check_without_memory(sketch);
  fuzz::check_life(sketch, decoded);
  // It is the same for every input.
  static const bool once = (fuzz::check_equality(), true);
  fuzz::check(once, "equality is of all five");
}

/// Slots and metrics of a ring, and the five sketches they should make, and, where `used`, what can
/// be done with them.
void telemetry(fuzz::input& in, const pair& like, bool used) {
  fuzz::block control(640);
  fuzz::block ring(std::size_t{64} * in.below(16));
  const u64 depth = like.book.depth;
  const u64 width = like.book.width;
  std::vector<oracle::textbook> books(5, oracle::textbook(depth, width));
  for (std::uint32_t n = in.below(4); n != 0; --n) {
    const std::uint32_t index = in.below(32);
    const std::uint32_t count = in.number();
    fuzz::put_word({&control[0], 640}, 96 + index, count);
  }
  u64 active_slots = 0;
  for (std::uint32_t i = 0; i < 32; ++i) books[4].add(i, fuzz::word_at(control.plain(), 96 + i));
  for (std::size_t s = 0; s < ring.plain().size() / 64; ++s) {
    const std::array<std::uint32_t, 3> words{in.number(), in.number(), in.number()};
    for (std::size_t i = 0; i < 3; ++i) fuzz::put_word({&ring[64 * s], 12}, i, words[i]);
    const bool active = words[0] == 1 || words[0] == 2 || (words[0] >= 4 && words[0] <= 6);
    books[0].add(words[1], 1);
    if (active) books[1].add(words[1], 1);
    active_slots += active;
    books[2].add(words[2], 1);
    books[3].add(words[0], 1);
  }
  mk::ring_telemetry decoded;
  fuzz::check(decoded.decode(control.view(), ring.view()).has_value(), "a ring decodes");
  auto sketch = mk::telemetry_sketch::of_shape(depth, width).value();
  {
    const fuzz::short_memory scarce(in.below(4));
    const auto assigned = sketch.assign(decoded);
    if (fuzz::short_memory::ran_out()) {
      fuzz::refused_as(assigned, "out_of_memory");
      fuzz::check(sketch == mk::telemetry_sketch::of_shape(depth, width).value(),
                  "what there is no memory for changes nothing");
      return;
    }
    fuzz::check(assigned.has_value(), "a ring can be counted");
  }
  fuzz::check(fuzz::are(books, sketch), "sketches of a ring are those of its slots, one by one");
  const u64 slots = ring.plain().size() / 64;
  fuzz::check(sketch.total_slots() == slots && sketch.active_slots() == active_slots,
              "and so is how many there are");
  if (used) check_uses(sketch, std::move(books), slots, decoded);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const fuzz::balanced_memory balance;
  fuzz::input in(data, size);
  const u64 depth = in.below(6) + 1;
  const u64 width = in.below(40) + 1;
  pair one(depth, width);
  pair other(depth, width);
  bool unused = true;
  while (!in.empty()) {
    switch (in.below(10)) {
      case 0:
        merge(one, other);
        break;
      case 1:
        merge(one, one);
        break;
      case 2:
        std::swap(one, other);
        break;
      case 3:
        reset(one, in);
        break;
      case 4:
        one.real.clear();
        one.book = oracle::textbook(one.book.depth, one.book.width);
        break;
      case 5:
        check_heavy(one, in);
        break;
      case 6:
        copy(one, in);
        break;
      case 7:
        shape_for(in);
        break;
      case 8:
        telemetry(in, one, std::exchange(unused, false));  // it takes long
        break;
      default:
        add(one, in);
    }
    one.check();
    fuzz::check((one.real == other.real) == same(one.book, other.book),
                "sketches are equal where shape and counters are");
  }
  return 0;
}
