// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Sketches against a textbook one, and their laws.
#include <rapidcheck.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <expected>
#include <limits>
#include <map>
#include <numbers>
#include <span>
#include <utility>
#include <vector>

#include "sketch_support.h"

import megakernel;

namespace {

using namespace props;
using namespace props::sketch;
namespace mk = megakernel;

bool modulo() {
  return rc::check("a bucket is what the division gives", [] {
    prng d(*uniform<u64>());
    for (int i = 0; i < 2000; ++i) {
      u64 width = d.one_in(2) ? d.next() >> d.below(64) : u64{1} << d.below(64);
      if (d.one_in(2)) width += d.below(5) - u64{2};
      if (width == 0) width = 1;
      u64 x = d.next() >> d.below(64);
      if (d.one_in(2)) x = x / width * width + d.below(3) - u64{1};
      if (d.one_in(8)) x = most - d.below(3);
      RC_ASSERT(mk::detail::modulus(width)(x) == x % width);
    }
    const auto shape = *any_sketch_shape();
    const auto sketch = sketch_of(shape, {});
    const textbook wanted(shape.depth, shape.width);
    for (u64 row = 0; row < shape.depth; ++row) {
      const u32 key = d.word();
      RC_ASSERT(row * shape.width + sketch.bucket(row, key) == wanted.at(row, key));
    }
  });
}

bool adds() {
  return rc::check("adds are the textbook's; a refused one changes nothing", [] {
    const auto shape = *any_sketch_shape();
    const auto entries = *any_entries(any_amount());
    auto sketch = must(mk::count_min_sketch::of_shape(shape.depth, shape.width));
    textbook wanted(shape.depth, shape.width);
    for (const entry& e : entries) {
      const auto got = sketch.add(e.key, e.amount);
      RC_ASSERT(got.has_value() == wanted.add(e.key, e.amount));
      if (!got) RC_ASSERT((got.error().code == code::sketch_counter_overflow));
      RC_ASSERT(wanted.is(sketch));
    }
    for (const entry& e : entries) RC_ASSERT(sketch.estimate(e.key) == wanted.estimate(e.key));
    RC_ASSERT(sketch.estimate(12345) == wanted.estimate(12345));
    sketch.clear();
    RC_ASSERT(textbook(shape.depth, shape.width).is(sketch));
    RC_ASSERT(sketch.add(1, most).has_value());
    RC_ASSERT((failed(sketch.add(1, 1), code::sketch_counter_overflow)));
    RC_ASSERT(sketch.estimate(1) == most);
  });
}

bool never_under() {
  return rc::check("an estimate is never below the count", [] {
    const auto entries = *any_entries(between<u64>(0, u64{1} << 50));
    const auto sketch = sketch_of(*any_sketch_shape(), entries);
    std::map<u32, u64> counts;
    u64 total = 0;
    for (const entry& e : entries) {
      counts[e.key] += e.amount;
      total += e.amount;
    }
    for (const auto& [key, count] : counts) RC_ASSERT(sketch.estimate(key) >= count);
    RC_ASSERT(sketch.total() == total);
  });
}

bool merges() {
  return rc::check("merging commutes, associates and equals the sketch of all", [] {
    const auto shape = *any_sketch_shape();
    const auto amounts = between<u64>(0, u64{1} << 50);
    const auto a = *any_entries(amounts);
    const auto b = *any_entries(amounts);
    const auto c = *any_entries(amounts);
    auto all = a;
    all.insert(all.end(), b.begin(), b.end());
    all.insert(all.end(), c.begin(), c.end());
    auto left = sketch_of(shape, a);  // (a + b) + c
    must(left.merge(sketch_of(shape, b)));
    must(left.merge(sketch_of(shape, c)));
    auto right = sketch_of(shape, c);  // (c + b) + a
    must(right.merge(sketch_of(shape, b)));
    must(right.merge(sketch_of(shape, a)));
    auto bc = sketch_of(shape, b);
    must(bc.merge(sketch_of(shape, c)));
    auto nested = sketch_of(shape, a);  // a + (b + c)
    must(nested.merge(bc));
    const auto whole = sketch_of(shape, all);
    RC_ASSERT((left == whole && right == whole && nested == whole));
    RC_ASSERT((left.total() == whole.total() && nested.total() == whole.total()));
    auto twice = must(whole.copy());
    must(twice.merge(twice));
    for (const entry& e : all) RC_ASSERT(twice.estimate(e.key) == 2 * whole.estimate(e.key));
  });
}

bool refused_merges() {
  return rc::check("a refused merge changes nothing, and the edge is exact", [] {
    const auto shape = *any_sketch_shape();
    const u32 key = *any_word();
    const u64 amount = *rc::gen::suchThat(any_amount(), [](u64 a) { return a != 0; });
    auto sketch = sketch_of(shape, {{key, most - amount}});
    const auto before = must(sketch.copy());
    if (amount != most) {
      const auto over = sketch_of(shape, {{key, amount + 1}});
      RC_ASSERT((failed(sketch.merge(over), code::sketch_merge_overflow)));
      RC_ASSERT(sketch == before);
      RC_ASSERT(sketch.total() == before.total());
    }
    const auto other = sketch_of({shape.depth + 1, shape.width}, {});
    RC_ASSERT((failed(sketch.merge(other), code::sketch_shape_mismatch)));
    const auto wider = sketch_of({shape.depth, shape.width + 1}, {});
    RC_ASSERT((failed(sketch.merge(wider), code::sketch_shape_mismatch)));
    RC_ASSERT(sketch == before);
    must(sketch.merge(sketch_of(shape, {{key, amount}})));
    RC_ASSERT(sketch.estimate(key) == most);
    // Merging without overflow of a counter while the total overflows.
    if (shape.width > 100) {
      const u32 far = key + 1;
      must(sketch.add(far, 0));
      if (sketch.estimate(far) == 0) {
        auto wide = sketch_of(shape, {{far, most}});
        bool apart = true;
        for (u64 r = 0; r < shape.depth; ++r)
          apart &= sketch.bucket(r, far) != sketch.bucket(r, key);
        if (apart) {
          must(wide.merge(sketch));
          RC_ASSERT(wide.estimate(far) == most);
          RC_ASSERT(wide.total() == most);
          must(wide.add(key, 0));
          RC_ASSERT((failed(wide.add(key, 1), code::sketch_counter_overflow)));
        }
      }
    }
  });
}

bool shapes() {
  return rc::check("a refused shape leaves the sketch as it was; what was moved from refuses", [] {
    const auto shape = *any_sketch_shape();
    const auto entries = *any_entries(between<u64>(0, 9));
    auto sketch = sketch_of(shape, entries);
    const auto before = must(sketch.copy());
    const auto refuse = [&](u64 depth, u64 width, code wanted) {
      RC_ASSERT((failed(sketch.reset_shape(depth, width), wanted)));
      RC_ASSERT((failed(mk::count_min_sketch::of_shape(depth, width), wanted)));
      RC_ASSERT((failed(mk::telemetry_sketch::of_shape(depth, width), wanted)));
      RC_ASSERT(sketch == before);
    };
    refuse(0, shape.width, code::sketch_dim_zero);
    refuse(shape.depth, 0, code::sketch_dim_zero);
    refuse(0, 0, code::sketch_dim_zero);
    refuse(u64{1} << 63, 2, code::sketch_dim_overflow);
    refuse(most, 3, code::sketch_dim_overflow);
    refuse(most, 1, code::out_of_memory);
    refuse(u64{1} << 60, 2, code::out_of_memory);
    const u64* const storage = sketch.counters().data();
    must(sketch.reset_shape(shape.depth, shape.width));
    RC_ASSERT(sketch.counters().data() == storage);
    RC_ASSERT(textbook(shape.depth, shape.width).is(sketch));

    auto moved = std::move(sketch);
    RC_ASSERT((moved.shape() == shape));
    RC_ASSERT((sketch.shape() == mk::sketch_shape{} && sketch.total() == 0));  // NOLINT: on purpose
    RC_ASSERT(sketch.estimate(1) == 0u);
    RC_ASSERT(sketch.add(1, 0).has_value());
    RC_ASSERT((failed(sketch.add(1, 1), code::sketch_dim_zero)));
    RC_ASSERT((failed(sketch.merge(moved), code::sketch_shape_mismatch)));
    RC_ASSERT((failed(mk::write_sketch(sketch), code::sketch_dim_zero)));
    must(sketch.assign(before));
    RC_ASSERT(sketch == before);
    moved = std::move(sketch);
    RC_ASSERT(moved == before);
  });
}

bool accuracy() {
  return rc::check("shape_for is the inverse of the bounds", [] {
    prng d(*uniform<u64>());
    const mk::sketch_shape shape{1 + d.below(700), 1 + (d.next() >> (12 + d.below(50)))};
    const auto again = must(mk::shape_for(shape.epsilon(), shape.delta()));
    RC_ASSERT((again == shape));
    const double epsilon = std::ldexp(static_cast<double>(1 + d.below(1000)), -10);
    const double delta = std::ldexp(static_cast<double>(1 + d.below(1000)), -10);
    const auto wanted = must(mk::shape_for(epsilon, delta));
    RC_ASSERT(wanted.epsilon() <= epsilon);
    RC_ASSERT(wanted.delta() <= delta);
    // What a quotient or a logarithm rounds to allows is not always accurate enough.
    const double rows = static_cast<double>(1 + d.below(700));
    const double columns = static_cast<double>(1 + d.below(5'000));
    for (const auto& [a, b] :
         {std::pair{std::numbers::e / columns, std::exp(-rows)},
          {std::nextafter(std::numbers::e / columns, 0.0), std::nextafter(std::exp(-rows), 0.0)}}) {
      const auto close = must(mk::shape_for(a, b));
      RC_ASSERT((close.epsilon() <= a && close.delta() <= b));
      RC_ASSERT((close.width == 1 || mk::sketch_shape{1, close.width - 1}.epsilon() > a));
      RC_ASSERT((close.depth == 1 || mk::sketch_shape{close.depth - 1, 1}.delta() > b));
    }
    constexpr double inf = std::numeric_limits<double>::infinity();
    constexpr double nan = std::numeric_limits<double>::quiet_NaN();
    for (const double bad : {0.0, -1.0, inf, -inf, nan})
      RC_ASSERT((failed(mk::shape_for(bad, 0.5), code::sketch_accuracy_invalid)));
    for (const double bad : {0.0, 1.0, -1.0, 2.0, inf, nan})
      RC_ASSERT((failed(mk::shape_for(0.5, bad), code::sketch_accuracy_invalid)));
    for (const double tiny : {1e-17, 1e-300, 5e-324})
      RC_ASSERT((failed(mk::shape_for(tiny, 0.5), code::sketch_dim_overflow)));
    RC_ASSERT(must(mk::shape_for(0.5, 5e-324)).depth > 700u);
    RC_ASSERT((must(mk::shape_for(1e300, 0.999)) == mk::sketch_shape{1, 1}));
  });
}

void expect_slot_by_slot(const mk::telemetry_sketch& got, const mk::ring_telemetry& ring) {
  const auto shape = got.shape();
  std::vector<textbook> wanted(5, textbook(shape.depth, shape.width));
  u64 active = 0;
  for (const auto& slot : ring.slots()) {
    wanted[0].add(mk::word(slot.op), 1);
    if (is_active(slot.status)) wanted[1].add(mk::word(slot.op), 1);
    active += is_active(slot.status);
    wanted[2].add(slot.tenant, 1);
    wanted[3].add(mk::word(slot.status), 1);
  }
  for (const auto metric : ring.control().metrics()) wanted[4].add(metric.index, metric.count);
  RC_ASSERT(wanted[0].is(got.ring_opcode()));
  RC_ASSERT(wanted[1].is(got.active_opcode()));
  RC_ASSERT(wanted[2].is(got.tenant()));
  RC_ASSERT(wanted[3].is(got.status()));
  RC_ASSERT(wanted[4].is(got.dispatch_metrics()));
  RC_ASSERT(got.total_slots() == ring.slots().size());
  RC_ASSERT(got.active_slots() == active);
}

bool telemetry() {
  return rc::check("a telemetry sketch is that of adding slot by slot, and merges", [] {
    prng d(*uniform<u64>());
    const auto shape = *any_sketch_shape();
    auto sketch = must(mk::telemetry_sketch::of_shape(shape.depth, shape.width));
    auto sum = must(mk::telemetry_sketch::of_shape(shape.depth, shape.width));
    u64 slots = 0;
    for (int i = 0; i < 2; ++i) {
      const auto ring = some_ring(d);
      must(sketch.assign(ring));
      expect_slot_by_slot(sketch, ring);
      must(sum.merge(sketch));
      slots += ring.slots().size();
    }
    RC_ASSERT(sum.total_slots() == slots);
    auto snapshot = must(sum.copy());
    RC_ASSERT(snapshot == sum);
    const auto moved = std::move(sum);
    RC_ASSERT(moved == snapshot);
    RC_ASSERT(
        (failed(sum.assign(mk::ring_telemetry()), code::sketch_dim_zero)));  // NOLINT: on purpose
    RC_ASSERT((failed(snapshot.merge(sum), code::sketch_shape_mismatch)));
    must(snapshot.merge(snapshot));
    RC_ASSERT(snapshot.total_slots() == 2 * slots);
    must(snapshot.reset_shape(shape.depth + 1, shape.width));
    RC_ASSERT((snapshot.total_slots() == 0 && snapshot.shape().depth == shape.depth + 1));
  });
}

bool doubling() {
  return rc::check("a telemetry merge stops before the slots overflow, with nothing changed", [] {
    prng d(*uniform<u64>());
    auto sketch = must(mk::telemetry_sketch::of_shape(2, *rc::gen::element<u64>(1, 1000)));
    mk::ring_telemetry ring = some_ring(d);
    RC_PRE(!ring.slots().empty());
    must(sketch.assign(ring));
    for (;;) {
      const auto before = must(sketch.copy());
      const auto merged = sketch.merge(sketch);
      if (merged) continue;
      RC_ASSERT((failed(merged, code::sketch_merge_overflow)));
      RC_ASSERT(sketch == before);
      break;
    }
    const auto bytes = must(mk::write_sketch(sketch));
    RC_ASSERT(must(mk::read_telemetry_sketch({bytes.data(), bytes.size()})) == sketch);
  });
}

bool hitters() {
  return rc::check("heavy hitters are the largest candidates", [] {
    const auto entries = *any_entries(between<u64>(0, 50));
    const auto sketch = sketch_of(*any_sketch_shape(), entries);
    std::vector<u32> candidates;
    for (const entry& e : entries) candidates.push_back(e.key);
    candidates.push_back(77);
    std::vector<mk::heavy_hitter> storage(*between<std::size_t>(0, 12));
    const auto top = mk::heavy_hitters(sketch, candidates, storage);
    std::ranges::sort(candidates);
    candidates.erase(std::unique(candidates.begin(), candidates.end()), candidates.end());
    std::ranges::sort(candidates, {},
                      [&](u32 key) { return std::pair(~sketch.estimate(key), key); });
    std::erase_if(candidates, [&](u32 key) { return sketch.estimate(key) == 0; });
    candidates.resize(std::min(candidates.size(), storage.size()));
    RC_ASSERT(top.size() == candidates.size());
    for (std::size_t i = 0; i < top.size(); ++i) {
      RC_ASSERT(top[i].key == candidates[i]);
      RC_ASSERT(top[i].estimate == sketch.estimate(candidates[i]));
      RC_ASSERT(top[i].at_least <= top[i].estimate);
    }
  });
}

}  // namespace

int main() {
  bool ok = true;
  ok &= modulo();
  ok &= adds();
  ok &= never_under();
  ok &= merges();
  ok &= refused_merges();
  ok &= shapes();
  ok &= accuracy();
  ok &= telemetry();
  ok &= doubling();
  ok &= hitters();
  return ok ? 0 : 1;
}
