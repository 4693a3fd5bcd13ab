// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
module;
#include <algorithm>
#include <cstdint>
#include <expected>
#include <optional>
export module megakernel.scaling:policy;
import megakernel.protocol;
import :sizing;

export namespace megakernel {

/// 100 %, in basis points.
inline constexpr std::uint32_t whole_bps = 10'000;

/// Everything a launch policy can be told. The defaults are the standard policy.
/// docs/protocol.md#launch-policy
struct policy_parameters {
  sizing_parameters sizing{};
  std::uint32_t min_hit_capacity = 1024;         ///< a derived hit capacity is at least this
  std::uint32_t hit_capacity_multiplier = 2;     ///< hits kept for one expected; at least 1
  std::uint32_t saturated_waves = 4;             ///< queue per lane of a saturated one; at least 1
  std::uint32_t hot_opcode_threshold = 8;        ///< hot opcodes from which they are fused
  std::uint32_t hot_window_threshold = 4;        ///< the same for windows
  std::uint32_t jit_queue_len_threshold = 4096;  ///< queue from which compiling pays
  std::uint32_t priority_age_threshold = 32;     ///< age from which waiting work is lifted
  std::uint32_t sparse_bps = 500;                ///< frontier density up to here is sparse
  std::uint32_t dense_bps = 4000;                ///< frontier density from here on is dense
  std::uint32_t frontier_hysteresis_bps = 250;   ///< margin either side of both
  std::uint32_t memory_pressure_bps = 8500;      ///< pressure from here on constrains the launch
  std::uint32_t memory_hysteresis_bps = 250;     ///< margin below it
  std::uint32_t fusion_edge_threshold = 65'536;  ///< edges from which a dense graph may be fused
  std::uint32_t scratch_bytes_per_hit = 16;      ///< device memory a hit takes
  friend constexpr bool operator==(const policy_parameters&, const policy_parameters&) = default;
};

/// The parameters that can be out of range: `error::index` of `policy_out_of_range`, whose
/// `subject()` is the name.
enum class policy_parameter : std::uint8_t {
  default_workers,
  occupancy_divisor,
  max_dispatch_groups,
  powerful_worker_groups,
  hit_capacity_multiplier,
  saturated_waves,
  dense_bps,
  sparse_bps,
  frontier_hysteresis_bps,
  memory_pressure_bps,
  memory_hysteresis_bps,
};

/// Parameters with which `recommend` cannot overflow or divide by zero, whatever the request.
///
/// Two things bound its arithmetic: basis points are at most 10,000, and thresholds with their
/// hysteresis stay within 0 and 10,000. The rest is 32 bits wide and multiplied in 64, or reported
/// as the request's overflow. docs/protocol.md#policy-bounds
class launch_policy {
 public:
  /// The standard policy. docs/protocol.md#launch-policy
  [[nodiscard]] static constexpr launch_policy standard() noexcept {
    return launch_policy(policy_parameters{});
  }

  /// Error: `policy_out_of_range`, the first of `policy_parameter` that breaks its bound:
  /// divisors, multipliers and counts of groups are at least 1; dense is at most 10,000 and sparse
  /// at most dense; frontier hysteresis is at most sparse and at most 10,000 - dense; memory
  /// pressure is at most 10,000 and its hysteresis at most it. O(1).
  [[nodiscard]] static constexpr result<launch_policy> build(
      const policy_parameters& parameters) noexcept {
    if (const auto refusal = check(parameters)) return std::unexpected(*refusal);
    return launch_policy(parameters);
  }

  [[nodiscard]] constexpr const policy_parameters& parameters() const noexcept {
    return parameters_;
  }
  friend constexpr bool operator==(const launch_policy&, const launch_policy&) = default;

 private:
  constexpr explicit launch_policy(const policy_parameters& parameters) noexcept
      : parameters_(parameters) {}

  static constexpr std::optional<error> check(const policy_parameters& p) noexcept {
    using enum policy_parameter;
    std::optional<error> first;
    const auto refuse = [&](policy_parameter which, std::uint32_t found, std::uint32_t bound) {
      if (first) return;
      first = error{.code = error_code::policy_out_of_range,
                    .index = static_cast<std::uint64_t>(which),
                    .found = found,
                    .bound = bound};
    };
    const auto positive = [&](policy_parameter which, std::uint32_t value) {
      if (value == 0) refuse(which, value, 1);
    };
    const auto at_most = [&](policy_parameter which, std::uint32_t value, std::uint32_t bound) {
      if (value > bound) refuse(which, value, bound);
    };
    positive(default_workers, p.sizing.default_workers);
    positive(occupancy_divisor, p.sizing.occupancy_divisor);
    positive(max_dispatch_groups, p.sizing.max_dispatch_groups);
    positive(powerful_worker_groups, p.sizing.powerful_worker_groups);
    positive(hit_capacity_multiplier, p.hit_capacity_multiplier);
    positive(saturated_waves, p.saturated_waves);
    at_most(dense_bps, p.dense_bps, whole_bps);
    if (first) return first;
    at_most(sparse_bps, p.sparse_bps, p.dense_bps);
    at_most(frontier_hysteresis_bps, p.frontier_hysteresis_bps,
            std::min(p.sparse_bps, whole_bps - p.dense_bps));
    at_most(memory_pressure_bps, p.memory_pressure_bps, whole_bps);
    at_most(memory_hysteresis_bps, p.memory_hysteresis_bps, p.memory_pressure_bps);
    return first;
  }

  policy_parameters parameters_;
};

static_assert(launch_policy::build({}).has_value(), "the standard policy keeps the rules");

}  // namespace megakernel
