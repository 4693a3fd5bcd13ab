// Sketches at work (SPEC 5): an input is a shape and a sequence of calls on two sketches, next to
// textbook ones. They stay the same; what is refused changes nothing; sketches of a ring are those
// of its slots one by one.
#include <bit>
#include <map>
#include <utility>

#include "failing_heap.h"
#include "fuzz.h"
#include "plain_sketch.h"

#include "megakernel_import.h"

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
  plain::textbook book;

  pair(u64 depth, u64 width)
      : real(std::move(mk::count_min_sketch::of_shape(depth, width).value())), book(depth, width) {}

  void check() const {
    fuzz::check(book.is(real), "a sketch counts as the textbook's does");
    unsigned __int128 row = 0;
    for (u64 i = 0; i < book.width; ++i) row += book.counters[i];
    fuzz::check(real.total() == (row > ~u64{0} ? ~u64{0} : static_cast<u64>(row)),
                "the total is the sum of a row");
  }
};

void add(pair& p, fuzz::input& in) {
  const std::uint32_t key = in.number();
  const u64 amount = amount_from(in);
  const auto got = p.real.add(key, amount);
  fuzz::refused_as(got, p.book.add(key, amount) ? "" : "sketch_counter_overflow");
  fuzz::check(p.real.estimate(key) == p.book.estimate(key), "an estimate is the least of its row");
}

/// Adds `from` to `to`, which may be the same.
void merge(pair& to, const pair& from) {
  std::string_view wrong;
  plain::textbook merged = to.book;
  if (to.book.depth != from.book.depth || to.book.width != from.book.width) {
    wrong = "sketch_shape_mismatch";
  } else {
    for (std::size_t i = 0; i < merged.counters.size(); ++i)
      if (__builtin_add_overflow(merged.counters[i], from.book.counters[i], &merged.counters[i]))
        wrong = "sketch_merge_overflow";
  }
  if (!fuzz::refused_as(to.real.merge(from.real), wrong)) to.book = merged;
}

std::string_view wrong_shape(u64 depth, u64 width) {
  if (depth == 0 || width == 0) return "sketch_dim_zero";
  const auto counters = static_cast<unsigned __int128>(depth) * width;
  if (counters > ~u64{0}) return "sketch_dim_overflow";
  return counters > 4096 ? "out_of_memory" : "";  // none between is tried
}

void reset(pair& p, fuzz::input& in) {
  u64 depth = in.below(7);
  u64 width = in.below(40);
  const std::uint32_t kind = in.below(16);
  if (kind == 0) depth = u64{1} << 63;
  if (kind == 1) width = ~u64{0} - 1;
  if (kind == 2) depth = width = ~u64{0};
  const fuzz::short_memory scarce(kind == 3 ? 1 : 0);
  const auto got = p.real.reset_shape(depth, width);
  const bool none_left = fuzz::short_memory::ran_out();
  if (fuzz::refused_as(got, none_left ? "out_of_memory" : wrong_shape(depth, width))) return;
  p.book = plain::textbook(depth, width);
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
                    got[i].at_least <= got[i].estimate,
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

/// A copy takes the place of what it is one of, which is written and read back.
void copy(pair& p, fuzz::input& in) {
  const std::uint32_t nth = in.below(4);
  if (const auto bytes = scarcely(nth, [&] { return mk::write_sketch(p.real); })) {
    const auto back =
        scarcely(nth, [&] { return mk::read_count_min_sketch({bytes->data(), bytes->size()}); });
    fuzz::check(!back || *back == p.real, "what is written reads back");
  }
  auto got = scarcely(nth, [&] { return p.real.copy(); });
  if (!got) return;
  fuzz::check(*got == p.real, "a copy is equal");
  p.real = std::move(*got);
  fuzz::check(got->depth() == 0 && got->estimate(7) == 0 && got->total() == 0,  // NOLINT
              "what has been moved from is no sketch");
  fuzz::refused_as(got->add(7, 1), "sketch_dim_zero");
  fuzz::refused_as(mk::write_sketch(*got), "sketch_dim_zero");
}

void shape_for(fuzz::input& in) {
  const double epsilon = std::bit_cast<double>(in.take<u64>());
  const double delta = std::bit_cast<double>(in.take<u64>());
  const auto got = mk::shape_for(epsilon, delta);
  const bool valid = epsilon > 0 && epsilon <= 1.7976931348623157e308 && delta > 0 && delta < 1;
  if (fuzz::refused(got)) {
    fuzz::check(
        name(got.error().code) == (valid ? "sketch_dim_overflow" : "sketch_accuracy_invalid"),
        "what is no accuracy is refused");
    return;
  }
  fuzz::check(valid && got->epsilon() <= epsilon && got->delta() <= delta,
              "a shape is as accurate as was asked for");
  const mk::sketch_shape narrower{got->depth, got->width - 1};
  const mk::sketch_shape lower{got->depth - 1, got->width};
  fuzz::check((got->width == 1 || narrower.epsilon() > epsilon) &&
                  (got->depth == 1 || lower.delta() > delta),
              "and no larger than it must be");
}

/// Slots and metrics of a ring, and the five sketches they should make.
void telemetry(fuzz::input& in, const pair& like) {
  fuzz::block control(640);
  fuzz::block ring(std::size_t{64} * in.below(16));
  const u64 depth = like.book.depth;
  const u64 width = like.book.width;
  std::vector<plain::textbook> books(5, plain::textbook(depth, width));
  for (std::uint32_t n = in.below(4); n != 0; --n) {
    const std::uint32_t index = in.below(32);
    const std::uint32_t count = in.number();
    fuzz::put_word({&control[0], 640}, 96 + index, count);
  }
  for (std::uint32_t i = 0; i < 32; ++i) books[4].add(i, fuzz::word_at(control.plain(), 96 + i));
  for (std::size_t s = 0; s < ring.plain().size() / 64; ++s) {
    const std::array<std::uint32_t, 3> words{in.number(), in.number(), in.number()};
    for (std::size_t i = 0; i < 3; ++i) fuzz::put_word({&ring[64 * s], 12}, i, words[i]);
    const bool active = words[0] == 1 || words[0] == 2 || (words[0] >= 4 && words[0] <= 6);
    books[0].add(words[1], 1);
    if (active) books[1].add(words[1], 1);
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
  fuzz::check(books[0].is(sketch.ring_opcode()) && books[1].is(sketch.active_opcode()) &&
                  books[2].is(sketch.tenant()) && books[3].is(sketch.status()) &&
                  books[4].is(sketch.dispatch_metrics()),
              "sketches of a ring are those of its slots, one by one");
  const auto bytes = mk::write_sketch(sketch).value();
  auto back = mk::read_telemetry_sketch({bytes.data(), bytes.size()}).value();
  fuzz::check(back == sketch, "what is written reads back");
  fuzz::check(back.merge(sketch).has_value() && back.total_slots() == 2 * sketch.total_slots() &&
                  back.active_slots() == 2 * sketch.active_slots(),
              "two of a kind are twice as much");
  fuzz::check(back.copy().value() == back, "a copy is equal");
  back.clear();
  fuzz::check(back.total_slots() == 0 && back.shape() == sketch.shape(),
              "clearing keeps the shape");
  fuzz::refused_as(back.merge(mk::telemetry_sketch::of_shape(depth + 1, width).value()),
                   "sketch_shape_mismatch");
  fuzz::refused_as(mk::telemetry_sketch().assign(decoded), "sketch_dim_zero");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  fuzz::input in(data, size);
  const u64 depth = in.below(6) + 1;
  const u64 width = in.below(40) + 1;
  pair one(depth, width);
  pair other(depth, width);
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
        one.book = plain::textbook(one.book.depth, one.book.width);
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
        telemetry(in, one);
        break;
      default:
        add(one, in);
    }
    one.check();
  }
  return 0;
}
