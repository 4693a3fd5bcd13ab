// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Lanes in any order: any control buffer and ring, and a schedule, an access to shared
// memory at a time, between which the host publishes slots anew and answers requests. Every lane
// ends, stays inside the buffers, writes only what is the kernel's, holds a slot alone and counts
// what it does; one after the other they leave what the plain kernel leaves.
// docs/protocol.md#lane-pass docs/protocol.md#claim
#include <functional>
#include <optional>
#include <string>
#include <tuple>

#include "fuzz.h"
#include "kernel_input.h"
#include "oracle_kernel.h"

#include "megakernel_import.h"
#include "megakernel_testing_import.h"

#include "interpret.h"
#include "lane_totals.h"

namespace kernel = props::kernel;
namespace mk = megakernel;

namespace {

/// More accesses than lanes can make here.
constexpr std::uint32_t most_steps = 50'000;

mk::kernel_buffers buffers_of(const oracle::kernel_state& k) {
  auto made = mk::kernel_buffers::make(
      {.slots = static_cast<std::uint32_t>(k.ring.size() / 16),
       .tenants = 0,
       .observable_words = static_cast<std::uint32_t>(k.control.size() - 160),
       .debug_records = static_cast<std::uint32_t>((k.debug_log.size() - 1) / 4),
       .io_slots = static_cast<std::uint32_t>(k.io_queue.size() / 8),
       .dfa_table = k.table,
       .system_tenant = k.system_tenant,
       .quotas = k.quotas});
  const mk::device::launch& where = made.value().where();
  std::ranges::copy(k.control, where.control);
  std::ranges::copy(k.ring, where.ring);
  std::ranges::copy(k.debug_log, where.debug_log);
  std::ranges::copy(k.io_queue, where.io_queue);
  return std::move(*made);
}

oracle::kernel_state state_of(const mk::kernel_buffers& buffers, oracle::kernel_state k) {
  const mk::device::launch& where = buffers.where();
  k.control.assign(where.control, where.control + where.control_words);
  k.ring.assign(where.ring, where.ring + std::size_t{16} * where.slots);
  k.debug_log.assign(where.debug_log, where.debug_log + where.debug_words);
  k.io_queue.assign(where.io_queue, where.io_queue + std::size_t{8} * where.io_slots);
  return k;
}

/// Asked after every access.
class rules {
 public:
  rules(std::size_t slots, std::size_t io_slots, bool quotas)
      : owner_(slots), writer_(io_slots), quotas_(quotas) {}

  void observe(const mk::step_record& made) {
    using enum mk::memory_area;
    const mk::memory_access& what = made.what;
    fuzz::check(what.area != outside && what.area != own, "a lane stays inside the buffers");
    const bool writes =
        what.kind == mk::access_kind::store || what.kind == mk::access_kind::add ||
        (what.kind == mk::access_kind::compare_exchange && made.before == what.expected);
    if (what.area == ring) look_at_slot(made, writes);
    if (!writes) return;
    if (what.area == io_queue) look_at_request(made);
    fuzz::check(what.area != dfa_table, "nobody writes the table");
    fuzz::check(what.area != control || may_write(what.index),
                "a lane writes the control words that are the kernel's");
  }

  [[nodiscard]] std::uint64_t done() const { return done_; }
  [[nodiscard]] bool holds_any(std::uint32_t lane) const {
    return std::ranges::find(owner_, lane + 1) != owner_.end();
  }

 private:
  [[nodiscard]] bool may_write(std::uint32_t word) const {
    const bool counts = word <= 1 || (word >= 64 && word <= 128) || (word >= 135 && word <= 149);
    return counts || word >= 160 || (quotas_ && word >= 32 && word < 64);
  }

  void look_at_slot(const mk::step_record& made, bool writes) {
    std::uint32_t& owner = owner_[made.what.index / 16];
    const std::uint32_t me = made.actor + 1;
    const std::uint32_t word = made.what.index % 16;
    if (made.what.kind == mk::access_kind::body)
      fuzz::check(owner == me, "a lane takes the slot it has claimed");
    if (!writes) return;
    if (word != 0) {
      fuzz::check(owner == me && word >= 14, "of a slot it holds a lane writes link and code");
    } else if (owner != me) {
      const bool schedulable = made.before == 1 || (made.before >= 4 && made.before <= 6);
      fuzz::check(owner == 0 && made.after == 2 && schedulable,
                  "a slot is claimed that is schedulable, and that nobody holds");
      owner = me;
    } else {
      fuzz::check(made.before == 2 && made.after != 0 && made.after != 2 && made.after <= 7,
                  "a slot is let go as what became of it");
      owner = 0;
      done_ += made.after == 3;
    }
  }

  /// A free IO slot is taken by one lane, which writes it and publishes it; an answered one is
  /// freed.
  void look_at_request(const mk::step_record& made) {
    std::uint32_t& writer = writer_[made.what.index / 8];
    const std::uint32_t me = made.actor + 1;
    if (made.what.index % 8 != 6) {
      fuzz::check(writer == me, "a request is written by the lane that has taken its slot");
    } else if (writer == 0 && made.before == 0) {
      fuzz::check(made.after == 4 && made.what.kind == mk::access_kind::compare_exchange,
                  "a free IO slot is taken by who finds it free");
      writer = me;
    } else if (made.after == 1) {
      fuzz::check(writer == me, "a request is published by who wrote it");
      writer = 0;
    } else {
      fuzz::check(writer == 0 && made.after == 0 && (made.before == 0x10 || made.before == 0x11),
                  "an IO slot is freed when it has been answered");
    }
  }

  std::vector<std::uint32_t> owner_;
  std::vector<std::uint32_t> writer_;  // of each IO slot, while it is being written
  bool quotas_;
  std::uint64_t done_ = 0;
};

/// The host publishes a slot that is free, as far as it can see.
bool publish_anew(const mk::device::launch& where, fuzz::input& in) {
  std::uint32_t* const slot = where.ring + std::size_t{16} * (in.byte() % where.slots);
  const std::array<std::uint32_t, 6> words{in.number(), in.number(), in.below(6),
                                           in.number(), in.number(), in.number()};
  if (slot[0] != 0 && slot[0] != 3) return false;
  std::fill_n(slot, 16, 0u);
  std::ranges::copy(words, slot + 1);
  slot[0] = 1;
  return true;
}

/// The host answers a request.
void answer(const mk::device::launch& where, fuzz::input& in) {
  std::uint32_t* const io = where.io_queue + std::size_t{8} * (in.byte() % where.io_slots);
  const bool well = in.flag();
  if (io[6] == 1) io[6] = well ? 0x10 : 0x11;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  fuzz::input in(data, size);
  const std::uint32_t lanes = in.below(3) + 1;
  const std::uint32_t form = in.byte();
  const bool by_priority = (form & 1) != 0;
  const bool one_shot = (form & 2) == 0;
  fuzz::kernel_sizes sizes = fuzz::kernel_sizes_from(in);
  sizes.slots = std::max<std::size_t>(sizes.slots, 1);
  sizes.debug_words = 1 + sizes.debug_words / 4 * 4;
  const oracle::kernel_state before = fuzz::kernel_from(in, sizes);

  mk::kernel_buffers buffers = buffers_of(before);
  mk::stepper stepper = mk::stepper::over(buffers).value();
  for (std::uint32_t l = 0; l < lanes; ++l) {
    const mk::lane_options how{
        .order = by_priority ? mk::schedule::by_priority : mk::schedule::ring_order,
        .one_shot = one_shot,
        .number = {l, lanes},
        .passes = 1 + (form >> 2 & 7)};
    fuzz::check(stepper.add_lane<kernel::user_opcodes>(how).has_value(), "there is a stack");
  }
  const mk::device::launch& where = buffers.where();
  rules keep(sizes.slots, sizes.io_slots, before.quotas);
  fuzz::lane_totals totals(before.control, {where.ring, std::size_t{16} * where.slots}, by_priority,
                           before.quotas);
  std::uint32_t steps = 0;
  const auto step = [&](std::uint32_t lane) {
    const auto stepped = stepper.step(lane);
    fuzz::check(stepped.has_value() && ++steps < most_steps, "every lane ends");
    if (*stepped) {
      totals.observe(stepper.made().front(), keep.holds_any(lane));
      keep.observe(stepper.made().front());
    }
    return *stepped;
  };
  // The schedule: a lane, and how many accesses it makes; or something of the host's.
  const bool in_turn = in.empty();
  bool alone = true;  // the lanes
  while (!in.empty()) {
    const std::uint32_t turn = in.byte();
    if (turn >= 250) {
      alone = false;
      if (turn % 2 != 0 || where.io_slots == 0) {
        if (publish_anew(where, in)) totals.disturbed();
      } else {
        answer(where, in);
      }
      continue;
    }
    for (std::uint32_t n = turn / 3 % 16 + 1; n != 0 && step(turn % lanes); --n) {
    }
  }
  for (std::uint32_t l = 0; l < lanes; ++l) {
    while (step(l)) {
    }
  }
  const oracle::kernel_state after = state_of(buffers, before);
  fuzz::check(after.control[1] == static_cast<std::uint32_t>(before.control[1] + keep.done()),
              "DONE slots are counted, each once");
  totals.check(after.control);
  if (one_shot && (in_turn || (lanes == 1 && alone))) {
    oracle::kernel_state expected = before;
    kernel::execute_plainly(expected, lanes, by_priority);
    fuzz::check(kernel::different(after, expected).empty(),
                "in turn, lanes leave what the plain kernel leaves");
  }
  return 0;
}
