// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include "standard.h"

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <expected>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

import megakernel;

/// The workload of `megakernel run`: valid work of many kinds, the same for the same seed.
namespace megakernel::tool {

/// The kind of one publication. `window`, `batch` take several slots, the others one.
enum class work_kind : std::uint8_t {
  nop,
  store,
  add,
  load,
  cas,
  memcpy,
  dfa,
  printf,
  packed,  ///< NOP, ATOMIC_ADD and STORE_U32 in one slot
  window,  ///< slots of one opcode and ticket, required ones and lookahead
  batch,   ///< NOPs and ATOMIC_ADDs, then a fence
  user,    ///< a checksum of an arena block
  bad,     ///< a store outside the buffer, which faults
};
inline constexpr std::size_t work_kinds = 13;

/// `"nop"` and so on, as the command line spells them.
[[nodiscard]] std::string_view to_string(work_kind kind) noexcept;

/// How often each kind or priority occurs, in shares of their sum.
template <std::size_t N>
struct mix {
  std::array<std::uint32_t, N> weights{};
  [[nodiscard]] constexpr std::uint64_t total() const noexcept {
    std::uint64_t sum = 0;
    for (const std::uint32_t w : weights) sum += w;
    return sum;
  }
  friend constexpr bool operator==(const mix&, const mix&) = default;
};
using work_mix = mix<work_kinds>;
using priority_mix = mix<abi::priorities>;

/// `"nop=4,store=2,user"`: a name without a weight counts once, what is not named does not occur.
/// The error is a sentence.
[[nodiscard]] std::expected<work_mix, std::string> parse_work_mix(std::string_view text);
[[nodiscard]] std::expected<priority_mix, std::string> parse_priority_mix(std::string_view text);
/// The same back, without what does not occur.
[[nodiscard]] std::string to_text(const work_mix& of);
[[nodiscard]] std::string to_text(const priority_mix& of);

/// Everything but the faulting and the printing kind.
[[nodiscard]] work_mix usual_work() noexcept;
[[nodiscard]] priority_mix usual_priorities(schedule order) noexcept;

/// A failure that a run may be made to suffer from.
enum class injection : std::uint8_t {
  nothing,
  stall,         ///< a handler on every lane does not return
  dead,          ///< lanes stop passing, and SHUTDOWN is not set
  fault,         ///< slots with bad arguments
  unauthorised,  ///< a tenant's mask becomes zero
  quota,         ///< a tenant's bucket becomes empty and is not refilled
  lost_io,       ///< LOAD_MISS that nobody answers
  torn,          ///< a producer stays inside a slot
  regressed,     ///< the done count is set back
};
inline constexpr std::size_t injections = 9;

struct run_profile {
  bool on_gpu = false;                        ///< lanes of a GPU; else threads of this machine
  gpu_process gpu_in = gpu_process::shared;   ///< whose process drives it
  ring_memory ring = ring_memory::automatic;  ///< of a GPU's lanes
  std::uint32_t workers = 1;                  ///< lanes
  std::uint32_t producers = 1;
  std::uint32_t slots = 1024;
  std::uint32_t tenants = 4;
  std::optional<std::chrono::nanoseconds> duration{};  ///< of the load; nothing: until `count`
  std::optional<std::uint64_t> count{};                ///< slots after which the load ends
  std::optional<double> rate{};                        ///< slots a second; nothing: closed loop
  std::optional<std::uint32_t> in_flight{};  ///< slots, of the closed loop; nothing: `usual`
  schedule order = schedule::ring_order;
  work_mix work = usual_work();
  priority_mix priorities = usual_priorities(schedule::ring_order);
  bool spin = false;                     ///< workers poll without a pause
  std::optional<std::uint32_t> quota{};  ///< claims a tenant a second
  std::uint64_t seed = 1;
  std::chrono::nanoseconds drain =
      std::chrono::seconds(5);  ///< for what is outstanding after the load
  injection inject = injection::nothing;
  std::chrono::nanoseconds inject_after{};  ///< since the load began
  /// How long something must be wrong before it is an alarm.
  std::chrono::nanoseconds hold_time = std::chrono::seconds(1);

  /// Slots that one producer may have published and not yet seen finished; at least 1.
  [[nodiscard]] std::uint32_t outstanding() const noexcept;
};

/// Why there can be no such run, in a sentence.
[[nodiscard]] std::optional<std::string> impossible(const run_profile& profile);

/// Numbers that look random and are the same for the same seed (splitmix64).
class random_numbers {
 public:
  explicit constexpr random_numbers(std::uint64_t seed) noexcept : state_(seed) {}
  constexpr std::uint64_t next() noexcept {
    std::uint64_t x = state_ += 0x9E37'79B9'7F4A'7C15u;
    x = (x ^ x >> 30) * 0xBF58'476D'1CE4'E5B9u;
    x = (x ^ x >> 27) * 0x94D0'49BB'1331'11EBu;
    return x ^ x >> 31;
  }
  /// Below `bound`, which is not zero.
  constexpr std::uint32_t below(std::uint32_t bound) noexcept {
    return static_cast<std::uint32_t>((next() >> 32) * bound >> 32);
  }

 private:
  std::uint64_t state_;
};

/// Where in the observable words and in the arena the work goes. Every word belongs to one kind, so
/// that what stands there in the end can be checked.
namespace work_places {
inline constexpr word fence_tag = 0;
inline constexpr word adds = 1;  // one a tenant
inline constexpr word stores = 32;
inline constexpr word swaps = 64;
inline constexpr word copies_from = 96;
inline constexpr word copies_to = 128;
inline constexpr word loads = 160;
inline constexpr word dfa_states = 192;
inline constexpr word each = 32;
/// COMPARE_SWAP stores what was there at 160 + the word's index in the whole buffer.
inline constexpr word swapped = swaps + abi::observable_word;
inline constexpr word sums = 256;  // one a block
inline constexpr word blocks = 64;
inline constexpr word observable_words = sums + blocks;
static_assert(swapped == 224 && swapped + each <= sums);

inline constexpr std::uint64_t block_words = 256;
inline constexpr std::uint64_t block_bytes = block_words * sizeof(word);
/// A word that holds back handlers of `hang_opcode` while it is zero, on a cache line of its own.
inline constexpr std::uint64_t gate = blocks * block_bytes;
inline constexpr std::uint64_t arena_bytes = gate + 64;
inline constexpr word states = 4;  // of the DFA
inline constexpr word dfa_words = states * 256;
}  // namespace work_places

/// The user's own opcodes.
inline constexpr opcode checksum_opcode{1000};
inline constexpr opcode window_opcode{1001};
/// Does not return until the gate is opened.
inline constexpr opcode hang_opcode{1002};
inline constexpr word hang_ticket = 0xFFFF'FFFFu;

/// The opcodes that may occur, in the order in which they are counted.
inline constexpr std::array counted_opcodes{
    opcode::nop,     opcode::store_u32, opcode::atomic_add,  opcode::load_u32, opcode::compare_swap,
    opcode::memcpy,  opcode::dfa_step,  opcode::batch_fence, opcode::printf,   opcode::packed_slot,
    checksum_opcode, window_opcode,     hang_opcode,         opcode::load_miss};

/// One publication, with its arguments.
struct publication {
  work_kind kind = work_kind::nop;
  priority level = priority::normal;
  std::uint32_t tenant = 0;
  std::uint32_t slots = 1;
  std::array<word, 3> arguments{};  ///< of the kinds that take one slot
  word ticket = 0;                  ///< of a window, tag of a batch
};

/// Slots of each opcode that a publication asks for, and operations inside packed slots.
struct opcode_counts {
  std::array<std::uint32_t, counted_opcodes.size()> slots{};
  std::array<std::uint32_t, counted_opcodes.size()> inner{};
  std::uint32_t added = 0;  ///< what the ATOMIC_ADDs add up to
};
[[nodiscard]] opcode_counts counts_of(const publication& work) noexcept;

/// The publications of one producer, one after the other.
class work_source {
 public:
  work_source(const run_profile& profile, std::uint32_t producer) noexcept;
  /// The next, of at most `most` slots, which is not zero.
  [[nodiscard]] publication next(std::uint64_t most) noexcept;

 private:
  const run_profile& profile_;
  random_numbers random_;
  word ticket_;
};

/// Hands it to the ring. Errors: those of `submission_queue`.
[[nodiscard]] result<submission> publish(submission_queue& queue, const publication& work,
                                         deadline until) noexcept;

/// The memory of a run before its launch: blocks to sum up in the arena, numbers to copy.
void prepare(kernel_buffers& buffers, std::uint64_t seed) noexcept;
[[nodiscard]] std::array<word, work_places::dfa_words> dfa_table() noexcept;

/// The check of the results after the run.
struct result_check {
  std::uint32_t added = 0;         ///< sum of the words that ATOMIC_ADD went to, modulo 2^32
  std::uint32_t blocks_wrong = 0;  ///< checksums that are neither right nor absent
  std::uint32_t blocks_right = 0;
};
[[nodiscard]] result_check check_results(std::span<const std::byte> control,
                                         std::span<const std::byte> arena) noexcept;

/// The plugin with the kernels that know the opcodes above.
inline constexpr std::string_view gpu_plugin_name = "megakernel_run_gpu";

/// Lanes that know the opcodes above, where the profile wants them. The error is a sentence.
[[nodiscard]] std::expected<std::unique_ptr<kernel_target>, std::string> make_target(
    const run_profile& profile);

}  // namespace megakernel::tool
