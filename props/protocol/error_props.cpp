// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Every error code is reached, with the fields its sentence needs; the table is checked to be
// complete, so that a new code without a way to provoke it turns this test red.
#include <rapidcheck.h>

#include <sys/mman.h>

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <expected>
#include <iostream>
#include <set>
#include <span>
#include <sstream>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "counting_heap.h"

#include "error_tables.h"

import megakernel;

namespace {

using namespace props;
using namespace props::errors;
namespace mk = megakernel;
using code = mk::error_code;
using enum mk::error_code;
using mk::buffer;

mk::ring_telemetry snapshot(std::uint32_t done, std::size_t slots) {
  mk::ring_telemetry telemetry;
  const words control = words(160).set(1, done);
  RC_ASSERT(telemetry.decode(control.view(), some(slots * 64)).has_value());
  return telemetry;
}

refusal second_sample(const mk::ring_telemetry& first, const mk::ring_telemetry& second,
                      std::int64_t at) {
  mk::health_tracker tracker;
  RC_ASSERT(tracker.observe(first, std::chrono::nanoseconds(100)).has_value());
  return of(tracker.observe(second, std::chrono::nanoseconds(at)));
}

refusal strict_log(std::size_t size_in_words, std::uint32_t cursor) {
  return of(mk::read_debug_log(words(size_in_words).set(0, cursor).view()));
}

refusal packed(std::size_t count, std::span<const mk::word> arguments = {}) {
  return of(mk::packed_arguments(std::vector<mk::packed_op>(count, {1, arguments})));
}

/// Address space for a ring of 2^32 slots; no memory stands behind it, and nothing reads it.
struct reservation {
  static constexpr std::size_t size = std::size_t{64} << 32;
  void* at = mmap(nullptr, size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  reservation() = default;
  reservation(const reservation&) = delete;
  reservation& operator=(const reservation&) = delete;
  ~reservation() {
    if (there()) munmap(at, size);
  }
  [[nodiscard]] bool there() const { return at != MAP_FAILED; }
  [[nodiscard]] std::span<std::byte> bytes() const { return {static_cast<std::byte*>(at), size}; }
};

refusal digest(const words& of_ring, std::size_t size = 448) {
  mk::ring_digest decoded;
  return of(decoded.decode(some(640), of_ring.view().first(size)));
}
words empty_digest() { return words(112).set(0, 0x44524B4D).set(1, 1); }

/// Zero words to take arguments from.
constexpr std::array<mk::word, 16> args{};
std::span<const mk::word> take(std::size_t count) { return std::span(args).first(count); }

std::vector<provoker> decoder_provokers() {
  return {
      {{control_too_short, buffer::control, 0, 636, 640},
       [] { return of(mk::decode_control(some(636))); }},
      {{control_misaligned, buffer::control, 0, 641, 4},
       [] { return of(mk::decode_control(some(641))); }},
      {{control_missing_word, buffer::control, 128, 0, 128},
       [] { return of(mk::read_epoch(some(512))); }},
      {{observable_index_overflow, buffer::control, 0, 0xFFFFFFFF, 0xFFFFFF5F},
       [] { return of(mk::read_observable(some(640), 0xFFFFFFFF)); }},
      {{ring_partial_slot, buffer::ring, 0, 63, 64},
       [] { return of(mk::ring_view::over(some(640), some(63))); }},
      {{ring_misaligned, buffer::ring, 0, 65, 4},
       [] { return of(mk::read_done_slots(some(65), 1)); }},
      {{ring_too_short, buffer::ring, 0, 3, 2},
       [] { return of(mk::read_done_slots(some(128), 3)); }},
      {{item_count_overflow, buffer::ring, 0, 1ull << 58, (1ull << 58) - 1},
       [] { return of(mk::read_done_slots(some(128), 1ull << 58)); }},
      {{debug_log_misaligned, buffer::debug_log, 0, 5, 4},
       [] { return of(mk::read_debug_log(some(5))); }},
      {{debug_log_too_short, buffer::debug_log, 0, 0, 4},
       [] { return of(mk::read_debug_log({})); }},
      {{debug_log_cursor_out_of_range, buffer::debug_log, 0, 8, 4},
       [] { return strict_log(5, 8); }},
      {{debug_log_cursor_partial_record, buffer::debug_log, 0, 3, 4},
       [] { return strict_log(5, 3); }},
      {{packed_malformed, buffer::ring, 0, 2, 1},
       [] {
         const std::array<mk::word, 12> torn{0x02000101};
         return of(mk::read_packed_ops(torn));
       }},
      {{done_count_regressed, buffer::control, 1, 4, 5},
       [] { return of(mk::health_since(snapshot(5, 1).summary(), snapshot(4, 1).summary())); }},
      {{done_count_regressed, buffer::control, 1, 4, 5},
       [] { return second_sample(snapshot(5, 1), snapshot(4, 1), 101); }},
      {{clock_regressed, buffer::none, 0, 99, 100},
       [] { return second_sample(snapshot(5, 1), snapshot(5, 1), 99); }},
      {{ring_resized, buffer::ring, 0, 2, 1},
       [] { return second_sample(snapshot(5, 1), snapshot(5, 2), 101); }},
      {{digest_wrong_size, buffer::digest, 0, 447, 448}, [] { return digest(words(112), 447); }},
      {{digest_foreign, buffer::digest, 0, 0, 0x44524B4D}, [] { return digest(words(112), 448); }},
      {{digest_foreign, buffer::digest, 1, 2, 1}, [] { return digest(empty_digest().set(1, 2)); }},
      {{digest_inconsistent, buffer::digest, 4, 16'385, 16'384},
       [] { return digest(empty_digest().set(3, 1).set(4, 16'385)); }},
      {{digest_inconsistent, buffer::digest, 5, 8'193, 8'192},
       [] { return digest(empty_digest().set(5, 8'193)); }},
      {{digest_wrong_size, buffer::digest, 0, 448, 512},
       [] { return digest(empty_digest().set(5, 1)); }},
      {{digest_inconsistent, buffer::digest, 32, 0, 1},
       [] { return digest(empty_digest().set(2, 1)); }},
      {{out_of_memory, buffer::none, 0, 128, 1},
       [] {
         const heap::tripwire trip(0);
         return of(mk::encode_ring(2));
       }},
  };
}

std::vector<provoker> encoder_provokers() {
  return {
      {{observable_slots_too_large, buffer::control, 0, 1'048'577, 1'048'576},
       [] { return of(mk::encode_control({.observable_words = 1'048'577})); }},
      {{slot_count_too_large, buffer::ring, 0, 1'048'577, 1'048'576},
       [] { return of(mk::encode_ring(1'048'577)); }},
      {{record_capacity_too_large, buffer::debug_log, 0, 1'048'577, 1'048'576},
       [] { return of(mk::encode_debug_log(1'048'577)); }},
      {{work_items_exceed_slot_count, buffer::ring, 0, 2, 1},
       [] { return of(mk::encode_work_items(1, 0, std::array<mk::work_item, 2>{})); }},
      {{slot_out_of_range, buffer::ring, 0, 2, 2},
       [] { return of(words(32).ring().publish(2, {})); }},
      {{slot_index_overflow, buffer::ring, 0xFFFFFFFF, 2, 0xFFFFFFFF},
       [] {
         const std::array<mk::work_item, 2> items{};
         return of(words(32).ring().publish_work_items(0xFFFFFFFF, 0, items));
       }},
      {{slot_not_publishable, buffer::ring, 1, 2, 0},
       [] { return of(words(32).set(16, 2).ring().publish(1, {})); }},
      {{too_many_args, buffer::ring, 0, 13, 12},
       [] { return of(words(32).ring().publish(0, {.arguments = take(13)})); }},
      {{opcode_reserved, buffer::ring, 0, 0xFFFD, 0},
       [] { return of(words(32).ring().publish(0, {.op = mk::opcode::load_miss})); }},
      {{opcode_reserved, buffer::ring, 0, 0xFFFD, 0},
       [] { return of(mk::check(mk::slot_request{.op = mk::opcode::load_miss})); }},
      {{priority_out_of_range, buffer::ring, 0, 5, 4},
       [] { return of(words(32).ring().publish(0, {.level = mk::priority{5}})); }},
      {{packed_too_many_ops, buffer::ring, 0, 256, 255}, [] { return packed(256); }},
      {{packed_metadata_too_large, buffer::ring, 0, 13, 12}, [] { return packed(24); }},
      {{packed_payload_too_large, buffer::ring, 1, 14, 12}, [] { return packed(2, take(6)); }},
      {{window_payload_too_large, buffer::ring, 0, 11, 10},
       [] { return of(mk::window_arguments(0, mk::window_class::required, take(11))); }},
      {{batch_out_of_range, buffer::ring, 1, 2, 2},
       [] { return of(words(32).ring().publish_batch(1, 0, std::array<mk::batch_item, 1>{}, 0)); }},
      {{io_queue_partial_slot, buffer::io_queue, 0, 36, 32},
       [] {
         words queue(9);
         return of(mk::io_queue::over(writable(queue.all)));
       }},
      {{io_queue_too_large, buffer::io_queue, 0, 65, 64},
       [] { return of(mk::encode_io_queue(65)); }},
      {{io_slot_out_of_range, buffer::io_queue, 0, 1, 1},
       [] { return of(words(8).queue().claim(1)); }},
      {{io_slot_wrong_status, buffer::io_queue, 0, 3, 1},
       [] { return of(words(8).set(6, 3).queue().claim(0)); }},
      {{io_operation_unknown, buffer::io_queue, 0, 4, 3},
       [] { return of(words(8).queue().publish(0, {.operation = mk::io_operation{4}})); }},
      {{io_completion_repeated, buffer::io_queue, 1, 0, 0},
       [] {
         const std::array<mk::io_completion, 2> twice{};
         return of(words(8).set(6, 2).queue().complete(twice));
       }},
      {{buffer_unaligned, buffer::ring, 0, 1, 4},
       [] {
         words ring(17);
         return of(mk::ring_publisher::over(writable(ring.all).subspan(1, 64)));
       }},
      {{buffer_unaligned, buffer::io_queue, 0, 1, 4},
       [] {
         words queue(9);
         return of(mk::io_queue::over(writable(queue.all).subspan(1, 32)));
       }},
  };
}

std::vector<provoker> large_ring_provokers(const reservation& ring) {
  const mk::error wanted{ring_too_large, buffer::ring, 0, 1ull << 32, 0xFFFFFFFF};
  const std::span<const std::byte> bytes = ring.bytes();
  return {{wanted, [bytes] { return of(mk::ring_view::over(some(640), bytes)); }},
          {wanted, [bytes] { return of(mk::ring_telemetry().decode(some(640), bytes)); }},
          {wanted, [bytes] { return of(mk::ring_summary().decode(some(640), bytes)); }},
          {wanted, [&ring] { return of(mk::ring_publisher::over(ring.bytes())); }}};
}

constexpr bool sanitized =
#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) || \
    __has_feature(memory_sanitizer)
    true;
#else
    false;
#endif
#else
    false;
#endif

/// The sentence is whole and says what is special about this refusal, mostly the value found.
void expect_sentence(const mk::error& e) {
  const mk::error_message rendered = e.message();
  const std::string_view text = rendered.text();
  RC_ASSERT(text.size() > 20u);
  RC_ASSERT(text.back() == '.');
  RC_ASSERT(text.find_first_of("{}") == std::string_view::npos);
  const auto says = [text](std::uint64_t number) { return text.contains(std::to_string(number)); };
  RC_ASSERT(text.contains(e.subject()));
  switch (e.code) {
    case control_missing_word:
      RC_ASSERT(says(e.index));
      break;
    case sketch_accuracy_invalid:  // what was found are the bits of a double
      RC_ASSERT(text.contains("epsilon") && text.contains("delta"));
      break;
    case sketch_bytes_foreign:  // nothing was found
      RC_ASSERT(text.contains("mark of a sketch"));
      break;
    case limit_zero:  // always found to be zero
      RC_ASSERT(text.contains("is 0"));
      break;
    case feed_closed:  // nothing to say but that
      RC_ASSERT(text.contains("closed"));
      break;
    case already_launched:
      RC_ASSERT(text.contains("launched already"));
      break;
    case resource_repeated:  // its number was found twice
      RC_ASSERT(says(e.index));
      break;
    case ring_full:
      RC_ASSERT(says(e.found) && says(e.bound));
      break;
    case deadline_passed:
      RC_ASSERT(says(e.found) && (e.buffer != buffer::ring || says(e.index)));
      break;
    case policy_out_of_range:
      RC_ASSERT(text.contains(e.found < e.bound ? "at least " : "at most "));
      RC_ASSERT(says(e.bound));
      [[fallthrough]];
    default:
      RC_ASSERT(says(e.found));
  }
}

/// Codes whose index numbers something with a name.
bool has_subject(code c) { return c == limit_zero || c == policy_out_of_range || c == ring_full; }

std::vector<provoker> all_provokers() {
  std::vector<provoker> all;
  for (const auto table : {decoder_provokers, encoder_provokers, sketch_provokers,
                           sketch_byte_provokers, scaling_provokers, runtime_provokers}) {
    for (provoker& p : table()) all.push_back(std::move(p));
  }
  return all;
}

bool every_code() {
  return rc::check("every error code is reached, with its buffer, index, found value and bound",
                   [] {
                     const reservation ring;
                     auto table = all_provokers();
                     std::set<code> reached;
                     if (ring.there()) {
                       const auto most = ring.bytes().first(reservation::size - 64);
                       RC_ASSERT(mk::ring_view::over(some(640), most)->size() == 0xFFFFFFFF);
                       RC_ASSERT(mk::ring_publisher::over(most)->slots() == 0xFFFFFFFF);
                       const auto large = large_ring_provokers(ring);
                       table.insert(table.end(), large.begin(), large.end());
                     } else {
                       RC_ASSERT(sanitized);  // elsewhere there is address space enough
                       std::cerr << "ring_too_large not tried: no address space for 2^32 slots\n";
                       reached.insert(ring_too_large);
                     }
                     for (const provoker& p : table) {
                       RC_LOG() << "provoking " << mk::to_string(p.wanted.code) << '\n';
                       const refusal got = p.call();
                       RC_ASSERT(got.has_value());
                       RC_ASSERT(mk::to_string(got->code) == mk::to_string(p.wanted.code));
                       RC_ASSERT((got->buffer == p.wanted.buffer));
                       RC_ASSERT(got->index == p.wanted.index);
                       RC_ASSERT(got->found == p.wanted.found);
                       RC_ASSERT(got->bound == p.wanted.bound);
                       RC_ASSERT(got->subject().empty() != has_subject(got->code));
                       expect_sentence(*got);
                       reached.insert(got->code);
                     }
                     for (std::size_t value = 1; value <= mk::error_codes; ++value) {
                       RC_LOG() << "looking for " << mk::to_string(code(value)) << '\n';
                       RC_ASSERT(reached.contains(code(value)));
                     }
                     RC_ASSERT(reached.size() == mk::error_codes);
                   });
}

bool names() {
  return rc::check("codes have names of their own, and what is no code has none", [] {
    std::set<std::string_view> seen;
    for (std::size_t value = 1; value <= mk::error_codes; ++value) {
      const std::string_view name = mk::to_string(code(value));
      RC_ASSERT(!name.empty());
      RC_ASSERT(name != "unknown_error");
      RC_ASSERT(name.find_first_not_of("abcdefghijklmnopqrstuvwxyz_") == std::string_view::npos);
      RC_ASSERT(seen.insert(name).second);
    }
    const auto other = *rc::gen::oneOf(rc::gen::just<std::uint16_t>(0),
                                       between<std::uint16_t>(mk::error_codes + 1, 0xFFFE));
    RC_ASSERT(mk::to_string(code(other)) == "unknown_error");
    RC_ASSERT(mk::error{.code = code(other)}.message().text().back() == '.');
    RC_ASSERT(mk::to_string(buffer::none).empty());
    for (const buffer b : {buffer::control, buffer::ring, buffer::debug_log, buffer::io_queue,
                           buffer::sketch, buffer::digest})
      RC_ASSERT(seen.insert(mk::to_string(b)).second);
    RC_ASSERT(mk::to_string(buffer{99}).empty());
    // Nobody waits for a sketch.
    const mk::error odd{.code = mk::error_code::deadline_passed, .buffer = buffer::sketch};
    RC_ASSERT(!odd.message().text().empty());
  });
}

bool any_fields() {
  return rc::check("a message is whole and holds its numbers, however large they are", [] {
    const auto number =
        rc::gen::oneOf(uniform<std::uint64_t>(), rc::gen::element<std::uint64_t>(0, ~0ull));
    const mk::error e{.code = code(*between<std::uint16_t>(1, mk::error_codes)),
                      .buffer = buffer::ring,
                      .index = *number,
                      .found = *number,
                      .bound = *number};
    expect_sentence(e);
    RC_ASSERT(e.message().text().size() < 320u);  // nothing was cut off
    std::ostringstream stream;
    stream << e;
    RC_ASSERT(stream.str() == e.message().text());
    RC_ASSERT(std::string(e) == e.message().text());
  });
}

static_assert(std::is_trivially_copyable_v<mk::error>);

}  // namespace

int main() {
  bool ok = true;
  ok &= every_code();
  ok &= names();
  ok &= any_fields();
  return ok ? 0 : 1;
}
