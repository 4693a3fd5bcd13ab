// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Every one and every two flipped bits of a control buffer, and every length from nothing to twice
// the least one of whatever is read back.
//
// All 13,109,760 of them are tried on the copy that every reader of a decoded control buffer reads
// from. The readers themselves, which see a few words each, are compared with the plain decoder for
// every single flip, and for every two within the words that one reader combines or that decide how
// others are read: SHUTDOWN, DONE_COUNT, TENANT_BASE and a mask, EPOCH to the last reserved word,
// and one word of each table.
#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <expected>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "exhaustive.h"

#include "oracle_terms.h"

namespace {

using namespace props;

/// Words that a kernel would have written, none of them zero.
std::vector<std::uint32_t> running() {
  std::vector<std::uint32_t> words(162);
  for (std::uint32_t i = 0; i < words.size(); ++i) words[i] = 0x01010101u * (i + 1);
  words[0] = 0;
  words[1] = 41;
  words[2] = 3;
  for (std::uint32_t i = 96; i < 128; i += 3) words[i] = 0;
  words[141] = 1;
  return words;
}

std::uint64_t copies(std::string& now) {
  std::vector<std::uint32_t> words = running();
  words.resize(160);
  bytes flipped = to_bytes(words);
  const auto view = std::as_bytes(std::span(flipped));
  return with_flips(flipped, bit_range{0, 5120}, now, [&] {
    const auto got = mk::decode_control(view);
    require(got.has_value());
    if constexpr (mk::wire_is_native) {
      require(std::memcmp(got->words().data(), flipped.data(), 640) == 0);
    } else {
      for (std::size_t i = 0; i < 160; ++i) require(got->words()[i] == oracle::word_at(flipped, i));
    }
  });
}

/// All named readers of one control buffer.
class readers {
 public:
  void agree(const bytes& control) {
    const auto view = std::as_bytes(std::span(control));
    oracle::decode(control, {}, {}, expected_);
    const auto decoded = mk::decode_control(view);
    require(decoded.has_value() && plainly(*decoded) == expected_.control);
    require(summary_.decode(view, {}).has_value() && telemetry_.decode(view, {}).has_value());
    require(summary_.control() == *decoded && telemetry_.control() == *decoded);
    const auto over = mk::ring_view::over(view, {});
    require(over.has_value() && over->control() == *decoded);
    const auto word = [&](std::size_t i) { return oracle::word_at(control, i); };
    require(decoded->starvation() == word(135));
    for (std::size_t i = 0; i < 6; ++i) require(decoded->priority_offsets()[i] == word(129 + i));
    for (std::size_t i = 0; i < 32; ++i) require(decoded->quotas()[i] == word(32 + i));
    for (const std::uint32_t tenant : {0u, 1u, 28u, 29u, 31u, 0xFFFFFFFFu}) {
      const std::uint64_t at = std::uint64_t{word(2)} + tenant;
      const bool serves = tenant < 29 && at >= 3 && at < 32 && word(at) != 0;
      require(decoded->authorises(tenant) == serves);
    }
    require(holds(mk::read_done_count(view), word(1)));
    require(holds(mk::read_epoch(view), word(128)));
    const auto metrics = mk::read_metrics(view);
    require(metrics.has_value());
    for (std::size_t i = 0; i < 32; ++i) require((*metrics)[i] == word(96 + i));
    require(summary_.counters().drained_slots == word(1));
  }

 private:
  mk::ring_summary summary_;
  mk::ring_telemetry telemetry_;
  oracle::decoded expected_;
};

std::uint64_t single_flips(std::string& now) {
  bytes control = to_bytes(running());
  readers all;
  for (std::size_t bit = 0; bit < 5120; ++bit) {
    now = "bit " + std::to_string(bit);
    flip(control, bit);
    all.agree(control);
    flip(control, bit);
  }
  return 5120;
}

std::uint64_t flips_of_what_matters(std::string& now) {
  std::vector<std::size_t> bits;
  std::vector<std::size_t> words{0, 1, 2, 3, 4, 31, 32, 64, 96, 97};
  for (std::size_t w = 128; w < 160; ++w) words.push_back(w);
  for (const std::size_t w : words) {
    for (std::size_t b = 0; b < 32; ++b) bits.push_back(32 * w + b);
  }
  bytes control = to_bytes(running());
  readers all;
  return with_flips(control, bits, now, [&] { all.agree(control); });
}

std::uint64_t done_counts(std::string& now) {
  // Between two samples: a count that fell is refused, and the refusal says so.
  const bytes before = to_bytes(running());
  bytes after = before;
  mk::ring_summary first;
  mk::ring_summary second;
  require(first.decode(std::as_bytes(std::span(before)), {}).has_value());
  return with_flips(after, bit_range{32, 32}, now, [&] {
    require(second.decode(std::as_bytes(std::span(after)), {}).has_value());
    const std::uint32_t now_done = oracle::word_at(after, 1);
    const auto delta = mk::health_since(first, second);
    require(delta.has_value() == (now_done >= 41));
    if (delta) {
      require(delta->done_delta == now_done - 41);
    } else {
      require(delta.error().code == mk::error_code::done_count_regressed &&
              delta.error().found == now_done && delta.error().bound == 41);
    }
  });
}

/// Calls `check` with blocks of every length up to `most`, each ending where its memory does.
template <class Check>
std::uint64_t every_length(std::size_t most, std::string& now, Check check) {
  prng d(most);
  for (std::size_t length = 0; length <= most; ++length) {
    now = "length " + std::to_string(length);
    const placed block(noise(d, length), length % 4);
    check(block.plain());
  }
  return most + 1;
}

std::string_view refusal_of(const auto& got) {
  return got ? std::string_view() : mk::to_string(got.error().code);
}

std::uint64_t control_and_ring_lengths(std::string& now) {
  mk::ring_telemetry telemetry;
  mk::ring_summary summary;
  const bytes whole(640);
  oracle::decoded expected;
  const auto compare = [&](std::span<const unsigned char> control,
                           std::span<const unsigned char> ring) {
    oracle::decode(control, ring, {}, expected);
    const auto c = std::as_bytes(control);
    const auto r = std::as_bytes(ring);
    require(refusal_of(telemetry.decode(c, r)) == expected.error);
    require(refusal_of(summary.decode(c, r)) == expected.error);
    require(refusal_of(mk::ring_view::over(c, r)) == expected.error);
    require(telemetry.slots().size() == expected.slots.size());
    require(plainly(summary.occupancy()) == expected.occupancy);
    require(plainly(summary.control()) == expected.control);
  };
  std::uint64_t cases = every_length(2 * 640, now, [&](auto control) {
    compare(control, {});
    compare(control, std::span(whole).first(64));
    const bool decodes = control.size() >= 640 && control.size() % 4 == 0;
    require(mk::decode_control(std::as_bytes(control)).has_value() == decodes);
    bytes kept(control.begin(), control.end());
    const bool writes = control.size() % 4 == 0 && control.size() >= 135 * 4;
    require(mk::write_priority_offsets(std::as_writable_bytes(std::span(kept)), 10).has_value() ==
            writes);
    if (!writes) require(std::ranges::equal(kept, control));
    const bool whole_words = control.size() % 4 == 0;
    const auto bytes_of = std::as_bytes(control);
    require(mk::read_done_count(bytes_of).has_value() == (whole_words && control.size() >= 8));
    require(mk::read_epoch(bytes_of).has_value() == (whole_words && control.size() >= 516));
    require(mk::read_metrics(bytes_of).has_value() == (whole_words && control.size() >= 512));
    for (const std::uint32_t index : {0u, 1u, 5u, 159u, 160u, 0xFFFFFF5Fu}) {
      require(mk::read_observable(bytes_of, index).has_value() ==
              (whole_words && control.size() >= 4 * (std::uint64_t{161} + index)));
    }
  });
  cases += every_length(2 * 64, now, [&](auto ring) {
    compare(whole, ring);
    const std::size_t slots = ring.size() / 64;
    for (std::uint32_t i = 0; i < 4; ++i) {
      const auto view = std::as_bytes(ring);
      require(mk::read_done_slots(view, i).has_value() ==
              (i == 0 || (ring.size() % 4 == 0 && i <= slots)));
      require(mk::recover_done_slots(view, i).has_value() == (i != 0 && i <= slots));
      const bool is_miss = i < slots && oracle::word_at(ring, 16 * i + 1) == 0xFFFD;
      require(mk::read_load_miss(view, i).has_value() == is_miss);
    }
    std::vector<std::uint32_t> storage(ring.size() / 4 + 1);
    const auto over = mk::ring_publisher::over(writable(storage).first(ring.size()));
    require(over.has_value() == (ring.size() % 64 == 0));
  });
  return cases;
}

std::uint64_t debug_log_lengths(std::string& now) {
  // The least log is its cursor and one record.
  std::uint64_t cases = 0;
  for (std::uint32_t cursor = 0; cursor < 16; ++cursor) {
    cases += every_length(2 * 20, now, [&](std::span<const unsigned char> noisy) {
      bytes log(noisy.begin(), noisy.end());
      if (log.size() >= 4) put(log, 0, cursor);
      const auto view = std::as_bytes(std::span(log));
      const std::size_t capacity = log.size() < 4 ? 0 : log.size() / 4 - 1;
      const std::string_view wanted = log.size() % 4 != 0 ? "debug_log_misaligned"
                                      : log.empty()       ? "debug_log_too_short"
                                      : cursor > capacity ? "debug_log_cursor_out_of_range"
                                      : cursor % 4 != 0   ? "debug_log_cursor_partial_record"
                                                          : "";
      require(refusal_of(mk::read_debug_log(view)) == wanted);
      const std::size_t kept = log.size() < 4 ? 0 : std::min<std::size_t>(cursor / 4, capacity / 4);
      require(mk::recover_debug_log(view).records.size() == kept);
    });
  }
  return cases;
}

std::uint64_t io_queue_lengths(std::string& now) {
  // Past the most there can be, too: 64 slots.
  std::vector<std::uint32_t> storage(65 * 8 + 1);
  for (std::size_t length = 0; length <= 65 * 32; ++length) {
    now = "length " + std::to_string(length);
    const auto over = mk::io_queue::over(writable(storage).first(length));
    const std::string_view wanted = length % 32 != 0   ? "io_queue_partial_slot"
                                    : length > 64 * 32 ? "io_queue_too_large"
                                                       : "";
    require(refusal_of(over) == wanted);
    if (over) require(over->slots() == length / 32 && !over->status(over->slots()).has_value());
  }
  return 65 * 32 + 1;
}

std::uint64_t sketch_lengths(std::string& now) {
  auto one = mk::count_min_sketch::of_shape(1, 1).value();
  auto five = mk::telemetry_sketch::of_shape(1, 1).value();
  const auto small = mk::write_sketch(one).value();
  const auto large = mk::write_sketch(five).value();
  std::uint64_t cases = 0;
  const auto lengths = [&](std::span<const std::byte> whole, auto read) {
    for (std::size_t length = 0; length <= 2 * whole.size(); ++length, ++cases) {
      now = "length " + std::to_string(length);
      bytes cut = to_bytes(whole.first(std::min(length, whole.size())));
      cut.resize(length);
      const placed block(cut, length % 8);
      const std::string_view wanted = length < whole.size()   ? "sketch_bytes_truncated"
                                      : length > whole.size() ? "sketch_bytes_trailing"
                                                              : "";
      require(refusal_of(read(block.view())) == wanted);
    }
  };
  lengths({small.data(), small.size()}, [](auto view) { return mk::read_count_min_sketch(view); });
  lengths({large.data(), large.size()}, [](auto view) { return mk::read_telemetry_sketch(view); });
  return cases;
}

}  // namespace

int main() {
  bool ok = true;
  ok &= exhaustively("flips of a control buffer, copied", copies);
  ok &= exhaustively("single flips of a control buffer, through every reader", single_flips);
  ok &= exhaustively("flips of control words that are read together", flips_of_what_matters);
  ok &= exhaustively("flips of a done count between two looks", done_counts);
  ok &= exhaustively("lengths of control buffers and rings", control_and_ring_lengths);
  ok &= exhaustively("lengths of debug logs", debug_log_lengths);
  ok &= exhaustively("lengths of IO queues", io_queue_lengths);
  ok &= exhaustively("lengths of sketches", sketch_lengths);
  return ok ? 0 : 1;
}
