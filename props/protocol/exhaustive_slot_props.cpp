// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Every one and every two flipped bits of a slot, of an IO slot, of a debug record and of a
// sketch's bytes, through all that reads, writes or executes one: against the plain decoder, the
// plain kernel, or the rule spelled out.
#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <expected>
#include <optional>
#include <span>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "exhaustive.h"
#include "oracle_kernel.h"

#include "oracle_terms.h"

#include "interpret.h"

namespace {

using namespace props;

using slot_words = std::array<std::uint32_t, 16>;

constexpr std::uint32_t window_op = 42;
constexpr std::uint32_t packed_op = 0x80000001;

/// {store 7 to 161, add 1 to 162} as a packed slot: 2 ops, 4 words; (1 @ 0), (2 @ 2).
constexpr slot_words packed_slot{1,          packed_op, 0,   2, 2 | 4 << 8 | 1 << 16 | 0u << 24,
                                 2 | 2 << 8, 7,         161, 1, 162};

const std::vector<slot_words>& bases() {
  static const std::vector<slot_words> all{
      {1, window_op, 1, 2, 7, 0, 11, 12},                        // a window's, published
      {7, window_op, 1, 2, 7, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2},  // a window's, at fault
      packed_slot,                                               //
      {4, 0xFFFD, 0, 0, 9, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0},        // parked for IO
      {3, 1, 0, 2, 5, 160},                                      // a finished store
      {6, 300, 1, 0, 2, 9},                                      // a user's, requeued
      {},
  };
  return all;
}

/// The flipped slot between two of a window that it may belong to.
struct ring_of_three {
  std::vector<unsigned char> bytes;
  explicit ring_of_three(const slot_words& middle) {
    const slot_words beside{2, window_op, 1, 2, 7, 0, 3};
    for (const slot_words& s : {beside, middle, beside}) {
      const auto one = to_bytes(s);
      bytes.insert(bytes.end(), one.begin(), one.end());
    }
  }
  [[nodiscard]] std::span<const std::byte> view() const { return std::as_bytes(std::span(bytes)); }
  [[nodiscard]] std::uint32_t word(std::size_t i) const { return oracle::word_at(bytes, 16 + i); }
};
constexpr bit_range middle{512, 512};

void same(const mk::ring_summary& s, const oracle::decoded& expected) {
  require(plainly(s.occupancy()) == expected.occupancy);
  require(s.windows().size() == expected.windows.size());
  for (std::size_t i = 0; i < expected.windows.size(); ++i)
    require(plainly(s.windows()[i]) == expected.windows[i]);
}

std::uint64_t decoding(std::string& now) {
  const std::vector<std::uint32_t> listed{window_op, 1, packed_op, 0xFFFD};
  const auto windows = prepared(listed);
  const bytes control(640);
  const auto control_view = std::as_bytes(std::span(control));
  mk::ring_telemetry telemetry;
  mk::ring_summary summary;
  oracle::decoded expected;
  std::uint64_t cases = 0;
  for (const slot_words& base : bases()) {
    ring_of_three ring(base);
    cases += with_flips(ring.bytes, middle, now, [&] {
      oracle::decode(control, ring.bytes, listed, expected);
      require(telemetry.decode(control_view, ring.view(), windows).has_value());
      require(summary.decode(control_view, ring.view(), windows).has_value());
      same(telemetry.summary(), expected);
      same(summary, expected);
      const auto view = mk::ring_view::over(control_view, ring.view());
      require(view.has_value() && view->size() == 3 && telemetry.slots().size() == 3);
      for (std::uint32_t i = 0; i < 3; ++i) {
        require(plainly((*view)[i]) == expected.slots[i]);
        require(plainly(telemetry.slots()[i]) == expected.slots[i]);
      }
      require(static_cast<std::uint32_t>(view->fault(1)) == ring.word(15));
    });
  }
  return cases;
}

/// The strict and the lenient readers of one slot, each by its rule.
void read_slot(const ring_of_three& ring) {
  const auto miss = mk::read_load_miss(ring.view(), 1);
  require(miss.has_value() == (ring.word(1) == 0xFFFD));
  if (miss) require(miss->resource == ring.word(4) && miss->prefetch == (ring.word(5) != 0));
  const std::uint64_t done = ring.word(0) == 3;
  require(holds(mk::read_done_slots(ring.view(), 2), done));
  require(mk::recover_done_slots(ring.view(), 3) == done);
}

/// A packed slot's table by the protocol's text: where each operation's arguments begin and end, or
/// nothing when they do not fit. docs/protocol.md#packed-layout
struct oracle_packed {
  struct op {
    std::uint32_t code, first, last;
  };
  std::vector<op> ops;
  bool whole = false;
  explicit oracle_packed(std::span<const std::uint32_t, 12> words) {
    const auto byte = [&](std::uint32_t at) { return words[at / 4] >> at % 4 * 8 & 255; };
    const std::uint32_t count = byte(0);
    const std::uint32_t held = byte(1);
    const std::uint32_t table = (2 + 2 * count + 3) / 4;
    if (table + held > 12) return;
    for (std::uint32_t i = 0; i < count; ++i) {
      const std::uint32_t first = byte(3 + 2 * i);
      const std::uint32_t last = i + 1 < count ? byte(5 + 2 * i) : held;
      if (first > last || last > held) return;
      ops.push_back({byte(2 + 2 * i), table + first, table + last});
    }
    whole = true;
  }
};

std::uint64_t reading(std::string& now) {
  std::uint64_t cases = 0;
  for (const slot_words& base : bases()) {
    ring_of_three ring(base);
    cases += with_flips(ring.bytes, middle, now, [&] {
      read_slot(ring);
      std::array<std::uint32_t, 12> arguments;
      for (std::size_t i = 0; i < 12; ++i) arguments[i] = ring.word(4 + i);
      const oracle_packed expected(arguments);
      const auto got = mk::read_packed_ops(arguments);
      require(got.has_value() == expected.whole);
      if (!got) return;
      require(got->size() == expected.ops.size());
      for (std::uint32_t i = 0; i < got->size(); ++i) {
        const auto op = (*got)[i];
        const auto& wanted = expected.ops[i];
        require(op.opcode == wanted.code);
        require(std::ranges::equal(
            op.arguments, std::span(arguments).subspan(wanted.first, wanted.last - wanted.first)));
      }
    });
  }
  return cases;
}

std::uint64_t publishing(std::string& now) {
  const slot_words published{1, window_op, 5, 1, 21, 22, 23};
  const bytes wanted = to_bytes(published);
  const bytes miss = to_bytes(slot_words{1, 0xFFFD, 0, 0, 77, 1});
  const std::array<mk::word, 3> arguments{21, 22, 23};
  const std::array<mk::work_item, 1> items{
      {{.op = mk::opcode{window_op}, .input = 21, .output = 22, .param = 23}}};
  std::uint64_t cases = 0;
  for (const slot_words& base : bases()) {
    const ring_of_three start(base);
    std::vector<std::uint32_t> storage(48);
    const auto ring = writable(storage);
    bytes flipped = start.bytes;
    auto publisher = mk::ring_publisher::over(ring).value();
    const auto attempt = [&](auto call, std::uint32_t priority) {
      std::memcpy(ring.data(), flipped.data(), flipped.size());
      const std::uint32_t status = oracle::word_at(flipped, 16);
      const bool accepted = call();
      require(accepted == (status == 0 || status == 3));
      bytes after = flipped;
      if (accepted) std::ranges::copy(wanted, after.begin() + 64);
      if (accepted) put(after, 19, priority);
      require(std::memcmp(ring.data(), after.data(), after.size()) == 0);
    };
    cases += with_flips(flipped, middle, now, [&] {
      attempt(
          [&] {
            return publisher
                .publish(1, {.op = mk::opcode{window_op},
                             .tenant = 5,
                             .level = mk::priority::high,
                             .arguments = arguments})
                .has_value();
          },
          1);
      attempt([&] { return publisher.publish_work_items(1, 5, items).has_value(); }, 2);
      std::memcpy(ring.data(), flipped.data(), flipped.size());
      const bool free = oracle::word_at(flipped, 16) == 0 || oracle::word_at(flipped, 16) == 3;
      require(publisher.publish_load_miss(1, {.resource = 77, .prefetch = true}).has_value() ==
              free);
      bytes after = flipped;
      if (free) std::ranges::copy(miss, after.begin() + 64);
      require(std::memcmp(ring.data(), after.data(), after.size()) == 0);
    });
  }
  return cases;
}

std::uint64_t executing(std::string& now) {
  oracle::kernel_state start;
  start.control.resize(168);
  start.control[2] = 3;
  for (std::size_t t = 0; t < 29; ++t) start.control[3 + t] = t % 5 != 4;
  for (std::size_t t = 0; t < 32; ++t) start.control[32 + t] = 2;
  start.debug_log.resize(9);
  start.io_queue.resize(16);
  start.io_queue[6] = 0x10;  // the request of slot 0, answered
  start.table.resize(300, 5);
  start.quotas = true;
  std::uint64_t cases = 0;
  for (const slot_words& base : bases()) {
    bytes flipped = to_bytes(base);
    oracle::kernel_state got = start;
    oracle::kernel_state expected = start;
    cases += with_flips(flipped, bit_range{0, 512}, now, [&] {
      got.control = start.control;
      got.debug_log = start.debug_log;
      got.io_queue = start.io_queue;
      got.ring.resize(16);
      for (std::size_t i = 0; i < 16; ++i) got.ring[i] = oracle::word_at(flipped, i);
      expected.control = got.control;
      expected.debug_log = got.debug_log;
      expected.io_queue = got.io_queue;
      expected.ring = got.ring;
      oracle::run_once(expected, 0, 1);
      kernel::interpret<kernel::dev::direct_counters<kernel::dev::host_memory>>(got, 1, false);
      require(got.control == expected.control);
      require(got.ring == expected.ring);
      require(got.debug_log == expected.debug_log && got.io_queue == expected.io_queue);
    });
  }
  return cases;
}

std::uint64_t io_slots(std::string& now) {
  std::uint64_t cases = 0;
  for (const std::uint32_t status : {0u, 1u, 2u, 0x10u, 0x11u}) {
    const std::array<std::uint32_t, 8> base{1, 2, 3, 4, 5, 6, status, 8};
    std::vector<std::uint32_t> storage(8);
    const auto queue_bytes = writable(storage);
    bytes flipped = to_bytes(base);
    auto queue = mk::io_queue::over(queue_bytes).value();
    const auto reset = [&] { std::memcpy(queue_bytes.data(), flipped.data(), flipped.size()); };
    const auto leaves = [&](std::uint32_t then) {
      bytes after = flipped;
      put(after, 6, then);
      require(std::memcmp(queue_bytes.data(), after.data(), after.size()) == 0);
    };
    cases += with_flips(flipped, bit_range{0, 256}, now, [&] {
      const auto at = [&](std::size_t i) { return oracle::word_at(flipped, i); };
      const std::uint32_t s = at(6);
      reset();
      require(holds(queue.status(0), mk::io_status{s}));
      require(queue.poll().has_value() == (s == 1));
      const auto claimed = queue.claim(0);
      require(claimed.has_value() == (s == 1));
      if (claimed) {
        const mk::io_request wanted{.operation = mk::io_operation{at(0)},
                                    .source = at(1),
                                    .destination = at(2),
                                    .offset = at(3) | std::uint64_t{at(4)} << 32,
                                    .byte_count = at(5),
                                    .tag = at(7)};
        require(*claimed == wanted);
      }
      leaves(s == 1 ? 2 : s);
      reset();
      const std::array<mk::io_completion, 1> done{{{.slot = 0, .ok = false}}};
      require(queue.complete(done).has_value() == (s == 2));
      leaves(s == 2 ? 0x11 : s);
      reset();
      require(queue.recycle(0).has_value() == (s == 0x10 || s == 0x11));
      leaves(s == 0x10 || s == 0x11 ? 0 : s);
      reset();
      const bool published = queue.publish(0, {.tag = 9}).has_value();
      require(published == (s == 0));
      if (!published) leaves(s);
    });
  }
  return cases;
}

std::uint64_t debug_logs(std::string& now) {
  std::uint64_t cases = 0;
  for (const std::uint32_t cursor : {0u, 4u, 8u, 12u}) {
    bytes log = to_bytes(std::array<std::uint32_t, 9>{cursor, 1, 2, 3, 4, 5, 6, 7, 8});
    cases += with_flips(log, bit_range{0, 9 * 32}, now, [&] {
      const std::uint64_t at = oracle::word_at(log, 0);
      const std::uint64_t whole = std::min<std::uint64_t>(at / 4, 2);
      const auto view = std::as_bytes(std::span(log));
      const auto strict = mk::read_debug_log(view);
      require(strict.has_value() == (at <= 8 && at % 4 == 0));
      const auto lenient = mk::recover_debug_log(view);
      require(lenient.records.size() == whole && lenient.dropped == (at + 3) / 4 - whole);
      if (strict) require(strict->size() == whole);
      for (std::size_t i = 0; i < whole; ++i) {
        const auto r = lenient.records[i];
        require(r.format == oracle::word_at(log, 1 + 4 * i));
        for (std::size_t a = 0; a < 3; ++a)
          require(r.arguments[a] == oracle::word_at(log, 2 + 4 * i + a));
      }
    });
  }
  return cases;
}

std::uint64_t sketches(std::string& now) {
  auto sketch = mk::count_min_sketch::of_shape(1, 2).value();
  require(sketch.add(7, 3).has_value());
  const auto written = mk::write_sketch(sketch).value();
  bytes travels;
  for (const std::byte b : written) travels.push_back(static_cast<unsigned char>(b));
  const auto view = std::as_bytes(std::span(travels));
  require(mk::read_count_min_sketch(view).has_value());
  return with_flips(travels, bit_range{0, travels.size() * 8}, now, [&] {
    require(!mk::read_count_min_sketch(view).has_value());
    require(!mk::read_telemetry_sketch(view).has_value());
  });
}

std::uint64_t sketching(std::string& now) {
  // What a sketch sees of a slot: status, opcode, tenant.
  const bytes control(640);
  const auto control_view = std::as_bytes(std::span(control));
  mk::ring_telemetry telemetry;
  auto sketch = mk::telemetry_sketch::of_shape(2, 5).value();
  auto by_hand = mk::telemetry_sketch::of_shape(2, 5).value();
  auto opcodes_seen = mk::count_min_sketch::of_shape(2, 5).value();
  auto active_seen = mk::count_min_sketch::of_shape(2, 5).value();
  auto tenants_seen = mk::count_min_sketch::of_shape(2, 5).value();
  auto statuses_seen = mk::count_min_sketch::of_shape(2, 5).value();
  std::uint64_t cases = 0;
  for (const slot_words& base : bases()) {
    ring_of_three ring(base);
    cases += with_flips(ring.bytes, bit_range{512, 96}, now, [&] {
      require(telemetry.decode(control_view, ring.view()).has_value());
      require(sketch.assign(telemetry).has_value());
      for (auto* s : {&opcodes_seen, &active_seen, &tenants_seen, &statuses_seen}) s->clear();
      for (std::size_t slot = 0; slot < 3; ++slot) {
        const std::uint32_t status = oracle::word_at(ring.bytes, 16 * slot);
        const std::uint32_t op = oracle::word_at(ring.bytes, 16 * slot + 1);
        const bool active = status == 1 || status == 2 || (status >= 4 && status <= 6);
        require(opcodes_seen.add(op, 1).has_value());
        if (active) require(active_seen.add(op, 1).has_value());
        require(tenants_seen.add(oracle::word_at(ring.bytes, 16 * slot + 2), 1).has_value());
        require(statuses_seen.add(status, 1).has_value());
      }
      require(sketch.ring_opcode() == opcodes_seen && sketch.active_opcode() == active_seen);
      require(sketch.tenant() == tenants_seen && sketch.status() == statuses_seen);
    });
  }
  return cases;
}

}  // namespace

int main() {
  bool ok = true;
  ok &= exhaustively("flips of a slot, decoded whole, in brief and in view", decoding);
  ok &= exhaustively("flips of a slot, read as a load miss and as a packed slot", reading);
  ok &= exhaustively("flips of a slot that is published to", publishing);
  ok &= exhaustively("flips of a slot, executed", executing);
  ok &= exhaustively("flips of a slot, sketched", sketching);
  ok &= exhaustively("flips of an IO slot", io_slots);
  ok &= exhaustively("flips of a debug log", debug_logs);
  ok &= exhaustively("flips of a sketch's bytes, none of which is a sketch", sketches);
  return ok ? 0 : 1;
}
