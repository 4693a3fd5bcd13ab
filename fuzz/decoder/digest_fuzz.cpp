// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The digest of a ring: an input is a small ring, what is wanted of it, and changes of the digest
// that a plain implementation makes of that; or the bytes of a digest. What is accepted says what
// its words say, and where nothing was changed, what decoding the ring says; what is refused is
// refused by a plain checker, too, and leaves nothing behind.
#include "failing_heap.h"
#include "fuzz.h"
#include "oracle_decoder.h"
#include "oracle_digest.h"
#include "refusal.h"

#include "megakernel_import.h"

namespace mk = megakernel;

namespace {

fuzz::block some_control() {
  fuzz::block control(640);
  control[4 * 1] = 7;   // done
  control[4 * 96] = 3;  // a metric
  return control;
}

bool is_empty(const mk::ring_digest& digest) {
  return digest.summary() == mk::ring_summary() && digest.counts() == mk::slot_counts() &&
         digest.request() == mk::digest_request{} && digest.unlisted_window_slots() == 0 &&
         digest.counters(mk::ring_sketch::ring_opcode).empty();
}

void check_figures(const mk::ring_digest& got, const fuzz::words& digest) {
  const mk::ring_occupancy& o = got.summary().occupancy();
  const std::array by_status{o.empty, o.published, o.claimed, o.done,   o.wait_io,
                             o.yield, o.requeue,   o.fault,   o.unknown};
  fuzz::check(std::equal(by_status.begin(), by_status.end(), digest.begin() + 32) &&
                  o.active() == digest[8] && o.total_slots() == digest[2],
              "occupancy is that of the words");
  const mk::slot_counts& counts = got.counts();
  const std::span all(digest);
  fuzz::check(std::ranges::equal(counts.opcodes.of, all.subspan(48, 32)) &&
                  std::ranges::equal(counts.tenants.of, all.subspan(80, 32)) &&
                  counts.opcodes.others == digest[9] && counts.tenants.others == digest[10],
              "opcodes and tenants are those of the words");
  fuzz::check(got.unlisted_window_slots() == digest[6], "slots without a window are counted");
  std::size_t at = 112;
  for (std::uint32_t which = 0; which < 4; ++which) {
    for (const std::uint64_t counter : got.counters(mk::ring_sketch{which})) {
      fuzz::check(counter == (digest[at] | std::uint64_t{digest[at + 1]} << 32),
                  "counters are read row after row");
      at += 2;
    }
  }
  for (const mk::window_telemetry& w : got.summary().windows()) {
    const std::array figures{w.ticket,          mk::word(w.op), w.tenant,  w.required_slots,
                             w.lookahead_slots, w.published,    w.claimed, w.done,
                             w.wait_io,         w.yield,        w.requeue, w.fault};
    fuzz::check(std::ranges::equal(figures, all.subspan(at, figures.size())) &&
                    w.tenants_disagree == (digest[at + 13] == 1),
                "windows are read one after the other");
    at += 16;
  }
  fuzz::check(at == digest.size(), "everything is read");
}

/// Of a ring of two slots, one of them of a window.
mk::ring_summary summary_of(std::uint8_t done, std::uint8_t status, std::uint8_t ticket) {
  fuzz::block control(640);
  fuzz::block ring(128);
  control[4 * 1] = done;
  ring[0] = status;
  ring[64 + 4 * 1] = 9;
  ring[64 + 4 * 4] = ticket;
  mk::ring_summary summary;
  const std::array list{mk::opcode{9}};
  const auto windows = mk::window_opcodes::of(list);
  fuzz::refused_as(summary.decode(control.view(), ring.view(), *windows), "");
  return summary;
}

void check_equality() {
  const mk::ring_summary some = summary_of(1, 3, 7);
  fuzz::check(some == summary_of(1, 3, 7) && some != summary_of(2, 3, 7) &&
                  some != summary_of(1, 5, 7) && some != summary_of(1, 3, 8),
              "summaries are equal where control, occupancy and windows are");
}

/// What the ring itself says.
void check_ring(const mk::ring_digest& got, const fuzz::block& ring,
                const oracle::digest_wish& wish) {
  std::vector<mk::opcode> named;
  for (const std::uint32_t op : wish.opcodes) named.push_back(mk::opcode{op});
  const auto windows = mk::window_opcodes::of(named);
  const fuzz::block control = some_control();
  mk::ring_telemetry telemetry;
  fuzz::refused_as(telemetry.decode(control.view(), ring.view(), *windows), "");
  fuzz::check(got.summary().occupancy() == telemetry.occupancy() &&
                  got.summary().control() == telemetry.control(),
              "a digest says what the ring says");
  if (got.unlisted_window_slots() == 0)
    fuzz::check(got.summary() == telemetry.summary(), "and of the windows, too");
  fuzz::check(got.counts() == mk::counts_of(*mk::ring_view::over(control.view(), ring.view())),
              "and of opcodes and tenants");
  auto by_digest = mk::telemetry_sketch::of_shape(2, 2);
  if (fuzz::refused_as(by_digest->assign(got), wish.depth == 0 ? "sketch_dim_zero" : "")) return;
  auto by_slot = mk::telemetry_sketch::of_shape(wish.depth, wish.width);
  fuzz::refused_as(by_slot->assign(telemetry), "");
  fuzz::check(*by_digest == *by_slot && by_digest->total_slots() == by_slot->total_slots() &&
                  by_digest->active_slots() == by_slot->active_slots(),
              "sketches are those of the slots one by one");
}

/// Decodes what `size` bytes of the words are; whether they were accepted.
bool decode(mk::ring_digest& into, const fuzz::words& digest, std::size_t size,
            std::size_t offset) {
  fuzz::block bytes(size, offset);
  for (std::size_t i = 0; i < size && i / 4 < digest.size(); ++i)
    bytes[i] = static_cast<std::uint8_t>(digest[i / 4] >> 8 * (i % 4));
  const auto got = into.decode(some_control().view(), bytes.view());
  const oracle::digest_refusal wrong = oracle::judge_digest(digest, size);
  if (!fuzz::refused_as(got, fuzz::refusal{wrong.code, wrong.index, wrong.found, wrong.bound})) {
    check_figures(into, digest);
    return true;
  }
  fuzz::check(is_empty(into), "what is refused leaves nothing behind");
  return false;
}

/// Each of its words in turn is one more, one less, or something else altogether.
void one_word_off(mk::ring_digest& into, fuzz::words& digest) {
  for (std::uint32_t& word : digest) {
    const std::uint32_t was = word;
    for (const std::uint32_t other : {was + 1, was - 1, ~was, was ^ 0x8000'0000u}) {
      word = other;
      decode(into, digest, digest.size() * 4, 0);
    }
    word = was;
  }
}

void without_memory(const fuzz::words& digest, unsigned nth) {
  const fuzz::block bytes(
      fuzz::bytes(reinterpret_cast<const std::uint8_t*>(digest.data()), digest.size() * 4));
  mk::ring_digest into;
  const fuzz::short_memory scarce(nth);
  const auto got = into.decode(some_control().view(), bytes.view());
  if (!fuzz::short_memory::ran_out()) return;
  fuzz::refused_as(got, "out_of_memory");
  fuzz::check(is_empty(into), "what there is no memory for leaves nothing behind");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  fuzz::input in(data, size);
  const std::uint8_t what_else = in.byte();
  const std::uint8_t how = in.byte();
  const std::size_t offset = how % 4;
  mk::ring_digest decoded;
  if (what_else == 255) {
    const fuzz::bytes rest = in.rest();
    fuzz::words digest((rest.size() + 3) / 4);
    for (std::size_t i = 0; i < rest.size(); ++i)
      digest[i / 4] |= std::uint32_t{rest[i]} << 8 * (i % 4);
    decode(decoded, digest, rest.size(), offset);
    return 0;
  }

  oracle::digest_wish wish{.depth = in.below(4), .width = in.below(5)};
  if (wish.depth == 0 || wish.width == 0) wish.depth = wish.width = 0;
  wish.opcodes = in.numbers(20);
  std::ranges::sort(wish.opcodes);
  wish.opcodes.erase(std::ranges::unique(wish.opcodes).begin(), wish.opcodes.end());
  if (wish.opcodes.size() > 16) wish.opcodes.erase(wish.opcodes.begin(), wish.opcodes.end() - 16);
  if (const std::uint32_t room = in.byte(); room < 8) wish.most_windows = room;
  struct change {
    std::uint32_t at, how, value;
  };
  std::vector<change> changes(in.below(5));
  for (change& c : changes) c = {in.take<std::uint16_t>(), in.below(3), in.number()};
  const auto more =
      changes.empty() || what_else % 16 != 1 ? 0 : static_cast<std::int8_t>(in.byte());
  fuzz::words ring;
  while (!in.empty() && ring.size() < 48 * 16) {
    std::array<std::uint32_t, 16> slot{};
    for (const std::size_t i : {0u, 1u, 2u, 4u, 5u}) slot[i] = in.number();
    ring.insert(ring.end(), slot.begin(), slot.end());
  }

  fuzz::words digest = oracle::make_digest(ring.data(), ring.size() / 16, wish);
  for (const change& c : changes) {
    std::uint32_t& word = digest[c.at % digest.size()];
    word = c.how == 0 ? c.value : c.how == 1 ? word + c.value : word - c.value;
  }
  // Storage that another digest was in shows nothing of it.
  if (what_else % 8 == 2) {
    const fuzz::words other = oracle::make_digest(
        ring.data(), ring.size() / 32, {.depth = 2, .width = 3, .opcodes = wish.opcodes});
    decode(decoded, other, other.size() * 4, 0);
  }
  static fuzz::seldom sweeps;  // each is hundreds of digests
  if (what_else % 32 == 4 && sweeps.due(0)) one_word_off(decoded, digest);
  if (what_else % 32 == 3) without_memory(digest, 1 + what_else / 32);
  const auto length = static_cast<std::ptrdiff_t>(digest.size() * 4) + more;
  if (more > 0) digest.resize(digest.size() + 32);
  const bool accepted = decode(
      decoded, digest, static_cast<std::size_t>(std::max<std::ptrdiff_t>(length, 0)), offset);
  if (!changes.empty()) return 0;
  fuzz::check(accepted, "the digest of a ring is one");
  if (how == 255) {
    check_equality();
    const fuzz::block all(fuzz::bytes(reinterpret_cast<const std::uint8_t*>(digest.data()),
                                      digest.size() * sizeof(std::uint32_t)));
    mk::ring_digest other;
    fuzz::refused_as(other.decode(some_control().view(), all.view()), "");
    fuzz::refused_as(other.decode(fuzz::block(639).view(), all.view()), "control_too_short");
    fuzz::check(is_empty(other), "half a control buffer leaves nothing behind");
  }
  fuzz::block bytes(ring.size() * 4);
  for (std::size_t i = 0; i < bytes.plain().size(); ++i)
    bytes[i] = static_cast<std::uint8_t>(ring[i / 4] >> 8 * (i % 4));
  check_ring(decoded, bytes, wish);
  return 0;
}
