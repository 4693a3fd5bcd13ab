// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Where the library allocates, and what happens when it cannot: a value, no leak, and an object
// that still works. Everywhere else it does not allocate at all.
#include <rapidcheck.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <expected>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "counting_heap.h"
#include "rings.h"
#include "support.h"

import megakernel;

namespace {

using namespace props;
namespace mk = megakernel;

std::span<const std::byte> view(const bytes& b) { return std::as_bytes(std::span(b)); }

std::vector<mk::opcode> opcodes(const std::vector<std::uint32_t>& raw) {
  std::vector<mk::opcode> out;
  for (const std::uint32_t op : raw) out.push_back(mk::opcode{op});
  return out;
}

/// A drawn ring, and its window list prepared.
struct prepared_ring {
  built_ring made;
  mk::window_opcodes windows;
};

prepared_ring some_ring(rc::Gen<std::uint32_t> slots) {
  prepared_ring out{build(*any_shape(std::move(slots))), {}};
  auto of = mk::window_opcodes::of(opcodes(out.made.windows));
  expect(of.has_value());
  out.windows = std::move(*of);
  return out;
}

/// How many allocations `call` makes.
template <class Call>
std::uint64_t allocations_of(Call&& call) {
  const std::uint64_t before = heap::state.allocations;
  call();
  return heap::state.allocations - before;
}

/// How many allocations a decoder makes that decodes `again` after `first`, with errors between.
template <class Decoder>
std::uint64_t allocations_after(const prepared_ring& ring, std::size_t first, std::size_t again) {
  const auto control = view(ring.made.control);
  const auto whole = view(ring.made.ring);
  Decoder decoder;
  expect(decoder.decode(control, whole.first(first), ring.windows).has_value());
  bool ok = true;
  const auto made = allocations_of([&] {
    for (int i = 0; i < 3; ++i) {
      ok &= decoder.decode(control, whole.first(again), ring.windows).has_value();
      ok &= decoder.decode(control, whole.first(again)).has_value();
      ok &= !decoder.decode(control.first(9), whole).has_value();
    }
  });
  expect(ok);
  return made;
}

bool same_ring() {
  return rc::check("decoding a ring again allocates nothing", [] {
    const auto ring = some_ring(between<std::uint32_t>(0, 300));
    const std::size_t size = ring.made.ring.size();
    expect(allocations_after<mk::ring_telemetry>(ring, size, size) == 0);
    expect(allocations_after<mk::ring_summary>(ring, size, size) == 0);
  });
}

bool smaller_ring() {
  return rc::check("decoding less of a ring allocates nothing", [] {
    const auto ring = some_ring(between<std::uint32_t>(0, 300));
    const std::size_t size = ring.made.ring.size();
    const std::size_t less = *between<std::size_t>(0, size / 64) * 64;
    expect(allocations_after<mk::ring_telemetry>(ring, size, less) == 0);
    expect(allocations_after<mk::ring_summary>(ring, size, less) == 0);
  });
}

bool in_turns() {
  return rc::check("decoding rings in turns allocates nothing after the first turn", [] {
    std::vector<prepared_ring> rings;
    for (int i = 0; i < 3; ++i) rings.push_back(some_ring(between<std::uint32_t>(0, 200)));
    mk::ring_telemetry telemetry;
    mk::ring_summary summary;
    bool ok = true;
    const auto turn = [&] {
      for (const prepared_ring& r : rings) {
        ok &= telemetry.decode(view(r.made.control), view(r.made.ring), r.windows).has_value();
        ok &= summary.decode(view(r.made.control), view(r.made.ring), r.windows).has_value();
      }
    };
    // Two turns: the halves of a sort change places, and both have to have grown.
    turn();
    turn();
    expect(allocations_of(turn) == 0);
    expect(ok);
  });
}

bool first_time() {
  return rc::check("a summary without windows never allocates, telemetry only its slots", [] {
    const auto ring = some_ring(between<std::uint32_t>(1, 200));
    mk::ring_summary summary;
    mk::ring_telemetry telemetry;
    bool ok = true;
    const auto by_summary = allocations_of(
        [&] { ok &= summary.decode(view(ring.made.control), view(ring.made.ring)).has_value(); });
    const auto by_telemetry = allocations_of(
        [&] { ok &= telemetry.decode(view(ring.made.control), view(ring.made.ring)).has_value(); });
    expect(ok);
    expect(by_summary == 0u);
    expect(by_telemetry == 1u);
  });
}

bool queries() {
  return rc::check("views, queries, counters, messages and publishing allocate nothing", [] {
    auto ring = some_ring(between<std::uint32_t>(0, 100));
    mk::ring_telemetry telemetry;
    expect(
        telemetry.decode(view(ring.made.control), view(ring.made.ring), ring.windows).has_value());
    std::vector<std::uint32_t> words(16 * 8);
    const std::array<mk::packed_op, 2> inner{};
    const std::array<mk::work_item, 3> items{};
    const std::array<mk::batch_item, 2> batch{};
    std::uint64_t seen = 0;
    const auto made = allocations_of([&] {
      const auto over = mk::ring_view::over(view(ring.made.control), view(ring.made.ring));
      for (const auto& slot : over->active(mk::opcode::nop)) seen += slot.index;
      for (const auto& slot : telemetry.active(mk::opcode::nop)) seen += slot.index;
      for (const auto& w : telemetry.summary().active_windows()) seen += w.ticket;
      seen += telemetry.summary().counters().queue_depth;
      for (const auto& m : over->control().metrics()) seen += m.count;
      seen += mk::recover_debug_log(view(ring.made.ring)).dropped;
      seen += mk::read_done_slots(view(ring.made.ring), 1).value_or(0);
      auto publisher = mk::ring_publisher::over(writable(words));
      seen += publisher->publish_packed(0, {.ops = inner}).has_value();
      seen += publisher->publish_batch(1, 0, batch, 0).value_or(0);
      seen += publisher->publish_work_items(4, 0, items).value_or(0);
      const auto refusal = publisher->publish(99, {});
      seen += refusal.error().message().text().size();
    });
    expect(seen > 0u);
    expect(made == 0u);
  });
}

/// Runs `attempt` with its first, second, ... allocation failing until it no longer fails. It must
/// say `out_of_memory` each time, whether only that allocation fails or all after it too, and leave
/// no block behind; and it must succeed right afterwards. Returns how many allocations can fail.
template <class Attempt>
std::uint64_t fails_cleanly(Attempt attempt) {
  for (std::uint64_t nth = 0;; ++nth) {
    for (const bool from_then_on : {false, true}) {
      const std::int64_t live = heap::state.live;
      mk::error_code code{};
      std::uint64_t tried = 0;
      {
        const heap::tripwire trip(nth, from_then_on);
        const std::uint64_t before = heap::state.allocations;
        code = attempt();
        tried = heap::state.allocations - before;
      }
      expect(heap::state.live == live);
      if (tried <= nth) {
        expect((code == mk::error_code{}));
        return nth;
      }
      expect((code == mk::error_code::out_of_memory));
      expect(tried == nth + 1);
      expect((attempt() == mk::error_code{}));
    }
  }
}

bool encoders() {
  return rc::check("an encoder without memory says so", [] {
    const auto slots = *between<std::uint32_t>(1, 64);
    const std::array<mk::work_item, 1> items{};
    const auto listed =
        opcodes(*rc::gen::nonEmpty(rc::gen::container<std::vector<std::uint32_t>>(any_word())));
    expect(fails_cleanly([] { return code_of(mk::encode_control({})); }) == 1u);
    expect(fails_cleanly([=] { return code_of(mk::encode_ring(slots)); }) == 1u);
    expect(fails_cleanly([=] { return code_of(mk::encode_debug_log(slots)); }) == 1u);
    expect(fails_cleanly([=] { return code_of(mk::encode_io_queue(slots)); }) == 1u);
    expect(fails_cleanly([&] { return code_of(mk::encode_work_items(slots, 0, items)); }) == 1u);
    expect(fails_cleanly([&] { return code_of(mk::window_opcodes::of(listed)); }) == 3u);
    const auto refused_bytes = [&] {
      const heap::tripwire trip(0);
      return mk::encode_ring(slots);
    }();
    expect(refused(refused_bytes, mk::error{.code = mk::error_code::out_of_memory,
                                            .found = std::uint64_t{slots} * 64,
                                            .bound = 1}));
  });
}

bool is_empty(const mk::ring_summary& s) {
  return s.control() == mk::control_snapshot{} && s.occupancy() == mk::ring_occupancy{} &&
         s.windows().empty();
}
bool is_empty(const mk::ring_telemetry& t) { return is_empty(t.summary()) && t.slots().empty(); }

bool same(const mk::ring_summary& a, const mk::ring_summary& b) {
  return a.control() == b.control() && a.occupancy() == b.occupancy() &&
         std::ranges::equal(a.windows(), b.windows());
}
bool same(const mk::ring_telemetry& a, const mk::ring_telemetry& b) {
  return same(a.summary(), b.summary()) && std::ranges::equal(a.slots(), b.slots());
}

/// Decodes `small`, then `large` with its nth allocation failing, for every n.
template <class Decoder>
void expect_clean_failures(const prepared_ring& small, const prepared_ring& large) {
  Decoder wanted;
  expect(wanted.decode(view(large.made.control), view(large.made.ring), large.windows).has_value());
  for (const bool from_then_on : {false, true}) {
    for (std::uint64_t nth = 0;; ++nth) {
      const std::int64_t live = heap::state.live;
      {
        Decoder decoder;
        expect(decoder.decode(view(small.made.control), view(small.made.ring), small.windows)
                   .has_value());
        mk::result<void> got;
        std::uint64_t tried = 0;
        {
          const heap::tripwire trip(nth, from_then_on);
          tried = allocations_of([&] {
            got = decoder.decode(view(large.made.control), view(large.made.ring), large.windows);
          });
        }
        if (tried <= nth) {
          expect(got.has_value());
          expect(same(decoder, wanted));
          break;
        }
        expect((code_of(got) == mk::error_code::out_of_memory));
        expect(is_empty(decoder));
        expect(decoder.decode(view(small.made.control), view(small.made.ring), small.windows)
                   .has_value());
        expect(decoder.decode(view(large.made.control), view(large.made.ring), large.windows)
                   .has_value());
        expect(same(decoder, wanted));
      }
      expect(heap::state.live == live);
    }
  }
}

bool decoders() {
  return rc::check("a decode without memory leaves an empty object that still works", [] {
    const auto small = some_ring(between<std::uint32_t>(0, 20));
    const auto large = some_ring(between<std::uint32_t>(20, 400));
    expect_clean_failures<mk::ring_telemetry>(small, large);
    expect_clean_failures<mk::ring_summary>(small, large);
  });
}

bool trackers() {
  return rc::check("a tracker allocates at its first look only, and survives not being able", [] {
    const auto ring = some_ring(between<std::uint32_t>(1, 200));
    mk::ring_telemetry telemetry;
    expect(telemetry.decode(view(ring.made.control), view(ring.made.ring)).has_value());
    const auto observe = [&](mk::health_tracker& tracker, std::int64_t at) {
      return tracker.observe(telemetry, std::chrono::nanoseconds(at));
    };
    mk::health_tracker wanted;
    expect(observe(wanted, 1).has_value());
    const auto second = observe(wanted, 2);
    expect(second.has_value());

    const std::int64_t live = heap::state.live;
    std::uint64_t nth = 0;
    for (bool failed = true; failed; ++nth) {
      mk::health_tracker tracker;
      mk::error_code code{};
      {
        const heap::tripwire trip(nth);
        code = code_of(observe(tracker, 5));
      }
      failed = code != mk::error_code{};
      if (failed) {
        expect((code == mk::error_code::out_of_memory));
        const auto first = observe(tracker, 1);  // no sample came before it
        expect(first.has_value());
        expect((first->state == mk::kernel_state::watching));
      }
      mk::result<mk::health_report> again;
      expect(allocations_of([&] { again = observe(tracker, 7); }) == 0u);
      expect(again.has_value());
      expect((again->state == second->state && again->done == second->done &&
              again->stuck_slots == second->stuck_slots));
    }
    expect(nth == 3u);
    expect(heap::state.live == live);
  });
}

bool arrays() {
  return rc::check(
      "an aligned array keeps its contents, its size and its capacity as promised", [] {
        struct step {
          unsigned what;
          std::size_t count;
          bool fail;
        };
        prng d(*uniform<std::uint64_t>());
        const auto steps = *between<std::size_t>(1, 40);
        const std::int64_t live = heap::state.live;
        {
          mk::aligned_array<std::uint32_t> array;
          std::vector<std::optional<std::uint32_t>> wanted;  // no value: unspecified
          for (std::size_t i = 0; i < steps; ++i) {
            const step s{d.below(6), d.below(40), d.one_in(4)};
            const std::size_t capacity = array.capacity();
            const std::size_t size = array.size();
            mk::result<void> got;
            {
              const heap::tripwire trip(s.fail ? 0 : heap::never);
              if (s.what < 2) got = array.resize_for_overwrite(s.count);
              if (s.what == 2) got = array.reserve(s.count);
            }
            const bool grows = s.what <= 2 && s.count > capacity;
            expect(got.has_value() == !(grows && s.fail));
            if (s.what <= 2 && !got) {
              expect((code_of(got) == mk::error_code::out_of_memory));
              expect(array.size() == size);
              expect(array.capacity() == capacity);
            } else if (s.what < 2) {
              if (grows) wanted.assign(s.count, std::nullopt);
              wanted.resize(s.count);
              expect(array.capacity() == (grows ? s.count : capacity));
            } else if (s.what == 2) {
              expect(array.capacity() == (grows ? std::max(s.count, capacity * 2) : capacity));
            } else if (s.what == 3) {
              for (std::size_t e = 0; e < array.size(); ++e)
                array[e] = *(wanted[e] = static_cast<std::uint32_t>(d.next()));
            } else if (s.what == 4) {
              array.fill_zero();
              std::ranges::fill(wanted, 0u);
            } else {
              auto moved = std::move(array);
              expect((moved.size() == size && moved.capacity() == capacity));
              expect((array.empty() && array.capacity() == 0 && array.data() == nullptr));
              mk::aligned_array<std::uint32_t> other;
              expect(other.resize_for_overwrite(3).has_value());
              other = std::move(moved);
              array = std::move(other);
              expect((other.empty() && other.capacity() == 0 && other.data() == nullptr));
            }
            expect(array.size() == wanted.size());
            expect(array.empty() == wanted.empty());
            expect(array.end() - array.begin() == static_cast<std::ptrdiff_t>(wanted.size()));
            expect(reinterpret_cast<std::uintptr_t>(array.data()) % 64 == 0u);
            for (std::size_t e = 0; e < wanted.size(); ++e)
              if (wanted[e]) expect(array[e] == *wanted[e]);
          }
          array.clear();
          expect(array.empty());
          expect((code_of(array.resize_for_overwrite(~std::size_t{0} / 4)) ==
                  mk::error_code::out_of_memory));
        }
        expect(heap::state.live == live);
      });
}

}  // namespace

int main() {
  bool ok = true;
  ok &= same_ring();
  ok &= smaller_ring();
  ok &= in_turns();
  ok &= first_time();
  ok &= queries();
  ok &= encoders();
  ok &= decoders();
  ok &= trackers();
  ok &= arrays();
  return ok ? 0 : 1;
}
