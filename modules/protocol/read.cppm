// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
module;
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <expected>
#include <iterator>
#include <optional>
#include <span>
export module megakernel.protocol:read;
import :abi;
import :encode;
import :error;

/// Single words and records out of read-back bytes.
///
/// `read_*` are strict: the length is a whole number of words and the word is there, or the call
/// is refused. `salvage_*` take what is whole out of a damaged copy and never fail. Bytes may have
/// any alignment. None of them allocates; all are O(1) unless they say otherwise.
export namespace megakernel {

/// How often an opcode below 32 was claimed.
struct metric {
  word index;
  word count;
  friend constexpr bool operator==(const metric&, const metric&) = default;
};

/// The 32 metric counters; iterates over those that are not zero, in ascending index.
class metric_counters {
 public:
  class iterator {
   public:
    using value_type = metric;
    using difference_type = std::ptrdiff_t;
    constexpr iterator() noexcept = default;
    constexpr metric operator*() const noexcept {
      const auto index = static_cast<word>(std::countr_zero(left_));
      return {index, (*counts_)[index]};
    }
    constexpr iterator& operator++() noexcept {
      left_ &= left_ - 1;
      return *this;
    }
    constexpr iterator operator++(int) noexcept {
      iterator before = *this;
      ++*this;
      return before;
    }
    friend constexpr bool operator==(const iterator& a, const iterator& b) noexcept {
      return a.left_ == b.left_;
    }

   private:
    friend class metric_counters;
    constexpr iterator(const std::array<word, abi::metrics>* counts, std::uint32_t left) noexcept
        : counts_(counts), left_(left) {}
    const std::array<word, abi::metrics>* counts_ = nullptr;
    std::uint32_t left_ = 0;
  };

  constexpr metric_counters() noexcept = default;
  constexpr explicit metric_counters(const std::array<word, abi::metrics>& counts) noexcept
      : counts_(counts) {
    for (word i = 0; i < abi::metrics; ++i) nonzero_ |= std::uint32_t{counts_[i] != 0} << i;
  }

  [[nodiscard]] constexpr iterator begin() const noexcept { return {&counts_, nonzero_}; }
  [[nodiscard]] constexpr iterator end() const noexcept { return {&counts_, 0}; }
  /// How many counters are not zero.
  [[nodiscard]] constexpr std::uint32_t size() const noexcept {
    return static_cast<std::uint32_t>(std::popcount(nonzero_));
  }
  [[nodiscard]] constexpr bool empty() const noexcept { return nonzero_ == 0; }
  /// Counter of opcode `index` < 32.
  [[nodiscard]] constexpr word operator[](std::size_t index) const noexcept {
    return counts_[index];
  }

 private:
  std::array<word, abi::metrics> counts_{};
  std::uint32_t nonzero_ = 0;
};

/// DONE_COUNT. Errors: `control_misaligned`, `control_missing_word`.
[[nodiscard]] result<word> read_done_count(std::span<const std::byte> control) noexcept;

/// EPOCH. Errors: `control_misaligned`, `control_missing_word`.
[[nodiscard]] result<word> read_epoch(std::span<const std::byte> control) noexcept;

/// Observable word `index`. Errors: `observable_index_overflow`, `control_misaligned`,
/// `control_missing_word`.
[[nodiscard]] result<word> read_observable(std::span<const std::byte> control,
                                           std::uint32_t index) noexcept;

/// Observable word `index`, or zero where it is not whole.
[[nodiscard]] word recover_observable(std::span<const std::byte> control,
                                      std::uint32_t index) noexcept;

/// The metric counters. Errors: `control_misaligned`, `control_missing_word`.
[[nodiscard]] result<metric_counters> read_metrics(std::span<const std::byte> control) noexcept;

/// The metric counters that are whole; the others read as zero.
[[nodiscard]] metric_counters recover_metrics(std::span<const std::byte> control) noexcept;

/// How many of the first `items` slots are DONE; 0 for zero items, whatever the ring. Errors:
/// `item_count_overflow`, `ring_misaligned`, `ring_too_short`. O(items).
[[nodiscard]] result<std::uint64_t> read_done_slots(std::span<const std::byte> ring,
                                                    std::uint64_t items) noexcept;

/// The same, or nothing for zero items or where the first `items` slots are not all whole.
[[nodiscard]] std::optional<std::uint64_t> recover_done_slots(std::span<const std::byte> ring,
                                                              std::uint64_t items) noexcept;

/// The request in slot `slot`, or nothing where the slot is not whole or not a LOAD_MISS.
[[nodiscard]] std::optional<load_miss> read_load_miss(std::span<const std::byte> ring,
                                                      std::uint32_t slot) noexcept;

/// One PRINTF: format id and three arguments.
struct debug_record {
  word format;
  std::array<word, 3> arguments;
  friend constexpr bool operator==(const debug_record&, const debug_record&) = default;
};

/// The whole records of a debug log, read from its bytes when asked for. A view: the bytes must
/// outlive it.
class debug_log {
 public:
  class iterator {
   public:
    using value_type = debug_record;
    using difference_type = std::ptrdiff_t;
    iterator() noexcept = default;
    inline debug_record operator*() const noexcept { return (*log_)[at_]; }
    inline iterator& operator++() noexcept {
      ++at_;
      return *this;
    }
    inline iterator operator++(int) noexcept {
      iterator before = *this;
      ++*this;
      return before;
    }
    inline friend bool operator==(const iterator& a, const iterator& b) noexcept {
      return a.at_ == b.at_;
    }

   private:
    friend class debug_log;
    inline iterator(const debug_log* log, std::size_t at) noexcept : log_(log), at_(at) {}
    const debug_log* log_ = nullptr;
    std::size_t at_ = 0;
  };

  [[nodiscard]] inline std::size_t size() const noexcept { return size_; }
  [[nodiscard]] inline bool empty() const noexcept { return size_ == 0; }
  /// Record `i` < size(), oldest first.
  [[nodiscard]] debug_record operator[](std::size_t i) const noexcept;
  [[nodiscard]] inline iterator begin() const noexcept { return {this, 0}; }
  [[nodiscard]] inline iterator end() const noexcept { return {this, size_}; }

 private:
  friend result<debug_log> read_debug_log(std::span<const std::byte>) noexcept;
  friend struct recovered_debug_log recover_debug_log(std::span<const std::byte>) noexcept;
  const std::byte* records_ = nullptr;
  std::size_t size_ = 0;
};

/// The records of a log that did not overflow. Errors, in this order: `debug_log_misaligned`,
/// `debug_log_too_short`, `debug_log_cursor_out_of_range`, `debug_log_cursor_partial_record`.
[[nodiscard]] result<debug_log> read_debug_log(std::span<const std::byte> log) noexcept;

/// The readable rest of a damaged or overflowed log.
struct recovered_debug_log {
  debug_log records;
  /// Records the kernel wrote past the log's end, the last of which may be partial.
  std::uint32_t dropped = 0;
};

/// The records that are whole, and how many did not fit: a kernel's cursor runs past a full log.
/// An extension. docs/protocol.md#read-lenient
[[nodiscard]] recovered_debug_log recover_debug_log(std::span<const std::byte> log) noexcept;

/// The inner operations of a packed slot; the arguments are copies of the slot's words.
/// docs/protocol.md#read-packed
class packed_ops {
 public:
  struct op {
    std::uint8_t opcode;
    std::span<const word> arguments;  ///< from the op's offset to the next op's, or to the end
  };
  [[nodiscard]] inline std::uint32_t size() const noexcept { return size_; }
  /// Operation `i` < size(). Its arguments live as long as this object.
  [[nodiscard]] op operator[](std::uint32_t i) const noexcept;

 private:
  friend result<packed_ops> read_packed_ops(std::span<const word, abi::argument_words>) noexcept;
  [[nodiscard]] inline word byte(std::size_t at) const noexcept {
    return words_[at / 4] >> (at % 4 * 8) & 0xFF;
  }
  std::array<word, abi::argument_words> words_{};
  std::uint32_t size_ = 0;
};

/// Reads the twelve argument words of a PACKED_SLOT. Errors: `packed_metadata_too_large`,
/// `packed_payload_too_large`, `packed_malformed` for an offset past the arguments or below the
/// one before it. O(ops). An extension.
[[nodiscard]] result<packed_ops> read_packed_ops(
    std::span<const word, abi::argument_words> arguments) noexcept;

}  // namespace megakernel
