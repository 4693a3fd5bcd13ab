// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
module;
#include <array>
#include <cstddef>
#include <cstdint>
#include <expected>
#include <optional>
#include <span>
#include <string_view>
export module megakernel.scaling:explain;
import megakernel.protocol;
import :policy;
import :recommend;

export namespace megakernel {

/// The decision behind a reason, in the order the policy decides.
enum class decision : std::uint8_t {
  signals,    ///< what is known, and what was inferred
  promotion,  ///< whether hot opcodes and windows are fused
  topology,
  workers,   ///< worker groups
  geometry,  ///< workgroup width, slots, grid
  pressure,
  hit_capacity,
  memory,  ///< estimated peak
  mode,
  ageing,   ///< whether waiting work is lifted
  refusal,  ///< why there is no recommendation
};

/// `"topology"` and so on.
[[nodiscard]] std::string_view to_string(decision what) noexcept;

/// The rule that decided. Comments name the numbers a reason carries for it, in their order.
enum class rule : std::uint8_t {
  // telemetry
  ring_stands_for_nodes,    ///< slots
  ring_stands_for_edges,    ///< queue depth
  ring_stands_for_density,  ///< queue depth, slots, bps
  ring_hot_opcodes,         ///< opcodes claimed
  ring_hot_windows,         ///< windows that are hot, slots that make one so
  ring_requeues,            ///< in the ring, in all
  // signals
  density_given,     ///< bps
  density_inferred,  ///< queue, nodes, bps
  density_unknown,   ///<
  memory_given,      ///< bps
  memory_inferred,   ///< resident, budget, bps
  memory_unknown,    ///<
  // promotion
  opcodes_hot,   ///< count, threshold
  opcodes_cold,  ///< count, threshold
  windows_hot,   ///< count, threshold
  windows_cold,  ///< count, threshold
  // topology
  nothing_queued,            ///<
  memory_short,              ///< bps, threshold
  frontier_sparse,           ///< bps, threshold
  frontier_between,          ///< bps, sparse, dense
  frontier_fused,            ///< bps, dense, edges, edge threshold
  frontier_dense_no_graph,   ///< bps, dense
  frontier_dense_few_edges,  ///< bps, dense, edges, edge threshold
  frontier_dense_cold,       ///< bps, dense
  // topology, told the previous one
  memory_held,    ///< bps, lower edge, threshold, previous
  held_below,     ///< bps, upper edge, threshold, previous
  held_above,     ///< bps, lower edge, threshold, previous
  previous_same,  ///< previous
  previous_left,  ///< previous, raw
  // workers
  workers_requested,   ///< groups
  workers_shed,        ///< groups, shed bps, groups kept, pressure bps
  workers_few_active,  ///< groups, density bps counted, sparse threshold, groups kept
  workers_occupancy,   ///< groups, the adapter's workgroups, its invocations
  workers_clipped,     ///< groups, the adapter's workgroups
  // geometry
  width_of_workers,        ///< width
  width_clipped,           ///< groups, width
  slots_exact,             ///< slots
  slots_padded,            ///< slots, queue, width
  slots_saturated,         ///< slots, queue, short by
  grid_covers,             ///< workgroups, width
  grid_capped_by_workers,  ///< workgroups, workgroups that cover
  grid_capped_by_policy,   ///< workgroups, workgroups that cover
  // pressure
  queue_empty,           ///<
  queue_requeued,        ///< requeues
  queue_waves,           ///< queue, lanes, waves
  queue_fills_lanes,     ///< queue, lanes, waves
  queue_short_of_lanes,  ///< queue, lanes
  // hit capacity
  hits_requested,      ///< hits
  hits_minimum,        ///< hits derived, minimum
  hits_derived,        ///< queue, hits an item, multiplier, hits
  hits_derived_tight,  ///< queue, hits an item, hits, pressure bps
  // memory
  peak_unbounded,      ///< peak, resident, hits, bytes a hit
  peak_within_budget,  ///< peak, resident, hits, bytes a hit, budget
  // mode
  jit_long_queue,        ///< queue, threshold
  jit_hot,               ///<
  interpreter_suffices,  ///< queue, threshold
  // ageing
  age_requeued,  ///< requeues
  age_old,       ///< age, threshold
  age_young,     ///< age, threshold
  // refusal
  refused,  ///<
};

/// A sentence in storage of its own: rendering a reason allocates nothing.
class reason_text {
 public:
  [[nodiscard]] inline std::string_view text() const noexcept { return {text_.data(), size_}; }

 private:
  friend struct reason;
  std::array<char, 400> text_{};
  std::size_t size_ = 0;
};

/// One step of a decision: the rule that applied and the numbers it compared.
struct reason {
  rule by;
  std::array<std::uint64_t, 5> numbers{};

  [[nodiscard]] decision about() const noexcept;
  /// The rule's name as the source spells it, `"frontier_sparse"`.
  [[nodiscard]] std::string_view name() const noexcept;
  /// One sentence or two, for a reader who knows neither the policy nor the code. O(1), no
  /// allocation.
  [[nodiscard]] reason_text sentence() const noexcept;
  friend constexpr bool operator==(const reason&, const reason&) = default;
};

/// A recommendation, or a refusal, with the reasons that led to it, in order.
/// docs/protocol.md#explanation
///
/// It is what `recommend` computes, by the same code: that runs with a recorder that compiles to
/// nothing. A refusal's reasons are those of the steps before it.
class explanation {
 public:
  [[nodiscard]] inline const result<launch_recommendation>& outcome() const noexcept {
    return outcome_;
  }
  /// The request as it was decided on: what telemetry and inference filled in is in it.
  [[nodiscard]] inline const launch_request& request() const noexcept { return request_; }
  [[nodiscard]] inline std::span<const reason> reasons() const noexcept {
    return std::span(reasons_).first(size_);
  }
  /// The last reason about `what`, which is the one that settled it; null where nothing was said.
  [[nodiscard]] const reason* deciding(decision what) const noexcept;

  /// Adds a reason. Beyond 32 they are dropped; no decision takes as many.
  template <class... Numbers>
  constexpr void record(rule by, Numbers... numbers) noexcept {
    if (size_ < reasons_.size())
      reasons_[size_++] = {.by = by, .numbers = {static_cast<std::uint64_t>(numbers)...}};
  }
  /// The decision's end.
  inline void finish(const launch_request& request,
                     const result<launch_recommendation>& outcome) noexcept {
    request_ = request;
    outcome_ = outcome;
  }

 private:
  launch_request request_{};
  result<launch_recommendation> outcome_{};
  std::array<reason, 32> reasons_{};
  std::size_t size_ = 0;
};

/// As `recommend`, with reasons. O(1), no allocation.
[[nodiscard]] explanation explain(const launch_request& request,
                                  std::optional<launch_topology> previous = std::nullopt) noexcept;
[[nodiscard]] explanation explain(const launch_policy& policy, const launch_request& request,
                                  std::optional<launch_topology> previous = std::nullopt) noexcept;

}  // namespace megakernel
