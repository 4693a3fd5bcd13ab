// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The steps of the ring model on a real ring, by the library's publisher. Include it after the
// library.
#pragma once

namespace props::model {

namespace mk = megakernel;

/// One that is not about the right buffer is no refusal of the model's.
inline refusal reported(const mk::error& e) {
  if (mk::to_string(e.buffer) != oracle::buffer_of(mk::to_string(e.code)))
    return {"of another buffer"};
  return {mk::to_string(e.code), e.index, e.found, e.bound};
}

/// Why there is no value; nothing, where there is one.
template <class T>
refusal why_not(const mk::result<T>& r) {
  return r ? refusal{} : reported(r.error());
}

inline outcome reported(const mk::result<void>& r) {
  return r ? outcome{} : outcome{reported(r.error())};
}

inline outcome reported(const mk::result<std::uint32_t>& r) {
  return r ? outcome{std::nullopt, *r} : outcome{reported(r.error())};
}

inline std::vector<mk::packed_op> inner_of(const entry& e) {
  std::vector<mk::packed_op> out;
  for (const auto& op : e.inner) out.push_back({op.op, op.arguments});
  return out;
}

inline mk::slot_request request_of(const entry& e) {
  return {mk::opcode{e.op}, e.tenant, mk::priority{e.level}, e.arguments};
}

/// Takes a step on a real ring.
class real_ring {
 public:
  explicit real_ring(std::uint32_t slots) : words_(std::size_t{slots} * 16) {}

  /// As the wire has it.
  [[nodiscard]] std::span<const std::byte> all() const { return std::as_bytes(std::span(words_)); }

  outcome operator()(const publish_one& s) {
    if (!s.what.packed) return reported(publisher().publish(s.slot, request_of(s.what)));
    const auto inner = inner_of(s.what);
    return reported(
        publisher().publish_packed(s.slot, {s.what.tenant, mk::priority{s.what.level}, inner}));
  }
  outcome operator()(const publish_each& s) {
    std::vector<std::vector<mk::packed_op>> inner;
    for (const auto& e : s.what) inner.push_back(inner_of(e));
    std::vector<std::variant<mk::slot_request, mk::packed_request>> requests;
    for (std::size_t i = 0; i < s.what.size(); ++i) {
      const entry& e = s.what[i];
      if (e.packed) {
        requests.emplace_back(mk::packed_request{e.tenant, mk::priority{e.level}, inner[i]});
      } else {
        requests.emplace_back(request_of(e));
      }
    }
    return reported(publisher().publish_each(s.first, requests));
  }
  outcome operator()(const publish_batch& s) {
    std::vector<mk::batch_item> items;
    for (const auto& e : s.items) items.push_back({mk::opcode{e.op}, e.arguments});
    return reported(publisher().publish_batch(s.first, s.tenant, items, s.tag));
  }
  outcome operator()(const publish_window& s) {
    const std::vector<std::span<const mk::word>> required(s.required.begin(), s.required.end());
    const std::vector<std::span<const mk::word>> lookahead(s.lookahead.begin(), s.lookahead.end());
    return reported(publisher().publish_window(s.first, {.op = mk::opcode{s.op},
                                                         .tenant = s.tenant,
                                                         .ticket = s.ticket,
                                                         .level = mk::priority{s.level},
                                                         .required = required,
                                                         .lookahead = lookahead}));
  }
  outcome operator()(const publish_items& s) {
    return reported(publisher().publish_work_items(s.first, s.tenant, items_of(s)));
  }
  outcome operator()(const publish_miss& s) {
    return reported(
        publisher().publish_load_miss(s.slot, {.resource = s.resource, .prefetch = s.prefetch}));
  }
  outcome operator()(const poke& s) {
    if (std::size_t{s.slot} * 16 < words_.size())
      words_[std::size_t{s.slot} * 16] = mk::wire_order(s.status);
    return {};
  }

  static std::vector<mk::work_item> items_of(const publish_items& s) {
    std::vector<mk::work_item> items;
    for (const auto& [op, input, output, param] : s.items)
      items.push_back({mk::opcode{op}, input, output, param});
    return items;
  }

 private:
  mk::ring_publisher publisher() {
    return mk::ring_publisher::over(std::as_writable_bytes(std::span(words_))).value();
  }
  std::vector<std::uint32_t> words_;
};

}  // namespace props::model
