// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// What the kernels stand on, checked on the device: atomics of both widths and all scopes lose
// nothing, the lanes of a wave agree as a plain loop over them says, a release carries what came
// before it, quads are whole, and the clock runs.
//
// Exit status: 0 all right, 1 something is not, 77 no GPU.
#include <megakernel/device/wave.h>

#include "../../bench/gpu/gpu_support.h"

namespace {

using namespace megakernel::device;

constexpr uint32_t lanes_of_block = 256;
constexpr uint32_t blocks = 512;
constexpr uint32_t all_lanes = blocks * lanes_of_block;
/// One lane of so many swaps: the losers of each round try again, all of them.
constexpr uint32_t swap_share = 64;

__host__ __device__ inline uint32_t scrambled(uint32_t x) {
  x *= 0x9E37'79B1u;
  return x ^ x >> 15;
}

/// Checks that failed, by kind: enough to know where to look.
struct failures {
  uint32_t where, with, with_wide, shuffled, summed, summed_wide, sets, quads, message, gave_up;
};

__device__ inline void expect(bool right, uint32_t& failed) {
  if (!right) fetch_add(&failed, 1u, relaxed, in_device);
}

/// The wave's agreements against loops over what its lanes wrote down.
__global__ void agree(failures* failed) {
  __shared__ uint32_t draws[lanes_of_block];
  const uint32_t drawn = scrambled(blockIdx.x * blockDim.x + threadIdx.x);
  draws[threadIdx.x] = drawn;
  __syncthreads();
  const uint32_t lane = lane_index();
  const uint32_t* const of_wave = draws + (threadIdx.x - lane);

  const bool takes_part = drawn >> 8 & 1;
  lane_mask among = 0;
  lane_mask alike = 0;
  uint32_t total = 0;
  uint64_t wide_total = 0;
  for (uint32_t i = 0; i < wave_size(); ++i) {
    const lane_mask bit = lane_mask{1} << i;
    if (of_wave[i] >> 8 & 1) among |= bit;
    if (of_wave[i] % 5 == drawn % 5) alike |= bit;
    total += of_wave[i];
    wide_total += uint64_t{of_wave[i]} << 20;
  }
  const lane_mask mine = takes_part ? alike & among : 0;
  expect(lanes_where(takes_part) == among, failed->where);
  expect(lanes_with(drawn % 5, among) == mine, failed->with);
  expect(lanes_with(uint64_t{drawn % 5} << 33, among) == mine, failed->with_wide);
  const uint32_t other = (lane * 7 + 3) % wave_size();
  expect(shuffle(drawn, other) == of_wave[other], failed->shuffled);
  expect(sum(drawn) == total, failed->summed);
  expect(sum(uint64_t{drawn} << 20) == wide_total, failed->summed_wide);

  // A set, taken apart from its lowest lane up.
  uint32_t rank = 0;
  bool right = true;
  for (lane_mask rest = among; rest != 0; rest &= rest - 1, ++rank) {
    const uint32_t lowest = first(rest);
    right = right && contains(among, lowest) && count(below(among, lowest)) == rank;
  }
  expect(right && rank == count(among), failed->sets);
}

struct totals {
  uint32_t added, added_system, swapped, exchanged, given_back, largest;
  uint64_t added_wide, swapped_wide, exchanged_wide, given_back_wide, of_blocks, largest_wide;
};

template <class T>
__device__ inline void increment_by_swapping(T* word) {
  T seen = load(word, relaxed, in_device);
  while (!compare_exchange(word, seen, seen + 1, acq_rel, in_device)) {
  }
}

/// Every lane adds to everything, by every means; exchanges conserve the sum of what was put.
__global__ void contend(totals* all) {
  __shared__ uint32_t of_block;
  if (threadIdx.x == 0) of_block = 0;
  __syncthreads();
  const uint32_t me = blockIdx.x * blockDim.x + threadIdx.x + 1;
  fetch_add(&of_block, 1u, relaxed, in_block);
  fetch_add(&all->added, 1u, relaxed, in_device);
  fetch_add(&all->added_wide, uint64_t{1} << 32, acq_rel, in_device);
  fetch_add(&all->added_system, 1u, release, in_system);
  if (me % swap_share == 0) {
    increment_by_swapping(&all->swapped);
    increment_by_swapping(&all->swapped_wide);
  }
  fetch_add(&all->given_back, exchange(&all->exchanged, me, relaxed, in_device), relaxed,
            in_device);
  fetch_add(&all->given_back_wide, exchange(&all->exchanged_wide, uint64_t{me}, acq_rel, in_system),
            relaxed, in_device);
  const uint32_t before = fetch_max(&all->largest, me, relaxed, in_device);
  if (before < me) fetch_max(&all->largest_wide, uint64_t{me} << 32, acq_rel, in_device);
  __syncthreads();
  if (threadIdx.x == 0)
    fetch_add(&all->of_blocks, uint64_t{load(&of_block, relaxed, in_block)}, relaxed, in_device);
}

/// Far apart, so that nothing but the order carries the message.
struct channel {
  alignas(256) uint32_t message[64];
  alignas(256) uint32_t flag;
  alignas(256) uint32_t answer;
};

/// Polls until the word is `value`; false when it is not in good time.
__device__ inline bool await(const uint32_t* word, uint32_t value) {
  for (uint32_t spins = 0; spins < 4'000'000; ++spins) {
    if (load(word, relaxed, in_device) == value) return true;
    if (spins > 64) pause<64>();
  }
  return false;
}

/// Block 0 writes a message by plain stores and raises the flag; block 1 sees the flag, then reads.
__global__ void pass_messages(channel* through, uint32_t rounds, failures* failed) {
  const uint32_t lane = lane_index();
  uint32_t* const mine = through->message + lane;
  for (uint32_t round = 1; round <= rounds; ++round) {
    if (blockIdx.x == 0) {
      *mine = scrambled(round) + lane;
      sync_wave();
      if (lane == 0) store(&through->flag, round, release, in_device);
      const bool answered = await(&through->answer, round);
      fence(acquire, in_device);
      if (!answered) return expect(false, failed->gave_up);
    } else {
      const bool seen = await(&through->flag, round);
      fence(acquire, in_device);
      sync_wave();
      if (!seen) return expect(false, failed->gave_up);
      expect(*mine == scrambled(round) + lane, failed->message);
      sync_wave();
      if (lane == 0) store(&through->answer, round, release, in_device);
    }
  }
}

/// Stores quads to device and to host memory, and reads them back both ways.
__global__ void move_quads(uint4* device, uint4* host, failures* failed) {
  const uint32_t i = blockIdx.x * blockDim.x + threadIdx.x;
  const uint4 quad = make_uint4(scrambled(i), i, ~i, i ^ 0x5555'5555u);
  for (uint4* const memory : {device, host}) {
    store_quad(memory + i, quad);
    for (const uint4 back : {load_quad_fresh(memory + i), load_quad(memory + i)})
      expect(back.x == quad.x && back.y == quad.y && back.z == quad.z && back.w == quad.w,
             failed->quads);
  }
}

/// Lasts as long as it is told by its own clock, unless that stands still.
__global__ void last(uint64_t duration, failures* failed) {
  const uint64_t start = nanoseconds();
  for (uint32_t turns = 0; turns < 10'000'000; ++turns) {
    if (nanoseconds() - start >= duration) return;
    pause<256>();
  }
  expect(false, failed->gave_up);
}

int wrong = 0;
void verify(bool right, const char* what) {
  if (right) return;
  std::printf("wrong: %s\n", what);
  ++wrong;
}

}  // namespace

int main() {
  gpu_support::watchdog dog(std::chrono::seconds(60));
  const gpu_support::properties gpu = gpu_support::take("megakernel_gpu_primitives");
  const gpu_support::stream stream;
  gpu_support::stopwatch watch;
  const gpu_support::device_memory<failures> device_failed(1);
  const gpu_support::device_memory<totals> device_all(1);
  const gpu_support::device_memory<channel> through(1);
  const gpu_support::device_memory<uint4> quads(all_lanes);
  const gpu_support::pinned_memory<uint4> host_quads(all_lanes);
  const gpu_support::pinned_memory<failures> host_failed(1);
  const gpu_support::pinned_memory<totals> host_all(1);
  CHECKED(hipMemsetAsync(device_failed.data(), 0, device_failed.bytes(), stream));
  CHECKED(hipMemsetAsync(device_all.data(), 0, device_all.bytes(), stream));
  CHECKED(hipMemsetAsync(through.data(), 0, through.bytes(), stream));

  gpu_support::launch(agree, {blocks, lanes_of_block}, stream, device_failed.data());
  gpu_support::launch(contend, {blocks, lanes_of_block}, stream, device_all.data());
  gpu_support::launch(pass_messages, {2, gpu.wave_size}, stream, through.data(), 20'000u,
                      device_failed.data());
  gpu_support::launch(move_quads, {blocks, lanes_of_block}, stream, quads.data(),
                      host_quads.device(), device_failed.data());
  stream.wait();
  const double lasted = watch.time(stream, [&] {
    gpu_support::launch(last, {1, gpu.wave_size}, stream, uint64_t{20'000'000},
                        device_failed.data());
  });
  CHECKED(hipMemcpyAsync(host_failed.host(), device_failed.data(), host_failed.bytes(),
                         hipMemcpyDeviceToHost, stream));
  CHECKED(hipMemcpyAsync(host_all.host(), device_all.data(), host_all.bytes(),
                         hipMemcpyDeviceToHost, stream));
  stream.wait();

  const failures& failed = *host_failed.host();
  verify(failed.where == 0, "lanes_where");
  verify(failed.with == 0, "lanes_with");
  verify(failed.with_wide == 0, "lanes_with of 64 bits");
  verify(failed.shuffled == 0, "shuffle");
  verify(failed.summed == 0, "sum");
  verify(failed.summed_wide == 0, "sum of 64 bits");
  verify(failed.sets == 0, "first, below, contains or count");
  verify(failed.quads == 0, "quads read back on the device");
  verify(failed.message == 0, "what a release should have carried");
  verify(failed.gave_up == 0, "a wait on the device did not end");
  for (uint32_t i = 0; i < all_lanes; ++i) {
    const uint4 quad = host_quads.host()[i];
    if (quad.x == scrambled(i) && quad.y == i && quad.z == ~i) continue;
    verify(false, "quads that the device wrote to the host");
    break;
  }

  const totals& all = *host_all.host();
  uint64_t put = 0;
  for (uint64_t i = 1; i <= all_lanes; ++i) put += i;
  verify(all.added == all_lanes, "fetch_add");
  verify(all.added_system == all_lanes, "fetch_add, system");
  verify(all.added_wide == uint64_t{all_lanes} << 32, "fetch_add of 64 bits");
  verify(all.of_blocks == all_lanes, "fetch_add in shared memory");
  verify(all.swapped == all_lanes / swap_share, "compare_exchange");
  verify(all.swapped_wide == all_lanes / swap_share, "compare_exchange of 64 bits");
  verify(all.given_back + all.exchanged == static_cast<uint32_t>(put), "exchange");
  verify(all.given_back_wide + all.exchanged_wide == put, "exchange of 64 bits");
  verify(all.largest == all_lanes, "fetch_max");
  verify(all.largest_wide == uint64_t{all_lanes} << 32, "fetch_max of 64 bits");
  verify(lasted > 0.019 && lasted < 0.2, "the clock");

  std::printf("%s: %s\n", gpu.name.c_str(), wrong == 0 ? "the primitives are right" : "see above");
  return wrong == 0 ? 0 : gpu_support::failed;
}
