// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
module;
#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <expected>
#include <optional>
#include <span>
module megakernel.protocol;

namespace megakernel {
namespace {

result<byte_buffer> zeroed(std::uint64_t bytes) noexcept {
  byte_buffer buffer;
  if (auto sized = buffer.resize_for_overwrite(bytes); !sized)
    return std::unexpected(sized.error());
  buffer.fill_zero();
  return buffer;
}

std::optional<std::uint64_t> bytes_of(std::uint64_t words) noexcept {
  if (words > 0xFFFF'FFFFu) return std::nullopt;
  return words * sizeof(word);
}

}  // namespace

// docs/protocol.md#encode-control
result<byte_buffer> encode_control(const control_layout& layout) noexcept {
  if (layout.observable_words > abi::max_encoded) {
    return std::unexpected(error{.code = error_code::observable_slots_too_large,
                                 .buffer = buffer::control,
                                 .found = layout.observable_words,
                                 .bound = abi::max_encoded});
  }
  auto control =
      zeroed((std::uint64_t{abi::control_words} + layout.observable_words) * sizeof(word));
  if (!control) return control;
  std::byte* const base = control->data();
  store_word(base, abi::shutdown_word, layout.shutdown ? 1 : 0);
  store_word(base, abi::tenant_base_word, abi::tenant_mask_word);
  const word masks = std::min(layout.tenants, abi::tenant_masks);
  for (word t = 0; t < masks; ++t) store_word(base, abi::tenant_mask_word + t, 0xFFFF'FFFFu);
  const word quotas = std::min(layout.tenants, abi::tenant_quotas);
  for (word t = 0; t < quotas; ++t)
    store_word(base, abi::tenant_quota_word + t, abi::default_quota);
  return control;
}

// docs/protocol.md#encode-zeroed
result<byte_buffer> encode_ring(std::uint32_t slots) noexcept {
  if (slots > abi::max_encoded) {
    return std::unexpected(error{.code = error_code::slot_count_too_large,
                                 .buffer = buffer::ring,
                                 .found = slots,
                                 .bound = abi::max_encoded});
  }
  return zeroed(std::uint64_t{slots} * abi::slot_bytes);
}

result<byte_buffer> encode_debug_log(std::uint32_t records) noexcept {
  if (records > abi::max_encoded) {
    return std::unexpected(error{.code = error_code::record_capacity_too_large,
                                 .buffer = buffer::debug_log,
                                 .found = records,
                                 .bound = abi::max_encoded});
  }
  return zeroed((abi::debug_record_word + std::uint64_t{records} * abi::debug_record_words) *
                sizeof(word));
}

result<byte_buffer> encode_io_queue(std::uint32_t slots) noexcept {
  if (slots > abi::max_io_slots) {
    return std::unexpected(error{.code = error_code::io_queue_too_large,
                                 .buffer = buffer::io_queue,
                                 .found = slots,
                                 .bound = abi::max_io_slots});
  }
  return zeroed(std::uint64_t{slots} * abi::io_slot_bytes);
}

// docs/protocol.md#load-miss-slot
std::array<std::byte, abi::slot_bytes> encode_load_miss(load_miss request) noexcept {
  std::array<std::byte, abi::slot_bytes> slot{};
  store_word(slot.data(), abi::status_word, word(slot_status::published));
  store_word(slot.data(), abi::opcode_word, word(opcode::load_miss));
  store_word(slot.data(), abi::argument_word, request.resource);
  store_word(slot.data(), abi::argument_word + 1, request.prefetch ? 1 : 0);
  return slot;
}

// docs/protocol.md#buffer-sizes
std::optional<std::uint64_t> control_byte_length(std::uint32_t observable_words) noexcept {
  return bytes_of(std::uint64_t{abi::control_words} + observable_words);
}

std::optional<std::uint64_t> ring_byte_length(std::uint32_t slots) noexcept {
  return bytes_of(std::uint64_t{slots} * abi::slot_words);
}

std::optional<std::uint64_t> debug_log_byte_length(std::uint32_t records) noexcept {
  return bytes_of(abi::debug_record_word + std::uint64_t{records} * abi::debug_record_words);
}

// docs/protocol.md#priority-offsets
std::array<word, abi::priority_offsets> default_priority_offsets(std::uint32_t slots) noexcept {
  const word share = slots / abi::priorities;
  std::array<word, abi::priority_offsets> first{};
  for (word p = 0; p < abi::priorities; ++p) {
    const bool takes_remainder = priority{p} == priority::normal;
    first[p + 1] = first[p] + share + (takes_remainder ? slots % abi::priorities : 0);
  }
  return first;
}

result<void> write_priority_offsets(std::span<std::byte> control, std::uint32_t slots) noexcept {
  if (control.size() % sizeof(word) != 0) {
    return std::unexpected(error{.code = error_code::control_misaligned,
                                 .buffer = buffer::control,
                                 .found = control.size(),
                                 .bound = sizeof(word)});
  }
  constexpr std::size_t needed = (abi::priority_offset_word + abi::priority_offsets) * sizeof(word);
  if (control.size() < needed) {
    return std::unexpected(error{.code = error_code::control_too_short,
                                 .buffer = buffer::control,
                                 .found = control.size(),
                                 .bound = needed});
  }
  const auto offsets = default_priority_offsets(slots);
  for (word i = 0; i < abi::priority_offsets; ++i)
    store_word(control.data(), abi::priority_offset_word + i, offsets[i]);
  return {};
}

}  // namespace megakernel
