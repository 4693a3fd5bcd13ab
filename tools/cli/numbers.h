// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Numbers as people type them on a command line.
#pragma once

#include <charconv>
#include <memory>
#include <optional>
#include <string_view>
#include <system_error>

/// Decimal, or hexadecimal after 0x; nothing where it is neither or does not fit. CLI11 would take
/// 010 for eight.
template <class T>
std::optional<T> parse_number(std::string_view text) {
  const bool hex = text.starts_with("0x") || text.starts_with("0X");
  if (hex) text.remove_prefix(2);
  T value = 0;
  const char* const end = std::to_address(text.end());
  const auto [at, problem] =
      std::from_chars(std::to_address(text.begin()), end, value, hex ? 16 : 10);
  if (problem != std::errc{} || at != end) return std::nullopt;
  return value;
}
