// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// What the target of sketches asks of the five of a ring's telemetry, and of shapes and merges of
// any. Include it after the library.
#pragma once

namespace fuzz {

namespace mk = megakernel;
using u64 = std::uint64_t;

/// Why `from` cannot be added to `to`.
inline refusal wrong_merge(const oracle::textbook& to, const oracle::textbook& from) {
  if (to.depth != from.depth) return {"sketch_shape_mismatch", 0, from.depth, to.depth};
  if (to.width != from.width) return {"sketch_shape_mismatch", 1, from.width, to.width};
  for (std::size_t i = 0; i < to.counters.size(); ++i)
    if (from.counters[i] > ~to.counters[i])
      return {"sketch_merge_overflow", i, from.counters[i], to.counters[i]};
  return {};
}

/// Why there is no sketch of that shape; none between small ones and those too large is tried.
inline refusal wrong_shape(u64 depth, u64 width) {
  if (depth == 0) return {"sketch_dim_zero", 0, depth, width};
  if (width == 0) return {"sketch_dim_zero", 1, depth, width};
  const auto counters = static_cast<unsigned __int128>(depth) * width;
  if (counters > ~u64{0}) return {"sketch_dim_overflow", ~u64{0}, depth, width};
  if (counters > 4096) return {"out_of_memory", 0, static_cast<u64>(counters), 8};
  return {};
}

inline std::array<const mk::count_min_sketch*, 5> all_of(const mk::telemetry_sketch& sketch) {
  return {&sketch.ring_opcode(), &sketch.active_opcode(), &sketch.tenant(), &sketch.status(),
          &sketch.dispatch_metrics()};
}

inline bool are(const std::vector<oracle::textbook>& books, const mk::telemetry_sketch& sketch) {
  return std::ranges::equal(books, all_of(sketch),
                            [](const auto& book, const auto* real) { return book.is(*real); });
}

/// Added to itself over and over it is refused before anything overflows, and then stays as it is.
/// `books` are all added to themselves as often.
inline void double_up(mk::telemetry_sketch& sketch, std::vector<oracle::textbook> books,
                      u64 slots) {
  u64 most = slots;
  for (const oracle::textbook& book : books) most = std::max(most, std::ranges::max(book.counters));
  int times = 0;
  for (; most >> 63 == 0; most *= 2, ++times)
    if (refused_as(sketch.merge(sketch), refusal{})) return;
  for (oracle::textbook& book : books)
    for (u64& counter : book.counters) counter <<= times;
  slots <<= times;
  // All five are looked at before the slots are.
  refusal wrong;
  for (const oracle::textbook& book : books)
    if (wrong.code.empty()) wrong = wrong_merge(book, book);
  if (wrong.code.empty()) wrong = {"sketch_merge_overflow", books[0].counters.size(), slots, slots};
  refused_as(sketch.merge(sketch), wrong);
  check(are(books, sketch) && sketch.total_slots() == slots,
        "two of a kind are twice as much, and a refused merge changes nothing");
}

/// The n-th allocation of what allocates fails, for every n.
inline void check_without_memory(const mk::telemetry_sketch& sketch) {
  const auto fails = [](unsigned nth, auto make) {
    const short_memory scarce(nth);
    const auto made = make();
    check(short_memory::ran_out() == refused(made), "no memory is a refusal");
    return !made.has_value();
  };
  const auto [depth, width] = sketch.shape();
  unsigned copying = 1, shaping = 1, reading = 1;
  while (fails(copying, [&] { return sketch.copy(); })) ++copying;
  while (fails(shaping, [&] { return mk::telemetry_sketch::of_shape(depth, width); })) ++shaping;
  const auto written = mk::write_sketch(sketch).value();
  while (
      fails(reading, [&] { return mk::read_telemetry_sketch({written.data(), written.size()}); }))
    ++reading;
  check(!heap_fails || (copying == 6 && shaping == 6 && reading == 6),
        "five sketches take five allocations");
  mk::telemetry_sketch none;
  refused_as(none.reset_shape(0, 0), refusal{"sketch_dim_zero"});
  check(none.shape() == mk::sketch_shape(), "nothing is no shape");
}

/// Other shapes, copies and moves of a telemetry sketch; it is left empty.
inline void check_life(mk::telemetry_sketch& sketch, const mk::ring_telemetry& decoded) {
  const auto shape = sketch.shape();
  const auto before = sketch.copy().value();
  check(before == sketch && before.total_slots() == sketch.total_slots() &&
            before.active_slots() == sketch.active_slots(),
        "a copy is equal");
  for (const auto& [depth, width] :
       {std::pair{u64{0}, u64{3}}, {u64{3}, u64{0}}, {~u64{0}, u64{3}}, {u64{1} << 63, u64{1}}}) {
    refused_as(sketch.reset_shape(depth, width), wrong_shape(depth, width));
    check(sketch == before, "a refused shape changes nothing");
  }
  const auto wider = mk::telemetry_sketch::of_shape(shape.depth, shape.width + 1).value();
  refused_as(sketch.merge(wider),
             refusal{"sketch_shape_mismatch", 1, shape.width + 1, shape.width});
  check(sketch == before && !(sketch == wider), "a refused merge changes nothing");
  check(sketch.assign(decoded).has_value() && sketch == before, "a ring replaces what was counted");
  const auto moved = std::move(sketch);
  check(moved == before && sketch.shape() == mk::sketch_shape(), "moving leaves no sketch");
  refused_as(sketch.assign(decoded), refusal{"sketch_dim_zero"});  // NOLINT: on purpose
  check(sketch.reset_shape(shape.depth, shape.width).has_value() &&
            sketch == mk::telemetry_sketch::of_shape(shape.depth, shape.width).value(),
        "a shape makes it an empty sketch");
  check(sketch.assign(decoded).has_value() && sketch == moved, "which counts as before");
  check(sketch.reset_shape(shape.depth, shape.width).has_value() && sketch.total_slots() == 0 &&
            sketch.active_slots() == 0 && sketch.shape() == shape,
        "the same shape empties it");
}

/// A ring of two slots, each a status, an opcode and a tenant, and a metric, as sketches.
inline mk::telemetry_sketch sketch_of(std::array<std::array<std::uint8_t, 3>, 2> slots,
                                      std::uint8_t metric) {
  block control(640);
  block ring(128);
  control[4 * 96] = metric;
  for (std::size_t s = 0; s < 2; ++s)
    for (std::size_t i = 0; i < 3; ++i) ring[64 * s + 4 * i] = slots[s][i];
  mk::ring_telemetry decoded;
  check(decoded.decode(control.view(), ring.view()).has_value(), "a ring decodes");
  auto sketch = mk::telemetry_sketch::of_shape(3, 64).value();
  check(sketch.assign(decoded).has_value(), "a ring can be counted");
  return sketch;
}

/// Telemetry sketches differ where one of the five does.
inline void check_equality() {
  const auto some = sketch_of({{{1, 10, 5}, {0, 11, 5}}}, 1);
  check(some == sketch_of({{{0, 11, 5}, {1, 10, 5}}}, 1), "the order of slots is not counted");
  check(!(some == sketch_of({{{1, 10, 5}, {0, 12, 5}}}, 1)), "another opcode");
  check(!(some == sketch_of({{{0, 10, 5}, {1, 11, 5}}}, 1)), "another active opcode");
  check(!(some == sketch_of({{{1, 10, 5}, {0, 11, 6}}}, 1)), "another tenant");
  check(!(some == sketch_of({{{1, 10, 5}, {3, 11, 5}}}, 1)), "another status");
  check(!(some == sketch_of({{{1, 10, 5}, {0, 11, 5}}}, 2)), "another metric");
}

}  // namespace fuzz
