// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
module;
#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <expected>
#include <span>
export module megakernel.metrics:ranking;
import megakernel.protocol;

/// Few of very many: who owes most in a ring, whatever tenants and opcodes it names.
export namespace megakernel::detail {

/// A tenant or an opcode, and how much of the ring is its.
struct key_slots {
  word key = 0;
  std::uint32_t outstanding = 0;  ///< active slots
  std::uint32_t faulted = 0;      ///< slots in FAULT
  [[nodiscard]] constexpr std::uint64_t weight() const noexcept {
    return std::uint64_t{outstanding} + faulted;
  }
};

/// Slots by key: an array for small keys, which those of a well-meaning host are, and a hash table
/// for the rest. The table is seeded: who chooses keys cannot make them collide.
/// Memory: 128 KiB, and at most 64 bytes for each different large key, kept between rounds.
class key_tally {
 public:
  /// A slot's share of the sums of its key: outstanding in the lower half, faulted in the
  /// upper one.
  [[nodiscard]] static constexpr std::uint64_t amount_of(slot_status status) noexcept {
    constexpr auto amounts = [] {
      std::array<std::uint64_t, 9> of{};
      for (word s = 0; s < 8; ++s) of[s] = is_active(slot_status{s}) ? 1 : 0;
      of[word(slot_status::fault)] = std::uint64_t{1} << 32;
      return of;
    }();
    return amounts[std::min(word(status), word{8})];
  }

  [[nodiscard]] static result<key_tally> make(std::uint64_t seed) noexcept;

  /// Forgets all keys. O(capacity).
  void start() noexcept {
    small_.fill_zero();
    large_.fill_zero();
    large_keys_ = 0;
  }

  /// Adds to a key's sums; false when there is no memory for it. Small keys cost no branch that
  /// hangs on what the slots hold.
  [[nodiscard]] inline bool add(word key, std::uint64_t amount) noexcept {
    if (key < small_keys) {
      small_[key] += amount;
      return true;
    }
    return amount == 0 || add_large(key, amount);
  }

  /// The count of `key`.
  [[nodiscard]] key_slots find(word key) const noexcept;

  /// Calls `each(key_slots)` for every key that has a slot.
  template <class Each>
  void visit(Each each) const {
    for (word key = 0; key < small_keys; ++key) {
      if (small_[key] != 0) each(slots_of(key, small_[key]));
    }
    for (const large_key& one : large_) {
      if (one.amount != 0) each(slots_of(one.key, one.amount));
    }
  }

 private:
  static constexpr word small_keys = 1u << 14;
  struct large_key {
    word key;
    std::uint64_t amount;  // zero: a free place
  };

  explicit key_tally(std::uint64_t seed) noexcept : seed_(seed) {}
  [[nodiscard]] static constexpr key_slots slots_of(word key, std::uint64_t amount) noexcept {
    return {.key = key,
            .outstanding = static_cast<std::uint32_t>(amount),
            .faulted = static_cast<std::uint32_t>(amount >> 32)};
  }
  [[nodiscard]] bool add_large(word key, std::uint64_t amount) noexcept;
  [[nodiscard]] std::size_t place_of(word key) const noexcept;
  [[nodiscard]] bool grow() noexcept;

  std::uint64_t seed_;
  aligned_array<std::uint64_t> small_;
  aligned_array<large_key> large_;  // a power of two of places, at most half used
  std::size_t large_keys_ = 0;
};

/// The keys that have series of their own, and all others in one sum.
///
/// A key that has one loses it only to a key with more than twice its slots and two, so that keys
/// that are about as busy do not take turns.
class top_k {
 public:
  /// `most`: how many have a series of their own.
  [[nodiscard]] static result<top_k> make(std::uint32_t most) noexcept;

  /// O(keys log most), no allocation.
  void choose(const key_tally& tally) noexcept;
  /// By key.
  [[nodiscard]] std::span<const key_slots> named() const noexcept {
    return {named_.data(), named_.size()};
  }
  /// The slots of all others; its key says nothing.
  [[nodiscard]] const key_slots& others() const noexcept { return others_; }
  /// How many different keys had a slot.
  [[nodiscard]] std::uint32_t different() const noexcept { return different_; }

 private:
  struct candidate {
    std::uint64_t score;
    key_slots slots;
  };
  void offer(const candidate& one) noexcept;

  std::uint32_t most_ = 0;
  aligned_array<key_slots> named_;
  aligned_array<candidate> best_;  // a heap, the least at its top
  key_slots others_;
  std::uint32_t different_ = 0;
};

}  // namespace megakernel::detail
