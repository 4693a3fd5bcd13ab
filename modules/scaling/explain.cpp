// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
module;
#include <algorithm>
#include <array>
#include <charconv>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <expected>
#include <optional>
#include <span>
#include <string_view>
module megakernel.scaling;
import megakernel.protocol;
import :rules;

namespace megakernel {
namespace {

/// A rule's template. {0} is the reason's first number with its digits grouped, {0%} the same from
/// basis points to percent, {0t} a topology's name, {0 slot} a count of slots.
struct description {
  decision about;
  std::string_view name;
  std::string_view sentence;
};

constexpr description describe(rule by) noexcept {
  using enum decision;
  switch (by) {
    case rule::ring_stands_for_nodes:
      return {signals, "ring_stands_for_nodes",
              "No node count was given, so the ring's {0 slot} stand for the graph's nodes."};
    case rule::ring_stands_for_edges:
      return {signals, "ring_stands_for_edges",
              "No edge count was given, so the ring's queue depth of {0} stands for it."};
    case rule::ring_stands_for_density:
      return {signals, "ring_stands_for_density",
              "No frontier density was given; {0} of the ring's {1 slot} hold work: {2} bps."};
    case rule::ring_hot_opcodes:
      return {signals, "ring_hot_opcodes", "The kernel has claimed {0 opcode} so far."};
    case rule::ring_hot_windows:
      return {signals, "ring_hot_windows", "The ring has {0 window} of {1 slot} or more."};
    case rule::ring_requeues:
      return {signals, "ring_requeues",
              "The ring has {0 slot} waiting after a requeue, which makes {1} in all."};
    case rule::density_given:
      return {signals, "density_given",
              "{0} bps of the graph is active ({0%}; 1 bps is a hundredth of a percent)."};
    case rule::density_inferred:
      return {signals, "density_inferred",
              "No frontier density was given; {0 queued item} on {1 node} make {2} bps active "
              "({2%}; 1 bps is a hundredth of a percent)."};
    case rule::density_unknown:
      return {signals, "density_unknown",
              "No frontier density was given and there is nothing to infer it from: it counts as "
              "0 bps."};
    case rule::memory_given:
      return {signals, "memory_given", "Memory pressure is {0} bps ({0%})."};
    case rule::memory_inferred:
      return {signals, "memory_inferred",
              "{0} of the {1} bytes of the budget are resident, so memory pressure is {2} bps "
              "({2%})."};
    case rule::memory_unknown:
      return {signals, "memory_unknown",
              "Neither a memory pressure nor a budget with resident bytes was given: memory is "
              "taken to be free."};
    case rule::opcodes_hot:
      return {promotion, "opcodes_hot",
              "Hot opcodes: {0}, at least the threshold of {1}, so fuse them."};
    case rule::opcodes_cold:
      return {promotion, "opcodes_cold",
              "Hot opcodes: {0}, under the threshold of {1}, so not worth fusing."};
    case rule::windows_hot:
      return {promotion, "windows_hot",
              "Hot windows: {0}, at least the threshold of {1}, so fuse them."};
    case rule::windows_cold:
      return {promotion, "windows_cold",
              "Hot windows: {0}, under the threshold of {1}, so not worth fusing."};
    case rule::nothing_queued:
      return {topology, "nothing_queued", "Empty: nothing is queued."};
    case rule::memory_short:
      return {topology, "memory_short",
              "MemoryConstrained: memory pressure is {0} bps, at least the threshold of {1}; "
              "nothing else matters until it falls."};
    case rule::frontier_sparse:
      return {topology, "frontier_sparse",
              "SparseFrontier: {0} bps of the graph is active, at most the sparse threshold of "
              "{1}; expanding the few active nodes beats sweeping them all."};
    case rule::frontier_between:
      return {topology, "frontier_between",
              "HybridFrontier: {0} bps of the graph is active, more than the sparse threshold of "
              "{1} and less than the dense threshold of {2}."};
    case rule::frontier_fused:
      return {topology, "frontier_fused",
              "FusedDense: {0} bps of the graph is active, at least the dense threshold of {1}; "
              "it has {2 edge}, at least {3}, and hot work, so fusing the sweep pays."};
    case rule::frontier_dense_no_graph:
      return {topology, "frontier_dense_no_graph",
              "DenseFrontier: {0} bps of the graph is active, at least the dense threshold of "
              "{1}; without a node count it cannot be fused."};
    case rule::frontier_dense_few_edges:
      return {topology, "frontier_dense_few_edges",
              "DenseFrontier: {0} bps of the graph is active, at least the dense threshold of "
              "{1}; it has {2 edge}, and fusing the sweep pays from {3}."};
    case rule::frontier_dense_cold:
      return {topology, "frontier_dense_cold",
              "DenseFrontier: {0} bps of the graph is active, at least the dense threshold of "
              "{1}; the graph is large enough to fuse the sweep, but nothing is hot."};
    case rule::memory_held:
      return {topology, "memory_held",
              "But the last launch was {3t}, and a pressure of {0} bps is not yet under {1}, the "
              "threshold of {2} less its margin: it stays, or it would soon flip back."};
    case rule::held_below:
      return {topology, "held_below",
              "But the last launch was {3t}, and {0} bps is not yet over {1}, the threshold of "
              "{2} plus its margin: it stays, or it would soon flip back."};
    case rule::held_above:
      return {topology, "held_above",
              "But the last launch was {3t}, and {0} bps is not yet under {1}, the threshold of "
              "{2} less its margin: it stays, or it would soon flip back."};
    case rule::previous_same:
      return {topology, "previous_same", "The last launch was {0t}, too: nothing changes."};
    case rule::previous_left:
      return {topology, "previous_left",
              "The last launch was {0t}; the numbers are outside its margin, so the change to "
              "{1t} is made."};
    case rule::workers_requested:
      return {workers, "workers_requested", "The request asks for {0 worker group}."};
    case rule::workers_shed:
      return {workers, "workers_shed",
              "The request asks for {0 worker group}, but at a memory pressure of {3} bps {1%} of "
              "them go to save memory, which leaves {2}."};
    case rule::workers_few_active:
      return {workers, "workers_few_active",
              "The request asks for {0 worker group}, but a frontier of {1} bps, of the {2} that "
              "count as sparse, keeps only {3} busy (at least 32, where as many are asked for)."};
    case rule::workers_occupancy:
      return {workers, "workers_occupancy",
              "The request leaves the worker groups open: an adapter of {1 workgroup} and {2 "
              "invocation} a "
              "workgroup gets {0}."};
    case rule::workers_clipped:
      return {workers, "workers_clipped",
              "The adapter allows only {1 workgroup} where {0} are wanted: {1} it is."};
    case rule::width_of_workers:
      return {geometry, "width_of_workers",
              "A workgroup has {0 lane}, as many as there are worker groups."};
    case rule::width_clipped:
      return {
          geometry, "width_clipped",
          "A workgroup has {1 lane}, the adapter's most; one for each of {0} worker groups would "
          "be more."};
    case rule::slots_exact:
      return {geometry, "slots_exact", "{0 slot}: the queue fills whole workgroups."};
    case rule::slots_padded:
      return {geometry, "slots_padded",
              "{0 slot}: {1 queued item} rounded up to whole workgroups of {2}."};
    case rule::slots_saturated:
      return {geometry, "slots_saturated",
              "{0 slot}: {1 queued item} rounded up would run past 4,294,967,295, so the last {2} "
              "get none. Launch again for them."};
    case rule::grid_covers:
      return {geometry, "grid_covers", "{0 workgroup} of {1 lane} give every slot a lane."};
    case rule::grid_capped_by_workers:
      return {geometry, "grid_capped_by_workers",
              "{0 workgroup}, one for each worker group; a lane for every slot would take {1}, so "
              "lanes take turns."};
    case rule::grid_capped_by_policy:
      return {geometry, "grid_capped_by_policy",
              "{0 workgroup}, the policy's most; a lane for every slot would take {1}, so lanes "
              "take turns."};
    case rule::queue_empty:
      return {pressure, "queue_empty", "Empty: nothing is queued."};
    case rule::queue_requeued:
      return {pressure, "queue_requeued",
              "Saturated: work came back {0 time} without being finished."};
    case rule::queue_waves:
      return {pressure, "queue_waves", "Saturated: {0 item} for {1 lane} are {2} rounds or more."};
    case rule::queue_fills_lanes:
      return {pressure, "queue_fills_lanes",
              "Balanced: {0 item} keep {1 lane} busy, for fewer than {2} rounds."};
    case rule::queue_short_of_lanes:
      return {pressure, "queue_short_of_lanes",
              "Light: {0 item} for {1 lane}, so some have nothing to do."};
    case rule::hits_requested:
      return {hit_capacity, "hits_requested", "Room for {0 hit}, as asked for."};
    case rule::hits_minimum:
      return {hit_capacity, "hits_minimum",
              "Room for {1 hit}, the policy's least; the queue would need {0}."};
    case rule::hits_derived:
      return {hit_capacity, "hits_derived",
              "Room for {3 hit}: {0 item} with {1} expected each, times {2} to be safe."};
    case rule::hits_derived_tight:
      return {hit_capacity, "hits_derived_tight",
              "Room for {2 hit}: {0 item} with {1} expected each and nothing to spare, at a memory "
              "pressure of {3} bps."};
    case rule::peak_unbounded:
      return {memory, "peak_unbounded",
              "The peak is {0 byte}: {1} resident and {2 hit} of {3}. No budget was given."};
    case rule::peak_within_budget:
      return {memory, "peak_within_budget",
              "The peak is {0 byte}: {1} resident and {2 hit} of {3}. It is within the budget of "
              "{4}."};
    case rule::jit_long_queue:
      return {mode, "jit_long_queue",
              "Jit: {0 item} are at least the {1} from which compiling pays for itself."};
    case rule::jit_hot:
      return {mode, "jit_hot", "Jit: hot work is fused, and fused code is compiled."};
    case rule::interpreter_suffices:
      return {mode, "interpreter_suffices",
              "Interpreter: {0 item} are under the {1} from which compiling pays for itself, and "
              "nothing is fused."};
    case rule::age_requeued:
      return {ageing, "age_requeued",
              "Waiting work is lifted: some of it came back unfinished ({0 time})."};
    case rule::age_old:
      return {ageing, "age_old",
              "Waiting work is lifted: the oldest has waited {0 tick}, at least the threshold of "
              "{1}."};
    case rule::age_young:
      return {ageing, "age_young",
              "Waiting work is left where it is: none came back, and the oldest has waited {0 "
              "tick}, under the threshold of {1}."};
    case rule::refused:
      return {refusal, "refused", "There is no recommendation."};
  }
  return {refusal, "", ""};
}

}  // namespace

std::string_view to_string(decision what) noexcept {
  switch (what) {
    case decision::signals:
      return "signals";
    case decision::promotion:
      return "promotion";
    case decision::topology:
      return "topology";
    case decision::workers:
      return "workers";
    case decision::geometry:
      return "geometry";
    case decision::pressure:
      return "pressure";
    case decision::hit_capacity:
      return "hit_capacity";
    case decision::memory:
      return "memory";
    case decision::mode:
      return "mode";
    case decision::ageing:
      return "ageing";
    case decision::refusal:
      return "refusal";
  }
  return "";
}

decision reason::about() const noexcept { return describe(by).about; }
std::string_view reason::name() const noexcept { return describe(by).name; }

reason_text reason::sentence() const noexcept {
  reason_text out;
  const auto append = [&out](std::string_view text) {
    const std::size_t taken = std::min(text.size(), out.text_.size() - out.size_);
    std::memcpy(out.text_.data() + out.size_, text.data(), taken);
    out.size_ += taken;
  };
  const auto append_number = [&append](std::uint64_t value) {
    std::array<char, 20> storage;
    const auto end = std::to_chars(storage.data(), storage.data() + storage.size(), value).ptr;
    const std::string_view digits(storage.data(), static_cast<std::size_t>(end - storage.data()));
    for (std::size_t i = 0; i < digits.size(); ++i) {
      if (i != 0 && (digits.size() - i) % 3 == 0) append(",");
      append(digits.substr(i, 1));
    }
  };
  const auto append_percent = [&](std::uint64_t bps) {
    append_number(bps / 100);
    const std::array<char, 3> fraction{'.', static_cast<char>('0' + bps / 10 % 10),
                                       static_cast<char>('0' + bps % 10)};
    append({fraction.data(), fraction.size()});
    append(" %");
  };
  std::string_view rest = describe(by).sentence;
  while (!rest.empty()) {
    const std::size_t open = rest.find('{');
    append(rest.substr(0, open));
    if (open == std::string_view::npos) break;
    const std::size_t close = rest.find('}', open);
    const std::string_view field = rest.substr(open + 1, close - open - 1);
    const std::uint64_t value = numbers[static_cast<std::size_t>(field[0] - '0')];
    const std::string_view form = field.substr(1);
    if (form == "%") {
      append_percent(value);
    } else if (form == "t") {
      append(megakernel::to_string(static_cast<launch_topology>(value)));
    } else {
      append_number(value);
      append(form);
      if (!form.empty() && value != 1) append("s");
    }
    rest.remove_prefix(close + 1);
  }
  return out;
}

const reason* explanation::deciding(decision what) const noexcept {
  const auto all = reasons();
  for (std::size_t i = all.size(); i-- > 0;) {
    if (all[i].about() == what) return &all[i];
  }
  return nullptr;
}

explanation explain(const launch_policy& policy, const launch_request& request,
                    std::optional<launch_topology> previous) noexcept {
  explanation why;
  launch_request effective = request;
  const auto outcome = detail::decide(policy.parameters(), effective, previous, why);
  why.finish(effective, outcome);
  return why;
}

explanation explain(const launch_request& request,
                    std::optional<launch_topology> previous) noexcept {
  constexpr launch_policy standard = launch_policy::standard();
  return explain(standard, request, previous);
}

}  // namespace megakernel
