// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "oracle_decoder.h"

#include <algorithm>
#include <cstddef>
#include <tuple>
#include <unordered_map>

namespace oracle {
namespace {

constexpr std::size_t slot_bytes = 64;
constexpr std::size_t control_bytes = 640;

std::uint32_t read_word(const unsigned char* at) {
  return static_cast<std::uint32_t>(at[0]) | static_cast<std::uint32_t>(at[1]) << 8 |
         static_cast<std::uint32_t>(at[2]) << 16 | static_cast<std::uint32_t>(at[3]) << 24;
}

std::string_view check(std::span<const unsigned char> control,
                       std::span<const unsigned char> ring) {
  if (control.size() < control_bytes) return "control_too_short";
  if (control.size() % 4 != 0) return "control_misaligned";
  if (ring.size() % slot_bytes != 0) return "ring_partial_slot";
  if (ring.size() / slot_bytes > 0xFFFFFFFFu) return "ring_too_large";
  return {};
}

void read_control(std::span<const unsigned char> bytes, control& out) {
  const auto word = [bytes](std::size_t i) { return read_word(bytes.data() + 4 * i); };
  out.shutdown = word(0) != 0;
  out.done_count = word(1);
  out.epoch = word(128);
  for (std::uint32_t i = 0; i < 32; ++i) {
    out.tenant_fairness[i] = word(64 + i);
    if (word(96 + i) != 0) out.metrics.emplace_back(i, word(96 + i));
  }
  for (std::size_t i = 0; i < 5; ++i) out.priority_fairness[i] = word(136 + i);
  out.reports = word(141) == 1;
  for (std::size_t i = 0; i < 8; ++i) out.extension[i] = out.reports ? word(142 + i) : 0;
}

/// Finds the window of a slot, or makes it.
class window_table {
 public:
  explicit window_table(std::vector<window>& windows) : windows_(windows) {}

  window& of(std::uint32_t ticket, std::uint32_t opcode, std::uint32_t tenant) {
    const std::uint64_t key = static_cast<std::uint64_t>(ticket) << 32 | opcode;
    const auto [found, is_new] = at_.try_emplace(key, windows_.size());
    if (is_new) {
      window fresh;
      fresh.ticket = ticket;
      fresh.opcode = opcode;
      fresh.tenant = tenant;
      windows_.push_back(fresh);
    }
    return windows_[found->second];
  }

 private:
  std::vector<window>& windows_;
  std::unordered_map<std::uint64_t, std::size_t> at_;
};

void add_to_window(window& w, const slot& s) {
  if (s.tenant != w.tenant) w.tenants_disagree = true;
  if (s.arguments[1] == 0) {
    ++w.required;
  } else if (s.arguments[1] == 1) {
    ++w.lookahead;
  }
  switch (s.status) {
    case 1:
      ++w.published;
      break;
    case 2:
      ++w.claimed;
      break;
    case 3:
      ++w.done;
      break;
    case 4:
      ++w.wait_io;
      break;
    case 5:
      ++w.yield;
      break;
    case 6:
      ++w.requeue;
      break;
    case 7:
      ++w.fault;
      break;
    default:
      break;
  }
}

void add_to_occupancy(occupancy& o, std::uint32_t status) {
  switch (status) {
    case 0:
      ++o.empty;
      break;
    case 1:
      ++o.published;
      break;
    case 2:
      ++o.claimed;
      break;
    case 3:
      ++o.done;
      break;
    case 4:
      ++o.wait_io;
      break;
    case 5:
      ++o.yield;
      break;
    case 6:
      ++o.requeue;
      break;
    case 7:
      ++o.fault;
      break;
    default:
      ++o.unknown;
      break;
  }
}

}  // namespace

std::uint32_t word_at(std::span<const unsigned char> bytes, std::size_t index) {
  return read_word(bytes.data() + 4 * index);
}

void decode(std::span<const unsigned char> control_in, std::span<const unsigned char> ring,
            std::span<const std::uint32_t> window_opcodes, decoded& out) {
  out.control.metrics.clear();
  out.control = control{.metrics = std::move(out.control.metrics)};
  out.occupancy = {};
  out.slots.clear();
  out.windows.clear();
  out.error = check(control_in, ring);
  if (!out.error.empty()) return;

  read_control(control_in, out.control);
  std::vector<std::uint32_t> opcodes(window_opcodes.begin(), window_opcodes.end());
  std::sort(opcodes.begin(), opcodes.end());
  window_table table(out.windows);
  const std::size_t count = ring.size() / slot_bytes;
  out.slots.reserve(count);
  for (std::size_t i = 0; i < count; ++i) {
    const unsigned char* at = ring.data() + i * slot_bytes;
    slot s;
    s.index = static_cast<std::uint32_t>(i);
    s.status = read_word(at);
    s.opcode = read_word(at + 4);
    s.tenant = read_word(at + 8);
    s.priority = read_word(at + 12);
    for (std::size_t a = 0; a < 3; ++a) s.arguments[a] = read_word(at + 16 + 4 * a);
    add_to_occupancy(out.occupancy, s.status);
    if (std::binary_search(opcodes.begin(), opcodes.end(), s.opcode))
      add_to_window(table.of(s.arguments[0], s.opcode, s.tenant), s);
    out.slots.push_back(s);
  }
  std::sort(out.windows.begin(), out.windows.end(), [](const window& a, const window& b) {
    return std::tie(a.ticket, a.opcode) < std::tie(b.ticket, b.opcode);
  });
}

decoded decode(std::span<const unsigned char> control_in, std::span<const unsigned char> ring,
               std::span<const std::uint32_t> window_opcodes) {
  decoded out;
  decode(control_in, ring, window_opcodes, out);
  return out;
}

}  // namespace oracle
