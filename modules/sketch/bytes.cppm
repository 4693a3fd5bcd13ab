// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
module;
#include <cstddef>
#include <cstdint>
#include <expected>
#include <span>
export module megakernel.sketch:bytes;
import megakernel.protocol;
import :count_min;
import :telemetry_sketch;

/// Sketches as bytes that travel between processes, machines and compilers.
/// docs/protocol.md#sketch-bytes
///
/// All numbers are little-endian, whatever the host. Version 1:
///
///   byte  0  "MKSKETCH"
///         8  u32 version, 1
///        12  u32 kind: 1 one Count-Min sketch, 2 those of a ring's telemetry
///        16  the hash's name, "splitmix64" and six zero bytes
///        32  u64 seed of the rows, 0x9E3779B97F4A7C15
///        40  u64 depth
///        48  u64 width
///        56  the sketches, one of kind 1; of kind 2 ring_opcode, active_opcode, tenant, status
///            and dispatch_metrics. Each is its total, what every row of it sums to, as u64 low
///            and u64 high half, and then its counters as u64, row after row.
///       end  u32 CRC-32 (that of zlib, PNG and Ethernet) of all bytes before it
///
/// Readers believe nothing: the length must be what the header says before anything is allocated,
/// the checksum must fit, which no damage of up to 32 consecutive bits survives, and each row must
/// sum to its sketch's total, which a correct checksum over wrong counters does not.
export namespace megakernel {

/// How many bytes hold one sketch of a shape, which is that of some sketch; O(1).
[[nodiscard]] std::uint64_t sketch_bytes(const sketch_shape& shape) noexcept;
/// The same for a telemetry sketch.
[[nodiscard]] std::uint64_t telemetry_sketch_bytes(const sketch_shape& shape) noexcept;

/// The byte form. Errors: `sketch_dim_zero` for a sketch without a shape, `out_of_memory`.
/// O(depth width).
[[nodiscard]] result<byte_buffer> write_sketch(const count_min_sketch& sketch) noexcept;
[[nodiscard]] result<byte_buffer> write_sketch(const telemetry_sketch& sketch) noexcept;

/// Reads a byte form of any alignment. Errors, in this order: `sketch_bytes_foreign`,
/// `sketch_bytes_truncated`, `sketch_version_unknown`, `sketch_kind_mismatch`,
/// `sketch_hash_unknown` for another hash or seed, `sketch_dim_zero`, `sketch_dim_overflow`,
/// `sketch_bytes_truncated`, `sketch_bytes_trailing`, `sketch_checksum_mismatch`,
/// `sketch_row_sum_mismatch`, `out_of_memory`. Allocates no more than the bytes there are.
/// O(bytes).
[[nodiscard]] result<count_min_sketch> read_count_min_sketch(
    std::span<const std::byte> bytes) noexcept;
/// The same; also, `sketch_row_sum_mismatch` where the sketches do not agree on how many slots,
/// or how many active ones, were counted.
[[nodiscard]] result<telemetry_sketch> read_telemetry_sketch(
    std::span<const std::byte> bytes) noexcept;

}  // namespace megakernel
