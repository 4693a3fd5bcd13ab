// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The lane primitives beside arithmetic and atomics: agree with the other lanes of its wave, move
// 16 bytes at once, wait a little, tell the time. A wave has 32 or 64 lanes: nothing here assumes
// which.
#pragma once

#include <stdint.h>

#include <megakernel/device/atomics.h>

namespace megakernel::device {

/// A bit a lane of the wave.
using lane_mask = uint64_t;

__device__ inline uint32_t wave_size() {
#if defined(__HIP__)
  return __builtin_amdgcn_wavefrontsize();
#else
  return 32;
#endif
}

/// This lane's index in its wave; for blocks of one dimension.
__device__ inline uint32_t lane_index() { return threadIdx.x & (wave_size() - 1); }

__device__ inline uint32_t count(lane_mask lanes) { return static_cast<uint32_t>(__popcll(lanes)); }

/// The lowest lane of a set that is not empty.
__device__ inline uint32_t first(lane_mask lanes) {
  return static_cast<uint32_t>(__ffsll(static_cast<unsigned long long>(lanes))) - 1;
}

__device__ inline bool contains(lane_mask lanes, uint32_t lane) { return (lanes >> lane & 1) != 0; }

/// The lanes of `lanes` below `lane`: how many of them are the lane's rank among these.
__device__ inline lane_mask below(lane_mask lanes, uint32_t lane) {
  return lanes & ((lane_mask{1} << lane) - 1);
}

// The functions from here to `lanes_with` are for a whole wave: each lane calls them, in the same
// place.

/// Orders the memory accesses of the wave's lanes among each other.
__device__ inline void sync_wave() {
#if defined(__HIP__)
  fence(acq_rel, in_block);
  __builtin_amdgcn_wave_barrier();
#else
  __syncwarp();
#endif
}

/// The lanes that say so.
__device__ inline lane_mask lanes_where(bool says) {
#if defined(__HIP__)
  return __ballot(says);
#else
  return __ballot_sync(0xFFFF'FFFFu, says);
#endif
}

/// The value that `lane` has, for words of 32 and 64 bits.
template <class T>
__device__ inline T shuffle(T value, uint32_t lane) {
#if defined(__HIP__)
  return __shfl(value, static_cast<int>(lane));
#else
  return __shfl_sync(0xFFFF'FFFFu, value, static_cast<int>(lane));
#endif
}

/// The sum over the wave, in every lane.
template <class T>
__device__ inline T sum(T value) {
  for (uint32_t distance = wave_size() / 2; distance != 0; distance /= 2)
    value += shuffle(value, lane_index() ^ distance);
  return value;
}

/// For a lane of `among`, those of `among` that have its value; for another lane none. One turn a
/// distinct value where the hardware has no instruction for it.
template <class T>
__device__ inline lane_mask lanes_with(T value, lane_mask among) {
#if defined(__HIP__)
  lane_mask mine = 0;
  for (lane_mask rest = among; rest != 0;) {
    const lane_mask same = lanes_where(value == shuffle(value, first(rest))) & rest;
    if (contains(same, lane_index())) mine = same;
    rest &= ~same;
  }
  return mine;
#else
  if (!contains(among, lane_index())) return 0;
  return __match_any_sync(static_cast<uint32_t>(among), value);
#endif
}

/// Four words at once, from an address that 16 divides. The compiler may keep or repeat the load:
/// it is for memory that nobody writes meanwhile.
__device__ inline uint4 load_quad(const void* address) {
  return *static_cast<const uint4*>(address);
}

/// Four words at once, from memory that others write: each is a relaxed load of its own, seen as of
/// now.
__device__ inline uint4 load_quad_fresh(const void* address) {
#if defined(__HIP__)
  const auto* const halves = static_cast<const uint64_t*>(address);
  const uint64_t low = load(halves, relaxed, in_system);
  const uint64_t high = load(halves + 1, relaxed, in_system);
  return make_uint4(static_cast<uint32_t>(low), static_cast<uint32_t>(low >> 32),
                    static_cast<uint32_t>(high), static_cast<uint32_t>(high >> 32));
#else
  uint4 quad;
  asm volatile("ld.relaxed.sys.v4.u32 {%0, %1, %2, %3}, [%4];"
               : "=r"(quad.x), "=r"(quad.y), "=r"(quad.z), "=r"(quad.w)
               : "l"(address)
               : "memory");
  return quad;
#endif
}

__device__ inline void store_quad(void* address, uint4 quad) {
  *static_cast<uint4*>(address) = quad;
}

/// Four words at once to memory that others read: each is a relaxed store of its own.
__device__ inline void store_quad_fresh(void* address, uint4 quad) {
#if defined(__HIP__)
  auto* const halves = static_cast<uint64_t*>(address);
  store(halves, uint64_t{quad.y} << 32 | quad.x, relaxed, in_system);
  store(halves + 1, uint64_t{quad.w} << 32 | quad.z, relaxed, in_system);
#else
  asm volatile("st.relaxed.sys.v4.u32 [%0], {%1, %2, %3, %4};" ::"l"(address), "r"(quad.x),
               "r"(quad.y), "r"(quad.z), "r"(quad.w)
               : "memory");
#endif
}

/// Leaves the issue slots to others for about so long; the hardware rounds as it likes, and stays
/// below some microseconds.
template <uint32_t Nanoseconds>
__device__ inline void pause() {
#if defined(__HIP__)
  // In units of 64 cycles, which take about 32 ns; the instruction wants a constant.
  constexpr uint32_t units = Nanoseconds / 32;
  __builtin_amdgcn_s_sleep(units < 1 ? 1 : units > 127 ? 127 : units);
#else
  __nanosleep(Nanoseconds);
#endif
}

/// A clock in nanoseconds that runs at the same rate whatever the device's clocks do, from an
/// unknown start. For time-outs: on AMD it takes the counter's usual 100 MHz for granted.
__device__ inline uint64_t nanoseconds() {
#if defined(__HIP__)
#if defined(__GFX11__) || defined(__GFX12__)
  return __builtin_amdgcn_s_sendmsg_rtnl(0x83) * 10;
#else
  return __builtin_amdgcn_s_memrealtime() * 10;
#endif
#else
  uint64_t now;
  asm volatile("mov.u64 %0, %%globaltimer;" : "=l"(now)::"memory");
  return now;
#endif
}

/// The device's cycles, to compare within one wave.
__device__ inline uint64_t cycles() { return static_cast<uint64_t>(clock64()); }

}  // namespace megakernel::device
