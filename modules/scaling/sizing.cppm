// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
module;
#include <algorithm>
#include <array>
#include <concepts>
#include <cstdint>
#include <expected>
#include <limits>
#include <string_view>
export module megakernel.scaling:sizing;
import megakernel.protocol;

export namespace megakernel {

/// The limits of an adapter. Zero is a missing limit, and refused.
struct adapter_limits {
  std::uint32_t max_workgroup_size_x = 0;                   ///< lanes of a workgroup along x
  std::uint32_t max_compute_workgroups_per_dimension = 0;   ///< workgroups of a grid along x
  std::uint32_t max_compute_invocations_per_workgroup = 0;  ///< lanes of a workgroup in all
  friend constexpr bool operator==(const adapter_limits&, const adapter_limits&) = default;
};

/// The limits in the order they are checked: `error::index` of `limit_zero`, whose `subject()` is
/// the name.
enum class adapter_limit : std::uint8_t {
  max_workgroup_size_x,
  max_compute_workgroups_per_dimension,
  max_compute_invocations_per_workgroup,
};

/// How worker groups follow from an adapter. All are at least 1 in a policy.
/// docs/protocol.md#sizing
struct sizing_parameters {
  std::uint32_t default_workers = 64;         ///< workgroups of a launch nobody has sized
  std::uint32_t occupancy_divisor = 256;      ///< one worker group for so many the adapter allows
  std::uint32_t max_dispatch_groups = 1024;   ///< a grid has at most so many workgroups
  std::uint32_t powerful_invocations = 4096;  ///< from here on an adapter counts as powerful
  std::uint32_t powerful_worker_groups = 64;  ///< and gets at least so many worker groups
  friend constexpr bool operator==(const sizing_parameters&, const sizing_parameters&) = default;
};

/// A launch in numbers of the device.
struct launch_geometry {
  std::uint32_t workgroup_size_x = 1;                   ///< lanes of a workgroup
  std::uint32_t slot_count = 1;                         ///< whole workgroups of ring slots
  std::array<std::uint32_t, 3> dispatch_grid{1, 1, 1};  ///< workgroups launched
  /// Lanes launched along x. They fit 32 bits: a grid never holds more than the ring's slots.
  [[nodiscard]] constexpr std::uint32_t lanes() const noexcept {
    return dispatch_grid[0] * workgroup_size_x;
  }
  friend constexpr bool operator==(const launch_geometry&, const launch_geometry&) = default;
};

struct grid_plan {
  launch_geometry geometry{};
  std::uint32_t worker_groups = 1;
  friend constexpr bool operator==(const grid_plan&, const grid_plan&) = default;
};

/// Lanes of a workgroup for `workers` worker groups: clamp(workers, 1, max(1, max_x)). O(1).
[[nodiscard]] constexpr std::uint32_t worker_workgroup_size(std::uint32_t workers,
                                                            std::uint32_t max_x) noexcept {
  return std::clamp(workers, 1u, std::max(1u, max_x));
}

namespace detail {

/// The two below, over any width of integer: they are tried with every pair of the narrow ones.
template <std::unsigned_integral Count>
[[nodiscard]] constexpr Count covering_workgroups(Count slots, Count width) noexcept {
  slots = std::max<Count>(1, slots);
  width = std::max<Count>(1, width);
  const auto room = static_cast<Count>(std::numeric_limits<Count>::max() - slots);
  const Count more = std::min(static_cast<Count>(width - 1), room);
  return static_cast<Count>((slots + more) / width);
}

template <std::unsigned_integral Count>
[[nodiscard]] constexpr Count padded_slot_count(Count slots, Count width) noexcept {
  return static_cast<Count>(covering_workgroups(slots, width) * std::max<Count>(1, width));
}

}  // namespace detail

/// Workgroups of `width` lanes that hold `slots`, at least one slot in at least one lane; the sum
/// before the division saturates, so that a last part of under `width` slots can be left out where
/// they would run past 2^32 - 1. Never 0. O(1).
[[nodiscard]] constexpr std::uint32_t covering_workgroups(std::uint32_t slots,
                                                          std::uint32_t width) noexcept {
  return detail::covering_workgroups(slots, width);
}

/// `slots`, at least one, rounded up to whole workgroups. Where that is over 2^32 - 1 it is the
/// largest whole number of workgroups instead, which is less than `slots`. O(1).
[[nodiscard]] constexpr std::uint32_t padded_slot_count(std::uint32_t slots,
                                                        std::uint32_t width) noexcept {
  return detail::padded_slot_count(slots, width);
}

/// Workgroups of `width` lanes to launch for a queue: enough to cover it, at most the worker groups
/// and at most `sizing.max_dispatch_groups`. O(1).
[[nodiscard]] constexpr std::array<std::uint32_t, 3> dispatch_grid(
    std::uint32_t workers, std::uint32_t queue_len, std::uint32_t width,
    const sizing_parameters& sizing = {}) noexcept {
  return {std::min({covering_workgroups(queue_len, width), std::max(1u, workers),
                    sizing.max_dispatch_groups}),
          1, 1};
}

/// Worker groups for an adapter when nobody asks for a number:
/// clamp(max_groups / divisor, 1, max_dispatch_groups), and at least 64 on a powerful one. It may
/// exceed `max_groups`; `plan_grid` clips it. O(1).
[[nodiscard]] constexpr std::uint32_t default_worker_groups(
    std::uint32_t max_groups, std::uint32_t max_invocations,
    const sizing_parameters& sizing = {}) noexcept {
  const std::uint32_t share =
      std::clamp(max_groups / sizing.occupancy_divisor, 1u, sizing.max_dispatch_groups);
  const bool powerful = max_invocations >= sizing.powerful_invocations;
  return std::max(share, powerful ? sizing.powerful_worker_groups : 1u);
}

/// The geometry for a ring of `slots` and `workers` worker groups. O(1), one division.
[[nodiscard]] constexpr launch_geometry geometry_of(std::uint32_t slots, std::uint32_t workers,
                                                    std::uint32_t max_x,
                                                    const sizing_parameters& sizing = {}) noexcept {
  const std::uint32_t width = worker_workgroup_size(workers, max_x);
  // Padded slots are covered by as many workgroups as the slots were: the grid needs no division
  // of its own.
  const std::uint32_t covering = covering_workgroups(slots, width);
  return {.workgroup_size_x = width,
          .slot_count = covering * width,
          .dispatch_grid = {std::min({covering, std::max(1u, workers), sizing.max_dispatch_groups}),
                            1, 1}};
}

/// Refuses a zero limit: `limit_zero`, index which (`adapter_limit`), the first in order. O(1).
[[nodiscard]] constexpr result<void> check(const adapter_limits& limits) noexcept {
  const std::array values{limits.max_workgroup_size_x, limits.max_compute_workgroups_per_dimension,
                          limits.max_compute_invocations_per_workgroup};
  const auto* const zero = std::ranges::find(values, 0u);
  if (zero == values.end()) return {};
  return std::unexpected(error{.code = error_code::limit_zero,
                               .index = static_cast<std::uint64_t>(zero - values.begin()),
                               .bound = 1});
}

/// Worker groups and geometry for a queue, at least one slot long, on an adapter. `workers` 0
/// takes `default_worker_groups`; either way they stay within the adapter's dimension. Error:
/// `limit_zero`. O(1).
[[nodiscard]] constexpr result<grid_plan> plan_grid(std::uint32_t queue_len, std::uint32_t workers,
                                                    const adapter_limits& limits,
                                                    const sizing_parameters& sizing = {}) noexcept {
  if (const auto checked = check(limits); !checked) return std::unexpected(checked.error());
  const std::uint32_t most = limits.max_compute_workgroups_per_dimension;
  const std::uint32_t wanted =
      workers != 0
          ? workers
          : default_worker_groups(most, limits.max_compute_invocations_per_workgroup, sizing);
  const std::uint32_t groups = std::min(wanted, most);
  return grid_plan{.geometry = geometry_of(queue_len, groups, limits.max_workgroup_size_x, sizing),
                   .worker_groups = groups};
}

/// The geometry for that many work items, all of which get a slot. Errors: `queue_len_overflow`
/// (over 2^32 - 1 items), `padded_slots_overflow` (whole workgroups of slots would be). O(1).
[[nodiscard]] constexpr result<launch_geometry> geometry_for_items(
    std::uint64_t items, std::uint32_t workers, std::uint32_t max_x,
    const sizing_parameters& sizing = {}) noexcept {
  constexpr std::uint32_t most = 0xFFFF'FFFFu;
  if (items > most) {
    return std::unexpected(
        error{.code = error_code::queue_len_overflow, .found = items, .bound = most});
  }
  const launch_geometry geometry =
      geometry_of(static_cast<std::uint32_t>(items), workers, max_x, sizing);
  if (geometry.slot_count < items) {
    return std::unexpected(error{.code = error_code::padded_slots_overflow,
                                 .index = geometry.workgroup_size_x,
                                 .found = items,
                                 .bound = geometry.slot_count});
  }
  return geometry;
}

static_assert(padded_slot_count(0, 0) == 1 && padded_slot_count(65, 64) == 128);
static_assert(padded_slot_count(0xFFFF'FFFFu, 64) == 0xFFFF'FFC0u, "less than what was asked for");
static_assert(padded_slot_count(1, 0xFFFF'FFFFu) == 0xFFFF'FFFFu);
static_assert(default_worker_groups(0, 4096) == 64 && default_worker_groups(0, 4095) == 1);
static_assert(geometry_of(100, 64, 256).lanes() == 128);

}  // namespace megakernel
