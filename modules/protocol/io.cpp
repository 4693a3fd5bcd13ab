// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
module;
#include <atomic>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <expected>
#include <optional>
#include <span>
module megakernel.protocol;

namespace megakernel {
namespace {

/// `over` has checked the alignment that an atomic access to a word of the queue needs.
std::atomic_ref<word> status_at(std::byte* slot) noexcept {
  return std::atomic_ref<word>(*reinterpret_cast<word*>(slot + abi::io_status_word * sizeof(word)));
}

io_status status_of(std::byte* slot) noexcept {
  return io_status{wire_order(status_at(slot).load(std::memory_order_acquire))};
}

void set_status(std::byte* slot, io_status status) noexcept {
  status_at(slot).store(wire_order(word(status)), std::memory_order_release);
}

std::unexpected<error> refuse(error_code code, std::uint64_t index, std::uint64_t found,
                              std::uint64_t bound) noexcept {
  return std::unexpected(error{
      .code = code, .buffer = buffer::io_queue, .index = index, .found = found, .bound = bound});
}

}  // namespace

result<io_queue> io_queue::over(std::span<std::byte> queue) noexcept {
  if (queue.size() % abi::io_slot_bytes != 0)
    return refuse(error_code::io_queue_partial_slot, 0, queue.size(), abi::io_slot_bytes);
  const std::uint64_t slots = queue.size() / abi::io_slot_bytes;
  if (slots > abi::max_io_slots)
    return refuse(error_code::io_queue_too_large, 0, slots, abi::max_io_slots);
  const auto past = std::bit_cast<std::uintptr_t>(queue.data()) % alignof(word);
  if (past != 0) return refuse(error_code::buffer_unaligned, 0, past, alignof(word));
  return io_queue(queue.data(), static_cast<std::uint32_t>(slots));
}

result<io_status> io_queue::status(std::uint32_t slot) const noexcept {
  if (slot >= slots_) return refuse(error_code::io_slot_out_of_range, 0, slot, slots_);
  return status_of(at(slot));
}

result<void> io_queue::expect(std::uint32_t slot, io_status wanted) const noexcept {
  const auto found = status(slot);
  if (!found) return std::unexpected(found.error());
  if (*found != wanted)
    return refuse(error_code::io_slot_wrong_status, slot, word(*found), word(wanted));
  return {};
}

// docs/protocol.md#io-publish
result<void> io_queue::publish(std::uint32_t slot, const io_request& request) noexcept {
  const auto found = status(slot);
  if (!found) return std::unexpected(found.error());
  if (!is_known(request.operation))
    return refuse(error_code::io_operation_unknown, slot, word(request.operation),
                  word(io_operation::fence));
  if (auto checked = expect(slot, io_status::empty); !checked) return checked;
  std::byte* const to = at(slot);
  store_word(to, abi::io_operation_word, word(request.operation));
  store_word(to, abi::io_source_word, request.source);
  store_word(to, abi::io_destination_word, request.destination);
  store_word(to, abi::io_offset_low_word, static_cast<word>(request.offset));
  store_word(to, abi::io_offset_high_word, static_cast<word>(request.offset >> 32));
  store_word(to, abi::io_byte_count_word, request.byte_count);
  store_word(to, abi::io_tag_word, request.tag);
  set_status(to, io_status::published);
  return {};
}

std::optional<std::uint32_t> io_queue::poll(std::uint32_t from) const noexcept {
  for (std::uint32_t slot = from; slot < slots_; ++slot) {
    if (status_of(at(slot)) == io_status::published) return slot;
  }
  return std::nullopt;
}

// docs/protocol.md#io-claim
result<io_request> io_queue::claim(std::uint32_t slot) noexcept {
  if (auto checked = expect(slot, io_status::published); !checked)
    return std::unexpected(checked.error());
  std::byte* const from = at(slot);
  const io_request request{.operation = io_operation{load_word(from, abi::io_operation_word)},
                           .source = load_word(from, abi::io_source_word),
                           .destination = load_word(from, abi::io_destination_word),
                           .offset = load_word(from, abi::io_offset_low_word) |
                                     std::uint64_t{load_word(from, abi::io_offset_high_word)} << 32,
                           .byte_count = load_word(from, abi::io_byte_count_word),
                           .tag = load_word(from, abi::io_tag_word)};
  set_status(from, io_status::claimed);
  return request;
}

// docs/protocol.md#io-complete
result<void> io_queue::complete(std::span<const io_completion> completions) noexcept {
  static_assert(abi::max_io_slots <= 64, "a bit a slot");
  std::uint64_t seen = 0;
  for (std::size_t i = 0; i < completions.size(); ++i) {
    const std::uint32_t slot = completions[i].slot;
    if (auto checked = expect(slot, io_status::claimed); !checked) return checked;
    if ((seen >> slot & 1) != 0) return refuse(error_code::io_completion_repeated, i, slot, 0);
    seen |= std::uint64_t{1} << slot;
  }
  for (const io_completion& completion : completions)
    set_status(at(completion.slot), completion.ok ? io_status::ok : io_status::error);
  return {};
}

result<void> io_queue::recycle(std::uint32_t slot) noexcept {
  const auto found = status(slot);
  if (!found) return std::unexpected(found.error());
  if (*found != io_status::ok && *found != io_status::error)
    return refuse(error_code::io_slot_wrong_status, slot, word(*found), word(io_status::ok));
  set_status(at(slot), io_status::empty);
  return {};
}

}  // namespace megakernel
