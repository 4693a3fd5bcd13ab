// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The interface between the runtime and a GPU plugin: a shared object with one function, so that
// the library itself needs no GPU toolkit. Everything here is plain data of a fixed layout; library
// and plugin are built from one version of this header, and say so to each other.
#pragma once

#include <megakernel/handlers.h>
#include <megakernel/ring_digest.h>

#include <stddef.h>
#include <stdint.h>

namespace megakernel::gpu {

/// Changes with every change of what follows, `device::launch` included.
inline constexpr uint32_t interface_version = 2;

enum class call_status : uint32_t {
  yes = 0,
  no_gpu,          ///< none is there or none is visible
  no_memory,       ///< of the host or of the device
  too_many_lanes,  ///< more than the device has at once
  failed,          ///< a call of the GPU's runtime was refused, or the device is lost
  not_shared,      ///< the kernel would run in a process that does not reach the memory
  busy,            ///< the device has no room for it now
};

/// Why not, for people, and the number that the GPU's runtime has for it, 0 where it has none.
struct failure {
  int32_t number;
  char sentence[252];
};

struct device_info {
  char name[256];
  uint32_t processors;
  uint32_t wave_size;
};

/// The memory behind `request::where`, as a file that another process can map.
struct shared_memory {
  unsigned char* at;   ///< the file's first byte, as this process sees it
  uint64_t bytes;      ///< of the file
  int32_t descriptor;  ///< less than 0: there is no file
};

struct request {
  device::launch where;  ///< in addresses of the host; in place until the kernel is closed
  uint64_t quantum;  ///< nanoseconds after which the kernel leaves and is started anew; 0: never
  uint32_t lanes;    ///< rounded up to whole waves; 0: as many as are on the device at once
  uint32_t by_priority;  ///< not zero: the priority form
  uint32_t one_shot;     ///< not zero: each slot is looked at once
  /// Not zero: lanes work on a ring in the device's memory. The one-shot form copies the host's
  /// there before it runs, and in the order by priority ignores this.
  uint32_t device_ring;
  shared_memory memory;  ///< for a GPU that another process has; of no matter where this one does
};

/// Ranges of slots that can be on their way at once.
inline constexpr uint32_t most_ranges = 64;

/// Consecutive slots, at least one.
struct slot_range {
  uint32_t first;
  uint32_t count;
};

struct scan_request {
  digest_request what;
  uint64_t timeout;  ///< nanoseconds that a scan may take; it is looked for at least once
};

struct kernel;  ///< one that was started

struct interface {
  uint32_t version;
  /// Not zero: kernels run in another process. `close` then ends one whatever it does, and whatever
  /// is lost is lost there.
  uint32_t own_process;
  void* context;  ///< of whoever made this interface; the calls without a kernel are given it
  /// Whether there is a GPU, and which.
  call_status (*probe)(void* context, device_info* found, failure* why);
  /// Starts a kernel; `lanes` is how many it has, or with `too_many_lanes` how many there could be.
  call_status (*start)(void* context, const request* wanted, kernel** started, uint32_t* lanes,
                       failure* why);
  /// Lanes that have not left; starts the next quantum where that is due. `failed`: the kernel will
  /// never report again. Any thread.
  call_status (*running)(kernel* of, uint32_t* lanes, failure* why);
  /// Asks every wave to add up its counts; the number to look for. Any thread.
  uint32_t (*ask_flush)(kernel* of);
  /// Whether all have done so since.
  bool (*flushed)(kernel* of, uint32_t number);
  /// Ends the kernel as SHUTDOWN would.
  void (*leave)(kernel* of);
  /// Gives everything back. Only where `running` says that nobody is, or fails; or of another
  /// process.
  void (*close)(kernel* of);
  /// With a ring in the device's memory: starts to copy these ranges of the host's slots there, no
  /// more than there was room for, and says for how many there is room now: `most_ranges` when none
  /// is on its way, zero with a ring in the host's. Lanes find a range some calls later, once it is
  /// there whole; a call without ranges helps them to. One thread at a time.
  call_status (*upload)(kernel* of, const slot_range* ranges, uint32_t count, uint32_t* room,
                        failure* why);
  /// Reduces the kernel's ring, where it is and while it is worked on, to a digest (ring_digest.h)
  /// of `size` bytes, `capacity` at most. `busy`: not within the timeout, or a scan that was given
  /// up before has not ended yet. Any thread; one scan at a time.
  call_status (*scan)(kernel* of, const scan_request* wanted, void* bytes, uint64_t capacity,
                      uint64_t* size, failure* why);
};

/// The function's name, and its type: null for a version that the plugin does not have.
inline constexpr const char* entry_point = "megakernel_gpu_interface";
using entry = const interface* (*)(uint32_t version);

}  // namespace megakernel::gpu
