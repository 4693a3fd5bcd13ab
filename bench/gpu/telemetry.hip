// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Telemetry of a ring on the device, against a plain count on this processor, to the last counter
// of every sketch and the last slot of every window; and how fast, as a share of what the device
// reads at best in the same run.
//
// Exit status: 0 all equal, 1 something differs, 77 no GPU.
#include <megakernel/device/scan.h>

#include <cstring>
#include <vector>

#include "../../testing/oracle/oracle_digest.h"
#include "limits.h"

namespace {

using namespace limits;
using device::ring_counts;
using device::ring_is;
using device::scan_memory;

MEGAKERNEL_HOST_DEVICE inline word draw(word slot, word what) {
  uint64_t z = (uint64_t{slot} << 3 | what) * 0x9E37'79B9'7F4A'7C15u;
  z = (z ^ z >> 30) * 0xBF58'476D'1CE4'E5B9u;
  z = (z ^ z >> 27) * 0x94D0'49BB'1331'11EBu;
  return static_cast<word>(z >> 29);
}

/// Status, opcode, tenant of a slot; one in `odd` has one that is not usual.
struct slot_head {
  word status, op, tenant;
};
MEGAKERNEL_HOST_DEVICE inline slot_head head_of(word slot, word odd) {
  const bool is_odd = odd != 0 && draw(slot, 0) % odd == 0;
  const word which = draw(slot, 4) % 3;
  return {is_odd && which == 0 ? draw(slot, 1) : draw(slot, 1) % 8,
          is_odd && which == 1 ? draw(slot, 2) : draw(slot, 2) % 20,
          is_odd && which == 2 ? draw(slot, 3) : draw(slot, 3) % 29};
}

/// Tickets of runs of slots, as a producer publishes windows; there are at most `tickets`.
MEGAKERNEL_HOST_DEVICE inline word ticket_of(word slot, word tickets) {
  return slot / 8 % tickets * 0x9E37'79B1u;
}
MEGAKERNEL_HOST_DEVICE inline word class_of(word slot) { return draw(slot, 5) % 3; }

static __global__ void fill_ring(abi::slot* ring, word slots, word odd, word tickets) {
  for (word i = blockIdx.x * blockDim.x + threadIdx.x; i < slots; i += gridDim.x * blockDim.x) {
    const slot_head head = head_of(i, odd);
    device::store_quad(ring + i, make_uint4(head.status, head.op, head.tenant, 2));
    for (word q = 1; q < 4; ++q)
      device::store_quad(reinterpret_cast<word*>(ring + i) + 4 * q,
                         make_uint4(q == 1 ? ticket_of(i, tickets) : draw(i, 5),
                                    q == 1 ? class_of(i) : i, ~i, draw(i, 6)));
  }
}

/// The digest as the plain implementation makes it of the same slots.
std::vector<word> oracle_digest(word slots, word odd, word tickets, const digest_request& what) {
  std::vector<word> ring(std::size_t{slots} * abi::slot_words);
  for (word i = 0; i < slots; ++i) {
    word* const slot = ring.data() + std::size_t{i} * abi::slot_words;
    const slot_head head = head_of(i, odd);
    slot[0] = head.status;
    slot[1] = head.op;
    slot[2] = head.tenant;
    slot[4] = ticket_of(i, tickets);
    slot[5] = class_of(i);
  }
  return oracle::make_digest(
      ring.data(), slots,
      {what.depth, what.width,
       std::vector<word>(what.window_opcode, what.window_opcode + what.window_opcodes)});
}

using scan_kernel = void (*)(const abi::slot*, word, scan_memory, digest_request);

struct scanner {
  static constexpr word places = abi::digest::most_windows;
  const gpu_support::properties& gpu;
  const gpu_support::stream& stream;
  gpu_support::device_memory<abi::slot> ring;
  gpu_support::device_memory<ring_counts> counts{1};
  gpu_support::device_memory<uint64_t> sketches{std::size_t{4} * abi::digest::most_counters};
  gpu_support::device_memory<device::window_place> windows{places};
  gpu_support::device_memory<word> taken{places};
  gpu_support::device_memory<word> ordered{places};
  gpu_support::pinned_memory<word> digest{abi::digest::most_words};
  gpu_support::stopwatch watch;

  scanner(const gpu_support::properties& gpu_properties, const gpu_support::stream& on, word slots)
      : gpu(gpu_properties), stream(on), ring(slots) {}

  [[nodiscard]] scan_memory memory() const {
    return {counts.data(), sketches.data(), windows.data(), taken.data(), ordered.data(), places};
  }
  void fill(word slots, word odd, word tickets) {
    gpu_support::launch(fill_ring, gpu_support::resident(fill_ring, 256, gpu), stream, ring.data(),
                        slots, odd, tickets);
    stream.wait();
  }
  /// Seconds of the scan itself; clearing before and writing the digest after it are not of it.
  double scan(scan_kernel code, std::uint32_t lanes, word slots, const digest_request& what) {
    const scan_memory to = memory();
    const abi::slot* const from = ring.data();
    const gpu_support::shape grid = gpu_support::resident(code, lanes, gpu);
    gpu_support::launch(device::clear_scan, {gpu.processors, 256}, stream, to, what);
    const double seconds = watch.time(stream, [&] {
      gpu_support::launch(code, grid, stream, from, slots, to, what);
      gpu_support::launch(device::finish_scan, {1, 1024}, stream, to, what);
    });
    if (what.window_opcodes != 0)
      gpu_support::launch(device::rank_windows, {places / device::rank_tile, device::rank_tile},
                          stream, to);
    gpu_support::launch(device::write_digest, {gpu.processors, 256}, stream, to, slots, what,
                        digest.device());
    return seconds;
  }
  void verify(const std::vector<word>& wanted, const char* what) {
    stream.wait();
    for (std::size_t i = 0; i < wanted.size(); ++i)
      if (digest.host()[i] != wanted[i])
        gpu_support::fail("%s: word %zu of the digest is %u and not %u", what, i, digest.host()[i],
                          wanted[i]);
  }
};

constexpr digest_request sketches_of(word depth, word width) { return {depth, width, 0, {}}; }
/// With windows of three opcodes of twenty.
constexpr digest_request with_windows(word depth, word width) {
  return {depth, width, 3, {2, 9, 17}};
}

}  // namespace

int main() {
  gpu_support::watchdog dog(std::chrono::seconds(60));
  const gpu_support::properties gpu = gpu_support::take("megakernel_gpu_telemetry");
  const gpu_support::stream stream;
  constexpr word slots = 1 << 24;
  dog.begin("checking");
  scanner large(gpu, stream, slots);
  for (const digest_request& what : {sketches_of(4, 1024), sketches_of(3, 1000), sketches_of(1, 1),
                                     with_windows(4, 1024), with_windows(0, 0)}) {
    for (const word count : {1u, 31u, 1000u, 100'000u}) {
      for (const word odd : {0u, 1u, 7u}) {
        large.fill(count, odd, 1000);
        const scan_kernel code = what.window_opcodes == 0
                                     ? device::scan_ring<4, ring_is::at_rest, false>
                                     : device::scan_ring<4, ring_is::at_rest, true>;
        (void)large.scan(code, 512, count, what);
        large.verify(oracle_digest(count, odd, 1000, what), "a small ring");
      }
    }
  }
  bench on(gpu, std::size_t{1} << 30, std::size_t{1} << 20, 1024);
  constexpr word tickets = 1000;
  large.fill(slots, 0, tickets);
  dog.begin("counting here");
  const std::vector<word> counted = oracle_digest(slots, 0, tickets, sketches_of(4, 1024));
  const std::vector<word> grouped = oracle_digest(slots, 0, tickets, with_windows(4, 1024));
  std::vector<table::limit> all;
  all.push_back(
      {"device read", "GB/s", better::higher, reads<4, 8>(on, on.from.data(), on.from.bytes())});
  const auto way = [&](const char* name, scan_kernel code, std::uint32_t lanes,
                       const digest_request& what, const std::vector<word>& wanted) {
    return table::way{name,
                      [=, &large, &wanted](samples& into) {
                        const double seconds = large.scan(code, lanes, slots, what);
                        if (into.size() < 2) large.verify(wanted, name);
                        into.push_back(double{slots} * abi::slot_bytes / seconds * giga);
                      },
                      {}};
  };
  const auto plainly = [&](const char* name, scan_kernel code, std::uint32_t lanes) {
    return way(name, code, lanes, sketches_of(4, 1024), counted);
  };
  const auto windowed = [&](const char* name, scan_kernel code, std::uint32_t lanes) {
    return way(name, code, lanes, with_windows(4, 1024), grouped);
  };
  constexpr auto rest = ring_is::at_rest;
  constexpr auto used = ring_is::in_use;
  all.push_back({"telemetry of 2^24 slots, bytes of the ring",
                 "GB/s",
                 better::higher,
                 {plainly("2 slots a lane, 1024 lanes", device::scan_ring<2, rest, false>, 1024),
                  plainly("4 slots a lane, 1024 lanes", device::scan_ring<4, rest, false>, 1024),
                  plainly("8 slots a lane, 1024 lanes", device::scan_ring<8, rest, false>, 1024),
                  plainly("4 slots a lane, 512 lanes", device::scan_ring<4, rest, false>, 512),
                  plainly("8 slots a lane, 512 lanes", device::scan_ring<8, rest, false>, 512),
                  plainly("as of now, 4 a lane, 512", device::scan_ring<4, used, false>, 512)}});
  all.push_back({"the same, windows of 3 opcodes",
                 "GB/s",
                 better::higher,
                 {windowed("2 slots a lane, 512 lanes", device::scan_ring<2, rest, true>, 512),
                  windowed("4 slots a lane, 512 lanes", device::scan_ring<4, rest, true>, 512),
                  windowed("as of now, 4 a lane, 512", device::scan_ring<4, used, true>, 512)}});
  table::measure(all, 20, dog);
  table::print(gpu, all);
  const double share = table::quantile(table::best(all[1]).samples, 0.5) /
                       table::quantile(table::best(all[0]).samples, 0.5);
  const double with = table::quantile(table::best(all[2]).samples, 0.5) /
                      table::quantile(table::best(all[0]).samples, 0.5);
  std::printf("\nwith windows: %.2f of the read bandwidth\n", with);
  std::printf(
      "counts, windows and sketches are those of this processor; %.2f of the read bandwidth, "
      "wanted "
      "at least 0.85: %s\n",
      share, share >= 0.85 ? "met" : "MISSED");
  return 0;
}
