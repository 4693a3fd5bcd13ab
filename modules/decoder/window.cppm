// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
module;
#include <cstddef>
#include <cstdint>
#include <expected>
#include <span>
export module megakernel.decoder:window;
import megakernel.protocol;
import :view;

export namespace megakernel {

/// Slots of one opcode that carry one ticket, and how far they are. docs/protocol.md#windows
struct window_telemetry {
  word ticket = 0;
  opcode op = opcode::nop;
  std::uint32_t tenant = 0;           ///< of its first slot
  std::uint32_t required_slots = 0;   ///< class 0
  std::uint32_t lookahead_slots = 0;  ///< class 1
  std::uint32_t published = 0;        ///< slots by status; EMPTY and unknown count nowhere
  std::uint32_t claimed = 0;
  std::uint32_t done = 0;
  std::uint32_t wait_io = 0;
  std::uint32_t yield = 0;
  std::uint32_t requeue = 0;
  std::uint32_t fault = 0;
  bool tenants_disagree = false;  ///< some slot's tenant is not `tenant`

  /// Some of it is still outstanding. docs/protocol.md#window-counts
  [[nodiscard]] constexpr bool active() const noexcept {
    return (published | claimed | wait_io | yield | requeue) != 0;
  }
  friend constexpr bool operator==(const window_telemetry&, const window_telemetry&) = default;
};

namespace detail {
class window_collector;
class window_prefilter;
}  // namespace detail

/// The opcodes whose slots form windows, prepared for looking them up in every slot of a ring.
/// Prepare it once and use it for every decode; decoders do not change it.
class window_opcodes {
 public:
  /// No windows.
  window_opcodes() noexcept = default;

  /// Any order, duplicates allowed. Error: `out_of_memory`. O(n log n).
  [[nodiscard]] static result<window_opcodes> of(std::span<const opcode> list) noexcept;

  /// Sorted, each once.
  [[nodiscard]] inline std::span<const opcode> list() const noexcept {
    return {sorted_.data(), sorted_.size()};
  }
  [[nodiscard]] inline bool empty() const noexcept { return sorted_.empty(); }

 private:
  friend class detail::window_collector;
  friend class detail::window_prefilter;
  // A slot's opcode is looked up in two steps: `home_`, a byte a hash bucket, says "surely not" to
  // nearly all others without a branch; `ranks_` is exact.
  static constexpr word spread(opcode op) noexcept { return word(op) * 0x9E37'79B1u; }
  struct ranked {
    opcode op;
    word rank_plus_one;  // zero: free
  };
  aligned_array<opcode> sorted_;
  aligned_array<std::uint8_t> home_;
  aligned_array<ranked> ranks_;
  unsigned home_shift_ = 31;
  unsigned rank_shift_ = 31;
};

namespace detail {

/// A window slot as the collector keeps it: the window it belongs to, its tenant, and its tally.
///
/// The key is the ticket, then the rank of the opcode in the list. The tally is the status, at
/// most 8 for unknown, and 16 times the class, at most 2 for neither.
struct wide_row {
  std::uint64_t whole_key;
  std::uint32_t whole_tenant;
  std::uint32_t whole_tally;
  [[nodiscard]] static constexpr bool holds(std::uint32_t) noexcept { return true; }
  [[nodiscard]] static constexpr wide_row of(std::uint64_t key, std::uint32_t tenant,
                                             std::uint32_t tally) noexcept {
    return {key, tenant, tally};
  }
  [[nodiscard]] constexpr std::uint64_t key() const noexcept { return whole_key; }
  [[nodiscard]] constexpr std::uint32_t tenant() const noexcept { return whole_tenant; }
  [[nodiscard]] constexpr std::uint32_t tally() const noexcept { return whole_tally; }
};

/// The same in half the bytes, for the tenants and opcode lists that nearly everybody has.
struct packed_row {
  static constexpr unsigned tally_bits = 6;
  static constexpr unsigned tenant_bits = 5;
  static constexpr unsigned most_rank_bits = 64 - 32 - tenant_bits - tally_bits;
  std::uint64_t bits;
  [[nodiscard]] static constexpr bool holds(std::uint32_t tenant) noexcept {
    return tenant < 1u << tenant_bits;
  }
  [[nodiscard]] static constexpr packed_row of(std::uint64_t key, std::uint32_t tenant,
                                               std::uint32_t tally) noexcept {
    return {key << (tenant_bits + tally_bits) | tenant << tally_bits | tally};
  }
  [[nodiscard]] constexpr std::uint64_t key() const noexcept {
    return bits >> (tenant_bits + tally_bits);
  }
  [[nodiscard]] constexpr std::uint32_t tenant() const noexcept {
    return static_cast<std::uint32_t>(bits >> tally_bits) & ((1u << tenant_bits) - 1);
  }
  [[nodiscard]] constexpr std::uint32_t tally() const noexcept {
    return static_cast<std::uint32_t>(bits) & ((1u << tally_bits) - 1);
  }
};

/// The first step of the look-up, small enough to live in registers during a scan.
class window_prefilter {
 public:
  explicit window_prefilter(const window_opcodes& opcodes) noexcept
      : home_(opcodes.home_.data()), shift_(opcodes.home_shift_) {}
  /// 0: surely not in the list. 1: probably. Not for an empty list.
  [[nodiscard]] inline std::uint32_t maybe(opcode op) const noexcept {
    return home_[window_opcodes::spread(op) >> shift_];
  }

 private:
  const std::uint8_t* home_;
  unsigned shift_;
};

/// Groups slots into windows while a ring is scanned. Keeps its storage between rings.
///
/// Rows are sorted rather than hashed: that is the output's order anyway, the cost does not depend
/// on what tickets a device chooses, and a stable sort keeps "first slot seen".
class window_collector {
 public:
  /// Slots looked at in one step.
  static constexpr std::uint32_t block = 32;

  void start(const window_opcodes& opcodes) noexcept;
  /// Takes the window slots among `candidates`, slot indices ascending from the slot at `ring`.
  /// Error: `out_of_memory`.
  [[nodiscard]] result<void> collect(const window_opcodes& opcodes, const std::byte* ring,
                                     std::span<const std::uint8_t> candidates) noexcept;
  /// Sorts by (ticket, opcode) and sums. Error: `out_of_memory`. O(window slots).
  [[nodiscard]] result<void> finish(const window_opcodes& opcodes) noexcept;

  /// Instead of all that, for windows that were grouped elsewhere: forgets what there is and makes
  /// room for so many. Error: `out_of_memory`.
  [[nodiscard]] inline result<void> start_list(std::size_t count) noexcept {
    clear();
    return windows_.reserve(count);
  }
  /// Adds the next one, in order.
  inline void list(const window_telemetry& window) noexcept {
    windows_.push_within_capacity(window);
  }

  [[nodiscard]] inline std::span<const window_telemetry> windows() const noexcept {
    return {windows_.data(), windows_.size()};
  }
  void clear() noexcept;

 private:
  template <class Row>
  struct sorter {
    aligned_array<Row> rows;
    aligned_array<Row> spare;
    aligned_array<std::uint32_t> next;  // where the next row with each digit goes
    [[nodiscard]] result<void> prepare() noexcept;
    [[nodiscard]] result<void> sort(std::uint64_t varying) noexcept;
  };
  // Appends a row for each window slot among the candidates, up to the first that `Row` cannot
  // hold; returns how many candidates it got through.
  template <class Row>
  [[nodiscard]] result<std::size_t> take(aligned_array<Row>& rows, const window_opcodes& opcodes,
                                         const std::byte* ring,
                                         std::span<const std::uint8_t> candidates) noexcept;
  template <class Row>
  [[nodiscard]] result<void> group(sorter<Row>& sorted, const window_opcodes& opcodes) noexcept;

  // One of the two holds all rows.
  sorter<packed_row> packed_;
  sorter<wide_row> wide_;
  bool packs_ = true;
  aligned_array<window_telemetry> windows_;
  std::uint64_t any_ = 0;  // key bits that some row has
  std::uint64_t all_ = 0;  // key bits that every row has
  unsigned rank_bits_ = 0;
};

}  // namespace detail
}  // namespace megakernel
