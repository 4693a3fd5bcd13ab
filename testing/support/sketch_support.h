// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// What the properties of sketches share: a textbook sketch, and shapes, entries and rings to fill
// one with. Include it after all other headers: it imports the library.
#pragma once

#include <rapidcheck.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <expected>
#include <limits>
#include <ostream>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "oracle_sketch.h"
#include "support.h"

import megakernel;

namespace megakernel {
inline void showValue(const sketch_shape& s, std::ostream& out) {
  out << s.depth << " x " << s.width;
}
}  // namespace megakernel

namespace props::sketch {

namespace mk = megakernel;
using code = mk::error_code;
using u64 = std::uint64_t;
using u32 = std::uint32_t;

inline constexpr u64 most = std::numeric_limits<u64>::max();

template <class T>
bool failed(const mk::result<T>& got, code wanted) {
  return !got && got.error().code == wanted;
}

template <class T>
T must(mk::result<T> got) {
  if (!got) RC_FAIL(std::string(got.error().message().text()));
  return std::move(*got);
}
inline void must(const mk::result<void>& got) {
  if (!got) RC_FAIL(std::string(got.error().message().text()));
}

using oracle::textbook;

struct entry {
  u32 key;
  u64 amount;
};

inline void showValue(const entry& e, std::ostream& out) { out << e.key << " x " << e.amount; }

inline rc::Gen<mk::sketch_shape> any_sketch_shape() {
  using rc::gen::element;
  return rc::gen::build<mk::sketch_shape>(
      rc::gen::set(&mk::sketch_shape::depth, element<u64>(1, 2, 3, 4, 5, 8, 11)),
      rc::gen::set(&mk::sketch_shape::width, element<u64>(1, 2, 3, 4, 5, 7, 8, 16, 17, 257, 1000)));
}

inline rc::Gen<u64> any_amount() {
  return rc::gen::weightedOneOf<u64>(
      {{6, between<u64>(0, 5)},
       {2, uniform<u64>()},
       {2, rc::gen::element<u64>(u64{most}, most - 1, most - 3, most / 2, most / 2 + 1)}});
}

inline rc::Gen<std::vector<entry>> any_entries(rc::Gen<u64> amounts) {
  return rc::gen::container<std::vector<entry>>(rc::gen::build<entry>(
      rc::gen::set(&entry::key, any_word()), rc::gen::set(&entry::amount, std::move(amounts))));
}

inline mk::count_min_sketch sketch_of(mk::sketch_shape shape, const std::vector<entry>& entries) {
  auto sketch = must(mk::count_min_sketch::of_shape(shape.depth, shape.width));
  for (const entry& e : entries) must(sketch.add(e.key, e.amount));
  return sketch;
}

/// Rings whose keys repeat much, little, or only for a while.
inline mk::ring_telemetry some_ring(prng& d) {
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

}  // namespace props::sketch
