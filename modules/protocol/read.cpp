// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
module;
#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <expected>
#include <optional>
#include <span>
module megakernel.protocol;

namespace megakernel {
namespace {

/// The one place that decides whether words [first, first + count) of a control buffer are there.
/// docs/protocol.md#read-words
result<void> check_words(std::span<const std::byte> control, std::uint64_t first,
                         std::uint64_t count) noexcept {
  if (control.size() % sizeof(word) != 0) {
    return std::unexpected(error{.code = error_code::control_misaligned,
                                 .buffer = buffer::control,
                                 .found = control.size(),
                                 .bound = sizeof(word)});
  }
  const std::uint64_t words = control.size() / sizeof(word);
  if (first + count > words) {
    return std::unexpected(error{.code = error_code::control_missing_word,
                                 .buffer = buffer::control,
                                 .index = std::max(first, words),
                                 .bound = words});
  }
  return {};
}

result<word> read_word(std::span<const std::byte> control, std::uint64_t index) noexcept {
  if (auto checked = check_words(control, index, 1); !checked)
    return std::unexpected(checked.error());
  return load_word(control.data(), index);
}

std::uint64_t count_done(std::span<const std::byte> ring, std::uint64_t items) noexcept {
  std::uint64_t done = 0;
  for (std::uint64_t i = 0; i < items; ++i) {
    const word status = load_word(ring.data() + i * abi::slot_bytes, abi::status_word);
    done += status == word(slot_status::done);
  }
  return done;
}

}  // namespace

result<word> read_done_count(std::span<const std::byte> control) noexcept {
  return read_word(control, abi::done_count_word);
}

result<word> read_epoch(std::span<const std::byte> control) noexcept {
  return read_word(control, abi::epoch_word);
}

result<word> read_observable(std::span<const std::byte> control, std::uint32_t index) noexcept {
  if (index > abi::max_observable_words) {
    return std::unexpected(error{.code = error_code::observable_index_overflow,
                                 .buffer = buffer::control,
                                 .found = index,
                                 .bound = abi::max_observable_words});
  }
  return read_word(control, std::uint64_t{abi::observable_word} + index);
}

// docs/protocol.md#read-lenient
word recover_observable(std::span<const std::byte> control, std::uint32_t index) noexcept {
  const std::uint64_t at = std::uint64_t{abi::observable_word} + index;
  return at < control.size() / sizeof(word) ? load_word(control.data(), at) : 0;
}

result<metric_counters> read_metrics(std::span<const std::byte> control) noexcept {
  if (auto checked = check_words(control, abi::metric_word, abi::metrics); !checked)
    return std::unexpected(checked.error());
  return recover_metrics(control);
}

metric_counters recover_metrics(std::span<const std::byte> control) noexcept {
  const std::uint64_t words = control.size() / sizeof(word);
  std::array<word, abi::metrics> counts{};
  for (word i = 0; i < abi::metrics && abi::metric_word + i < words; ++i)
    counts[i] = load_word(control.data(), abi::metric_word + i);
  return metric_counters(counts);
}

// docs/protocol.md#read-done-slots
result<std::uint64_t> read_done_slots(std::span<const std::byte> ring,
                                      std::uint64_t items) noexcept {
  if (items == 0) return 0;
  constexpr std::uint64_t most = ~std::uint64_t{0} / abi::slot_bytes;
  if (items > most) {
    return std::unexpected(error{.code = error_code::item_count_overflow,
                                 .buffer = buffer::ring,
                                 .found = items,
                                 .bound = most});
  }
  if (ring.size() % sizeof(word) != 0) {
    return std::unexpected(error{.code = error_code::ring_misaligned,
                                 .buffer = buffer::ring,
                                 .found = ring.size(),
                                 .bound = sizeof(word)});
  }
  if (items > ring.size() / abi::slot_bytes) {
    return std::unexpected(error{.code = error_code::ring_too_short,
                                 .buffer = buffer::ring,
                                 .found = items,
                                 .bound = ring.size() / abi::slot_bytes});
  }
  return count_done(ring, items);
}

std::optional<std::uint64_t> recover_done_slots(std::span<const std::byte> ring,
                                                std::uint64_t items) noexcept {
  if (items == 0 || items > ring.size() / abi::slot_bytes) return std::nullopt;
  return count_done(ring, items);
}

// docs/protocol.md#load-miss-slot
std::optional<load_miss> read_load_miss(std::span<const std::byte> ring,
                                        std::uint32_t slot) noexcept {
  if (slot >= ring.size() / abi::slot_bytes) return std::nullopt;
  const std::byte* const at = ring.data() + std::size_t{slot} * abi::slot_bytes;
  if (opcode{load_word(at, abi::opcode_word)} != opcode::load_miss) return std::nullopt;
  return load_miss{.resource = load_word(at, abi::argument_word),
                   .prefetch = load_word(at, abi::argument_word + 1) != 0};
}

debug_record debug_log::operator[](std::size_t i) const noexcept {
  const std::size_t at = i * abi::debug_record_words;
  return {.format = load_word(records_, at),
          .arguments = {load_word(records_, at + 1), load_word(records_, at + 2),
                        load_word(records_, at + 3)}};
}

// docs/protocol.md#read-debug-log
result<debug_log> read_debug_log(std::span<const std::byte> log) noexcept {
  const auto refuse = [](error_code code, std::uint64_t found, std::uint64_t bound) {
    return std::unexpected(
        error{.code = code, .buffer = buffer::debug_log, .found = found, .bound = bound});
  };
  if (log.size() % sizeof(word) != 0)
    return refuse(error_code::debug_log_misaligned, log.size(), sizeof(word));
  if (log.empty()) return refuse(error_code::debug_log_too_short, log.size(), sizeof(word));
  const word cursor = load_word(log.data(), abi::debug_cursor_word);
  const std::uint64_t capacity = log.size() / sizeof(word) - abi::debug_record_word;
  if (cursor > capacity) return refuse(error_code::debug_log_cursor_out_of_range, cursor, capacity);
  if (cursor % abi::debug_record_words != 0)
    return refuse(error_code::debug_log_cursor_partial_record, cursor, abi::debug_record_words);
  return recover_debug_log(log).records;
}

// docs/protocol.md#read-lenient
recovered_debug_log recover_debug_log(std::span<const std::byte> log) noexcept {
  recovered_debug_log recovered;
  if (log.size() < sizeof(word)) return recovered;
  const word cursor = load_word(log.data(), abi::debug_cursor_word);
  const std::uint64_t words = log.size() / sizeof(word) - abi::debug_record_word;
  const std::uint64_t fitting = words / abi::debug_record_words;
  const std::uint64_t whole = cursor / abi::debug_record_words;
  const std::uint64_t started = whole + (cursor % abi::debug_record_words != 0);
  recovered.records.records_ = log.data() + abi::debug_record_word * sizeof(word);
  recovered.records.size_ = std::min(whole, fitting);
  recovered.dropped = static_cast<std::uint32_t>(started - recovered.records.size_);
  return recovered;
}

packed_ops::op packed_ops::operator[](std::uint32_t i) const noexcept {
  const std::size_t entry = abi::packed_header_bytes + std::size_t{abi::packed_op_bytes} * i;
  const word begin = byte(entry + 1);
  const word end = i + 1 < size_ ? byte(entry + abi::packed_op_bytes + 1) : byte(1);
  return {.opcode = static_cast<std::uint8_t>(byte(entry)),
          .arguments =
              std::span(words_).subspan(abi::packed_metadata_words(size_) + begin, end - begin)};
}

// docs/protocol.md#read-packed
result<packed_ops> read_packed_ops(std::span<const word, abi::argument_words> arguments) noexcept {
  const auto refuse = [](error_code code, std::uint64_t index, std::uint64_t found,
                         std::uint64_t bound) {
    return std::unexpected(error{
        .code = code, .buffer = buffer::ring, .index = index, .found = found, .bound = bound});
  };
  packed_ops ops;
  std::ranges::copy(arguments, ops.words_.begin());
  ops.size_ = ops.byte(0);
  const word held = ops.byte(1);
  const word table = abi::packed_metadata_words(ops.size_);
  if (table > abi::argument_words)
    return refuse(error_code::packed_metadata_too_large, 0, table, abi::argument_words);
  if (table + held > abi::argument_words)
    return refuse(error_code::packed_payload_too_large, 0, table + held, abi::argument_words);
  word previous = 0;
  for (word i = 0; i < ops.size_; ++i) {
    const word offset = ops.byte(abi::packed_header_bytes + abi::packed_op_bytes * i + 1);
    if (offset > held || offset < previous)
      return refuse(error_code::packed_malformed, i, offset, held);
    previous = offset;
  }
  return ops;
}

}  // namespace megakernel
