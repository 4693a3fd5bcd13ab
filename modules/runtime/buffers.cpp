module;
#include <megakernel/forms.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <expected>
#include <span>
#include <utility>
module megakernel.runtime;
import megakernel.protocol;

namespace megakernel {
namespace {

/// The buffers are cache-line aligned bytes whose words the kernel shares.
word* words_of(byte_buffer& buffer) noexcept { return reinterpret_cast<word*>(buffer.data()); }

word count_of(const byte_buffer& buffer, std::size_t unit) noexcept {
  return static_cast<word>(buffer.size() / unit);
}

}  // namespace

result<kernel_buffers> kernel_buffers::make(const buffer_layout& layout) noexcept {
  if (layout.slots == 0) {
    return std::unexpected(
        error{.code = error_code::slot_count_zero, .buffer = buffer::ring, .bound = 1});
  }
  kernel_buffers made;
  const auto keep = [](auto&& encoded, auto& to) -> result<void> {
    if (!encoded) return std::unexpected(encoded.error());
    to = std::move(*encoded);
    return {};
  };
  if (auto kept = keep(
          encode_control({.tenants = layout.tenants, .observable_words = layout.observable_words}),
          made.control_);
      !kept)
    return std::unexpected(kept.error());
  if (auto kept = keep(encode_ring(layout.slots), made.ring_); !kept)
    return std::unexpected(kept.error());
  if (auto kept = keep(encode_debug_log(layout.debug_records), made.debug_log_); !kept)
    return std::unexpected(kept.error());
  if (auto kept = keep(encode_io_queue(layout.io_slots), made.io_queue_); !kept)
    return std::unexpected(kept.error());
  if (auto sized = made.arena_.resize_for_overwrite(layout.arena_bytes); !sized)
    return std::unexpected(sized.error());
  made.arena_.fill_zero();
  if (auto sized = made.dfa_table_.resize_for_overwrite(layout.dfa_table.size()); !sized)
    return std::unexpected(sized.error());
  std::ranges::copy(layout.dfa_table, made.dfa_table_.begin());
  if (auto written = write_priority_offsets(made.control(), layout.slots); !written)
    return std::unexpected(written.error());

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
      .dfa_table = made.dfa_table_.data(),
      .dfa_words = static_cast<word>(std::min(made.dfa_table_.size(), most_words)),
      .arena = reinterpret_cast<unsigned char*>(made.arena_.data()),
      .arena_bytes = made.arena_.size(),
      .system_tenant = layout.system_tenant,
      .quotas = layout.quotas,
  };
  return made;
}

}  // namespace megakernel
