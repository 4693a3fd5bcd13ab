// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// A plugin without a GPU: its lanes are threads that run the library's interpreter over whatever
// memory they are given, so that what is between a runtime and its device can be tried anywhere.
// A slot can ask for what a device may do to those who drive it.
#include <megakernel/gpu/plugin.h>
#include <megakernel/lane_order.h>
#include <sched.h>
#include <unistd.h>

#include <atomic>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <thread>
#include <vector>

#include "fake_plugin.h"

namespace megakernel::gpu {

struct kernel {
  device::launch where;
  bool by_priority;
  std::uint32_t lanes;
  std::vector<std::thread> threads;
  std::atomic<std::uint32_t> running{0};
  std::atomic<std::uint32_t> flushes{0};
  std::atomic<bool> leave{false};
};

namespace {

using device::outcome;

std::atomic<bool> lost{false};
std::atomic<bool> hung{false};

void wait_for_ever() {
  for (;;) ::pause();
}

/// Adds to an observable word, or does what its slot asks for.
struct mischief {
  static constexpr opcode op{fake::mischief};
  struct arguments {
    word what, index, value;
  };
  template <class Context>
  outcome operator()(const arguments& a, Context& context) const {
    switch (a.what) {
      case fake::crash:
        std::abort();
      case fake::lose:
        lost = true;
        return outcome::yield();
      case fake::hang_driver:
        hung = true;
        return outcome::yield();
      case fake::never_return:
        wait_for_ever();
        break;
      default:
        break;
    }
    return context.add_result(a.index, a.value) ? outcome::done() : outcome::fault(fault_code{100});
  }
};

class memory_policy {
 public:
  template <device::order O, device::scope S>
  word load(const word* at, device::order_tag<O>, device::scope_tag<S>) const {
    return std::atomic_ref(*const_cast<word*>(at)).load(std::memory_order_acquire);
  }
  template <device::order O, device::scope S>
  void store(word* at, word value, device::order_tag<O>, device::scope_tag<S>) const {
    std::atomic_ref(*at).store(value, std::memory_order_release);
  }
  template <device::order O, device::scope S>
  word add(word* at, word amount, device::order_tag<O>, device::scope_tag<S>) const {
    return std::atomic_ref(*at).fetch_add(amount);
  }
  template <device::order O, device::scope S>
  bool compare_exchange(word* at, word& expected, word desired, device::order_tag<O>,
                        device::scope_tag<S>) const {
    return std::atomic_ref(*at).compare_exchange_strong(expected, desired);
  }
  template <device::order O, device::scope S>
  void fence(device::order_tag<O>, device::scope_tag<S>) const {}
  void read_body(const word* slot, word (&body)[abi::slot_words]) const {
    body[0] = 0;
    for (word i = 1; i < abi::slot_words; ++i) body[i] = slot[i];
  }
};

void run_lane(kernel& of, word number) {
  using counters_type = device::direct_counters<memory_policy>;
  using slots_type = device::interpreter<memory_policy, counters_type, device::handlers<mischief>>;
  memory_policy memory;
  counters_type counters(of.where, memory);
  slots_type slots(of.where, memory, counters);
  const auto pass = [&](auto lane) {
    while (!lost && !of.leave) {
      const auto came = lane.step();
      if (came == device::pass::left) return;
      if (came == device::pass::idle) ::sched_yield();
    }
  };
  device::enter(memory, of.where);
  const device::lane_number lane{number, of.lanes};
  if (of.by_priority)
    pass(device::priority_lane<memory_policy, slots_type, counters_type>(of.where, memory, slots,
                                                                         counters, lane));
  else
    pass(device::ring_lane<slots_type, counters_type>(of.where, slots, counters, lane));
  device::leave(memory, of.where);
  --of.running;
}

constexpr interface all{
    .version = interface_version,
    .own_process = 0,
    .context = nullptr,
    .probe = [](void*, device_info* found, failure* why) -> call_status {
#if defined(FAKE_ABSENT)
      std::snprintf(why->sentence, sizeof why->sentence, "the fake is not to be seen");
      return call_status::no_gpu;
#elif defined(FAKE_CRASHING)
      std::abort();
#endif
      *found = {};
      std::snprintf(found->name, sizeof found->name, "a fake");
      found->processors = 1;
      found->wave_size = fake::wave_size;
      (void)why;
      return call_status::yes;
    },
    .start = [](void*, const request* wanted, kernel** started, std::uint32_t* lanes,
                failure* why) -> call_status {
      *lanes = wanted->lanes == 0 ? 2 : wanted->lanes;
      if (*lanes > fake::most_lanes) {
        *lanes = fake::most_lanes;
        std::snprintf(why->sentence, sizeof why->sentence, "too many");
        return call_status::too_many_lanes;
      }
      auto* const made = new kernel;
      made->where = wanted->where;
      made->by_priority = wanted->by_priority != 0;
      made->lanes = made->running = *lanes;
      for (word i = 0; i < *lanes; ++i)
        made->threads.emplace_back([made, i] { run_lane(*made, i); });
      *started = made;
      return call_status::yes;
    },
    .running = [](kernel* of, std::uint32_t* lanes, failure* why) -> call_status {
      if (hung) wait_for_ever();
      *lanes = of->running;
      if (!lost) return call_status::yes;
      *lanes = 0;
      why->number = fake::lost_number;
      std::snprintf(why->sentence, sizeof why->sentence, "the fake is lost");
      return call_status::failed;
    },
    .ask_flush = [](kernel* of) -> std::uint32_t { return ++of->flushes; },
    .flushed = [](kernel* of, std::uint32_t number) { return of->flushes == number; },
    .leave = [](kernel* of) { of->leave = true; },
    .close =
        [](kernel* of) {
          for (std::thread& t : of->threads) t.join();
          delete of;
        },
    // Its lanes work on the ring that they were given, wherever that should be.
    .upload = [](kernel* of, const slot_range* ranges, std::uint32_t count, std::uint32_t* room,
                 failure*) -> call_status {
      std::uint32_t slots = 0;
      for (std::uint32_t i = 0; i < count; ++i) slots += ranges[i].count;
      std::atomic_ref(of->where.control[abi::observable_word + fake::carried_word]) += slots;
      *room = most_ranges;
      return call_status::yes;
    },
    .scan = [](kernel* of, const scan_request* wanted, void* bytes, std::uint64_t capacity,
               std::uint64_t* size, failure*) -> call_status {
      namespace d = abi::digest;
      *size = d::sketches_word * sizeof(word);
      if (wanted->what.depth != 0 || wanted->what.window_opcodes != 0 || capacity < *size)
        return call_status::busy;
      std::vector<word> all(d::sketches_word);
      all[d::magic_word] = d::magic;
      all[d::version_word] = d::version;
      all[d::slots_word] = of->where.slots;
      for (word i = 0; i < of->where.slots; ++i) {
        word* const slot = of->where.ring + std::size_t{i} * abi::slot_words;
        const word status = std::atomic_ref(slot[abi::status_word]).load();
        ++all[d::occupancy_word + (status < 8 ? status : 8)];
        all[d::active_word] += is_active(slot_status{status});
        ++all[slot[abi::opcode_word] < d::keys ? d::opcodes_word + slot[abi::opcode_word]
                                               : d::other_opcodes_word];
        ++all[slot[abi::tenant_word] < d::keys ? d::tenants_word + slot[abi::tenant_word]
                                               : d::other_tenants_word];
      }
      std::memcpy(bytes, all.data(), *size);
      return call_status::yes;
    },
};

}  // namespace
}  // namespace megakernel::gpu

extern "C" __attribute__((visibility("default"))) const megakernel::gpu::interface*
megakernel_gpu_interface(std::uint32_t version) {
#if defined(FAKE_OLD)
  return version == 1 ? &megakernel::gpu::all : nullptr;
#else
  return version == megakernel::gpu::interface_version ? &megakernel::gpu::all : nullptr;
#endif
}
