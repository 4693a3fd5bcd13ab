// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
module;
#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <expected>
#include <span>
#include <utility>
module megakernel.decoder;
import megakernel.protocol;
import :stream;

namespace megakernel {
namespace {

/// log2 of a table of at least `entries`, within [least, most].
unsigned table_bits(std::size_t entries, unsigned least, unsigned most) noexcept {
  return std::clamp(static_cast<unsigned>(std::bit_width(entries - 1)), least, most);
}

}  // namespace

result<window_opcodes> window_opcodes::of(std::span<const opcode> list) noexcept {
  window_opcodes prepared;
  if (list.empty()) return prepared;
  if (auto sized = prepared.sorted_.resize_for_overwrite(list.size()); !sized)
    return std::unexpected(sized.error());
  std::ranges::copy(list, prepared.sorted_.begin());
  std::ranges::sort(prepared.sorted_);
  const auto tail = std::ranges::unique(prepared.sorted_);
  const auto count = static_cast<std::size_t>(tail.begin() - prepared.sorted_.begin());
  prepared.sorted_.set_size(count);

  const unsigned home_bits = table_bits(count * 16, 10, 20);
  const unsigned rank_bits = table_bits(count * 4, 4, 32);
  prepared.home_shift_ = 32 - home_bits;
  prepared.rank_shift_ = 32 - rank_bits;
  if (auto sized = prepared.home_.resize_for_overwrite(std::size_t{1} << home_bits); !sized)
    return std::unexpected(sized.error());
  if (auto sized = prepared.ranks_.resize_for_overwrite(std::size_t{1} << rank_bits); !sized)
    return std::unexpected(sized.error());
  prepared.home_.fill_zero();
  prepared.ranks_.fill_zero();
  const std::size_t mask = prepared.ranks_.size() - 1;
  for (std::size_t rank = 0; rank < count; ++rank) {
    const opcode op = prepared.sorted_[rank];
    prepared.home_[spread(op) >> prepared.home_shift_] = 1;
    std::size_t at = spread(op) >> prepared.rank_shift_;
    while (prepared.ranks_[at].rank_plus_one != 0) at = (at + 1) & mask;
    prepared.ranks_[at] = {op, static_cast<word>(rank + 1)};
  }
  return prepared;
}

namespace detail {
namespace {

constexpr word unknown_status = 8;
constexpr word neither_class = 2;

/// One slot's share of a window's nine counts, `required_slots` to `fault`.
using increment = std::array<std::uint32_t, 9>;
static_assert(offsetof(window_telemetry, fault) - offsetof(window_telemetry, required_slots) ==
              sizeof(increment) - sizeof(std::uint32_t));

constexpr std::size_t tallies = std::size_t{16} * (neither_class + 1);
// docs/protocol.md#window-counts
constexpr std::array<increment, tallies> increments = [] {
  constexpr std::array<slot_status, 7> counted{
      slot_status::published, slot_status::claimed, slot_status::done, slot_status::wait_io,
      slot_status::yield,     slot_status::requeue, slot_status::fault};
  std::array<increment, tallies> table{};
  for (std::size_t tally = 0; tally < tallies; ++tally) {
    if (tally >> 4 < neither_class) table[tally][tally >> 4] = 1;
    for (std::size_t i = 0; i < counted.size(); ++i)
      table[tally][2 + i] = slot_status{static_cast<word>(tally & 15)} == counted[i];
  }
  return table;
}();

template <class Row>
void insertion_sort(std::span<Row> rows) noexcept {
  for (std::size_t i = 1; i < rows.size(); ++i) {
    const Row moved = rows[i];
    std::size_t at = i;
    for (; at > 0 && rows[at - 1].key() > moved.key(); --at) rows[at] = rows[at - 1];
    rows[at] = moved;
  }
}

}  // namespace

void window_collector::clear() noexcept {
  packed_.rows.clear();
  wide_.rows.clear();
  windows_.clear();
}

void window_collector::start(const window_opcodes& opcodes) noexcept {
  clear();
  any_ = 0;
  all_ = ~std::uint64_t{0};
  rank_bits_ =
      opcodes.empty() ? 0 : static_cast<unsigned>(std::bit_width(opcodes.list().size() - 1));
  packs_ = rank_bits_ <= packed_row::most_rank_bits;
}

template <class Row>
result<std::size_t> window_collector::take(aligned_array<Row>& rows, const window_opcodes& opcodes,
                                           const std::byte* ring,
                                           std::span<const std::uint8_t> candidates) noexcept {
  if (auto grown = rows.reserve(rows.size() + candidates.size()); !grown)
    return std::unexpected(grown.error());
  const window_opcodes::ranked* const ranks = opcodes.ranks_.data();
  const std::size_t mask = opcodes.ranks_.size() - 1;
  Row* out = rows.data() + rows.size();
  std::uint64_t any = any_;
  std::uint64_t all = all_;
  std::size_t taken = 0;
  for (; taken < candidates.size(); ++taken) {
    const std::byte* const slot = ring + std::size_t{candidates[taken]} * abi::slot_bytes;
    const opcode op{load_word(slot, abi::opcode_word)};
    std::size_t at = window_opcodes::spread(op) >> opcodes.rank_shift_;
    while (ranks[at].op != op && ranks[at].rank_plus_one != 0) at = (at + 1) & mask;
    if (ranks[at].rank_plus_one == 0) continue;
    const std::uint64_t key = std::uint64_t{load_word(slot, abi::argument_word)} << rank_bits_ |
                              (ranks[at].rank_plus_one - 1);
    const word tenant = load_word(slot, abi::tenant_word);
    if (!Row::holds(tenant)) break;
    const word status = std::min(load_word(slot, abi::status_word), unknown_status);
    const word tag = std::min(load_word(slot, abi::argument_word + 1), neither_class);
    *out++ = Row::of(key, tenant, status | tag << 4);
    any |= key;
    all &= key;
  }
  rows.set_size(static_cast<std::size_t>(out - rows.data()));
  any_ = any;
  all_ = all;
  return taken;
}

result<void> window_collector::collect(const window_opcodes& opcodes, const std::byte* ring,
                                       std::span<const std::uint8_t> candidates) noexcept {
  if (packs_) {
    const auto taken = take(packed_.rows, opcodes, ring, candidates);
    if (!taken) return std::unexpected(taken.error());
    candidates = candidates.subspan(*taken);
    if (candidates.empty()) return {};
    if (auto prepared = packed_.prepare(); !prepared) return prepared;
    if (auto grown = wide_.rows.reserve(packed_.rows.size()); !grown) return grown;
    for (const packed_row& row : packed_.rows)
      wide_.rows.push_within_capacity({row.key(), row.tenant(), row.tally()});
    packed_.rows.clear();
    packs_ = false;
  }
  const auto taken = take(wide_.rows, opcodes, ring, candidates);
  return taken ? result<void>() : std::unexpected(taken.error());
}

/// Up to so many rows an insertion sort is the faster one.
constexpr std::size_t insertion_rows = 32;
constexpr unsigned widest_digit = 12;
constexpr std::size_t most_digits = std::size_t{(64 + widest_digit - 1) / widest_digit}
                                    << widest_digit;
/// Where there is no room for more rows than this, all digits are narrow, and a tenth will do.
constexpr std::size_t few_rows = 4096;
constexpr std::size_t few_digits = std::size_t{64 / 8} << 8;

template <class Row>
result<void> window_collector::sorter<Row>::prepare() noexcept {
  if (rows.capacity() <= insertion_rows) return {};
  // As roomy as `rows`, because the two change places, and for any number of passes: later rings
  // of this size find all they need.
  const std::size_t digits = rows.capacity() <= few_rows ? few_digits : most_digits;
  if (auto sized = next.resize_for_overwrite(digits); !sized) return sized;
  return spare.resize_for_overwrite(rows.capacity());
}

template <class Row>
result<void> window_collector::sorter<Row>::sort(std::uint64_t varying) noexcept {
  if (rows.size() <= insertion_rows) {
    insertion_sort(std::span(rows.data(), rows.size()));
    return {};
  }
  if (auto prepared = prepare(); !prepared) return prepared;
  if (varying == 0) return {};
  // Least significant digit first, over the bits that differ and no others. One reading of the
  // rows counts the digits of every pass, and notices rows that are in order as they stand.
  const auto low = static_cast<unsigned>(std::countr_zero(varying));
  const auto bits = static_cast<unsigned>(std::bit_width(varying)) - low;
  const unsigned most = rows.size() < 16'384 ? 8 : widest_digit;
  const unsigned passes = (bits + most - 1) / most;
  const unsigned digit = (bits + passes - 1) / passes;
  const std::uint64_t mask = (std::uint64_t{1} << digit) - 1;
  std::fill_n(next.begin(), std::size_t{passes} << digit, 0);
  bool ascending = true;
  std::uint64_t previous = 0;
  for (const Row& row : rows) {
    ascending &= previous <= row.key();
    previous = row.key();
    for (unsigned pass = 0; pass < passes; ++pass)
      ++next[(std::size_t{pass} << digit) + (row.key() >> (low + pass * digit) & mask)];
  }
  if (ascending) return {};
  spare.set_size(rows.size());
  for (unsigned pass = 0; pass < passes; ++pass) {
    const unsigned shift = low + pass * digit;
    std::uint32_t* const to = next.data() + (std::size_t{pass} << digit);
    std::uint32_t sum = 0;
    for (std::size_t d = 0; d <= mask; ++d) sum += std::exchange(to[d], sum);
    Row* const sorted = spare.data();
    for (const Row& row : rows) sorted[to[row.key() >> shift & mask]++] = row;
    std::swap(rows, spare);
  }
  return {};
}

template <class Row>
result<void> window_collector::group(sorter<Row>& sorted, const window_opcodes& opcodes) noexcept {
  if (auto done = sorted.sort(any_ & ~all_); !done) return done;
  // Windows are a few slots long, so a branch on "a new one begins" would be a coin toss. Every
  // row therefore writes its window's record as it stands so far, into a stage that is copied out
  // whenever it is full.
  constexpr std::size_t staged = 64;
  alignas(64) std::array<window_telemetry, staged> stage;
  const bool streams = sorted.rows.size() * sizeof(window_telemetry) > 4 * streaming_bytes;
  const auto copy_out = [&](std::size_t count) -> result<void> {
    if (auto grown = windows_.reserve(windows_.size() + staged); !grown) return grown;
    window_telemetry* const out = windows_.data() + windows_.size();
    if (streams) {
      stream<sizeof stage>(out, stage.data());
    } else {
      std::memcpy(out, stage.data(), count * sizeof(window_telemetry));
    }
    windows_.set_size(windows_.size() + count);
    return {};
  };

  const std::uint64_t rank_mask = (std::uint64_t{1} << rank_bits_) - 1;
  const opcode* const ops = opcodes.list().data();
  increment counts{};
  std::uint64_t key = ~sorted.rows[0].key();
  std::uint32_t tenant = 0;
  std::uint32_t disagree = 0;
  std::size_t at = ~std::size_t{0};
  for (const Row& row : sorted.rows) {
    const bool fresh = row.key() != key;
    const std::uint32_t keep = std::uint32_t{fresh} - 1;
    at += fresh;
    if (at == staged) {
      if (auto copied = copy_out(staged); !copied) return copied;
      at = 0;
    }
    key = row.key();
    // docs/protocol.md#window-tenant
    tenant = fresh ? row.tenant() : tenant;
    disagree = (disagree & keep) | (row.tenant() ^ tenant);
    const increment& more = increments[row.tally()];
    for (std::size_t i = 0; i < counts.size(); ++i) counts[i] = (counts[i] & keep) + more[i];
    window_telemetry& out = stage[at];
    out.ticket = static_cast<word>(key >> rank_bits_);
    out.op = ops[key & rank_mask];
    out.tenant = tenant;
    std::memcpy(reinterpret_cast<std::byte*>(&out) + offsetof(window_telemetry, required_slots),
                counts.data(), sizeof counts);
    out.tenants_disagree = disagree != 0;
  }
  if (auto copied = copy_out(at + 1); !copied) return copied;
  if (streams) finish_streaming();
  return {};
}

// docs/protocol.md#windows
result<void> window_collector::finish(const window_opcodes& opcodes) noexcept {
  if (!packed_.rows.empty()) return group(packed_, opcodes);
  if (!wide_.rows.empty()) return group(wide_, opcodes);
  return {};
}

}  // namespace detail
}  // namespace megakernel
