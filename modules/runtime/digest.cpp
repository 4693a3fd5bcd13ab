// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
module;
#include <megakernel/lane_order.h>
#include <megakernel/ring_digest.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <expected>
#include <optional>
#include <span>
module megakernel.runtime;
import megakernel.decoder;
import megakernel.protocol;
import megakernel.sketch;

namespace megakernel {
namespace {

namespace wire = abi::digest;

/// The request for a device; empty where no digest has room for it.
std::optional<digest_request> request_of(const window_opcodes& windows,
                                         const sketch_shape& sketches) noexcept {
  const std::span<const opcode> list = windows.list();
  if (list.size() > digest_request::most_window_opcodes) return std::nullopt;
  if (!wire::holds_sketches(sketches.depth, sketches.width)) return std::nullopt;
  digest_request what{.depth = static_cast<word>(sketches.depth),
                      .width = static_cast<word>(sketches.width),
                      .window_opcodes = static_cast<word>(list.size()),
                      .window_opcode = {}};
  std::ranges::transform(list, what.window_opcode, [](opcode op) { return word(op); });
  return what;
}

/// A digest that answers something else than was asked.
std::unexpected<error> not_asked(word index, std::uint64_t found, std::uint64_t bound) noexcept {
  return std::unexpected(error{.code = error_code::digest_inconsistent,
                               .buffer = buffer::digest,
                               .index = index,
                               .found = found,
                               .bound = bound});
}

}  // namespace

void live_digest::clear() noexcept {
  digest_.clear();
  telemetry_.clear();
  summary_.clear();
  counts_ = {};
  sketches_.clear();
  made_ = maker::summary;
  flushed_ = false;
}

/// Whether the device answered, and all of it.
result<bool> live_digest::ask(kernel_buffers& buffers, kernel_target& target,
                              const digest_request& what) noexcept {
  const device::launch& where = buffers.where();
  const word windows = what.window_opcodes == 0 ? 0 : wire::most_windows;
  const std::size_t most = std::size_t{wire::words(what.depth, what.width, windows)} * sizeof(word);
  if (auto sized = control_.resize_for_overwrite(buffers.control().size()); !sized)
    return std::unexpected(sized.error());
  if (auto sized = bytes_.resize_for_overwrite(most); !sized) return std::unexpected(sized.error());
  detail::copy_control(where, control_.data());
  const auto size = target.digest(what, {bytes_.data(), bytes_.size()}, deadline::in(timeout));
  if (!size) return std::unexpected(size.error());
  if (*size == 0) return false;
  const auto decoded = digest_.decode({control_.data(), control_.size()}, {bytes_.data(), *size});
  if (!decoded) return std::unexpected(decoded.error());
  if (const auto slots = digest_.summary().occupancy().total_slots(); slots != where.slots)
    return not_asked(wire::slots_word, slots, where.slots);
  if (digest_.request() != what)
    return not_asked(wire::window_opcodes_word, digest_.request().window_opcodes,
                     what.window_opcodes);
  if (digest_.unlisted_window_slots() != 0) return false;
  if (what.depth != 0) {
    if (auto taken = sketches_.assign(digest_); !taken) return std::unexpected(taken.error());
  }
  counts_ = digest_.counts();
  made_ = maker::device;
  return true;
}

result<void> live_digest::decode(kernel_buffers& buffers, const submission_queue& queue,
                                 const window_opcodes& windows, bool sketched) noexcept {
  if (auto taken = snapshot_.take(buffers, queue); !taken) return taken;
  const auto control = snapshot_.control();
  const auto ring = snapshot_.ring();
  auto decoded = sketched ? telemetry_.decode(control, ring, windows)
                          : summary_.decode(control, ring, windows);
  if (decoded && sketched) decoded = sketches_.assign(telemetry_);
  if (!decoded) return decoded;
  counts_ = counts_of(*ring_view::over(control, ring));
  made_ = sketched ? maker::decoder : maker::summary;
  return {};
}

result<void> live_digest::take(kernel_buffers& buffers, const submission_queue& queue,
                               kernel_target* target, const window_opcodes& windows,
                               const sketch_shape& sketches, deadline flush) noexcept {
  clear();
  const bool sketched = sketches != sketch_shape{};
  auto made = sketched ? sketches_.reset_shape(sketches.depth, sketches.width) : result<void>();
  if (made && !sketched) sketches_ = {};
  bool whole = false;
  if (made && target != nullptr) {
    flushed_ = target->flush(flush);
    const auto what = request_of(windows, sketches);
    if (what && target->makes_digests()) {
      const auto asked = ask(buffers, *target, *what);
      if (asked) whole = *asked;
      if (!asked) made = std::unexpected(asked.error());
    }
  }
  if (made && !whole) made = decode(buffers, queue, windows, sketched);
  if (!made) clear();
  return made;
}

}  // namespace megakernel
