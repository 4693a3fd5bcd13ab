// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <sched.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <expected>
#include <limits>
#include <thread>
#include <vector>

#include "load/producer.h"
#include "load/workload.h"
#include "render/ring_bar.h"
#include "report/report.h"

import megakernel;

namespace megakernel::tool {
namespace {

constexpr std::uint64_t endless = std::numeric_limits<std::uint64_t>::max();

std::uint64_t share_of(std::uint64_t count, std::uint32_t producers, std::uint32_t number) {
  return count / producers + (number < count % producers ? 1 : 0);
}

std::uint64_t nanoseconds(std::chrono::steady_clock::duration d) noexcept {
  const auto count = std::chrono::duration_cast<std::chrono::nanoseconds>(d).count();
  return count < 0 ? 0 : static_cast<std::uint64_t>(count);
}

void pause() noexcept {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#endif
}

}  // namespace

producer::producer(const run_profile& profile, std::uint32_t number, submission_queue& queue,
                   producer_signals& signals, producer_counts& counts)
    : source_(profile, number),
      queue_(queue),
      signals_(signals),
      counts_(counts),
      share_(profile.count ? share_of(*profile.count, profile.producers, number) : endless),
      most_slots_(profile.outstanding()),
      interval_(profile.rate ? 1e9 * profile.producers / *profile.rate : 0) {
  // One publication more slots than allowed may be outstanding, but never one more publication.
  pending_.reserve(most_slots_ + 1);
  faults_.reserve(most_faults);
}

bool producer::load_is_over() noexcept {
  return signals_.stop.load(std::memory_order_relaxed) || clock::now() >= signals_.end;
}

std::uint64_t producer::left() const noexcept { return share_ - counts_.slots.get(); }

/// Keeps the core for a moment, then gives it away, and sleeps once nothing has moved for so long
/// that a late look does not matter.
void producer::idle(bool progressed) noexcept {
  constexpr std::chrono::microseconds busy(50);
  constexpr std::chrono::milliseconds sleepless(2);
  const auto now = clock::now();
  if (progressed) {
    last_progress_ = now;
    wait_.reset();
  } else if (now - last_progress_ < busy) {
    pause();
  } else if (now - last_progress_ < sleepless) {
    ::sched_yield();
  } else {
    wait_.pause();
  }
}

void producer::run() noexcept {
  last_progress_ = clock::now();
  load();
  observe();
  counts_.served_slots.add(counts_.finished_slots.get());
  for (producer_counts::tenant& t : counts_.tenants) t.served.add(t.finished.get());
  // Of the stamps of several producers the last to come here stays.
  signals_.ended.store(clock::now(), std::memory_order_relaxed);
  signals_.loading.fetch_sub(1, std::memory_order_release);
  while (!pending_.empty() && !signals_.abandon.load(std::memory_order_relaxed)) idle(observe());
  observe();
}

void producer::load() noexcept {
  double due_after = 0;  // nanoseconds
  while (left() != 0 && !load_is_over()) {
    const publication work = source_.next(left());
    clock::time_point due{};
    if (interval_ != 0) {
      due = signals_.begin + std::chrono::nanoseconds(static_cast<std::int64_t>(due_after));
      wait_until(due);
      due_after += interval_ * work.slots;
    }
    if (!hand_over(work, due)) break;
  }
  if (interval_ != 0) {
    const auto ended = std::min(clock::now(), signals_.end);
    const auto slots_due = static_cast<std::uint64_t>(
        static_cast<double>(nanoseconds(ended - signals_.begin)) / interval_);
    const std::uint64_t published = counts_.slots.get();
    if (const std::uint64_t wanted = std::min(slots_due, share_); wanted > published)
      counts_.unmet.add(wanted - published);
  }
}

/// Returns late rather than early, and when the load is over. A sleep takes longer than it is asked
/// to, and who gives its core away may wait long to get it back: neither is done to the last.
void producer::wait_until(clock::time_point due) noexcept {
  constexpr std::chrono::nanoseconds late = std::chrono::microseconds(100);
  constexpr std::chrono::nanoseconds idle_sleep = std::chrono::milliseconds(1);
  for (;;) {
    const std::chrono::nanoseconds left = due - clock::now();
    if (left.count() <= 0 || load_is_over()) return;
    const bool progressed = observe();
    if (!pending_.empty()) {
      idle(progressed);
    } else if (left > 2 * late) {
      std::this_thread::sleep_for(std::min(left - late, idle_sleep));
    } else {
      pause();
    }
  }
}

/// Faults that nobody looks at would fill the ring.
void producer::reclaim() noexcept {
  std::array<fault_notice, 64> notices;
  const std::size_t count = queue_.reclaim_faults(notices);
  const std::size_t noted = std::min(count, most_faults - faults_.size());
  faults_.insert(faults_.end(), notices.begin(),
                 notices.begin() + static_cast<std::ptrdiff_t>(noted));
}

/// Whether the work was accepted; else the load is over.
bool producer::hand_over(const publication& work, clock::time_point due) noexcept {
  constexpr std::uint32_t least_burst = 16;
  const auto burst = std::max(least_burst, static_cast<std::uint32_t>(pending_.size() / 16));
  if (++since_poll_ >= burst) observe();
  while (!pending_.empty() && pending_slots_ + work.slots > most_slots_) {
    if (load_is_over()) return false;
    idle(observe());
  }
  for (deadline until = deadline::immediate();;
       until = deadline::in(std::chrono::microseconds(50))) {
    const auto now = clock::now();
    const auto accepted = publish(queue_, work, until);
    if (accepted) {
      accept(work, *accepted, interval_ != 0 ? due : now);
      return true;
    }
    counts_.ring_full.add(1);
    if (accepted.error().code != error_code::ring_full || load_is_over()) return false;
    if (accepted.error().index == word(slot_status::fault)) reclaim();
    idle(observe());
  }
}

void producer::accept(const publication& work, const submission& accepted,
                      clock::time_point since) noexcept {
  const opcode_counts counts = counts_of(work);
  for (std::size_t i = 0; i < counted_opcodes.size(); ++i) {
    if (counts.slots[i] != 0) counts_.opcode_slots[i].add(counts.slots[i]);
    if (counts.inner[i] != 0) counts_.opcode_inner[i].add(counts.inner[i]);
  }
  counts_.publications.add(1);
  counts_.slots.add(work.slots);
  counts_.added.add(counts.added);
  counts_.tenants[work.tenant].demand.add(work.slots);
  pending_.push_back({.submission = accepted,
                      .since = since,
                      .slots = work.slots,
                      .tenant = static_cast<std::uint8_t>(work.tenant),
                      .level = static_cast<std::uint8_t>(work.level)});
  pending_slots_ += work.slots;
}

/// Looks at everything outstanding; whether something of it has finished. The clock is read after
/// the statuses, once for a few of them.
bool producer::observe() noexcept {
  constexpr std::size_t group = 16;
  since_poll_ = 0;
  std::array<progress, group> found;
  std::size_t kept = 0;
  for (std::size_t first = 0; first < pending_.size(); first += group) {
    const std::size_t size = std::min(group, pending_.size() - first);
    bool any = false;
    for (std::size_t i = 0; i < size; ++i) {
      found[i] = queue_.state(pending_[first + i].submission).progress;
      any |= found[i] != progress::pending;
    }
    const auto seen = any ? clock::now() : clock::time_point{};
    for (std::size_t i = 0; i < size; ++i) {
      const pending p = pending_[first + i];
      if (found[i] == progress::pending) {
        pending_[kept++] = p;
      } else {
        finish(p, found[i], seen);
      }
    }
  }
  const bool progressed = kept != pending_.size();
  pending_.resize(kept);
  return progressed;
}

void producer::finish(const pending& p, progress how, clock::time_point seen) noexcept {
  const std::uint64_t took = nanoseconds(seen - p.since);
  pending_slots_ -= p.slots;
  counts_.finished_slots.add(p.slots);
  if (how == progress::faulted) counts_.faulted.add(1);
  producer_counts::tenant& tenant = counts_.tenants[p.tenant];
  tenant.finished.add(p.slots);
  tenant.waits.add(1);
  tenant.waited.add(took);
  counts_.latency[p.level].record(took);
}

}  // namespace megakernel::tool
