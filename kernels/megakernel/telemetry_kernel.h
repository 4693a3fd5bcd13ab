// Telemetry of a ring where the ring is: occupancy, counts by tenant and by opcode, and Count-Min
// sketches equal to the host's, counter by counter, so that a poll moves kilobytes, not the ring.
//
// Slots of a known status, an opcode and a tenant below 32 are counted together, one addition in
// shared memory a slot; sketches are linear, and take those counts at the end. Other slots are
// added one by one.
#pragma once

#include <megakernel/abi.h>
#include <megakernel/device_lane.h>

#include <stddef.h>

namespace megakernel::device {

/// Shape of the sketches: `depth` rows of `width` columns of 64 bits, row-major; neither is zero.
struct sketch_shape {
  word depth;
  word width;
};

/// What a scan counts; all zero before it.
struct ring_counts {
  static constexpr word known = 32;
  word occupancy[9];  ///< by status; the last: unknown
  word tenants[known];
  word other_tenants;
  word opcodes[known];
  word other_opcodes;
  word active;
  /// By status, opcode and tenant, while the scan runs.
  word joint[8 * known * known];
};

/// The four sketches of a ring, one behind the other.
enum class sketch_of : word { ring_opcode, active_opcode, tenant, status };
inline constexpr word ring_sketches = 4;

namespace detail {

MEGAKERNEL_HOST_DEVICE inline uint64_t sketch_bucket(word key, word row, word width) {
  uint64_t x = key ^ row * 0x9E37'79B9'7F4A'7C15ull;
  x += 0x9E37'79B9'7F4A'7C15ull;
  x = (x ^ x >> 30) * 0xBF58'476D'1CE4'E5B9ull;
  x = (x ^ x >> 27) * 0x94D0'49BB'1331'11EBull;
  x ^= x >> 31;
  return x % width;
}

__device__ inline void add_to_sketch(uint64_t* sketches, sketch_shape shape, sketch_of which,
                                     word key, word amount) {
  uint64_t* const sketch =
      sketches + static_cast<word>(which) * (uint64_t{shape.depth} * shape.width);
  for (word row = 0; row < shape.depth; ++row)
    fetch_add(sketch + uint64_t{row} * shape.width + sketch_bucket(key, row, shape.width),
              uint64_t{amount}, relaxed, in_device);
}

/// A slot that has no place in the joint count.
__device__ __attribute__((noinline)) inline void count_odd_slot(ring_counts* total,
                                                                uint64_t* sketches,
                                                                sketch_shape shape, uint4 head) {
  constexpr word known = ring_counts::known;
  const slot_status status{head.x};
  fetch_add(total->occupancy + (is_known(status) ? head.x : 8), 1u, relaxed, in_device);
  fetch_add(head.y < known ? total->opcodes + head.y : &total->other_opcodes, 1u, relaxed,
            in_device);
  fetch_add(head.z < known ? total->tenants + head.z : &total->other_tenants, 1u, relaxed,
            in_device);
  add_to_sketch(sketches, shape, sketch_of::ring_opcode, head.y, 1);
  add_to_sketch(sketches, shape, sketch_of::tenant, head.z, 1);
  add_to_sketch(sketches, shape, sketch_of::status, head.x, 1);
  if (!is_active(status)) return;
  fetch_add(&total->active, 1u, relaxed, in_device);
  add_to_sketch(sketches, shape, sketch_of::active_opcode, head.y, 1);
}

}  // namespace detail

/// Counts the slots, in resident blocks; `finish_scan` follows it on the same stream. Slots that
/// are written meanwhile are counted as they were seen.
template <word Unroll>
__global__ void __launch_bounds__(1024)
    scan_ring(const abi::slot* ring, word slots, ring_counts* total, uint64_t* sketches,
              sketch_shape shape) {
  constexpr word known = ring_counts::known;
  constexpr word places = 8 * known * known;
  __shared__ word joint[places];
  for (word i = threadIdx.x; i < places; i += blockDim.x) joint[i] = 0;
  __syncthreads();
  const uint64_t chunk = uint64_t{blockDim.x} * Unroll;
  for (uint64_t base = blockIdx.x * chunk; base < slots; base += gridDim.x * chunk) {
    uint4 head[Unroll];
#pragma unroll
    for (word k = 0; k < Unroll; ++k) {
      const uint64_t slot = base + k * blockDim.x + threadIdx.x;
      if (slot < slots) head[k] = load_quad(ring + slot);
    }
#pragma unroll
    for (word k = 0; k < Unroll; ++k) {
      if (base + k * blockDim.x + threadIdx.x >= slots) continue;
      if (head[k].x < 8 && head[k].y < known && head[k].z < known)
        fetch_add(joint + (head[k].x * known + head[k].y) * known + head[k].z, 1u, relaxed,
                  in_block);
      else
        detail::count_odd_slot(total, sketches, shape, head[k]);
    }
  }
  __syncthreads();
  for (word i = threadIdx.x; i < places; i += blockDim.x)
    if (joint[i] != 0) fetch_add(total->joint + i, joint[i], relaxed, in_device);
}

/// Adds the joint counts to all others; one block.
static __global__ void finish_scan(ring_counts* total, uint64_t* sketches, sketch_shape shape) {
  constexpr word known = ring_counts::known;
  __shared__ word by_status[8];
  __shared__ word by_opcode[known];
  __shared__ word by_active_opcode[known];
  __shared__ word by_tenant[known];
  for (word i = threadIdx.x; i < known; i += blockDim.x) {
    if (i < 8) by_status[i] = 0;
    by_opcode[i] = by_active_opcode[i] = by_tenant[i] = 0;
  }
  __syncthreads();
  for (word i = threadIdx.x; i < 8 * known * known; i += blockDim.x) {
    const word n = total->joint[i];
    if (n == 0) continue;
    const word status = i / (known * known);
    const word op = i / known % known;
    fetch_add(by_status + status, n, relaxed, in_block);
    fetch_add(by_opcode + op, n, relaxed, in_block);
    fetch_add(by_tenant + i % known, n, relaxed, in_block);
    if (is_active(slot_status{status})) fetch_add(by_active_opcode + op, n, relaxed, in_block);
  }
  __syncthreads();
  const auto take = [&](sketch_of which, const word* counts, word size, word* to) {
    for (word i = threadIdx.x; i < size; i += blockDim.x) {
      if (counts[i] == 0) continue;
      if (to != nullptr) to[i] += counts[i];
      if (to == nullptr) fetch_add(&total->active, counts[i], relaxed, in_device);
      detail::add_to_sketch(sketches, shape, which, i, counts[i]);
    }
  };
  take(sketch_of::status, by_status, 8, total->occupancy);
  take(sketch_of::ring_opcode, by_opcode, known, total->opcodes);
  take(sketch_of::active_opcode, by_active_opcode, known, nullptr);
  take(sketch_of::tenant, by_tenant, known, total->tenants);
}

}  // namespace megakernel::device
