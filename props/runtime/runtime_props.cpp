// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// What is accepted is run exactly once, whoever publishes and however many lanes there are; what
// may not run stays as it is; counters wrap as the ABI says.
#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <expected>
#include <initializer_list>
#include <span>
#include <string>
#include <vector>

#include "support.h"

#include "runtime_support.h"

import megakernel;

namespace {

using namespace props;
using mk::opcode;
using mk::word;
using opcodes = mk::device::handlers<add_ticket, wait_at_gate>;

constexpr const char* name_of(mk::schedule order) {
  return order == mk::schedule::ring_order ? "ring order" : "by priority";
}

/// What a producer was told had been accepted.
struct tally {
  std::uint64_t slots = 0;
  std::uint32_t nonces = 0;  ///< their sum, modulo 2^32
  std::array<std::uint64_t, 32> metrics{};
  std::array<std::uint64_t, 29> tenants{};
  std::array<std::uint64_t, 5> levels{};
  std::uint64_t refused = 0;

  void accept(std::uint32_t count, std::uint32_t tenant, mk::priority level) {
    slots += count;
    tenants[tenant] += count;
    levels[word(level)] += count;
  }
  void add(const tally& other) {
    slots += other.slots;
    refused += other.refused;
    const auto each = [](auto& to, const auto& from) {
      for (std::size_t i = 0; i < to.size(); ++i) to[i] += from[i];
    };
    each(metrics, other.metrics);
    each(tenants, other.tenants);
    each(levels, other.levels);
  }
};

/// Publishes single slots, packed ones, batches and windows, `wanted` slots in all or a few more.
/// Every operation adds a number of its own to observable word `self`, not 0: fences write there.
tally produce(mk::submission_queue& queue, std::uint32_t self, std::uint64_t wanted) {
  tally t;
  prng d(0x5EED + self);
  const word target = mk::abi::observable_word + self;
  while (t.slots < wanted && t.refused == 0) {
    const std::uint32_t tenant = d.below(29);
    const mk::priority level{d.below(5)};
    const std::array<word, 4> nonce{word(d.next()), word(d.next()), word(d.next()), word(d.next())};
    const auto record = [&](const auto& got, std::uint32_t slots, std::uint32_t nonces,
                            mk::priority at) {
      t.refused += !got;
      if (!got) return false;
      t.accept(slots, tenant, at);
      for (std::uint32_t i = 0; i < nonces; ++i) t.nonces += nonce[i];
      return got->slots == slots;
    };
    switch (d.below(16)) {
      case 0: {
        const auto got =
            queue.publish({.op = opcode::nop, .tenant = tenant, .level = level}, soon());
        if (record(got, 1, 0, level)) ++t.metrics[0];
        break;
      }
      case 1: {
        const std::array<word, 2> first{nonce[0], target};
        const std::array<word, 2> second{nonce[1], target};
        const std::array<mk::packed_op, 2> ops{{{2, first}, {2, second}}};
        const auto got =
            queue.publish_packed({.tenant = tenant, .level = level, .ops = ops}, soon());
        if (record(got, 1, 2, level)) t.metrics[2] += 2;
        break;
      }
      case 2: {
        std::array<std::array<word, 2>, 3> arguments;
        std::array<mk::batch_item, 3> items;
        for (std::size_t i = 0; i < 3; ++i) {
          arguments[i] = {nonce[i], target};
          items[i] = {.op = opcode::atomic_add, .arguments = arguments[i]};
        }
        const auto got = queue.publish_batch(tenant, items, self, soon());
        if (record(got, 4, 3, mk::priority::normal)) {
          t.metrics[2] += 3;
          ++t.metrics[7];
        }
        break;
      }
      case 3: {
        const std::array<word, 1> payload{self};
        const std::array<std::span<const word>, 2> required{payload, payload};
        const std::array<std::span<const word>, 1> lookahead{payload};
        const auto got = queue.publish_window({.op = add_ticket::op,
                                               .tenant = tenant,
                                               .ticket = nonce[0],
                                               .level = level,
                                               .required = required,
                                               .lookahead = lookahead},
                                              soon());
        if (record(got, 3, 1, level)) {
          t.metrics[9] += 3;
          t.nonces += 2 * nonce[0];
        }
        break;
      }
      default: {
        const std::array<word, 2> arguments{nonce[0], target};
        const auto got = queue.publish(
            {.op = opcode::atomic_add, .tenant = tenant, .level = level, .arguments = arguments},
            soon());
        if (record(got, 1, 1, level)) ++t.metrics[2];
      }
    }
  }
  return t;
}

void exactly_once(mk::schedule order, std::uint32_t slots, std::uint32_t producers,
                  std::uint32_t workers, std::uint64_t wanted) {
  auto kernel = running<opcodes>({.layout = {.slots = slots}, .order = order}, workers);
  std::vector<tally> tallies(producers);
  in_threads(producers, [&](std::uint32_t i) {
    tallies[i] = produce(kernel.queue(), i + 1, (wanted + producers - 1) / producers);
  });
  const auto end = value_of(kernel.drain(soon()));
  tally all;
  for (const tally& t : tallies) all.add(t);
  require(all.refused == 0, "a producer was refused");
  require(end.accepted == all.slots && all.slots >= wanted, "accepted");
  require(end.done == all.slots, "done: " + std::to_string(end.done));
  require(end.faults == 0 && end.outstanding == 0 && end.running == workers);
  for (std::uint32_t i = 0; i < producers; ++i)
    require(observable(kernel, i + 1).load() == tallies[i].nonces, "a producer's sum");
  std::uint64_t metrics = 0;
  for (std::size_t i = 0; i < all.metrics.size(); ++i) {
    require(control(kernel, mk::abi::metric_word + i).load() == word(all.metrics[i]), "a metric");
    metrics += all.metrics[i];
  }
  require(metrics >= all.slots);  // a packed slot counts the operations in it
  for (std::size_t i = 0; i < all.tenants.size(); ++i)
    require(control(kernel, mk::abi::tenant_fairness_word + i).load() == word(all.tenants[i]));
  for (std::size_t i = 0; i < all.levels.size(); ++i)
    require(control(kernel, mk::abi::priority_fairness_word + i).load() == word(all.levels[i]));
  require(sum_of(kernel, mk::abi::tenant_fairness_word, 32) == word(all.slots));
  require(sum_of(kernel, mk::abi::priority_fairness_word, 5) == word(all.slots));
  require(control(kernel, mk::abi::epoch_word).load() == word(all.metrics[7]), "EPOCH");
  const auto stopped = value_of(kernel.stop(soon()));
  require(stopped.done == all.slots && stopped.running == 0);
  require(control(kernel, mk::abi::workers_alive_word).load() == 0);
}

bool no_slot_twice_or_never() {
  constexpr std::uint64_t wanted = sanitized ? 600'000 : 5'500'000;
  bool ok = true;
  for (const auto order : {mk::schedule::ring_order, mk::schedule::by_priority}) {
    const std::string what = std::string("a slot runs twice or never: ") + name_of(order) +
                             ", 3 producers, 2 workers, " + std::to_string(wanted) + " slots";
    ok &= once(what.c_str(), [order] { exactly_once(order, 1024, 3, 2, wanted); });
  }
  return ok;
}

bool no_slot_twice_or_never_in_small_rings() {
  return once("a slot runs twice or never where producers and lanes meet at every slot", [] {
    constexpr std::uint64_t wanted = sanitized ? 5'000 : 20'000;
    for (const std::uint32_t slots : {4u, 5u, 17u}) {
      for (const std::uint32_t workers : {1u, 3u})
        exactly_once(mk::schedule::ring_order, slots, 3, workers, wanted);
    }
    // 20 slots are 4 a partition, room for a batch.
    for (const std::uint32_t workers : {1u, 4u})
      exactly_once(mk::schedule::by_priority, 20, 4, workers, wanted);
  });
}

bool observables_are_read() {
  return once("an observable word of a running kernel is another, or one that is not there", [] {
    auto kernel =
        value_of(mk::kernel_session::make({.layout = {.slots = 4, .observable_words = 3}}));
    launch(kernel, {.workers = 1});
    const word arguments[] = {7, mk::abi::observable_word + 2};
    const auto accepted =
        value_of(kernel.queue().publish({.op = opcode::store_u32, .arguments = arguments}, soon()));
    require(kernel.queue().wait(accepted, soon()).has_value());
    require(value_of(kernel.observable(2)) == 7 && value_of(kernel.observable(1)) == 0);
    for (const std::uint32_t missing : {3u, ~0u}) {
      const mk::error why = kernel.observable(missing).error();
      require(why == mk::error{.code = mk::error_code::control_missing_word,
                               .buffer = mk::buffer::control,
                               .index = std::uint64_t{missing} + 160,
                               .bound = 163});
    }
  });
}

bool counters_wrap() {
  return once("counters that stand just below 2^32 carry or wrap wrongly", [] {
    constexpr word almost = 0u - 100;
    for (const auto order : {mk::schedule::ring_order, mk::schedule::by_priority}) {
      auto kernel = value_of(mk::kernel_session::make({.layout = {.slots = 64}, .order = order}));
      for (const std::size_t at :
           {std::size_t{mk::abi::done_count_word}, std::size_t{mk::abi::tenant_fairness_word} + 3,
            std::size_t{mk::abi::metric_word}, std::size_t{mk::abi::epoch_word},
            std::size_t{mk::abi::metric_word} + 7,
            std::size_t{mk::abi::priority_fairness_word} + 2})
        control(kernel, at) = almost;
      launch(kernel, {.workers = 2, .order = order});
      in_threads(2, [&](std::uint32_t) {
        for (int i = 0; i < 500; ++i) {
          (void)kernel.queue().publish({.tenant = 3}, soon());
          if (i % 4 == 0)
            (void)kernel.queue().publish({.op = opcode::batch_fence, .tenant = 3}, soon());
        }
      });
      const auto end = value_of(kernel.drain(soon()));
      require(end.accepted == 1250 && end.outstanding == 0);
      require(end.done == (std::uint64_t{1} << 32) + 1150, "the 64-bit done count");
      require(control(kernel, mk::abi::done_count_word).load() == 1150);
      require(control(kernel, mk::abi::done_count_high_word).load() == 1);
      require(control(kernel, mk::abi::tenant_fairness_word + 3).load() == 1150);
      require(control(kernel, mk::abi::priority_fairness_word + 2).load() == 1150);
      require(control(kernel, mk::abi::metric_word).load() == 900);
      require(control(kernel, mk::abi::metric_word + 7).load() == 150);
      require(control(kernel, mk::abi::epoch_word).load() == 150);
      // And what a decoder makes of it.
      mk::live_snapshot snapshot;
      value_of(kernel.snapshot(snapshot, soon()));
      mk::ring_telemetry telemetry;
      value_of(telemetry.decode(snapshot.control(), snapshot.ring()));
      require(telemetry.summary().control().done_count() == 1150);
    }
  });
}

/// Lets the lanes look at everything there is several times over.
void let_lanes_poll(mk::kernel_session& kernel, std::size_t counter) {
  const auto seen = control(kernel, counter);
  const word before = seen.load();
  require(comes_true([&] { return seen.load() - before >= 200; }), "the lanes do not look");
}

bool forged_tenants() {
  return once("a tenant without a mask runs, or its slot is lost", [] {
    for (const auto order : {mk::schedule::ring_order, mk::schedule::by_priority}) {
      auto kernel = running({.layout = {.slots = 64, .tenants = 28}, .order = order}, 2);
      const std::array<word, 2> forged{1, mk::abi::observable_word};
      std::vector<mk::submission> submissions;
      for (const std::uint32_t tenant : {28u, 29u, 31u, 32u, 61u, 0x7FFFFFFFu, 0xFFFFFFFDu, ~0u}) {
        submissions.push_back(value_of(kernel.queue().publish(
            {.op = opcode::atomic_add, .tenant = tenant, .arguments = forged}, soon())));
      }
      for (int i = 0; i < 500; ++i)
        value_of(kernel.queue().publish({.tenant = word(i) % 28}, soon()));
      let_lanes_poll(kernel, mk::abi::unauthorised_word);
      const auto drained = kernel.drain(mk::deadline::in(std::chrono::milliseconds(20)));
      require(code_of(drained) == mk::error_code::deadline_passed);
      require(comes_true([&] { return control(kernel, mk::abi::done_count_word).load() == 500; }));
      for (const auto& submission : submissions) {
        require(kernel.queue().state(submission).progress == mk::progress::pending);
        require(status(kernel.buffers(), submission.first).load() ==
                word(mk::slot_status::published));
      }
      require(observable(kernel, 0).load() == 0, "a forged tenant's work was run");
      require(control(kernel, mk::abi::metric_word + 2).load() == 0);
      require(control(kernel, mk::abi::done_count_word).load() == 500);
      // The one that a mask can be given to.
      control(kernel, mk::abi::tenant_mask_word + 28) = 1;
      value_of(kernel.queue().wait(submissions[0], soon()));
      require(observable(kernel, 0).load() == 1);
      const auto stopped = value_of(kernel.stop(soon()));
      require(stopped.outstanding == submissions.size() - 1 && stopped.done == 501);
    }
  });
}

bool hostile_tenant_base() {
  return once("a TENANT_BASE that points elsewhere lets a tenant run", [] {
    // Each would make a non-zero word the mask of tenant 28 or of tenant 0.
    for (const word base : {0u, 1u, 2u, 4u, 32u, 64u, 96u, 160u, 0xFFFFFFE6u, ~0u}) {
      const std::uint32_t tenant = base == 4 ? 28 : 0;
      auto kernel = value_of(mk::kernel_session::make({.layout = {.slots = 8}}));
      for (std::size_t i = mk::abi::tenant_fairness_word; i < 128; ++i) control(kernel, i) = 1;
      observable(kernel, 0) = 1;
      control(kernel, mk::abi::tenant_base_word) = base;
      launch(kernel, {.workers = 1});
      const auto submission = value_of(kernel.queue().publish({.tenant = tenant}, soon()));
      let_lanes_poll(kernel, mk::abi::unauthorised_word);
      const auto drained = kernel.drain(mk::deadline::immediate());
      require(!drained && drained.error() == mk::error{.code = mk::error_code::deadline_passed,
                                                       .buffer = mk::buffer::ring,
                                                       .index = submission.first,
                                                       .found = 1});
      require(control(kernel, mk::abi::done_count_word).load() == 0);
      // The kernel goes on, and so does the drain.
      control(kernel, mk::abi::tenant_base_word) = mk::abi::tenant_mask_word;
      require(value_of(kernel.drain(soon())).done == 1);
    }
  });
}

bool quotas() {
  return once("more slots of a tenant run than it has tokens, or fewer", [] {
    for (const auto order : {mk::schedule::ring_order, mk::schedule::by_priority}) {
      auto kernel = value_of(
          mk::kernel_session::make({.layout = {.slots = 256, .quotas = true}, .order = order}));
      const auto quota = control(kernel, mk::abi::tenant_quota_word + 5);
      const auto ran = control(kernel, mk::abi::tenant_fairness_word + 5);
      quota = 7;
      launch(kernel, {.workers = 2, .order = order});
      for (int i = 0; i < 20; ++i) {
        value_of(kernel.queue().publish({.tenant = 5}, soon()));
        value_of(kernel.queue().publish({.tenant = 6}, soon()));
      }
      const auto throttled_at = [&](word wanted) {
        require(comes_true([&] { return ran.load() == wanted; }));
        let_lanes_poll(kernel, mk::abi::throttled_word);
        require(ran.load() == wanted && quota.load() == 0);
        const auto published = [&] {
          word all = 0;
          for (std::uint32_t i = 0; i < 256; ++i)
            all += status(kernel.buffers(), i).load() == word(mk::slot_status::published);
          return all;
        };
        // The other tenant's may be another lane's, which has its own time.
        require(comes_true([&] { return published() == 20 - wanted; }),
                "slots without a token stay PUBLISHED");
      };
      throttled_at(7);
      quota.fetch_add(5);
      throttled_at(12);
      quota.fetch_add(100);
      require(value_of(kernel.drain(soon())).done == 40);
      require(quota.load() == 92, "tokens left over");
      require(control(kernel, mk::abi::tenant_quota_word + 6).load() ==
              mk::abi::default_quota - 20);
    }
  });
}

/// Lanes that lose a claim give their token back.
bool no_token_lost() {
  return once("a lane that loses a claim keeps its token", [] {
    constexpr word slots = sanitized ? 20'000 : 200'000;
    auto kernel = value_of(mk::kernel_session::make(
        {.layout = {.slots = 20, .quotas = true}, .order = mk::schedule::by_priority}));
    for (std::size_t t = 0; t < 2; ++t) control(kernel, mk::abi::tenant_quota_word + t) = slots;
    launch(kernel, {.workers = 3, .order = mk::schedule::by_priority});
    in_threads(2, [&](std::uint32_t i) {
      for (word n = 0; n < slots; ++n) (void)kernel.queue().publish({.tenant = i}, soon());
    });
    const auto end = value_of(kernel.drain(soon()));
    require(end.done == std::uint64_t{2} * slots);
    for (std::size_t t = 0; t < 2; ++t)
      require(control(kernel, mk::abi::tenant_quota_word + t).load() == 0);
  });
}

}  // namespace

int main() {
  bool ok = true;
  ok &= no_slot_twice_or_never();
  ok &= no_slot_twice_or_never_in_small_rings();
  ok &= counters_wrap();
  ok &= observables_are_read();
  ok &= forged_tenants();
  ok &= hostile_tenant_base();
  ok &= quotas();
  ok &= no_token_lost();
  return ok ? 0 : 1;
}
