// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Fresh buffers: any layout. What is made has its length and is zero but for the
// words that are named; what is too large, or has no memory, is refused.
// docs/protocol.md#encode-control docs/protocol.md#encode-zeroed
#include <optional>
#include <utility>
#include <variant>

#include "failing_heap.h"
#include "fuzz.h"
#include "oracle_decoder.h"
#include "refusal.h"
#include "ring_model.h"

#include "megakernel_import.h"

#include "real_ring.h"

namespace mk = megakernel;
namespace model = props::model;

namespace {

constexpr std::uint32_t most = 1'048'576;

/// What a buffer is to be: a refusal, or words. The largest ones are only asked for: there is no
/// memory for them.
struct wanted {
  fuzz::refusal refusal;
  std::uint64_t bytes = 0;
  fuzz::words words;
};

/// Words as long as that, or too many of something.
wanted zeros(std::uint64_t words, std::string_view too_many, std::uint64_t count,
             std::uint64_t bound) {
  if (count > bound) return {{too_many, 0, count, bound}, 0, {}};
  return {{}, 4 * words, fuzz::words(count == most ? 0 : words)};
}

/// Moved away, a buffer is empty, and may be used again.
void check_moved(mk::byte_buffer buffer) {
  const std::size_t size = buffer.size();
  const std::byte* const storage = buffer.data();
  const auto gone = [](const mk::byte_buffer& b) {
    return b.size() == 0 && b.empty() && b.capacity() == 0 && b.data() == nullptr;
  };
  mk::byte_buffer other(std::move(buffer));
  fuzz::check(
      gone(buffer) && other.size() == size && other.data() == storage,  // NOLINT: on purpose
      "moving moves the storage");
  mk::byte_buffer third;
  fuzz::check(third.resize_for_overwrite(3).has_value() && third.size() == 3,
              "three bytes are made");
  third = std::move(other);
  fuzz::check(gone(other) && third.size() == size && third.data() == storage,  // NOLINT: on purpose
              "and so does a move over what was there");
  fuzz::check(other.reserve(9).has_value() && other.empty() && other.capacity() >= 9,
              "what was moved from can grow");
  other.push_within_capacity(std::byte{7});
  fuzz::check(other.reserve(100).has_value() && other.size() == 1 && other[0] == std::byte{7},
              "growing keeps what is there");
}

void check_made(mk::result<mk::byte_buffer> got, const wanted& w) {
  if (fuzz::short_memory::ran_out()) {
    fuzz::refused_as(got, fuzz::refusal{"out_of_memory", 0, w.bytes, 1});
    return;
  }
  if (fuzz::refused_as(got, w.refusal)) return;
  fuzz::check(got->size() == w.words.size() * 4, "a buffer is as long as its layout says");
  for (std::size_t i = 0; i < w.words.size(); ++i)
    fuzz::check(mk::load_word(got->data(), i) == w.words[i],
                "a fresh buffer is zero but for what it says of itself");
  const fuzz::short_memory plenty(0);  // an empty buffer has not asked for what should have failed
  check_moved(std::move(*got));
}

void control(fuzz::input& in, std::uint32_t count) {
  const mk::control_layout layout{
      .shutdown = in.flag(), .tenants = in.number(), .observable_words = count};
  wanted w;
  if (count > most) {
    w.refusal = {"observable_slots_too_large", 0, count, most};
  } else {
    w.bytes = 4 * (std::uint64_t{160} + count);
    w.words.resize(160 + (count == most ? 0 : count));
    w.words[0] = layout.shutdown;
    w.words[2] = 3;
    for (std::uint32_t t = 0; t < layout.tenants && t < 29; ++t) w.words[3 + t] = 0xFFFF'FFFF;
    for (std::uint32_t t = 0; t < layout.tenants && t < 32; ++t) w.words[32 + t] = 1'000'000;
  }
  check_made(mk::encode_control(layout), w);
}

void work_items(fuzz::input& in, std::uint32_t count) {
  model::publish_items items{.first = 0, .tenant = in.number(), .items = {}};
  for (std::uint32_t n = in.below(6); n != 0; --n)
    items.items.push_back({in.number(), in.number(), in.number(), in.number()});
  model::ring expected(std::min(count, 300u));
  wanted w;
  if (items.items.size() > count) {
    w.refusal = {"work_items_exceed_slot_count", 0, items.items.size(), count};
  } else if (const auto out = expected(items); out.refused) {
    w.refusal = {out.refused->code, out.refused->index, out.refused->found, out.refused->bound};
  } else if (count > most) {
    w.refusal = {"slot_count_too_large", 0, count, most};
  } else {
    w.bytes = std::uint64_t{64} * count;
    w.words = expected.all();
  }
  check_made(mk::encode_work_items(count, items.tenant, model::real_ring::items_of(items)), w);
}

void lengths(std::uint32_t count) {
  const auto check = [](std::optional<std::uint64_t> got, std::uint64_t words) {
    fuzz::check(got.has_value() == (words <= 0xFFFF'FFFFu) && (!got || *got == words * 4),
                "a length is of words that 32 bits can count");
  };
  check(mk::control_byte_length(count), std::uint64_t{160} + count);
  check(mk::ring_byte_length(count), std::uint64_t{16} * count);
  check(mk::debug_log_byte_length(count), 1 + std::uint64_t{4} * count);
  std::uint32_t first = 0;
  const auto offsets = mk::default_priority_offsets(count);
  for (std::size_t p = 0; p < 6; ++p) {
    fuzz::check(offsets[p] == first, "partitions follow one another");
    first += count / 5 + (p == 2 ? count % 5 : 0);
  }
  fuzz::check(offsets[5] == count, "the last offset is the number of slots");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const fuzz::balanced_memory balance;
  fuzz::input in(data, size);
  const std::uint32_t kind = in.below(5);
  const bool fails = in.below(16) == 15;
  const std::uint32_t any = in.number();
  if (any == most && !fuzz::heap_fails) return 0;  // there would be memory for it
  const fuzz::short_memory scarce(fails || any == most ? 1 : 0);
  lengths(any);
  const std::uint32_t count = any > 300 && any < most ? any % 300 : any;  // quick to make
  switch (kind) {
    case 0:
      control(in, count);
      break;
    case 1:
      check_made(mk::encode_ring(count),
                 zeros(std::uint64_t{16} * count, "slot_count_too_large", count, most));
      break;
    case 2:
      check_made(mk::encode_debug_log(count),
                 zeros(1 + std::uint64_t{4} * count, "record_capacity_too_large", count, most));
      break;
    case 3:
      check_made(mk::encode_io_queue(count),
                 zeros(std::uint64_t{8} * count, "io_queue_too_large", count, 64));
      break;
    default:
      work_items(in, count);
  }
  return 0;
}
