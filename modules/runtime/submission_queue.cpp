// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
module;
#include <megakernel/lane_order.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <expected>
#include <memory>
#include <mutex>
#include <new>
#include <optional>
#include <span>
#include <utility>
module megakernel.runtime;
import megakernel.protocol;

namespace megakernel {
namespace {

constexpr std::uint64_t being_written = 1;
/// Set in the generation of a slot that was reclaimed from FAULT.
constexpr std::uint64_t after_fault = std::uint64_t{1} << 63;

/// Looks for a free slot where it is expected, before the whole ring is searched.
constexpr std::uint32_t near = 8;
constexpr std::uint32_t near_tries = 64;

/// Turns of the longest busy wait for a slot, about a microsecond.
constexpr std::uint32_t longest_wait = 64;

/// How many slots before their turn their cache lines are fetched.
constexpr std::uint32_t ahead = 8;

}  // namespace

void doorbell::wake() noexcept {
  {
    const std::scoped_lock lock(mutex_);
    ++rings_;
  }
  rung_.notify_all();
}

bool doorbell::sleep(std::chrono::microseconds longest) noexcept {
  std::unique_lock lock(mutex_);
  const std::uint64_t before = rings_;
  sleepers_.fetch_add(1, std::memory_order_relaxed);
  const bool rung = rung_.wait_for(lock, longest, [&] { return rings_ != before; });
  sleepers_.fetch_sub(1, std::memory_order_relaxed);
  return rung;
}

result<submission_queue> submission_queue::over(kernel_buffers& buffers, schedule order,
                                                doorbell* bell) noexcept {
  const auto ring = ring_publisher::over(buffers.ring());
  if (!ring) return std::unexpected(ring.error());
  submission_queue made(buffers, *ring, order, bell);
  if (auto sized = made.generations_.resize_for_overwrite(ring->slots()); !sized)
    return std::unexpected(sized.error());
  made.generations_.fill_zero();
  made.shared_.reset(new (std::nothrow) shared);
  if (made.shared_ == nullptr) {
    return std::unexpected(
        error{.code = error_code::out_of_memory, .found = 1, .bound = sizeof(shared)});
  }
  auto& regions = made.shared_->regions;
  if (order == schedule::ring_order) {
    regions[0].size = ring->slots();
  } else {
    const auto offsets = default_priority_offsets(ring->slots());
    for (std::size_t i = 0; i < regions.size(); ++i) {
      regions[i].first = offsets[i];
      regions[i].size = offsets[i + 1] - offsets[i];
    }
  }
  return made;
}

submission_queue::submission_queue(submission_queue&&) noexcept = default;

std::atomic_ref<std::uint64_t> submission_queue::generation_ref(std::uint32_t slot) const noexcept {
  return std::atomic_ref(const_cast<std::uint64_t&>(generations_[slot]));
}

std::atomic_ref<word> submission_queue::status_of(std::uint32_t slot) const noexcept {
  return std::atomic_ref((&slot_words(slot))[abi::status_word]);
}

word& submission_queue::slot_words(std::uint32_t slot) const noexcept {
  return buffers_.where().ring[std::size_t{slot} * abi::slot_words];
}

std::uint64_t submission_queue::accepted() const noexcept {
  std::uint64_t all = 0;
  // Skipped slots have been counted by then: rather too many than too few.
  for (const region& in : shared_->regions) {
    const std::uint64_t skipped = in.skipped.load(std::memory_order_acquire);
    all += in.next.load(std::memory_order_acquire) - skipped;
  }
  return all;
}

std::uint64_t submission_queue::generation_of(std::uint32_t slot) const noexcept {
  return generation_ref(slot).load(std::memory_order_acquire);
}

std::uint64_t submission_queue::published(std::uint32_t slot) const noexcept {
  const std::uint64_t generation = generation_of(slot);
  return (generation & (being_written | after_fault)) == 0 ? generation : 0;
}

submission_queue::region& submission_queue::region_of(priority level) noexcept {
  const auto index = std::min<std::size_t>(word(level), abi::priorities - 1);
  return shared_->regions[order_ == schedule::ring_order ? 0 : index];
}

bool submission_queue::take_slot(std::uint32_t slot) noexcept {
  // The generation before the status: if it has not moved in between, nothing was published.
  std::uint64_t found = generation_ref(slot).load(std::memory_order_acquire);
  if ((found & being_written) != 0) return false;
  if (!is_publishable(slot_status{status_of(slot).load(std::memory_order_acquire)})) return false;
  return generation_ref(slot).compare_exchange_strong(
      found, found | being_written, std::memory_order_seq_cst, std::memory_order_relaxed);
}

void submission_queue::release(std::uint32_t first, std::uint32_t count) noexcept {
  for (std::uint32_t i = 0; i < count; ++i)
    generation_ref(first + i).fetch_and(~being_written, std::memory_order_release);
}

std::optional<std::uint32_t> submission_queue::take(const region& in, std::uint32_t from,
                                                    std::uint32_t count,
                                                    std::uint32_t samples) noexcept {
  std::uint32_t at = from;
  for (std::uint64_t looked = 0; looked < samples;) {
    if (count > in.size - at) {  // no run crosses the end
      looked += in.size - at;
      at = 0;
      continue;
    }
    std::uint32_t taken = 0;
    while (taken < count && take_slot(in.first + at + taken)) ++taken;
    if (taken == count) return in.first + at;
    release(in.first + at, taken);
    looked += taken + 1;
    at += taken + 1;
    if (at >= in.size) at = 0;
  }
  return std::nullopt;
}

error submission_queue::full(const region& of, std::uint64_t count) const noexcept {
  // As `error::subject` numbers them: by status; 0 are those of other producers.
  std::array<std::uint32_t, 9> seen{};
  for (std::uint32_t i = 0; i < of.size; ++i) {
    const word status = status_of(of.first + i).load(std::memory_order_relaxed);
    if (!is_publishable(slot_status{status})) {
      ++seen[std::min<std::size_t>(status, seen.size() - 1)];
    } else if ((generation_of(of.first + i) & being_written) != 0) {
      ++seen[0];
    }
  }
  const auto most = std::ranges::max_element(seen);
  return {.code = error_code::ring_full,
          .buffer = buffer::ring,
          .index = static_cast<std::uint64_t>(most - seen.begin()),
          .found = count,
          .bound = *most};
}

template <class Write>
result<submission> submission_queue::place(priority level, std::uint64_t count, deadline until,
                                           Write write) noexcept {
  region& in = region_of(level);
  if (count > in.size) {
    return std::unexpected(error{.code = error_code::batch_out_of_range,
                                 .buffer = buffer::ring,
                                 .index = in.first,
                                 .found = count,
                                 .bound = in.size});
  }
  const auto slots = static_cast<std::uint32_t>(count);
  const std::uint64_t ticket = in.next.fetch_add(slots, std::memory_order_relaxed);
  // Each ticket of this region has a generation of its own; 0 is a slot's that was never used.
  const std::uint64_t generation = (ticket + 1) << 1 & ~after_fault;
  const auto give_up = [&](const error& why) {
    // Leaves no gap in ring order where nobody else has taken a ticket since.
    std::uint64_t mine = ticket + slots;
    if (!in.next.compare_exchange_strong(mine, ticket, std::memory_order_relaxed))
      in.skipped.fetch_add(slots, std::memory_order_release);
    return std::unexpected(why);
  };
  const auto from = static_cast<std::uint32_t>(ticket % in.size);
  // The lane wrote this line last: what a later ticket will write is fetched while this one is
  // written.
  const std::uint32_t later = from + ahead < in.size ? from + ahead : from + ahead - in.size;
  if (later < in.size) __builtin_prefetch(&slot_words(in.first + later), 1);

  std::optional<std::uint32_t> first = take(in, from, slots, 1);
  // The ring is full: looking at the line of a slot takes it from the lane that is to drain it, so
  // a few slots are left to become free together.
  for (std::uint32_t turns = 1; !first && turns <= longest_wait; turns *= 2) {
    busy_wait(turns);
    first = take(in, from, slots, 1);
  }
  backoff wait;
  for (std::uint32_t tries = 1; !first; ++tries) {
    if (shared_->closed.load(std::memory_order_seq_cst))
      return give_up({.code = error_code::feed_closed, .buffer = buffer::ring});
    const bool last = until.passed();
    const bool search = last || tries % near_tries == 0;
    first = take(in, from, slots, search ? in.size : std::min(near, in.size));
    if (first) break;
    if (last) return give_up(full(in, count));
    wait.pause();
  }
  // After the slots were taken: `close` either sees them taken, or is seen here.
  if (shared_->closed.load(std::memory_order_seq_cst)) {
    release(*first, slots);
    return give_up({.code = error_code::feed_closed, .buffer = buffer::ring});
  }
  // A reader that sees a word of the new work sees that the slot was taken.
  std::atomic_thread_fence(std::memory_order_release);
  if (const auto written = write(*first); !written) {
    release(*first, slots);
    return give_up(written.error());
  }
  for (std::uint32_t i = 0; i < slots; ++i)
    generation_ref(*first + i).store(generation, std::memory_order_release);
  if (const std::uint32_t at = *first - in.first; at != from) {
    // Others need not look at what was stepped over.
    const std::uint64_t over = at > from ? at - from : in.size - from + at;
    in.next.fetch_add(over, std::memory_order_relaxed);
    in.skipped.fetch_add(over, std::memory_order_release);
  }
  if (bell_ != nullptr) bell_->ring();
  return submission{.generation = generation, .first = *first, .slots = slots};
}

result<submission> submission_queue::publish(const slot_request& request, deadline until) noexcept {
  if (auto checked = check(request); !checked) return std::unexpected(checked.error());
  return place(request.level, 1, until,
               [&](std::uint32_t slot) { return ring_.publish(slot, request); });
}

result<submission> submission_queue::publish_packed(const packed_request& request,
                                                    deadline until) noexcept {
  const auto packed = packed_arguments(request.ops);
  if (!packed) return std::unexpected(packed.error());
  return publish({.op = opcode::packed_slot,
                  .tenant = request.tenant,
                  .level = request.level,
                  .arguments = packed->used()},
                 until);
}

result<submission> submission_queue::publish_batch(std::uint32_t tenant,
                                                   std::span<const batch_item> items, word tag,
                                                   deadline until) noexcept {
  if (auto checked = check(items); !checked) return std::unexpected(checked.error());
  return place(priority::normal, std::uint64_t{items.size()} + 1, until,
               [&](std::uint32_t first) { return ring_.publish_batch(first, tenant, items, tag); });
}

result<submission> submission_queue::publish_window(const window_request& window,
                                                    deadline until) noexcept {
  if (auto checked = check(window); !checked) return std::unexpected(checked.error());
  const std::uint64_t entries = std::uint64_t{window.required.size()} + window.lookahead.size();
  return place(window.level, entries, until,
               [&](std::uint32_t first) { return ring_.publish_window(first, window); });
}

result<submission> submission_queue::publish_load_miss(load_miss request, deadline until) noexcept {
  return place(priority::critical, 1, until,
               [&](std::uint32_t slot) { return ring_.publish_load_miss(slot, request); });
}

work_state submission_queue::state(const submission& accepted) const noexcept {
  work_state found{.progress = progress::done, .slot = accepted.first};
  for (std::uint32_t slot = accepted.first; slot - accepted.first < accepted.slots; ++slot) {
    const word* const words = buffers_.where().ring + std::size_t{slot} * abi::slot_words;
    std::uint64_t generation = 0;
    slot_status status{};
    word why = 0;
    do {
      generation = generation_of(slot);
      status = slot_status{status_of(slot).load(std::memory_order_acquire)};
      why = device::host_memory{}.load(words + abi::fault_code_word, device::acquire,
                                       device::in_system);
    } while (generation_of(slot) != generation);
    // Once a producer has taken the slot its work was DONE, or reclaimed from FAULT.
    const bool mine = generation == accepted.generation;
    const bool faulted = mine
                             ? status == slot_status::fault
                             : (generation & ~being_written) == (accepted.generation | after_fault);
    if (mine && !faulted && status != slot_status::done)
      return {.progress = progress::pending, .slot = slot};
    if (faulted && found.progress == progress::done) {
      found = {.progress = progress::faulted,
               .slot = slot,
               .why = mine ? fault_code{why} : fault_code::unreported};
    }
  }
  return found;
}

result<work_state> submission_queue::wait(const submission& accepted,
                                          deadline until) const noexcept {
  backoff wait(2000);
  for (;;) {
    const work_state now = state(accepted);
    if (now.progress != progress::pending) return now;
    if (until.passed()) {
      return std::unexpected(error{.code = error_code::deadline_passed,
                                   .buffer = buffer::ring,
                                   .index = now.slot,
                                   .found = status_of(now.slot).load(std::memory_order_relaxed)});
    }
    wait.pause();
  }
}

result<word> submission_queue::wait_epoch(word epoch, deadline until) const noexcept {
  std::atomic_ref<word> now(buffers_.where().control[abi::epoch_word]);
  backoff wait(2000);
  for (;;) {
    const word found = now.load(std::memory_order_acquire);
    if (found - epoch < 1u << 31) return found;
    if (until.passed()) {
      return std::unexpected(error{.code = error_code::deadline_passed,
                                   .buffer = buffer::control,
                                   .index = abi::epoch_word,
                                   .found = found,
                                   .bound = epoch});
    }
    wait.pause();
  }
}

std::size_t submission_queue::reclaim_faults(std::span<fault_notice> out) noexcept {
  std::size_t count = 0;
  for (std::uint32_t slot = 0; slot < slots() && count < out.size(); ++slot) {
    const auto faulted = [&] {
      return status_of(slot).load(std::memory_order_acquire) == word(slot_status::fault);
    };
    if (!faulted()) continue;
    std::uint64_t generation = generation_ref(slot).load(std::memory_order_acquire);
    if ((generation & being_written) != 0 || !faulted()) continue;
    if (!generation_ref(slot).compare_exchange_strong(
            generation, generation | after_fault | being_written, std::memory_order_seq_cst,
            std::memory_order_relaxed))
      continue;
    const auto* const words = reinterpret_cast<const std::byte*>(buffers_.where().ring) +
                              std::size_t{slot} * abi::slot_bytes;
    out[count++] = {.slot = slot,
                    .generation = generation,
                    .op = opcode{load_word(words, abi::opcode_word)},
                    .tenant = load_word(words, abi::tenant_word),
                    .why = fault_code{load_word(words, abi::fault_code_word)},
                    .arguments = {load_word(words, abi::argument_word),
                                  load_word(words, abi::argument_word + 1),
                                  load_word(words, abi::argument_word + 2)}};
    status_of(slot).store(word(slot_status::empty), std::memory_order_release);
    generation_ref(slot).store(generation | after_fault, std::memory_order_release);
  }
  return count;
}

result<std::uint32_t> detail::try_claim(submission_queue& queue, deadline until) noexcept {
  const submission_queue::region& in = queue.region_of(priority::normal);
  backoff wait;
  for (;;) {
    const bool last = until.passed();
    const auto slot = queue.take(in, 0, 1, in.size);
    if (slot && !queue.shared_->closed.load(std::memory_order_seq_cst)) return *slot;
    if (slot) {
      queue.release(*slot, 1);
      return std::unexpected(error{.code = error_code::feed_closed, .buffer = buffer::ring});
    }
    if (last) return std::unexpected(queue.full(in, 1));
    wait.pause();
  }
}

void detail::abort(submission_queue& queue, std::uint32_t slot) noexcept { queue.release(slot, 1); }

result<void> submission_queue::close(deadline until) noexcept {
  shared_->closed.store(true, std::memory_order_seq_cst);
  backoff wait;
  for (std::uint32_t slot = 0; slot < slots();) {
    if ((generation_ref(slot).load(std::memory_order_seq_cst) & being_written) == 0) {
      ++slot;
    } else if (until.passed()) {
      return std::unexpected(error{.code = error_code::deadline_passed,
                                   .buffer = buffer::ring,
                                   .index = slot,
                                   .found = status_of(slot).load(std::memory_order_relaxed)});
    } else {
      wait.pause();
    }
  }
  return {};
}

}  // namespace megakernel
