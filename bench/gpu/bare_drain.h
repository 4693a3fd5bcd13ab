// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The least that draining a ring takes: claim each slot, read it, store DONE, count. No opcode is
// executed. This is the limit that the real kernel is measured against.
#pragma once

#include <megakernel/abi.h>
#include <megakernel/device/wave.h>

namespace bare {

using namespace megakernel;

/// What a drain counted; equal whatever order and shape it ran in.
struct tally {
  word done;
  word metric[abi::metrics];
  uint64_t body_sum;  ///< all words of the slots but the status
};

/// A block's own tally, in shared memory.
__device__ inline void clear(tally& block) {
  for (word i = threadIdx.x; i < abi::metrics; i += blockDim.x) block.metric[i] = 0;
  if (threadIdx.x == 0) {
    block.done = 0;
    block.body_sum = 0;
  }
  __syncthreads();
}
/// What a wave's lanes kept in registers joins the block's.
__device__ inline void add(tally& block, word done, uint64_t body_sum) {
  done = device::sum(done);
  body_sum = device::sum(body_sum);
  if (device::lane_index() != 0) return;
  device::fetch_add(&block.done, done, device::relaxed, device::in_block);
  device::fetch_add(&block.body_sum, body_sum, device::relaxed, device::in_block);
}
__device__ inline void flush(const tally& block, tally* total) {
  using namespace device;
  __syncthreads();
  for (word i = threadIdx.x; i < abi::metrics; i += blockDim.x)
    if (block.metric[i] != 0) fetch_add(total->metric + i, block.metric[i], relaxed, in_device);
  if (threadIdx.x != 0) return;
  if (block.done != 0) fetch_add(&total->done, block.done, relaxed, in_device);
  fetch_add(&total->body_sum, block.body_sum, relaxed, in_device);
}

/// Word `i` of slot `slot` of the rings here: arbitrary, but the opcode is one of the first eight.
MEGAKERNEL_HOST_DEVICE inline word body_word(word slot, word i) {
  word mixed = (slot * abi::slot_words + i) * 0x9E37'79B1u;
  mixed ^= mixed >> 15;
  return i == abi::opcode_word ? mixed % 8 : mixed;
}

/// Fills a ring with published slots, a lane a quarter slot.
static __global__ void publish(abi::slot* ring, word slots) {
  const uint64_t lanes = uint64_t{gridDim.x} * blockDim.x;
  for (uint64_t at = uint64_t{blockIdx.x} * blockDim.x + threadIdx.x; at < uint64_t{slots} * 4;
       at += lanes) {
    const auto slot = static_cast<word>(at / 4);
    const auto first = static_cast<word>(at % 4) * 4;
    const word head = first == abi::status_word ? static_cast<word>(slot_status::published)
                                                : body_word(slot, first);
    device::store_quad(reinterpret_cast<word*>(ring + slot) + first,
                       make_uint4(head, body_word(slot, first + 1), body_word(slot, first + 2),
                                  body_word(slot, first + 3)));
  }
}

/// Counts the slots of a status, for checks.
static __global__ void count_status(const abi::slot* ring, word slots, slot_status status,
                                    word* total) {
  word mine = 0;
  for (uint64_t i = uint64_t{blockIdx.x} * blockDim.x + threadIdx.x; i < slots;
       i += uint64_t{gridDim.x} * blockDim.x)
    mine += ring[i].status == static_cast<word>(status);
  mine = device::sum(mine);
  if (device::lane_index() == 0) device::fetch_add(total, mine, device::relaxed, device::in_device);
}

/// Claims `Batches` slots a lane, all compare-and-swaps on their way before the first is looked
/// at. With `peek` it looks before it swaps, as a kernel must that finds few slots published.
template <word Batches, bool Peek>
__device__ inline void claim(abi::slot* ring, word slots, uint64_t base, bool (&claimed)[Batches]) {
  using namespace device;
  constexpr word published = static_cast<word>(slot_status::published);
  word status[Batches];
#pragma unroll
  for (word b = 0; b < Batches; ++b) {
    const uint64_t slot = base + b * wave_size() + lane_index();
    status[b] = slot >= slots ? static_cast<word>(slot_status::empty)
                : Peek        ? load(&ring[slot].status, relaxed, in_device)
                              : published;
  }
#pragma unroll
  for (word b = 0; b < Batches; ++b) {
    const uint64_t slot = base + b * wave_size() + lane_index();
    word expected = published;
    claimed[b] = status[b] == published &&
                 compare_exchange(&ring[slot].status, expected,
                                  static_cast<word>(slot_status::claimed), relaxed, in_device);
  }
}

/// Only the claims.
template <word Batches>
__global__ void claim_all(abi::slot* ring, word slots, tally* total) {
  using namespace device;
  __shared__ tally block;
  clear(block);
  const uint64_t stride = uint64_t{gridDim.x} * blockDim.x * Batches;
  const uint64_t wave = (uint64_t{blockIdx.x} * blockDim.x + threadIdx.x) / wave_size();
  word mine = 0;
  for (uint64_t base = wave * wave_size() * Batches; base < slots; base += stride) {
    bool claimed[Batches];
    claim<Batches, false>(ring, slots, base, claimed);
#pragma unroll
    for (word b = 0; b < Batches; ++b) mine += claimed[b];
  }
  add(block, mine, 0);
  flush(block, total);
}

/// Where each slot's claim and completion are counted.
enum class counting {
  per_slot,   ///< in global memory, at once
  per_block,  ///< in shared memory, flushed when the block leaves
};

/// How the accesses of a batch are ordered.
enum class ordering {
  none,    ///< less than the protocol needs: the pure cost of the accesses
  fenced,  ///< acquire after a wave's claims, release before its DONEs, seen by the host
};

template <counting Counting, ordering Ordering, word Batches, bool Peek>
__global__ void drain(abi::slot* ring, word slots, tally* total) {
  using namespace device;
  constexpr word quads = abi::slot_words / 4;
  __shared__ tally block;
  clear(block);
  const word lane = lane_index();
  const word wave = wave_size();
  const uint64_t stride = uint64_t{gridDim.x} * blockDim.x * Batches;
  const uint64_t wave_index = (uint64_t{blockIdx.x} * blockDim.x + threadIdx.x) / wave;
  word done = 0;
  uint64_t body_sum = 0;
  for (uint64_t base = wave_index * wave * Batches; base < slots; base += stride) {
    bool claimed[Batches];
    claim<Batches, Peek>(ring, slots, base, claimed);
    lane_mask claims[Batches];
#pragma unroll
    for (word b = 0; b < Batches; ++b) claims[b] = lanes_where(claimed[b]);
    if constexpr (Ordering == ordering::fenced) {
      fence(acquire, in_system);
      sync_wave();
    }

    // Four lanes a slot, each its 16 bytes, in as many turns.
    uint4 quad[Batches * quads];
#pragma unroll
    for (word i = 0; i < Batches * quads; ++i) {
      const word of_wave = i % quads * (wave / quads) + lane / quads;
      const auto* const words =
          reinterpret_cast<const word*>(ring + base + i / quads * wave + of_wave);
      quad[i] = contains(claims[i / quads], of_wave) ? load_quad(words + lane % quads * 4)
                                                     : make_uint4(0, 0, 0, 0);
    }
#pragma unroll
    for (word i = 0; i < Batches * quads; ++i) {
      const word of_wave = i % quads * (wave / quads) + lane / quads;
      const bool is_head = lane % quads == 0;
      const word opcode = quad[i].y;
      if (is_head && contains(claims[i / quads], of_wave) && opcode < abi::metrics) {
        if constexpr (Counting == counting::per_block)
          fetch_add(block.metric + opcode, 1u, relaxed, in_block);
        else
          fetch_add(total->metric + opcode, 1u, relaxed, in_device);
      }
      body_sum += uint64_t{is_head ? 0 : quad[i].x} + quad[i].y + quad[i].z + quad[i].w;
    }

    if constexpr (Ordering == ordering::fenced) {
      sync_wave();
      fence(release, in_system);
    }
#pragma unroll
    for (word b = 0; b < Batches; ++b) {
      if (!claimed[b]) continue;
      store(&ring[base + b * wave + lane].status, static_cast<word>(slot_status::done), relaxed,
            in_system);
      if constexpr (Counting == counting::per_slot)
        fetch_add(&total->done, 1u, relaxed, in_device);
      else
        ++done;
    }
  }

  add(block, done, body_sum);
  flush(block, total);
}

}  // namespace bare
