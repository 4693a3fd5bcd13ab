// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
module;
#include <megakernel/lane_order.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <expected>
#include <span>
#include <utility>
module megakernel.runtime;
import megakernel.protocol;

namespace megakernel {
namespace {

/// The pages are cache-line aligned bytes whose words the kernel shares.
word* words_of(std::span<std::byte> bytes) noexcept {
  return reinterpret_cast<word*>(bytes.data());
}

word count_of(std::span<const std::byte> bytes, std::size_t unit) noexcept {
  return static_cast<word>(bytes.size() / unit);
}

/// The encoders' refusal of a size that they would not make.
result<void> check(const buffer_layout& layout) noexcept {
  const auto refusal = [](const auto& refused) { return std::unexpected(refused.error()); };
  if (layout.slots == 0) {
    return std::unexpected(
        error{.code = error_code::slot_count_zero, .buffer = buffer::ring, .bound = 1});
  }
  if (layout.observable_words > abi::max_encoded)
    return refusal(encode_control({.observable_words = layout.observable_words}));
  if (layout.slots > abi::max_encoded) return refusal(encode_ring(layout.slots));
  if (layout.debug_records > abi::max_encoded)
    return refusal(encode_debug_log(layout.debug_records));
  if (layout.io_slots > abi::max_io_slots) return refusal(encode_io_queue(layout.io_slots));
  return {};
}

}  // namespace

result<kernel_buffers> kernel_buffers::make(const buffer_layout& layout) noexcept {
  if (auto possible = check(layout); !possible) return std::unexpected(possible.error());
  const std::array<std::uint64_t, 6> sizes{
      *control_byte_length(layout.observable_words),
      *ring_byte_length(layout.slots),
      *debug_log_byte_length(layout.debug_records),
      std::uint64_t{layout.io_slots} * abi::io_slot_bytes,
      layout.arena_bytes,
      layout.dfa_table.size_bytes(),
  };
  std::array<std::span<std::byte>, sizes.size()> at;
  auto pages = mapped_region::make(sizes, at, layout.shared);
  if (!pages) return std::unexpected(pages.error());
  kernel_buffers made;
  made.region_ = std::move(*pages);
  std::span<std::byte> dfa_table;
  const std::array to{&made.control_,  &made.ring_,  &made.debug_log_,
                      &made.io_queue_, &made.arena_, &dfa_table};
  for (std::size_t i = 0; i < to.size(); ++i) *to[i] = at[i];

  // The rest is zero, as fresh pages are.
  const auto fixed_words = encode_control({.tenants = layout.tenants});
  if (!fixed_words) return std::unexpected(fixed_words.error());
  std::ranges::copy(*fixed_words, made.control_.begin());
  if (auto written = write_priority_offsets(made.control_, layout.slots); !written)
    return std::unexpected(written.error());
  std::ranges::copy(std::as_bytes(layout.dfa_table), dfa_table.begin());

  constexpr std::size_t most_words = 0xFFFF'FFFFu;
  made.where_ = {
      .control = words_of(made.control_),
      .control_words = count_of(made.control_, sizeof(word)),
      .ring = words_of(made.ring_),
      .slots = layout.slots,
      .debug_log = words_of(made.debug_log_),
      .debug_words = count_of(made.debug_log_, sizeof(word)),
      .io_queue = words_of(made.io_queue_),
      .io_slots = count_of(made.io_queue_, abi::io_slot_bytes),
      .dfa_table = words_of(dfa_table),
      .dfa_words = static_cast<word>(std::min(layout.dfa_table.size(), most_words)),
      .arena = reinterpret_cast<unsigned char*>(made.arena_.data()),
      .arena_bytes = made.arena_.size(),
      .system_tenant = layout.system_tenant,
      .quotas = layout.quotas,
  };
  return made;
}

}  // namespace megakernel
