// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
module;
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <expected>
#include <functional>
#include <utility>
module megakernel.metrics;
import megakernel.protocol;

namespace megakernel::detail {

result<key_tally> key_tally::make(std::uint64_t seed) noexcept {
  key_tally made(seed);
  if (auto sized = made.small_.resize_for_overwrite(small_keys); !sized)
    return std::unexpected(sized.error());
  return made;
}

std::size_t key_tally::place_of(word key) const noexcept {
  const std::size_t mask = large_.size() - 1;
  std::uint64_t mixed = (key ^ seed_) * 0x9E37'79B9'7F4A'7C15u;
  mixed = (mixed ^ mixed >> 32) * 0xBF58'476D'1CE4'E5B9u;
  std::size_t at = mixed >> 32 & mask;
  while (large_[at].amount != 0 && large_[at].key != key) at = (at + 1) & mask;
  return at;
}

key_slots key_tally::find(word key) const noexcept {
  if (key < small_keys) return slots_of(key, small_[key]);
  return slots_of(key, large_.empty() ? 0 : large_[place_of(key)].amount);
}

bool key_tally::add_large(word key, std::uint64_t amount) noexcept {
  if (large_keys_ * 2 >= large_.size() && !grow()) return false;
  large_key& place = large_[place_of(key)];
  large_keys_ += place.amount == 0;
  place.key = key;
  place.amount += amount;
  return true;
}

bool key_tally::grow() noexcept {
  constexpr std::size_t first = 64;
  aligned_array<large_key> before = std::move(large_);
  if (!large_.resize_for_overwrite(std::max(first, before.size() * 2))) {
    large_ = std::move(before);
    return false;
  }
  large_.fill_zero();
  for (const large_key& one : before) {
    if (one.amount != 0) large_[place_of(one.key)] = one;
  }
  return true;
}

result<top_k> top_k::make(std::uint32_t most) noexcept {
  top_k made;
  made.most_ = most;
  if (auto room = made.named_.reserve(most); !room) return std::unexpected(room.error());
  if (auto room = made.best_.reserve(most); !room) return std::unexpected(room.error());
  return made;
}

void top_k::offer(const candidate& one) noexcept {
  // Of equals the smaller key is the better one, so that the choice does not hang on slot order.
  const auto better = [](const candidate& a, const candidate& b) {
    return std::pair(a.score, ~a.slots.key) > std::pair(b.score, ~b.slots.key);
  };
  if (best_.size() == most_) {
    if (most_ == 0 || !better(one, best_[0])) return;
    std::pop_heap(best_.begin(), best_.end(), better);
    best_.set_size(most_ - 1);
  }
  best_.push_within_capacity(one);
  std::push_heap(best_.begin(), best_.end(), better);
}

void top_k::choose(const key_tally& tally) noexcept {
  best_.clear();
  const auto is_named = [this](word key) {
    return std::ranges::binary_search(named_, key, {}, &key_slots::key);
  };
  for (const key_slots& before : named_) {
    const key_slots now = tally.find(before.key);
    offer({.score = 2 * now.weight() + 2, .slots = now});
  }
  others_ = {};
  different_ = 0;
  tally.visit([&](const key_slots& one) {
    ++different_;
    others_.outstanding += one.outstanding;
    others_.faulted += one.faulted;
    // Most keys are too small to be looked up at all.
    const bool hopeless = best_.size() == most_ && (most_ == 0 || one.weight() < best_[0].score);
    if (!hopeless && !is_named(one.key)) offer({.score = one.weight(), .slots = one});
  });
  named_.clear();
  for (const candidate& chosen : best_) {
    named_.push_within_capacity(chosen.slots);
    others_.outstanding -= chosen.slots.outstanding;
    others_.faulted -= chosen.slots.faulted;
  }
  std::ranges::sort(named_, {}, &key_slots::key);
}

}  // namespace megakernel::detail
