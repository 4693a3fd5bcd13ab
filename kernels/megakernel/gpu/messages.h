// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The messages between the library and the process that drives a GPU for it, over a socket that
// keeps messages apart: one question, one answer. Both are built from one version of this header
// and run on one machine, so words are in its byte order; nothing else is taken for granted, as
// what a driver has crashed in may send anything.
//
//     question: header, then the call's `asked`; with a `start` comes the memory's descriptor, with
//               a `scan` that of a file for the digest, which is too long for a message
//     answer:   the same header, how it went and why not, then the call's `reported`
//
// Addresses do not travel: a launch says how far from the memory's start its buffers are.
#pragma once

#include <megakernel/gpu/plugin.h>

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <type_traits>

namespace megakernel::gpu::messages {

enum class call : uint32_t { open = 1, start, running, ask_flush, flushed, leave, upload, scan };

struct header {
  uint32_t call;
  uint32_t number;  ///< of the question; its answer repeats it
};

struct nothing {
  uint64_t zero;
};

/// Loads the plugin and looks for a GPU. The first call, once.
struct open {
  static constexpr auto id = call::open;
  using asked = nothing;
  struct reported {
    device_info found;
    char why_not[1024];  ///< a sentence longer than a `reason`: what was tried
  };
};

/// A buffer in the shared memory; all zero where there is none.
struct place {
  uint64_t offset;
  uint64_t count;  ///< of words, slots or bytes, as `device::launch` counts them
};

struct places {
  place control;
  place ring;
  place debug_log;
  place io_queue;
  place dfa_table;
  place arena;
  uint32_t system_tenant;
  uint32_t quotas;  ///< 0 or 1
};

/// Once a process.
struct start {
  static constexpr auto id = call::start;
  struct asked {
    places where;
    uint64_t quantum;
    uint32_t lanes;
    uint32_t by_priority;  ///< 0 or 1
    uint32_t one_shot;     ///< 0 or 1
    uint32_t device_ring;  ///< 0 or 1
  };
  struct reported {
    uint64_t lanes;
  };
};

struct running {
  static constexpr auto id = call::running;
  using asked = nothing;
  struct reported {
    uint64_t lanes;
  };
};

struct ask_flush {
  static constexpr auto id = call::ask_flush;
  using asked = nothing;
  struct reported {
    uint64_t number;
  };
};

struct flushed {
  static constexpr auto id = call::flushed;
  struct asked {
    uint64_t number;
  };
  struct reported {
    uint64_t yes;  ///< 0 or 1
  };
};

struct leave {
  static constexpr auto id = call::leave;
  using asked = nothing;
  using reported = nothing;
};

/// No more ranges than the last reply had room for.
struct upload {
  static constexpr auto id = call::upload;
  struct asked {
    uint32_t count;
    uint32_t zero;
    slot_range ranges[most_ranges];  ///< the first `count` of them, inside the ring; then zeros
  };
  struct reported {
    uint64_t room;
  };
};

/// Writes the digest to the start of the file.
struct scan {
  static constexpr auto id = call::scan;
  struct asked {
    digest_request what;
    uint32_t zero;
    uint64_t timeout;  ///< nanoseconds
  };
  struct reported {
    uint64_t bytes;
    uint64_t busy;  ///< 0 or 1
  };
};

template <class Call>
struct question {
  header head;
  typename Call::asked body;
};

template <class Call>
struct reply {
  header head;
  uint32_t how;  ///< an `answer`
  uint32_t zero;
  failure why;
  typename Call::reported body;
};

/// Both ends' room for a message: more than the longest, so that one too long is seen to be.
inline constexpr size_t most_bytes = 4096;

/// A message of exactly this kind.
template <class Message>
[[nodiscard]] bool decode(const unsigned char* bytes, size_t size, Message& into) {
  static_assert(std::has_unique_object_representations_v<Message>, "no byte without a meaning");
  static_assert(sizeof(Message) < most_bytes);
  if (size != sizeof(Message)) return false;
  memcpy(&into, bytes, sizeof(Message));
  return true;
}

namespace detail {

/// Where a buffer of `count` elements of `unit` bytes is; false where it is not in the memory.
inline bool to_place(const void* data, uint64_t count, uint64_t unit, const shared_memory& in,
                     place& out) {
  out = {0, 0};
  if (data == nullptr || count == 0) return true;
  const uintptr_t from = reinterpret_cast<uintptr_t>(in.at);
  const uintptr_t at = reinterpret_cast<uintptr_t>(data);
  if (at < from || at - from > in.bytes || count > (in.bytes - (at - from)) / unit) return false;
  out = {at - from, count};
  return true;
}

/// The other way: on a cache line, and all of it inside.
template <class T, class Count>
bool from_place(const place& given, uint64_t unit, uint64_t most, unsigned char* at, uint64_t bytes,
                T*& data, Count& count) {
  data = nullptr;
  count = 0;
  if (given.count == 0) return given.offset == 0;
  if (given.offset % 64 != 0 || given.offset > bytes || given.count > most) return false;
  if (given.count > (bytes - given.offset) / unit) return false;
  data = reinterpret_cast<T*>(at + given.offset);
  count = static_cast<Count>(given.count);
  return true;
}

}  // namespace detail

/// The launch in places of the memory; false where not all of it lies there.
[[nodiscard]] inline bool to_places(const device::launch& where, const shared_memory& in,
                                    places& out) {
  using detail::to_place;
  out.system_tenant = where.system_tenant;
  out.quotas = where.quotas;
  return to_place(where.control, where.control_words, sizeof(word), in, out.control) &&
         to_place(where.ring, where.slots, abi::slot_bytes, in, out.ring) &&
         to_place(where.debug_log, where.debug_words, sizeof(word), in, out.debug_log) &&
         to_place(where.io_queue, where.io_slots, abi::io_slot_bytes, in, out.io_queue) &&
         to_place(where.dfa_table, where.dfa_words, sizeof(word), in, out.dfa_table) &&
         to_place(where.arena, where.arena_bytes, 1, in, out.arena);
}

/// The launch over `bytes` bytes of memory at `at`, which is page-aligned; false where it is none
/// that a kernel may be given. Buffers that overlap are the sender's affair: they are its memory.
[[nodiscard]] inline bool from_places(const places& given, unsigned char* at, uint64_t bytes,
                                      device::launch& out) {
  using detail::from_place;
  constexpr uint64_t most = 0xFFFF'FFFFu;
  out.system_tenant = given.system_tenant;
  out.quotas = given.quotas == 1;
  return given.quotas <= 1 &&
         from_place(given.control, sizeof(word), most, at, bytes, out.control, out.control_words) &&
         out.control_words >= abi::control_words &&
         from_place(given.ring, abi::slot_bytes, most, at, bytes, out.ring, out.slots) &&
         out.slots != 0 &&
         from_place(given.debug_log, sizeof(word), most, at, bytes, out.debug_log,
                    out.debug_words) &&
         from_place(given.io_queue, abi::io_slot_bytes, abi::max_io_slots, at, bytes, out.io_queue,
                    out.io_slots) &&
         from_place(given.dfa_table, sizeof(word), most, at, bytes, out.dfa_table, out.dfa_words) &&
         from_place(given.arena, 1, ~uint64_t{0}, at, bytes, out.arena, out.arena_bytes);
}

}  // namespace megakernel::gpu::messages
