module;
#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <expected>
#include <span>
export module megakernel.runtime:ranking;
import megakernel.protocol;

/// Few of very many: who owes most in a ring, whatever tenants and opcodes it names.
export namespace megakernel::detail {

/// A tenant or an opcode, and how much of the ring is its.
struct key_slots {
  word key = 0;
  std::uint32_t owed = 0;     ///< active slots
  std::uint32_t faulted = 0;  ///< slots in FAULT
  [[nodiscard]] constexpr std::uint64_t weight() const noexcept {
    return std::uint64_t{owed} + faulted;
  }
};

/// Slots by key, in a hash table that is seeded: who chooses keys cannot make them collide.
/// Memory: at most 28 bytes for each different key, kept between rounds.
class key_tally {
 public:
  explicit key_tally(std::uint64_t seed) noexcept : seed_(seed) {}

  /// Forgets all keys. O(capacity).
  void start() noexcept {
    entries_.clear();
    if (!places_.empty()) places_.fill_zero();
  }

  /// Counts a slot; false when there is no memory for its key.
  [[nodiscard]] inline bool add(word key, bool fault) noexcept {
    if (entries_.size() * 2 >= places_.size() && !grow()) return false;
    std::uint32_t& place = place_of(key);
    if (place == 0) {
      entries_.push_within_capacity({.key = key});
      place = static_cast<std::uint32_t>(entries_.size());
    }
    key_slots& found = entries_[place - 1];
    found.owed += !fault;
    found.faulted += fault;
    return true;
  }

  /// What was counted for `key`.
  [[nodiscard]] key_slots find(word key) noexcept {
    if (places_.empty()) return {.key = key};
    const std::uint32_t place = place_of(key);
    return place == 0 ? key_slots{.key = key} : entries_[place - 1];
  }

  /// In the order of their first slots.
  [[nodiscard]] std::span<const key_slots> all() const noexcept {
    return {entries_.data(), entries_.size()};
  }

 private:
  [[nodiscard]] inline std::uint32_t& place_of(word key) noexcept {
    const std::size_t mask = places_.size() - 1;
    std::uint64_t mixed = (key ^ seed_) * 0x9E37'79B9'7F4A'7C15u;
    mixed = (mixed ^ mixed >> 32) * 0xBF58'476D'1CE4'E5B9u;
    for (std::size_t at = mixed >> 32;; ++at) {
      std::uint32_t& place = places_[at & mask];
      if (place == 0 || entries_[place - 1].key == key) return place;
    }
  }
  [[nodiscard]] bool grow() noexcept;

  std::uint64_t seed_;
  aligned_array<key_slots> entries_;
  aligned_array<std::uint32_t> places_;  // entry + 1; a power of two of them, at most half used
};

/// The keys that have series of their own, and all others in one sum.
///
/// A key that has one loses it only to a key with more than twice its slots and two, so that keys
/// that are about as busy do not take turns.
class named_keys {
 public:
  /// `most`: how many have a series of their own.
  [[nodiscard]] static result<named_keys> make(std::uint32_t most) noexcept;

  /// O(keys log most), no allocation.
  void choose(key_tally& tally) noexcept;
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
