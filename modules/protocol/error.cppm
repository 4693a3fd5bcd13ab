// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
module;
#include <array>
#include <cstddef>
#include <cstdint>
#include <expected>
#include <string_view>
export module megakernel.protocol:error;

export namespace megakernel {

/// Every way a call of this library can be refused. Values are stable: new codes are
/// appended. `error` says which fields a code fills in. docs/protocol.md#error-codes
enum class error_code : std::uint16_t {
  control_too_short = 1,
  control_misaligned,
  control_missing_word,
  observable_index_overflow,
  observable_slots_too_large,
  ring_partial_slot,
  ring_misaligned,
  ring_too_short,
  ring_too_large,
  slot_count_too_large,
  slot_out_of_range,
  slot_index_overflow,
  slot_not_publishable,
  too_many_args,
  opcode_reserved,
  priority_out_of_range,
  packed_too_many_ops,
  packed_metadata_too_large,
  packed_payload_too_large,
  packed_malformed,
  window_payload_too_large,
  batch_out_of_range,
  work_items_exceed_slot_count,
  item_count_overflow,
  record_capacity_too_large,
  debug_log_misaligned,
  debug_log_too_short,
  debug_log_cursor_out_of_range,
  debug_log_cursor_partial_record,
  io_queue_partial_slot,
  io_queue_too_large,
  io_slot_out_of_range,
  io_slot_wrong_status,
  io_operation_unknown,
  io_completion_repeated,
  buffer_unaligned,
  done_count_regressed,
  clock_regressed,
  ring_resized,
  out_of_memory,
  sketch_dim_zero,
  sketch_dim_overflow,
  sketch_accuracy_invalid,
  sketch_counter_overflow,
  sketch_shape_mismatch,
  sketch_merge_overflow,
  sketch_bytes_truncated,
  sketch_bytes_trailing,
  sketch_bytes_foreign,
  sketch_version_unknown,
  sketch_kind_mismatch,
  sketch_hash_unknown,
  sketch_checksum_mismatch,
  sketch_row_sum_mismatch,
  limit_zero,
  hit_capacity_overflow,
  peak_bytes_overflow,
  device_out_of_memory,
  requeue_count_overflow,
  aged_promotions_overflow,
  queue_len_overflow,
  padded_slots_overflow,
  policy_out_of_range,
  slot_count_zero,
  ring_full,
  feed_closed,
  deadline_passed,
  worker_count_out_of_range,
  already_launched,
  lanes_refused,
  resource_repeated,
  resource_unreadable,
  arena_out_of_range,
  device_failed,
  device_lanes_refused,
  digest_foreign,
  digest_wrong_size,
  digest_inconsistent,
  memory_not_shared,
};

/// How many codes there are; they are 1..error_codes.
inline constexpr std::size_t error_codes = static_cast<std::size_t>(error_code::memory_not_shared);

/// The buffer an error is about.
enum class buffer : std::uint8_t { none, control, ring, debug_log, io_queue, sketch, digest };

/// A sentence in storage of its own: rendering an error allocates nothing.
class error_message {
 public:
  [[nodiscard]] inline std::string_view text() const noexcept { return {text_.data(), size_}; }

 private:
  friend struct error;
  std::array<char, 320> text_{};
  std::size_t size_ = 0;
};

/// A refusal: what was wrong, where, what was found there and what the bound is.
///
/// Trivially copyable, built without allocating, comparable in tests. Fields that a code does not
/// use are zero. docs/protocol.md#error-value
struct error {
  error_code code;
  megakernel::buffer buffer = megakernel::buffer::none;
  std::uint64_t index = 0;  ///< slot, word, entry or record; the sentence says which
  std::uint64_t found = 0;  ///< the offending value
  std::uint64_t bound = 0;  ///< the limit it broke

  /// One or two sentences: what was wrong and what to do about it. O(1), no allocation.
  [[nodiscard]] error_message message() const noexcept;

  /// The name of what `index` numbers where it numbers something with a name: the adapter limit of
  /// `limit_zero`, `"max_workgroup_size_x"`, the parameter of `policy_out_of_range`, and what most
  /// slots of `ring_full` are, `"CLAIMED"` or `"being written"`. Empty for other codes.
  [[nodiscard]] std::string_view subject() const noexcept;

  /// `message()` as a string of any kind that is built from characters: `std::string(why)`.
  template <class String>
    requires requires(String& s, const char* text, std::size_t size) { s.append(text, size); }
  explicit operator String() const {
    const error_message text = message();
    return String(text.text().data(), text.text().size());
  }
  /// Writes `message()` to a stream of the standard library.
  template <class Stream>
    requires requires(Stream& to, std::string_view text) { to.write(text.data(), 1).flush(); }
  friend Stream& operator<<(Stream& to, const error& why) {
    const error_message text = why.message();
    to.write(text.text().data(), static_cast<std::ptrdiff_t>(text.text().size()));
    return to;
  }

  friend constexpr bool operator==(const error&, const error&) = default;
};

/// A value or a refusal.
template <class T = void>
using result = std::expected<T, error>;

/// The code's name as the source spells it, `"ring_partial_slot"`; `"unknown_error"` for a value
/// that is no code.
[[nodiscard]] std::string_view to_string(error_code code) noexcept;

/// `"control buffer"`, `"ring"` and so on; empty for `none`.
[[nodiscard]] std::string_view to_string(buffer which) noexcept;

}  // namespace megakernel
