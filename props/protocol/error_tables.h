// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// What the tables of refusals share. Include it after all other headers: it imports the library.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <expected>
#include <functional>
#include <optional>
#include <span>
#include <vector>

#include "support.h"

import megakernel;

namespace props::errors {

namespace mk = megakernel;

/// The refusal of a call; nothing where it was not refused.
using refusal = std::optional<mk::error>;

template <class T>
refusal of(const mk::result<T>& r) {
  return r ? std::nullopt : refusal(r.error());
}

/// A call, and the refusal it must get, field by field.
struct provoker {
  mk::error wanted;
  std::function<refusal()> call;
};

inline constexpr std::array<std::byte, 2048> zeros{};
inline std::span<const std::byte> some(std::size_t count) { return std::span(zeros).first(count); }

/// Writable words, and the publisher or queue over them.
struct words {
  std::vector<std::uint32_t> all;
  explicit words(std::size_t count) : all(count) {}
  words& set(std::size_t at, std::uint32_t value) {
    all[at] = value;
    return *this;
  }
  mk::ring_publisher ring() { return mk::ring_publisher::over(writable(all)).value(); }
  mk::io_queue queue() { return mk::io_queue::over(writable(all)).value(); }
  std::span<const std::byte> view() const { return std::as_bytes(std::span(all)); }
};

/// The refusals of sketches, of scaling and of the runtime. docs/protocol.md#error-codes
std::vector<provoker> sketch_provokers();
std::vector<provoker> sketch_byte_provokers();
std::vector<provoker> scaling_provokers();
std::vector<provoker> runtime_provokers();

}  // namespace props::errors
