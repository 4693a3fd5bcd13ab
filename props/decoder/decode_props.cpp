// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The decoders against the plain one: on any bytes, on rings that look real, on large ones, and
// through storage that has seen other rings.
#include <rapidcheck.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <expected>
#include <optional>
#include <ranges>
#include <span>
#include <string>
#include <vector>

#include "rings.h"

#include "oracle_terms.h"

namespace {

using namespace props;
namespace mk = megakernel;

bool active(std::uint32_t status) {
  return status == 1 || status == 2 || status == 4 || status == 5 || status == 6;
}

bool arbitrary_bytes() {
  return rc::check("any bytes decode as the plain decoder has them, or are refused alike", [] {
    const auto control_size = *rc::gen::oneOf(
        between<std::size_t>(0, 1400), rc::gen::element<std::size_t>(0, 639, 640, 641, 644, 704));
    const auto ring_size = *rc::gen::oneOf(
        between<std::size_t>(0, 1400),
        rc::gen::map(between<std::size_t>(0, 20), [](std::size_t slots) { return slots * 64; }));
    const auto offset = *between<std::size_t>(0, 7);
    prng d(*uniform<std::uint64_t>());
    const placed control(noise(d, control_size), offset);
    const placed ring(noise(d, ring_size), 7 - offset);
    decoders fresh;
    fresh.agree_with_the_oracle(control.plain(), ring.plain(), {d.word(), d.word(), 0});
  });
}

bool real_rings() {
  return rc::check("a ring decodes as the plain decoder has it, whatever its windows", [] {
    const auto shape =
        *any_shape(rc::gen::oneOf(between<std::uint32_t>(0, 40), between<std::uint32_t>(120, 300)));
    const auto offset = *between<std::size_t>(0, 7);
    const auto made = build(shape);
    const placed control(made.control, 7 - offset);
    const placed ring(made.ring, offset);
    decoders fresh;
    fresh.agree_with_the_oracle(control.plain(), ring.plain(), made.windows);
  });
}

bool one_shot() {
  return rc::check("decoding once, and decoding a view, are the same as decoding into storage", [] {
    const auto made = build(*any_shape(between<std::uint32_t>(0, 60)));
    // Now and then cut short.
    const auto size = *rc::gen::element(made.ring.size(), made.ring.size() / 2, std::size_t{63});
    const auto ring = std::as_bytes(std::span(made.ring)).first(std::min(size, made.ring.size()));
    const auto control = std::as_bytes(std::span(made.control));
    std::vector<mk::opcode> listed;
    for (const std::uint32_t window : made.windows) listed.push_back(mk::opcode{window});
    const auto opcodes = mk::window_opcodes::of(listed);
    RC_ASSERT(opcodes.has_value());
    mk::ring_telemetry kept;
    const auto stored = kept.decode(control, ring, *opcodes);
    const auto once = mk::decode(control, ring, *opcodes);
    RC_ASSERT(once.has_value() == stored.has_value());
    const auto view = mk::ring_view::over(control, ring);
    RC_ASSERT(view.has_value() == stored.has_value());
    if (!once) {
      RC_ASSERT(once.error() == stored.error());
      return;
    }
    mk::ring_telemetry viewed;
    RC_ASSERT(viewed.decode(*view, *opcodes).has_value());
    for (const mk::ring_telemetry* other :
         std::array<const mk::ring_telemetry*, 2>{&*once, &viewed}) {
      RC_ASSERT(other->summary() == kept.summary());
      RC_ASSERT(std::ranges::equal(other->slots(), kept.slots()));
    }
  });
}

bool large_rings() {
  // Other paths are taken from some sizes on: over 16,384 window slots they are sorted in wider
  // digits, over 32,768 slots their table is streamed, over about 80,000 window slots the windows
  // are. Few of the runs are that large, or the test would take minutes.
  return rc::check("a large ring decodes as the plain decoder has it", [] {
    const auto slots = *rc::gen::weightedOneOf<std::uint32_t>(
        {{60, between<std::uint32_t>(300, 900)},
         {4, between<std::uint32_t>(16'300, 20'000)},
         {1, rc::gen::element<std::uint32_t>(32'768, 32'769, 33'001)},
         {1, rc::gen::just<std::uint32_t>(100'000)}});
    auto shape = *any_shape(rc::gen::just(slots));
    if (slots > 15'000 && shape.seed % 4 != 0) shape.windows = window_list::all;
    const auto made = build(shape);
    decoders fresh;
    fresh.agree_with_the_oracle(made.control, made.ring, made.windows);
  });
}

bool reused_storage() {
  return rc::check("storage that has seen other rings and errors decodes like fresh storage", [] {
    const auto shapes = *rc::gen::container<std::vector<ring_shape>>(
        any_shape(rc::gen::oneOf(between<std::uint32_t>(0, 3), between<std::uint32_t>(0, 200))));
    const auto seed = *uniform<std::uint64_t>();
    prng d(seed);
    decoders kept;
    for (const ring_shape& shape : shapes) {
      auto made = build(shape);
      if (d.one_in(4)) made.control.resize(d.below(660));
      if (d.one_in(4)) made.ring.resize(d.below(made.ring.size() + 1));
      kept.agree_with_the_oracle(made.control, made.ring, made.windows);
    }
  });
}

bool queries() {
  return rc::check("active slots and active windows are those a filter by hand finds", [] {
    const auto shape = *any_shape(between<std::uint32_t>(0, 150));
    const auto made = build(shape);
    const auto expected = oracle::decode(made.control, made.ring, made.windows);
    const auto control = std::as_bytes(std::span(made.control));
    const auto ring = std::as_bytes(std::span(made.ring));
    mk::ring_telemetry telemetry;
    RC_ASSERT(telemetry.decode(control, ring, prepared(made.windows)).has_value());
    const auto view = mk::ring_view::over(control, ring);
    RC_ASSERT(view.has_value());

    std::vector<std::uint32_t> asked{0, 7, 8, 0xFFFFFFFFu};
    for (const oracle::slot& s : expected.slots) asked.push_back(s.opcode);
    for (const std::uint32_t op : asked) {
      std::vector<oracle::slot> outstanding;
      for (const oracle::slot& s : expected.slots)
        if (s.opcode == op && active(s.status)) outstanding.push_back(s);
      expect_none(difference("active", oracle_list(telemetry.active(mk::opcode{op})), outstanding));
      expect_none(
          difference("active in view", oracle_list(view->active(mk::opcode{op})), outstanding));
    }

    std::vector<oracle::window> open;
    for (const oracle::window& w : expected.windows)
      if (w.published + w.claimed + w.wait_io + w.yield + w.requeue > 0) open.push_back(w);
    expect_none(
        difference("active windows", oracle_list(telemetry.summary().active_windows()), open));
  });
}

bool clearing() {
  return rc::check("a cleared object holds nothing and decodes as before", [] {
    const auto shape = *any_shape(between<std::uint32_t>(0, 150));
    const auto made = build(shape);
    decoders kept;
    kept.agree_with_the_oracle(made.control, made.ring, made.windows);
    kept.telemetry.clear();
    kept.summary.clear();
    expect_none(difference(plainly({}, kept.telemetry), {}));
    expect_none(difference(plainly({}, kept.summary), {}));
    kept.agree_with_the_oracle(made.control, made.ring, made.windows);
    const mk::ring_view nothing;
    RC_ASSERT(nothing.size() == 0u);
    RC_ASSERT((nothing.begin() == nothing.end() && nothing.bytes().empty()));
    RC_ASSERT((plainly(nothing.control()) == oracle::control{}));
  });
}

bool random_access() {
  return rc::check("a view's iterators reach every slot from every other", [] {
    const auto shape = *any_shape(between<std::uint32_t>(1, 30));
    const auto made = build(shape);
    const auto view = mk::ring_view::over(std::as_bytes(std::span(made.control)),
                                          std::as_bytes(std::span(made.ring)));
    RC_ASSERT(view.has_value());
    const auto from = *between<std::uint32_t>(0, shape.slots);
    const auto to = *between<std::uint32_t>(0, shape.slots - 1);
    const auto start = view->begin() + std::int64_t{from};
    const auto goal = start + (std::int64_t{to} - from);
    RC_ASSERT((goal - view->begin()) == std::int64_t{to});
    RC_ASSERT((view->end() - goal) == std::int64_t{shape.slots} - to);
    RC_ASSERT((goal - (std::int64_t{to} - from) == start));
    RC_ASSERT((*goal == (*view)[to] && start[std::int64_t{to} - from] == *goal));
    RC_ASSERT(((start < goal) == (from < to) && (start == goal) == (from == to)));
    auto step = goal;
    RC_ASSERT((step++ == goal && step - goal == 1 && step-- - goal == 1 && step == goal));
    RC_ASSERT((++step == goal + 1 && --step == goal && 1 + goal == goal + 1));
  });
}

bool window_lists() {
  return rc::check("a prepared window list is the given one, sorted, each once", [] {
    prng d(*uniform<std::uint64_t>());
    auto list = *rc::gen::container<std::vector<std::uint32_t>>(any_word());
    const auto more = *rc::gen::element<std::size_t>(0, 0, 40, 1000);
    for (std::size_t i = 0; i < more; ++i) list.push_back(d.word());
    const auto of = prepared(list);
    std::ranges::sort(list);
    list.erase(std::unique(list.begin(), list.end()), list.end());
    RC_ASSERT(of.empty() == list.empty());
    RC_ASSERT(std::ranges::equal(of.list(), opcodes(list)));
  });
}

bool counters() {
  return rc::check("runtime counters are those worked out from the plain decoding", [] {
    auto shape = *any_shape(between<std::uint32_t>(0, 300));
    shape.windows = window_list::none;
    const auto made = build(shape);
    const auto p = oracle::decode(made.control, made.ring, {});
    mk::ring_summary summary;
    RC_ASSERT(
        summary.decode(std::as_bytes(std::span(made.control)), std::as_bytes(std::span(made.ring)))
            .has_value());
    const auto got = summary.counters();
    const oracle::occupancy& o = p.occupancy;
    const std::uint64_t total = p.slots.size();
    const std::uint64_t depth =
        o.published + o.claimed + o.wait_io + o.yield + o.requeue + o.fault + o.unknown;
    RC_ASSERT(got.total_slots == total);
    RC_ASSERT(got.queue_depth == depth);
    RC_ASSERT(got.gpu_idle_slots == o.empty);
    RC_ASSERT(got.gpu_idle_ppm == (total == 0 ? 0 : o.empty * 1'000'000ull / total));
    RC_ASSERT(got.frontier_density_bps == (total == 0 ? 0 : depth * 10'000 / total));
    RC_ASSERT(got.occupancy_proxy_bps == (total == 0 ? 0 : (total - o.empty) * 10'000 / total));
    RC_ASSERT(got.drained_slots == p.control.done_count);
    RC_ASSERT(got.unreclaimed_done_slots == o.done);
    RC_ASSERT(got.requeue_slots == o.requeue);
    RC_ASSERT(got.fault_slots == o.fault);
    std::uint64_t tenants = 0;
    std::uint64_t priorities = 0;
    std::vector<std::uint32_t> running;
    for (const std::uint32_t count : p.control.tenant_fairness) {
      tenants += count;
      if (count != 0) running.push_back(count);
    }
    for (const std::uint32_t count : p.control.priority_fairness) priorities += count;
    RC_ASSERT(got.tenant_fairness_total == tenants);
    RC_ASSERT(got.priority_fairness_total == priorities);
    RC_ASSERT(got.tenant_fairness_skew ==
              (running.empty() ? 0 : std::ranges::max(running) - std::ranges::min(running)));
    const auto accounting = summary.priorities();
    RC_ASSERT((accounting == mk::priority_accounting{.requeue_count = o.requeue}));
  });
}

}  // namespace

int main() {
  bool ok = true;
  ok &= arbitrary_bytes();
  ok &= real_rings();
  ok &= one_shot();
  ok &= large_rings();
  ok &= reused_storage();
  ok &= queries();
  ok &= clearing();
  ok &= random_access();
  ok &= window_lists();
  ok &= counters();
  return ok ? 0 : 1;
}
