// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// What sketches allocate, and what they do without memory.
#include <rapidcheck.h>

#include <cstddef>
#include <cstdint>
#include <expected>
#include <span>

#include "counting_heap.h"

#include "sketch_support.h"

import megakernel;

namespace {

using namespace props;
using namespace props::sketch;
namespace mk = megakernel;

bool steady() {
  return rc::check("assigning, adding, merging and clearing allocate nothing the second time", [] {
    prng d(*uniform<u64>());
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

bool without_memory() {
  return rc::check("without memory each call says so, leaks nothing and changes nothing", [] {
    prng d(*uniform<u64>());
    const auto ring = some_ring(d);
    auto full = must(mk::telemetry_sketch::of_shape(3, 7));
    must(full.assign(ring));
    const auto bytes = must(mk::write_sketch(full));
    const std::span<const std::byte> view{bytes.data(), bytes.size()};
    expect(fails_cleanly([] { return code_of(mk::count_min_sketch::of_shape(3, 7)); }) == 1);
    expect(fails_cleanly([] { return code_of(mk::telemetry_sketch::of_shape(3, 7)); }) == 5);
    expect(fails_cleanly([&] { return code_of(full.copy()); }) == 5);
    expect(fails_cleanly([&] { return code_of(full.tenant().copy()); }) == 1);
    expect(fails_cleanly([&] { return code_of(mk::write_sketch(full)); }) == 1);
    expect(fails_cleanly([&] { return code_of(mk::write_sketch(full.status())); }) == 1);
    expect(fails_cleanly([&] { return code_of(mk::read_telemetry_sketch(view)); }) == 5);

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
  ok &= steady();
  ok &= without_memory();
  return ok ? 0 : 1;
}
