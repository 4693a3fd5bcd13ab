module;
#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <expected>
#include <span>
#include <utility>
module megakernel.decoder;
import megakernel.protocol;

namespace megakernel {
namespace {

constexpr word spread(opcode op) noexcept { return word(op) * 0x9E37'79B1u; }

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
  const unsigned rank_bits = table_bits(count * 4, 4, 31);
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

void window_collector::clear() noexcept {
  rows_.clear();
  windows_.clear();
}

void window_collector::start(const window_opcodes& opcodes) noexcept {
  clear();
  varying_ = 0;
  rank_bits_ = opcodes.empty()
                   ? 0
                   : static_cast<unsigned>(std::bit_width(opcodes.list().size() - 1));
}

result<void> window_collector::collect(const window_opcodes& opcodes, const std::byte* ring,
                                       std::uint32_t count) noexcept {
  std::array<std::uint8_t, block> candidate;
  static_assert(block <= 256);
  std::uint32_t candidates = 0;
  const std::uint8_t* const home = opcodes.home_.data();
  for (std::uint32_t i = 0; i < count; ++i) {
    const opcode op{load_word(ring + std::size_t{i} * abi::slot_bytes, abi::opcode_word)};
    candidate[candidates] = static_cast<std::uint8_t>(i);
    candidates += home[spread(op) >> opcodes.home_shift_];
  }
  if (candidates == 0) return {};
  if (auto grown = rows_.reserve(rows_.size() + candidates); !grown) return grown;

  row* out = rows_.data() + rows_.size();
  std::uint64_t varying = varying_;
  const std::uint64_t first = rows_.empty() ? ~std::uint64_t{0} : rows_[0].key;
  const std::size_t mask = opcodes.ranks_.size() - 1;
  for (std::uint32_t c = 0; c < candidates; ++c) {
    const std::byte* const slot = ring + std::size_t{candidate[c]} * abi::slot_bytes;
    const opcode op{load_word(slot, abi::opcode_word)};
    std::size_t at = spread(op) >> opcodes.rank_shift_;
    while (opcodes.ranks_[at].op != op && opcodes.ranks_[at].rank_plus_one != 0)
      at = (at + 1) & mask;
    const word rank_plus_one = opcodes.ranks_[at].rank_plus_one;
    if (rank_plus_one == 0) continue;
    const word ticket = load_word(slot, abi::argument_word);
    const word tag = load_word(slot, abi::argument_word + 1);
    const word status = load_word(slot, abi::status_word);
    const std::uint64_t key = std::uint64_t{ticket} << rank_bits_ | (rank_plus_one - 1);
    *out = {key, load_word(slot, abi::tenant_word),
            std::min(status, unknown) | std::min(tag, word{2}) << 4};
    ++out;
    varying |= key ^ first;
  }
  const auto size = static_cast<std::size_t>(out - rows_.data());
  if (rows_.empty() && size != 0) {
    // `first` was not known yet.
    varying = 0;
    for (std::size_t i = 1; i < size; ++i) varying |= rows_.data()[i].key ^ rows_.data()[0].key;
  }
  varying_ = varying;
  rows_.set_size(size);
  return {};
}

result<void> window_collector::sort() noexcept {
  const std::size_t count = rows_.size();
  if (varying_ == 0) return {};
  if (std::ranges::is_sorted(rows_, {}, &row::key)) return {};
  constexpr std::size_t small = 32;
  if (count <= small) {
    for (std::size_t i = 1; i < count; ++i) {
      const row moved = rows_[i];
      std::size_t at = i;
      for (; at > 0 && rows_[at - 1].key > moved.key; --at) rows_[at] = rows_[at - 1];
      rows_[at] = moved;
    }
    return {};
  }
  // Least significant digit first, over the bits that differ and no others.
  // As roomy as `rows_`, because the two change places.
  if (auto sized = spare_.resize_for_overwrite(rows_.capacity()); !sized) return sized;
  spare_.set_size(count);
  constexpr unsigned widest = 11;
  const auto low = static_cast<unsigned>(std::countr_zero(varying_));
  const auto bits = static_cast<unsigned>(std::bit_width(varying_)) - low;
  const unsigned most = count < 16'384 ? 8 : widest;
  const unsigned passes = (bits + most - 1) / most;
  const unsigned digit = (bits + passes - 1) / passes;
  const std::uint64_t mask = (std::uint64_t{1} << digit) - 1;
  for (unsigned pass = 0; pass < passes; ++pass) {
    const unsigned shift = low + pass * digit;
    std::array<std::uint32_t, std::size_t{1} << widest> next{};
    for (const row& r : rows_) ++next[r.key >> shift & mask];
    std::uint32_t sum = 0;
    for (std::size_t d = 0; d <= mask; ++d) sum += std::exchange(next[d], sum);
    for (const row& r : rows_) spare_[next[r.key >> shift & mask]++] = r;
    std::swap(rows_, spare_);
  }
  return {};
}

result<void> window_collector::finish(const window_opcodes& opcodes) noexcept {
  if (rows_.empty()) return {};
  if (auto sorted = sort(); !sorted) return sorted;
  std::size_t distinct = 1;
  for (std::size_t i = 1; i < rows_.size(); ++i) distinct += rows_[i].key != rows_[i - 1].key;
  if (auto sized = windows_.resize_for_overwrite(distinct); !sized) return sized;

  const std::uint64_t rank_mask = (std::uint64_t{1} << rank_bits_) - 1;
  window_telemetry* out = windows_.data();
  for (std::size_t i = 0; i < rows_.size(); ++out) {
    const row& first = rows_[i];
    std::array<std::uint32_t, unknown + 1> by_status{};
    std::array<std::uint32_t, 3> by_class{};
    bool disagree = false;
    do {
      ++by_status[rows_[i].tally & 15];
      ++by_class[rows_[i].tally >> 4];
      disagree |= rows_[i].tenant != first.tenant;
      ++i;
    } while (i < rows_.size() && rows_[i].key == first.key);
    *out = {.ticket = static_cast<word>(first.key >> rank_bits_),
            .op = opcodes.list()[first.key & rank_mask],
            .tenant = first.tenant,
            .required_slots = by_class[word(window_class::required)],
            .lookahead_slots = by_class[word(window_class::lookahead)],
            .published = by_status[word(slot_status::published)],
            .claimed = by_status[word(slot_status::claimed)],
            .done = by_status[word(slot_status::done)],
            .wait_io = by_status[word(slot_status::wait_io)],
            .yield = by_status[word(slot_status::yield)],
            .requeue = by_status[word(slot_status::requeue)],
            .fault = by_status[word(slot_status::fault)],
            .tenants_disagree = disagree};
  }
  return {};
}

}  // namespace detail
}  // namespace megakernel
