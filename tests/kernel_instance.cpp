// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Instantiates every form of the interpreter over a memory of plain words, with a handler of the
// user's, in the language of whichever compiler takes it: C++17, HIP or CUDA. It is compiled, not
// run; the memory is no atomic one.
#include <megakernel/lane_order.h>

#if defined(__HIP__)
#define KERNEL __attribute__((global)) void
#elif defined(__CUDACC__)
#define KERNEL __global__ void
#else
#define KERNEL void
#endif

namespace {

using namespace megakernel;
using namespace megakernel::device;

struct nonatomic_memory {
  template <order O, scope S>
  MEGAKERNEL_HOST_DEVICE word load(const word* at, order_tag<O>, scope_tag<S>) const {
    return *at;
  }
  template <order O, scope S>
  MEGAKERNEL_HOST_DEVICE void store(word* at, word value, order_tag<O>, scope_tag<S>) const {
    *at = value;
  }
  template <order O, scope S>
  MEGAKERNEL_HOST_DEVICE word add(word* at, word amount, order_tag<O>, scope_tag<S>) const {
    const word before = *at;
    *at = before + amount;
    return before;
  }
  template <order O, scope S>
  MEGAKERNEL_HOST_DEVICE bool compare_exchange(word* at, word& expected, word desired, order_tag<O>,
                                               scope_tag<S>) const {
    const word before = *at;
    const bool same = before == expected;
    if (same) *at = desired;
    expected = before;
    return same;
  }
  template <order O, scope S>
  MEGAKERNEL_HOST_DEVICE void fence(order_tag<O>, scope_tag<S>) const {}
  MEGAKERNEL_HOST_DEVICE void read_body(const word* slot, word (&body)[abi::slot_words]) const {
    for (word i = 0; i < abi::slot_words; ++i) body[i] = slot[i];
  }
};

struct sum_block {
  static constexpr opcode op{42};
  struct arguments {
    word block, result;
  };
  template <class Context>
  MEGAKERNEL_HOST_DEVICE outcome operator()(const arguments& a, Context& context) const {
    const auto block = context.template arena<const word>(uint64_t{a.block} * 64, 16);
    if (!block) return outcome::fault(fault_code{7});
    word sum = 0;
    for (const word w : block) sum += w;
    if (!context.add_result(0, 1)) return outcome::yield();
    return context.store_result(a.result, sum) ? outcome::done() : outcome::requeue();
  }
};

using counters = direct_counters<nonatomic_memory>;
using slots_type = interpreter<nonatomic_memory, counters, handlers<sum_block>>;

template <class Lane>
MEGAKERNEL_HOST_DEVICE void run(Lane& lane, bool one_shot) {
  if (one_shot) {
    lane.run_once();
    return;
  }
  while (lane.step() != pass::left) {
  }
}

}  // namespace

KERNEL megakernel_instance(launch where, lane_number number, bool by_priority, bool one_shot) {
  nonatomic_memory memory;
  counters count(where, memory);
  slots_type slots(where, memory, count);
  enter(memory, where);
  if (by_priority) {
    priority_lane<nonatomic_memory, slots_type, counters> lane(where, memory, slots, count, number);
    run(lane, one_shot);
  } else {
    ring_lane<slots_type, counters> lane(where, slots, count, number);
    run(lane, one_shot);
  }
  leave(memory, where);
}
