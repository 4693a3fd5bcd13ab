// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Rings of thousands of slots out of a few numbers, which is what RapidCheck draws, shrinks and
// shows; the words come from a seed.
#pragma once

#include <cstdint>
#include <ostream>
#include <utility>
#include <vector>

#include "support.h"

namespace props {

/// Tickets of one slot after the other.
enum class ticket_order : unsigned { any, edges, ascending, descending, equal };

/// How the opcodes are drawn: any words, or words that are neighbours in a multiplicative hash,
/// at its start or at its wrap, so that every look-up in a hash table is a collision.
enum class opcode_family : unsigned { any, small, colliding_low, colliding_high };

/// The list of window opcodes.
enum class window_list : unsigned { none, one, few, all, all_and_absent };

/// Tenants of the slots: numbers a kernel has, those and then all words, or all words.
enum class tenant_mix : unsigned { few, few_then_any, any };

struct ring_shape {
  std::uint32_t slots = 0;
  std::uint32_t opcodes = 1;  ///< different ones in the pool they come from
  std::uint32_t tickets = 1;  ///< likewise
  ticket_order order = ticket_order::any;
  opcode_family family = opcode_family::any;
  window_list windows = window_list::none;
  tenant_mix tenants = tenant_mix::few;
  std::uint32_t only_status = 9;  ///< of all slots; 9: each its own
  std::uint64_t seed = 0;
};

inline void showValue(const ring_shape& s, std::ostream& out) {
  out << "ring{slots " << s.slots << ", opcodes " << s.opcodes << ", tickets " << s.tickets
      << ", order " << static_cast<unsigned>(s.order) << ", family "
      << static_cast<unsigned>(s.family) << ", windows " << static_cast<unsigned>(s.windows)
      << ", tenants " << static_cast<unsigned>(s.tenants) << ", status " << s.only_status
      << ", seed " << s.seed << '}';
}

/// Shapes with `slots` slots.
inline rc::Gen<ring_shape> any_shape(rc::Gen<std::uint32_t> slots) {
  using rc::gen::element;
  using rc::gen::set;
  return rc::gen::build<ring_shape>(
      set(&ring_shape::slots, std::move(slots)),
      set(&ring_shape::opcodes, element<std::uint32_t>(1, 2, 3, 5, 17, 100, 1000)),
      set(&ring_shape::tickets, element<std::uint32_t>(1, 2, 5, 40, 1000)),
      set(&ring_shape::order,
          element(ticket_order::any, ticket_order::edges, ticket_order::ascending,
                  ticket_order::descending, ticket_order::equal)),
      set(&ring_shape::family,
          element(opcode_family::any, opcode_family::small, opcode_family::colliding_low,
                  opcode_family::colliding_high)),
      set(&ring_shape::windows, element(window_list::none, window_list::one, window_list::few,
                                        window_list::all, window_list::all_and_absent)),
      set(&ring_shape::tenants,
          element(tenant_mix::few, tenant_mix::few, tenant_mix::few_then_any, tenant_mix::any)),
      set(&ring_shape::only_status, element<std::uint32_t>(9, 9, 9, 9, 9, 0, 1, 3, 7, 8)),
      set(&ring_shape::seed, uniform<std::uint64_t>()));
}

struct built_ring {
  bytes control;
  bytes ring;
  std::vector<std::uint32_t> windows;
};

inline std::vector<std::uint32_t> opcode_pool(prng& d, opcode_family family, std::uint32_t count) {
  // The inverse of the multiplier 2^32 / golden ratio: a multiple of it hashes to a small number.
  constexpr std::uint32_t inverse = 0x0E8B2F51u;
  static_assert(inverse * 0x9E3779B1u == 1);
  std::vector<std::uint32_t> pool;
  for (std::uint32_t i = 0; i < count; ++i) {
    switch (family) {
      case opcode_family::any:
        pool.push_back(d.word());
        break;
      case opcode_family::small:
        pool.push_back(i);
        break;
      case opcode_family::colliding_low:
        pool.push_back(inverse * i);
        break;
      case opcode_family::colliding_high:
        pool.push_back(inverse * (0xFFFFFFFFu - i));
        break;
    }
  }
  return pool;
}

inline std::vector<std::uint32_t> window_opcodes_of(prng& d, window_list which,
                                                    const std::vector<std::uint32_t>& pool) {
  std::vector<std::uint32_t> list;
  switch (which) {
    case window_list::none:
      return list;
    case window_list::one:
      return {d.pick(pool)};
    case window_list::few:
      for (int i = 0; i < 4; ++i) list.push_back(d.one_in(4) ? d.word() : d.pick(pool));
      break;
    case window_list::all:
      list = pool;
      break;
    case window_list::all_and_absent:
      list = pool;
      for (int i = 0; i < 30; ++i) list.push_back(d.word());
      break;
  }
  list.push_back(list.front());  // once more
  for (std::size_t i = list.size(); i > 1; --i) std::swap(list[i - 1], list[d.below(i)]);
  return list;
}

inline std::uint32_t status_of(prng& d, const ring_shape& shape) {
  if (shape.only_status != 9) return shape.only_status;
  return d.one_in(10) ? d.word() : d.below(9);
}

inline std::uint32_t ticket_of(prng& d, const ring_shape& shape, std::uint32_t slot) {
  switch (shape.order) {
    case ticket_order::any:
      return d.below(shape.tickets) * 0x01010101u;
    case ticket_order::edges:
      return d.word();
    case ticket_order::ascending:
      return slot / 3;
    case ticket_order::descending:
      return (shape.slots - slot) / 3;
    case ticket_order::equal:
      return 0x80000000u;
  }
  return 0;
}

inline std::uint32_t tenant_of(prng& d, const ring_shape& shape, std::uint32_t slot) {
  const bool any = shape.tenants == tenant_mix::any ||
                   (shape.tenants == tenant_mix::few_then_any && slot > shape.slots / 2);
  if (any && d.one_in(8)) return d.word();
  return d.one_in(8) ? d.below(33 - !any) : d.below(2);
}

inline bytes build_control(prng& d, std::size_t observable_words) {
  std::vector<std::uint32_t> words(160 + observable_words);
  for (std::uint32_t& w : words) w = d.one_in(3) ? 0 : d.word();
  if (d.one_in(2)) words[141] = 1;
  return to_bytes(words);
}

inline built_ring build(const ring_shape& shape) {
  prng d(shape.seed);
  built_ring out;
  out.control = build_control(d, d.below(9));
  const auto pool = opcode_pool(d, shape.family, shape.opcodes);
  out.windows = window_opcodes_of(d, shape.windows, pool);
  std::vector<std::uint32_t> words(std::size_t{shape.slots} * 16);
  for (std::uint32_t i = 0; i < shape.slots; ++i) {
    std::uint32_t* const slot = words.data() + std::size_t{i} * 16;
    slot[0] = status_of(d, shape);
    slot[1] = d.one_in(8) ? d.word() : d.pick(pool);
    slot[2] = tenant_of(d, shape, i);
    slot[3] = d.word();
    slot[4] = ticket_of(d, shape, i);
    slot[5] = d.one_in(10) ? d.word() : d.below(3);
    for (int a = 6; a < 16; ++a) slot[a] = static_cast<std::uint32_t>(d.next());
  }
  out.ring = to_bytes(words);
  return out;
}

}  // namespace props
