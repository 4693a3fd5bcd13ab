// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
module;
#include <array>
#include <bit>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <expected>
#include <iterator>
#include <ranges>
#include <span>
export module megakernel.decoder:view;
import megakernel.protocol;
import :control;

export namespace megakernel {

/// The telemetry of a slot: its first seven words, and its index.
///
/// The layout is the first half of the wire slot with the index in place of argument 3, so that
/// decoding a slot is a 32-byte copy. docs/protocol.md#slot-snapshot
struct slot_snapshot {
  slot_status status;  ///< keeps the raw word when it is not known
  opcode op;
  std::uint32_t tenant;
  priority level;
  std::array<word, 3> arguments;  ///< the first three
  std::uint32_t index;
  friend constexpr bool operator==(const slot_snapshot&, const slot_snapshot&) = default;
};
static_assert(sizeof(slot_snapshot) == abi::slot_bytes / 2);
static_assert(offsetof(slot_snapshot, status) == abi::status_word * sizeof(word));
static_assert(offsetof(slot_snapshot, op) == abi::opcode_word * sizeof(word));
static_assert(offsetof(slot_snapshot, tenant) == abi::tenant_word * sizeof(word));
static_assert(offsetof(slot_snapshot, level) == abi::priority_word * sizeof(word));
static_assert(offsetof(slot_snapshot, arguments) == abi::argument_word * sizeof(word));

/// True of a slot that still owes `op`. docs/protocol.md#active-slots
struct active_with {
  opcode op;
  [[nodiscard]] constexpr bool operator()(const slot_snapshot& slot) const noexcept {
    return slot.op == op && is_active(slot.status);
  }
};

namespace detail {

/// Control length: at least 640 bytes, then a whole number of words.
[[nodiscard]] result<void> check_control(std::span<const std::byte> control) noexcept;

/// The one slot reader. `slot` points at 64 readable bytes of any alignment.
[[nodiscard]] inline slot_snapshot read_slot(const std::byte* slot, std::uint32_t index) noexcept {
  slot_snapshot snapshot;
  std::memcpy(&snapshot, slot, sizeof snapshot);
  if constexpr (!wire_is_native) {
    auto words = std::bit_cast<std::array<word, 8>>(snapshot);
    for (word& w : words) w = wire_order(w);
    snapshot = std::bit_cast<slot_snapshot>(words);
  }
  snapshot.index = index;
  return snapshot;
}

}  // namespace detail

/// A validated pair of control and ring bytes: a random-access range of slots, each decoded when
/// it is asked for. Nothing is copied and nothing allocated; the bytes must outlive the view.
///
/// The bytes should be a private copy: in memory a device still writes, two reads of one slot may
/// differ.
class ring_view : public std::ranges::view_interface<ring_view> {
 public:
  class iterator {
   public:
    using iterator_concept = std::random_access_iterator_tag;
    using iterator_category = std::input_iterator_tag;
    using value_type = slot_snapshot;
    using difference_type = std::int64_t;
    using reference = slot_snapshot;

    iterator() noexcept = default;
    inline reference operator*() const noexcept { return detail::read_slot(at(index_), index_); }
    inline reference operator[](difference_type n) const noexcept { return *(*this + n); }
    inline iterator& operator+=(difference_type n) noexcept {
      index_ = static_cast<std::uint32_t>(index_ + n);
      return *this;
    }
    inline iterator& operator-=(difference_type n) noexcept { return *this += -n; }
    inline iterator& operator++() noexcept { return *this += 1; }
    inline iterator& operator--() noexcept { return *this -= 1; }
    inline iterator operator++(int) noexcept {
      const iterator before = *this;
      ++*this;
      return before;
    }
    inline iterator operator--(int) noexcept {
      const iterator before = *this;
      --*this;
      return before;
    }
    inline friend iterator operator+(iterator i, difference_type n) noexcept { return i += n; }
    inline friend iterator operator+(difference_type n, iterator i) noexcept { return i += n; }
    inline friend iterator operator-(iterator i, difference_type n) noexcept { return i -= n; }
    inline friend difference_type operator-(const iterator& a, const iterator& b) noexcept {
      return difference_type{a.index_} - difference_type{b.index_};
    }
    inline friend bool operator==(const iterator& a, const iterator& b) noexcept {
      return a.index_ == b.index_;
    }
    inline friend std::strong_ordering operator<=>(const iterator& a, const iterator& b) noexcept {
      return a.index_ <=> b.index_;
    }

   private:
    friend class ring_view;
    inline iterator(const std::byte* ring, std::uint32_t index) noexcept
        : ring_(ring), index_(index) {}
    [[nodiscard]] inline const std::byte* at(std::uint32_t index) const noexcept {
      return ring_ + std::size_t{index} * abi::slot_bytes;
    }
    const std::byte* ring_ = nullptr;
    std::uint32_t index_ = 0;
  };

  /// An empty ring with a control buffer of zeros.
  ring_view() noexcept;

  /// Validates the pair. Errors, in this order: `control_too_short`, `control_misaligned`,
  /// `ring_partial_slot`, `ring_too_large`. An empty ring is valid. O(1).
  [[nodiscard]] static result<ring_view> over(std::span<const std::byte> control,
                                              std::span<const std::byte> ring) noexcept;

  [[nodiscard]] inline control_snapshot control() const noexcept {
    return control_snapshot::copy_of(control_);
  }
  [[nodiscard]] inline iterator begin() const noexcept { return {ring_, 0}; }
  [[nodiscard]] inline iterator end() const noexcept { return {ring_, slots_}; }
  [[nodiscard]] inline std::uint32_t size() const noexcept { return slots_; }
  /// Slot `index` < size().
  [[nodiscard]] inline slot_snapshot operator[](std::uint32_t index) const noexcept {
    return begin()[index];
  }
  /// Why slot `index` < size() is in FAULT, as its word 15 has it; any word.
  /// docs/protocol.md#fault-codes
  [[nodiscard]] inline fault_code fault(std::uint32_t index) const noexcept {
    return fault_code{load_word(slot_bytes(index), abi::fault_code_word)};
  }
  /// The slots that still owe `op`, found while iterating.
  [[nodiscard]] inline auto active(opcode op) const noexcept {
    return std::views::filter(*this, active_with{op});
  }
  /// The whole ring.
  [[nodiscard]] inline std::span<const std::byte> bytes() const noexcept {
    return {ring_, std::size_t{slots_} * abi::slot_bytes};
  }

 private:
  [[nodiscard]] inline const std::byte* slot_bytes(std::uint32_t index) const noexcept {
    return ring_ + std::size_t{index} * abi::slot_bytes;
  }
  const std::byte* control_;
  const std::byte* ring_ = nullptr;
  std::uint32_t slots_ = 0;
};

}  // namespace megakernel

export template <>
inline constexpr bool std::ranges::enable_borrowed_range<megakernel::ring_view> = true;
