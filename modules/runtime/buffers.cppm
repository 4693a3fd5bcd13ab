// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
module;
#include <megakernel/lane_order.h>

#include <cstddef>
#include <cstdint>
#include <expected>
#include <span>
export module megakernel.runtime:buffers;
import megakernel.protocol;
import :kernel;
import :mapped_region;

export namespace megakernel {

/// The parts of a launch's memory.
struct buffer_layout {
  std::uint32_t slots = 1024;             ///< 1 to `abi::max_encoded`
  std::uint32_t tenants = 29;             ///< authorised, with the default quota
  std::uint32_t observable_words = 1024;  ///< at most `abi::max_encoded`
  std::uint32_t debug_records = abi::default_debug_records;
  std::uint32_t io_slots = abi::max_io_slots;
  std::uint64_t arena_bytes = 0;         ///< memory of the handlers' own
  std::span<const word> dfa_table = {};  ///< copied; empty: DFA_STEP faults
  std::uint32_t system_tenant = 0;       ///< the one whose SHUTDOWN opcode is obeyed
  bool quotas = false;                   ///< a claim takes a token of its tenant
  /// Another process can map them, as a GPU in a process of its own needs; most systems have no
  /// huge pages for such memory.
  bool shared = false;
};

/// The buffers a kernel works on, zero but for the masks, quotas and default priority offsets.
/// They stay in place when this object moves.
class kernel_buffers {
 public:
  /// Errors: those of the encoders, `slot_count_zero` for a ring without slots,
  /// `memory_not_shared` where that is asked for and the system refuses.
  [[nodiscard]] static result<kernel_buffers> make(const buffer_layout& layout) noexcept;

  [[nodiscard]] inline std::span<std::byte> control() noexcept { return control_; }
  [[nodiscard]] inline std::span<std::byte> ring() noexcept { return ring_; }
  [[nodiscard]] inline std::span<std::byte> debug_log() noexcept { return debug_log_; }
  [[nodiscard]] inline std::span<std::byte> io_queue() noexcept { return io_queue_; }
  [[nodiscard]] inline std::span<std::byte> arena() noexcept { return arena_; }

  /// The memory that all of them lie in, for another process; without a descriptor where the layout
  /// did not ask for it.
  [[nodiscard]] inline shared_memory_handle share() const noexcept { return region_.share(); }

  /// The same as lanes see them.
  [[nodiscard]] const device::launch& where() const noexcept { return where_; }

 private:
  kernel_buffers() noexcept = default;
  mapped_region region_;
  std::span<std::byte> control_;
  std::span<std::byte> ring_;
  std::span<std::byte> debug_log_;
  std::span<std::byte> io_queue_;
  std::span<std::byte> arena_;
  device::launch where_;
};

}  // namespace megakernel
