// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The readers of single words and records against plain reading of bytes, and the IO queue against
// a model of its states.
#include <rapidcheck.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <expected>
#include <optional>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include "support.h"

import megakernel;

namespace {

using namespace props;
namespace mk = megakernel;
using counts = std::vector<std::pair<std::uint32_t, std::uint32_t>>;

/// Word `index` of what is there, if it is whole.
std::optional<std::uint32_t> whole_word(std::span<const unsigned char> bytes, std::uint64_t index) {
  if (bytes.size() < 4 || index > (bytes.size() - 4) / 4) return std::nullopt;
  return oracle::word_at(bytes, index);
}

counts pairs(const mk::metric_counters& metrics) {
  counts out;
  for (const mk::metric m : metrics) out.emplace_back(m.index, m.count);
  return out;
}

/// What a strict reader of one word must say.
void expect_word(const mk::result<mk::word>& got, std::span<const unsigned char> control,
                 std::uint64_t index) {
  const auto wanted = whole_word(control, index);
  if (control.size() % 4 != 0) {
    RC_ASSERT(refused(got, mk::error{.code = mk::error_code::control_misaligned,
                                     .buffer = mk::buffer::control,
                                     .found = control.size(),
                                     .bound = 4}));
  } else if (!wanted) {
    RC_ASSERT(refused(got, mk::error{.code = mk::error_code::control_missing_word,
                                     .buffer = mk::buffer::control,
                                     .index = index,
                                     .bound = control.size() / 4}));
  } else {
    RC_ASSERT(holds(got, *wanted));
  }
}

void read_control(std::span<const unsigned char> control, std::uint32_t observable) {
  const auto bytes = std::as_bytes(control);
  expect_word(mk::read_done_count(bytes), control, 1);
  expect_word(mk::read_epoch(bytes), control, 128);
  const std::uint64_t at = std::uint64_t{160} + observable;
  RC_ASSERT(mk::recover_observable(bytes, observable) == whole_word(control, at).value_or(0));
  if (at > 0xFFFFFFFF) {
    RC_ASSERT(refused(mk::read_observable(bytes, observable),
                      mk::error{.code = mk::error_code::observable_index_overflow,
                                .buffer = mk::buffer::control,
                                .found = observable,
                                .bound = 0xFFFFFFFF - 160u}));
  } else {
    expect_word(mk::read_observable(bytes, observable), control, at);
  }

  counts wanted;
  std::array<std::uint32_t, 32> each{};
  for (std::uint32_t i = 0; i < 32; ++i) {
    each[i] = whole_word(control, 96 + i).value_or(0);
    if (each[i] != 0) wanted.emplace_back(i, each[i]);
  }
  const auto recovered = mk::recover_metrics(bytes);
  RC_ASSERT(pairs(recovered) == wanted);
  RC_ASSERT(recovered.size() == wanted.size());
  RC_ASSERT(recovered.empty() == wanted.empty());
  for (std::uint32_t i = 0; i < 32; ++i) RC_ASSERT(recovered[i] == each[i]);
  auto step = recovered.begin();
  for (const auto& [index, count] : wanted) {
    RC_ASSERT((step != recovered.end() && *step == mk::metric{index, count}));
    const auto before = step++;
    RC_ASSERT((*before == mk::metric{index, count} && before != step));
  }
  RC_ASSERT((step == recovered.end()));
  const auto strict = mk::read_metrics(bytes);
  if (control.size() % 4 != 0) {
    RC_ASSERT(code_of(strict) == mk::error_code::control_misaligned);
  } else if (control.size() < 128 * 4) {
    RC_ASSERT(refused(strict, mk::error{.code = mk::error_code::control_missing_word,
                                        .buffer = mk::buffer::control,
                                        .index = std::max<std::uint64_t>(96, control.size() / 4),
                                        .bound = control.size() / 4}));
  } else {
    RC_ASSERT(pairs(*strict) == wanted);
  }

  const auto decoded = mk::decode_control(bytes);
  if (control.size() < 640) {
    RC_ASSERT(code_of(decoded) == mk::error_code::control_too_short);
  } else if (control.size() % 4 != 0) {
    RC_ASSERT(code_of(decoded) == mk::error_code::control_misaligned);
  } else {
    for (std::uint32_t i = 0; i < 160; ++i)
      RC_ASSERT(decoded->words()[i] == oracle::word_at(control, i));
  }
}

bool control_readers() {
  return rc::check("control readers agree with plain reading at every length from 0 to 700", [] {
    prng d(*uniform<std::uint64_t>());
    const auto offset = *between<std::size_t>(0, 3);
    const auto far =
        *rc::gen::oneOf(any_word(), between<std::uint32_t>(0xFFFFFFFF - 163, 0xFFFFFFFF - 157));
    const bytes all = noise(d, 700);
    for (std::size_t length = 0; length <= all.size(); ++length) {
      // A block of its own costs, so not at every length in every run.
      if (!d.one_in(8)) continue;
      const placed control{std::span(all).first(length), offset};
      read_control(control.plain(), d.one_in(2) ? far : d.below(18));
    }
  });
}

bool control_lengths() {
  return rc::check("no control length from 0 to 700 is left out", [] {
    static std::size_t length = 0;  // goes on from run to run, so that 176 runs see them all
    prng d(*uniform<std::uint64_t>());
    for (int i = 0; i < 4; ++i, length = (length + 1) % 701) {
      const placed control(noise(d, length), d.below(4));
      for (std::uint32_t observable = 0; observable < 18; ++observable)
        read_control(control.plain(), observable);
    }
  });
}

bool snapshot_readers() {
  // docs/protocol.md#control-words
  return rc::check("a control snapshot's readers name the words of the protocol", [] {
    prng d(*uniform<std::uint64_t>());
    std::vector<std::uint32_t> words(160);
    for (std::uint32_t& w : words) w = d.word();
    words[2] = d.pick(std::vector<std::uint32_t>{0, 1, 2, 3, 3, 4, 31, 32, 0xFFFFFFFF, 0xFFFFFFE4});
    words[0] = d.below(3);
    const auto raw = to_bytes(words);
    const auto c = mk::decode_control(std::as_bytes(std::span(raw)));
    RC_ASSERT(c.has_value());
    RC_ASSERT(c->shutdown() == (words[0] != 0));
    RC_ASSERT(c->starvation() == words[135]);
    for (std::size_t i = 0; i < 6; ++i) RC_ASSERT(c->priority_offsets()[i] == words[129 + i]);
    for (std::size_t i = 0; i < 32; ++i) RC_ASSERT(c->quotas()[i] == words[32 + i]);
    for (const std::uint32_t t : edge_words()) {
      const std::uint64_t at = std::uint64_t{words[2]} + t;
      RC_ASSERT(c->authorises(t) == (t < 29 && at >= 3 && at < 32 && words[at] != 0));
    }
  });
}

bool debug_logs() {
  return rc::check("debug logs: the strict reader refuses what the lenient one salvages", [] {
    prng d(*uniform<std::uint64_t>());
    const auto length = *rc::gen::oneOf(
        between<std::size_t>(0, 200),
        rc::gen::map(between<std::size_t>(0, 12), [](std::size_t n) { return 4 + 16 * n; }));
    bytes log = noise(d, length);
    const std::uint64_t capacity = length < 4 ? 0 : length / 4 - 1;
    std::uint32_t cursor = 0;
    if (length >= 4) {
      cursor = *rc::gen::oneOf(
          between<std::uint32_t>(0, 60), any_word(),
          rc::gen::map(between<std::uint32_t>(0, 14), [](std::uint32_t n) { return 4 * n; }));
      put(log, 0, cursor);
    }
    const placed at(log, *between<std::size_t>(0, 3));
    const auto lenient = mk::recover_debug_log(at.view());
    const std::uint64_t whole = cursor / 4;
    const std::uint64_t kept = std::min(whole, capacity / 4);
    RC_ASSERT(lenient.records.size() == kept);
    RC_ASSERT(lenient.records.empty() == (kept == 0));
    RC_ASSERT(lenient.dropped == (cursor + 3ull) / 4 - kept);
    const auto record = [&](std::size_t i) {
      return mk::debug_record{oracle::word_at(log, 1 + 4 * i),
                              {oracle::word_at(log, 2 + 4 * i), oracle::word_at(log, 3 + 4 * i),
                               oracle::word_at(log, 4 + 4 * i)}};
    };
    std::size_t seen = 0;
    for (const mk::debug_record& r : lenient.records) RC_ASSERT((r == record(seen++)));
    RC_ASSERT(seen == kept);
    auto step = lenient.records.begin();
    for (std::size_t i = 0; i < kept; ++i) {
      const auto before = step++;
      RC_ASSERT((*before == record(i) && before != step));
    }
    RC_ASSERT((step == lenient.records.end() && lenient.records.empty() == (kept == 0)));

    const auto strict = mk::read_debug_log(at.view());
    mk::error wanted{.code = mk::error_code{0}, .buffer = mk::buffer::debug_log};
    const auto refuse = [&wanted](mk::error_code code, std::uint64_t found, std::uint64_t bound) {
      wanted.code = code;
      wanted.found = found;
      wanted.bound = bound;
    };
    if (length % 4 != 0) {
      refuse(mk::error_code::debug_log_misaligned, length, 4);
    } else if (length == 0) {
      refuse(mk::error_code::debug_log_too_short, 0, 4);
    } else if (cursor > capacity) {
      refuse(mk::error_code::debug_log_cursor_out_of_range, cursor, capacity);
    } else if (cursor % 4 != 0) {
      refuse(mk::error_code::debug_log_cursor_partial_record, cursor, 4);
    }
    RC_ASSERT(strict.has_value() == (wanted.code == mk::error_code{0}));
    if (!strict) {
      RC_ASSERT((strict.error() == wanted));
      return;
    }
    RC_ASSERT(strict->size() == cursor / 4);
    for (std::size_t i = 0; i < strict->size(); ++i) RC_ASSERT(((*strict)[i] == record(i)));
  });
}

bool done_slots() {
  return rc::check("counting done slots looks at whole slots only, and only where they are", [] {
    prng d(*uniform<std::uint64_t>());
    const auto length = *rc::gen::oneOf(
        between<std::size_t>(0, 700),
        rc::gen::map(between<std::size_t>(0, 10), [](std::size_t n) { return 64 * n; }));
    bytes ring = noise(d, length);
    for (std::size_t i = 0; i + 64 <= length; i += 64)
      if (d.one_in(2)) put(std::span(ring).subspan(i), 0, d.below(4));
    const auto items = *rc::gen::weightedOneOf<std::uint64_t>(
        {{8, between<std::uint64_t>(0, 12)},
         {1, rc::gen::element<std::uint64_t>(1ull << 58, (1ull << 58) - 1, ~0ull, 1ull << 32)}});
    const placed at(ring, *between<std::size_t>(0, 3));
    const auto strict = mk::read_done_slots(at.view(), items);
    const auto lenient = mk::recover_done_slots(at.view(), items);

    std::optional<std::uint64_t> wanted;
    if (items <= length / 64) {
      wanted = 0;
      for (std::size_t i = 0; i < items; ++i) *wanted += oracle::word_at(ring, 16 * i) == 3;
    }
    if (items == 0) {
      RC_ASSERT(holds(strict, 0u));
      RC_ASSERT(!lenient.has_value());
      return;
    }
    RC_ASSERT(lenient == wanted);
    if (items > ~0ull / 64) {
      RC_ASSERT(refused(strict, mk::error{.code = mk::error_code::item_count_overflow,
                                          .buffer = mk::buffer::ring,
                                          .found = items,
                                          .bound = ~0ull / 64}));
    } else if (length % 4 != 0) {
      RC_ASSERT(refused(strict, mk::error{.code = mk::error_code::ring_misaligned,
                                          .buffer = mk::buffer::ring,
                                          .found = length,
                                          .bound = 4}));
    } else if (!wanted) {
      RC_ASSERT(refused(strict, mk::error{.code = mk::error_code::ring_too_short,
                                          .buffer = mk::buffer::ring,
                                          .found = items,
                                          .bound = length / 64}));
    } else {
      RC_ASSERT(holds(strict, *wanted));
    }
  });
}

bool load_misses() {
  return rc::check("a load miss is read from any whole slot that holds one, and no other", [] {
    prng d(*uniform<std::uint64_t>());
    bytes ring = noise(d, *between<std::size_t>(0, 400));
    // The last, partial slot too: it must not be read although its opcode is there.
    for (std::size_t i = 0; i + 8 <= ring.size(); i += 64)
      put(std::span(ring).subspan(i), 1, 0xFFFC + d.below(3));
    const placed at(ring, *between<std::size_t>(0, 3));
    const auto slot = *rc::gen::oneOf(between<std::uint32_t>(0, 7), any_word());
    const auto got = mk::read_load_miss(at.view(), slot);
    const bool there =
        slot < ring.size() / 64 && oracle::word_at(ring, std::size_t{slot} * 16 + 1) == 0xFFFDu;
    RC_ASSERT(got.has_value() == there);
    if (!there) return;
    RC_ASSERT(got->resource == oracle::word_at(ring, std::size_t{slot} * 16 + 4));
    RC_ASSERT(got->prefetch == (oracle::word_at(ring, std::size_t{slot} * 16 + 5) != 0));
  });
}

bool classes() {
  // docs/protocol.md#opcode-classes
  return rc::check("statuses and opcodes are classed as the protocol has it", [] {
    const auto w = *any_word();
    const mk::slot_status status{w};
    RC_ASSERT(mk::is_known(status) == (w <= 7));
    RC_ASSERT(mk::is_active(status) == (w == 1 || w == 2 || w == 4 || w == 5 || w == 6));
    RC_ASSERT(mk::is_publishable(status) == (w == 0 || w == 3));
    const mk::opcode op{w};
    const bool system = w >= 0x80000000u || (w >= 0xFFF0 && w <= 0xFFFF) || w <= 7;
    const bool builtin = w <= 7 || w == 0x80000001u || w == 0xFFFE || w == 0xFFFFFFFF;
    RC_ASSERT(mk::is_system(op) == system);
    RC_ASSERT(mk::is_builtin(op) == builtin);
    RC_ASSERT(mk::is_publishable(op) == (builtin || !system));
    RC_ASSERT(mk::is_known(mk::io_operation{w}) == (w >= 1 && w <= 3));
  });
}

bool priority_offsets() {
  return rc::check("default priority offsets are fifths, the remainder with NORMAL", [] {
    const auto slots = *rc::gen::oneOf(any_word(), between<std::uint32_t>(0, 30));
    std::array<std::uint32_t, 6> wanted{};
    for (std::size_t p = 0; p < 5; ++p)
      wanted[p + 1] = wanted[p] + slots / 5 + (p == 2 ? slots % 5 : 0);
    RC_ASSERT(wanted[5] == slots);
    RC_ASSERT(mk::default_priority_offsets(slots) == wanted);

    prng d(*uniform<std::uint64_t>());
    bytes control = noise(d, *rc::gen::oneOf(between<std::size_t>(500, 700),
                                             rc::gen::element<std::size_t>(0, 536, 540, 640)));
    bytes expected = control;
    const auto got = mk::write_priority_offsets(std::as_writable_bytes(std::span(control)), slots);
    if (control.size() % 4 != 0) {
      RC_ASSERT(code_of(got) == mk::error_code::control_misaligned);
    } else if (control.size() < 135 * 4) {
      RC_ASSERT(refused(got, mk::error{.code = mk::error_code::control_too_short,
                                       .buffer = mk::buffer::control,
                                       .found = control.size(),
                                       .bound = 135 * 4}));
    } else {
      RC_ASSERT(got.has_value());
      for (std::size_t i = 0; i < 6; ++i) put(expected, 129 + i, wanted[i]);
    }
    RC_ASSERT(control == expected);
  });
}

bool byte_lengths() {
  return rc::check("byte lengths exist while the words can be numbered", [] {
    const auto n =
        *rc::gen::oneOf(any_word(), between<std::uint32_t>(0xFFFFFFFF - 165, 0xFFFFFFFF - 155),
                        between<std::uint32_t>(0xFFFFFFFF / 16 - 2, 0xFFFFFFFF / 16 + 2),
                        between<std::uint32_t>(0xFFFFFFFF / 4 - 2, 0xFFFFFFFF / 4 + 2));
    const auto expect = [](std::optional<std::uint64_t> got, std::uint64_t words) {
      RC_ASSERT(got == (words > 0xFFFFFFFFu ? std::nullopt : std::optional(words * 4)));
    };
    expect(mk::control_byte_length(n), 160ull + n);
    expect(mk::ring_byte_length(n), 16ull * n);
    expect(mk::debug_log_byte_length(n), 1 + 4ull * n);
  });
}

}  // namespace

int main() {
  bool ok = true;
  ok &= control_readers();
  ok &= control_lengths();
  ok &= snapshot_readers();
  ok &= debug_logs();
  ok &= done_slots();
  ok &= load_misses();
  ok &= classes();
  ok &= priority_offsets();
  ok &= byte_lengths();
  return ok ? 0 : 1;
}
