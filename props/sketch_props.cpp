// Sketches against a textbook one, their laws, their byte form under damage, and their memory.
#include <rapidcheck.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <expected>
#include <limits>
#include <map>
#include <source_location>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "counting_heap.h"
#include "support.h"

import megakernel;

namespace {

using namespace props;
namespace mk = megakernel;
using code = mk::error_code;
using u64 = std::uint64_t;
using u32 = std::uint32_t;

constexpr u64 most = std::numeric_limits<u64>::max();

/// RC_ASSERT without its bookkeeping, which would count as blocks left behind.
void expect(bool holds, std::source_location at = std::source_location::current()) {
  if (!holds) RC_FAIL("line " + std::to_string(at.line()));
}

template <class T>
bool failed(const mk::result<T>& got, code wanted) {
  return !got && got.error().code == wanted;
}

template <class T>
T must(mk::result<T> got) {
  if (!got) RC_FAIL(std::string(got.error().message().text()));
  return std::move(*got);
}
void must(const mk::result<void>& got) {
  if (!got) RC_FAIL(std::string(got.error().message().text()));
}

/// SPEC 5 word for word.
struct textbook {
  u64 depth;
  u64 width;
  std::vector<u64> counters;
  textbook(u64 d, u64 w) : depth(d), width(w), counters(d * w) {}
  [[nodiscard]] u64 at(u64 row, u32 key) const {
    u64 x = key ^ row * 0x9E3779B97F4A7C15u;
    x += 0x9E3779B97F4A7C15u;
    x = (x ^ x >> 30) * 0xBF58476D1CE4E5B9u;
    x = (x ^ x >> 27) * 0x94D049BB133111EBu;
    return row * width + (x ^ x >> 31) % width;
  }
  bool add(u32 key, u64 amount) {
    for (u64 r = 0; r < depth; ++r)
      if (counters[at(r, key)] > most - amount) return false;
    for (u64 r = 0; r < depth; ++r) counters[at(r, key)] += amount;
    return true;
  }
  [[nodiscard]] u64 estimate(u32 key) const {
    u64 least = most;
    for (u64 r = 0; r < depth; ++r) least = std::min(least, counters[at(r, key)]);
    return least;
  }
  [[nodiscard]] bool is(const mk::count_min_sketch& sketch) const {
    return sketch.depth() == depth && sketch.width() == width &&
           std::ranges::equal(sketch.counters(), counters);
  }
};

struct entry {
  u32 key;
  u64 amount;
};

void showValue(const entry& e, std::ostream& out) { out << e.key << " x " << e.amount; }

rc::Gen<mk::sketch_shape> any_sketch_shape() {
  using rc::gen::element;
  return rc::gen::build<mk::sketch_shape>(
      rc::gen::set(&mk::sketch_shape::depth, element<u64>(1, 2, 3, 4, 5, 8, 11)),
      rc::gen::set(&mk::sketch_shape::width, element<u64>(1, 2, 3, 4, 5, 7, 8, 16, 17, 257, 1000)));
}

rc::Gen<u64> any_amount() {
  return rc::gen::weightedOneOf<u64>(
      {{6, between<u64>(0, 5)},
       {2, uniform<u64>()},
       {2, rc::gen::element<u64>(u64{most}, most - 1, most - 3, most / 2, most / 2 + 1)}});
}

rc::Gen<std::vector<entry>> any_entries(rc::Gen<u64> amounts) {
  return rc::gen::container<std::vector<entry>>(rc::gen::build<entry>(
      rc::gen::set(&entry::key, any_word()), rc::gen::set(&entry::amount, std::move(amounts))));
}

mk::count_min_sketch sketch_of(mk::sketch_shape shape, const std::vector<entry>& entries) {
  auto sketch = must(mk::count_min_sketch::of_shape(shape.depth, shape.width));
  for (const entry& e : entries) must(sketch.add(e.key, e.amount));
  return sketch;
}

}  // namespace

namespace megakernel {
void showValue(const sketch_shape& s, std::ostream& out) { out << s.depth << " x " << s.width; }
}  // namespace megakernel

namespace {

bool modulo() {
  return rc::check("a bucket is what the division gives", [] {
    dice d(*uniform<u64>());
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
    dice d(*uniform<u64>());
    const mk::sketch_shape shape{1 + d.below(700), 1 + (d.next() >> (12 + d.below(50)))};
    const auto again = must(mk::shape_for(shape.epsilon(), shape.delta()));
    RC_ASSERT((again == shape));
    const double epsilon = std::ldexp(static_cast<double>(1 + d.below(1000)), -10);
    const double delta = std::ldexp(static_cast<double>(1 + d.below(1000)), -10);
    const auto wanted = must(mk::shape_for(epsilon, delta));
    RC_ASSERT(wanted.epsilon() <= epsilon);
    RC_ASSERT(wanted.delta() <= delta);
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

/// Rings whose keys repeat much, little, or only for a while.
mk::ring_telemetry some_ring(dice& d) {
  const u32 slots = d.one_in(4) ? 2048 + d.below(200'000) : d.below(3000);
  const auto keys = [&] { return d.one_in(4) ? 0u : 1 + d.below(d.one_in(2) ? 40 : 5000); };
  std::array<u32, 3> pool{keys(), keys(), d.one_in(2) ? 9u : keys()};
  const bool changes = d.one_in(3);
  const u32 spread = d.one_in(2) ? 1 : 0x9E3779B1u;
  std::vector<u32> control(160);
  for (u32 i = 96; i < 128; ++i) control[i] = d.word();
  std::vector<u32> ring(std::size_t{slots} * 16);
  for (u32 i = 0; i < slots; ++i) {
    if (changes && i % 4096 == 0) pool = {keys(), keys(), d.one_in(2) ? 9u : keys()};
    const auto word = [&](u32 of) {
      return of == 0 ? static_cast<u32>(d.next()) : d.below(of) * spread;
    };
    ring[16 * std::size_t{i}] = pool[2] == 9 ? d.below(9) : word(pool[2]);
    ring[16 * std::size_t{i} + 1] = word(pool[0]);
    ring[16 * std::size_t{i} + 2] = word(pool[1]);
  }
  mk::ring_telemetry telemetry;
  must(telemetry.decode(std::as_bytes(std::span(control)), std::as_bytes(std::span(ring))));
  return telemetry;
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
    dice d(*uniform<u64>());
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
    RC_ASSERT((failed(sum.assign({}), code::sketch_dim_zero)));  // NOLINT: on purpose
    RC_ASSERT((failed(snapshot.merge(sum), code::sketch_shape_mismatch)));
    must(snapshot.merge(snapshot));
    RC_ASSERT(snapshot.total_slots() == 2 * slots);
    must(snapshot.reset_shape(shape.depth + 1, shape.width));
    RC_ASSERT((snapshot.total_slots() == 0 && snapshot.shape().depth == shape.depth + 1));
  });
}

bool doubling() {
  return rc::check("a telemetry merge stops before the slots overflow, with nothing changed", [] {
    dice d(*uniform<u64>());
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

// ---- bytes

u32 crc32_of(std::span<const std::byte> of) {
  u32 crc = ~0u;
  for (const std::byte b : of) {
    crc ^= std::to_integer<u32>(b);
    for (int i = 0; i < 8; ++i) crc = crc >> 1 ^ (crc & 1 ? 0xEDB88320u : 0u);
  }
  return ~crc;
}

using byte_vector = std::vector<std::byte>;

void seal(byte_vector& of) {
  const u32 crc = crc32_of(std::span(of).first(of.size() - 4));
  for (unsigned i = 0; i < 4; ++i)
    of[of.size() - 4 + i] = static_cast<std::byte>(crc >> 8 * i & 0xFF);
}

void put64(byte_vector& to, std::size_t at, u64 value) {
  for (unsigned i = 0; i < 8; ++i) to[at + i] = static_cast<std::byte>(value >> 8 * i & 0xFF);
}

byte_vector copy_of(const mk::byte_buffer& from) { return {from.begin(), from.end()}; }

mk::telemetry_sketch small_telemetry(dice& d, u64 depth, u64 width) {
  auto sketch = must(mk::telemetry_sketch::of_shape(depth, width));
  std::vector<u32> control(160);
  for (u32 i = 96; i < 128; ++i) control[i] = d.word();
  std::vector<u32> ring(std::size_t{1 + d.below(40)} * 16);
  for (u32& w : ring) w = d.below(9);
  mk::ring_telemetry telemetry;
  must(telemetry.decode(std::as_bytes(std::span(control)), std::as_bytes(std::span(ring))));
  must(sketch.assign(telemetry));
  return sketch;
}

bool round_trips() {
  return rc::check("a sketch survives its byte form, with amounts up to the edge", [] {
    const auto shape = *any_sketch_shape();
    const auto entries = *any_entries(any_amount());
    auto sketch = must(mk::count_min_sketch::of_shape(shape.depth, shape.width));
    for (const entry& e : entries) (void)sketch.add(e.key, e.amount);
    const auto written = must(mk::write_sketch(sketch));
    RC_ASSERT(written.size() == mk::sketch_bytes(shape));
    const byte_vector plain = copy_of(written);
    byte_vector shifted(plain.size() + 1);
    std::ranges::copy(plain, shifted.begin() + 1);
    auto read = must(mk::read_count_min_sketch(std::span(shifted).subspan(1)));
    RC_ASSERT(read == sketch);
    RC_ASSERT(read.total() == sketch.total());
    for (const entry& e : entries) {
      const auto here = sketch.add(e.key, e.amount);
      const auto there = read.add(e.key, e.amount);
      RC_ASSERT((here ? there.has_value() : refused(there, here.error())));
    }
    RC_ASSERT((failed(mk::read_telemetry_sketch(plain), code::sketch_kind_mismatch)));
    dice d(*uniform<u64>());
    const auto ring = small_telemetry(d, shape.depth, shape.width);
    const auto bytes = must(mk::write_sketch(ring));
    RC_ASSERT(bytes.size() == mk::telemetry_sketch_bytes(shape));
    RC_ASSERT(must(mk::read_telemetry_sketch({bytes.data(), bytes.size()})) == ring);
    RC_ASSERT((failed(mk::read_count_min_sketch({bytes.data(), bytes.size()}),
                      code::sketch_kind_mismatch)));
  });
}

bool damage() {
  return rc::check("every changed byte, every cut and every extension is refused", [] {
    dice d(*uniform<u64>());
    const u64 depth = 1 + d.below(3);
    const u64 width = 1 + d.below(4);
    const auto one = [&](byte_vector whole, auto read) {
      const u32 flip = 1 + d.below(255);
      for (std::size_t at = 0; at < whole.size(); ++at) {
        for (const u32 by : {flip, 1u, 0x80u}) {
          whole[at] ^= static_cast<std::byte>(by);
          RC_ASSERT(!read(std::span<const std::byte>(whole)).has_value());
          whole[at] ^= static_cast<std::byte>(by);
        }
      }
      for (std::size_t size = 0; size < whole.size(); ++size) {
        const byte_vector cut(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(size));
        RC_ASSERT((failed(read(std::span<const std::byte>(cut)), code::sketch_bytes_truncated)));
      }
      RC_ASSERT(read(std::span<const std::byte>(whole)).has_value());
      whole.push_back({});
      RC_ASSERT((failed(read(std::span<const std::byte>(whole)), code::sketch_bytes_trailing)));
    };
    auto sketch = must(mk::count_min_sketch::of_shape(depth, width));
    for (int i = 0; i < 5; ++i) must(sketch.add(d.word(), d.next() >> 8));
    one(copy_of(must(mk::write_sketch(sketch))), mk::read_count_min_sketch);
    one(copy_of(must(mk::write_sketch(small_telemetry(d, depth, width)))),
        mk::read_telemetry_sketch);
  });
}

bool foreign() {
  return rc::check("foreign and hostile bytes with a correct checksum are refused by name", [] {
    dice d(*uniform<u64>());
    const u64 depth = 2 + d.below(3);
    const u64 width = 2 + d.below(4);
    auto made = small_telemetry(d, depth, width);
    const byte_vector whole = copy_of(must(mk::write_sketch(made)));
    const auto refused_as = [&](code wanted, auto change) {
      byte_vector changed = whole;
      change(changed);
      seal(changed);
      const std::uint64_t before = heap::state.allocations;
      const auto read = mk::read_telemetry_sketch(changed);
      const std::uint64_t allocated = heap::state.allocations - before;
      RC_ASSERT((failed(read, wanted)));
      RC_ASSERT(allocated <= 5u);
      if (wanted != code::sketch_row_sum_mismatch) RC_ASSERT(allocated == 0u);
    };
    refused_as(code::sketch_bytes_foreign, [](byte_vector& b) { b[0] = std::byte{'m'}; });
    refused_as(code::sketch_version_unknown, [](byte_vector& b) { b[8] = std::byte{2}; });
    refused_as(code::sketch_kind_mismatch, [](byte_vector& b) { b[12] = std::byte{1}; });
    refused_as(code::sketch_kind_mismatch, [](byte_vector& b) { b[12] = std::byte{3}; });
    refused_as(code::sketch_hash_unknown, [](byte_vector& b) { b[25] = std::byte{'5'}; });
    refused_as(code::sketch_hash_unknown, [](byte_vector& b) { put64(b, 32, 1); });
    refused_as(code::sketch_dim_zero, [](byte_vector& b) { put64(b, 40, 0); });
    refused_as(code::sketch_dim_zero, [](byte_vector& b) { put64(b, 48, 0); });
    refused_as(code::sketch_dim_overflow, [](byte_vector& b) { put64(b, 40, most); });
    refused_as(code::sketch_dim_overflow, [](byte_vector& b) {
      put64(b, 40, u64{1} << 32);
      put64(b, 48, u64{1} << 32);
    });
    refused_as(code::sketch_bytes_truncated, [](byte_vector& b) {
      put64(b, 40, most);
      put64(b, 48, 1);
    });
    refused_as(code::sketch_bytes_truncated, [&](byte_vector& b) { put64(b, 40, depth + 1); });
    refused_as(code::sketch_bytes_trailing, [&](byte_vector& b) { put64(b, 48, width - 1); });
    const std::size_t one = 16 + 8 * depth * width;
    const u32 which = d.below(5);
    const u64 row = d.below(depth);
    refused_as(code::sketch_row_sum_mismatch, [&](byte_vector& b) {
      put64(b, 56 + which * one + 16 + 8 * (row * width + d.below(width)),
            d.next() >> 1 | 1u << 30);
    });
    refused_as(code::sketch_row_sum_mismatch,
               [&](byte_vector& b) { b[56 + which * one + 8] ^= std::byte{1}; });
    // Sketches that are whole each, and do not go together.
    refused_as(code::sketch_row_sum_mismatch, [&](byte_vector& b) {
      std::fill_n(b.begin() + static_cast<std::ptrdiff_t>(56 + 2 * one), one, std::byte{});
    });
    refused_as(code::sketch_row_sum_mismatch, [&](byte_vector& b) {
      put64(b, 56 + one, made.total_slots() + 1);
      for (u64 r = 0; r < depth; ++r) {
        for (u64 c = 0; c < width; ++c)
          put64(b, 56 + one + 16 + 8 * (r * width + c), c == 0 ? made.total_slots() + 1 : 0);
      }
    });
    byte_vector changed = whole;
    changed.back() ^= std::byte{1};
    RC_ASSERT((failed(mk::read_telemetry_sketch(changed), code::sketch_checksum_mismatch)));
    bytes noisy = noise(d, d.below(400));
    RC_ASSERT(!mk::read_telemetry_sketch(std::as_bytes(std::span(noisy))).has_value());
  });
}

// ---- memory

bool steady() {
  return rc::check("assigning, adding, merging and clearing allocate nothing the second time", [] {
    dice d(*uniform<u64>());
    auto sketch = must(mk::telemetry_sketch::of_shape(4, 64));
    auto other = must(mk::telemetry_sketch::of_shape(4, 64));
    const auto first = some_ring(d);
    const auto second = some_ring(d);
    must(sketch.assign(first));
    auto one = must(mk::count_min_sketch::of_shape(3, 50));
    bool ok = true;
    const u64 before = heap::state.allocations;
    ok &= sketch.assign(second).has_value();
    ok &= sketch.assign(first).has_value();
    ok &= other.merge(sketch).has_value();
    ok &= sketch.reset_shape(4, 64).has_value();
    ok &= sketch.reset_shape(3, 60).has_value();
    ok &= sketch.assign(second).has_value();
    sketch.clear();
    ok &= one.add(1, 2).has_value() && one.reset_shape(2, 60).has_value();
    ok &= one.merge(one).has_value();
    const u64 after = heap::state.allocations;
    expect(ok);
    expect(after == before);
  });
}

/// Runs `attempt` with each of its allocations failing; returns how many it has.
template <class Attempt>
u64 fails_cleanly(Attempt attempt) {
  for (u64 nth = 0;; ++nth) {
    const std::int64_t live = heap::state.live;
    code got{};
    u64 tried = 0;
    {
      const heap::tripwire trip(nth);
      const u64 before = heap::state.allocations;
      got = attempt();
      tried = heap::state.allocations - before;
    }
    expect(heap::state.live == live);
    if (tried <= nth) {
      expect(got == code{});
      return nth;
    }
    expect(got == code::out_of_memory);
  }
}

template <class T>
code code_only(const mk::result<T>& r) {
  return r ? code{} : r.error().code;
}

bool without_memory() {
  return rc::check("without memory each call says so, leaks nothing and changes nothing", [] {
    dice d(*uniform<u64>());
    const auto ring = some_ring(d);
    auto full = must(mk::telemetry_sketch::of_shape(3, 7));
    must(full.assign(ring));
    const auto bytes = must(mk::write_sketch(full));
    const std::span<const std::byte> view{bytes.data(), bytes.size()};
    expect(fails_cleanly([] { return code_only(mk::count_min_sketch::of_shape(3, 7)); }) == 1);
    expect(fails_cleanly([] { return code_only(mk::telemetry_sketch::of_shape(3, 7)); }) == 5);
    expect(fails_cleanly([&] { return code_only(full.copy()); }) == 5);
    expect(fails_cleanly([&] { return code_only(full.tenant().copy()); }) == 1);
    expect(fails_cleanly([&] { return code_only(mk::write_sketch(full)); }) == 1);
    expect(fails_cleanly([&] { return code_only(mk::write_sketch(full.status())); }) == 1);
    expect(fails_cleanly([&] { return code_only(mk::read_telemetry_sketch(view)); }) == 5);

    const auto kept = must(full.copy());
    for (u64 nth = 0; nth < 5; ++nth) {
      auto changed = must(full.copy());
      mk::result<void> got;
      {
        const heap::tripwire trip(nth);
        got = changed.reset_shape(5, 100);
      }
      expect(failed(got, code::out_of_memory));
      expect(changed == kept);
      {
        const heap::tripwire trip(0);
        got = changed.assign(ring);  // its first
      }
      expect(failed(got, code::out_of_memory));
      expect(changed == kept);
      must(changed.reset_shape(5, 100));
      must(changed.assign(ring));
      expect(changed.total_slots() == kept.total_slots());
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
  ok &= round_trips();
  ok &= damage();
  ok &= foreign();
  ok &= steady();
  ok &= without_memory();
  return ok ? 0 : 1;
}
