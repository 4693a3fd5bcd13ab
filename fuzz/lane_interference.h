// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// One look at one slot, which the host or another lane changes between the sample and
// the claim. What comes of it is what the plain kernel leaves of the slot as it was then. Include
// it after the library and interpret.h. docs/protocol.md#claim-recheck
#pragma once

namespace fuzz {

namespace mk = megakernel;
namespace dev = megakernel::device;

/// Memory in which `meddle` comes before the first claim of the slot at `claimed`.
class meddled_memory : public dev::host_memory {
 public:
  std::uint32_t* claimed = nullptr;
  std::function<void()> interfere{};
  bool disturbed = false;

  template <dev::order O, dev::scope S>
  void store(mk::word* at, mk::word value, dev::order_tag<O> o, dev::scope_tag<S> s) {
    if (at == claimed && value == 2) before();
    dev::host_memory::store(at, value, o, s);
  }
  template <dev::order O, dev::scope S>
  bool compare_exchange(mk::word* at, mk::word& expected, mk::word desired, dev::order_tag<O> o,
                        dev::scope_tag<S> s) {
    if (at == claimed) before();
    return dev::host_memory::compare_exchange(at, expected, desired, o, s);
  }

 private:
  void before() {
    if (!disturbed && interfere) interfere();
    disturbed = true;
  }
};

using meddled_counters = dev::direct_counters<meddled_memory>;
using disturbed_interpreter =
    dev::interpreter<meddled_memory, meddled_counters, props::kernel::user_opcodes>;

/// What a look at slot `index` should be called, as it has left `after` of `before`.
inline dev::visit_result sample_of(const oracle::kernel_state& before,
                                   const oracle::kernel_state& after, std::size_t index) {
  const std::uint32_t status = before.ring[16 * index];
  const bool schedulable = status == 1 || status == 5 || status == 6;
  if (!schedulable && status != 4) return dev::visit_result::nothing;
  if (after.control[144] != before.control[144]) return dev::visit_result::unauthorised;
  if (after.control[145] != before.control[145]) return dev::visit_result::throttled;
  const bool same = after.ring == before.ring && after.io_queue == before.io_queue;
  return status == 4 && same ? dev::visit_result::waiting : dev::visit_result::ran;
}

/// A pass of the plain kernel over one slot, without its heartbeat: what the slot reads of that is
/// as it was.
inline void look_plainly(oracle::kernel_state& k, std::size_t index) {
  k.control[0] = 0;
  --k.control[142];
  oracle::run_once(k, static_cast<std::uint32_t>(index),
                   static_cast<std::uint32_t>(k.ring.size() / 16));
}

/// `change` is made to `k`, a copy of `before`, between the look at the slot and its claim.
template <class Change>
void check_meddled(const oracle::kernel_state& before, std::size_t index, Change change) {
  oracle::kernel_state got = before;
  got.control[0] = 0;
  oracle::kernel_state expected = got;
  const dev::launch where = props::kernel::launch_of(got);
  meddled_memory memory;
  memory.claimed = &got.ring[16 * index];
  memory.interfere = [&] { change(got); };
  meddled_counters counters(where, memory);
  disturbed_interpreter slots(where, memory, counters);
  const dev::visit_result seen = slots.visit_owned(static_cast<std::uint32_t>(index));
  if (memory.disturbed) change(expected);
  const oracle::kernel_state changed = expected;
  look_plainly(expected, index);
  check(props::kernel::different(got, expected).empty(),
        "what is executed is what is authorised and stands there when it is claimed");
  check(seen == sample_of(changed, expected, index), "a look says what came of it");
}

/// Another lane is quicker: the slot is its, and nothing has happened but that this is counted.
inline void check_lost(const oracle::kernel_state& before, std::size_t index) {
  oracle::kernel_state got = before;
  got.control[0] = 0;
  oracle::kernel_state expected = got;
  const dev::launch where = props::kernel::launch_of(got);
  meddled_memory memory;
  memory.claimed = &got.ring[16 * index];
  memory.interfere = [&] { got.ring[16 * index] = 2; };
  meddled_counters counters(where, memory);
  disturbed_interpreter slots(where, memory, counters);
  const dev::visit_result seen = slots.visit_shared(static_cast<std::uint32_t>(index), 2);
  if (!memory.disturbed) return;
  expected.ring[16 * index] = 2;
  ++expected.control[147];
  check(seen == dev::visit_result::lost && props::kernel::different(got, expected).empty(),
        "a claim that is lost is counted, and gives back what it took");
}

/// All of that, to one slot.
inline void check_interference(const oracle::kernel_state& k, std::size_t index) {
  const std::size_t slot = 16 * index;
  const bool waits = k.ring[slot] == 4;
  bool claimed = false;
  check_meddled(k, index, [&](const oracle::kernel_state&) { claimed = true; });
  oracle::kernel_state after = k;
  look_plainly(after, index);
  check(!waits || !claimed || after.ring != k.ring, "a slot that goes on waiting is not claimed");
  check_lost(k, index);
  if (!claimed) return;  // no other lane interferes
  for (const std::uint32_t other : {0u, 1u, 2u, 28u, 29u, 0xFFFF'FFFFu}) {
    check_meddled(k, index, [slot, waits, other](oracle::kernel_state& changed) {
      if (waits) {
        changed.ring[slot + 14] = other;  // resumed, and parked again elsewhere
      } else {
        std::fill_n(&changed.ring[slot + 1], 15, 0u);
        changed.ring[slot + 2] = other;  // drained, and published again by another tenant
      }
    });
  }
}

}  // namespace fuzz
