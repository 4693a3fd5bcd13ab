module;
#include <megakernel/forms.h>

#include <cstddef>
#include <cstdint>
#include <expected>
#include <span>
export module megakernel.runtime:buffers;
import megakernel.protocol;
import :kernel;

export namespace megakernel {

/// What a launch's memory is made of.
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
};

/// The buffers a kernel works on, zero but for the masks, quotas and default priority offsets.
/// They stay in place when this object moves.
class kernel_buffers {
 public:
  /// Errors: those of the encoders, `slot_count_zero` for a ring without slots.
  [[nodiscard]] static result<kernel_buffers> make(const buffer_layout& layout) noexcept;

  [[nodiscard]] inline std::span<std::byte> control() noexcept { return all_of(control_); }
  [[nodiscard]] inline std::span<std::byte> ring() noexcept { return all_of(ring_); }
  [[nodiscard]] inline std::span<std::byte> debug_log() noexcept { return all_of(debug_log_); }
  [[nodiscard]] inline std::span<std::byte> io_queue() noexcept { return all_of(io_queue_); }
  [[nodiscard]] inline std::span<std::byte> arena() noexcept { return all_of(arena_); }

  /// The same as lanes see them.
  [[nodiscard]] const device::launch& where() const noexcept { return where_; }

 private:
  kernel_buffers() noexcept = default;
  [[nodiscard]] static inline std::span<std::byte> all_of(byte_buffer& buffer) noexcept {
    return {buffer.data(), buffer.size()};
  }
  byte_buffer control_;
  byte_buffer ring_;
  byte_buffer debug_log_;
  byte_buffer io_queue_;
  byte_buffer arena_;
  aligned_array<word> dfa_table_;
  device::launch where_;
};

}  // namespace megakernel
