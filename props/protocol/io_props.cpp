// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The IO queue against a model of its states: the same answers, the same
// refusals, the same bytes. docs/protocol.md#io-publish docs/protocol.md#io-claim
// docs/protocol.md#io-complete
#include <rapidcheck.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <expected>
#include <optional>
#include <ostream>
#include <span>
#include <utility>
#include <variant>
#include <vector>

#include "support.h"

import megakernel;

namespace {

using namespace props;
namespace mk = megakernel;

struct publish {
  std::uint32_t slot = 0;
  std::uint32_t operation = 0;
  std::uint64_t offset = 0;
  std::uint32_t fields = 0;  ///< source, and what the other fields are made of
};
struct poll {
  std::uint32_t from = 0;
};
struct claim {
  std::uint32_t slot = 0;
};
struct complete {
  std::vector<std::pair<std::uint32_t, bool>> list;
};
struct recycle {
  std::uint32_t slot = 0;
};
/// What a kernel may store into any word.
struct poke {
  std::uint32_t slot = 0;
  std::uint32_t word = 0;
  std::uint32_t value = 0;
};
using step = std::variant<publish, poll, claim, complete, recycle, poke>;

void showValue(const step& s, std::ostream& out) {
  const auto show = [&out](const auto& which) {
    using kind = std::decay_t<decltype(which)>;
    if constexpr (std::is_same_v<kind, publish>) {
      out << "publish " << which.slot << " operation " << which.operation;
    } else if constexpr (std::is_same_v<kind, poll>) {
      out << "poll from " << which.from;
    } else if constexpr (std::is_same_v<kind, claim>) {
      out << "claim " << which.slot;
    } else if constexpr (std::is_same_v<kind, complete>) {
      out << "complete ";
      rc::show(which.list, out);
    } else if constexpr (std::is_same_v<kind, recycle>) {
      out << "recycle " << which.slot;
    } else {
      out << "poke " << which.slot << '.' << which.word << " = " << which.value;
    }
  };
  std::visit(show, s);
}

rc::Gen<step> any_step() {
  using rc::gen::set;
  const auto slot = rc::gen::weightedOneOf<std::uint32_t>(
      {{12, between<std::uint32_t>(0, 3)},
       {1, rc::gen::element<std::uint32_t>(4, 63, 64, 0xFFFFFFFF)}});
  const auto operation = rc::gen::weightedOneOf<std::uint32_t>(
      {{12, between<std::uint32_t>(1, 3)}, {1, rc::gen::element<std::uint32_t>(0, 4, 0xFFFFFFFF)}});
  const auto published = rc::gen::build<publish>(
      set(&publish::slot, slot), set(&publish::operation, operation),
      set(&publish::offset, uniform<std::uint64_t>()), set(&publish::fields, any_word()));
  const auto completed = rc::gen::build<complete>(
      set(&complete::list, rc::gen::mapcat(between<std::size_t>(0, 3), [slot](std::size_t n) {
        return rc::gen::container<std::vector<std::pair<std::uint32_t, bool>>>(
            n, rc::gen::pair(slot, rc::gen::arbitrary<bool>()));
      })));
  const auto poked = rc::gen::build<poke>(
      set(&poke::slot, slot),
      set(&poke::word, rc::gen::weightedElement<std::uint32_t>({{2, 0}, {6, 6}, {1, 7}})),
      set(&poke::value, rc::gen::oneOf(any_word(), rc::gen::element<std::uint32_t>(0, 1, 2, 3, 0x10,
                                                                                   0x11, 0x12))));
  return rc::gen::weightedOneOf<step>(
      {{6, rc::gen::cast<step>(published)},
       {3, rc::gen::cast<step>(rc::gen::build<poll>(set(&poll::from, slot)))},
       {6, rc::gen::cast<step>(rc::gen::build<claim>(set(&claim::slot, slot)))},
       {5, rc::gen::cast<step>(completed)},
       {4, rc::gen::cast<step>(rc::gen::build<recycle>(set(&recycle::slot, slot)))},
       {2, rc::gen::cast<step>(poked)}});
}

/// What a step says: a refusal, or numbers.
struct io_result {
  mk::error refusal{.code = mk::error_code{0}};
  std::vector<std::uint64_t> values;
  friend bool operator==(const io_result&, const io_result&) = default;
};

io_result refusal(mk::error_code code, std::uint64_t index, std::uint64_t found,
                  std::uint64_t bound) {
  return {.refusal = {code, mk::buffer::io_queue, index, found, bound}, .values = {}};
}

/// The rules.
class model {
 public:
  explicit model(std::uint32_t slots) : slots_(slots), words_(std::size_t{slots} * 8) {}
  [[nodiscard]] const std::vector<std::uint32_t>& all() const { return words_; }

  io_result operator()(const publish& s) {
    if (s.slot >= slots_) return outside(s.slot);
    if (s.operation < 1 || s.operation > 3)
      return refusal(mk::error_code::io_operation_unknown, s.slot, s.operation, 3);
    if (auto no = wrong(s.slot, {0})) return *no;
    at(s.slot, 0) = s.operation;
    at(s.slot, 1) = s.fields;
    at(s.slot, 2) = s.fields + 1;
    at(s.slot, 3) = static_cast<std::uint32_t>(s.offset);
    at(s.slot, 4) = static_cast<std::uint32_t>(s.offset >> 32);
    at(s.slot, 5) = s.fields + 2;
    at(s.slot, 6) = 1;
    at(s.slot, 7) = s.fields + 3;
    return {};
  }
  io_result operator()(const poll& s) {
    for (std::uint32_t slot = s.from; slot < slots_; ++slot)
      if (at(slot, 6) == 1) return {.values = {slot}};
    return {};
  }
  io_result operator()(const claim& s) {
    if (s.slot >= slots_) return outside(s.slot);
    if (auto no = wrong(s.slot, {1})) return *no;
    at(s.slot, 6) = 2;
    io_result out;
    for (const std::uint32_t field : {0u, 1u, 2u, 3u, 4u, 5u, 7u})
      out.values.push_back(at(s.slot, field));
    return out;
  }
  io_result operator()(const complete& s) {
    std::vector<std::uint32_t> seen;
    for (const auto& [slot, ok] : s.list) {
      if (slot >= slots_) return outside(slot);
      if (auto no = wrong(slot, {2})) return *no;
      if (std::ranges::count(seen, slot) != 0)
        return refusal(mk::error_code::io_completion_repeated, seen.size(), slot, 0);
      seen.push_back(slot);
    }
    for (const auto& [slot, ok] : s.list) at(slot, 6) = ok ? 0x10 : 0x11;
    return {};
  }
  io_result operator()(const recycle& s) {
    if (s.slot >= slots_) return outside(s.slot);
    if (auto no = wrong(s.slot, {0x10, 0x11})) return *no;
    at(s.slot, 6) = 0;
    return {};
  }
  io_result operator()(const poke& s) {
    if (s.slot < slots_) at(s.slot, s.word) = s.value;
    return {};
  }

 private:
  std::uint32_t& at(std::uint32_t slot, std::uint32_t word) {
    return words_[std::size_t{slot} * 8 + word];
  }
  io_result outside(std::uint32_t slot) const {
    return refusal(mk::error_code::io_slot_out_of_range, 0, slot, slots_);
  }
  std::optional<io_result> wrong(std::uint32_t slot, std::vector<std::uint32_t> wanted) {
    if (std::ranges::count(wanted, at(slot, 6)) != 0) return std::nullopt;
    return refusal(mk::error_code::io_slot_wrong_status, slot, at(slot, 6), wanted.front());
  }
  std::uint32_t slots_;
  std::vector<std::uint32_t> words_;
};

/// The library.
class real {
 public:
  explicit real(std::uint32_t slots) : words_(std::size_t{slots} * 8) {}
  [[nodiscard]] bytes all() { return to_bytes(std::as_bytes(std::span(words_))); }

  io_result operator()(const publish& s) {
    return reported(queue().publish(s.slot, {.operation = mk::io_operation{s.operation},
                                             .source = s.fields,
                                             .destination = s.fields + 1,
                                             .offset = s.offset,
                                             .byte_count = s.fields + 2,
                                             .tag = s.fields + 3}));
  }
  io_result operator()(const poll& s) {
    io_result out;
    if (const auto found = queue().poll(s.from)) out.values = {*found};
    return out;
  }
  io_result operator()(const claim& s) {
    const auto got = queue().claim(s.slot);
    if (!got) return {.refusal = got.error(), .values = {}};
    return {.values = {static_cast<std::uint32_t>(got->operation), got->source, got->destination,
                       got->offset & 0xFFFFFFFF, got->offset >> 32, got->byte_count, got->tag}};
  }
  io_result operator()(const complete& s) {
    std::vector<mk::io_completion> list;
    for (const auto& [slot, ok] : s.list) list.push_back({slot, ok});
    return reported(queue().complete(list));
  }
  io_result operator()(const recycle& s) { return reported(queue().recycle(s.slot)); }
  io_result operator()(const poke& s) {
    if (std::size_t{s.slot} * 8 < words_.size())
      mk::store_word(writable(words_).data(), std::size_t{s.slot} * 8 + s.word, s.value);
    return {};
  }
  mk::io_queue queue() {
    const auto over = mk::io_queue::over(writable(words_));
    RC_ASSERT(over.has_value());
    RC_ASSERT(over->slots() == words_.size() / 8);
    return *over;
  }

 private:
  static io_result reported(const mk::result<void>& r) {
    return r ? io_result{} : io_result{.refusal = r.error(), .values = {}};
  }
  std::vector<std::uint32_t> words_;
};

bool steps() {
  return rc::check("an IO queue follows its states, and a refusal changes no byte", [] {
    const auto slots = *rc::gen::element<std::uint32_t>(0, 1, 2, 4, 4, 4, 64);
    const auto steps = *rc::gen::container<std::vector<step>>(any_step());
    model expected(slots);
    real queue(slots);
    for (const step& s : steps) {
      RC_ASSERT((std::visit(queue, s) == std::visit(expected, s)));
      RC_ASSERT(queue.all() == to_bytes(expected.all()));
      for (std::uint32_t slot = 0; slot < slots; ++slot) {
        const auto status = queue.queue().status(slot);
        RC_ASSERT(holds(status, mk::io_status{expected.all()[slot * 8 + 6]}));
      }
      RC_ASSERT(refused(queue.queue().status(slots),
                        refusal(mk::error_code::io_slot_out_of_range, 0, slots, slots).refusal));
    }
  });
}

bool lengths() {
  return rc::check("an IO queue is at most 64 whole, aligned slots", [] {
    const auto size = *rc::gen::oneOf(
        between<std::size_t>(0, 2200),
        rc::gen::map(between<std::size_t>(0, 70), [](std::size_t n) { return 32 * n; }));
    const auto offset = *between<std::size_t>(0, 4);
    std::vector<std::uint32_t> words(size / 4 + 3);
    const auto got = mk::io_queue::over(writable(words).subspan(offset, size));
    mk::error wanted{.code = mk::error_code{0}};
    if (size % 32 != 0) {
      wanted = refusal(mk::error_code::io_queue_partial_slot, 0, size, 32).refusal;
    } else if (size / 32 > 64) {
      wanted = refusal(mk::error_code::io_queue_too_large, 0, size / 32, 64).refusal;
    } else if (offset % 4 != 0) {
      wanted = refusal(mk::error_code::buffer_unaligned, 0, offset, 4).refusal;
    } else {
      RC_ASSERT(got.has_value());
      RC_ASSERT(got->slots() == size / 32);
      return;
    }
    RC_ASSERT(refused(got, wanted));
  });
}

bool ring_lengths() {
  return rc::check("a publisher takes whole, aligned slots", [] {
    const auto size = *rc::gen::oneOf(
        between<std::size_t>(0, 500),
        rc::gen::map(between<std::size_t>(0, 10), [](std::size_t n) { return 64 * n; }));
    const auto offset = *between<std::size_t>(0, 4);
    std::vector<std::uint32_t> words(size / 4 + 3);
    const auto got = mk::ring_publisher::over(writable(words).subspan(offset, size));
    if (size % 64 != 0) {
      RC_ASSERT(refused(got, mk::error{.code = mk::error_code::ring_partial_slot,
                                       .buffer = mk::buffer::ring,
                                       .found = size,
                                       .bound = 64}));
    } else if (offset % 4 != 0) {
      RC_ASSERT(refused(got, mk::error{.code = mk::error_code::buffer_unaligned,
                                       .buffer = mk::buffer::ring,
                                       .found = offset,
                                       .bound = 4}));
    } else {
      RC_ASSERT(got.has_value());
      RC_ASSERT(got->slots() == size / 64);
    }
  });
}

}  // namespace

int main() {
  bool ok = true;
  ok &= steps();
  ok &= lengths();
  ok &= ring_lengths();
  return ok ? 0 : 1;
}
