// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// A GPU that runs nothing and reduces rings as the plain implementation of digests does, or worse.
// Include it after the library.
#pragma once

#include "oracle_digest.h"

namespace props::fakes {

namespace mk = megakernel;

/// What a device makes of being asked for a digest.
enum class device_mood {
  able,
  busy,
  cramped,        ///< it has room for one window
  careless,       ///< two figures contradict each other
  deaf,           ///< it answers another request
  short_sighted,  ///< it sees half of the ring
  boastful,       ///< it says that it wrote more than there was room for
  lost,
};
inline device_mood mood = device_mood::able;
/// Scans it was asked for.
inline std::uint32_t scans = 0;
/// It gives the last digest again, and so allocates nothing.
inline bool repeats = false;

namespace detail {

/// What stands behind the handle that the runtime is given.
struct fake_kernel {
  mk::device::launch where{};
  bool left = false;
  std::vector<std::uint32_t> digest{};
};
inline fake_kernel& of(mk::gpu::kernel* handle) { return *reinterpret_cast<fake_kernel*>(handle); }

inline mk::gpu::call_status start(void*, const mk::gpu::request* wanted, mk::gpu::kernel** started,
                                  std::uint32_t* lanes, mk::gpu::failure*) {
  *started = reinterpret_cast<mk::gpu::kernel*>(new fake_kernel{wanted->where});
  *lanes = 32;
  std::atomic_ref(wanted->where.control[mk::abi::heartbeat_word]).store(1);
  return mk::gpu::call_status::yes;
}

inline mk::gpu::call_status scan(mk::gpu::kernel* handle, const mk::gpu::scan_request* wanted,
                                 void* bytes, std::uint64_t capacity, std::uint64_t* size,
                                 mk::gpu::failure* why) {
  ++scans;
  *size = 0;
  *why = {};
  if (mood == device_mood::busy) return mk::gpu::call_status::busy;
  if (mood == device_mood::lost) {
    why->number = 700;
    return mk::gpu::call_status::failed;
  }
  fake_kernel& kernel = of(handle);
  if (!repeats) {
    const mk::digest_request& what = wanted->what;
    oracle::digest_wish wish{.depth = what.depth, .width = what.width};
    wish.opcodes.assign(what.window_opcode, what.window_opcode + what.window_opcodes);
    if (mood == device_mood::cramped) wish.most_windows = 1;
    if (mood == device_mood::deaf) wish.opcodes = {77};
    const std::size_t slots = kernel.where.slots / (mood == device_mood::short_sighted ? 2 : 1);
    std::vector<std::uint32_t> ring(slots * mk::abi::slot_words);
    for (std::size_t i = 0; i < ring.size(); ++i)
      ring[i] = std::atomic_ref(kernel.where.ring[i]).load(std::memory_order_acquire);
    kernel.digest = oracle::make_digest(ring.data(), slots, wish);
    if (mood == device_mood::careless) ++kernel.digest[8];
  }
  const std::uint64_t length = kernel.digest.size() * sizeof(std::uint32_t);
  if (length > capacity) return mk::gpu::call_status::failed;
  std::memcpy(bytes, kernel.digest.data(), length);
  *size = mood == device_mood::boastful ? ~std::uint64_t{0} : length;
  return mk::gpu::call_status::yes;
}

}  // namespace detail

inline constexpr mk::gpu::interface reducing_gpu{
    .version = mk::gpu::interface_version,
    .own_process = 0,
    .context = nullptr,
    .probe = [](void*, mk::gpu::device_info* found, mk::gpu::failure*) -> mk::gpu::call_status {
      *found = {};
      found->wave_size = 32;
      return mk::gpu::call_status::yes;
    },
    .start = detail::start,
    .running = [](mk::gpu::kernel* handle, std::uint32_t* lanes,
                  mk::gpu::failure*) -> mk::gpu::call_status {
      detail::fake_kernel& kernel = detail::of(handle);
      const auto shutdown =
          std::atomic_ref(kernel.where.control[mk::abi::shutdown_word]).load() != 0;
      *lanes = kernel.left || shutdown ? 0 : 32;
      return mk::gpu::call_status::yes;
    },
    .ask_flush = [](mk::gpu::kernel*) -> std::uint32_t { return 1; },
    .flushed = [](mk::gpu::kernel*, std::uint32_t) { return true; },
    .leave = [](mk::gpu::kernel* handle) { detail::of(handle).left = true; },
    .close = [](mk::gpu::kernel* handle) { delete &detail::of(handle); },
    .upload = [](mk::gpu::kernel*, const mk::gpu::slot_range*, std::uint32_t, std::uint32_t* room,
                 mk::gpu::failure*) -> mk::gpu::call_status {
      *room = 0;
      return mk::gpu::call_status::yes;
    },
    .scan = detail::scan,
};

}  // namespace props::fakes
