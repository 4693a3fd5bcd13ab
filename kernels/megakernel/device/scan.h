// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Telemetry of a ring where the ring is: occupancy, counts by tenant and by opcode, windows of a
// few opcodes, and Count-Min sketches equal to the host's, counter by counter, so that a poll moves
// kilobytes, not the ring: a digest, see ring_digest.h. The kernels run one after the other on one
// stream; gpu/scanner.h starts them.
//
// Slots of a known status, an opcode and a tenant below 32 are counted together, one addition in
// shared memory a slot; sketches are linear, and take those counts at the end. Other slots are
// added one by one. Window slots are counted a wave at a time, window by window, in a table in the
// device's memory.
#pragma once

#include <megakernel/abi.h>
#include <megakernel/device/wave.h>
#include <megakernel/ring_digest.h>
#include <megakernel/sketch_hash.h>

#include <stddef.h>

#include <type_traits>

namespace megakernel::device {

/// Shape of the sketches: `depth` rows of `width` columns of 64 bits, row-major; 0 by 0 for none.
struct sketch_shape {
  word depth;
  word width;
};

/// The counters of a scan; all zero before it.
struct ring_counts {
  static constexpr word known = abi::digest::keys;
  word occupancy[abi::digest::statuses];  ///< by status; the last: unknown
  word tenants[known];
  word other_tenants;
  word opcodes[known];
  word other_opcodes;
  word active;
  word windows;   ///< that have a place in the table
  word unlisted;  ///< window slots that found none for theirs
  /// By status, opcode and tenant, while the scan runs.
  word joint[8 * known * known];
};

/// A place in the table of windows; all zero: free.
struct alignas(64) window_place {
  static constexpr word counters = 10;
  uint64_t key;  ///< ticket << 32 | number of the opcode in the list, from 1
  /// ~(slot << 32 | tenant) of the lowest slot: the largest wins.
  uint64_t lowest;
  /// As in a digest: required, lookahead, by status from published to fault, all slots.
  word counts[counters];
  word tenants_disagree;
};
static_assert(sizeof(window_place) == 64);

/// The output of a scan, in the device's memory.
struct scan_memory {
  ring_counts* counts;
  uint64_t* sketches;     ///< four, one behind the other
  window_place* windows;  ///< as many as `places` says, a power of two
  word* taken;            ///< as many: the places that are taken, as they were
  word* ordered;          ///< as many: the same by (ticket, opcode)
  word places;
};

/// Whether somebody writes the ring while it is scanned: then each load is one, as of now.
enum class ring_is { at_rest, in_use };

namespace detail {

MEGAKERNEL_HOST_DEVICE inline uint64_t sketch_bucket(word key, word row, word width) {
  return sketch_hash(key, row) % width;
}

__device__ inline void add_to_sketch(uint64_t* sketches, sketch_shape shape, ring_sketch which,
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
  add_to_sketch(sketches, shape, ring_sketch::ring_opcode, head.y, 1);
  add_to_sketch(sketches, shape, ring_sketch::tenant, head.z, 1);
  add_to_sketch(sketches, shape, ring_sketch::status, head.x, 1);
  if (!is_active(status)) return;
  fetch_add(&total->active, 1u, relaxed, in_device);
  add_to_sketch(sketches, shape, ring_sketch::active_opcode, head.y, 1);
}

inline constexpr word no_place = 0xFFFF'FFFFu;
/// Places that are tried for a window. Half full, the table refuses one in 2^32 windows; tickets
/// that were chosen to collide cost a slot no more than this.
inline constexpr word most_probes = 32;

/// The place of a window, which is taken for it where it has none. A window that finds none never
/// will, as places are not given back: one that is listed has all its slots.
__device__ inline word find_window(const scan_memory& to, uint64_t key) {
  uint64_t x = key * 0x9E37'79B9'7F4A'7C15ull;
  x = (x ^ x >> 32) * 0xBF58'476D'1CE4'E5B9ull;
  x ^= x >> 29;
  word place = static_cast<word>(x) & (to.places - 1);
  const word step = static_cast<word>(x >> 32) | 1;  // odd: it comes by every place
  for (word probe = 0; probe < most_probes; ++probe) {
    uint64_t* const there = &to.windows[place].key;
    uint64_t found = load(there, relaxed, in_device);
    if (found == 0 && compare_exchange(there, found, key, relaxed, in_device)) {
      to.taken[fetch_add(&to.counts->windows, 1u, relaxed, in_device)] = place;
      return place;
    }
    if (found == key) return place;
    place = (place + step) & (to.places - 1);
  }
  return no_place;
}

/// Counts the window slots among a wave's, one a lane in ascending order; for the whole wave.
/// `there`: this lane has one.
__device__ inline void count_windows(const scan_memory& to, const digest_request& what, bool there,
                                     word slot, uint4 head, uint2 arguments) {
  word number = 0;
#pragma unroll
  for (word i = 0; i < digest_request::most_window_opcodes; ++i)
    if (i < what.window_opcodes && head.y == what.window_opcode[i]) number = i + 1;
  lane_mask waiting = lanes_where(there && number != 0);
  if (waiting == 0) return;
  word place = no_place;
  word tally = 1u << (window_place::counters - 1);
  if (contains(waiting, lane_index())) {
    place = find_window(to, uint64_t{arguments.x} << 32 | number);
    if (arguments.y < 2) tally |= 1u << arguments.y;
    if (head.x >= 1 && head.x <= 7) tally |= 2u << head.x;
  }
  // One turn a window: its slots are mostly neighbours.
  while (waiting != 0) {
    const word leader = first(waiting);
    const word of = shuffle(place, leader);
    const lane_mask same = lanes_where(place == of) & waiting;
    const word tenant = shuffle(head.z, leader);
    const bool disagree = (lanes_where(head.z != tenant) & same) != 0;
    waiting &= ~same;
    if (of == no_place) {
      if (lane_index() == leader) fetch_add(&to.counts->unlisted, count(same), relaxed, in_device);
      continue;
    }
    word amount = 0;
    for (word c = 0; c < window_place::counters; ++c) {
      const word slots = count(lanes_where((tally >> c & 1) != 0) & same);
      if (lane_index() == c) amount = slots;
    }
    window_place& window = to.windows[of];
    if (amount != 0) fetch_add(window.counts + lane_index(), amount, relaxed, in_device);
    if (lane_index() != leader) continue;
    const uint64_t own = ~(uint64_t{slot} << 32 | tenant);
    uint64_t seen = load(&window.lowest, relaxed, in_device);
    if (seen < own) seen = fetch_max(&window.lowest, own, relaxed, in_device);
    // The previous owner is a slot of the window, too: the first one that has another tenant
    // finds that out.
    if (disagree || (seen != 0 && static_cast<word>(~seen) != tenant))
      store(&window.tenants_disagree, 1u, relaxed, in_device);
  }
}

template <ring_is Is>
__device__ inline uint4 load_head(const abi::slot* slot) {
  return Is == ring_is::in_use ? load_quad_fresh(slot) : load_quad(slot);
}
template <ring_is Is>
__device__ inline uint2 load_ticket(const abi::slot* slot) {
  if constexpr (Is == ring_is::in_use) {
    const auto both = load(reinterpret_cast<const uint64_t*>(slot->argument), relaxed, in_system);
    return make_uint2(static_cast<word>(both), static_cast<word>(both >> 32));
  } else {
    return *reinterpret_cast<const uint2*>(slot->argument);
  }
}

}  // namespace detail

/// Makes all that a scan counts in zero.
static __global__ void clear_scan(scan_memory memory, digest_request what) {
  const uint64_t lane = uint64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  const uint64_t lanes = uint64_t{gridDim.x} * blockDim.x;
  const auto clear = [&](auto* from, uint64_t count) {
    using element = std::remove_pointer_t<decltype(from)>;
    for (uint64_t i = lane; i < count; i += lanes) from[i] = element{};
  };
  clear(reinterpret_cast<word*>(memory.counts), sizeof(ring_counts) / sizeof(word));
  clear(memory.sketches, uint64_t{abi::digest::sketches} * what.depth * what.width);
  if (what.window_opcodes != 0)
    clear(reinterpret_cast<uint4*>(memory.windows),
          uint64_t{memory.places} * (sizeof(window_place) / sizeof(uint4)));
}

/// Counts the slots, in blocks of whole waves. Slots that are written meanwhile are counted as they
/// were seen. `Windows`: whether there are window opcodes.
template <word Unroll, ring_is Is, bool Windows>
__global__ void __launch_bounds__(1024)
    scan_ring(const abi::slot* ring, word slots, scan_memory to, digest_request what) {
  constexpr word known = ring_counts::known;
  constexpr word places = 8 * known * known;
  __shared__ word joint[places];
  for (word i = threadIdx.x; i < places; i += blockDim.x) joint[i] = 0;
  __syncthreads();
  const uint64_t chunk = uint64_t{blockDim.x} * Unroll;
  for (uint64_t base = blockIdx.x * chunk; base < slots; base += gridDim.x * chunk) {
    uint4 head[Unroll];
    uint2 ticket[Unroll];
#pragma unroll
    for (word k = 0; k < Unroll; ++k) {
      const uint64_t slot = base + k * blockDim.x + threadIdx.x;
      if (slot >= slots) {
        if constexpr (Windows) head[k] = {}, ticket[k] = {};
        continue;
      }
      head[k] = detail::load_head<Is>(ring + slot);
      if constexpr (Windows) ticket[k] = detail::load_ticket<Is>(ring + slot);
    }
#pragma unroll
    for (word k = 0; k < Unroll; ++k) {
      const uint64_t slot = base + k * blockDim.x + threadIdx.x;
      if constexpr (Windows)
        detail::count_windows(to, what, slot < slots, static_cast<word>(slot), head[k], ticket[k]);
      if (slot >= slots) continue;
      if (head[k].x < 8 && head[k].y < known && head[k].z < known)
        fetch_add(joint + (head[k].x * known + head[k].y) * known + head[k].z, 1u, relaxed,
                  in_block);
      else
        detail::count_odd_slot(to.counts, to.sketches, {what.depth, what.width}, head[k]);
    }
  }
  __syncthreads();
  for (word i = threadIdx.x; i < places; i += blockDim.x)
    if (joint[i] != 0) fetch_add(to.counts->joint + i, joint[i], relaxed, in_device);
}

/// Adds the joint counts to all others; one block.
static __global__ void finish_scan(scan_memory memory, digest_request what) {
  constexpr word known = ring_counts::known;
  ring_counts* const total = memory.counts;
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
  const auto take = [&](ring_sketch which, const word* counts, word size, word* to) {
    for (word i = threadIdx.x; i < size; i += blockDim.x) {
      if (counts[i] == 0) continue;
      if (to != nullptr) to[i] += counts[i];
      if (to == nullptr) fetch_add(&total->active, counts[i], relaxed, in_device);
      detail::add_to_sketch(memory.sketches, {what.depth, what.width}, which, i, counts[i]);
    }
  };
  take(ring_sketch::status, by_status, 8, total->occupancy);
  take(ring_sketch::ring_opcode, by_opcode, known, total->opcodes);
  take(ring_sketch::active_opcode, by_active_opcode, known, nullptr);
  take(ring_sketch::tenant, by_tenant, known, total->tenants);
}

/// Puts the windows in order: each is as far from the front as there are smaller ones. Needs
/// `rank_tile` lanes a block.
inline constexpr word rank_tile = 256;
static __global__ void rank_windows(scan_memory memory) {
  __shared__ uint64_t keys[rank_tile];
  const word windows = memory.counts->windows;
  const auto key_of = [&](word i) { return memory.windows[memory.taken[i]].key; };
  for (uint64_t base = uint64_t{blockIdx.x} * rank_tile; base < windows;
       base += uint64_t{gridDim.x} * rank_tile) {
    const uint64_t mine = base + threadIdx.x;
    const uint64_t key = mine < windows ? key_of(static_cast<word>(mine)) : 0;
    word rank = 0;
    for (word tile = 0; tile < windows; tile += rank_tile) {
      const word others = windows - tile < rank_tile ? windows - tile : rank_tile;
      __syncthreads();
      if (threadIdx.x < others) keys[threadIdx.x] = key_of(tile + threadIdx.x);
      __syncthreads();
      for (word i = 0; i < others; ++i) rank += keys[i] < key;
    }
    if (mine < windows) memory.ordered[rank] = memory.taken[mine];
  }
}

namespace detail {

/// Word `at` of the digest, before the sketches.
__device__ inline word digest_front(const scan_memory& memory, const digest_request& what,
                                    word slots, word at) {
  namespace d = abi::digest;
  const ring_counts& counts = *memory.counts;
  if (at >= d::tenants_word) return counts.tenants[at - d::tenants_word];
  if (at >= d::opcodes_word) return counts.opcodes[at - d::opcodes_word];
  if (at >= d::occupancy_word)
    return at < d::occupancy_word + d::statuses ? counts.occupancy[at - d::occupancy_word] : 0;
  if (at >= d::window_opcode_word) {
    const word i = at - d::window_opcode_word;
    return i < what.window_opcodes ? what.window_opcode[i] : 0;
  }
  switch (at) {
    case d::magic_word:
      return d::magic;
    case d::version_word:
      return d::version;
    case d::slots_word:
      return slots;
    case d::depth_word:
      return what.depth;
    case d::width_word:
      return what.width;
    case d::windows_word:
      return counts.windows;
    case d::unlisted_word:
      return counts.unlisted;
    case d::window_opcodes_word:
      return what.window_opcodes;
    case d::active_word:
      return counts.active;
    case d::other_opcodes_word:
      return counts.other_opcodes;
    case d::other_tenants_word:
      return counts.other_tenants;
    default:
      return 0;
  }
}

/// Word `at` of a window.
__device__ inline word digest_window(const window_place& window, const digest_request& what,
                                     word at) {
  namespace d = abi::digest;
  if (at == d::ticket_word) return static_cast<word>(window.key >> 32);
  if (at == d::opcode_word) return what.window_opcode[static_cast<word>(window.key) - 1];
  if (at == d::tenant_word) return static_cast<word>(~window.lowest);
  if (at <= d::window_slots_word) return window.counts[at - d::required_word];
  return at == d::tenants_disagree_word ? window.tenants_disagree : 0;
}

}  // namespace detail

/// Writes the digest, mostly to memory of the host.
static __global__ void write_digest(scan_memory memory, word slots, digest_request what, word* to) {
  namespace d = abi::digest;
  static_assert(d::window_slots_word - d::required_word + 1 == window_place::counters);
  const word sketches_end = d::words(what.depth, what.width, 0);
  const word end = d::words(what.depth, what.width, memory.counts->windows);
  for (word at = blockIdx.x * blockDim.x + threadIdx.x; at < end; at += gridDim.x * blockDim.x) {
    if (at < d::sketches_word) {
      to[at] = detail::digest_front(memory, what, slots, at);
    } else if (at < sketches_end) {
      const uint64_t counter = memory.sketches[(at - d::sketches_word) / 2];
      to[at] = static_cast<word>((at & 1) == 0 ? counter : counter >> 32);
    } else {
      const word in = at - sketches_end;
      const window_place& window = memory.windows[memory.ordered[in / d::window_words]];
      to[at] = detail::digest_window(window, what, in % d::window_words);
    }
  }
}

}  // namespace megakernel::device
