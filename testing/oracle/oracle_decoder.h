// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// A second, deliberately plain decoder of the same bytes. docs/protocol.md#decode-validation
//
// It is the oracle of the property tests and the "plain branchy decoder" of the benchmarks: one
// pass, a switch on the status, bytes put together by shifting, windows in a hash table that is
// sorted at the end. It shares no code with the library, includes none of its headers and spells
// the numbers of the wire out, so that a mistake in the one is not a mistake in the other.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

namespace oracle {

struct slot {
  std::uint32_t index = 0;
  std::uint32_t status = 0;
  std::uint32_t opcode = 0;
  std::uint32_t tenant = 0;
  std::uint32_t priority = 0;
  std::array<std::uint32_t, 3> arguments{};
  friend bool operator==(const slot&, const slot&) = default;
};

struct window {
  std::uint32_t ticket = 0;
  std::uint32_t opcode = 0;
  std::uint32_t tenant = 0;
  std::uint32_t required = 0;
  std::uint32_t lookahead = 0;
  std::uint32_t published = 0;
  std::uint32_t claimed = 0;
  std::uint32_t done = 0;
  std::uint32_t wait_io = 0;
  std::uint32_t yield = 0;
  std::uint32_t requeue = 0;
  std::uint32_t fault = 0;
  bool tenants_disagree = false;
  friend bool operator==(const window&, const window&) = default;
};

struct occupancy {
  std::uint32_t empty = 0;
  std::uint32_t published = 0;
  std::uint32_t claimed = 0;
  std::uint32_t done = 0;
  std::uint32_t wait_io = 0;
  std::uint32_t yield = 0;
  std::uint32_t requeue = 0;
  std::uint32_t fault = 0;
  std::uint32_t unknown = 0;
  friend bool operator==(const occupancy&, const occupancy&) = default;
};

struct control {
  bool shutdown = false;
  std::uint32_t done_count = 0;
  std::uint32_t epoch = 0;
  std::vector<std::pair<std::uint32_t, std::uint32_t>> metrics{};  ///< (index, count), not zero
  std::array<std::uint32_t, 32> tenant_fairness{};
  std::array<std::uint32_t, 5> priority_fairness{};
  bool reports = false;                      ///< word 141 is 1
  std::array<std::uint32_t, 8> extension{};  ///< words 142..149 where it reports, else zero
  friend bool operator==(const control&, const control&) = default;
};

/// Empty `error` for a success; else a name of the library's, and everything else is empty.
struct decoded {
  std::string_view error;
  oracle::control control;
  oracle::occupancy occupancy;
  std::vector<slot> slots;
  std::vector<window> windows;  ///< by (ticket, opcode)
  friend bool operator==(const decoded&, const decoded&) = default;
};

/// Decodes into `out`, whose vectors keep their storage.
void decode(std::span<const unsigned char> control, std::span<const unsigned char> ring,
            std::span<const std::uint32_t> window_opcodes, decoded& out);

[[nodiscard]] decoded decode(std::span<const unsigned char> control,
                             std::span<const unsigned char> ring,
                             std::span<const std::uint32_t> window_opcodes);

/// Word `index` of little-endian bytes.
[[nodiscard]] std::uint32_t word_at(std::span<const unsigned char> bytes, std::size_t index);

}  // namespace oracle
