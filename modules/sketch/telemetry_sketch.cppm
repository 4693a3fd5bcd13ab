// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
module;
#include <array>
#include <cstddef>
#include <cstdint>
#include <expected>
export module megakernel.sketch:telemetry_sketch;
import megakernel.decoder;
import megakernel.protocol;
import :count_min;

export namespace megakernel {

/// A decoded ring as five sketches of one shape. Sketches of several rings,
/// times and devices merge into that of all of them.
///
/// Take snapshots of a reused one with copy(), or move it away and give what is left a new shape.
/// docs/protocol.md#telemetry-sketch
class telemetry_sketch {
 public:
  /// Shape 0 x 0: refuses rings until it is given a shape.
  telemetry_sketch() noexcept = default;

  /// Empty sketches. Errors: `sketch_dim_zero`, `sketch_dim_overflow`, `out_of_memory`.
  /// O(depth width).
  [[nodiscard]] static result<telemetry_sketch> of_shape(std::uint64_t depth,
                                                         std::uint64_t width) noexcept;

  /// Another one with the same contents. Error: `out_of_memory`. O(depth width).
  [[nodiscard]] result<telemetry_sketch> copy() const noexcept;

  /// Makes the shape `depth` x `width` and everything empty; allocates only when there are more
  /// counters than ever before. Errors as of_shape, with nothing changed. O(depth width).
  [[nodiscard]] result<void> reset_shape(std::uint64_t depth, std::uint64_t width) noexcept;

  /// Forgets all counts, keeps shape and storage. O(depth width).
  void clear() noexcept;

  /// Replaces the contents by those of a ring, bit for bit what adding it slot by slot gives. The
  /// first call allocates 48 KiB to count repeated keys in, later ones nothing. Errors:
  /// `sketch_dim_zero` without a shape, `out_of_memory`; then nothing has changed.
  /// O(slots + depth (distinct keys + width)).
  [[nodiscard]] result<void> assign(const ring_telemetry& telemetry) noexcept;

  /// Takes over shape and contents of what a device counted: the same as of the ring itself.
  /// Errors: `sketch_dim_zero` for a digest without sketches, `out_of_memory`; then nothing has
  /// changed. O(depth width).
  [[nodiscard]] result<void> assign(const ring_digest& digest) noexcept;

  /// Adds what `other`, which may be this one, has counted. Errors: `sketch_shape_mismatch`,
  /// `sketch_merge_overflow` also when the slots of both cannot be counted; then nothing has
  /// changed. O(depth width).
  [[nodiscard]] result<void> merge(const telemetry_sketch& other) noexcept;

  [[nodiscard]] inline sketch_shape shape() const noexcept { return ring_opcode_.shape(); }
  /// Slots counted.
  [[nodiscard]] inline std::uint64_t total_slots() const noexcept { return ring_opcode_.total(); }
  /// Of those, active ones.
  [[nodiscard]] inline std::uint64_t active_slots() const noexcept {
    return active_opcode_.total();
  }
  /// Slots per opcode.
  [[nodiscard]] inline const count_min_sketch& ring_opcode() const noexcept { return ring_opcode_; }
  /// Active slots per opcode.
  [[nodiscard]] inline const count_min_sketch& active_opcode() const noexcept {
    return active_opcode_;
  }
  /// Slots per tenant.
  [[nodiscard]] inline const count_min_sketch& tenant() const noexcept { return tenant_; }
  /// Slots per raw status word.
  [[nodiscard]] inline const count_min_sketch& status() const noexcept { return status_; }
  /// Claims per opcode below 32, out of the metric counters.
  [[nodiscard]] inline const count_min_sketch& dispatch_metrics() const noexcept {
    return dispatch_metrics_;
  }

  friend bool operator==(const telemetry_sketch& a, const telemetry_sketch& b) noexcept;

 private:
  friend class sketch_reader;
  class combiner;
  struct combined {
    std::uint32_t key;
    std::uint64_t counts;
  };

  static const std::array<count_min_sketch telemetry_sketch::*, 5> sketches;
  void count_dispatches(const control_snapshot& control) noexcept;
  void set_totals(std::uint64_t slots, std::uint64_t active) noexcept;

  count_min_sketch ring_opcode_;
  count_min_sketch active_opcode_;
  count_min_sketch tenant_;
  count_min_sketch status_;
  count_min_sketch dispatch_metrics_;
  aligned_array<combined> scratch_;
};

}  // namespace megakernel
