// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <fmt/format.h>

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "render/names.h"
#include "report/report.h"

import megakernel;

namespace megakernel::tool {

std::string_view to_string(slot_status status) noexcept {
  switch (status) {
    case slot_status::empty:
      return "empty";
    case slot_status::published:
      return "published";
    case slot_status::claimed:
      return "claimed";
    case slot_status::done:
      return "done";
    case slot_status::wait_io:
      return "wait_io";
    case slot_status::yield:
      return "yield";
    case slot_status::requeue:
      return "requeue";
    case slot_status::fault:
      return "fault";
  }
  return "unknown";
}

std::string to_string(opcode op) {
  switch (op) {
    case opcode::nop:
      return "NOP";
    case opcode::store_u32:
      return "STORE_U32";
    case opcode::atomic_add:
      return "ATOMIC_ADD";
    case opcode::load_u32:
      return "LOAD_U32";
    case opcode::compare_swap:
      return "COMPARE_SWAP";
    case opcode::memcpy:
      return "MEMCPY";
    case opcode::dfa_step:
      return "DFA_STEP";
    case opcode::batch_fence:
      return "BATCH_FENCE";
    case opcode::load_miss:
      return "LOAD_MISS";
    case opcode::printf:
      return "PRINTF";
    case opcode::packed_slot:
      return "PACKED_SLOT";
    case opcode::shutdown:
      return "SHUTDOWN";
  }
  const word raw = word(op);
  if (is_system(op)) return fmt::format("sys {:#x}", raw);
  return raw <= 0xFFFF ? fmt::format("op {} ({:#x})", raw, raw) : fmt::format("op {:#x}", raw);
}

std::string to_string(priority level) {
  switch (level) {
    case priority::critical:
      return "critical";
    case priority::high:
      return "high";
    case priority::normal:
      return "normal";
    case priority::low:
      return "low";
    case priority::idle:
      return "idle";
  }
  return fmt::format("priority {}", word(level));
}

std::string to_string(fault_code code) {
  switch (code) {
    case fault_code::unreported:
      return "not reported";
    case fault_code::unknown_opcode:
      return "unknown opcode";
    case fault_code::address_outside_buffer:
      return "address out of bounds";
    case fault_code::system_word_write:
      return "system word written";
    case fault_code::malformed_packed_slot:
      return "malformed packed slot";
    case fault_code::no_dfa_table:
      return "no DFA table";
    case fault_code::io_queue_refused:
      return "IO queue refused";
  }
  return "handler's own";
}

std::string to_string(io_operation operation) {
  switch (operation) {
    case io_operation::read:
      return "READ";
    case io_operation::write:
      return "WRITE";
    case io_operation::fence:
      return "FENCE";
  }
  return fmt::format("operation {}", word(operation));
}

std::string_view to_string(io_status status) noexcept {
  switch (status) {
    case io_status::empty:
      return "empty";
    case io_status::published:
      return "published";
    case io_status::claimed:
      return "claimed";
    case io_status::ok:
      return "ok";
    case io_status::error:
      return "error";
  }
  return "unknown";
}

std::string grouped(std::uint64_t value) {
  std::string digits = fmt::format("{}", value);
  for (std::size_t at = digits.size(); at > 3;) {
    at -= 3;
    digits.insert(at, 1, ',');
  }
  return digits;
}

std::string counted(std::uint64_t count, std::string_view singular) {
  return fmt::format("{} {}{}", grouped(count), singular, count == 1 ? "" : "s");
}

std::string printable(std::string_view text) {
  std::string shown;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte < 0x20 || byte == 0x7F) {
      shown += fmt::format("\\x{:02x}", byte);
    } else {
      shown += c;
    }
  }
  return shown;
}

}  // namespace megakernel::tool
