// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
module;
#include <megakernel/lane_order.h>

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <expected>
#include <span>
module megakernel.runtime;
import megakernel.protocol;

namespace megakernel {
namespace {

constexpr int tries_per_slot = 8;

word load(const word* at, std::memory_order order) noexcept {
  return std::atomic_ref<word>(*const_cast<word*>(at)).load(order);
}

/// Words that anyone may be storing, one by one.
void copy_words(const word* from, std::size_t first, std::size_t end, std::byte* to) noexcept {
  for (std::size_t i = first; i < end; ++i)
    store_word(to, i, load(from + i, std::memory_order_acquire));
}

/// The one read here that a producer's stores may cross. What it yields counts only where the
/// samples before and after it agree, which is why the thread sanitizer is told to leave it alone.
[[clang::no_sanitize("thread")]] void copy_body(const word* slot, std::byte* to) noexcept {
  constexpr std::size_t pairs = abi::slot_words / 2;
  const auto* const from = reinterpret_cast<const volatile std::uint64_t*>(slot);
  std::array<std::uint64_t, pairs> words;
  for (std::size_t i = 0; i < pairs; ++i) words[i] = from[i];
  __builtin_memcpy(to, words.data(), sizeof words);
}

/// Whether the slot was copied whole.
bool copy_slot(const submission_queue& queue, const word* from, std::uint32_t slot,
               std::byte* to) noexcept {
  for (int i = 0; i < tries_per_slot; ++i) {
    const std::uint64_t generation = queue.generation_of(slot);
    if ((generation & 1) != 0) continue;
    const word status = load(from, std::memory_order_acquire);
    copy_body(from, to);
    std::atomic_thread_fence(std::memory_order_acquire);
    if (load(from, std::memory_order_acquire) != status || queue.generation_of(slot) != generation)
      continue;
    store_word(to, abi::status_word, status);
    return true;
  }
  for (std::size_t i = 0; i < abi::slot_words; ++i) store_word(to, i, 0);
  store_word(to, abi::status_word, live_snapshot::torn_status);
  return false;
}

}  // namespace

void detail::copy_control(const device::launch& where, std::byte* to) noexcept {
  // How claims ended before the claims: what is read later has grown meanwhile.
  for (const word ends : {abi::done_count_word, abi::done_count_high_word, abi::fault_count_word})
    copy_words(where.control, ends, ends + 1, to);
  copy_words(where.control, 0, abi::done_count_word, to);
  copy_words(where.control, abi::done_count_word + 1, abi::fault_count_word, to);
  copy_words(where.control, abi::fault_count_word + 1, abi::done_count_high_word, to);
  copy_words(where.control, abi::done_count_high_word + 1, where.control_words, to);
}

result<void> live_snapshot::take(kernel_buffers& buffers, const submission_queue& queue,
                                 kernel_target* target, deadline until) noexcept {
  const device::launch& where = buffers.where();
  const std::size_t pages = (std::size_t{where.slots} + page_slots - 1) / page_slots;
  for (const auto& sized :
       {control_.resize_for_overwrite(buffers.control().size()),
        ring_.resize_for_overwrite(buffers.ring().size()),
        debug_log_.resize_for_overwrite(buffers.debug_log().size()),
        io_queue_.resize_for_overwrite(buffers.io_queue().size()), torn_.reserve(pages)}) {
    if (sized) continue;
    for (byte_buffer* bytes : {&control_, &ring_, &debug_log_, &io_queue_}) bytes->clear();
    torn_.clear();
    accepted_ = 0;
    flushed_ = false;
    return std::unexpected(sized.error());
  }

  flushed_ = target != nullptr && target->flush(until);

  // Accepted is read after the claims: it has grown meanwhile, and so the inequality holds.
  detail::copy_control(where, control_.data());
  accepted_ = queue.accepted();

  torn_.clear();
  for (std::uint32_t slot = 0; slot < where.slots; ++slot) {
    const std::size_t at = std::size_t{slot} * abi::slot_words;
    if (copy_slot(queue, where.ring + at, slot, ring_.data() + at * sizeof(word))) continue;
    const std::uint32_t page = slot / page_slots;
    if (torn_.empty() || torn_[torn_.size() - 1] != page) torn_.push_within_capacity(page);
  }
  copy_words(where.debug_log, 0, where.debug_words, debug_log_.data());
  copy_words(where.io_queue, 0, std::size_t{where.io_slots} * abi::io_slot_words, io_queue_.data());
  return {};
}

}  // namespace megakernel
