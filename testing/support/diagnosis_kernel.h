// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// A kernel made up for the diagnostician: its buffers are the library's own, its work is published
// by the library's publisher, and what its lanes do from one sample to the next is told in numbers.
#pragma once

#include <rapidcheck.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <expected>
#include <set>
#include <span>
#include <utility>
#include <vector>

#include "support.h"

namespace props {

/// Word indexes of a control buffer, told again rather than taken from the library.
namespace at {
inline constexpr std::size_t shutdown = 0, done = 1, masks = 3, quotas = 32, revision = 141,
                             heartbeat = 142, faults = 143, throttled = 145, lanes = 146,
                             high = 149;
}

/// Works through a queue in ring order in its first `flow_slots` slots; the rest is for slots that
/// a test puts into some state and leaves there. `Library` is the module's names, which a header
/// cannot import.
template <class Library>
class made_up_kernel {
 public:
  static constexpr std::uint32_t flow_slots = 64;
  static constexpr std::uint32_t special_slots = 8;
  static constexpr std::uint32_t slots = flow_slots + special_slots;
  static constexpr std::uint32_t lanes = 2;

  made_up_kernel() : control_(160), ring_(std::size_t{slots} * 16) {
    control_[2] = 3;
    for (std::size_t t = 0; t < 29; ++t) control_[at::masks + t] = ~0u;
    for (std::size_t t = 0; t < 32; ++t) control_[at::quotas + t] = 1000;
    control_[at::revision] = 1;
    control_[at::lanes] = lanes;
  }

  /// One sample's time: so many slots arrive, so many may be drained.
  void run(std::uint64_t arrive, std::uint64_t drain) {
    const std::uint64_t room = flow_slots - (head_ - tail_);
    const std::uint64_t accepted = std::min(arrive, room + drain);
    const std::uint64_t drained = std::min(head_ - tail_ + accepted, drain);
    const std::uint64_t old_head = head_;
    head_ += accepted;
    tail_ += drained;
    const std::uint64_t least = head_ > flow_slots ? head_ - flow_slots : 0;
    for (std::uint64_t n = least; n < tail_; ++n) finish(n);
    for (std::uint64_t n = std::max(old_head, tail_); n < head_; ++n) publish(n);
    for (std::uint64_t n = tail_; n < std::min(head_, tail_ + lanes); ++n) status(place(n)) = 2;
    control_[at::done] += static_cast<std::uint32_t>(drained);
    pass();
  }
  void pass(std::uint32_t times = 7) { control_[at::heartbeat] += times; }
  /// Drains all of the queue.
  void finish_all() { run(0, flow_slots); }

  /// Special slot `i` as if published by this tenant and then brought into this state.
  void special(std::uint32_t i, std::uint32_t state, std::uint32_t tenant = 1,
               std::uint32_t op = 1000) {
    Library::publish(bytes_of(ring_), flow_slots + i, op, tenant, i);
    status(flow_slots + i) = state;
  }
  void free_special(std::uint32_t i) { status(flow_slots + i) = 3; }
  [[nodiscard]] static std::uint32_t special_index(std::uint32_t i) { return flow_slots + i; }

  [[nodiscard]] std::uint32_t& word(std::size_t index) { return control_[index]; }
  [[nodiscard]] std::uint32_t& status(std::uint32_t slot) { return ring_[std::size_t{slot} * 16]; }
  void fault_code(std::uint32_t slot, std::uint32_t why) {
    ring_[std::size_t{slot} * 16 + 15] = why;
  }
  [[nodiscard]] std::uint64_t outstanding() const { return head_ - tail_; }
  [[nodiscard]] std::span<const std::byte> control() const {
    return std::as_bytes(std::span(control_));
  }
  [[nodiscard]] std::span<const std::byte> ring() const { return std::as_bytes(std::span(ring_)); }

 private:
  static std::span<std::byte> bytes_of(std::vector<std::uint32_t>& words) {
    return std::as_writable_bytes(std::span(words));
  }
  static std::uint32_t place(std::uint64_t n) { return static_cast<std::uint32_t>(n % flow_slots); }
  void finish(std::uint64_t n) { status(place(n)) = 3; }
  /// Few kinds of work, so that a slot often holds the words that it held before.
  void publish(std::uint64_t n) {
    status(place(n)) = 3;
    const auto kind = static_cast<std::uint32_t>(n / flow_slots % 2);
    Library::publish(bytes_of(ring_), place(n), kind == 0 ? 0 : 1001, kind, 0);
  }

  // Words of this machine, which is little-endian as the wire is.
  std::vector<std::uint32_t> control_;
  alignas(64) std::vector<std::uint32_t> ring_;
  std::uint64_t head_ = 0;
  std::uint64_t tail_ = 0;
};

}  // namespace props
