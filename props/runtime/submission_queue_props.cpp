// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The queue under pressure: full rings, stuck slots, runs of several producers, what submissions
// say, and the way down while all of that goes on.
#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <expected>
#include <optional>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include "support.h"

#include "runtime_support.h"

import megakernel;

namespace {

using namespace props;
using mk::opcode;
using mk::progress;
using mk::slot_status;
using mk::word;
using enum mk::error_code;
namespace abi = mk::abi;

using opcodes = mk::device::handlers<add_ticket, wait_at_gate>;

/// A queue whose slots only the test moves on.
struct by_hand {
  mk::kernel_buffers buffers;
  mk::submission_queue queue;
  explicit by_hand(std::uint32_t slots, mk::schedule order = mk::schedule::ring_order)
      : buffers(value_of(mk::kernel_buffers::make({.slots = slots}))),
        queue(value_of(mk::submission_queue::over(buffers, order))) {}

  void set(std::uint32_t slot, slot_status to) { status(buffers, slot) = word(to); }
  void fault(std::uint32_t slot, word why) {
    std::atomic_ref(buffers.where().ring[std::size_t{slot} * abi::slot_words + 15]) = why;
    set(slot, slot_status::fault);
  }
  void finish_all() {
    for (std::uint32_t i = 0; i < queue.slots(); ++i) {
      if (status(buffers, i) == word(slot_status::published)) set(i, slot_status::done);
    }
  }
  mk::submission publish() { return value_of(queue.publish({})); }
  progress of(const mk::submission& r) { return queue.state(r).progress; }
};

bool submissions() {
  return once("a receipt says something else than what became of its work", [] {
    by_hand ring(4);
    const auto is = [&](const mk::submission& r, progress wanted, std::uint32_t slot,
                        word why = 0) {
      const mk::work_state now = ring.queue.state(r);
      return now.progress == wanted && now.slot == slot && word(now.why) == why;
    };
    const auto first = ring.publish();
    const std::array<mk::batch_item, 2> items{};
    const auto batch = value_of(ring.queue.publish_batch(0, items, 0));
    require((first.first == 0 && first.slots == 1 && batch.first == 1 && batch.slots == 3));
    require(is(first, progress::pending, 0) && is(batch, progress::pending, 1));
    for (const auto outstanding : {slot_status::claimed, slot_status::wait_io, slot_status::yield,
                                   slot_status::requeue, slot_status{99}}) {
      ring.set(0, outstanding);
      require(is(first, progress::pending, 0));
    }
    ring.set(0, slot_status::done);
    require(is(first, progress::done, 0));
    // Whole only when every slot is; a fault shows when nothing is outstanding any more.
    ring.set(1, slot_status::done);
    require(is(batch, progress::pending, 2));
    ring.fault(2, 77);
    require(is(batch, progress::pending, 3));
    const auto waited = ring.queue.wait(batch, mk::deadline::immediate());
    require(!waited && waited.error() == mk::error{.code = deadline_passed,
                                                   .buffer = mk::buffer::ring,
                                                   .index = 3,
                                                   .found = 1});
    ring.set(3, slot_status::done);
    require(is(batch, progress::faulted, 2, 77));
    require(value_of(ring.queue.wait(batch, mk::deadline::immediate())).slot == 2);

    // The slot of `first` is used again; its submission is not taken in by what happens there.
    const auto second = ring.publish();
    require(second.first == 0 && second.generation != first.generation);
    require(is(first, progress::done, 0) && is(second, progress::pending, 0));
    ring.fault(0, 5);
    require(is(first, progress::done, 0) && is(second, progress::faulted, 0, 5));

    // Reclaimed: what it was is told once, and is known of the submission until the slot is used.
    std::array<mk::fault_notice, 8> notices;
    require(ring.queue.reclaim_faults({}) == 0);
    require(ring.queue.reclaim_faults(std::span(notices).first(1)) == 1);
    require(notices[0].slot == 0 && notices[0].generation == second.generation &&
            word(notices[0].why) == 5);
    require(status(ring.buffers, 0) == 0 && status(ring.buffers, 2) == 7);
    require(is(second, progress::faulted, 0) && is(batch, progress::faulted, 2, 77));
    require(ring.queue.reclaim_faults(notices) == 1 && notices[0].slot == 2);
    require(notices[0].generation == batch.generation);
    require(ring.queue.reclaim_faults(notices) == 0);
    require(is(batch, progress::faulted, 2) && is(first, progress::done, 0));
    for (int i = 0; i < 4; ++i) ring.publish();
    require(is(second, progress::done, 0) && is(batch, progress::done, 1));
  });
}

bool refused_call_changes_nothing() {
  return once("a refused publish makes a receipt of older work say something else", [] {
    by_hand ring(4);
    std::array<mk::submission, 4> all;
    for (auto& r : all) r = ring.publish();
    ring.fault(0, 9);
    ring.set(1, slot_status::done);
    std::array<mk::fault_notice, 1> notice;
    require(ring.queue.reclaim_faults(notice) == 1);
    const std::vector<word> before(ring.buffers.where().ring, ring.buffers.where().ring + 64);
    const auto lives = [&] {
      std::vector<std::uint64_t> seen;
      for (std::uint32_t i = 0; i < 4; ++i) seen.push_back(ring.queue.generation_of(i));
      return seen;
    };
    const auto lives_before = lives();
    const auto unchanged = [&] {
      return std::ranges::equal(before, std::span(ring.buffers.where().ring, 64)) &&
             lives() == lives_before && ring.queue.accepted() == 4 &&
             ring.of(all[0]) == progress::faulted && ring.of(all[1]) == progress::done &&
             ring.of(all[2]) == progress::pending;
    };
    require(unchanged());
    // Two slots are free, in a row, but not three.
    const std::array<mk::batch_item, 3> items{};
    require(code_of(ring.queue.publish_batch(0, std::span(items).first(2), 0)) == ring_full);
    require(unchanged());
    require(code_of(ring.queue.publish_batch(
                0, items, 0, mk::deadline::in(std::chrono::milliseconds(1)))) == ring_full);
    require(unchanged());
    // Nor does it leave a gap where the next one goes.
    require(ring.publish().first == 0);
    require(ring.publish().first == 1);
    require(ring.of(all[0]) == progress::done);
    require(ring.queue.close(mk::deadline::immediate()).has_value());
    ring.finish_all();
    require(code_of(ring.queue.publish({})) == feed_closed);
    require(ring.queue.accepted() == 6);
  });
}

bool bad_requests() {
  return once("a request that can never be accepted waits for a free slot", [] {
    by_hand ring(2);
    ring.publish();
    ring.publish();
    const std::array<word, 13> many{};
    const mk::batch_item bad_item{.arguments = many};
    const std::array<std::span<const word>, 2> entries{std::span(many).first(1),
                                                       std::span(many).first(11)};
    const auto until = soon();
    const auto& queue = [&]() -> mk::submission_queue& { return ring.queue; };
    require(code_of(queue().publish({.arguments = many}, until)) == too_many_args);
    require(code_of(queue().publish({.op = opcode::load_miss}, until)) == opcode_reserved);
    require(code_of(queue().publish({.level = mk::priority{5}}, until)) == priority_out_of_range);
    require(code_of(queue().publish_packed({.ops = std::vector<mk::packed_op>(24)}, until)) ==
            packed_metadata_too_large);
    require(code_of(queue().publish_packed({.level = mk::priority{9}}, until)) ==
            priority_out_of_range);
    require(code_of(queue().publish_batch(0, std::span(&bad_item, 1), 0, until)) == too_many_args);
    const auto window = queue().publish_window({.op = opcode{42}, .required = entries}, until);
    require(code_of(window) == window_payload_too_large && window.error().index == 1);
    require(code_of(queue().publish_window(
                {.op = opcode{0xFFF3}, .required = std::span(entries).first(1)}, until)) ==
            opcode_reserved);
    require(code_of(queue().publish_batch(0, std::vector<mk::batch_item>(2), 0, until)) ==
            batch_out_of_range);
    require(ring.queue.accepted() == 2);
    // None of them has taken the place of one that can be.
    ring.finish_all();
    require(ring.publish().first == 0);
  });
}

bool full_ring_says_why() {
  return once("a full ring names another reason than most of its slots have", [] {
    struct wanted {
      slot_status most;
      const char* subject;
    };
    for (const wanted& w :
         {wanted{slot_status::published, "PUBLISHED"}, wanted{slot_status::claimed, "CLAIMED"},
          wanted{slot_status::wait_io, "WAIT_IO"}, wanted{slot_status::yield, "YIELD"},
          wanted{slot_status::requeue, "REQUEUE"}, wanted{slot_status::fault, "FAULT"},
          wanted{slot_status{8}, "of unknown status"},
          wanted{slot_status{~0u}, "of unknown status"}}) {
      by_hand ring(8);
      for (int i = 0; i < 8; ++i) ring.publish();
      for (std::uint32_t i = 0; i < 5; ++i) ring.set(i, w.most);
      if (w.most == slot_status::published) ring.set(7, slot_status::claimed);
      const auto got = ring.queue.publish({});
      require(code_of(got) == ring_full && got.error().subject() == w.subject, w.subject);
      require(got.error().bound == (w.most == slot_status::published ? 7u : 5u));
      require(std::string(got.error().message().text()).contains(w.subject));
      // One that is done takes the next.
      ring.set(6, slot_status::done);
      require(ring.publish().first == 6);
    }
  });
}

bool around_stuck_slots() {
  return once("slots that stay occupied stop the ring", [] {
    for (const std::uint32_t workers : {1u, 2u}) {
      auto kernel = running<opcodes>({.layout = {.slots = 8}}, workers);
      std::vector<mk::submission> stuck;
      std::vector<std::uint32_t> slots;
      for (int i = 0; i < 3; ++i) {
        stuck.push_back(value_of(kernel.queue().publish({.tenant = 29}, soon())));
        slots.push_back(stuck.back().first);
        value_of(kernel.queue().publish({}, soon()));
      }
      const std::array<mk::batch_item, 1> items{};
      for (int i = 0; i < 2000; ++i) {
        const auto one = value_of(kernel.queue().publish({}, soon()));
        require(std::ranges::find(slots, one.first) == slots.end());
        if (i % 16 == 0) value_of(kernel.queue().publish_batch(0, items, 0, soon()));
        if (i % 64 == 0)
          require(value_of(kernel.queue().wait(one, soon())).progress == progress::done);
      }
      require(
          comes_true([&] { return control(kernel, abi::done_count_word) == 3 + 2000 + 2 * 125; }));
      for (const auto& r : stuck)
        require(kernel.queue().state(r).progress == progress::pending, "a stuck slot was taken");
      require(value_of(kernel.stop(soon())).outstanding == 3);
    }
  });
}

/// Runs of `t` slots that say whose they are: ticket in every slot, and their place in the run.
struct claimed_run {
  mk::submission where;
  word ticket;
};

bool runs_never_overlap() {
  return once("runs of several producers overlap, or cross the end of their part", [] {
    constexpr int rounds = sanitized ? 100 : 600;
    constexpr std::uint32_t producers = 3;
    prng d(44);
    for (const auto order : {mk::schedule::ring_order, mk::schedule::by_priority}) {
      by_hand ring(order == mk::schedule::ring_order ? 53 : 83, order);
      const auto offsets = mk::default_priority_offsets(ring.queue.slots());
      word ticket = 0;
      for (int round = 0; round < rounds; ++round) {
        // A few stay occupied over the round, so that runs have to be found between them.
        for (std::uint32_t i = 0; i < ring.queue.slots(); ++i)
          ring.set(i, d.one_in(16) ? slot_status::claimed : slot_status::done);
        std::array<std::vector<claimed_run>, producers> taken;
        std::array<std::uint64_t, producers> seeds;
        for (auto& seed : seeds) seed = d.next();
        in_threads(producers, [&](std::uint32_t p) {
          prng mine(seeds[p]);
          const std::array<word, 1> payload{p};
          const std::vector<std::span<const word>> entries(8, payload);
          for (int i = 0; i < 40; ++i) {
            const word own = ticket + word(i) * producers + p;
            const std::size_t required = 1 + mine.below(4);
            const auto got =
                ring.queue.publish_window({.op = opcode{99},
                                           .ticket = own,
                                           .level = mk::priority{mine.below(5)},
                                           .required = std::span(entries).first(required),
                                           .lookahead = std::span(entries).first(mine.below(4))});
            if (got) taken[p].push_back({*got, own});
          }
        });
        ticket += 40 * producers;
        std::vector<std::uint32_t> owner(ring.queue.slots());
        for (const auto& runs : taken) {
          for (const claimed_run& run : runs) {
            const std::uint32_t end = run.where.first + run.where.slots;
            require(end <= ring.queue.slots(), "a run crosses the end of the ring");
            if (order == mk::schedule::by_priority) {
              const auto level = slot_word(ring.buffers, run.where.first, abi::priority_word);
              require(run.where.first >= offsets[level] && end <= offsets[level + 1],
                      "a run leaves its partition");
            }
            for (std::uint32_t i = run.where.first; i < end; ++i) {
              require(++owner[i] == 1, "a slot is in two runs");
              require(slot_word(ring.buffers, i, 4) == run.ticket, "a slot has another's ticket");
              require(status(ring.buffers, i) == word(slot_status::published));
            }
            require(ring.of(run.where) == progress::pending);
          }
        }
        // What is in no run was not written.
        for (std::uint32_t i = 0; i < ring.queue.slots(); ++i)
          require(owner[i] == 1 || status(ring.buffers, i) != word(slot_status::published));
      }
    }
  });
}

bool epochs() {
  return once("a wait for an epoch ends early, or misses the wrap", [] {
    auto kernel = value_of(mk::kernel_session::make({.layout = {.slots = 8}}));
    control(kernel, abi::epoch_word) = ~0u - 1;
    auto& queue = kernel.queue();
    require(value_of(queue.wait_epoch(~0u - 1, mk::deadline::immediate())) == ~0u - 1);
    require(value_of(queue.wait_epoch(~0u - 9, mk::deadline::immediate())) == ~0u - 1);
    const auto early = queue.wait_epoch(1, mk::deadline::immediate());
    require(!early && early.error() == mk::error{.code = deadline_passed,
                                                 .buffer = mk::buffer::control,
                                                 .index = abi::epoch_word,
                                                 .found = ~0u - 1,
                                                 .bound = 1});
    launch(kernel, {.workers = 1});
    const std::array<mk::batch_item, 2> items{};
    for (int i = 0; i < 3; ++i) value_of(queue.publish_batch(0, items, 40 + word(i), soon()));
    require(value_of(queue.wait_epoch(1, soon())) == 1);
    require(observable(kernel, 0) == 42, "the tag of the last fence");
    value_of(kernel.drain(soon()));
  });
}

/// Outcomes of calls that go on while the runtime is taken down.
struct outcomes {
  std::atomic<std::uint64_t> accepted{0};
  std::atomic<std::uint64_t> full{0};
  std::atomic<std::uint64_t> closed{0};
  std::atomic<std::uint64_t> other{0};
  bool record(const mk::result<mk::submission>& got) {
    if (got) {
      accepted += got->slots;
    } else {
      ++(code_of(got) == ring_full ? full : code_of(got) == feed_closed ? closed : other);
    }
    return !got && code_of(got) == feed_closed;
  }
};

bool drain_while_full() {
  return once("a drain while the ring is full and producers wait loses what was accepted", [] {
    for (int round = 0; round < 6; ++round) {
      the_gate.reset();
      auto kernel = running<opcodes>({.layout = {.slots = 8}}, 1 + word(round) % 2);
      // Every lane behind the gate, then a full ring.
      outcomes all;
      const word lanes = 1 + word(round) % 2;
      for (word i = 0; i < lanes; ++i)
        all.record(kernel.queue().publish({.op = wait_at_gate::op}, soon()));
      require(comes_true([&] { return the_gate.waiting == lanes; }));
      while (!all.record(kernel.queue().publish({})) && all.full == 0) {
      }
      require(all.accepted == 8, "the ring is full");
      std::atomic<std::uint32_t> started{0};
      mk::result<mk::work_totals> drained;
      {
        std::vector<std::jthread> producers;
        for (int p = 0; p < 3; ++p) {
          producers.emplace_back([&, p] {
            ++started;
            // Some wait long, some give up and come again.
            const auto timeout = p == 0 ? std::chrono::seconds(60) : std::chrono::milliseconds(p);
            while (!all.record(kernel.queue().publish({}, mk::deadline::in(timeout)))) {
            }
          });
        }
        require(comes_true([&] { return started == 3; }));
        if (round >= 3) {
          // The gate opens first: the ring is full again and again while it is closed.
          the_gate.open = true;
          require(comes_true([&] { return all.accepted > 1000; }));
        }
        drained = kernel.drain(mk::deadline::in(std::chrono::milliseconds(round < 3 ? 5 : 60'000)));
      }
      if (round < 3) {
        // Held up by the gate, and says by which slot; may be called again.
        require(code_of(drained) == deadline_passed);
        require(drained.error().buffer == mk::buffer::ring && drained.error().index == 0 &&
                drained.error().found == word(slot_status::claimed));
        the_gate.open = true;
        drained = kernel.drain(soon());
      }
      require(value_of(drained).outstanding == 0);
      // The producers are out of their calls now: what was accepted can be told exactly.
      const auto end = value_of(kernel.drain(soon()));
      require(all.other == 0 && all.closed >= 3);
      require(end.accepted == all.accepted && end.done == all.accepted && end.outstanding == 0,
              "accepted " + std::to_string(all.accepted) + ", done " + std::to_string(end.done));
      require(code_of(kernel.queue().publish({}, soon())) == feed_closed);
    }
  });
}

bool stop_accounts_for_everything() {
  return once("a stop without a drain hides what was accepted and not run", [] {
    for (int round = 0; round < 8; ++round) {
      auto kernel = running<opcodes>({.layout = {.slots = 64}}, 2);
      outcomes all;
      mk::result<mk::work_totals> stopped;
      {
        std::vector<std::jthread> producers;
        for (int p = 0; p < 2; ++p) {
          producers.emplace_back([&] {
            while (!all.record(kernel.queue().publish({}, soon()))) {
            }
          });
        }
        require(comes_true([&] { return all.accepted > 500; }));
        stopped = kernel.stop(soon());
      }
      require(value_of(stopped).running == 0);
      const auto end = value_of(kernel.stop(soon()));
      require(all.other == 0 && all.full == 0 && all.closed == 2);
      require(end.accepted == all.accepted && end.running == 0);
      require(end.done + end.outstanding == end.accepted, "each is done, or counted as owed");
    }
  });
}

bool deadlines() {
  return once("a deadline passes early, or says that more is left than is", [] {
    using namespace std::chrono_literals;
    require(mk::deadline::immediate().passed() && mk::deadline::immediate().left() == 0ns);
    const auto hour = mk::deadline::in(1h);
    require(!hour.passed() && hour.left() > 0ns && hour.left() <= 1h);
    const auto ever = mk::deadline::in(std::chrono::nanoseconds::max());
    require(!ever.passed() && ever.left() > 1h);
    const auto short_one = mk::deadline::in(1ms);
    require(comes_true([&] { return short_one.passed(); }) && short_one.left() == 0ns);
  });
}

bool holding_waits() {
  return once("a slot is held that nobody has let go of, or is not waited for", [] {
    by_hand ring(1);
    ring.publish();
    const mk::error full{
        .code = ring_full, .buffer = mk::buffer::ring, .index = 1, .found = 1, .bound = 1};
    require(refused(
        mk::detail::try_claim(ring.queue, mk::deadline::in(std::chrono::milliseconds(2))), full));
    std::jthread later([&] {
      std::this_thread::sleep_for(std::chrono::milliseconds(2));
      ring.set(0, slot_status::done);
    });
    require(value_of(mk::detail::try_claim(ring.queue, soon())) == 0);
  });
}

}  // namespace

int main() {
  bool ok = true;
  ok &= submissions();
  ok &= refused_call_changes_nothing();
  ok &= bad_requests();
  ok &= full_ring_says_why();
  ok &= around_stuck_slots();
  ok &= runs_never_overlap();
  ok &= epochs();
  ok &= deadlines();
  ok &= holding_waits();
  ok &= drain_while_full();
  ok &= stop_accounts_for_everything();
  return ok ? 0 : 1;
}
