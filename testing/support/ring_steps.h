// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Random steps for the ring model, mostly ones that could succeed.
#pragma once

#include <cstdint>
#include <ostream>
#include <vector>

#include "ring_model.h"
#include "support.h"

namespace props::model {

inline rc::Gen<words> any_words(std::size_t most) {
  return rc::gen::mapcat(between<std::size_t>(0, most),
                         [](std::size_t n) { return rc::gen::container<words>(n, any_word()); });
}

inline rc::Gen<std::uint32_t> mostly_publishable() {
  return rc::gen::weightedOneOf<std::uint32_t>(
      {{12, rc::gen::element<std::uint32_t>(0, 1, 7, 8, 100, 0xFFEF, 0xFFFE, 0x10000, 0x7FFFFFFF,
                                            0x80000001, 0xFFFFFFFF)},
       {1, any_word()}});
}

inline rc::Gen<std::uint32_t> mostly_valid_level() {
  return rc::gen::weightedElement<std::uint32_t>(
      {{8, 0}, {8, 1}, {8, 2}, {8, 3}, {8, 4}, {1, 5}, {1, 0xFFFFFFFF}});
}

/// A slot of most rings, sometimes past a short one's end, seldom far past it.
inline rc::Gen<std::uint32_t> any_slot() {
  return rc::gen::weightedOneOf<std::uint32_t>(
      {{20, between<std::uint32_t>(0, 8)},
       {1, rc::gen::element<std::uint32_t>(9, 0xFFFFFFF8, 0xFFFFFFFC, 0xFFFFFFFE, 0xFFFFFFFF)}});
}

inline rc::Gen<std::vector<inner_op>> any_inner() {
  const auto one = rc::gen::build<inner_op>(rc::gen::set(&inner_op::op, uniform<std::uint8_t>()),
                                            rc::gen::set(&inner_op::arguments, any_words(3)));
  const auto count = rc::gen::weightedOneOf<std::size_t>(
      {{20, between<std::size_t>(0, 5)}, {1, rc::gen::element<std::size_t>(23, 24, 255, 256)}});
  return rc::gen::mapcat(
      count, [one](std::size_t n) { return rc::gen::container<std::vector<inner_op>>(n, one); });
}

inline rc::Gen<entry> any_entry() {
  return rc::gen::build<entry>(
      rc::gen::set(&entry::packed, rc::gen::weightedElement<bool>({{3, false}, {1, true}})),
      rc::gen::set(&entry::op, mostly_publishable()), rc::gen::set(&entry::tenant, any_word()),
      rc::gen::set(&entry::level, mostly_valid_level()),
      rc::gen::set(&entry::arguments,
                   rc::gen::weightedOneOf<words>({{10, any_words(12)}, {1, any_words(14)}})),
      rc::gen::set(&entry::inner, any_inner()));
}

template <class T>
rc::Gen<std::vector<T>> up_to_four(const rc::Gen<T>& of) {
  return rc::gen::mapcat(between<std::size_t>(0, 4),
                         [of](std::size_t n) { return rc::gen::container<std::vector<T>>(n, of); });
}

inline rc::Gen<step> any_step() {
  using rc::gen::set;
  const auto one = rc::gen::build<publish_one>(set(&publish_one::slot, any_slot()),
                                               set(&publish_one::what, any_entry()));
  const auto each = rc::gen::build<publish_each>(set(&publish_each::first, any_slot()),
                                                 set(&publish_each::what, up_to_four(any_entry())));
  const auto batch = rc::gen::build<publish_batch>(
      set(&publish_batch::first, any_slot()), set(&publish_batch::tenant, any_word()),
      set(&publish_batch::tag, any_word()), set(&publish_batch::items, up_to_four(any_entry())));
  const auto payload = rc::gen::weightedOneOf<words>({{10, any_words(10)}, {1, any_words(12)}});
  const auto window = rc::gen::build<publish_window>(
      set(&publish_window::first, any_slot()), set(&publish_window::op, mostly_publishable()),
      set(&publish_window::tenant, any_word()), set(&publish_window::ticket, any_word()),
      set(&publish_window::level, mostly_valid_level()),
      set(&publish_window::required, up_to_four(payload)),
      set(&publish_window::lookahead, up_to_four(payload)));
  const auto item = rc::gen::apply(
      [](std::uint32_t op, std::uint32_t input, std::uint32_t output, std::uint32_t param) {
        return std::array<std::uint32_t, 4>{op, input, output, param};
      },
      mostly_publishable(), any_word(), any_word(), any_word());
  const auto items = rc::gen::build<publish_items>(set(&publish_items::first, any_slot()),
                                                   set(&publish_items::tenant, any_word()),
                                                   set(&publish_items::items, up_to_four(item)));
  const auto poked = rc::gen::build<poke>(
      set(&poke::slot, any_slot()),
      set(&poke::status,
          rc::gen::weightedOneOf<std::uint32_t>({{4, rc::gen::element<std::uint32_t>(0, 3)},
                                                 {1, between<std::uint32_t>(0, 8)},
                                                 {1, any_word()}})));
  return rc::gen::weightedOneOf<step>({{3, rc::gen::cast<step>(one)},
                                       {2, rc::gen::cast<step>(each)},
                                       {2, rc::gen::cast<step>(batch)},
                                       {2, rc::gen::cast<step>(window)},
                                       {2, rc::gen::cast<step>(items)},
                                       {9, rc::gen::cast<step>(poked)}});
}

// How RapidCheck shows a step.

inline void showValue(const entry& e, std::ostream& out) {
  if (e.packed) {
    out << "packed{";
    for (const inner_op& op : e.inner) out << unsigned{op.op} << '/' << op.arguments.size() << ' ';
  } else {
    out << "slot{op " << e.op << ", arguments ";
    rc::show(e.arguments, out);
  }
  out << ", tenant " << e.tenant << ", level " << e.level << '}';
}
inline void showValue(const step& s, std::ostream& out) {
  const auto show = [&out](const auto& which) {
    using kind = std::decay_t<decltype(which)>;
    if constexpr (std::is_same_v<kind, publish_one>) {
      out << "publish at " << which.slot << ' ';
      showValue(which.what, out);
    } else if constexpr (std::is_same_v<kind, publish_each>) {
      out << "each from " << which.first << ' ';
      rc::show(which.what, out);
    } else if constexpr (std::is_same_v<kind, publish_batch>) {
      out << "batch from " << which.first << " tag " << which.tag << ' ';
      rc::show(which.items, out);
    } else if constexpr (std::is_same_v<kind, publish_window>) {
      out << "window from " << which.first << " op " << which.op << " level " << which.level
          << " ticket " << which.ticket << ' ';
      rc::show(which.required, out);
      rc::show(which.lookahead, out);
    } else if constexpr (std::is_same_v<kind, publish_items>) {
      out << "items from " << which.first << ' ';
      rc::show(which.items, out);
    } else {
      out << "poke " << which.slot << " to " << which.status;
    }
  };
  std::visit(show, s);
}

}  // namespace props::model
