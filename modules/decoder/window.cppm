module;
#include <cstddef>
#include <cstdint>
#include <expected>
#include <span>
export module megakernel.decoder:window;
import megakernel.protocol;
import :view;

export namespace megakernel {

/// Slots of one opcode that carry one ticket, and how far they are (SPEC 4, "Windows").
struct window_telemetry {
  word ticket = 0;
  opcode op = opcode::nop;
  std::uint32_t tenant = 0;           ///< of its first slot
  std::uint32_t required_slots = 0;   ///< class 0
  std::uint32_t lookahead_slots = 0;  ///< class 1
  // Slots by status; EMPTY and unknown ones count nowhere.
  std::uint32_t published = 0;
  std::uint32_t claimed = 0;
  std::uint32_t done = 0;
  std::uint32_t wait_io = 0;
  std::uint32_t yield = 0;
  std::uint32_t requeue = 0;
  std::uint32_t fault = 0;
  bool tenants_disagree = false;  ///< some slot's tenant is not `tenant` [ours]

  /// Some of it is still owed.
  [[nodiscard]] constexpr bool active() const noexcept {
    return (published | claimed | wait_io | yield | requeue) != 0;
  }
  friend constexpr bool operator==(const window_telemetry&, const window_telemetry&) = default;
};

namespace detail {
class window_collector;
}

/// The opcodes whose slots form windows, prepared for looking them up in every slot of a ring.
/// Prepare it once and use it for every decode; decoders do not change it.
class window_opcodes {
 public:
  /// No windows.
  window_opcodes() noexcept = default;

  /// Any order, duplicates allowed. Error: `out_of_memory`. O(n log n).
  [[nodiscard]] static result<window_opcodes> of(std::span<const opcode> list) noexcept;

  /// Sorted, each once.
  [[nodiscard]] std::span<const opcode> list() const noexcept {
    return {sorted_.data(), sorted_.size()};
  }
  [[nodiscard]] bool empty() const noexcept { return sorted_.empty(); }

 private:
  friend class detail::window_collector;
  // A slot's opcode is looked up in two steps: `home_`, a byte a hash bucket, says "surely not" to
  // nearly all others without a branch; `ranks_` is exact.
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

/// Groups slots into windows while a ring is scanned. Keeps its storage between rings.
class window_collector {
 public:
  /// Slots looked at in one step.
  static constexpr std::uint32_t block = 128;

  void start(const window_opcodes& opcodes) noexcept;
  /// Takes the window slots among the `count` <= `block` slots at `ring`. Error: `out_of_memory`.
  [[nodiscard]] result<void> collect(const window_opcodes& opcodes, const std::byte* ring,
                                     std::uint32_t count) noexcept;
  /// Sorts by (ticket, opcode) and sums. Error: `out_of_memory`. O(window slots).
  [[nodiscard]] result<void> finish(const window_opcodes& opcodes) noexcept;

  [[nodiscard]] std::span<const window_telemetry> windows() const noexcept {
    return {windows_.data(), windows_.size()};
  }
  void clear() noexcept;

 private:
  // A window slot. Rows are sorted rather than hashed: that is the output's order anyway, the cost
  // does not depend on what tickets a device chooses, and a stable sort keeps "first slot seen".
  struct row {
    std::uint64_t key;  // ticket, then the rank of the opcode in the list
    std::uint32_t tenant;
    std::uint32_t tally;  // status, at most `unknown`, and 16 times the class, at most 2
  };
  static constexpr word unknown = 8;
  [[nodiscard]] result<void> sort() noexcept;

  aligned_array<row> rows_;
  aligned_array<row> spare_;
  aligned_array<window_telemetry> windows_;
  std::uint64_t varying_ = 0;  // key bits in which rows differ
  unsigned rank_bits_ = 0;
};

}  // namespace detail
}  // namespace megakernel
