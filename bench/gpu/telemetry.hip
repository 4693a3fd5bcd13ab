// Telemetry of a ring on the card, against a plain count on this processor, to the last counter of
// every sketch; and how fast, as a share of what the card reads at best in the same run.
//
// Exit status: 0 all equal, 1 something differs, 77 no GPU.
#include <megakernel/telemetry_kernel.h>

#include <cstring>
#include <vector>

#include "limits.h"

namespace {

using namespace limits;
using device::ring_counts;
using device::sketch_of;
using device::sketch_shape;

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

static __global__ void fill_ring(abi::slot* ring, word slots, word odd) {
  for (word i = blockIdx.x * blockDim.x + threadIdx.x; i < slots; i += gridDim.x * blockDim.x) {
    const slot_head head = head_of(i, odd);
    device::store_quad(ring + i, make_uint4(head.status, head.op, head.tenant, 2));
    for (word q = 1; q < 4; ++q)
      device::store_quad(reinterpret_cast<word*>(ring + i) + 4 * q,
                         make_uint4(draw(i, 5), i, ~i, draw(i, 6)));
  }
}

/// The textbook's count, slot by slot and row by row.
struct plain_counts {
  ring_counts counts{};
  std::vector<uint64_t> sketches;
  plain_counts(word slots, word odd, sketch_shape shape)
      : sketches(std::size_t{4} * shape.depth * shape.width) {
    const auto add = [&](sketch_of which, word key) {
      for (word row = 0; row < shape.depth; ++row) {
        uint64_t x = (key ^ row * 0x9E37'79B9'7F4A'7C15u) + 0x9E37'79B9'7F4A'7C15u;
        x = (x ^ x >> 30) * 0xBF58'476D'1CE4'E5B9u;
        x = (x ^ x >> 27) * 0x94D0'49BB'1331'11EBu;
        ++sketches[(std::size_t(which) * shape.depth + row) * shape.width +
                   (x ^ x >> 31) % shape.width];
      }
    };
    for (word i = 0; i < slots; ++i) {
      const slot_head head = head_of(i, odd);
      ++counts.occupancy[head.status < 8 ? head.status : 8];
      ++(head.op < 32 ? counts.opcodes[head.op] : counts.other_opcodes);
      ++(head.tenant < 32 ? counts.tenants[head.tenant] : counts.other_tenants);
      add(sketch_of::ring_opcode, head.op);
      add(sketch_of::tenant, head.tenant);
      add(sketch_of::status, head.status);
      if (!is_active(slot_status{head.status})) continue;
      ++counts.active;
      add(sketch_of::active_opcode, head.op);
    }
  }
};

using scan_kernel = void (*)(const abi::slot*, word, ring_counts*, uint64_t*, sketch_shape);

struct scanner {
  const card::properties& gpu;
  const card::stream& stream;
  card::device_memory<abi::slot> ring;
  card::device_memory<ring_counts> counts{1};
  card::device_memory<uint64_t> sketches;
  sketch_shape shape;
  card::stopwatch watch;

  scanner(const card::properties& card, const card::stream& on, word slots, sketch_shape of)
      : gpu(card),
        stream(on),
        ring(slots),
        sketches(std::size_t{4} * of.depth * of.width),
        shape(of) {}

  void fill(word slots, word odd) {
    card::launch(fill_ring, card::resident(fill_ring, 256, gpu), stream, ring.data(), slots, odd);
    stream.wait();
  }
  double scan(scan_kernel code, std::uint32_t lanes, word slots) {
    CHECKED(hipMemsetAsync(counts.data(), 0, counts.bytes(), stream));
    CHECKED(hipMemsetAsync(sketches.data(), 0, sketches.bytes(), stream));
    const card::shape grid = card::resident(code, lanes, gpu);
    const abi::slot* const from = ring.data();
    return watch.time(stream, [&] {
      card::launch(code, grid, stream, from, slots, counts.data(), sketches.data(), shape);
      card::launch(device::finish_scan, {1, 1024}, stream, counts.data(), sketches.data(), shape);
    });
  }
  void verify(const plain_counts& wanted, const char* what) {
    ring_counts got;
    std::vector<uint64_t> tables(wanted.sketches.size());
    CHECKED(hipMemcpyAsync(&got, counts.data(), sizeof got, hipMemcpyDeviceToHost, stream));
    CHECKED(hipMemcpyAsync(tables.data(), sketches.data(), sketches.bytes(), hipMemcpyDeviceToHost,
                           stream));
    stream.wait();
    if (std::memcmp(&got, &wanted.counts, offsetof(ring_counts, joint)) != 0)
      card::fail("%s: the counts differ", what);
    if (tables != wanted.sketches) card::fail("%s: the sketches differ", what);
  }
};

}  // namespace

int main() {
  card::watchdog dog(std::chrono::seconds(60));
  const card::properties gpu = card::take("megakernel_gpu_telemetry");
  const card::stream stream;
  constexpr word slots = 1 << 24;
  dog.begin("checking");
  for (const sketch_shape shape :
       {sketch_shape{4, 1024}, sketch_shape{3, 1000}, sketch_shape{1, 1}}) {
    scanner small(gpu, stream, 100'000, shape);
    for (const word count : {1u, 31u, 1000u, 100'000u}) {
      for (const word odd : {0u, 1u, 7u}) {
        small.fill(count, odd);
        (void)small.scan(device::scan_ring<4>, 512, count);
        small.verify(plain_counts(count, odd, shape), "a small ring");
      }
    }
  }
  bench on(gpu, std::size_t{1} << 30, std::size_t{1} << 20, 1024);
  scanner large(gpu, stream, slots, {4, 1024});
  large.fill(slots, 0);
  dog.begin("counting here");
  const plain_counts wanted(slots, 0, {4, 1024});
  std::vector<table::limit> all;
  all.push_back(
      {"device read", "GB/s", better::higher, reads<4, 8>(on, on.from.data(), on.from.bytes())});
  const auto way = [&](const char* name, scan_kernel code, std::uint32_t lanes) {
    return table::way{name,
                      [=, &large, &wanted](samples& into) {
                        const double seconds = large.scan(code, lanes, slots);
                        if (into.size() < 2) large.verify(wanted, name);
                        into.push_back(double{slots} * abi::slot_bytes / seconds * giga);
                      },
                      {}};
  };
  all.push_back({"telemetry of 2^24 slots, bytes of the ring",
                 "GB/s",
                 better::higher,
                 {way("2 slots a lane, 1024 lanes", device::scan_ring<2>, 1024),
                  way("4 slots a lane, 1024 lanes", device::scan_ring<4>, 1024),
                  way("8 slots a lane, 1024 lanes", device::scan_ring<8>, 1024),
                  way("4 slots a lane, 512 lanes", device::scan_ring<4>, 512),
                  way("8 slots a lane, 512 lanes", device::scan_ring<8>, 512)}});
  table::measure(all, 20, dog);
  table::print(gpu, all);
  const double share = table::quantile(table::best(all[1]).samples, 0.5) /
                       table::quantile(table::best(all[0]).samples, 0.5);
  std::printf(
      "\ncounts and sketches are those of this processor; %.2f of the read bandwidth, wanted "
      "at least 0.85: %s\n",
      share, share >= 0.85 ? "met" : "MISSED");
  return 0;
}
