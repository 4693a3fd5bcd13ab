// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Publishing: an input is a sequence of calls on a ring and on the model of one. Both come
// out the same, a refusal with its place and figures; whole rings are compared after every call, so
// that what is refused changes nothing; what was published decodes back.
// docs/protocol.md#publish-slot
#include <optional>
#include <utility>
#include <variant>

#include "fuzz.h"
#include "oracle_decoder.h"
#include "refusal.h"
#include "ring_model.h"

#include "megakernel_import.h"

#include "real_ring.h"

namespace mk = megakernel;
namespace model = props::model;

namespace {

/// Inner operations of a packed slot: few, or one too many.
std::vector<model::inner_op> inner_from(fuzz::input& in) {
  const std::uint32_t code = in.below(16);
  const std::size_t count = code < 8     ? code
                            : code == 8  ? 23
                            : code == 9  ? 24
                            : code == 10 ? 256
                            : code == 11 ? 255
                                         : 2;
  std::vector<model::inner_op> ops(count);
  for (std::size_t i = 0; i < std::min<std::size_t>(count, 8); ++i)
    ops[i] = {.op = in.byte(), .arguments = in.numbers(5)};
  return ops;
}

model::entry entry_from(fuzz::input& in) {
  model::entry e{.packed = in.below(4) == 0,
                 .op = 0,
                 .tenant = in.number(),
                 .level = in.below(16) == 15 ? in.number() : in.below(5),
                 .arguments = {},
                 .inner = {}};
  if (e.packed) {
    e.inner = inner_from(in);
  } else {
    e.op = in.number();
    e.arguments = in.numbers(14);
  }
  return e;
}

template <class Make>
auto several(fuzz::input& in, Make make) {
  std::vector<decltype(make(in))> all;
  for (std::uint32_t count = in.below(6); count != 0; --count) all.push_back(make(in));
  return all;
}

/// What is asked of a request alone, which the publisher does not say first: what is wrong is what
/// an empty ring would refuse it for.
void check_alone(const model::entry& what, const model::publish_batch& batch,
                 const model::publish_window& window) {
  const auto of_ring = [](auto step, std::size_t slots) {
    step.first = 0;
    return model::ring(static_cast<std::uint32_t>(slots))(step);
  };
  if (!what.packed) {
    const auto got = mk::check(model::request_of(what));
    fuzz::check(model::reported(got) == model::ring(1)(model::publish_one{.slot = 0, .what = what}),
                "a request is checked as a ring checks it");
  }
  std::vector<mk::batch_item> items;
  for (const auto& e : batch.items) items.push_back({mk::opcode{e.op}, e.arguments});
  const auto of_batch = of_ring(batch, batch.items.size() + 1);
  fuzz::check(model::reported(mk::check(items)).refused == of_batch.refused,
              "a batch is checked as a ring checks it");
  const std::vector<std::span<const mk::word>> required(window.required.begin(),
                                                        window.required.end());
  const std::vector<std::span<const mk::word>> lookahead(window.lookahead.begin(),
                                                         window.lookahead.end());
  const auto of_window = of_ring(window, required.size() + lookahead.size());
  const auto got = mk::check(mk::window_request{.op = mk::opcode{window.op},
                                                .tenant = window.tenant,
                                                .ticket = window.ticket,
                                                .level = mk::priority{window.level},
                                                .required = required,
                                                .lookahead = lookahead});
  fuzz::check(model::reported(got).refused == of_window.refused,
              "a window is checked as a ring checks it");
}

/// The next call on `on`, a ring or its model: both read the same input.
template <class Ring>
model::outcome call(Ring& on, fuzz::input& in) {
  const auto alone = [](const auto&... requests) {
    if constexpr (std::is_same_v<Ring, model::ring>) check_alone(requests...);  // once is enough
  };
  const model::entry nothing{true, 0, 0, 0, {}, {}};
  const auto payload = [](fuzz::input& from) { return from.numbers(12); };
  const auto plain_entry = [](fuzz::input& from) {
    const std::uint32_t op = from.number();
    return model::entry{false, op, 0, 0, from.numbers(14), {}};
  };
  const auto item = [](fuzz::input& from) {
    return std::array<std::uint32_t, 4>{from.number(), from.number(), from.number(), from.number()};
  };
  const std::uint32_t kind = in.below(7);
  const std::uint32_t slot = in.number();
  switch (kind) {
    case 0: {
      const model::publish_one one{.slot = slot, .what = entry_from(in)};
      alone(one.what, model::publish_batch{}, model::publish_window{});
      return on(one);
    }
    case 1:
      return on(model::publish_each{.first = slot, .what = several(in, entry_from)});
    case 2: {
      const std::uint32_t tenant = in.number();
      const std::uint32_t tag = in.number();
      const model::publish_batch b{slot, tenant, tag, several(in, plain_entry)};
      alone(nothing, b, model::publish_window{});
      return on(b);
    }
    case 3: {
      model::publish_window w;
      w.first = slot;
      w.op = in.number();
      w.tenant = in.number();
      w.ticket = in.number();
      w.level = in.number();
      w.required = several(in, payload);
      w.lookahead = several(in, payload);
      alone(nothing, model::publish_batch{}, w);
      return on(w);
    }
    case 4: {
      const std::uint32_t tenant = in.number();
      return on(model::publish_items{slot, tenant, several(in, item)});
    }
    case 5: {
      const std::uint32_t resource = in.number();
      return on(model::publish_miss{slot, resource, in.flag()});
    }
    default:
      return on(model::poke{.slot = slot, .status = in.number()});  // a kernel's
  }
}

void record(std::string_view code) {
  for (std::size_t value = 1; value <= mk::error_codes; ++value) {
    if (mk::to_string(static_cast<mk::error_code>(value)) == code)
      fuzz::codes_reached[value] = true;
  }
}

bool same(std::span<const std::byte> ring, const model::words& words) {
  for (std::size_t i = 0; i < words.size(); ++i) {
    if (mk::load_word(ring.data(), i) != words[i]) return false;
  }
  return ring.size() == words.size() * 4;
}

/// What was published is what is decoded.
void decode_back(std::span<const std::byte> ring, const model::words& words) {
  const fuzz::block control(640);
  mk::ring_telemetry telemetry;
  fuzz::check(telemetry.decode(control.view(), ring).has_value(), "a ring decodes");
  for (const mk::slot_snapshot& slot : telemetry.slots()) {
    const std::uint32_t* const w = &words[std::size_t{16} * slot.index];
    fuzz::check(mk::word(slot.status) == w[0] && mk::word(slot.op) == w[1] && slot.tenant == w[2] &&
                    mk::word(slot.level) == w[3] && slot.arguments == std::array{w[4], w[5], w[6]},
                "what was published decodes back");
  }
}

/// Bytes that are a ring or are not.
void check_over(std::uint32_t size, std::size_t offset) {
  fuzz::block ring(size, offset);
  const auto got = mk::ring_publisher::over(ring.writable());
  fuzz::refusal wrong;
  if (size % 64 != 0)
    wrong = {"ring_partial_slot", 0, size, 64};
  else if (offset % 4 != 0)
    wrong = {"buffer_unaligned", 0, offset % 4, 4};
  if (fuzz::refused_as(got, wrong))
    fuzz::check(got.error().buffer == mk::buffer::ring, "and says of which buffer it is");
  else
    fuzz::check(got->slots() == size / 64, "slots are counted");
  // Before it is touched.
  const std::span<std::byte> endless(ring.writable().data(), std::size_t{64} << 32);
  fuzz::refused_as(mk::ring_publisher::over(endless),
                   fuzz::refusal{"ring_too_large", 0, std::uint64_t{1} << 32, 0xFFFF'FFFFu});
  const auto longest = mk::ring_publisher::over(endless.first((std::size_t{64} << 32) - 64));
  fuzz::check(offset % 4 != 0 ? longest.error().code == mk::error_code::buffer_unaligned
                              : longest->slots() == 0xFFFF'FFFFu,
              "the longest ring has a number for each slot");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  fuzz::input in(data, size);
  const std::uint32_t bytes = in.number() % 1024;
  check_over(bytes, in.below(8));
  const std::uint32_t slots = in.below(24);
  model::ring expected(slots);
  model::real_ring ring(slots);
  while (!in.empty()) {
    fuzz::input again = in;
    const model::outcome wanted = call(expected, in);
    const model::outcome got = call(ring, again);
    fuzz::check(wanted == got, "a call comes out as the model says, figure by figure");
    fuzz::check(same(ring.all(), expected.all()), "the ring is the model's, word by word");
    if (got.refused) record(got.refused->code);
  }
  decode_back(ring.all(), expected.all());
  return 0;
}
