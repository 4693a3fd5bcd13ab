// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include "standard.h"

#include <cstdint>
#include <string>
#include <string_view>

import megakernel;

/// Words for the numbers of the wire. A value without a name keeps its number, so that nothing but
/// these names and digits can reach a terminal, whatever a dump holds.
namespace megakernel::tool {

/// `"published"`; `"unknown"` for a word that is no status.
[[nodiscard]] std::string_view to_string(slot_status status) noexcept;

/// `"STORE_U32"`; `"op 42 (0x2a)"`, over 65535 `"op 0x12345"`, for a user's; `"sys 0xfff3"` for a
/// system opcode without a name, which nobody may publish. At most 14 columns.
[[nodiscard]] std::string to_string(opcode op);

/// `"critical"` to `"idle"`, else `"priority 9"`.
[[nodiscard]] std::string to_string(priority level);

/// `"address out of bounds"`; a number the protocol does not know came from a handler.
[[nodiscard]] std::string to_string(fault_code code);

[[nodiscard]] std::string to_string(io_operation operation);

/// `"unknown"` for a word that is no status of an IO slot.
[[nodiscard]] std::string_view to_string(io_status status) noexcept;

/// 1234567 -> "1,234,567".
[[nodiscard]] std::string grouped(std::uint64_t value);

/// "1 slot", "37 slots", "1,024 slots".
[[nodiscard]] std::string counted(std::uint64_t count, std::string_view singular);

/// Text of the user's own, such as a file name, with control characters made visible.
[[nodiscard]] std::string printable(std::string_view text);

}  // namespace megakernel::tool
