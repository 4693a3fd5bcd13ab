// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// What was encoded or published is what is decoded.
#include <rapidcheck.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <expected>
#include <map>
#include <optional>
#include <set>
#include <span>
#include <utility>
#include <vector>

#include "ring_steps.h"
#include "support.h"

import megakernel;

namespace {

using namespace props;
namespace mk = megakernel;

std::span<const std::byte> view(const mk::byte_buffer& buffer) {
  return {buffer.data(), buffer.size()};
}

mk::byte_buffer empty_ring(std::uint32_t slots) {
  auto ring = mk::encode_ring(slots);
  RC_ASSERT(ring.has_value());
  return std::move(*ring);
}

mk::ring_publisher publisher(mk::byte_buffer& ring) {
  auto over = mk::ring_publisher::over({ring.data(), ring.size()});
  RC_ASSERT(over.has_value());
  return *over;
}

mk::byte_buffer some_control() {
  auto control = mk::encode_control({.tenants = 4});
  RC_ASSERT(control.has_value());
  return std::move(*control);
}

bool control_layouts() {
  return rc::check("a control layout decodes to what it asked for, all else zero", [] {
    const auto shutdown = *rc::gen::arbitrary<bool>();
    const auto tenants =
        *rc::gen::oneOf(any_word(), between<std::uint32_t>(27, 34), between<std::uint32_t>(0, 32));
    const auto observable = *rc::gen::weightedOneOf<std::uint32_t>(
        {{50, between<std::uint32_t>(0, 300)},
         {1, rc::gen::element<std::uint32_t>(1'048'576, 1'048'577, 0xFFFFFFFF)}});
    const auto control = mk::encode_control({shutdown, tenants, observable});
    if (observable > 1'048'576) {
      RC_ASSERT(refused(control, mk::error{.code = mk::error_code::observable_slots_too_large,
                                           .buffer = mk::buffer::control,
                                           .found = observable,
                                           .bound = 1'048'576}));
      return;
    }
    RC_ASSERT(control.has_value());
    std::vector<std::uint32_t> expected(std::size_t{160} + observable);
    expected[0] = shutdown;
    expected[2] = 3;
    for (std::uint32_t t = 0; t < std::min(tenants, 29u); ++t) expected[3 + t] = 0xFFFFFFFF;
    for (std::uint32_t t = 0; t < std::min(tenants, 32u); ++t) expected[32 + t] = 1'000'000;
    RC_ASSERT(to_bytes(view(*control)) == to_bytes(expected));

    const auto decoded = mk::decode_control(view(*control));
    RC_ASSERT(decoded.has_value());
    RC_ASSERT(decoded->shutdown() == shutdown);
    for (const std::uint32_t t : {0u, 1u, 27u, 28u, 29u, 30u, 31u, 32u, 0xFFFFFFFFu})
      RC_ASSERT(decoded->authorises(t) == (t < std::min(tenants, 29u)));
    for (std::uint32_t t = 0; t < 32; ++t)
      RC_ASSERT(decoded->quotas()[t] == (t < tenants ? 1'000'000u : 0u));
    RC_ASSERT(decoded->metrics().empty());
    RC_ASSERT(!decoded->report().has_value());
    RC_ASSERT(std::ranges::equal(decoded->words(), std::span(expected).first(160)));
  });
}

bool empty_buffers() {
  return rc::check("fresh rings, logs and queues are zero and of the length asked for", [] {
    const auto count = *rc::gen::oneOf(between<std::uint32_t>(0, 70), any_word());
    const auto expect = [](const mk::result<mk::byte_buffer>& got, std::uint32_t asked,
                           std::uint32_t most, std::size_t size, mk::error_code code) {
      if (asked > most) {
        RC_ASSERT(code_of(got) == code);
        RC_ASSERT(got.error().found == asked);
        RC_ASSERT(got.error().bound == most);
        return;
      }
      RC_ASSERT(got.has_value());
      RC_ASSERT(got->size() == size);
      RC_ASSERT(std::ranges::count(*got, std::byte{0}) == static_cast<std::ptrdiff_t>(size));
      RC_ASSERT(reinterpret_cast<std::uintptr_t>(got->data()) % 64 == 0u);
    };
    expect(mk::encode_ring(count), count, 1'048'576, std::size_t{count} * 64,
           mk::error_code::slot_count_too_large);
    expect(mk::encode_debug_log(count), count, 1'048'576, 4 + std::size_t{count} * 16,
           mk::error_code::record_capacity_too_large);
    expect(mk::encode_io_queue(count), count, 64, std::size_t{count} * 32,
           mk::error_code::io_queue_too_large);
  });
}

bool default_log() {
  return rc::check(
      "a log and a queue have 64 records and slots by default; a ring may be large", [] {
        const auto large = *between<std::uint32_t>(32'768, 50'000);  // two megabytes, and more
        const auto ring = mk::encode_ring(large);
        RC_ASSERT((ring.has_value() && ring->size() == std::size_t{large} * 64));
        RC_ASSERT(std::ranges::all_of(*ring, [](std::byte b) { return b == std::byte{0}; }));
        const auto log = mk::encode_debug_log();
        const auto queue = mk::encode_io_queue();
        RC_ASSERT(log.has_value());
        RC_ASSERT(queue.has_value());
        RC_ASSERT(log->size() == 257u * 4);
        RC_ASSERT(queue->size() == 64u * 32);
      });
}

bool load_misses() {
  return rc::check("a load miss is one published slot that reads back", [] {
    const mk::load_miss asked{.resource = *any_word(), .prefetch = *rc::gen::arbitrary<bool>()};
    const auto slot = mk::encode_load_miss(asked);
    std::vector<std::uint32_t> expected(16);
    expected[0] = 1;
    expected[1] = 0xFFFD;
    expected[4] = asked.resource;
    expected[5] = asked.prefetch;
    RC_ASSERT(to_bytes(slot) == to_bytes(expected));
    RC_ASSERT((mk::read_load_miss(slot, 0) == asked));
    RC_ASSERT(!mk::read_load_miss(slot, 1).has_value());
  });
}

bool slots() {
  return rc::check("published slots decode to their requests, the others to empty ones", [] {
    const auto entries = *rc::gen::container<std::vector<model::entry>>(model::any_entry());
    auto ring = empty_ring(static_cast<std::uint32_t>(entries.size() + 1));
    auto to = publisher(ring);
    std::map<std::uint32_t, const model::entry*> published;
    for (std::uint32_t i = 0; i < entries.size(); ++i) {
      const model::entry& e = entries[i];
      if (to.publish(i, {mk::opcode{e.op}, e.tenant, mk::priority{e.level}, e.arguments}))
        published[i] = &e;
    }
    mk::ring_telemetry telemetry;
    const auto control = some_control();
    RC_ASSERT(telemetry.decode(view(control), view(ring)).has_value());
    RC_ASSERT(telemetry.occupancy().published == published.size());
    RC_ASSERT(telemetry.occupancy().empty == entries.size() + 1 - published.size());
    for (const mk::slot_snapshot& slot : telemetry.slots()) {
      const auto found = published.find(slot.index);
      if (found == published.end()) {
        RC_ASSERT((slot == mk::slot_snapshot{.status = mk::slot_status::empty,
                                             .op = mk::opcode::nop,
                                             .tenant = 0,
                                             .level = mk::priority::critical,
                                             .arguments = {},
                                             .index = slot.index}));
        continue;
      }
      const model::entry& e = *found->second;
      auto arguments = e.arguments;
      arguments.resize(12);
      RC_ASSERT((slot == mk::slot_snapshot{.status = mk::slot_status::published,
                                           .op = mk::opcode{e.op},
                                           .tenant = e.tenant,
                                           .level = mk::priority{e.level},
                                           .arguments = {arguments[0], arguments[1], arguments[2]},
                                           .index = slot.index}));
    }
  });
}

struct asked_window {
  std::uint32_t op = 0;
  std::uint32_t ticket = 0;
  std::uint32_t tenant = 0;
  std::size_t required = 0;
  std::size_t lookahead = 0;
};
void showValue(const asked_window& w, std::ostream& out) {
  out << "window{op " << w.op << ", ticket " << w.ticket << ", tenant " << w.tenant << ", "
      << w.required << " + " << w.lookahead << '}';
}

bool windows() {
  return rc::check("published windows decode to their tickets, classes and counts, in order", [] {
    const auto asked = *rc::gen::container<std::vector<asked_window>>(rc::gen::build<asked_window>(
        rc::gen::set(&asked_window::op, rc::gen::element<std::uint32_t>(8, 9, 0x7FFFFFFF)),
        rc::gen::set(&asked_window::ticket, any_word()),
        rc::gen::set(&asked_window::tenant, any_word()),
        rc::gen::set(&asked_window::required, between<std::size_t>(0, 3)),
        rc::gen::set(&asked_window::lookahead, between<std::size_t>(0, 3))));
    auto ring = empty_ring(700);
    auto to = publisher(ring);
    const std::vector<mk::word> payload{1, 2, 3};
    std::map<std::pair<std::uint32_t, std::uint32_t>, mk::window_telemetry> expected;
    std::uint32_t next = 0;
    for (const asked_window& w : asked) {
      const std::vector<std::span<const mk::word>> required(w.required, payload);
      const std::vector<std::span<const mk::word>> lookahead(w.lookahead, payload);
      const auto used = to.publish_window(next, {.op = mk::opcode{w.op},
                                                 .tenant = w.tenant,
                                                 .ticket = w.ticket,
                                                 .required = required,
                                                 .lookahead = lookahead});
      RC_ASSERT(holds(used, w.required + w.lookahead));
      next += *used;
      if (*used == 0) continue;
      auto& sum = expected[{w.ticket, w.op}];
      if (sum.published == 0) sum.tenant = w.tenant;
      sum.ticket = w.ticket;
      sum.op = mk::opcode{w.op};
      sum.required_slots += static_cast<std::uint32_t>(w.required);
      sum.lookahead_slots += static_cast<std::uint32_t>(w.lookahead);
      sum.published += *used;
      sum.tenants_disagree |= sum.tenant != w.tenant;
    }
    const std::vector<mk::opcode> list{mk::opcode{0x7FFFFFFF}, mk::opcode{9}, mk::opcode{8}};
    const auto opcodes = mk::window_opcodes::of(list);
    RC_ASSERT(opcodes.has_value());
    mk::ring_summary summary;
    const auto control = some_control();
    RC_ASSERT(summary.decode(view(control), view(ring), *opcodes).has_value());
    RC_ASSERT(summary.windows().size() == expected.size());
    std::size_t i = 0;
    for (const auto& [key, wanted] : expected) RC_ASSERT((summary.windows()[i++] == wanted));
  });
}

bool work_items() {
  return rc::check("work items decode to their opcode and three arguments", [] {
    const auto words = *model::any_words(40);
    std::vector<mk::work_item> items;
    for (std::uint32_t i = 0; i + 3 < words.size(); i += 4)
      items.push_back({mk::opcode{8 + i}, words[i], words[i + 1], words[i + 2]});
    const auto tenant = *any_word();
    const auto ring = mk::encode_work_items(12, tenant, items);
    RC_ASSERT(ring.has_value());
    const auto control = some_control();
    const auto decoded = mk::ring_view::over(view(control), view(*ring));
    RC_ASSERT(decoded.has_value());
    RC_ASSERT(decoded->size() == 12u);
    for (std::uint32_t i = 0; i < items.size(); ++i) {
      const auto slot = (*decoded)[i];
      RC_ASSERT(
          (slot == mk::slot_snapshot{.status = mk::slot_status::published,
                                     .op = items[i].op,
                                     .tenant = tenant,
                                     .level = mk::priority::normal,
                                     .arguments = {items[i].input, items[i].output, items[i].param},
                                     .index = i}));
    }
  });
}

}  // namespace

int main() {
  bool ok = true;
  ok &= control_layouts();
  ok &= empty_buffers();
  ok &= default_log();
  ok &= load_misses();
  ok &= slots();
  ok &= windows();
  ok &= work_items();
  return ok ? 0 : 1;
}
