// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
module;
#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <expected>
#include <numeric>
#include <span>
module megakernel.decoder;
import megakernel.protocol;
import :stream;

namespace megakernel {
namespace {

/// Counts statuses eight bits each in one word: no memory is read and written back, so a ring of
/// one status costs what any other does.
class status_tally {
 public:
  /// A block is at most this long, or a byte would overflow.
  static constexpr std::uint32_t capacity = 255;

  void add(slot_status status) noexcept { bytes_ += one_[std::min(word(status), unknown)]; }
  /// Adds the block's counts to `totals`, by status.
  void add_to(std::array<std::uint32_t, 8>& totals) const noexcept {
    for (unsigned status = 0; status < 8; ++status)
      totals[status] += static_cast<std::uint32_t>(bytes_ >> (8 * status) & 0xFF);
  }

 private:
  static constexpr word unknown = 8;
  static constexpr std::array<std::uint64_t, unknown + 1> one_ = [] {
    std::array<std::uint64_t, unknown + 1> table{};
    for (word status = 0; status < unknown; ++status)
      table[status] = std::uint64_t{1} << 8 * status;
    return table;
  }();
  std::uint64_t bytes_ = 0;
};

/// How far ahead of the slot being read to prefetch: the hardware's prefetchers stop at each page.
constexpr std::size_t prefetch_slots = 128;

enum class slot_list { none, cached, streamed };

/// Short blocks let the loads of the next one overlap with the collecting of this one's rows.
template <bool Windows>
constexpr std::uint32_t block_of = Windows ? detail::window_collector::block : 128;

template <slot_list List, bool Windows>
result<void> scan(const ring_view& view, const window_opcodes& opcodes,
                  detail::window_collector& windows, slot_snapshot* slots,
                  std::array<std::uint32_t, 8>& by_status) noexcept {
  constexpr std::uint32_t block = block_of<Windows>;
  static_assert(block <= status_tally::capacity);
  const std::byte* ring = view.bytes().data();
  const detail::window_prefilter prefilter(opcodes);
  for (std::uint32_t first = 0; first < view.size();) {
    const std::uint32_t count = std::min(block, view.size() - first);
    const std::size_t ahead =
        view.size() - first - count >= prefetch_slots ? prefetch_slots * abi::slot_bytes : 0;
    status_tally tally;
    std::array<std::uint8_t, block> candidates;
    std::uint32_t found = 0;
    for (std::uint32_t i = 0; i < count; ++i) {
      const std::byte* const slot = ring + std::size_t{i} * abi::slot_bytes;
      __builtin_prefetch(slot + ahead);
      if constexpr (List == slot_list::none) {
        tally.add(slot_status{load_word(slot, abi::status_word)});
      } else {
        const slot_snapshot snapshot = detail::read_slot(slot, first + i);
        tally.add(snapshot.status);
        if constexpr (List == slot_list::streamed) {
          detail::stream<sizeof snapshot>(slots + i, &snapshot);
        } else {
          slots[i] = snapshot;
        }
      }
      if constexpr (Windows) {
        candidates[found] = static_cast<std::uint8_t>(i);
        found += prefilter.maybe(opcode{load_word(slot, abi::opcode_word)});
      }
    }
    tally.add_to(by_status);
    if constexpr (Windows) {
      if (auto collected = windows.collect(opcodes, ring, std::span(candidates).first(found));
          !collected)
        return collected;
    }
    first += count;
    ring += std::size_t{count} * abi::slot_bytes;
    if constexpr (List != slot_list::none) slots += count;
  }
  if constexpr (List == slot_list::streamed) detail::finish_streaming();
  return {};
}

template <slot_list List>
result<void> scan(const ring_view& view, const window_opcodes& opcodes,
                  detail::window_collector& windows, slot_snapshot* slots,
                  std::array<std::uint32_t, 8>& by_status) noexcept {
  return opcodes.empty() ? scan<List, false>(view, opcodes, windows, slots, by_status)
                         : scan<List, true>(view, opcodes, windows, slots, by_status);
}

std::uint64_t sum(std::span<const word> counters) noexcept {
  return std::accumulate(counters.begin(), counters.end(), std::uint64_t{0});
}

word fairness_skew(std::span<const word> counters) noexcept {
  word most = 0;
  word least = 0xFFFF'FFFFu;
  for (const word counter : counters) {
    most = std::max(most, counter);
    if (counter != 0) least = std::min(least, counter);
  }
  return most == 0 ? 0 : most - least;
}

}  // namespace

void ring_summary::clear() noexcept {
  control_ = {};
  occupancy_ = {};
  windows_.clear();
}

result<void> ring_summary::decode(const ring_view& view, const window_opcodes& windows,
                                  slot_snapshot* slots) noexcept {
  control_ = view.control();
  windows_.start(windows);
  std::array<std::uint32_t, 8> by_status{};
  const bool streamed = std::size_t{view.size()} * sizeof(slot_snapshot) > detail::streaming_bytes;
  auto scanned = slots == nullptr ? scan<slot_list::none>(view, windows, windows_, slots, by_status)
                 : streamed ? scan<slot_list::streamed>(view, windows, windows_, slots, by_status)
                            : scan<slot_list::cached>(view, windows, windows_, slots, by_status);
  if (scanned) scanned = windows_.finish(windows);
  if (!scanned) {
    clear();
    return scanned;
  }
  const auto of = [&](slot_status status) { return by_status[word(status)]; };
  using enum slot_status;
  occupancy_ = {.empty = of(empty),
                .published = of(published),
                .claimed = of(claimed),
                .done = of(done),
                .wait_io = of(wait_io),
                .yield = of(yield),
                .requeue = of(requeue),
                .fault = of(fault)};
  occupancy_.unknown = view.size() - occupancy_.total_slots();
  return {};
}

result<void> ring_summary::decode(std::span<const std::byte> control,
                                  std::span<const std::byte> ring,
                                  const window_opcodes& windows) noexcept {
  const auto view = ring_view::over(control, ring);
  if (!view) {
    clear();
    return std::unexpected(view.error());
  }
  return decode(*view, windows, nullptr);
}

// docs/protocol.md#runtime-counters
runtime_counters ring_summary::counters() const noexcept {
  const std::uint32_t total = occupancy_.total_slots();
  const auto share = [total](std::uint64_t part, std::uint64_t whole) {
    return total == 0 ? 0 : static_cast<std::uint32_t>(part * whole / total);
  };
  return {.total_slots = total,
          .queue_depth = occupancy_.queue_depth(),
          .gpu_idle_slots = occupancy_.empty,
          .gpu_idle_ppm = share(occupancy_.empty, 1'000'000),
          .frontier_density_bps = share(occupancy_.queue_depth(), 10'000),
          .occupancy_proxy_bps = share(total - occupancy_.empty, 10'000),
          .drained_slots = control_.done_count(),
          .unreclaimed_done_slots = occupancy_.done,
          .tenant_fairness_total = sum(control_.tenant_fairness()),
          .tenant_fairness_skew = fairness_skew(control_.tenant_fairness()),
          .priority_fairness_total = sum(control_.priority_fairness()),
          .requeue_slots = occupancy_.requeue,
          .fault_slots = occupancy_.fault};
}

bool operator==(const ring_summary& a, const ring_summary& b) noexcept {
  return a.control_ == b.control_ && a.occupancy_ == b.occupancy_ &&
         std::ranges::equal(a.windows(), b.windows());
}

void ring_telemetry::clear() noexcept {
  summary_.clear();
  slots_.clear();
}

// docs/protocol.md#decode-storage
result<void> ring_telemetry::decode(std::span<const std::byte> control,
                                    std::span<const std::byte> ring,
                                    const window_opcodes& windows) noexcept {
  const auto view = ring_view::over(control, ring);
  if (view) return decode(*view, windows);
  clear();
  return std::unexpected(view.error());
}

result<void> ring_telemetry::decode(const ring_view& view, const window_opcodes& windows) noexcept {
  auto decoded = slots_.resize_for_overwrite(view.size());
  // An empty ring has no table, and decodes like a summary.
  if (decoded) decoded = summary_.decode(view, windows, slots_.data());
  if (!decoded) clear();
  return decoded;
}

result<ring_telemetry> decode(std::span<const std::byte> control, std::span<const std::byte> ring,
                              const window_opcodes& windows) noexcept {
  result<ring_telemetry> made;
  if (auto decoded = made->decode(control, ring, windows); !decoded)
    return std::unexpected(decoded.error());
  return made;
}

}  // namespace megakernel
