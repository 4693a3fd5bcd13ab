// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The host's side of a kernel in motion: calls of a queue and of a pump on a ring whose
// statuses a kernel may set to anything meanwhile, and launches that are refused. A refused call
// changes nothing; an accepted one publishes its slots and no others.
// docs/protocol.md#publish-order
#include <pthread.h>

#include <atomic>
#include <chrono>
#include <functional>
#include <optional>
#include <utility>

#include "fuzz.h"

#include "megakernel_import.h"

#include "fake_targets.h"

namespace mk = megakernel;
namespace fakes = props::fakes;

namespace {

constexpr auto now = mk::deadline::immediate;
constexpr std::uint32_t published = 1;

class host {
 public:
  host(std::uint32_t slots, mk::schedule order)
      : buffers_(std::move(
            mk::kernel_buffers::make({.slots = slots, .io_slots = 4, .arena_bytes = 64}).value())),
        queue_(std::move(mk::submission_queue::over(buffers_, order).value())),
        pump_(std::move(mk::file_pump::over(buffers_).value())) {}

  void step(fuzz::input& in) {
    switch (in.below(12)) {
      case 0:
        accept(8, [&] {
          const fuzz::words arguments = in.numbers(14);
          return queue_.publish({.op = mk::opcode{in.number()},
                                 .tenant = in.number(),
                                 .level = mk::priority{in.below(6)},
                                 .arguments = arguments});
        });
        break;
      case 1:
        accept(8, [&] {
          const fuzz::words arguments = in.numbers(14);
          const std::array ops{mk::packed_op{.op = in.byte(), .arguments = arguments}};
          return queue_.publish_packed({.tenant = in.number(), .ops = ops});
        });
        break;
      case 2:
        accept(8, [&] {
          const fuzz::words arguments = in.numbers(14);
          const std::vector<mk::batch_item> items(
              in.below(6), {.op = mk::opcode{in.number()}, .arguments = arguments});
          return queue_.publish_batch(in.number(), items, in.number());
        });
        break;
      case 3:
        accept(8, [&] {
          const fuzz::words payload = in.numbers(12);
          const std::vector<std::span<const mk::word>> entries(in.below(5), payload);
          return queue_.publish_window({.op = mk::opcode{in.number()},
                                        .tenant = in.number(),
                                        .ticket = in.number(),
                                        .required = entries,
                                        .lookahead = entries});
        });
        break;
      case 4:
        accept(8, [&] { return queue_.publish_load_miss({.resource = in.number()}); });
        break;
      case 5:
        if (const std::uint32_t slot = in.byte(); slot < queue_.slots())  // a kernel's
          ring()[std::size_t{16} * slot] = in.number();
        break;
      case 6:
        look_back(in);
        break;
      case 7: {
        const std::uint32_t epoch = in.number();
        buffers_.where().control[128] = in.number();
        const bool there = epoch == buffers_.where().control[128];
        const auto got = queue_.wait_epoch(epoch, now());
        if (there) fuzz::refused_as(got, "");
        fuzz::refused(got);
        break;
      }
      case 8:
        reclaim(in.below(5));
        break;
      case 9:
        hold();
        break;
      case 10:
        // Held slots are being written: closing waits for them.
        if (in.below(4) == 0) fuzz::refused_as(queue_.close(now()), held_ ? "deadline_passed" : "");
        break;
      default:
        pump(in);
    }
  }

 private:
  [[nodiscard]] std::span<mk::word> ring() const {
    return {buffers_.where().ring, std::size_t{16} * buffers_.where().slots};
  }

  /// What `publish` does to the ring: all of its submission, or nothing.
  template <class Publish>
  void accept(std::size_t keep, Publish publish) {
    const fuzz::words before(ring().begin(), ring().end());
    const std::uint64_t accepted = queue_.accepted();
    const auto got = publish();
    if (fuzz::refused(got)) {
      fuzz::check(queue_.accepted() == accepted && std::ranges::equal(ring(), before),
                  "a refused call changes nothing");
      return;
    }
    fuzz::check(queue_.accepted() == accepted + got->slots, "what is accepted is counted");
    for (std::uint32_t s = 0; s < queue_.slots(); ++s) {
      const bool ours = s - got->first < got->slots;
      const std::span slot = ring().subspan(std::size_t{16} * s, 16);
      const auto old = std::span(before).subspan(std::size_t{16} * s, 16);
      if (!ours) fuzz::check(std::ranges::equal(slot, old), "other slots stay as they are");
      if (ours)
        fuzz::check((old[0] == 0 || old[0] == 3) && slot[0] == published,
                    "a free slot is taken and published");
    }
    if (got->slots != 0)
      fuzz::check(queue_.state(*got).progress == mk::progress::pending, "and is then owed");
    if (submissions_.size() < keep) submissions_.push_back(*got);
  }

  void look_back(fuzz::input& in) {
    if (submissions_.empty()) return;
    const mk::submission submission = submissions_[in.byte() % submissions_.size()];
    const mk::work_state state = queue_.state(submission);
    const bool pending = state.progress == mk::progress::pending;
    const auto waited = queue_.wait(submission, now());
    fuzz::refused_as(waited, pending ? "deadline_passed" : "");
    fuzz::check(
        state.progress == mk::progress::done || state.slot - submission.first < submission.slots,
        "a slot that is named is one of the receipt's");
  }

  void reclaim(std::size_t room) {
    std::uint32_t faults = 0;
    for (std::size_t s = 0; s < ring().size(); s += 16) faults += ring()[s] == 7;
    std::vector<mk::fault_notice> notices(room);
    const std::size_t count = queue_.reclaim_faults(notices);
    fuzz::check(count <= room && count <= faults, "no more faults are reclaimed than there are");
    for (std::size_t i = 0; i < count; ++i)
      fuzz::check(ring()[std::size_t{16} * notices[i].slot] == 0,
                  "a slot that is reclaimed is free");
  }

  void hold() {
    if (held_) {
      mk::detail::abort(queue_, *held_);
      held_.reset();
      return;
    }
    if (const auto got = mk::detail::try_claim(queue_, now()); !fuzz::refused(got)) {
      fuzz::check(queue_.generation_of(*got) % 2 == 1, "a slot that is held is being written");
      held_ = *got;
    }
  }

  void pump(fuzz::input& in) {
    constexpr std::array<const char*, 5> paths{"/proc/self/exe", "/proc/self/no such file", nullptr,
                                               "/", "/dev/null"};
    const mk::file_resource resource{.id = in.below(4),
                                     .path = paths[in.below(5)],
                                     .file_offset = in.number(),
                                     .arena_offset = in.number(),
                                     .byte_count = in.number()};
    const std::size_t before = pump_.resources();
    if (in.flag() && before < 4) {
      const auto got = pump_.add(resource);
      fuzz::check(pump_.resources() == before + !fuzz::refused(got), "a resource is added, or not");
    }
    const std::size_t at = std::size_t{8} * in.below(4);
    mk::word* const io = buffers_.where().io_queue + at;
    for (std::size_t i = 0; i < 8; ++i) io[i] = in.number();
    io[6] = in.below(3);
    const bool asked = io[6] == published;
    const std::uint32_t served = pump_.serve();
    fuzz::check((served != 0) == asked, "what is published is answered");
    fuzz::check(!asked || io[6] == 0x10 || io[6] == 0x11, "with OK or ERROR");
    io[6] = 0;
  }

  mk::kernel_buffers buffers_;
  mk::submission_queue queue_;
  mk::file_pump pump_;
  std::vector<mk::submission> submissions_;
  std::optional<std::uint32_t> held_;
};

/// Launches that come to nothing. Whatever is asked, the runtime comes down again.
void launch(fuzz::input& in) {
  using mk::gpu::call_status;
  const std::uint32_t count = in.number();
  const auto workers = mk::cpu_workers::make({.workers = count});
  fuzz::refused_as(workers, count == 0 || count > 1024 ? "worker_count_out_of_range" : "");
  std::atomic<std::uint32_t> lanes = 2;  // outlives the runtime
  const std::uint32_t slots = in.below(4);
  auto made = mk::kernel_session::make({.layout = {.slots = slots, .io_slots = 1}});
  if (fuzz::refused_as(made, slots == 0 ? "slot_count_zero" : "")) return;
  mk::kernel_session& kernel = *made;
  switch (in.below(5)) {
    case 0: {
      const auto& calls = fakes::fake_gpu<call_status::failed, call_status::yes>;
      fuzz::refused_as(kernel.launch(mk::gpu_target::make(calls, {}).value(), now()),
                       "device_failed");
      break;
    }
    case 1: {
      const auto& calls = fakes::fake_gpu<call_status::too_many_lanes, call_status::yes>;
      fuzz::refused_as(kernel.launch(mk::gpu_target::make(calls, {.lanes = 128}).value(), now()),
                       "device_lanes_refused");
      break;
    }
    case 2: {
      auto some = mk::cpu_workers::make({.workers = 2}).value();
      const fakes::no_more_threads limit;
      fuzz::refused_as(kernel.launch(std::move(some), now()), "lanes_refused");
      break;
    }
    case 3: {
      const auto& calls = fakes::fake_gpu<call_status::not_shared, call_status::yes>;
      fuzz::refused_as(kernel.launch(mk::gpu_target::make(calls, {}).value(), now()),
                       "memory_not_shared");
      break;
    }
    default:
      fuzz::refused_as(kernel.launch(std::make_unique<fakes::silent_lanes>(lanes), now()),
                       "deadline_passed");
      fuzz::refused_as(kernel.launch(std::make_unique<fakes::silent_lanes>(lanes), now()),
                       "already_launched");
      fuzz::refused_as(kernel.stop(now()), "deadline_passed");
      lanes = 0;
      fuzz::refused_as(kernel.stop(now()), "");
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  fuzz::input in(data, size);
  const std::uint32_t what = in.below(32);
  if (what == 31) {
    launch(in);
    return 0;
  }
  host both(in.below(24) + 1, what % 2 == 0 ? mk::schedule::ring_order : mk::schedule::by_priority);
  while (!in.empty()) both.step(in);
  return 0;
}
