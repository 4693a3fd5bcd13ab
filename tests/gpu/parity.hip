// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The same bytes in, the same bytes out: tens of thousands of small random systems, each run once
// by a lane of the device and once by this processor, from one source. Every opcode occurs with
// good and with hostile arguments; every buffer is compared to the last byte.
//
// Exit status: 0 all equal, 1 something differs, 77 no GPU.
#include <megakernel/device/shared_memory_policy.h>
#include <megakernel/lane_order.h>

#include "../../bench/gpu/gpu_support.h"

#include <cstring>
#include <memory>
#include <vector>

namespace {

using namespace megakernel;
using namespace megakernel::device;

/// A handler of the user's: adds up words of the arena, or ends as its last argument says.
struct add_up {
  static constexpr opcode op{1000};
  struct arguments {
    word first, count, result, how;
  };
  template <class Context>
  MEGAKERNEL_HOST_DEVICE outcome operator()(const arguments& a, Context& context) const {
    if (a.how == 1) return outcome::yield();
    if (a.how == 2) return outcome::requeue();
    const auto block = context.template arena<const word>(uint64_t{a.first} * 4, a.count);
    if (!block) return outcome::fault(fault_code{100});
    word sum = 0;
    for (const word w : block) sum += w;
    return context.store_result(a.result, sum) ? outcome::done() : outcome::fault(fault_code{101});
  }
};

constexpr word observable_words = 40;
constexpr word slots = 24;
constexpr word debug_records = 3;
constexpr word io_slots = 3;
constexpr word dfa_words = 600;
constexpr word arena_words = 64;

/// Everything one launch works on, and how it is launched.
struct alignas(64) system_state {
  word ring[slots * abi::slot_words];
  word control[abi::control_words + observable_words];
  word debug_log[1 + 4 * debug_records];
  word io_queue[io_slots * abi::io_slot_words];
  alignas(16) word arena[arena_words];
  word dfa[dfa_words];
  word has_dfa, has_log, has_queue, quotas, by_priority, system_tenant, observables;
};

class prng {
 public:
  explicit prng(uint64_t seed) : state_(seed) {}
  word next() {
    uint64_t z = state_ += 0x9E37'79B9'7F4A'7C15u;
    z = (z ^ z >> 30) * 0xBF58'476D'1CE4'E5B9u;
    z = (z ^ z >> 27) * 0x94D0'49BB'1331'11EBu;
    return static_cast<word>((z ^ z >> 31) >> 16);
  }
  word below(word n) { return next() % n; }
  bool one_in(word n) { return below(n) == 0; }

 private:
  uint64_t state_;
};

/// An address or a count: mostly inside, often on an edge, sometimes anything.
word any_argument(prng& d) {
  constexpr word end = abi::control_words + observable_words;
  constexpr word edges[] = {0,   1,   2,   3,   4,           8,           31,          128,
                            141, 159, 160, 161, end - 1,     end,         end + 1,     39,
                            40,  41,  255, 256, 0x7FFF'FFFF, 0x8000'0000, 0xFFFF'FF60, 0xFFFF'FFFF};
  switch (d.below(4)) {
    case 0:
      return edges[d.below(sizeof edges / sizeof *edges)];
    case 1:
      return d.next();
    default:
      return abi::observable_word + d.below(observable_words);
  }
}

word any_opcode(prng& d) {
  constexpr word special[] = {0xFFFD, 0xFFFE, 0x8000'0001, 0xFFFF'FFFF, 1000, 8, 31, 42};
  return d.one_in(3) ? special[d.below(8)] : d.below(8);
}

void fill_packed(prng& d, word* a) {
  const word ops = d.below(4);
  word table = abi::packed_metadata_words(ops);
  word used = 0;
  word bytes[48] = {};
  for (word i = 0; i < ops; ++i) {
    bytes[2 + 2 * i] = d.below(9);
    bytes[3 + 2 * i] = used;
    used += d.below(4);
  }
  bytes[0] = ops;
  bytes[1] = used;
  if (d.one_in(4)) bytes[d.below(6)] = d.below(256);
  for (word i = 0; i < table && i < abi::argument_words; ++i) {
    a[i] = bytes[4 * i] | bytes[4 * i + 1] << 8 | bytes[4 * i + 2] << 16 | bytes[4 * i + 3] << 24;
  }
}

void fill(system_state& s, uint64_t seed) {
  prng d(seed);
  std::memset(&s, 0, sizeof s);
  s.has_dfa = !d.one_in(4);
  s.has_log = !d.one_in(4);
  s.has_queue = !d.one_in(4);
  s.quotas = d.one_in(2);
  s.by_priority = d.one_in(2);
  s.system_tenant = d.one_in(4) ? 1 : 0;
  s.observables = d.one_in(8) ? 0 : d.one_in(8) ? 1 : observable_words;
  s.control[abi::tenant_base_word] = d.one_in(16) ? any_argument(d) : abi::tenant_mask_word;
  for (word t = 0; t < abi::tenant_masks; ++t) s.control[abi::tenant_mask_word + t] = !d.one_in(8);
  for (word t = 0; t < abi::tenant_quotas; ++t) s.control[abi::tenant_quota_word + t] = d.below(4);
  for (word i = 1; i < abi::priority_offsets; ++i)
    s.control[abi::priority_offset_word + i] = d.one_in(16) ? d.next() : i * slots / 5;
  if (d.one_in(4)) s.control[abi::done_count_word] = 0xFFFF'FFFE;
  if (d.one_in(4)) s.control[abi::starvation_word] = d.below(20);
  for (word i = 0; i < observable_words; ++i) s.control[abi::observable_word + i] = d.next();
  for (word& w : s.arena) w = d.next();
  for (word& w : s.dfa) w = d.next();
  for (word i = 0; i < io_slots; ++i) {
    word* const io = s.io_queue + i * abi::io_slot_words;
    constexpr word statuses[] = {0, 0, 0, 1, 2, 0x10, 0x11};
    io[abi::io_status_word] = statuses[d.below(7)];
    io[abi::io_tag_word] = d.below(slots);
  }
  for (word i = 0; i < slots; ++i) {
    word* const slot = s.ring + i * abi::slot_words;
    slot[abi::status_word] = d.one_in(3) ? d.below(9) : 1;
    slot[abi::opcode_word] = any_opcode(d);
    slot[abi::tenant_word] = d.one_in(12) ? any_argument(d) : d.below(4);
    slot[abi::priority_word] = d.below(7);
    word* const a = slot + abi::argument_word;
    for (word k = 0; k < abi::argument_words; ++k) a[k] = any_argument(d);
    if (d.one_in(2)) a[2] = d.below(8);
    if (slot[abi::opcode_word] == word(add_up::op)) {
      a[0] = d.below(80), a[1] = d.below(20), a[2] = d.below(44), a[3] = d.below(5);
    }
    if (slot[abi::opcode_word] == word(opcode::packed_slot)) fill_packed(d, a);
    if (slot[abi::status_word] == word(slot_status::wait_io))
      slot[abi::io_link_word] = d.one_in(4) ? abi::no_io_slot : d.below(5);
  }
}

MEGAKERNEL_HOST_DEVICE void run_once(system_state& s) {
  launch where;
  where.control = s.control;
  where.control_words = abi::control_words + s.observables;
  where.ring = s.ring;
  where.slots = slots;
  where.debug_log = s.debug_log;
  where.debug_words = s.has_log != 0 ? 1 + 4 * debug_records : 0;
  where.io_queue = s.io_queue;
  where.io_slots = s.has_queue != 0 ? io_slots : 0;
  where.dfa_table = s.dfa;
  where.dfa_words = s.has_dfa != 0 ? dfa_words : 0;
  where.arena = reinterpret_cast<unsigned char*>(s.arena);
  where.arena_bytes = sizeof s.arena;
  where.system_tenant = s.system_tenant;
  where.quotas = s.quotas != 0;

  using memory_type = shared_memory_policy;
  using counters_type = direct_counters<memory_type>;
  using interpreter_type = interpreter<memory_type, counters_type, handlers<add_up>>;
  memory_type memory;
  counters_type counters(where, memory);
  interpreter_type pass_over(where, memory, counters);
  enter(memory, where);
  if (s.by_priority != 0) {
    priority_lane<memory_type, interpreter_type, counters_type>(where, memory, pass_over, counters,
                                                                {})
        .run_once();
  } else {
    ring_lane<interpreter_type, counters_type>(where, pass_over, counters, {}).run_once();
  }
  leave(memory, where);
}

__global__ void run_systems(system_state* all, uint32_t count) {
  const uint32_t mine = blockIdx.x * blockDim.x + threadIdx.x;
  if (mine < count) run_once(all[mine]);
}

const char* part_of(std::size_t at) {
  const struct {
    std::size_t first;
    const char* name;
  } parts[] = {{offsetof(system_state, ring), "ring"},
               {offsetof(system_state, control), "control"},
               {offsetof(system_state, debug_log), "debug log"},
               {offsetof(system_state, io_queue), "IO queue"},
               {offsetof(system_state, arena), "arena"}};
  const char* name = parts[0].name;
  for (const auto& part : parts) name = at >= part.first ? part.name : name;
  return name;
}

}  // namespace

int main(int argc, char** argv) {
  const auto gpu_properties = gpu_support::take("megakernel_gpu_parity");
  const uint64_t seed = argc > 1 ? std::strtoull(argv[1], nullptr, 0) : 20261124;
  constexpr uint32_t count = 40'000;
  gpu_support::watchdog dog(std::chrono::seconds(60));
  std::vector<system_state> expected(count);
  for (uint32_t i = 0; i < count; ++i) fill(expected[i], seed * count + i);

  const gpu_support::stream stream;
  const gpu_support::device_memory<system_state> on_card(count);
  CHECKED(hipMemcpyAsync(on_card.data(), expected.data(), on_card.bytes(), hipMemcpyHostToDevice,
                         stream));
  stream.wait();
  dog.begin("the systems on the device");
  constexpr uint32_t block = 64;
  run_systems<<<(count + block - 1) / block, block, 0, stream>>>(on_card.data(), count);
  CHECKED(hipGetLastError());
  stream.wait();
  std::vector<system_state> got(count);
  CHECKED(
      hipMemcpyAsync(got.data(), on_card.data(), on_card.bytes(), hipMemcpyDeviceToHost, stream));
  stream.wait();

  uint64_t done = 0;
  uint64_t faults[8] = {};
  uint32_t differing = 0;
  for (uint32_t i = 0; i < count; ++i) {
    run_once(expected[i]);
    for (word slot = 0; slot < slots; ++slot) {
      const word* const words = expected[i].ring + slot * abi::slot_words;
      done += words[0] == word(slot_status::done);
      if (words[0] == word(slot_status::fault)) ++faults[words[15] < 7 ? words[15] : 7];
    }
    if (std::memcmp(&expected[i], &got[i], sizeof(system_state)) == 0) continue;
    if (++differing > 5) continue;
    std::size_t at = 0;
    const auto* const a = reinterpret_cast<const word*>(&expected[i]);
    const auto* const b = reinterpret_cast<const word*>(&got[i]);
    while (a[at] == b[at]) ++at;
    std::printf(
        "system %u differs first in the %s, word %zu: %u on the processor, %u on the device\n", i,
        part_of(at * 4), at, a[at], b[at]);
  }
  std::printf(
      "%s: %u systems of %u slots, %u differ; %llu slots DONE, faults by code 1 to 6 %llu "
      "%llu %llu %llu %llu %llu, the handler's %llu\n",
      gpu_properties.name.c_str(), count, slots, differing, (unsigned long long)done,
      (unsigned long long)faults[1], (unsigned long long)faults[2], (unsigned long long)faults[3],
      (unsigned long long)faults[4], (unsigned long long)faults[5], (unsigned long long)faults[6],
      (unsigned long long)faults[7]);
  // A test that met no case of some kind would prove nothing of it.
  bool all_kinds = done != 0;
  for (int code = 1; code < 8; ++code) all_kinds = all_kinds && faults[code] != 0;
  return differing == 0 && all_kinds ? 0 : gpu_support::failed;
}
