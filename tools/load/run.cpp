// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <fmt/format.h>
#include <megakernel/lane_order.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <expected>
#include <limits>
#include <memory>
#include <new>
#include <optional>
#include <span>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "load/injection.h"
#include "load/producer.h"
#include "load/run.h"
#include "load/workload.h"
#include "observe/frame.h"
#include "observe/histogram.h"
#include "observe/inspect.h"
#include "observe/observer.h"
#include "observe/sketch.h"
#include "render/names.h"
#include "render/run.h"
#include "report/report.h"

import megakernel;

namespace megakernel::tool {
namespace {

using namespace std::chrono_literals;

std::unexpected<std::string> refused(const error& why) {
  return std::unexpected(std::string(why.message().text()));
}

constexpr const char* no_memory = "There is no memory left for the run. Give it fewer slots.";

}  // namespace

bool needs_attention(const run_findings& found) noexcept {
  return needs_attention(found.state) || found.workers_left != 0 ||
         std::ranges::any_of(found.laws, [](const conservation_law& l) { return !l.holds(); });
}

live_run::live_run(const run_profile& profile, kernel_session&& kernel) noexcept
    : profile_(profile), kernel_(std::move(kernel)) {}

live_run::~live_run() {
  signals_.stop.store(true, std::memory_order_relaxed);
  signals_.abandon.store(true, std::memory_order_relaxed);
  if (injector_ != nullptr) injector_->lift();
  for (std::thread& thread : threads_) thread.join();
}

std::expected<std::unique_ptr<live_run>, std::string> live_run::start(const run_profile& profile,
                                                                      bool keep_previous) {
  const auto table = dfa_table();
  auto kernel = kernel_session::make(
      {.layout = {.slots = profile.slots,
                  .tenants = profile.tenants,
                  .observable_words = work_places::observable_words,
                  .arena_bytes = work_places::arena_bytes,
                  .dfa_table = table,
                  .quotas = profile.quota.has_value() || profile.inject == injection::quota,
                  .shared = profile.on_gpu && profile.gpu_in == gpu_process::own},
       .order = profile.order,
       .hold_time = profile.hold_time});
  if (!kernel) return refused(kernel.error());
  auto windows = window_opcodes::of(std::array{window_opcode});
  if (!windows) return refused(windows.error());
  try {
    std::unique_ptr<live_run> made(new live_run(profile, std::move(*kernel)));
    made->windows_ = std::move(*windows);
    made->keep_previous_ = keep_previous;
    if (auto started = made->start_threads(); !started) return std::unexpected(started.error());
    return made;
  } catch (const std::bad_alloc&) {
    return std::unexpected(no_memory);
  }
}

std::expected<void, std::string> live_run::start_threads() {
  for (std::uint32_t i = 0; i < profile_.producers; ++i) {
    counts_.push_back(std::make_unique<producer_counts>());
    producers_.push_back(
        std::make_unique<producer>(profile_, i, kernel_.queue(), signals_, *counts_.back()));
  }
  counts_.push_back(std::make_unique<producer_counts>());
  injector_ = std::make_unique<injector>(profile_, kernel_, *counts_.back());
  threads_.reserve(profile_.producers);
  prepare(kernel_.buffers(), profile_.seed);
  refill();
  auto lanes = make_target(profile_);
  if (!lanes) return std::unexpected(lanes.error());
  if (auto launched = kernel_.launch(std::move(*lanes), deadline::in(10s)); !launched)
    return refused(launched.error());
  // A first sample, so that the next has something to compare with.
  if (auto looked = kernel_.observe(windows_, deadline::in(20ms)); !looked)
    return refused(looked.error());

  signals_.begin = clock::now();
  began_ = std::chrono::system_clock::now();
  // Should nobody call `stop_load` in time, producers end by themselves.
  constexpr std::chrono::nanoseconds late = 1s;
  const auto longest = clock::time_point::max() - signals_.begin - late;
  const auto duration = profile_.duration.value_or(longest);
  signals_.end = signals_.begin + std::min<std::chrono::nanoseconds>(duration, longest) + late;
  last_sample_at_ = refilled_at_ = signals_.begin;
  last_at_ = std::chrono::system_clock::now();
  signals_.loading.store(profile_.producers, std::memory_order_relaxed);
  try {
    for (const auto& p : producers_) threads_.emplace_back([&p = *p]() noexcept { p.run(); });
  } catch (const std::exception&) {
    return std::unexpected(fmt::format("The system gives no more than {} of {} producer threads.",
                                       threads_.size(), profile_.producers));
  }
  return {};
}

void live_run::refill() noexcept {
  if (!kernel_.buffers().where().quotas) return;
  constexpr word plenty = std::numeric_limits<word>::max() / 2;
  word* const quotas = kernel_.buffers().where().control + abi::tenant_quota_word;
  for (word t = 0; t < profile_.tenants; ++t) {
    if (injector_->withholds_tokens(t)) continue;
    std::atomic_ref<word>(quotas[t]).store(profile_.quota.value_or(plenty),
                                           std::memory_order_relaxed);
  }
}

bool live_run::load_ended() {
  if (const auto now = clock::now(); now - refilled_at_ >= 1s) {
    refilled_at_ += 1s;
    refill();
  }
  return signals_.loading.load(std::memory_order_acquire) == 0;
}

std::expected<void, std::string> live_run::inject_when_due() {
  if (profile_.inject == injection::nothing || injector_->done()) return {};
  if (phase_ != run_phase::load || clock::now() - signals_.begin < profile_.inject_after) return {};
  return injector_->strike(signals_.begin);
}

std::chrono::nanoseconds live_run::load_left() const {
  if (!profile_.duration) return std::chrono::nanoseconds::max();
  return std::max<std::chrono::nanoseconds>(0ns,
                                            *profile_.duration - (clock::now() - signals_.begin));
}

void live_run::stop_load(run_end why) {
  if (!load_ended()) {
    why_ = why;
    signals_.stop.store(true, std::memory_order_relaxed);
  }
  while (!load_ended()) std::this_thread::sleep_for(100us);
}

template <class Get>
std::uint64_t live_run::sum(Get get) const {
  std::uint64_t all = 0;
  for (const auto& counts : counts_) all += get(*counts).get();
  return all;
}

latency_histogram live_run::latency_now(std::optional<priority> only) const {
  latency_histogram all;
  for (const auto& counts : counts_) {
    for (word level = 0; level < abi::priorities; ++level) {
      if (!only || word(*only) == level) counts->latency[level].add_to(all);
    }
  }
  return all;
}

published_counts live_run::published(latency_counts& latency) const {
  const latency_histogram seen = latency_now(std::nullopt);
  seen.visit([&latency](std::uint64_t largest, std::uint64_t times) {
    // Octaves begin and end with buckets, so that the largest value stands for all of one.
    latency.add(largest, times, 0);
  });
  latency.add(0, 0, seen.sum());
  return {.slots = sum([](const producer_counts& c) -> auto& { return c.slots; }),
          .publications = sum([](const producer_counts& c) -> auto& { return c.publications; }),
          .ring_full = sum([](const producer_counts& c) -> auto& { return c.ring_full; }),
          .latency = &latency};
}

std::expected<run_observation, std::string> live_run::observe(std::chrono::nanoseconds flush) {
  const auto& dog = kernel_.watchdog();
  if (keep_previous_) {
    const live_snapshot& before = dog.snapshot();
    for (const auto& [from, to] : {std::pair(before.control(), &previous_control_),
                                   std::pair(before.ring(), &previous_ring_)}) {
      if (auto sized = to->resize_for_overwrite(from.size()); !sized) return refused(sized.error());
      std::ranges::copy(from, to->begin());
    }
    previous_at_ = last_at_;
  }
  const auto report =
      kernel_.observe(windows_, flush > 0ns ? deadline::in(flush) : deadline::immediate());
  if (!report) return refused(report.error());
  const auto now = clock::now();
  last_at_ = std::chrono::system_clock::now();

  run_observation seen{observe_ring(dog.telemetry().summary(), dog.diagnosis(), *report,
                                    now - signals_.begin,
                                    now - std::exchange(last_sample_at_, now))};
  seen.phase = phase_;
  seen.accepted = dog.snapshot().accepted();
  seen.injected = injector_->done();
  seen.torn_pages = dog.snapshot().torn_pages().size();
  const latency_histogram latency = latency_now(std::nullopt);
  seen.latency = latency.since(latency_before_).summary();
  latency_before_ = latency;

  alarms_ += stands_still(seen.state);
  if (phase_ == run_phase::load) {
    // A rate over a moment says little.
    if (seen.interval >= 500ms) {
      least_ = most_ == 0 ? seen.done_per_second : std::min(least_, seen.done_per_second);
      most_ = std::max(most_, seen.done_per_second);
    }
    if (seen.counters.queue_depth >= deepest_.counters.queue_depth) deepest_ = seen;
  }
  last_ = seen;
  return seen;
}

bool live_run::drain(std::chrono::nanoseconds wait) {
  if (phase_ == run_phase::load) {
    stop_load(run_end::signal);
    phase_ = run_phase::drain;
    drain_began_ = clock::now();
    done_before_drain_ = last_.health.done;
  }
  (void)load_ended();  // quotas
  return kernel_.drain(deadline::in(wait)).has_value();
}

std::chrono::nanoseconds live_run::drained_for() const { return clock::now() - drain_began_; }

std::expected<run_findings, std::string> live_run::finish(bool cut_short) {
  if (phase_ == run_phase::load) (void)drain(0ns);
  if (why_ == run_end::count && !profile_.count) why_ = run_end::duration;  // nobody stopped it
  run_findings found{.profile = profile_, .ended_by = why_, .cut_short = cut_short};
  found.drain_time = drained_for();
  const auto last = observe(1s);
  if (!last) return std::unexpected(last.error());
  found.control = kernel_.watchdog().telemetry().control();

  injector_->lift();
  const auto stopped = kernel_.stop(deadline::in(5s));
  if (stopped) {
    found.totals = *stopped;
  } else {
    found.totals = {.accepted = *last->accepted,
                    .done = last->health.done,
                    .faults = found.control.report().value_or(kernel_report{}).faults,
                    .outstanding = last->occupancy.active(),
                    .running = static_cast<std::uint32_t>(stopped.error().found)};
    found.workers_left = found.totals.running;
  }
  // They see finished work at once.
  if (found.totals.outstanding != 0) signals_.abandon.store(true, std::memory_order_relaxed);
  for (std::thread& thread : threads_) thread.join();
  threads_.clear();
  found.last = last_;
  found.deepest = deepest_;
  add_up(found);
  return found;
}

void live_run::add_up(run_findings& found) {
  injector_->finish();
  found.injected = injector_->done();
  found.load_time = signals_.ended.load(std::memory_order_relaxed) - signals_.begin;
  found.served_under_load = sum([](const producer_counts& c) -> auto& { return c.served_slots; });
  found.slots_per_second = per_second(found.served_under_load, found.load_time);
  found.least_per_second = most_ == 0 ? found.slots_per_second : least_;
  found.most_per_second = most_ == 0 ? found.slots_per_second : most_;
  found.publications = sum([](const producer_counts& c) -> auto& { return c.publications; });
  found.ring_full = sum([](const producer_counts& c) -> auto& { return c.ring_full; });
  found.unmet = sum([](const producer_counts& c) -> auto& { return c.unmet; });
  found.latency = latency_now(std::nullopt).summary();
  for (word level = 0; level < abi::priorities; ++level)
    found.latency_by_priority[level] = latency_now(priority{level}).summary();
  found.alarms = alarms_;
  std::array<fault_notice, producer::most_faults> notices;
  const std::size_t faults = kernel_.queue().reclaim_faults(notices);
  found.faults.assign(notices.begin(), notices.begin() + static_cast<std::ptrdiff_t>(faults));
  for (const auto& p : producers_)
    found.faults.insert(found.faults.end(), p->faults().begin(), p->faults().end());
  if (found.workers_left == 0) {
    // Each lane has added what it had counted when it left.
    if (auto control = decode_control(kernel_.buffers().control()); control)
      found.control = *control;
    found.results = check_results(kernel_.buffers().control(), kernel_.buffers().arena());
  }
  add_tenants(found);
  add_opcodes(found);
  add_laws(found);
  found.state = state_of({.last = found.last.state,
                          .outstanding = found.totals.outstanding,
                          .faults = found.totals.faults != 0,
                          .moved = found.last.health.done != done_before_drain_,
                          .cut_short = found.cut_short},
                         found.last.health);
}

void live_run::add_tenants(run_findings& found) const {
  std::vector<double> service;
  std::vector<double> waits;
  for (std::uint32_t t = 0; t < profile_.tenants; ++t) {
    const auto of_tenant = [&](auto member) {
      return sum([&](const producer_counts& c) -> auto& { return c.tenants[t].*member; });
    };
    run_tenant row{.tenant = t,
                   .demand = of_tenant(&producer_counts::tenant::demand),
                   .served = of_tenant(&producer_counts::tenant::served)};
    const std::uint64_t publications = of_tenant(&producer_counts::tenant::waits);
    if (publications != 0)
      row.mean_wait = of_tenant(&producer_counts::tenant::waited) / publications;
    if (row.demand != 0) {
      service.push_back(static_cast<double>(row.served) / static_cast<double>(row.demand));
      waits.push_back(static_cast<double>(row.mean_wait));
    }
    found.tenants.push_back(row);
  }
  found.jain_of_service = jain_index(service);
  found.jain_of_wait = jain_index(waits);
}

void live_run::add_opcodes(run_findings& found) const {
  const metric_counters metrics = found.control.metrics();
  for (std::size_t i = 0; i < counted_opcodes.size(); ++i) {
    const opcode op = counted_opcodes[i];
    run_opcode row{
        .op = op,
        .slots = sum([i](const producer_counts& c) -> auto& { return c.opcode_slots[i]; }),
        .inner = sum([i](const producer_counts& c) -> auto& { return c.opcode_inner[i]; })};
    if (word(op) < abi::metrics) row.claims = metrics[word(op)];
    if (row.slots != 0 || row.inner != 0 || row.claims.value_or(0) != 0)
      found.opcodes.push_back(row);
  }
  std::ranges::sort(found.opcodes, std::ranges::greater{},
                    [](const run_opcode& o) { return std::pair(o.slots, ~word(o.op)); });
}

void live_run::add_laws(run_findings& found) {
  const work_totals& a = found.totals;
  const std::uint64_t ended = a.done + a.faults;
  found.laws.push_back({.name = "accepted",
                        .sentence = "accepted = done + faults + owed",
                        .left = a.accepted,
                        .right = ended + a.outstanding});
  found.laws.push_back({.name = "published",
                        .sentence = "published by producers = accepted",
                        .left = sum([](const producer_counts& c) -> auto& { return c.slots; }),
                        .right = a.accepted});
  // The rest compares counts that move one after the other: only where nothing moves any more.
  if (a.outstanding != 0 || found.workers_left != 0) return;
  found.laws.push_back(
      {.name = "seen",
       .sentence = "seen finished by producers = done + faults",
       .left = sum([](const producer_counts& c) -> auto& { return c.finished_slots; }),
       .right = ended});
  std::uint64_t claims = 0;
  std::uint64_t counted = ended;  // by the metrics
  for (const run_opcode& o : found.opcodes) {
    if (!o.claims) counted -= o.slots;
    counted += o.inner;
    claims += o.claims.value_or(0);
  }
  // The kernel's counters are of 32 bits.
  const auto wrapped = [](std::uint64_t n) { return std::uint64_t{static_cast<word>(n)}; };
  found.laws.push_back({.name = "metrics",
                        .sentence = "claims below opcode 32 = finished + in packed",
                        .left = wrapped(claims),
                        .right = wrapped(counted)});
  std::uint64_t by_tenant = 0;
  for (const word n : found.control.tenant_fairness()) by_tenant += n;
  found.laws.push_back({.name = "tenants",
                        .sentence = "claims by tenant = done + faults",
                        .left = wrapped(by_tenant),
                        .right = wrapped(ended)});
  found.laws.push_back(
      {.name = "added",
       .sentence = "sum in memory = sum of ATOMIC_ADDs published",
       .left = found.results.added,
       .right = wrapped(sum([](const producer_counts& c) -> auto& { return c.added; }))});
  found.laws.push_back({.name = "checksums",
                        .sentence = "wrong checksums = 0",
                        .left = found.results.blocks_wrong,
                        .right = 0});
}

void live_run::count_publishers(publisher_totals& known) const {
  known.publications = sum([](const producer_counts& c) -> auto& { return c.publications; });
  known.ring_full = sum([](const producer_counts& c) -> auto& { return c.ring_full; });
  known.tenants.resize(profile_.tenants);
  for (std::uint32_t t = 0; t < profile_.tenants; ++t) {
    const auto of_tenant = [&](auto member) {
      return sum([&](const producer_counts& c) -> auto& { return c.tenants[t].*member; });
    };
    known.tenants[t] = {.tenant = t,
                        .demand = of_tenant(&producer_counts::tenant::demand),
                        .finished = of_tenant(&producer_counts::tenant::finished),
                        .waits = of_tenant(&producer_counts::tenant::waits),
                        .waited = of_tenant(&producer_counts::tenant::waited)};
  }
  known.latency = latency_now(std::nullopt);
}

std::expected<frame, std::string> live_run::sample(run_sample& storage) {
  const auto at = clock::now() - signals_.begin;
  const auto wall = std::chrono::system_clock::now();
  if (auto taken = storage.snapshot.take(kernel_.buffers(), kernel_.queue()); !taken)
    return refused(taken.error());
  return frame_of(storage.snapshot, at, wall, storage.publishers);
}

frame live_run::last_frame() {
  return frame_of(kernel_.watchdog().snapshot(), last_sample_at_ - signals_.begin, last_at_,
                  publishers_);
}

frame live_run::frame_of(const live_snapshot& taken, std::chrono::nanoseconds at,
                         std::chrono::system_clock::time_point wall,
                         publisher_totals& known) const {
  known.accepted = taken.accepted();
  count_publishers(known);
  return {.at = at,
          .wall = wall,
          .control = taken.control(),
          .ring = taken.ring(),
          .debug_log = taken.debug_log(),
          .io_queue = taken.io_queue(),
          .torn_pages = taken.torn_pages(),
          .publishers = &known};
}

run_dump live_run::dump() const noexcept {
  const live_snapshot& last = kernel_.watchdog().snapshot();
  return {.last = {.control = last.control(), .ring = last.ring(), .at = last_at_},
          .previous = {.control = {previous_control_.data(), previous_control_.size()},
                       .ring = {previous_ring_.data(), previous_ring_.size()},
                       .at = previous_at_},
          .debug_log = last.debug_log(),
          .io_queue = last.io_queue()};
}

}  // namespace megakernel::tool
