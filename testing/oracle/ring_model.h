// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// A model of publishing: a ring as a table of words, the rules one after the other in the
// order in which their errors are documented, and random steps to take on it. It does not know the
// library; the numbers are the wire's. docs/protocol.md#publish-slot
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>
#include <variant>
#include <vector>

#include "oracle_decoder.h"
#include "oracle_errors.h"

namespace props::model {

using words = std::vector<std::uint32_t>;

struct refusal {
  std::string_view code;
  std::uint64_t index = 0;
  std::uint64_t found = 0;
  std::uint64_t bound = 0;
  friend bool operator==(const refusal&, const refusal&) = default;
};

struct outcome {
  std::optional<refusal> refused;
  std::uint32_t used = 0;  ///< slots, where nothing was refused
  friend bool operator==(const outcome&, const outcome&) = default;
};

// Steps.

struct inner_op {
  std::uint8_t op = 0;
  words arguments;
};
/// A plain slot, or a packed one when `packed`.
struct entry {
  bool packed = false;
  std::uint32_t op = 0;
  std::uint32_t tenant = 0;
  std::uint32_t level = 0;
  words arguments;
  std::vector<inner_op> inner;
};
struct publish_one {
  std::uint32_t slot = 0;
  entry what;
};
struct publish_each {
  std::uint32_t first = 0;
  std::vector<entry> what;
};
struct publish_batch {
  std::uint32_t first = 0;
  std::uint32_t tenant = 0;
  std::uint32_t tag = 0;
  std::vector<entry> items;  ///< opcode and arguments of each
};
struct publish_window {
  std::uint32_t first = 0;
  std::uint32_t op = 0;
  std::uint32_t tenant = 0;
  std::uint32_t ticket = 0;
  std::uint32_t level = 0;
  std::vector<words> required;
  std::vector<words> lookahead;
};
/// Not among the random steps, since nothing else about it is random.
struct publish_miss {
  std::uint32_t slot = 0;
  std::uint32_t resource = 0;
  bool prefetch = false;
};
struct publish_items {
  std::uint32_t first = 0;
  std::uint32_t tenant = 0;
  std::vector<std::array<std::uint32_t, 4>> items;  ///< opcode, input, output, param
};
/// What a kernel may do to a slot meanwhile.
struct poke {
  std::uint32_t slot = 0;
  std::uint32_t status = 0;
};
using step =
    std::variant<publish_one, publish_each, publish_batch, publish_window, publish_items, poke>;

// The rules.

inline bool publishable(std::uint32_t op) {
  if (op <= 7 || op == 0x80000001u || op == 0xFFFEu || op == 0xFFFFFFFFu) return true;
  return op < 0x80000000u && !(op >= 0xFFF0u && op <= 0xFFFFu);
}

/// The argument words of a packed slot, or why there are none.
inline std::variant<words, refusal> pack(const std::vector<inner_op>& ops) {
  if (ops.size() > 255) return refusal{"packed_too_many_ops", 0, ops.size(), 255};
  std::vector<unsigned char> table(2 + 2 * ops.size());
  while (table.size() % 4 != 0) table.push_back(0);
  const std::size_t table_words = table.size() / 4;
  if (table_words > 12) return refusal{"packed_metadata_too_large", 0, table_words, 12};
  words payload;
  for (std::size_t i = 0; i < ops.size(); ++i) {
    table[2 + 2 * i] = ops[i].op;
    table[3 + 2 * i] = static_cast<unsigned char>(payload.size());
    const std::size_t whole = table_words + payload.size() + ops[i].arguments.size();
    if (whole > 12) return refusal{"packed_payload_too_large", i, whole, 12};
    payload.insert(payload.end(), ops[i].arguments.begin(), ops[i].arguments.end());
  }
  table[0] = static_cast<unsigned char>(ops.size());
  table[1] = static_cast<unsigned char>(payload.size());
  words out;
  for (std::size_t w = 0; w < table_words; ++w) out.push_back(oracle::word_at(table, w));
  out.insert(out.end(), payload.begin(), payload.end());
  return out;
}

class ring {
 public:
  explicit ring(std::uint32_t slots) : words_(std::size_t{slots} * 16) {}

  [[nodiscard]] const words& all() const { return words_; }
  [[nodiscard]] std::uint32_t slots() const {
    return static_cast<std::uint32_t>(words_.size() / 16);
  }

  outcome operator()(const publish_one& s) {
    entry e = s.what;
    if (auto no = unpack(e)) return {no};
    if (auto no = check(s.slot, 0, e)) return {no};
    write(s.slot, e);
    return {};
  }
  outcome operator()(const publish_each& s) {
    if (auto no = check_last(s.first, s.what.size())) return {no};
    auto entries = s.what;
    for (std::uint32_t i = 0; i < entries.size(); ++i) {
      if (auto no = unpack(entries[i])) return {no};
      if (auto no = check(s.first + i, i, entries[i])) return {no};
    }
    return write_all(s.first, entries);
  }
  outcome operator()(const publish_batch& s) {
    if (auto no = check_run(s.first, s.items.size() + 1)) return {no};
    std::vector<entry> entries;
    for (std::uint32_t i = 0; i < s.items.size(); ++i) {
      const entry& item = s.items[i];
      if (item.arguments.size() > 12)
        return {refusal{"too_many_args", i, item.arguments.size(), 12}};
      if (!publishable(item.op)) return {refusal{"opcode_reserved", i, item.op, 0}};
      entries.push_back({false, item.op, s.tenant, 2, item.arguments, {}});
    }
    const auto count = static_cast<std::uint32_t>(s.items.size());
    entries.push_back({false, 7, s.tenant, 2, {count, s.tag}, {}});
    if (auto no = check_free(s.first, entries.size())) return {no};
    return write_all(s.first, entries);
  }
  outcome operator()(const publish_window& s) {
    if (auto no = check_last(s.first, s.required.size() + s.lookahead.size())) return {no};
    std::vector<entry> entries;
    for (const auto* list : {&s.required, &s.lookahead}) {
      for (const words& payload : *list) {
        const auto i = static_cast<std::uint32_t>(entries.size());
        if (payload.size() > 10)
          return {refusal{"window_payload_too_large", i, payload.size(), 10}};
        entry e{false, s.op, s.tenant, s.level, {s.ticket, list == &s.lookahead}, {}};
        e.arguments.insert(e.arguments.end(), payload.begin(), payload.end());
        if (auto no = check(s.first + i, i, e)) return {no};
        entries.push_back(e);
      }
    }
    return write_all(s.first, entries);
  }
  outcome operator()(const publish_items& s) {
    std::vector<entry> entries;
    for (std::uint32_t i = 0; i < s.items.size(); ++i) {
      const auto& [op, input, output, param] = s.items[i];
      if (!publishable(op)) return {refusal{"opcode_reserved", i, op, 0}};
      entries.push_back({false, op, s.tenant, 2, {input, output, param}, {}});
    }
    if (auto no = check_run(s.first, entries.size())) return {no};
    if (auto no = check_free(s.first, entries.size())) return {no};
    return write_all(s.first, entries);
  }
  outcome operator()(const publish_miss& s) {
    entry e;
    if (auto no = check(s.slot, 0, e)) return {no};
    e.op = 0xFFFDu;
    e.arguments = {s.resource, s.prefetch};
    write(s.slot, e);
    return {};
  }
  outcome operator()(const poke& s) {
    if (s.slot < slots()) words_[std::size_t{s.slot} * 16] = s.status;
    return {};
  }

 private:
  static std::optional<refusal> unpack(entry& e) {
    if (!e.packed) return std::nullopt;
    auto packed = pack(e.inner);
    if (const auto* no = std::get_if<refusal>(&packed)) return *no;
    e.op = 0x80000001u;
    e.arguments = std::get<words>(packed);
    return std::nullopt;
  }
  [[nodiscard]] static std::optional<refusal> check_last(std::uint64_t first, std::size_t count) {
    if (count == 0 || first + count - 1 <= 0xFFFFFFFFu) return std::nullopt;
    return refusal{"slot_index_overflow", first, count, 0xFFFFFFFFu};
  }
  [[nodiscard]] std::optional<refusal> check_run(std::uint64_t first, std::size_t count) const {
    if (first + count > 0xFFFFFFFFu)
      return refusal{"slot_index_overflow", first, count, 0xFFFFFFFFu};
    if (first + count > slots()) return refusal{"batch_out_of_range", first, count, slots()};
    return std::nullopt;
  }
  [[nodiscard]] std::optional<refusal> check_free(std::size_t first, std::size_t count) const {
    for (std::size_t slot = first; slot < first + count; ++slot) {
      const std::uint32_t status = words_[slot * 16];
      if (status != 0 && status != 3) return refusal{"slot_not_publishable", slot, status, 0};
    }
    return std::nullopt;
  }
  [[nodiscard]] std::optional<refusal> check(std::uint32_t slot, std::uint32_t i,
                                             const entry& e) const {
    if (slot >= slots()) return refusal{"slot_out_of_range", i, slot, slots()};
    if (e.arguments.size() > 12) return refusal{"too_many_args", i, e.arguments.size(), 12};
    if (!publishable(e.op)) return refusal{"opcode_reserved", i, e.op, 0};
    if (e.level > 4) return refusal{"priority_out_of_range", i, e.level, 4};
    return check_free(slot, 1);
  }
  void write(std::uint32_t slot, const entry& e) {
    auto to = words_.begin() + std::ptrdiff_t{slot} * 16;
    std::fill(to, to + 16, 0u);
    to[0] = 1;
    to[1] = e.op;
    to[2] = e.tenant;
    to[3] = e.level;
    std::copy(e.arguments.begin(), e.arguments.end(), to + 4);
  }
  outcome write_all(std::uint32_t first, const std::vector<entry>& entries) {
    for (std::uint32_t i = 0; i < entries.size(); ++i) write(first + i, entries[i]);
    return {std::nullopt, static_cast<std::uint32_t>(entries.size())};
  }

  words words_;
};

}  // namespace props::model
