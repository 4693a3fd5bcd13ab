// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <nlohmann/json.hpp>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <expected>
#include <optional>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "cli/input.h"
#include "cli/output.h"
#include "conformance/vectors.h"
#include "load/workload.h"
#include "report/report.h"

import megakernel;

namespace megakernel::tool {
namespace {

using words = std::vector<word>;

template <class T>
json result_json(const result<T>& got) {
  if (!got) return refused(to_string(got.error().code));
  if constexpr (std::is_void_v<T>) {
    return ok(nullptr);
  } else if constexpr (std::is_same_v<T, byte_buffer>) {
    return ok(json_of({got->data(), got->size()}));
  } else {
    return ok(*got);
  }
}

json pairs(const metric_counters& counters) {
  json list = json::array();
  for (const metric m : counters) list.push_back({m.index, m.count});
  return list;
}

json encode(const json& in) {
  const auto what = in.at("what").get<std::string>();
  if (what == "control") {
    return result_json(encode_control({.shutdown = in.at("shutdown"),
                                       .tenants = in.at("tenant_count"),
                                       .observable_words = in.at("observable_slots")}));
  }
  if (what == "ring") return result_json(encode_ring(in.at("slot_count")));
  if (what == "debug_log") return result_json(encode_debug_log(in.at("record_capacity")));
  if (what == "load_miss") {
    return ok(json_of(encode_load_miss(
        {.resource = in.at("resource_id"), .prefetch = in.at("prefetch").get<bool>()})));
  }
  throw std::invalid_argument("unknown encoder " + what);
}

json byte_lengths(const json& in) {
  const auto n = in.at("n").get<std::uint32_t>();
  const auto or_null = [](std::optional<std::uint64_t> length) {
    return length ? json(*length) : json(nullptr);
  };
  return {{"control", or_null(control_byte_length(n))},
          {"ring", or_null(ring_byte_length(n))},
          {"debug_log", or_null(debug_log_byte_length(n))}};
}

json load_miss_of(const json& in) {
  const auto found = read_load_miss(bytes_of(in.at("ring")), in.at("slot"));
  if (!found) return ok(nullptr);
  return ok({found->resource, found->prefetch});
}

json readers(const json& in) {
  const auto control = bytes_of(in.at("control"));
  const auto metrics = read_metrics(control);
  json observable = json::array();
  json recovered = json::array();
  for (const std::uint32_t index : in.at("observable")) {
    observable.push_back(result_json(read_observable(control, index)));
    recovered.push_back(recover_observable(control, index));
  }
  return {{"done_count", result_json(read_done_count(control))},
          {"epoch", result_json(read_epoch(control))},
          {"metrics", metrics ? ok(pairs(*metrics)) : refused(to_string(metrics.error().code))},
          {"metrics_lenient", pairs(recover_metrics(control))},
          {"observable", observable},
          {"observable_lenient", recovered}};
}

json debug_records(const json& in) {
  const auto bytes = bytes_of(in.at("bytes"));
  const auto log = read_debug_log(bytes);
  if (!log) return refused(to_string(log.error().code));
  json list = json::array();
  for (const debug_record& r : *log)
    list.push_back({r.format, r.arguments[0], r.arguments[1], r.arguments[2]});
  return ok(list);
}

json done_slots(const json& in) {
  const auto ring = bytes_of(in.at("ring"));
  const auto items = in.at("item_count").get<std::uint64_t>();
  const auto recovered = recover_done_slots(ring, items);
  return {{"strict", result_json(read_done_slots(ring, items))},
          {"lenient", recovered ? json(*recovered) : json(nullptr)}};
}

json offsets_into(const json& in) {
  auto control = bytes_of(in.at("control"));
  const auto written = write_priority_offsets(control, in.at("total_slots"));
  return {{"result", result_json(written)}, {"control", json_of(control)}};
}

json opcode_classes(const json& in) {
  const opcode op{in.at("opcode").get<word>()};
  return {{"is_system", is_system(op)},
          {"is_builtin", is_builtin(op)},
          {"user_ok", !is_system(op)},
          {"publish_ok", is_publishable(op)}};
}

/// A number, or a built-in's name.
opcode opcode_of(const json& value) {
  if (!value.is_string()) return opcode{value.get<word>()};
  static const std::array<std::pair<std::string_view, opcode>, 10> names{{
      {"Nop", opcode::nop},
      {"StoreU32", opcode::store_u32},
      {"AtomicAdd", opcode::atomic_add},
      {"LoadU32", opcode::load_u32},
      {"CompareSwap", opcode::compare_swap},
      {"Memcpy", opcode::memcpy},
      {"DfaStep", opcode::dfa_step},
      {"BatchFence", opcode::batch_fence},
      {"Printf", opcode::printf},
      {"Shutdown", opcode::shutdown},
  }};
  const auto& name = value.get_ref<const std::string&>();
  const auto found = std::ranges::find(names, name, &std::pair<std::string_view, opcode>::first);
  if (found == names.end()) throw std::invalid_argument("unknown opcode " + name);
  return found->second;
}

/// Inner operations that own their arguments.
class packed_list {
 public:
  explicit packed_list(const json& ops) {
    for (const json& op : ops) arguments_.push_back(op.at(1).get<words>());
    for (std::size_t i = 0; i < arguments_.size(); ++i)
      ops_.push_back({.op = ops[i].at(0).get<std::uint8_t>(), .arguments = arguments_[i]});
  }
  [[nodiscard]] std::span<const packed_op> ops() const { return ops_; }

 private:
  std::vector<words> arguments_;
  std::vector<packed_op> ops_;
};

std::vector<work_item> work_items_of(const json& items) {
  std::vector<work_item> list;
  for (const json& item : items) {
    list.push_back({.op = opcode_of(item.at(0)),
                    .input = item.at(1),
                    .output = item.at(2),
                    .param = item.at(3)});
  }
  return list;
}

/// One ring under a sequence of publishing operations.
class publish_case {
 public:
  explicit publish_case(const std::vector<std::byte>& ring) {
    if (!ring_.resize_for_overwrite(ring.size())) throw std::bad_alloc();
    std::ranges::copy(ring, ring_.begin());
  }

  json step(const json& in) {
    json outcome = apply(in.at("op").get<std::string>(), in);
    outcome["ring_fnv1a64"] = fnv1a64(bytes());
    return outcome;
  }
  [[nodiscard]] std::span<std::byte> bytes() { return {ring_.data(), ring_.size()}; }

 private:
  json apply(const std::string& op, const json& in) {
    if (op == "encode_work_items") {
      auto fresh =
          encode_work_items(in.at("slot_count"), in.at("tenant_id"), work_items_of(in.at("items")));
      if (!fresh) return refused(to_string(fresh.error().code));
      ring_ = std::move(*fresh);
      return ok(nullptr);
    }
    if (op == "poke") {
      const std::size_t at =
          in.at("slot").get<std::size_t>() * abi::slot_words + in.at("word").get<std::size_t>();
      if (at >= ring_.size() / sizeof(word)) throw std::invalid_argument("poke outside the ring");
      store_word(ring_.data(), at, in.at("value"));
      return ok(nullptr);
    }
    auto publisher = ring_publisher::over(bytes());
    if (!publisher) return refused(to_string(publisher.error().code));
    if (op == "slot") {
      const auto arguments = in.at("args").get<words>();
      return result_json(publisher->publish(in.at("slot_idx"), {.op = opcode_of(in.at("opcode")),
                                                                .tenant = in.at("tenant_id"),
                                                                .arguments = arguments}));
    }
    if (op == "packed") {
      const packed_list packed(in.at("ops"));
      return result_json(publisher->publish_packed(
          in.at("slot_idx"), {.tenant = in.at("tenant_id"), .ops = packed.ops()}));
    }
    if (op == "batch_publish") return fenced_batch(*publisher, in);
    if (op == "work_items") {
      return result_json(publisher->publish_work_items(in.at("start_slot"), in.at("tenant_id"),
                                                       work_items_of(in.at("items"))));
    }
    if (op == "batch") return mixed_batch(*publisher, in);
    if (op == "window") return window(*publisher, in);
    if (op == "window_batch") return materialised_window(*publisher, in);
    throw std::invalid_argument("unknown operation " + op);
  }

  static json fenced_batch(ring_publisher& publisher, const json& in) {
    std::vector<words> arguments;
    for (const json& item : in.at("items")) arguments.push_back(item.at(1).get<words>());
    std::vector<batch_item> items;
    for (std::size_t i = 0; i < arguments.size(); ++i)
      items.push_back({.op = opcode_of(in.at("items")[i].at(0)), .arguments = arguments[i]});
    return result_json(publisher.publish_batch(in.at("start_slot"), in.at("tenant_id"), items,
                                               in.at("batch_tag")));
  }

  static json mixed_batch(ring_publisher& publisher, const json& in) {
    const json& items = in.at("items");
    std::vector<words> arguments(items.size());
    std::vector<packed_list> packed;
    packed.reserve(items.size());
    std::vector<std::variant<slot_request, packed_request>> requests;
    for (std::size_t i = 0; i < items.size(); ++i) {
      if (items[i].contains("single")) {
        const json& single = items[i]["single"];
        arguments[i] = single.at("args").get<words>();
        requests.emplace_back(slot_request{.op = opcode_of(single.at("opcode")),
                                           .tenant = single.at("tenant_id"),
                                           .arguments = arguments[i]});
      } else {
        const json& inner = items[i].at("packed");
        requests.emplace_back(packed_request{.tenant = inner.at("tenant_id"),
                                             .ops = packed.emplace_back(inner.at("ops")).ops()});
      }
    }
    return result_json(publisher.publish_each(in.at("start_slot"), requests));
  }

  static json window(ring_publisher& publisher, const json& in) {
    const auto payloads = [&](const char* which) { return in.at(which).get<std::vector<words>>(); };
    const auto spans = [](const std::vector<words>& lists) {
      return std::vector<std::span<const word>>(lists.begin(), lists.end());
    };
    const auto required = payloads("required");
    const auto lookahead = payloads("lookahead");
    const auto required_spans = spans(required);
    const auto lookahead_spans = spans(lookahead);
    return result_json(
        publisher.publish_window(in.at("start_slot"), {.op = opcode_of(in.at("opcode")),
                                                       .tenant = in.at("tenant_id"),
                                                       .ticket = in.at("ticket"),
                                                       .required = required_spans,
                                                       .lookahead = lookahead_spans}));
  }

  static json materialised_window(ring_publisher& publisher, const json& in) {
    std::vector<slot_arguments> arguments;
    for (const auto tag : {window_class::required, window_class::lookahead}) {
      for (const json& payload : in.at(tag == window_class::required ? "required" : "lookahead")) {
        const auto entry = window_arguments(in.at("ticket"), tag, payload.get<words>());
        if (!entry) return refused(to_string(entry.error().code));
        arguments.push_back(*entry);
      }
    }
    std::vector<std::variant<slot_request, packed_request>> requests;
    for (const slot_arguments& entry : arguments) {
      requests.emplace_back(slot_request{.op = opcode_of(in.at("opcode")),
                                         .tenant = in.at("tenant_id"),
                                         .arguments = entry.used()});
    }
    return result_json(publisher.publish_each(in.at("start_slot"), requests));
  }

  byte_buffer ring_;
};

json publish(const json& in) {
  publish_case ring(bytes_of(in.at("ring")));
  json steps = json::array();
  for (const json& op : in.at("ops")) steps.push_back(ring.step(op));
  return {{"steps", steps}, {"ring", json_of(ring.bytes())}};
}

}  // namespace

std::optional<json> answer_protocol(std::string_view kind, const json& input) {
  if (kind == "encode") return encode(input);
  if (kind == "byte_len") return byte_lengths(input);
  if (kind == "decode_load_miss") return load_miss_of(input);
  if (kind == "publish") return publish(input);
  if (kind == "debuglog") return debug_records(input);
  if (kind == "readers") return readers(input);
  if (kind == "count_done") return done_slots(input);
  if (kind == "priority_offsets") return ok(default_priority_offsets(input.at("total_slots")));
  if (kind == "write_priority_offsets") return offsets_into(input);
  if (kind == "opcode") return opcode_classes(input);
  return std::nullopt;
}

}  // namespace megakernel::tool
