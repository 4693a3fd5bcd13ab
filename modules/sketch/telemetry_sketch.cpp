// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
module;
#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <expected>
#include <limits>
#include <span>
#include <utility>
module megakernel.sketch;
import megakernel.decoder;
import megakernel.protocol;

namespace megakernel {
namespace {

constexpr std::uint32_t block_slots = 256;
constexpr unsigned most_table_bits = 10;
constexpr unsigned probes = 4;
/// No probe wraps: the last home has room behind it.
constexpr std::size_t table_size(unsigned bits) { return (std::size_t{1} << bits) + probes - 1; }
constexpr std::size_t tables = 3;
/// Blocks that settle whether a table pays, and for how many it is left alone when it does not.
constexpr unsigned watch_blocks = 8;
constexpr unsigned bypass_blocks = 63 * watch_blocks;
/// How far ahead of the slot being read to prefetch: the hardware's prefetchers stop at each page.
constexpr std::size_t prefetch_slots = 64;

}  // namespace

/// Counts repeated keys before they reach a sketch: adds are linear, so one add a distinct key is
/// enough.
///
/// A small open-addressing table. A key has its first few entries after its home or none: when
/// they are taken by others, it goes to the sketch directly, which costs what it always did. No
/// choice of keys makes a look-up longer. Where most keys are not in the table, it is emptied and
/// left alone for a while.
class telemetry_sketch::combiner {
 public:
  /// `table` has table_size(bits) entries. Low halves of counts go to `all`, high halves to
  /// `active`, where there is one.
  combiner(combined* table, unsigned bits, count_min_sketch& all,
           count_min_sketch* active = nullptr) noexcept
      : table_(table), size_(table_size(bits)), shift_(32 - bits), all_(all), active_(active) {
    std::fill_n(table_, size_, combined{});
  }

  /// Counts one slot with `key`, and one active slot more if `active`.
  inline void take(std::uint32_t key, std::uint64_t active = 0) noexcept {
    const std::uint64_t one = 1 | active << 32;
    combined* entry = table_ + (key * 0x9E37'79B1u >> shift_);
    for (unsigned probe = 0; probe < probes; ++probe, ++entry) {
      // A free entry may have the key, too: it has been zeroed.
      if (entry->key == key) {
        entry->counts += one;
        return;
      }
      if (entry->counts == 0) {
        *entry = {.key = key, .counts = one};
        ++useless_;
        return;
      }
    }
    missed_[misses_++] = {.key = key, .counts = one};
    ++useless_;
  }

  [[nodiscard]] bool bypassed() const noexcept { return bypassed_blocks_ != 0; }
  /// Instead of take() while bypassed().
  inline void pass(std::uint32_t key, std::uint64_t active = 0) noexcept {
    spill({.key = key, .counts = 1 | active << 32});
  }

  /// After at most `block_slots` keys.
  void end_block() noexcept {
    for (std::uint32_t i = 0; i < misses_; ++i) spill(missed_[i]);
    misses_ = 0;
    if (bypassed()) {
      --bypassed_blocks_;
    } else if (++watched_blocks_ == watch_blocks) {
      if (useless_ > watch_blocks * block_slots / 2) {
        flush();
        bypassed_blocks_ = bypass_blocks;
      }
      watched_blocks_ = useless_ = 0;
    }
  }

  /// Moves all counts to the sketches.
  void flush() noexcept {
    for (std::size_t i = 0; i < size_; ++i) {
      if (table_[i].counts != 0) spill(table_[i]);
      table_[i] = {};
    }
  }

 private:
  inline void spill(const combined& from) noexcept {
    const std::uint64_t count = from.counts & 0xFFFF'FFFFu;
    const std::uint64_t active = from.counts >> 32;
    std::uint64_t* const all = all_.counters_.data();
    if (active == 0) {
      all_.each_bucket(from.key, [&](std::size_t at) { all[at] += count; });
    } else {
      std::uint64_t* const of_active = active_->counters_.data();
      all_.each_bucket(from.key, [&](std::size_t at) {
        all[at] += count;
        of_active[at] += active;
      });
    }
  }

  combined* table_;
  std::size_t size_;
  unsigned shift_;
  count_min_sketch& all_;
  count_min_sketch* active_;
  unsigned bypassed_blocks_ = 0;
  unsigned watched_blocks_ = 0;
  std::uint32_t useless_ = 0;  // keys of the watched blocks that were not in the table
  std::uint32_t misses_ = 0;
  std::array<combined, block_slots> missed_;
};

constexpr std::array<count_min_sketch telemetry_sketch::*, 5> telemetry_sketch::sketches{
    &telemetry_sketch::ring_opcode_, &telemetry_sketch::active_opcode_, &telemetry_sketch::tenant_,
    &telemetry_sketch::status_, &telemetry_sketch::dispatch_metrics_};

result<telemetry_sketch> telemetry_sketch::of_shape(std::uint64_t depth,
                                                    std::uint64_t width) noexcept {
  telemetry_sketch made;
  if (auto reset = made.reset_shape(depth, width); !reset) return std::unexpected(reset.error());
  return made;
}

result<telemetry_sketch> telemetry_sketch::copy() const noexcept {
  telemetry_sketch made;
  for (const auto sketch : sketches) {
    if (auto copied = (made.*sketch).assign(this->*sketch); !copied)
      return std::unexpected(copied.error());
  }
  return made;
}

result<void> telemetry_sketch::reset_shape(std::uint64_t depth, std::uint64_t width) noexcept {
  if (shape() == sketch_shape{depth, width} && depth != 0) {
    clear();
    return {};
  }
  const auto counters = detail::counters_of({depth, width});
  if (!counters) return std::unexpected(counters.error());
  // Room for all five before any is changed.
  for (const auto sketch : sketches) {
    if (auto reserved = (this->*sketch).counters_.reserve(*counters); !reserved) return reserved;
  }
  for (const auto sketch : sketches) (void)(this->*sketch).reset_shape(depth, width);
  return {};
}

void telemetry_sketch::clear() noexcept {
  ring_opcode_.clear();
  active_opcode_.clear();
  tenant_.clear();
  status_.clear();
  dispatch_metrics_.clear();
}

result<void> telemetry_sketch::assign(const ring_telemetry& telemetry) noexcept {
  if (shape().depth == 0) {
    return std::unexpected(error{.code = error_code::sketch_dim_zero, .buffer = buffer::sketch});
  }
  if (auto sized = scratch_.resize_for_overwrite(tables * table_size(most_table_bits)); !sized)
    return sized;
  clear();

  const std::span<const slot_snapshot> slots = telemetry.slots();
  const ring_occupancy& occupancy = telemetry.occupancy();
  // A table for a short ring is short: it has to be cleared and flushed.
  const unsigned bits =
      std::clamp(static_cast<unsigned>(std::bit_width(slots.size())), 2u, most_table_bits);
  combined* const scratch = scratch_.data();
  combiner opcodes(scratch, bits, ring_opcode_, &active_opcode_);
  combiner tenants(scratch + table_size(bits), bits, tenant_);
  combiner statuses(scratch + 2 * table_size(bits), bits, status_);

  for (std::size_t first = 0; first < slots.size(); first += block_slots) {
    const auto block =
        slots.subspan(first, std::min<std::size_t>(block_slots, slots.size() - first));
    const std::size_t ahead =
        slots.size() - first - block.size() >= prefetch_slots ? prefetch_slots : 0;
    const auto each = [&](auto opcode_of, auto tenant_of) {
      for (const slot_snapshot& slot : block) {
        __builtin_prefetch(&slot + ahead);
        opcode_of(word(slot.op), is_active(slot.status));
        tenant_of(slot.tenant);
      }
    };
    const auto take_opcode = [&](word op, bool active) { opcodes.take(op, active); };
    const auto pass_opcode = [&](word op, bool active) { opcodes.pass(op, active); };
    const auto take_tenant = [&](word tenant) { tenants.take(tenant); };
    const auto pass_tenant = [&](word tenant) { tenants.pass(tenant); };
    if (!opcodes.bypassed()) {
      tenants.bypassed() ? each(take_opcode, pass_tenant) : each(take_opcode, take_tenant);
    } else {
      tenants.bypassed() ? each(pass_opcode, pass_tenant) : each(pass_opcode, take_tenant);
    }
    if (occupancy.unknown != 0) {
      for (const slot_snapshot& slot : block) {
        if (is_known(slot.status)) continue;
        statuses.bypassed() ? statuses.pass(word(slot.status)) : statuses.take(word(slot.status));
      }
      statuses.end_block();
    }
    opcodes.end_block();
    tenants.end_block();
  }
  opcodes.flush();
  tenants.flush();
  statuses.flush();

  // The decoder has counted the known statuses.
  using enum slot_status;
  const std::array<std::pair<slot_status, std::uint32_t>, 8> known{{
      {empty, occupancy.empty},
      {published, occupancy.published},
      {claimed, occupancy.claimed},
      {done, occupancy.done},
      {wait_io, occupancy.wait_io},
      {yield, occupancy.yield},
      {requeue, occupancy.requeue},
      {fault, occupancy.fault},
  }};
  // Nothing below overflows: at most 2^32 slots and 32 counters of 32 bits.
  for (const auto& [status, count] : known) (void)status_.add(word(status), count);
  count_dispatches(telemetry.control());
  set_totals(slots.size(), occupancy.active());
  return {};
}

result<void> telemetry_sketch::assign(const ring_digest& digest) noexcept {
  const digest_request& made_for = digest.request();
  if (auto reset = reset_shape(made_for.depth, made_for.width); !reset) return reset;
  // As a digest has them.
  const std::pair<count_min_sketch&, ring_sketch> all[]{
      {ring_opcode_, ring_sketch::ring_opcode},
      {active_opcode_, ring_sketch::active_opcode},
      {tenant_, ring_sketch::tenant},
      {status_, ring_sketch::status},
  };
  for (const auto& [sketch, which] : all)
    std::ranges::copy(digest.counters(which), sketch.counters_.begin());
  const ring_summary& ring = digest.summary();
  count_dispatches(ring.control());
  set_totals(ring.occupancy().total_slots(), ring.occupancy().active());
  return {};
}

void telemetry_sketch::count_dispatches(const control_snapshot& control) noexcept {
  // 32 counters of 32 bits do not overflow.
  for (const metric m : control.metrics()) (void)dispatch_metrics_.add(m.index, m.count);
}

void telemetry_sketch::set_totals(std::uint64_t slots, std::uint64_t active) noexcept {
  ring_opcode_.total_ = tenant_.total_ = status_.total_ = slots;
  active_opcode_.total_ = active;
}

result<void> telemetry_sketch::merge(const telemetry_sketch& other) noexcept {
  for (const auto sketch : sketches) {
    if (auto checked = (this->*sketch).check_merge(other.*sketch); !checked) return checked;
  }
  std::uint64_t slots = 0;
  if (__builtin_add_overflow(total_slots(), other.total_slots(), &slots)) {
    return std::unexpected(error{.code = error_code::sketch_merge_overflow,
                                 .buffer = buffer::sketch,
                                 .index = ring_opcode_.counters().size(),
                                 .found = other.total_slots(),
                                 .bound = total_slots()});
  }
  for (const auto sketch : sketches) (this->*sketch).merge_unchecked(other.*sketch);
  return {};
}

bool operator==(const telemetry_sketch& a, const telemetry_sketch& b) noexcept {
  return a.ring_opcode_ == b.ring_opcode_ && a.active_opcode_ == b.active_opcode_ &&
         a.tenant_ == b.tenant_ && a.status_ == b.status_ &&
         a.dispatch_metrics_ == b.dispatch_metrics_;
}

}  // namespace megakernel
