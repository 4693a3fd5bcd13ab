module;
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <expected>
#include <functional>
#include <utility>
module megakernel.runtime;
import megakernel.protocol;

namespace megakernel::detail {

bool key_tally::grow() noexcept {
  constexpr std::size_t first = 64;
  const std::size_t places = std::max(first, places_.size() * 2);
  aligned_array<std::uint32_t> larger;
  if (!larger.resize_for_overwrite(places) || !entries_.reserve(places / 2)) return false;
  places_ = std::move(larger);
  places_.fill_zero();
  for (std::size_t i = 0; i < entries_.size(); ++i)
    place_of(entries_[i].key) = static_cast<std::uint32_t>(i + 1);
  return true;
}

result<named_keys> named_keys::make(std::uint32_t most) noexcept {
  named_keys made;
  made.most_ = most;
  if (auto room = made.named_.reserve(most); !room) return std::unexpected(room.error());
  if (auto room = made.best_.reserve(most); !room) return std::unexpected(room.error());
  return made;
}

void named_keys::offer(const candidate& one) noexcept {
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

void named_keys::choose(key_tally& tally) noexcept {
  best_.clear();
  const auto is_named = [this](word key) {
    return std::ranges::binary_search(named_, key, {}, &key_slots::key);
  };
  for (const key_slots& before : named_) {
    const key_slots now = tally.find(before.key);
    offer({.score = 2 * now.weight() + 2, .slots = now});
  }
  others_ = {};
  for (const key_slots& one : tally.all()) {
    others_.owed += one.owed;
    others_.faulted += one.faulted;
    // Most keys are too small to be looked up at all.
    const bool hopeless = best_.size() == most_ && (most_ == 0 || one.weight() < best_[0].score);
    if (!hopeless && !is_named(one.key)) offer({.score = one.weight(), .slots = one});
  }
  different_ = static_cast<std::uint32_t>(tally.all().size());
  named_.clear();
  for (const candidate& chosen : best_) {
    named_.push_within_capacity(chosen.slots);
    others_.owed -= chosen.slots.owed;
    others_.faulted -= chosen.slots.faulted;
  }
  std::ranges::sort(named_, {}, &key_slots::key);
}

}  // namespace megakernel::detail
