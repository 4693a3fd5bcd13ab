// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The control buffer: an input is the buffer. The snapshot, the readers of single words
// and the writer of the partition table agree with words read plainly.
// docs/protocol.md#control-words
#include <new>

#include "fuzz.h"
#include "oracle_decoder.h"
#include "refusal.h"

#include "megakernel_import.h"

namespace mk = megakernel;

namespace {

fuzz::refusal wrong_with(std::size_t size) {
  if (size < 640) return {"control_too_short", 0, size, 640};
  if (size % 4 != 0) return {"control_misaligned", 0, size, 4};
  return {};
}

/// Why words [first, first + count) cannot be read.
fuzz::refusal missing(std::size_t size, std::uint64_t first, std::uint64_t count) {
  const std::uint64_t words = size / 4;
  if (size % 4 != 0) return {"control_misaligned", 0, size, 4};
  // The first word that is not there.
  if (first + count > words)
    return {"control_missing_word", first > words ? first : words, 0, words};
  return {};
}

void check_snapshot(const fuzz::block& control) {
  const auto decoded = mk::decode_control(control.view());
  if (fuzz::refused_as(decoded, wrong_with(control.plain().size()))) return;
  const oracle::control plainly = oracle::decode(control.plain(), {}, {}).control;
  const auto word = [&](std::size_t i) { return fuzz::word_at(control.plain(), i); };

  fuzz::check(decoded->shutdown() == plainly.shutdown, "SHUTDOWN is read as it stands");
  fuzz::check(decoded->done_count() == plainly.done_count, "DONE_COUNT is read as it stands");
  fuzz::check(decoded->epoch() == plainly.epoch, "EPOCH is read as it stands");
  fuzz::check(decoded->starvation() == word(135), "the starvation counter is read as it stands");
  fuzz::check(std::ranges::equal(decoded->tenant_fairness(), plainly.tenant_fairness),
              "the counters of tenants are read as they stand");
  fuzz::check(std::ranges::equal(decoded->priority_fairness(), plainly.priority_fairness),
              "the counters of priorities are read as they stand");
  for (std::size_t i = 0; i < 160; ++i)
    fuzz::check(decoded->words()[i] == word(i), "a snapshot is a copy of the fixed words");
  for (std::size_t i = 0; i < 6; ++i)
    fuzz::check(decoded->priority_offsets()[i] == word(129 + i),
                "the partitions are where they are");
  for (std::size_t i = 0; i < 32; ++i)
    fuzz::check(decoded->quotas()[i] == word(32 + i), "the quotas are where they are");

  const mk::metric_counters metrics = decoded->metrics();
  std::size_t at = 0;
  for (auto each = metrics.begin(); each != metrics.end(); ++at) {
    const mk::metric m = *each++;
    fuzz::check(at < plainly.metrics.size() && plainly.metrics[at] == std::pair(m.index, m.count),
                "metrics are the counters that are not zero, in ascending order");
    fuzz::check(metrics[m.index] == m.count, "a metric is found by its index");
  }
  fuzz::check(at == plainly.metrics.size() && metrics.size() == at && metrics.empty() == (at == 0),
              "no metric is missing");

  const auto report = decoded->report();
  fuzz::check(report.has_value() == plainly.reports, "revision 1 reports, and no other");
  if (report) {
    const std::array words{report->heartbeat,         report->faults,
                           report->unauthorised_seen, report->throttled_seen,
                           report->workers_alive,     report->claims_lost,
                           report->debug_dropped,     report->done_count_high};
    fuzz::check(words == plainly.extension, "the report is read as it stands");
  }
  for (const std::uint32_t tenant : {0u, 1u, 27u, 28u, 29u, 30u, 31u, word(0), ~0u}) {
    const std::uint64_t mask = std::uint64_t{word(2)} + tenant;
    const bool may = tenant < 29 && mask >= 3 && mask < 32 && word(mask) != 0;
    fuzz::check(decoded->authorises(tenant) == may, "a tenant needs a mask inside the table");
  }
}

void check_readers(const fuzz::block& control) {
  const auto from = control.view();
  const std::size_t size = from.size();
  const auto word = [&](std::size_t i) { return fuzz::word_at(control.plain(), i); };
  if (const auto got = mk::read_done_count(from); !fuzz::refused_as(got, missing(size, 1, 1)))
    fuzz::check(*got == word(1), "DONE_COUNT is word 1");
  if (const auto got = mk::read_epoch(from); !fuzz::refused_as(got, missing(size, 128, 1)))
    fuzz::check(*got == word(128), "EPOCH is word 128");

  const auto recovered = mk::recover_metrics(from);
  for (std::size_t i = 0; i < 32; ++i)
    fuzz::check(recovered[i] == (96 + i < size / 4 ? word(96 + i) : 0),
                "what is whole is recovered");
  if (const auto got = mk::read_metrics(from); !fuzz::refused_as(got, missing(size, 96, 32)))
    fuzz::check(std::ranges::equal(*got, recovered), "whole metrics are recovered whole");

  const std::uint32_t named = size >= 4 ? word(0) : 0;
  const auto last = static_cast<std::uint32_t>(size / 4 - 160);  // wraps where there is none
  for (const std::uint32_t index : {0u, 1u, last - 1, last, named, 0xFFFF'FF5Fu, 0xFFFF'FF60u}) {
    const std::uint64_t at = std::uint64_t{160} + index;
    const auto got = mk::read_observable(from, index);
    const fuzz::refusal too_far{"observable_index_overflow", 0, index, 0xFFFF'FF5Fu};
    if (!fuzz::refused_as(got, index > 0xFFFF'FF5Fu ? too_far : missing(size, at, 1)))
      fuzz::check(*got == word(at), "observable words start at word 160");
    fuzz::check(mk::recover_observable(from, index) == (at < size / 4 ? word(at) : 0),
                "an observable word that is not there is zero");
  }
}

void check_partitions(const fuzz::block& control) {
  const std::size_t size = control.plain().size();
  fuzz::block written(control.plain());
  fuzz::block expected(control.plain());
  const std::uint32_t slots = size >= 8 ? fuzz::word_at(control.plain(), 1) : 7;
  const auto got = mk::write_priority_offsets(written.writable(), slots);
  fuzz::refusal wrong;
  if (size % 4 != 0)
    wrong = {"control_misaligned", 0, size, 4};
  else if (size < (129 + 6) * 4)
    wrong = {"control_too_short", 0, size, (129 + 6) * 4};
  if (!fuzz::refused_as(got, wrong)) {
    std::uint32_t first = 0;
    for (std::size_t p = 0; p < 6; ++p) {
      for (std::size_t b = 0; b < 4; ++b)
        expected[4 * (129 + p) + b] = static_cast<std::uint8_t>(first >> 8 * b);
      first += slots / 5 + (p == 2 ? slots % 5 : 0);
    }
  }
  fuzz::check(written == expected, "six words are written, or none");
}

/// A copy of the fixed words is as large as they are.
void check_copy() {
  static const fuzz::block longer(644);
  const auto view = mk::ring_view::over(longer.view(), {}).value();
  alignas(mk::control_snapshot) std::array<std::byte, sizeof(mk::control_snapshot) + 4> room;
  room.fill(std::byte{0xA5});
  ::new (room.data()) mk::control_snapshot(view.control());
  fuzz::check(std::ranges::all_of(std::span(room).last(4),
                                  [](std::byte b) { return b == std::byte{0xA5}; }),
              "a snapshot is written where it stands, and nowhere else");
}

/// Every way from slot to slot of a ring of two comes to the same ones.
void check_steps(const mk::ring_view& view) {
  const auto first = view.begin();
  const auto last = view.end();
  fuzz::check(last - first == 2 && first - last == -2 && last - (first + 1) == 1 &&
                  (last - 1) - (first + 1) == 0 && first + 2 == last && 2 + first == last &&
                  last - 2 == first && first < last && !(last < first) && first[1] == view[1],
              "steps are as long as they say");
}

/// What is refused leaves nothing of an earlier ring behind.
void check_stale(const fuzz::block& control, std::span<const std::byte> ring) {
  static const fuzz::block whole(640);
  static const std::array<std::byte, 128> some = [] {
    std::array<std::byte, 128> slots{};
    slots[0] = slots[64] = std::byte{1};
    return slots;
  }();
  mk::ring_telemetry telemetry;
  mk::ring_summary summary;
  fuzz::check(telemetry.decode(whole.view(), some).has_value() &&
                  summary.decode(whole.view(), some).has_value() &&
                  telemetry.occupancy().published == 2,
              "a ring decodes");
  if (telemetry.decode(control.view(), ring)) return;
  (void)summary.decode(control.view(), ring);
  fuzz::check(telemetry.slots().empty() && telemetry.occupancy() == mk::ring_occupancy() &&
                  telemetry.control() == mk::control_snapshot() &&
                  summary.occupancy() == mk::ring_occupancy() &&
                  summary.control() == mk::control_snapshot(),
              "what is refused leaves nothing behind");
}

/// A ring that goes with the control buffer, of any length; it is not looked at.
void check_pair(const fuzz::block& control) {
  static const std::array<std::byte, 200> zeros{};
  const auto ring = [&](std::size_t size) { return std::span(zeros).first(size); };
  for (const std::size_t size : {0u, 63u, 64u, 65u, 66u, 127u, 128u}) {
    const auto got = mk::ring_view::over(control.view(), ring(size));
    fuzz::refusal wrong = wrong_with(control.plain().size());
    if (wrong.code.empty() && size % 64 != 0) wrong = {"ring_partial_slot", 0, size, 64};
    if (!fuzz::refused_as(got, wrong))
      fuzz::check(got->size() == size / 64 && got->bytes().data() == zeros.data() &&
                      got->bytes().size() == size,
                  "a view is of the whole ring");
    if (got && got->size() == 2) check_steps(*got);
    if (size == 65 || size == 128) check_stale(control, ring(size));  // it takes its time
  }
  // Before it is touched.
  const std::span endless(zeros.data(), std::size_t{64} << 32);
  fuzz::refusal wrong = wrong_with(control.plain().size());
  if (wrong.code.empty()) wrong = {"ring_too_large", 0, std::uint64_t{1} << 32, 0xFFFF'FFFFu};
  fuzz::refused_as(mk::ring_view::over(control.view(), endless), wrong);
  const std::span longest(zeros.data(), (std::size_t{64} << 32) - 64);
  if (wrong.code == "ring_too_large")
    fuzz::check(mk::ring_view::over(control.view(), longest).value().size() == 0xFFFF'FFFFu,
                "the longest ring has a number for each slot");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const fuzz::bytes input(data, size);
  const fuzz::block aligned(input);
  const fuzz::block askew(input, 1);
  check_snapshot(askew);
  fuzz::check(mk::decode_control(aligned.view()) == mk::decode_control(askew.view()),
              "bytes may have any alignment");
  check_readers(askew);
  check_partitions(askew);
  check_pair(askew);
  [[maybe_unused]] static const bool copied = (check_copy(), true);  // the same whatever the input
  return 0;
}

/// Most inputs get a length that is valid.
extern "C" std::size_t LLVMFuzzerCustomMutator(std::uint8_t* data, std::size_t size,
                                               std::size_t most, unsigned seed) {
  const std::size_t made = fuzz::mutate(data, size, most);
  const std::size_t whole = std::max<std::size_t>(made / 4 * 4, 640);
  if (seed % 16 == 0 || whole > most) return made;
  if (whole > made) std::memset(data + made, 0, whole - made);
  return whole;
}
