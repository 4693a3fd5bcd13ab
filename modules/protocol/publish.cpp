// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
module;
#include <algorithm>
#include <array>
#include <atomic>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <expected>
#include <span>
#include <utility>
#include <variant>
module megakernel.protocol;

namespace megakernel {
namespace {

constexpr std::uint64_t last_slot_number = 0xFFFF'FFFFu;

/// `over` has checked the alignment that an atomic access to a word of the ring needs.
std::atomic_ref<word> status_at(std::byte* slot) noexcept {
  return std::atomic_ref<word>(*reinterpret_cast<word*>(slot));
}

slot_status status_of(std::byte* slot) noexcept {
  return slot_status{wire_order(status_at(slot).load(std::memory_order_acquire))};
}

// docs/protocol.md#publish-order
void commit(std::byte* slot) noexcept {
  status_at(slot).store(wire_order(word(slot_status::published)), std::memory_order_release);
}

/// Stores a word that others look at before they own the slot, and then look at again: a lane at
/// the tenant before it claims, and at the link of a slot that waits for IO; whoever asks how a
/// slot ended, at its fault code.
void store_shared(std::byte* slot, std::size_t index, word value) noexcept {
  std::atomic_ref<word>(*reinterpret_cast<word*>(slot + index * sizeof(word)))
      .store(wire_order(value), std::memory_order_relaxed);
}

/// The argument words before the link and the fault code.
constexpr std::size_t plain_arguments = abi::io_link_word - abi::argument_word;
static_assert(abi::io_link_word + 1 == abi::fault_code_word);

void write_slot(std::byte* slot, opcode op, std::uint32_t tenant, priority level,
                std::span<const word> all) noexcept {
  store_word(slot, abi::opcode_word, word(op));
  store_shared(slot, abi::tenant_word, tenant);
  store_word(slot, abi::priority_word, word(level));
  std::memset(slot + abi::argument_word * sizeof(word), 0, plain_arguments * sizeof(word));
  for (std::size_t i = plain_arguments; i < abi::argument_words; ++i)
    store_shared(slot, abi::argument_word + i, i < all.size() ? all[i] : 0);
  // By fours, which are one store each, and then one by one.
  std::byte* to = slot + abi::argument_word * sizeof(word);
  std::span<const word> arguments = all.first(std::min(all.size(), plain_arguments));
  for (; arguments.size() >= 4; arguments = arguments.subspan(4), to += 4 * sizeof(word)) {
    const std::array<word, 4> four{wire_order(arguments[0]), wire_order(arguments[1]),
                                   wire_order(arguments[2]), wire_order(arguments[3])};
    std::memcpy(to, four.data(), sizeof four);
  }
#pragma clang loop vectorize(disable) unroll(disable)
  for (std::size_t i = 0; i < arguments.size(); ++i) store_word(to, i, arguments[i]);
  commit(slot);
}

void write_work_item(std::byte* slot, std::uint32_t tenant, const work_item& item) noexcept {
  // In pieces that are one store each.
  const std::array<word, 4> body{wire_order(word(priority::normal)), wire_order(item.input),
                                 wire_order(item.output), wire_order(item.param)};
  store_word(slot, abi::opcode_word, word(item.op));
  store_shared(slot, abi::tenant_word, tenant);
  std::byte* to = slot + abi::priority_word * sizeof(word);
  std::memcpy(to, body.data(), sizeof body);
  to += sizeof body;
  std::memset(to, 0, abi::io_link_word * sizeof(word) - static_cast<std::size_t>(to - slot));
  store_shared(slot, abi::io_link_word, 0);
  store_shared(slot, abi::fault_code_word, 0);
  commit(slot);
}

std::unexpected<error> reserved(std::uint64_t entry, opcode op) noexcept {
  return std::unexpected(error{.code = error_code::opcode_reserved,
                               .buffer = buffer::ring,
                               .index = entry,
                               .found = word(op)});
}

std::unexpected<error> too_many(std::uint64_t entry, std::size_t arguments) noexcept {
  return std::unexpected(error{.code = error_code::too_many_args,
                               .buffer = buffer::ring,
                               .index = entry,
                               .found = arguments,
                               .bound = abi::argument_words});
}

[[gnu::always_inline]] inline result<void> check_request(std::uint64_t entry,
                                                         const slot_request& request) noexcept {
  if (request.arguments.size() > abi::argument_words)
    return too_many(entry, request.arguments.size());
  if (!is_publishable(request.op)) return reserved(entry, request.op);
  if (request.level > priority::idle) {
    return std::unexpected(error{.code = error_code::priority_out_of_range,
                                 .buffer = buffer::ring,
                                 .index = entry,
                                 .found = word(request.level),
                                 .bound = word(priority::idle)});
  }
  return {};
}

/// The arguments of entry `i` of a window.
result<slot_arguments> window_entry(const window_request& window, std::uint64_t i) noexcept {
  const std::size_t required = window.required.size();
  auto arguments = i < required
                       ? window_arguments(window.ticket, window_class::required, window.required[i])
                       : window_arguments(window.ticket, window_class::lookahead,
                                          window.lookahead[i - required]);
  if (!arguments) arguments.error().index = i;
  return arguments;
}

slot_request window_slot(const window_request& window, const slot_arguments& arguments) noexcept {
  return {.op = window.op,
          .tenant = window.tenant,
          .level = window.level,
          .arguments = arguments.used()};
}

result<void> check_opcodes(std::span<const work_item> items) noexcept {
  bool publishable = true;
  for (const work_item& item : items) publishable &= is_publishable(item.op);
  if (publishable) return {};
  const auto bad =
      std::ranges::find_if_not(items, [](opcode op) { return is_publishable(op); }, &work_item::op);
  return reserved(static_cast<std::uint64_t>(bad - items.begin()), bad->op);
}

/// Consecutive slots from `first` whose last one still has a number.
result<void> check_last(std::uint32_t first, std::uint64_t count) noexcept {
  if (count == 0 || count - 1 <= last_slot_number - first) return {};
  return std::unexpected(error{.code = error_code::slot_index_overflow,
                               .buffer = buffer::ring,
                               .index = first,
                               .found = count,
                               .bound = last_slot_number});
}

}  // namespace

// docs/protocol.md#packed-layout docs/protocol.md#publish-packed
result<slot_arguments> packed_arguments(std::span<const packed_op> ops) noexcept {
  if (ops.size() > abi::max_packed_ops) {
    return std::unexpected(error{.code = error_code::packed_too_many_ops,
                                 .buffer = buffer::ring,
                                 .found = ops.size(),
                                 .bound = abi::max_packed_ops});
  }
  const word table = abi::packed_metadata_words(static_cast<word>(ops.size()));
  if (table > abi::argument_words) {
    return std::unexpected(error{.code = error_code::packed_metadata_too_large,
                                 .buffer = buffer::ring,
                                 .found = table,
                                 .bound = abi::argument_words});
  }
  slot_arguments packed{.count = table};
  const auto put_byte = [&packed](std::size_t at, word value) {
    packed.words[at / 4] |= value << (at % 4 * 8);
  };
  for (std::size_t i = 0; i < ops.size(); ++i) {
    if (ops[i].arguments.size() > abi::argument_words - packed.count) {
      return std::unexpected(error{.code = error_code::packed_payload_too_large,
                                   .buffer = buffer::ring,
                                   .index = i,
                                   .found = packed.count + std::uint64_t{ops[i].arguments.size()},
                                   .bound = abi::argument_words});
    }
    const std::size_t entry = abi::packed_header_bytes + abi::packed_op_bytes * i;
    put_byte(entry, ops[i].op);
    put_byte(entry + 1, packed.count - table);
    std::ranges::copy(ops[i].arguments, packed.words.begin() + packed.count);
    packed.count += static_cast<word>(ops[i].arguments.size());
  }
  put_byte(0, static_cast<word>(ops.size()));
  put_byte(1, packed.count - table);
  return packed;
}

// docs/protocol.md#window-arguments
result<slot_arguments> window_arguments(word ticket, window_class tag,
                                        std::span<const word> payload) noexcept {
  if (payload.size() > abi::window_payload_words) {
    return std::unexpected(error{.code = error_code::window_payload_too_large,
                                 .buffer = buffer::ring,
                                 .found = payload.size(),
                                 .bound = abi::window_payload_words});
  }
  slot_arguments arguments;
  arguments.count = abi::window_header_words + static_cast<word>(payload.size());
  arguments.words[0] = ticket;
  arguments.words[1] = word(tag);
  std::ranges::copy(payload, arguments.words.begin() + abi::window_header_words);
  return arguments;
}

result<void> check(const slot_request& request) noexcept { return check_request(0, request); }

result<void> check(std::span<const batch_item> items) noexcept {
  for (std::size_t i = 0; i < items.size(); ++i) {
    if (items[i].arguments.size() > abi::argument_words)
      return too_many(i, items[i].arguments.size());
    if (!is_publishable(items[i].op)) return reserved(i, items[i].op);
  }
  return {};
}

result<void> check(const window_request& window) noexcept {
  const std::uint64_t total = std::uint64_t{window.required.size()} + window.lookahead.size();
  for (std::uint64_t i = 0; i < total; ++i) {
    const auto arguments = window_entry(window, i);
    if (!arguments) return std::unexpected(arguments.error());
    if (auto checked = check_request(i, window_slot(window, *arguments)); !checked) return checked;
  }
  return {};
}

result<ring_publisher> ring_publisher::over(std::span<std::byte> ring) noexcept {
  if (ring.size() % abi::slot_bytes != 0) {
    return std::unexpected(error{.code = error_code::ring_partial_slot,
                                 .buffer = buffer::ring,
                                 .found = ring.size(),
                                 .bound = abi::slot_bytes});
  }
  const std::uint64_t slots = ring.size() / abi::slot_bytes;
  if (slots > last_slot_number) {
    return std::unexpected(error{.code = error_code::ring_too_large,
                                 .buffer = buffer::ring,
                                 .found = slots,
                                 .bound = last_slot_number});
  }
  const auto past = std::bit_cast<std::uintptr_t>(ring.data()) % alignof(word);
  if (past != 0) {
    return std::unexpected(error{.code = error_code::buffer_unaligned,
                                 .buffer = buffer::ring,
                                 .found = past,
                                 .bound = alignof(word)});
  }
  return ring_publisher(ring.data(), static_cast<std::uint32_t>(slots));
}

[[gnu::always_inline]] inline result<void> ring_publisher::check_status(
    std::uint32_t slot) const noexcept {
  const slot_status status = status_of(at(slot));
  if (is_publishable(status)) return {};
  return std::unexpected(error{.code = error_code::slot_not_publishable,
                               .buffer = buffer::ring,
                               .index = slot,
                               .found = word(status)});
}

[[gnu::always_inline]] inline result<void> ring_publisher::check_slot(
    std::uint32_t slot, std::uint32_t entry, const slot_request& request) const noexcept {
  if (slot >= slots_) {
    return std::unexpected(error{.code = error_code::slot_out_of_range,
                                 .buffer = buffer::ring,
                                 .index = entry,
                                 .found = slot,
                                 .bound = slots_});
  }
  if (auto checked = check_request(entry, request); !checked) return checked;
  return check_status(slot);
}

result<void> ring_publisher::check_free(std::uint32_t first, std::uint32_t count) const noexcept {
  bool free = true;
  for (std::uint32_t i = 0; i < count; ++i) free &= is_publishable(status_of(at(first + i)));
  result<void> checked;
  // Slots that became free since then are free.
  for (std::uint32_t i = 0; !free && i < count && checked; ++i) checked = check_status(first + i);
  return checked;
}

result<void> ring_publisher::check_run(std::uint32_t first, std::uint64_t count) const noexcept {
  if (count > last_slot_number - first) {
    return std::unexpected(error{.code = error_code::slot_index_overflow,
                                 .buffer = buffer::ring,
                                 .index = first,
                                 .found = count,
                                 .bound = last_slot_number});
  }
  if (first + count > slots_) {
    return std::unexpected(error{.code = error_code::batch_out_of_range,
                                 .buffer = buffer::ring,
                                 .index = first,
                                 .found = count,
                                 .bound = slots_});
  }
  return {};
}

// docs/protocol.md#publish-slot
result<void> ring_publisher::publish(std::uint32_t slot, const slot_request& request) noexcept {
  if (auto checked = check_slot(slot, 0, request); !checked) return checked;
  write_slot(at(slot), request.op, request.tenant, request.level, request.arguments);
  return {};
}

// docs/protocol.md#publish-packed
result<void> ring_publisher::publish_packed(std::uint32_t slot,
                                            const packed_request& request) noexcept {
  const auto packed = packed_arguments(request.ops);
  if (!packed) return std::unexpected(packed.error());
  return publish(slot, {.op = opcode::packed_slot,
                        .tenant = request.tenant,
                        .level = request.level,
                        .arguments = packed->used()});
}

// docs/protocol.md#load-miss-slot
result<void> ring_publisher::publish_load_miss(std::uint32_t slot, load_miss request) noexcept {
  // Checked as a NOP in its place: an opcode that a host may not publish is all that differs.
  if (auto checked = check_slot(slot, 0, {}); !checked) return checked;
  const std::array<word, 2> arguments{request.resource, word(request.prefetch)};
  write_slot(at(slot), opcode::load_miss, 0, priority::critical, arguments);
  return {};
}

// docs/protocol.md#publish-each
result<std::uint32_t> ring_publisher::publish_each(
    std::uint32_t first,
    std::span<const std::variant<slot_request, packed_request>> requests) noexcept {
  if (auto checked = check_last(first, requests.size()); !checked)
    return std::unexpected(checked.error());
  const auto count = static_cast<std::uint32_t>(requests.size());
  // The packed ones are encoded twice, once to check and once to write: the alternative is to
  // allocate, and a packed slot is twelve words.
  const auto plain = [](const std::variant<slot_request, packed_request>& request,
                        slot_arguments& room) -> result<slot_request> {
    if (const auto* already = std::get_if<slot_request>(&request)) return *already;
    const auto& packed = *std::get_if<packed_request>(&request);
    const auto arguments = packed_arguments(packed.ops);
    if (!arguments) return std::unexpected(arguments.error());
    room = *arguments;
    return slot_request{.op = opcode::packed_slot,
                        .tenant = packed.tenant,
                        .level = packed.level,
                        .arguments = room.used()};
  };
  slot_arguments room;
  for (std::uint32_t i = 0; i < count; ++i) {
    const auto request = plain(requests[i], room);
    if (!request) return std::unexpected(request.error());
    if (auto checked = check_slot(first + i, i, *request); !checked)
      return std::unexpected(checked.error());
  }
  for (std::uint32_t i = 0; i < count; ++i) {
    const auto request = plain(requests[i], room);
    write_slot(at(first + i), request->op, request->tenant, request->level, request->arguments);
  }
  return count;
}

// docs/protocol.md#publish-batch
result<std::uint32_t> ring_publisher::publish_batch(std::uint32_t first, std::uint32_t tenant,
                                                    std::span<const batch_item> items,
                                                    word tag) noexcept {
  const std::uint64_t used = std::uint64_t{items.size()} + 1;
  if (auto checked = check_run(first, used); !checked) return std::unexpected(checked.error());
  if (auto checked = check(items); !checked) return std::unexpected(checked.error());
  const auto count = static_cast<std::uint32_t>(used);
  if (auto free = check_free(first, count); !free) return std::unexpected(free.error());
  for (std::uint32_t i = 0; i < items.size(); ++i)
    write_slot(at(first + i), items[i].op, tenant, priority::normal, items[i].arguments);
  const std::array<word, 2> fence{count - 1, tag};
  write_slot(at(first + count - 1), opcode::batch_fence, tenant, priority::normal, fence);
  return count;
}

// docs/protocol.md#publish-window
result<std::uint32_t> ring_publisher::publish_window(std::uint32_t first,
                                                     const window_request& window) noexcept {
  const std::uint64_t total = std::uint64_t{window.required.size()} + window.lookahead.size();
  if (auto checked = check_last(first, total); !checked) return std::unexpected(checked.error());
  const auto count = static_cast<std::uint32_t>(total);
  for (std::uint32_t i = 0; i < count; ++i) {
    const auto arguments = window_entry(window, i);
    if (!arguments) return std::unexpected(arguments.error());
    if (auto checked = check_slot(first + i, i, window_slot(window, *arguments)); !checked)
      return std::unexpected(checked.error());
  }
  for (std::uint32_t i = 0; i < count; ++i) {
    const auto arguments = window_entry(window, i);
    write_slot(at(first + i), window.op, window.tenant, window.level, arguments->used());
  }
  return count;
}

// docs/protocol.md#publish-work-items
result<std::uint32_t> ring_publisher::publish_work_items(
    std::uint32_t first, std::uint32_t tenant, std::span<const work_item> items) noexcept {
  if (auto checked = check_opcodes(items); !checked) return std::unexpected(checked.error());
  if (auto checked = check_run(first, items.size()); !checked)
    return std::unexpected(checked.error());
  const auto count = static_cast<std::uint32_t>(items.size());
  if (auto free = check_free(first, count); !free) return std::unexpected(free.error());
  std::byte* slot = base_ + std::size_t{first} * abi::slot_bytes;
  for (const work_item& item : items) {
    write_work_item(slot, tenant, item);
    slot += abi::slot_bytes;
  }
  return count;
}

// docs/protocol.md#publish-work-items
result<byte_buffer> encode_work_items(std::uint32_t slots, std::uint32_t tenant,
                                      std::span<const work_item> items) noexcept {
  if (items.size() > slots) {
    return std::unexpected(error{.code = error_code::work_items_exceed_slot_count,
                                 .buffer = buffer::ring,
                                 .found = items.size(),
                                 .bound = slots});
  }
  if (auto checked = check_opcodes(items); !checked) return std::unexpected(checked.error());
  auto ring = encode_ring(slots);
  if (!ring) return ring;
  for (std::size_t i = 0; i < items.size(); ++i)
    write_work_item(ring->data() + i * abi::slot_bytes, tenant, items[i]);
  return ring;
}

}  // namespace megakernel
