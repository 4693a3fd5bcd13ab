// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Ways to measure what a device can do at best: launches, a word sent to and fro through pinned
// memory, bandwidths, and the bare draining of a ring.
#pragma once

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "bare_drain.h"
#include "gpu_support.h"
#include "table.h"

namespace limits {

using namespace megakernel;
using gpu_support::shape;
using table::better;
using samples = std::vector<double>;

constexpr double micro = 1e6;
constexpr double giga = 1e-9;

// Launches

static __global__ void nothing() {}

/// A graph of one empty kernel.
class empty_graph {
 public:
  explicit empty_graph(const gpu_support::stream& stream) {
    CHECKED(hipStreamBeginCapture(stream, hipStreamCaptureModeThreadLocal));
    gpu_support::launch(nothing, {1, 1}, stream);
    CHECKED(hipStreamEndCapture(stream, &graph_));
    CHECKED(hipGraphInstantiateWithFlags(&executable_, graph_, 0));
  }
  empty_graph(const empty_graph&) = delete;
  empty_graph& operator=(const empty_graph&) = delete;
  ~empty_graph() {
    CHECKED(hipGraphExecDestroy(executable_));
    CHECKED(hipGraphDestroy(graph_));
  }
  void launch(const gpu_support::stream& stream) const {
    CHECKED(hipGraphLaunch(executable_, stream));
  }

 private:
  hipGraph_t graph_{};
  hipGraphExec_t executable_{};
};

/// Twenty times from `enqueue` to the end of what it puts on the stream, known in two ways: the
/// call that waits, which the watchdog bounds, and queries in a loop.
template <class Enqueue>
std::vector<table::way> until_done(const gpu_support::stream& stream, Enqueue enqueue) {
  const auto sampler = [&stream, enqueue](auto wait) {
    return [&stream, enqueue, wait](samples& into) {
      for (int i = 0; i < 20; ++i) {
        const auto start = gpu_support::clock::now();
        enqueue();
        wait(stream);
        into.push_back(gpu_support::seconds_since(start) * micro);
      }
    };
  };
  return {{"synchronise",
           sampler([](const gpu_support::stream& s) { CHECKED(hipStreamSynchronize(s)); }),
           {}},
          {"query in a loop", sampler([](const gpu_support::stream& s) { s.wait(); }), {}}};
}

inline table::limit asynchronous_launch(const gpu_support::stream& stream) {
  constexpr int train = 256;
  return {"asynchronous launch",
          "us",
          better::lower,
          {{"one of a train of 256",
            [&](samples& into) {
              const auto start = gpu_support::clock::now();
              for (int i = 0; i < train; ++i) gpu_support::launch(nothing, {1, 1}, stream);
              stream.wait();
              into.push_back(gpu_support::seconds_since(start) * micro / train);
            },
            {}}}};
}

// Ping-pong

/// A word each way, on lines of their own.
struct mailbox {
  alignas(128) word ping;
  alignas(128) word pong;
  alignas(128) word alive;
};
constexpr word stop = ~word{0};

/// Answers each new ping until it is told to stop or its time is over, whichever is first.
template <bool Ordered>
__global__ void answer(mailbox* box, uint64_t quantum_nanoseconds) {
  using namespace device;
  const bool speaks = lane_index() == 0;
  const uint64_t start = nanoseconds();
  if (speaks) store(&box->alive, 1u, relaxed, in_system);
  word last = 0;
  do {
    for (int i = 0; i < 64; ++i) {
      const word ping = load(&box->ping, relaxed, in_system);
      if (ping == stop) return;
      if (ping == last) continue;
      last = ping;
      if constexpr (Ordered) fence(acquire, in_system);
      if (!speaks) continue;
      if constexpr (Ordered)
        store(&box->pong, ping, release, in_system);
      else
        store(&box->pong, ping, relaxed, in_system);
    }
  } while (nanoseconds() - start < quantum_nanoseconds);
}

inline word read(const word& from) { return __atomic_load_n(&from, __ATOMIC_ACQUIRE); }
inline void write(word& to, word value) { __atomic_store_n(&to, value, __ATOMIC_RELEASE); }

/// Polls until the device has written `value`; querying the stream keeps work flowing to the device
/// on drivers that batch it, and finds a kernel that has died.
inline void expect(const word& from, word value, const gpu_support::stream& stream, bool query) {
  const auto start = gpu_support::clock::now();
  for (int spins = 1; read(from) != value; ++spins) {
    if (!query && spins % 65536 != 0) continue;
    if (stream.is_done() && read(from) != value)
      gpu_support::fail("a kernel that answers pings has left");
    if (gpu_support::seconds_since(start) > 5) gpu_support::fail("no answer to a ping within 5 s");
  }
}

template <bool Ordered>
table::way ping_pong(const char* name, const gpu_support::stream& stream, mailbox* host,
                     mailbox* device, std::uint32_t wave_size) {
  return {name,
          [=, &stream](samples& into) {
            *host = {};
            gpu_support::launch(answer<Ordered>, {1, wave_size}, stream, device,
                                std::uint64_t{2'000'000'000});
            expect(host->alive, 1, stream, true);
            auto start = gpu_support::clock::now();
            for (word i = 1; i <= 500; ++i) {
              write(host->ping, i);
              expect(host->pong, i, stream, false);
              const auto now = gpu_support::clock::now();
              if (i > 20)
                into.push_back(std::chrono::duration<double>(now - start).count() * micro);
              start = now;
            }
            write(host->ping, stop);
            stream.wait();
          },
          {}};
}

// Bandwidth

/// Whole chunks of `blockDim * Unroll` quads, a chunk a block at a time.
template <unsigned Unroll>
__global__ void read_quads(const uint4* from, std::size_t quads, word* sink) {
  const std::size_t chunk = std::size_t{blockDim.x} * Unroll;
  uint4 fold = make_uint4(0, 0, 0, 0);
  for (std::size_t at = blockIdx.x * chunk + threadIdx.x; at < quads; at += gridDim.x * chunk) {
    uint4 quad[Unroll];
#pragma unroll
    for (unsigned k = 0; k < Unroll; ++k) quad[k] = device::load_quad(from + at + k * blockDim.x);
#pragma unroll
    for (unsigned k = 0; k < Unroll; ++k)
      fold = make_uint4(fold.x ^ quad[k].x, fold.y ^ quad[k].y, fold.z ^ quad[k].z,
                        fold.w ^ quad[k].w);
  }
  // So rare that it costs nothing, and enough that no load can be left out.
  if ((fold.x ^ fold.y ^ fold.z ^ fold.w) == 0x5EED'5EEDu) *sink = 1;
}

template <unsigned Unroll>
__global__ void copy_quads(const uint4* from, uint4* to, std::size_t quads) {
  const std::size_t chunk = std::size_t{blockDim.x} * Unroll;
  for (std::size_t at = blockIdx.x * chunk + threadIdx.x; at < quads; at += gridDim.x * chunk) {
    uint4 quad[Unroll];
#pragma unroll
    for (unsigned k = 0; k < Unroll; ++k) quad[k] = device::load_quad(from + at + k * blockDim.x);
#pragma unroll
    for (unsigned k = 0; k < Unroll; ++k) device::store_quad(to + at + k * blockDim.x, quad[k]);
  }
}

/// Arbitrary words: memory that is all zero can be faster than memory that is not.
static __global__ void fill(uint4* to, std::size_t quads) {
  for (std::size_t at = blockIdx.x * std::size_t{blockDim.x} + threadIdx.x; at < quads;
       at += std::size_t{gridDim.x} * blockDim.x) {
    const auto slot = static_cast<word>(at);
    device::store_quad(to + at, make_uint4(bare::body_word(slot, 4), bare::body_word(slot, 5),
                                           bare::body_word(slot, 6), bare::body_word(slot, 7)));
  }
}

/// What all measurements work on.
struct bench {
  const gpu_support::properties& gpu;
  gpu_support::stream stream;
  gpu_support::stopwatch watch;
  gpu_support::device_memory<uint4> from;
  gpu_support::device_memory<uint4> to;
  gpu_support::pinned_memory<uint4> host;
  gpu_support::device_memory<abi::slot> ring;
  gpu_support::device_memory<bare::tally> total;
  gpu_support::device_memory<word> word_of_device;
  gpu_support::pinned_memory<mailbox> box;
  gpu_support::pinned_memory<bare::tally> total_of_host;
  gpu_support::pinned_memory<word> word_of_host;
  empty_graph graph;

  bench(const gpu_support::properties& gpu_properties, std::size_t bytes, std::size_t host_bytes,
        word slots)
      : gpu(gpu_properties),
        from(bytes / sizeof(uint4)),
        to(bytes / sizeof(uint4)),
        host(host_bytes / sizeof(uint4)),
        ring(slots),
        total(1),
        word_of_device(1),
        box(1),
        total_of_host(1),
        word_of_host(1),
        graph(stream) {
    const shape grid = gpu_support::resident(fill, 256, gpu);
    gpu_support::launch(fill, grid, stream, from.data(), from.bytes() / sizeof(uint4));
    gpu_support::launch(fill, grid, stream, to.data(), to.bytes() / sizeof(uint4));
    gpu_support::launch(fill, grid, stream, host.device(), host.bytes() / sizeof(uint4));
    stream.wait();
  }
};

/// A way of moving `bytes` that is timed on the device.
template <class Enqueue>
table::way moves(std::string name, bench& on, std::size_t bytes, Enqueue enqueue) {
  return {std::move(name),
          [&on, bytes, enqueue](samples& into) {
            into.push_back(static_cast<double>(bytes) * giga / on.watch.time(on.stream, enqueue));
          },
          {}};
}

inline std::string described(unsigned unroll, shape grid, bool is_resident) {
  return std::to_string(unroll) + " loads in flight, " + std::to_string(grid.lanes) + " lanes, " +
         (is_resident ? "resident blocks" : "a block a chunk");
}

/// The two grids of a kernel over chunks: all at once, or no more than fit the device.
template <class Kernel>
shape chunked(Kernel kernel, std::uint32_t lanes, std::size_t quads, unsigned unroll,
              bool is_resident, const gpu_support::properties& gpu) {
  if (is_resident) return gpu_support::resident(kernel, lanes, gpu);
  return {static_cast<std::uint32_t>(quads / (std::size_t{lanes} * unroll)), lanes};
}

template <unsigned... Unroll>
std::vector<table::way> reads(bench& on, const uint4* from, std::size_t bytes) {
  std::vector<table::way> ways;
  const auto add = [&](auto kernel, unsigned unroll) {
    for (const std::uint32_t lanes : {256u, 512u}) {
      for (const bool is_resident : {true, false}) {
        const std::size_t quads = bytes / sizeof(uint4);
        const shape grid = chunked(kernel, lanes, quads, unroll, is_resident, on.gpu);
        ways.push_back(moves(described(unroll, grid, is_resident), on, bytes, [=, &on] {
          gpu_support::launch(kernel, grid, on.stream, from, quads, on.word_of_device.data());
        }));
      }
    }
  };
  (add(read_quads<Unroll>, Unroll), ...);
  return ways;
}

template <unsigned... Unroll>
std::vector<table::way> copies(bench& on) {
  std::vector<table::way> ways;
  const std::size_t bytes = on.from.bytes();
  const auto add = [&](auto kernel, unsigned unroll) {
    for (const bool is_resident : {true, false}) {
      const std::size_t quads = bytes / sizeof(uint4);
      const shape grid = chunked(kernel, 256, quads, unroll, is_resident, on.gpu);
      ways.push_back(moves(described(unroll, grid, is_resident), on, 2 * bytes, [=, &on] {
        gpu_support::launch(kernel, grid, on.stream, on.from.data(), on.to.data(), quads);
      }));
    }
  };
  (add(copy_quads<Unroll>, Unroll), ...);
  ways.push_back(moves("the runtime's copy", on, 2 * bytes, [bytes, &on] {
    CHECKED(
        hipMemcpyAsync(on.to.data(), on.from.data(), bytes, hipMemcpyDeviceToDevice, on.stream));
  }));
  return ways;
}

// Draining a ring

/// What a complete drain of `slots` counts.
inline bare::tally complete(word slots) {
  bare::tally all{};
  all.done = slots;
  for (word slot = 0; slot < slots; ++slot) {
    ++all.metric[bare::body_word(slot, abi::opcode_word)];
    for (word i = abi::status_word + 1; i < abi::slot_words; ++i)
      all.body_sum += bare::body_word(slot, i);
  }
  return all;
}

/// The state that the caches are in when a drain begins.
enum class cache { of_publishing, of_other_memory };

struct drained {
  word slots;
  cache before;
  bare::tally expected;
};

/// Fails when not every slot ended in `status`, or a counter is wrong.
inline void verify(bench& on, const drained& ring, slot_status status, const char* how) {
  CHECKED(hipMemsetAsync(on.word_of_device.data(), 0, sizeof(word), on.stream));
  gpu_support::launch(bare::count_status, gpu_support::resident(bare::count_status, 256, on.gpu),
                      on.stream, on.ring.data(), ring.slots, status, on.word_of_device.data());
  CHECKED(hipMemcpyAsync(on.word_of_host.host(), on.word_of_device.data(), sizeof(word),
                         hipMemcpyDeviceToHost, on.stream));
  CHECKED(hipMemcpyAsync(on.total_of_host.host(), on.total.data(), sizeof(bare::tally),
                         hipMemcpyDeviceToHost, on.stream));
  on.stream.wait();
  if (*on.word_of_host.host() != ring.slots)
    gpu_support::fail("%s: %u of %u slots ended in status %u", how, *on.word_of_host.host(),
                      ring.slots, static_cast<word>(status));
  const bare::tally& got = *on.total_of_host.host();
  if (got.done != ring.expected.done)
    gpu_support::fail("%s: counted %u slots of %u", how, got.done, ring.expected.done);
  if (status != slot_status::done) return;
  for (word i = 0; i < abi::metrics; ++i)
    if (got.metric[i] != ring.expected.metric[i])
      gpu_support::fail("%s: counted opcode %u %u times instead of %u", how, i, got.metric[i],
                        ring.expected.metric[i]);
  if (got.body_sum != ring.expected.body_sum)
    gpu_support::fail("%s: the slots were not read whole", how);
}

using drain_kernel = void (*)(abi::slot*, word, bare::tally*);

inline table::way drains(const char* name, bench& on, const drained& ring, drain_kernel kernel,
                         slot_status leaves = slot_status::done) {
  const shape grid = gpu_support::resident(kernel, 256, on.gpu);
  return {name,
          [=, &on, &ring](samples& into) {
            gpu_support::launch(bare::publish, gpu_support::resident(bare::publish, 256, on.gpu),
                                on.stream, on.ring.data(), ring.slots);
            CHECKED(hipMemsetAsync(on.total.data(), 0, sizeof(bare::tally), on.stream));
            if (ring.before == cache::of_other_memory) {
              gpu_support::launch(read_quads<4>, gpu_support::resident(read_quads<4>, 256, on.gpu),
                                  on.stream, on.from.data(), on.from.bytes() / sizeof(uint4),
                                  on.word_of_device.data());
            }
            const double seconds = on.watch.time(on.stream, [&] {
              gpu_support::launch(kernel, grid, on.stream, on.ring.data(), ring.slots,
                                  on.total.data());
            });
            verify(on, ring, leaves, name);
            into.push_back(ring.slots * giga / seconds);
          },
          {}};
}

inline void add_drains(std::vector<table::limit>& limits, bench& on, const drained& ring) {
  using bare::counting;
  using bare::drain;
  using bare::ordering;
  unsigned power = 0;
  while (word{1} << power < ring.slots) ++power;
  const std::string what =
      " 2^" + std::to_string(power) + (ring.before == cache::of_publishing ? " warm" : " cold");
  const auto add = [&](const char* name, std::vector<table::way> ways) {
    limits.push_back({name + what, "G/s", better::higher, std::move(ways)});
  };
  constexpr auto left_claimed = slot_status::claimed;
  add("claim only,", {drains("1 a lane", on, ring, bare::claim_all<1>, left_claimed),
                      drains("2 a lane", on, ring, bare::claim_all<2>, left_claimed),
                      drains("4 a lane", on, ring, bare::claim_all<4>, left_claimed)});
  add("drain, global atomics a slot,",
      {drains("1 a lane", on, ring, drain<counting::per_slot, ordering::none, 1, false>),
       drains("2 a lane", on, ring, drain<counting::per_slot, ordering::none, 2, false>)});
  add("drain, counters a block,",
      {drains("1 a lane", on, ring, drain<counting::per_block, ordering::none, 1, false>),
       drains("2 a lane", on, ring, drain<counting::per_block, ordering::none, 2, false>),
       drains("4 a lane", on, ring, drain<counting::per_block, ordering::none, 4, false>),
       drains("1 a lane, peeks", on, ring, drain<counting::per_block, ordering::none, 1, true>),
       drains("2 a lane, peeks", on, ring, drain<counting::per_block, ordering::none, 2, true>),
       drains("4 a lane, peeks", on, ring, drain<counting::per_block, ordering::none, 4, true>)});
  add("drain, counters a block, system fences,",
      {drains("1 a lane", on, ring, drain<counting::per_block, ordering::fenced, 1, false>),
       drains("2 a lane", on, ring, drain<counting::per_block, ordering::fenced, 2, false>),
       drains("4 a lane", on, ring, drain<counting::per_block, ordering::fenced, 4, false>)});
}

}  // namespace limits
