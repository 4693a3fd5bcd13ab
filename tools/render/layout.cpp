// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <fmt/format.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <numeric>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "render/layout.h"

namespace megakernel::tool {
namespace {

std::string_view escape_of(ink colour) {
  switch (colour) {
    case ink::plain:
      return "";
    case ink::bold:
      return "\x1b[1m";
    case ink::dim:
      return "\x1b[2m";
    case ink::red:
      return "\x1b[31m";
    case ink::green:
      return "\x1b[32m";
    case ink::yellow:
      return "\x1b[33m";
    case ink::blue:
      return "\x1b[34m";
    case ink::magenta:
      return "\x1b[35m";
    case ink::cyan:
      return "\x1b[36m";
  }
  return "";
}

}  // namespace

std::size_t columns_of(std::string_view text) noexcept {
  return static_cast<std::size_t>(std::ranges::count_if(
      text, [](char c) { return (static_cast<unsigned char>(c) & 0xC0) != 0x80; }));
}

std::string percent(std::uint64_t part, std::uint64_t whole) {
  if (whole == 0) return "0.0 %";
  const double share = 100.0 * static_cast<double>(part) / static_cast<double>(whole);
  if (part != 0 && share < 0.05) return "<0.1 %";
  if (part != whole && share >= 99.95) return ">99.9 %";
  return fmt::format("{:.1f} %", share);
}

std::vector<std::size_t> apportion(std::span<const std::uint64_t> parts, std::size_t cells) {
  std::vector<std::size_t> shares(parts.size(), 0);
  const std::uint64_t whole = std::accumulate(parts.begin(), parts.end(), std::uint64_t{0});
  if (whole == 0) return shares;
  std::size_t given = 0;
  for (std::size_t i = 0; i < parts.size(); ++i) {
    if (parts[i] == 0) continue;
    shares[i] = std::max<std::size_t>(1, parts[i] * cells / whole);
    given += shares[i];
  }
  // The remainder of flooring goes to the parts that are shortest of their due; what the small ones
  // took comes from the largest.
  const auto due = [&](std::size_t i) {
    return static_cast<double>(parts[i]) * static_cast<double>(cells) / static_cast<double>(whole) -
           static_cast<double>(shares[i]);
  };
  std::vector<std::size_t> order(parts.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  for (; given < cells; ++given) ++shares[*std::ranges::max_element(order, {}, due)];
  for (; given > cells; --given) --*std::ranges::max_element(shares);
  return shares;
}

std::string screen::paint(std::string_view text, ink colour) const {
  if (!colour_ || colour == ink::plain || text.empty()) return std::string(text);
  return fmt::format("{}{}\x1b[0m", escape_of(colour), text);
}

void screen::line(std::string_view text) {
  to_.write(text);
  to_.write("\n");
}

void screen::paragraph(std::string_view text, std::size_t first, std::size_t rest, ink colour) {
  std::size_t indent = first;
  std::string current;
  const auto flush = [&] {
    line(std::string(indent, ' ') + paint(current, colour));
    current.clear();
    indent = rest;
  };
  while (!text.empty()) {
    const std::size_t space = std::min(text.find(' '), text.size());
    const std::string_view next = text.substr(0, space);
    text.remove_prefix(std::min(space + 1, text.size()));
    if (!current.empty() && indent + columns_of(current) + 1 + columns_of(next) > width_) flush();
    if (!current.empty()) current += ' ';
    current += next;
  }
  if (!current.empty()) flush();
}

void screen::section(std::string_view title, std::string_view remark) {
  line();
  if (remark.empty()) return line(paint(title, ink::bold));
  const bool fits = columns_of(title) + 2 + columns_of(remark) <= width_;
  line(paint(title, ink::bold) + (fits ? "  " + paint(remark, ink::dim) : ""));
  if (!fits) paragraph(remark, 2, 2, ink::dim);
}

void grid::print(screen& to) const {
  std::vector<std::size_t> widths;
  for (const column& c : columns_) widths.push_back(columns_of(c.title));
  for (const auto& row : rows_) {
    for (std::size_t i = 0; i < row.size(); ++i)
      widths[i] = std::max(widths[i], columns_of(row[i].text));
  }
  const auto print_row = [&](auto cell_at, std::size_t count) {
    while (count > 0 && cell_at(count - 1).text.empty()) --count;
    std::string text;
    for (std::size_t i = 0; i < count; ++i) {
      const cell c = cell_at(i);
      const std::string padding(widths[i] - columns_of(c.text), ' ');
      text.append(columns_[i].gap, ' ');
      if (columns_[i].right) text += padding;
      text += to.paint(c.text, c.colour);
      if (!columns_[i].right && i + 1 < count) text += padding;
    }
    to.line(text);
  };
  const bool titled =
      std::ranges::any_of(columns_, [](const column& c) { return !c.title.empty(); });
  if (titled) {
    print_row([&](std::size_t i) { return cell{std::string(columns_[i].title), ink::dim}; },
              columns_.size());
  }
  for (const auto& row : rows_) print_row([&](std::size_t i) { return row[i]; }, row.size());
}

}  // namespace megakernel::tool
