// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Publishers against a model: the same bytes, the same refusals, and no byte changed by
// a refusal. docs/protocol.md#publish-slot
#include <rapidcheck.h>

#include <cstddef>
#include <cstdint>
#include <expected>
#include <span>
#include <utility>
#include <variant>
#include <vector>

#include "ring_model.h"
#include "ring_steps.h"
#include "support.h"

import megakernel;

#include "real_ring.h"

namespace {

using namespace props;
using model::real_ring;
using model::reported;
using model::why_not;
namespace mk = megakernel;

bool steps() {
  return rc::check("publishing follows the model, byte for byte and refusal for refusal", [] {
    const auto slots = *rc::gen::weightedOneOf<std::uint32_t>(
        {{4, between<std::uint32_t>(10, 24)}, {1, between<std::uint32_t>(0, 9)}});
    const auto steps = *rc::gen::container<std::vector<model::step>>(model::any_step());
    model::ring expected(slots);
    real_ring ring(slots);
    for (const model::step& s : steps) {
      const model::outcome wanted = std::visit(expected, s);
      const model::outcome got = std::visit(ring, s);
      if (wanted != got) {
        RC_LOG() << "model: " << (wanted.refused ? wanted.refused->code : "accepted") << '\n'
                 << "library: " << (got.refused ? got.refused->code : "accepted") << '\n';
        RC_FAIL("outcomes differ");
      }
      RC_ASSERT(to_bytes(ring.all()) == to_bytes(expected.all()));
    }
  });
}

bool work_items() {
  return rc::check("encoded work items are a fresh ring with the items published", [] {
    auto items = *rc::gen::build<model::publish_items>(
        rc::gen::set(&model::publish_items::tenant, any_word()),
        rc::gen::set(&model::publish_items::items,
                     model::up_to_four(rc::gen::apply(
                         [](std::uint32_t op, std::uint32_t a, std::uint32_t b, std::uint32_t c) {
                           return std::array<std::uint32_t, 4>{op, a, b, c};
                         },
                         model::mostly_publishable(), any_word(), any_word(), any_word()))));
    const auto slots = *rc::gen::weightedOneOf<std::uint32_t>(
        {{30, between<std::uint32_t>(0, 6)},
         {1, rc::gen::element<std::uint32_t>(1'048'576, 1'048'577, 0xFFFFFFFF)}});
    const auto got = mk::encode_work_items(slots, items.tenant, real_ring::items_of(items));
    if (items.items.size() > slots) {
      RC_ASSERT((why_not(got) ==
                 model::refusal{"work_items_exceed_slot_count", 0, items.items.size(), slots}));
      return;
    }
    model::ring expected(slots > 1'048'576 ? 8 : slots);
    const model::outcome wanted = expected(items);
    if (wanted.refused) {
      RC_ASSERT((why_not(got) == *wanted.refused));
    } else if (slots > 1'048'576) {
      RC_ASSERT((why_not(got) == model::refusal{"slot_count_too_large", 0, slots, 1'048'576}));
    } else {
      RC_ASSERT(got.has_value());
      RC_ASSERT(to_bytes(std::span<const std::byte>(got->data(), got->size())) ==
                to_bytes(expected.all()));
    }
  });
}

bool packed_arguments() {
  return rc::check("a packed slot's words are the model's, and read back as what was packed", [] {
    const auto inner = *model::any_inner();
    RC_PRE(inner.size() < 300u);
    const model::entry e{true, 0, 0, 0, {}, inner};
    const auto wanted = model::pack(inner);
    const auto got = mk::packed_arguments(inner_of(e));
    if (const auto* no = std::get_if<model::refusal>(&wanted)) {
      RC_ASSERT((why_not(got) == *no));
      return;
    }
    RC_ASSERT(got.has_value());
    const auto& words = std::get<model::words>(wanted);
    RC_ASSERT(model::words(got->used().begin(), got->used().end()) == words);
    for (std::size_t i = words.size(); i < 12; ++i) RC_ASSERT(got->words[i] == 0u);

    const auto back = mk::read_packed_ops(got->words);
    RC_ASSERT(back.has_value());
    RC_ASSERT(back->size() == inner.size());
    for (std::uint32_t i = 0; i < back->size(); ++i) {
      const auto op = (*back)[i];
      RC_ASSERT(op.opcode == inner[i].op);
      RC_ASSERT(model::words(op.arguments.begin(), op.arguments.end()) == inner[i].arguments);
    }
  });
}

bool any_packed_words() {
  return rc::check("any twelve words are a packed slot read inside its words, or refused", [] {
    prng d(*uniform<std::uint64_t>());
    std::array<mk::word, 12> words{};
    bytes raw = noise(d, 48);
    if (d.one_in(2)) raw[0] = static_cast<unsigned char>(d.below(24));
    if (d.one_in(2)) raw[1] = static_cast<unsigned char>(d.below(13));
    for (std::size_t i = 0; i < 12; ++i) words[i] = oracle::word_at(raw, i);

    const unsigned count = raw[0];
    const unsigned held = raw[1];
    const unsigned table = (2 + 2 * count + 3) / 4;
    model::refusal wanted;
    if (table > 12) {
      wanted = {"packed_metadata_too_large", 0, table, 12};
    } else if (table + held > 12) {
      wanted = {"packed_payload_too_large", 0, table + held, 12};
    } else {
      unsigned before = 0;
      for (unsigned i = 0; i < count && wanted.code.empty(); ++i) {
        const unsigned offset = raw[3 + 2 * i];
        if (offset > held || offset < before) wanted = {"packed_malformed", i, offset, held};
        before = offset;
      }
    }
    const auto got = mk::read_packed_ops(words);
    RC_ASSERT(got.has_value() == wanted.code.empty());
    if (!got) {
      RC_ASSERT((why_not(got) == wanted));
      return;
    }
    RC_ASSERT(got->size() == count);
    for (unsigned i = 0; i < count; ++i) {
      const unsigned begin = raw[3 + 2 * i];
      const unsigned end = i + 1 < count ? raw[5 + 2 * i] : held;
      const auto op = (*got)[i];
      RC_ASSERT(op.opcode == raw[2 + 2 * i]);
      RC_ASSERT(op.arguments.size() == end - begin);
      for (unsigned a = 0; a < end - begin; ++a)
        RC_ASSERT(op.arguments[a] == words[table + begin + a]);
    }
  });
}

bool window_arguments() {
  return rc::check("a window entry's arguments are ticket, class and payload, the rest zero", [] {
    const auto ticket = *any_word();
    const auto lookahead = *rc::gen::arbitrary<bool>();
    const auto payload = *model::any_words(12);
    const auto got = mk::window_arguments(
        ticket, lookahead ? mk::window_class::lookahead : mk::window_class::required, payload);
    if (payload.size() > 10) {
      RC_ASSERT(
          (why_not(got) == model::refusal{"window_payload_too_large", 0, payload.size(), 10}));
      return;
    }
    RC_ASSERT(got.has_value());
    model::words expected{ticket, lookahead};
    expected.insert(expected.end(), payload.begin(), payload.end());
    RC_ASSERT(got->count == expected.size());
    expected.resize(12);
    RC_ASSERT(model::words(got->words.begin(), got->words.end()) == expected);
  });
}

}  // namespace

int main() {
  bool ok = true;
  ok &= steps();
  ok &= work_items();
  ok &= packed_arguments();
  ok &= any_packed_words();
  ok &= window_arguments();
  return ok ? 0 : 1;
}
