// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// What the kernels are measured on: a ring of mixed work in the device's memory, and a ring in the
// host's memory that threads feed while the kernel runs. Each case is checked: nothing is counted
// that was not run, and nothing is run twice.
#pragma once

#include <megakernel/device/kernels.h>

#include <atomic>
#include <memory>
#include <thread>
#include <vector>

#include "limits.h"

namespace cases {

using namespace megakernel;

// Mixed work, drained once

/// Words of each kind of work; a slot goes to the one of its number.
inline constexpr word places = 4096;
inline constexpr word stores_at = 256;
inline constexpr word adds_at = stores_at + places;
inline constexpr word loads_at = adds_at + places;
inline constexpr word copies_at = loads_at + places;
inline constexpr word states_at = copies_at + 2 * places;
inline constexpr word swaps_at = states_at + places;
inline constexpr word sources_at = swaps_at + 2 * places + 320;
inline constexpr word observables = sources_at + places;
inline constexpr word dfa_words = 1024;
inline constexpr word tenants = 29;

MEGAKERNEL_HOST_DEVICE inline word mixed(word x) {
  x *= 0x9E37'79B1u;
  return x ^ x >> 15;
}
MEGAKERNEL_HOST_DEVICE inline word op_of(word slot) {
  // The shares of `megakernel run`'s usual mix, its handler left out.
  constexpr word ops[] = {0, 0, 0, 0, 1, 1, 2, 2, 3, 4, 5, 6, 0x8000'0001, 0, 0, 2, 2, 7};
  return ops[mixed(slot) % (sizeof ops / sizeof *ops)];
}

/// What MEMCPYs read: words that nothing writes meanwhile, or those of the STORE_U32s, so that
/// lines go to and fro between those who write and those who read.
enum class copied : word { apart = sources_at, stored = stores_at };

/// The twelve arguments of slot `slot`.
MEGAKERNEL_HOST_DEVICE inline void arguments_of(word slot, word op, copied from, word (&a)[12]) {
  constexpr word base = abi::observable_word;
  const word place = slot % places;
  for (word& w : a) w = 0;
  switch (op) {
    case 1:
      a[0] = slot, a[1] = base + stores_at + place;
      break;
    case 2:
      a[0] = slot & 7, a[1] = base + adds_at + place;
      break;
    case 3:
      a[0] = base + copies_at + place, a[1] = loads_at + place;
      break;
    case 4:
      // The word before goes 160 words on, so that swaps take every other 160.
      a[0] = base + swaps_at + place / 160 * 320 + place % 160, a[1] = slot, a[2] = slot + 1;
      break;
    case 5:
      a[0] = base + static_cast<word>(from) + place / 4 * 4,
      a[1] = base + copies_at + 2 * place / 4 * 4;
      a[2] = 4;
      break;
    case 6:
      a[0] = slot & 3, a[1] = slot >> 2 & 255, a[2] = states_at + place;
      break;
    case 7:
      a[0] = 4, a[1] = slot;
      break;
    case 0x8000'0001:
      // NOP, ATOMIC_ADD, STORE_U32.
      a[0] = 3 | 4 << 8 | 0 << 16 | 0 << 24, a[1] = 2 | 0 << 8 | 1 << 16 | 2 << 24;
      a[2] = slot & 7, a[3] = base + adds_at + place, a[4] = slot, a[5] = base + stores_at + place;
      break;
    default:
      break;
  }
}

static __global__ void publish_mixed(abi::slot* ring, word slots, copied from) {
  for (word i = blockIdx.x * blockDim.x + threadIdx.x; i < slots; i += gridDim.x * blockDim.x) {
    const word op = op_of(i);
    word a[12];
    arguments_of(i, op, from, a);
    word* const at = reinterpret_cast<word*>(ring + i);
    device::store_quad(at, make_uint4(1, op, i % tenants, 2));
    for (word q = 0; q < 3; ++q)
      device::store_quad(at + 4 + 4 * q,
                         make_uint4(a[4 * q], a[4 * q + 1], a[4 * q + 2], a[4 * q + 3]));
  }
}

/// What a whole drain of the mixed ring must count.
struct expected_mix {
  word metric[abi::metrics] = {};
  word added = 0;
  explicit expected_mix(word slots) {
    for (word i = 0; i < slots; ++i) {
      const word op = op_of(i);
      if (op < abi::metrics) {
        ++metric[op];
      } else {
        ++metric[0], ++metric[1], ++metric[2];
      }
      if (op == 2 || op >= abi::metrics) added += i & 7;
    }
  }
};

/// A ring of mixed work in the device's memory.
class mixed_ring {
 public:
  using kernel = void (*)(device::launch, device::swap_locks);

  mixed_ring(const gpu_support::properties& gpu, const gpu_support::stream& stream, word slots)
      : gpu_(gpu),
        stream_(stream),
        ring_(slots),
        control_(control_words),
        dfa_(dfa_words),
        done_(1),
        host_(control_words + 1),
        slots_(slots),
        expected_(slots),
        clean_(control_words, 0) {
    clean_[abi::tenant_base_word] = abi::tenant_mask_word;
    for (word t = 0; t < tenants; ++t) clean_[abi::tenant_mask_word + t] = ~word{0};
    CHECKED(hipMemsetAsync(dfa_.data(), 1, dfa_.bytes(), stream_));
    stream_.wait();
  }

  /// Slots a second of one drain, in G/s.
  double drain(kernel code, std::uint32_t lanes, copied from, const char* how) {
    gpu_support::launch(publish_mixed, gpu_support::resident(publish_mixed, 256, gpu_), stream_,
                        ring_.data(), slots_, from);
    CHECKED(hipMemcpyAsync(control_.data(), clean_.data(), control_.bytes(), hipMemcpyHostToDevice,
                           stream_));
    device::launch where;
    where.ring = reinterpret_cast<word*>(ring_.data());
    where.slots = slots_;
    where.control = control_.data();
    where.control_words = control_words;
    where.dfa_table = dfa_.data();
    where.dfa_words = dfa_words;
    const gpu_support::shape grid = gpu_support::resident(code, lanes, gpu_);
    const double seconds = watch_.time(
        stream_, [&] { gpu_support::launch(code, grid, stream_, where, device::swap_locks{}); });
    verify(how);
    return slots_ * limits::giga / seconds;
  }

 private:
  static constexpr word control_words = abi::observable_word + observables;

  void verify(const char* how) {
    CHECKED(hipMemsetAsync(done_.data(), 0, sizeof(word), stream_));
    gpu_support::launch(bare::count_status, gpu_support::resident(bare::count_status, 256, gpu_),
                        stream_, ring_.data(), slots_, slot_status::done, done_.data());
    CHECKED(hipMemcpyAsync(host_.host(), control_.data(), control_.bytes(), hipMemcpyDeviceToHost,
                           stream_));
    CHECKED(hipMemcpyAsync(host_.host() + control_words, done_.data(), sizeof(word),
                           hipMemcpyDeviceToHost, stream_));
    stream_.wait();
    const word* const control = host_.host();
    if (control[control_words] != slots_ || control[abi::done_count_word] != slots_)
      gpu_support::fail("%s: %u of %u slots are DONE, %u counted", how, control[control_words],
                        slots_, control[abi::done_count_word]);
    for (word op = 0; op < abi::metrics; ++op)
      if (control[abi::metric_word + op] != expected_.metric[op])
        gpu_support::fail("%s: opcode %u counted %u times, not %u", how, op,
                          control[abi::metric_word + op], expected_.metric[op]);
    word by_tenant = 0;
    for (word t = 0; t < 32; ++t) by_tenant += control[abi::tenant_fairness_word + t];
    word added = 0;
    for (word i = 0; i < places; ++i) added += control[abi::observable_word + adds_at + i];
    if (by_tenant != slots_ || added != expected_.added ||
        control[abi::epoch_word] != expected_.metric[7])
      gpu_support::fail("%s: %u claims by tenant, %u added instead of %u, epoch %u", how, by_tenant,
                        added, expected_.added, control[abi::epoch_word]);
  }

  const gpu_support::properties& gpu_;
  const gpu_support::stream& stream_;
  gpu_support::stopwatch watch_;
  gpu_support::device_memory<abi::slot> ring_;
  gpu_support::device_memory<word> control_;
  gpu_support::device_memory<word> dfa_;
  gpu_support::device_memory<word> done_;
  gpu_support::pinned_memory<word> host_;
  word slots_;
  expected_mix expected_;
  std::vector<word> clean_;
};

// A ring that is fed while the kernel runs

/// Says that it ran: once more in its slot's word, and its nonce in a sum, both on the device.
struct mark {
  static constexpr opcode op{8};
  struct arguments {
    word nonce, slot;
  };
  static constexpr word sums = 1024;
  template <class Context>
  MEGAKERNEL_HOST_DEVICE device::outcome operator()(const arguments& a, Context& context) const {
    using namespace device;
    const auto sum = context.template arena<uint64_t>(uint64_t{a.slot % sums} * 8, 1);
    const auto ranges = context.template arena<word>(uint64_t{sums} * 8 + uint64_t{a.slot} * 4, 1);
    if (!sum || !ranges) return outcome::fault(fault_code{100});
#if defined(__CUDA_ARCH__) || defined(__HIP_DEVICE_COMPILE__)
    fetch_add(sum.data, uint64_t{a.nonce}, relaxed, in_device);
    fetch_add(ranges.data, 1u, relaxed, in_device);
#endif
    return outcome::done();
  }
};
using opcodes = device::handlers<mark>;

inline word get(const word* at) { return __atomic_load_n(at, __ATOMIC_ACQUIRE); }
inline void put(word* at, word value) { __atomic_store_n(at, value, __ATOMIC_RELEASE); }

/// What the work published `n`th carries; it runs right only with the words it was published with.
inline word nonce_of(uint64_t n) {
  uint64_t z = n * 0x9E37'79B9'7F4A'7C15u;
  z = (z ^ z >> 30) * 0xBF58'476D'1CE4'E5B9u;
  return static_cast<word>(z >> 32);
}

/// What becomes of the slots of the lap before.
enum class slots_are {
  left,     ///< published still: they are published again
  done,     ///< DONE since the kernel left: looked at, and published again
  drained,  ///< waited for until they are DONE, the last ones, too
};

class fed_ring {
 public:
  fed_ring(const gpu_support::stream& stream, word slots, word waves)
      : stream_(stream),
        slots_(slots),
        waves_(waves),
        ring_(slots),
        control_(control_words),
        box_(1),
        flushed_(waves),
        mirror_(1),
        locks_(device::swap_locks::count),
        arena_(mark::sums * 2 + slots),
        turns_(slots / group_slots) {
    word* const control = control_.host();
    std::fill(control, control + control_words, 0);
    control[abi::tenant_base_word] = abi::tenant_mask_word;
    for (word t = 0; t < tenants; ++t) control[abi::tenant_mask_word + t] = ~word{0};
    std::fill_n(reinterpret_cast<word*>(ring_.host()), std::size_t{slots} * abi::slot_words, 0);
    std::fill_n(reinterpret_cast<word*>(box_.host()), sizeof(device::mailbox) / 4, 0);
    CHECKED(hipMemsetAsync(flushed_.data(), 0, flushed_.bytes(), stream_));
    CHECKED(hipMemsetAsync(locks_.data(), 0, locks_.bytes(), stream_));
    CHECKED(hipMemsetAsync(arena_.data(), 0, arena_.bytes(), stream_));
    stream_.wait();
  }

  void start(std::uint32_t wave_size) {
    device::persistent_launch of{};
    of.where.ring = reinterpret_cast<word*>(ring_.device());
    of.where.slots = slots_;
    of.where.control = control_.device();
    of.where.control_words = control_words;
    of.where.arena = reinterpret_cast<unsigned char*>(arena_.data());
    of.where.arena_bytes = arena_.bytes();
    of.box = box_.device();
    of.flushed = flushed_.data();
    of.on = mirror_.data();
    of.locks.words = locks_.data();
    of.quantum = std::uint64_t{100} * 1'000'000'000;  // should all else fail
    CHECKED(device::prepare(mirror_.data(), control_.host(), true, stream_));
    gpu_support::launch(device::run_persistent<opcodes>, {waves_ + 1, wave_size}, stream_, of);
    CHECKED(hipGetLastError());
    const auto begin = gpu_support::clock::now();
    while (get(control_.host() + abi::workers_alive_word) != waves_ * wave_size) {
      if (stream_.is_done()) gpu_support::fail("the kernel has left at once");
      if (gpu_support::seconds_since(begin) > 5)
        gpu_support::fail("the kernel does not report itself alive");
    }
  }
  void stop() {
    put(control_.host() + abi::shutdown_word, 1);
    stream_.wait();
  }

  [[nodiscard]] word* slot(word i) const { return reinterpret_cast<word*>(ring_.host() + i); }

  void publish(word i, word op, word a0, word a1) {
    word* const at = slot(i);
    const word head[3] = {op, i % tenants, 2};
    const word arguments[12] = {a0, a1};
    std::memcpy(at + 1, head, sizeof head);
    std::memcpy(at + 4, arguments, sizeof arguments);
    put(at, 1);
  }
  void wait_for(word i, word status) {
    const auto start = gpu_support::clock::now();
    for (word spins = 1; get(slot(i)) != status; ++spins) {
      if (spins % (1 << 20) != 0) continue;
      if (gpu_support::seconds_since(start) > 5)
        gpu_support::fail("slot %u is not %u after 5 s, but %u", i, status, get(slot(i)));
    }
  }

  /// Until the kernel has counted so many DONE.
  void wait_for_count(word done) {
    const auto start = gpu_support::clock::now();
    while (get(control_.host() + abi::done_count_word) != done)
      if (gpu_support::seconds_since(start) > 5)
        gpu_support::fail("%u DONE are counted after 5 s",
                          get(control_.host() + abi::done_count_word));
  }

  /// Publishes `groups` groups of 32 slots in ring order by `threads` threads, and waits until all
  /// is DONE, if somebody drains. Seconds.
  double queue(std::uint64_t groups, word threads, slots_are of) {
    const std::uint64_t end = fed_ + groups;
    const word of_ring = slots_ / group_slots;
    std::atomic<word> ready{0};
    std::atomic<bool> go{false};
    const auto publish_groups = [&](word number) {
      ready.fetch_add(1);
      while (!go.load(std::memory_order_acquire)) {
      }
      // Each thread has groups of its own: a line stays with the processor that writes it.
      for (std::uint64_t g = fed_ + number; g < end; g += threads) {
        const word first = static_cast<word>(g % of_ring) * group_slots;
        // Where the ring has another number of groups, whoever has the lap before publishes first.
        std::atomic<std::uint64_t>& turn = turns_[g % of_ring];
        while (turn.load(std::memory_order_acquire) != g / of_ring) {
        }
        for (word i = first; i < first + group_slots; ++i) {
          constexpr word ahead = 12;
          __builtin_prefetch(slot(i + ahead < slots_ ? i + ahead : 0), 1);
          if (of != slots_are::left && g >= of_ring) wait_for(i, 3);
          publish(i, 8, nonce_of(g * group_slots + i - first), i);
        }
        turn.store(g / of_ring + 1, std::memory_order_release);
      }
    };
    std::vector<std::thread> all;
    for (word t = 0; t < threads; ++t) all.emplace_back(publish_groups, t);
    while (ready.load() != threads) {
    }
    const auto start = gpu_support::clock::now();
    go.store(true, std::memory_order_release);
    for (std::thread& t : all) t.join();
    fed_ = end;
    for (word i = 0; of == slots_are::drained && i < slots_; ++i)
      if (get(slot(i)) != 0) wait_for(i, 3);
    return gpu_support::seconds_since(start);
  }

  /// Fails unless every slot that was published was run exactly once with its own words.
  void verify() {
    std::vector<word> got(arena_.bytes() / sizeof(word));
    CHECKED(
        hipMemcpyAsync(got.data(), arena_.data(), arena_.bytes(), hipMemcpyDeviceToHost, stream_));
    stream_.wait();
    const word of_ring = slots_ / group_slots;
    for (word i = 0; i < slots_; ++i) {
      const std::uint64_t laps = fed_ / of_ring + (i / group_slots < fed_ % of_ring);
      if (got[mark::sums * 2 + i] != static_cast<word>(laps))
        gpu_support::fail("slot %u ran %u times, was published %llu times", i,
                          got[mark::sums * 2 + i], (unsigned long long)laps);
    }
    std::uint64_t sum = 0;
    for (word i = 0; i < mark::sums; ++i) sum += got[2 * i] | std::uint64_t{got[2 * i + 1]} << 32;
    std::uint64_t wanted = 0;
    for (std::uint64_t n = 0; n < fed_ * group_slots; ++n) wanted += nonce_of(n);
    if (sum != wanted) gpu_support::fail("slots ran with other words than were published in them");
    const word* const control = control_.host();
    const std::uint64_t done =
        std::uint64_t{control[abi::done_count_high_word]} << 32 | control[abi::done_count_word];
    if (done != fed_ * group_slots || control[abi::metric_word + 8] != static_cast<word>(done))
      gpu_support::fail("%llu DONE counted and %u claims of %llu", (unsigned long long)done,
                        control[abi::metric_word + 8], (unsigned long long)(fed_ * group_slots));
  }
  [[nodiscard]] word slots() const { return slots_; }
  static constexpr word group_slots = 32;

 private:
  static constexpr word control_words = 1024;
  const gpu_support::stream& stream_;
  word slots_;
  word waves_;
  std::uint64_t fed_ = 0;
  gpu_support::pinned_memory<abi::slot> ring_;
  gpu_support::pinned_memory<word> control_;
  gpu_support::pinned_memory<device::mailbox> box_;
  gpu_support::device_memory<word> flushed_;
  gpu_support::device_memory<device::control_mirror> mirror_;
  gpu_support::device_memory<word> locks_;
  gpu_support::device_memory<word> arena_;
  std::vector<std::atomic<std::uint64_t>> turns_;  // laps that a group was published in
};

}  // namespace cases
