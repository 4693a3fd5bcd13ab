// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
module;
#include <megakernel/gpu/plugin.h>

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

/// No queue gives a slot this generation.
constexpr std::uint64_t outstanding = ~std::uint64_t{0};

/// Slots of the longest run: a device begins with the first while the next is on its way.
constexpr std::uint32_t longest_run = 4096;

/// Calls without a find before all of the ring is searched.
constexpr std::uint32_t idle_limit = 64;

}  // namespace

result<upload_scanner> upload_scanner::over(const kernel_buffers& buffers,
                                            const submission_queue* queue,
                                            schedule order) noexcept {
  upload_scanner made(buffers, queue);
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
  made.record_what_is_there();
  return made;
}

void upload_scanner::record_what_is_there() noexcept {
  const word* const ring = buffers_->where().ring;
  for (std::uint32_t slot = 0; slot < given_.size(); ++slot) {
    const auto status_of = [&] {
      auto& status = const_cast<word&>(ring[std::size_t{slot} * abi::slot_words]);
      return slot_status{std::atomic_ref(status).load(std::memory_order_acquire)};
    };
    std::uint64_t generation = 0;
    slot_status status{};
    do {
      generation = queue_ == nullptr ? 0 : queue_->published(slot);
      status = status_of();
    } while (queue_ != nullptr && queue_->published(slot) != generation);
    given_[slot] = is_active(status) ? outstanding : generation;
  }
}

bool upload_scanner::take(std::uint32_t slot) noexcept {
  const std::uint64_t generation = queue_ == nullptr ? 0 : queue_->published(slot);
  if (given_[slot] == outstanding) {
    given_[slot] = generation;
    return true;
  }
  if (generation == 0 || generation == given_[slot]) return false;
  given_[slot] = generation;
  return true;
}

std::uint32_t upload_scanner::take_range(region& in) noexcept {
  std::uint32_t count = 0;
  while (count < longest_run && count < in.size - in.next && take(in.first + in.next + count))
    ++count;
  return count;
}

std::size_t upload_scanner::find(std::span<gpu::slot_range> into) noexcept {
  std::size_t found = 0;
  const bool everywhere = idle_calls_ >= idle_limit;
  for (std::uint32_t part = 0; part < parts_; ++part) {
    region& in = regions_[part];
    for (std::uint64_t looked = 0; looked < in.size && found < into.size();) {
      const std::uint32_t at = in.next;
      const std::uint32_t count = take_range(in);
      if (count != 0) into[found++] = {.first = in.first + at, .count = count};
      if (count == 0 && !everywhere) break;
      looked += count == 0 ? 1 : count;
      in.next += count == 0 ? 1 : count;
      if (in.next >= in.size) in.next = 0;
    }
  }
  // A search that ran out of room goes on with the next call.
  if (everywhere && found == into.size()) return found;
  idle_calls_ = found != 0 || everywhere ? 0 : idle_calls_ + 1;
  return found;
}

}  // namespace megakernel
