// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include "standard.h"

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <expected>
#include <optional>
#include <ranges>
#include <span>
#include <vector>

import megakernel;

/// The content of a set of dumps, as typed values; the renderers only write them down.
namespace megakernel::tool {

/// The inputs of `inspect`, in the order of their options.
enum class source : std::uint8_t {
  control,
  ring,
  debug_log,
  io_queue,
  previous_control,
  previous_ring,
};
inline constexpr std::size_t sources = 6;

/// The bytes to look at. They must outlive the inspection.
struct dumps {
  std::span<const std::byte> control;
  std::span<const std::byte> ring;
  std::optional<std::span<const std::byte>> debug_log;
  std::optional<std::span<const std::byte>> io_queue;

  /// An earlier snapshot of the same launch.
  struct snapshot {
    std::span<const std::byte> control;
    std::span<const std::byte> ring;
  };
  std::optional<snapshot> previous;
  /// From the previous snapshot to this one.
  std::chrono::nanoseconds interval = std::chrono::seconds(1);

  std::span<const opcode> window_opcodes;
};

struct tenant_row {
  std::uint32_t tenant;
  std::uint32_t slots;        ///< with any known status but EMPTY
  std::uint32_t outstanding;  ///< of those, active
  std::uint32_t faulted;      ///< of those, FAULT
  word claims;                ///< the fairness counter, index tenant mod 32
  bool claims_shared;         ///< the counter is not this tenant's alone: its id is over 31
  bool authorised;
  std::optional<word> quota;  ///< tokens left; tenants over 31 have none
};

struct opcode_row {
  opcode op;
  std::uint32_t slots;
  std::uint32_t outstanding;
  std::uint32_t faulted;
  std::optional<word> claims;  ///< the metric; opcodes over 31 have none
};

struct debug_findings {
  recovered_debug_log log;
  std::optional<error> strict;  ///< why the strict reader refuses it
};

struct io_row {
  std::uint32_t index;
  io_status status;
  io_request request;
};

struct io_findings {
  std::uint32_t slots = 0;
  std::uint32_t empty = 0;
  std::uint32_t published = 0;
  std::uint32_t claimed = 0;
  std::uint32_t ok = 0;
  std::uint32_t error = 0;
  std::uint32_t unknown = 0;
  std::vector<io_row> requests{};  ///< the slots that are not empty, by index; at most 64
};

/// The additions of a previous snapshot.
struct health_findings {
  health_report report;               ///< its `oldest` is empty: see `stuck`
  std::vector<stuck_slot> stuck;      ///< the longest stuck of `report.stuck_slots`
  std::optional<health_delta> delta;  ///< nothing when the 32-bit done count wrapped
  megakernel::diagnosis diagnosis;    ///< of two samples, without a hold time
  std::chrono::nanoseconds interval{};
};

/// Everything found. `slots` and the debug records are read from the dumps when asked for.
struct inspection {
  kernel_state state = kernel_state::idle;
  ring_view slots;
  ring_summary current;                        ///< control words, occupancy, windows
  std::uint32_t unauthorised_outstanding = 0;  ///< outstanding slots of tenants without a mask
  std::uint32_t active_windows = 0;
  std::uint32_t disagreeing_windows = 0;
  std::vector<tenant_row> tenants;  ///< most outstanding first, then most claims, then by number
  std::vector<opcode_row>
      opcodes;  ///< most outstanding first, then most slots, most claims, by number
  std::optional<debug_findings> debug_log;
  std::optional<io_findings> io_queue;
  std::optional<health_findings> health;

  /// The slots of one status, found while iterating.
  [[nodiscard]] auto with_status(slot_status status) const {
    return std::views::filter(slots,
                              [status](const slot_snapshot& s) { return s.status == status; });
  }
  /// Those whose status word is none of the protocol's.
  [[nodiscard]] auto with_unknown_status() const {
    return std::views::filter(slots, [](const slot_snapshot& s) { return !is_known(s.status); });
  }
  /// Those a lane has: without a previous snapshot nobody can tell whether they move.
  [[nodiscard]] auto in_flight() const {
    return std::views::filter(slots, [](const slot_snapshot& s) {
      return s.status == slot_status::claimed || s.status == slot_status::wait_io;
    });
  }
};

/// An input that the library refuses.
struct refusal {
  source from;
  error why;
};

/// Looks at everything. O(slots log slots); memory in proportion to the ring. Throws nothing but
/// `std::bad_alloc`.
[[nodiscard]] std::expected<inspection, refusal> inspect(const dumps& given);

}  // namespace megakernel::tool
