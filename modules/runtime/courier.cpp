module;
#include <megakernel/gpu/gpu_component.h>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <expected>
#include <span>
#include <utility>
module megakernel.runtime;
import megakernel.protocol;

namespace megakernel {
namespace {

/// No feed gives a slot this life.
constexpr std::uint64_t owed = ~std::uint64_t{0};

/// Slots of the longest run: a device begins with the first while the next is on its way.
constexpr std::uint32_t longest_run = 4096;

/// Calls without a find before all of the ring is searched.
constexpr std::uint32_t patience = 64;

}  // namespace

result<courier> courier::over(const kernel_buffers& buffers, const work_feed* feed,
                              schedule order) noexcept {
  courier made(buffers, feed);
  const std::uint32_t slots = buffers.where().slots;
  if (auto sized = made.given_.resize_for_overwrite(slots); !sized)
    return std::unexpected(sized.error());
  made.regions_[0].size = slots;
  if (order == schedule::by_priority) {
    const auto offsets = default_priority_offsets(slots);
    made.parts_ = abi::priorities;
    for (std::uint32_t i = 0; i < abi::priorities; ++i)
      made.regions_[i] = {.first = offsets[i], .size = offsets[i + 1] - offsets[i]};
  }
  made.note_what_is_there();
  return made;
}

void courier::note_what_is_there() noexcept {
  const word* const ring = buffers_->where().ring;
  for (std::uint32_t slot = 0; slot < given_.size(); ++slot) {
    const auto status_of = [&] {
      auto& status = const_cast<word&>(ring[std::size_t{slot} * abi::slot_words]);
      return slot_status{std::atomic_ref(status).load(std::memory_order_acquire)};
    };
    std::uint64_t life = 0;
    slot_status status{};
    do {
      life = feed_ == nullptr ? 0 : feed_->published(slot);
      status = status_of();
    } while (feed_ != nullptr && feed_->published(slot) != life);
    given_[slot] = is_active(status) ? owed : life;
  }
}

bool courier::take(std::uint32_t slot) noexcept {
  const std::uint64_t life = feed_ == nullptr ? 0 : feed_->published(slot);
  if (given_[slot] == owed) {
    given_[slot] = life;
    return true;
  }
  if (life == 0 || life == given_[slot]) return false;
  given_[slot] = life;
  return true;
}

std::uint32_t courier::take_run(region& in) noexcept {
  std::uint32_t count = 0;
  while (count < longest_run && count < in.size - in.next && take(in.first + in.next + count))
    ++count;
  return count;
}

std::size_t courier::find(std::span<gpu::run> into) noexcept {
  std::size_t found = 0;
  const bool everywhere = quiet_ >= patience;
  for (std::uint32_t part = 0; part < parts_; ++part) {
    region& in = regions_[part];
    for (std::uint64_t looked = 0; looked < in.size && found < into.size();) {
      const std::uint32_t at = in.next;
      const std::uint32_t count = take_run(in);
      if (count != 0) into[found++] = {.first = in.first + at, .count = count};
      if (count == 0 && !everywhere) break;
      looked += count == 0 ? 1 : count;
      in.next += count == 0 ? 1 : count;
      if (in.next >= in.size) in.next = 0;
    }
  }
  // A search that ran out of room goes on with the next call.
  if (everywhere && found == into.size()) return found;
  quiet_ = found != 0 || everywhere ? 0 : quiet_ + 1;
  return found;
}

}  // namespace megakernel
