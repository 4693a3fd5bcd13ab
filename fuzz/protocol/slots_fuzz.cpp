// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Slots one by one: LOAD_MISS, packed slots and the count of DONE ones, each against a
// second reading of the bytes; what a packed slot holds is packed again and reads back.
// docs/protocol.md#load-miss-slot docs/protocol.md#read-packed docs/protocol.md#read-done-slots
#include "fuzz.h"
#include "refusal.h"

#include "megakernel_import.h"

namespace mk = megakernel;

namespace {

void check_load_miss(fuzz::bytes ring, std::span<const std::byte> view, std::uint32_t slot) {
  const auto got = mk::read_load_miss(view, slot);
  const std::uint64_t first = std::uint64_t{slot} * 16;
  const bool there = slot < ring.size() / 64 && fuzz::word_at(ring, first + 1) == 0xFFFD;
  fuzz::check(got.has_value() == there, "a LOAD_MISS is found by its opcode");
  if (!got) return;
  const mk::load_miss wanted{.resource = fuzz::word_at(ring, first + 4),
                             .prefetch = fuzz::word_at(ring, first + 5) != 0};
  fuzz::check(*got == wanted, "a LOAD_MISS names its resource and whether it can wait");
  fuzz::check(!mk::read_load_miss(view.first(64 * std::size_t{slot}), slot).has_value(),
              "a slot past the ring's end is not looked at");
  const fuzz::block again(
      {reinterpret_cast<const std::uint8_t*>(mk::encode_load_miss(wanted).data()), 64});
  fuzz::check(mk::read_load_miss(again.view(), 0).value() == wanted, "what is encoded reads back");
  const std::array<std::uint32_t, 6> words{1, 0xFFFD, 0, 0, wanted.resource, wanted.prefetch};
  for (std::size_t i = 0; i < 16; ++i)
    fuzz::check(fuzz::word_at(again.plain(), i) == (i < 6 ? words[i] : 0u),
                "an encoded LOAD_MISS is PUBLISHED and zero but for its arguments");
}

/// Why 48 bytes are no packed slot.
fuzz::refusal why_not_packed(fuzz::bytes raw) {
  const unsigned count = raw[0];
  const unsigned held = raw[1];
  const unsigned table = (2 + 2 * count + 3) / 4;
  if (table > 12) return {"packed_metadata_too_large", 0, table, 12};
  if (table + held > 12) return {"packed_payload_too_large", 0, table + held, 12};
  unsigned before = 0;
  for (unsigned i = 0; i < count; ++i) {
    const unsigned offset = raw[3 + 2 * i];
    if (offset > held || offset < before) return {"packed_malformed", i, offset, held};
    before = offset;
  }
  return {};
}

void check_packed(fuzz::bytes raw) {
  std::array<mk::word, 12> words{};
  for (std::size_t i = 0; i < 12; ++i) words[i] = fuzz::word_at(raw, i);
  const auto got = mk::read_packed_ops(words);
  if (fuzz::refused_as(got, why_not_packed(raw))) return;
  const unsigned count = raw[0];
  fuzz::check(got->size() == count, "byte 0 counts the operations");
  std::vector<mk::packed_op> ops;
  for (unsigned i = 0; i < count; ++i) {
    const unsigned begin = raw[3 + 2 * i];
    const unsigned end = i + 1 < count ? raw[5 + 2 * i] : raw[1];
    const auto op = (*got)[i];
    const auto arguments = std::span(words).subspan((2 + 2 * count + 3) / 4 + begin, end - begin);
    fuzz::check(op.opcode == raw[2 + 2 * i], "an operation's opcode stands in the table");
    fuzz::check(std::ranges::equal(op.arguments, arguments), "and so does where its arguments are");
    ops.push_back({.op = op.opcode, .arguments = op.arguments});
  }
  const auto again = mk::packed_arguments(ops);
  fuzz::check(again.has_value(), "what came out of a slot fits into one");
  const auto back = mk::read_packed_ops(again->words);
  fuzz::check(back.has_value() && back->size() == count, "what is packed can be unpacked");
  for (unsigned i = 0; i < count; ++i)
    fuzz::check((*back)[i].opcode == ops[i].op &&
                    std::ranges::equal((*back)[i].arguments, ops[i].arguments),
                "what is packed comes out the same");
}

fuzz::refusal why_not_counted(std::size_t size, std::uint64_t items) {
  if (items == 0) return {};
  if (items >> 58 != 0) return {"item_count_overflow", 0, items, (std::uint64_t{1} << 58) - 1};
  if (size % 4 != 0) return {"ring_misaligned", 0, size, 4};
  if (items > size / 64) return {"ring_too_short", 0, items, size / 64};
  return {};
}

void check_done(fuzz::bytes ring, std::span<const std::byte> view, std::uint64_t items) {
  const auto strict = mk::read_done_slots(view, items);
  const auto recovered = mk::recover_done_slots(view, items);
  fuzz::check(recovered.has_value() == (items != 0 && items <= ring.size() / 64),
              "what is whole is counted");
  std::uint64_t done = 0;
  for (std::uint64_t i = 0; i < items && i < ring.size() / 64; ++i)
    done += fuzz::word_at(ring, i * 16) == 3;
  if (!fuzz::refused_as(strict, why_not_counted(ring.size(), items)))
    fuzz::check(*strict == done, "DONE slots are counted");
  if (recovered) fuzz::check(*recovered == done, "DONE slots are counted, strictly or not");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  fuzz::input in(data, size);
  const std::uint32_t count = in.number();
  const std::uint32_t shift = in.below(64);
  // Or next to the most slots that bytes can be counted of.
  const std::uint64_t items =
      shift == 63 ? (std::uint64_t{1} << 58) - 2 + count % 3 : std::uint64_t{count} << shift;
  const fuzz::block ring(in.rest(), size % 5);  // of any alignment
  const auto slots = static_cast<std::uint32_t>(ring.plain().size() / 64);
  for (std::uint32_t i = 0; i <= slots; ++i) check_load_miss(ring.plain(), ring.view(), i);
  check_load_miss(ring.plain(), ring.view(), 0xFFFF'FFFF);
  for (std::uint32_t i = 0; i < slots; ++i)
    check_packed(ring.plain().subspan(std::size_t{64} * i + 16, 48));
  check_done(ring.plain(), ring.view(), items);
  check_done(ring.plain(), ring.view(), slots);
  return 0;
}
