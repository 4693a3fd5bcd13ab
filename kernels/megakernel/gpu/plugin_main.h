// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The plugin of gpu_plugin.h, for the one source that names a program's handlers:
//
//     #include <megakernel/gpu/gpu_plugin_main.h>
//     MEGAKERNEL_GPU_PLUGIN(megakernel::device::handlers<sum_block, ...>)
#pragma once

#include <megakernel/device/kernels.h>
#include <megakernel/gpu/device_ring.h>
#include <megakernel/gpu/plugin.h>
#include <megakernel/gpu/scanner.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <mutex>
#include <new>
#include <optional>
#include <thread>
#include <vector>

namespace megakernel::gpu {

/// A running kernel, and what was taken for it.
struct kernel {
  device::persistent_launch on_device{};
  const void* code = nullptr;
  bool one_shot = false;
  uint32_t blocks = 0;
  uint32_t lanes_of_block = 0;
  uint32_t lanes = 0;
  const word* control = nullptr;  // as the host sees it
  device::mailbox* box = nullptr;
  void* on_card = nullptr;  // the control mirror, then locks, then what each wave has flushed
  hipStream_t stream{};
  bool has_stream = false;
  std::vector<void*> pinned;
  std::optional<detail::device_ring> ring;
  std::mutex mutex;  // of `running`, which may start the next quantum
  bool over = false;
  hipError_t failure = hipSuccess;
  device::ring_scanner scanner;
  std::mutex scanning;
};

namespace detail {

inline call_status refuse(failure* why, hipError_t status, const char* what) {
  why->number = static_cast<int32_t>(status);
  std::snprintf(why->sentence, sizeof why->sentence, "%s: %s", what, hipGetErrorString(status));
  return status == hipErrorOutOfMemory ? call_status::no_memory : call_status::failed;
}

inline call_status probe(void*, device_info* found, failure* why) {
  int cards = 0;
  const hipError_t status = hipGetDeviceCount(&cards);
  if (cards == 0 || status == hipErrorNoDevice || status == hipErrorInsufficientDriver) {
    refuse(why, status, "there is no GPU to run on");
    if (status == hipSuccess)
      std::snprintf(why->sentence, sizeof why->sentence, "there is no GPU to run on");
    return call_status::no_gpu;
  }
  if (status != hipSuccess) return refuse(why, status, "the GPUs cannot be counted");
  hipDeviceProp_t properties;
  if (const hipError_t got = hipGetDeviceProperties(&properties, 0); got != hipSuccess)
    return refuse(why, got, "the GPU does not say what it is");
  std::memset(found, 0, sizeof *found);
  std::snprintf(found->name, sizeof found->name, "%s", properties.name);
  found->processors = static_cast<uint32_t>(properties.multiProcessorCount);
  found->wave_size = static_cast<uint32_t>(properties.warpSize);
  return call_status::yes;
}

/// Pages of the host that hold something the kernel works on.
struct pages {
  uintptr_t first;
  uintptr_t end;
};

/// Pins what the launch works on and translates its addresses. Buffers can share a page, which can
/// be pinned only once.
inline call_status pin(kernel& of, device::launch& where, failure* why) {
  constexpr uintptr_t page = 4096;
  const struct {
    void* data;
    uint64_t bytes;
  } buffers[] = {{where.control, uint64_t{where.control_words} * sizeof(word)},
                 {where.ring, uint64_t{where.slots} * abi::slot_bytes},
                 {where.debug_log, uint64_t{where.debug_words} * sizeof(word)},
                 {where.io_queue, uint64_t{where.io_slots} * abi::io_slot_bytes},
                 {const_cast<word*>(where.dfa_table), uint64_t{where.dfa_words} * sizeof(word)},
                 {where.arena, where.arena_bytes}};
  std::vector<pages> all;
  for (const auto& b : buffers) {
    if (b.data == nullptr || b.bytes == 0) continue;
    const auto first = reinterpret_cast<uintptr_t>(b.data);
    all.push_back({first / page * page, (first + b.bytes + page - 1) / page * page});
  }
  std::sort(all.begin(), all.end(),
            [](const pages& a, const pages& b) { return a.first < b.first; });
  std::vector<pages> merged;
  for (const pages& p : all) {
    if (!merged.empty() && p.first <= merged.back().end)
      merged.back().end = std::max(merged.back().end, p.end);
    else
      merged.push_back(p);
  }
  for (const pages& p : merged) {
    void* const from = reinterpret_cast<void*>(p.first);
    const hipError_t status =
        hipHostRegister(from, p.end - p.first, hipHostRegisterMapped | hipHostRegisterPortable);
    if (status != hipSuccess) return refuse(why, status, "the buffers cannot be pinned");
    of.pinned.push_back(from);
  }
  const auto translate = [&](auto*& pointer, uint64_t bytes) {
    if (pointer == nullptr || bytes == 0) return hipSuccess;
    void* there = nullptr;
    const hipError_t status =
        hipHostGetDevicePointer(&there, const_cast<void*>(static_cast<const void*>(pointer)), 0);
    pointer = static_cast<std::remove_reference_t<decltype(pointer)>>(there);
    return status;
  };
  for (const hipError_t status :
       {translate(where.control, buffers[0].bytes), translate(where.ring, buffers[1].bytes),
        translate(where.debug_log, buffers[2].bytes), translate(where.io_queue, buffers[3].bytes),
        translate(where.dfa_table, buffers[4].bytes), translate(where.arena, buffers[5].bytes)}) {
    if (status != hipSuccess)
      return refuse(why, status, "the device does not see the host's memory");
  }
  return call_status::yes;
}

inline hipError_t launch(kernel& of, bool first) {
  if (!of.one_shot) {
    const hipError_t ready = device::prepare(of.on_device.on, of.control, first, of.stream);
    if (ready != hipSuccess) return ready;
  }
  if (of.one_shot && of.ring) {
    const hipError_t filled = of.ring->fill(of.stream);
    if (filled != hipSuccess) return filled;
  }
  void* persistent[] = {&of.on_device};
  void* one_shot[] = {&of.on_device.where, &of.on_device.locks};
  return hipLaunchKernel(of.code, dim3(of.blocks), dim3(of.lanes_of_block),
                         of.one_shot ? one_shot : persistent, 0, of.stream);
}

inline void close(kernel* of) {
  of->ring.reset();    // its copies read what is pinned
  of->scanner.wait();  // for a scan that was given up: it reads what is unpinned here
  if (of->has_stream) (void)hipStreamDestroy(of->stream);
  for (void* const from : of->pinned) (void)hipHostUnregister(from);
  if (of->box != nullptr) (void)hipHostFree(of->box);
  if (of->on_card != nullptr) (void)hipFree(of->on_card);
  (void)hipGetLastError();  // a device that is lost says so at every call
  delete of;
}

/// How many blocks, and of how many lanes: never more than are on the device at once, and in ring
/// order no more than there are slots for.
inline call_status shape(kernel& of, const request& wanted, const device_info& gpu, uint32_t* lanes,
                         failure* why) {
  of.lanes_of_block = of.one_shot ? device::most_lanes_of_block : gpu.wave_size;
  int resident = 0;
  const hipError_t status = hipOccupancyMaxActiveBlocksPerMultiprocessor(
      &resident, of.code, static_cast<int>(of.lanes_of_block), 0);
  if (status != hipSuccess) return refuse(why, status, "the kernel does not fit the device");
  const uint32_t control_waves = of.one_shot ? 0 : 1;
  const uint32_t most = static_cast<uint32_t>(resident) * gpu.processors - control_waves;
  const uint64_t blocks_for_slots =
      (uint64_t{wanted.where.slots} + of.lanes_of_block - 1) / of.lanes_of_block;
  uint64_t blocks = wanted.lanes != 0
                        ? (uint64_t{wanted.lanes} + of.lanes_of_block - 1) / of.lanes_of_block
                        : most;
  *lanes = most * of.lanes_of_block;
  if (blocks > most && wanted.lanes != 0) {
    std::snprintf(why->sentence, sizeof why->sentence,
                  "%u lanes were asked for, but the device has no more than %u at once",
                  wanted.lanes, *lanes);
    return call_status::too_many_lanes;
  }
  blocks = std::min<uint64_t>(blocks, most);
  of.blocks = static_cast<uint32_t>(std::min(blocks, std::max<uint64_t>(blocks_for_slots, 1)));
  of.lanes = *lanes = of.blocks * of.lanes_of_block;
  if (!of.one_shot) ++of.blocks;  // the control wave
  return call_status::yes;
}

template <class Handlers>
call_status start_into(kernel& made, const request& wanted, uint32_t* lanes, failure* why) {
  device_info gpu;
  if (const call_status there = probe(nullptr, &gpu, why); there != call_status::yes) return there;
  made.one_shot = wanted.one_shot != 0;
  const bool by_priority = wanted.by_priority != 0;
  const bool on_card = wanted.device_ring != 0 && !(made.one_shot && by_priority);
  using device::visibility;
  // By form, by order, by where the ring is.
  const void* const kernels[2][2][2] = {
      {{reinterpret_cast<const void*>(device::run_persistent<Handlers>),
        reinterpret_cast<const void*>(device::run_arrivals<Handlers>)},
       {reinterpret_cast<const void*>(device::run_by_priority<visibility::host, Handlers>),
        reinterpret_cast<const void*>(device::run_by_priority<visibility::mirrored, Handlers>)}},
      {{reinterpret_cast<const void*>(device::run_once<visibility::host, Handlers>),
        reinterpret_cast<const void*>(device::run_once<visibility::mirrored, Handlers>)},
       {reinterpret_cast<const void*>(device::run_once_by_priority<Handlers>),
        reinterpret_cast<const void*>(device::run_once_by_priority<Handlers>)}}};
  made.code = kernels[made.one_shot][by_priority][on_card];
  // A kernel that is loaded while another one stays on the device might wait for it for ever.
  for (const auto& form : kernels) {
    for (const auto& order : form) {
      for (const void* const code : order) {
        hipFuncAttributes attributes;
        if (const hipError_t s = hipFuncGetAttributes(&attributes, code); s != hipSuccess)
          return refuse(why, s, "the kernels were not built for this device");
      }
    }
  }
  if (const call_status fits = shape(made, wanted, gpu, lanes, why); fits != call_status::yes)
    return fits;
  made.on_device.where = wanted.where;
  made.on_device.quantum = wanted.quantum;
  made.control = wanted.where.control;
  if (const call_status pinned = pin(made, made.on_device.where, why); pinned != call_status::yes)
    return pinned;

  void* box = nullptr;
  if (const hipError_t s =
          hipHostMalloc(&box, sizeof(device::mailbox),
                        hipHostMallocMapped | hipHostMallocPortable | hipHostMallocCoherent);
      s != hipSuccess)
    return refuse(why, s, "no memory that host and device share");
  made.box = static_cast<device::mailbox*>(box);
  std::memset(box, 0, sizeof(device::mailbox));
  void* box_there = nullptr;
  if (const hipError_t s = hipHostGetDevicePointer(&box_there, box, 0); s != hipSuccess)
    return refuse(why, s, "the device does not see the host's memory");
  made.on_device.box = static_cast<device::mailbox*>(box_there);
  constexpr std::size_t lock_bytes = device::swap_locks::count * sizeof(word);
  const std::size_t device_bytes =
      sizeof(device::control_mirror) + lock_bytes + made.blocks * sizeof(word);
  if (const hipError_t s = hipMalloc(&made.on_card, device_bytes); s != hipSuccess)
    return refuse(why, s, "no memory on the device");
  made.on_device.on = static_cast<device::control_mirror*>(made.on_card);
  made.on_device.locks.words = reinterpret_cast<word*>(made.on_device.on + 1);
  made.on_device.flushed = made.on_device.locks.words + device::swap_locks::count;
  if (const hipError_t s = hipStreamCreateWithFlags(&made.stream, hipStreamNonBlocking);
      s != hipSuccess)
    return refuse(why, s, "no stream");
  made.has_stream = true;
  if (const hipError_t s = hipMemsetAsync(made.on_card, 0, device_bytes, made.stream);
      s != hipSuccess)
    return refuse(why, s, "the device's memory cannot be cleared");
  if (on_card) {
    if (const hipError_t s =
            made.ring.emplace().make(wanted.where.ring, wanted.where.slots, made.box, made.stream);
        s != hipSuccess)
      return refuse(why, s, "no memory for the ring on the device");
    made.on_device.where.host_ring = made.on_device.where.ring;
    made.on_device.where.ring = made.ring->slots();
    made.on_device.where.ready_bits = made.one_shot ? nullptr : made.ring->ready_bits();
  }
  if (const hipError_t s = made.scanner.prepare(); s != hipSuccess)
    return refuse(why, s, "the ring cannot be scanned");
  if (const hipError_t s = launch(made, true); s != hipSuccess)
    return refuse(why, s, "the kernel cannot be launched");
  return call_status::yes;
}

template <class Handlers>
call_status start(void*, const request* wanted, kernel** started, uint32_t* lanes, failure* why) {
  *started = nullptr;
  *lanes = 0;
  *why = {};
  try {
    kernel* const made = new kernel;
    const call_status how = start_into<Handlers>(*made, *wanted, lanes, why);
    if (how == call_status::yes)
      *started = made;
    else
      close(made);
    return how;
  } catch (const std::bad_alloc&) {
    std::snprintf(why->sentence, sizeof why->sentence, "no memory");
    return call_status::no_memory;
  }
}

inline call_status running(kernel* of, uint32_t* lanes, failure* why) {
  const std::lock_guard<std::mutex> lock(of->mutex);
  *lanes = 0;
  if (of->failure != hipSuccess) return refuse(why, of->failure, "the kernel has failed");
  if (of->over) return call_status::yes;
  hipError_t status = hipStreamQuery(of->stream);
  if (status == hipSuccess && of->on_device.quantum != 0 && !of->one_shot &&
      __atomic_load_n(of->control + abi::shutdown_word, __ATOMIC_ACQUIRE) == 0 &&
      __atomic_load_n(&of->box->leave, __ATOMIC_ACQUIRE) == 0) {
    status = launch(*of, false);
    if (status == hipSuccess) status = hipErrorNotReady;
  }
  if (status == hipErrorNotReady) {
    (void)hipGetLastError();
    *lanes = of->lanes;
    return call_status::yes;
  }
  of->over = true;
  if (status == hipSuccess) return call_status::yes;
  of->failure = status;
  return refuse(why, status, "the kernel has failed");
}

inline uint32_t ask_flush(kernel* of) {
  return __atomic_add_fetch(&of->box->flush_asked, 1, __ATOMIC_RELEASE);
}
inline bool flushed(kernel* of, uint32_t number) {
  return __atomic_load_n(&of->box->flushed, __ATOMIC_ACQUIRE) - number < 1u << 31;
}
inline void leave(kernel* of) { __atomic_store_n(&of->box->leave, 1, __ATOMIC_RELEASE); }

inline call_status upload(kernel* of, const slot_range* ranges, uint32_t count, uint32_t* room,
                          failure* why) {
  *room = 0;
  if (!of->ring || of->one_shot) return call_status::yes;
  if (count != 0) {
    if (const hipError_t s = of->ring->send(ranges, count); s != hipSuccess)
      return refuse(why, s, "slots cannot be copied to the device");
  }
  if (const hipError_t s = of->ring->announce(); s != hipSuccess)
    return refuse(why, s, "slots were not copied to the device");
  *room = of->ring->room();
  return call_status::yes;
}

inline call_status scan(kernel* of, const scan_request* wanted, void* bytes, uint64_t capacity,
                        uint64_t* size, failure* why) {
  const std::lock_guard<std::mutex> lock(of->scanning);
  *size = 0;
  *why = {};
  if (!is_valid(wanted->what)) {
    std::snprintf(why->sentence, sizeof why->sentence, "no digest can be made for this request");
    return call_status::failed;
  }
  const auto began = std::chrono::steady_clock::now();
  device::ring_scanner& scanner = of->scanner;
  hipError_t status = scanner.query();
  if (status == hipErrorNotReady) return call_status::busy;
  const device::launch& where = of->on_device.where;
  if (status == hipSuccess)
    status = scanner.start(reinterpret_cast<const abi::slot*>(where.ring), where.slots,
                           of->ring ? device::ring_in::device_memory : device::ring_in::host_memory,
                           wanted->what);
  if (status == hipSuccess) {
    while ((status = scanner.query()) == hipErrorNotReady) {
      const auto gone = std::chrono::steady_clock::now() - began;
      if (static_cast<uint64_t>(std::chrono::nanoseconds(gone).count()) >= wanted->timeout)
        return call_status::busy;
      std::this_thread::yield();
    }
  }
  if (status != hipSuccess) return refuse(why, status, "the ring cannot be scanned");
  const uint64_t length = uint64_t{scanner.digest_words()} * sizeof(word);
  if (length > capacity) {
    std::snprintf(why->sentence, sizeof why->sentence, "the digest takes %llu bytes, not %llu",
                  static_cast<unsigned long long>(length),
                  static_cast<unsigned long long>(capacity));
    return call_status::failed;
  }
  std::memcpy(bytes, scanner.digest(), length);
  *size = length;
  return call_status::yes;
}

template <class Handlers>
const interface* interface_of(uint32_t version) {
  static constexpr interface all{
      interface_version, 0,       nullptr, probe, start<Handlers>, running,
      ask_flush,         flushed, leave,   close, upload,          scan};
  return version == interface_version ? &all : nullptr;
}

}  // namespace detail
}  // namespace megakernel::gpu

#define MEGAKERNEL_GPU_PLUGIN(...)                                                    \
  extern "C" __attribute__((visibility("default"))) const megakernel::gpu::interface* \
  megakernel_gpu_interface(uint32_t version) {                                        \
    return megakernel::gpu::detail::interface_of<__VA_ARGS__>(version);               \
  }
