// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// A device with a ring of its own: everything that is published comes to it, once, whatever the
// order, and nothing else does.
#include <algorithm>
#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <expected>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <thread>
#include <utility>
#include <vector>

#include "support.h"

#include "runtime_support.h"

#include "ring_device.h"

import megakernel;

namespace {

using namespace props;
using mk::schedule;
using mk::slot_status;
using mk::word;
namespace abi = mk::abi;

/// A ring that the test drains, and the publications that the upload scanner is to find.
class drained_by_hand {
 public:
  drained_by_hand(std::uint32_t slots, schedule order)
      : buffers_(value_of(mk::kernel_buffers::make({.slots = slots}))),
        queue_(value_of(mk::submission_queue::over(buffers_, order))),
        order_(order) {}

  void hire() {
    upload_scanner_.emplace(value_of(mk::upload_scanner::over(buffers_, &queue_, order_)));
  }

  void publish(mk::priority level, std::uint32_t batch) {
    const std::vector<mk::batch_item> items(batch);
    const auto got =
        batch == 0 ? queue_.publish({.level = level}) : queue_.publish_batch(0, items, 0);
    if (!got) return;
    for (std::uint32_t i = 0; i < got->slots; ++i) outstanding_.insert(got->first + i);
  }
  /// One of the slots that the upload scanner has brought comes to its end.
  void finish(std::uint32_t which, bool faulted) {
    if (brought_.empty()) return;
    const auto at = std::next(brought_.begin(), which % brought_.size());
    status(buffers_, *at) = word(faulted ? slot_status::fault : slot_status::done);
    brought_.erase(at);
  }
  void reclaim() {
    std::array<mk::fault_notice, 3> notices;
    (void)queue_.reclaim_faults(notices);
  }
  void find(std::size_t room) {
    std::vector<mk::gpu::slot_range> ranges(room);
    const std::size_t found = upload_scanner_->find(ranges);
    RC_ASSERT(found <= room);
    for (std::size_t i = 0; i < found; ++i) {
      RC_ASSERT(ranges[i].count != 0u);
      for (std::uint32_t k = 0; k < ranges[i].count; ++k) {
        RC_ASSERT(outstanding_.erase(ranges[i].first + k) == 1u);
        brought_.insert(ranges[i].first + k);
      }
    }
  }
  /// Everything is found in the end, wherever it is: what comes in order, then nothing for a while,
  /// then the rest.
  void find_all() {
    for (std::uint32_t calls = 0; !outstanding_.empty(); ++calls) {
      RC_ASSERT(calls < 66 + 2 * queue_.slots());
      find(2);
    }
  }

 private:
  mk::kernel_buffers buffers_;
  mk::submission_queue queue_;
  schedule order_;
  std::optional<mk::upload_scanner> upload_scanner_;
  std::set<std::uint32_t> outstanding_;
  std::set<std::uint32_t> brought_;
};

bool each_publication_once() {
  return rc::check("what is published is brought once, and nothing else is", [] {
    const auto slots = *between<std::uint32_t>(1, 40);
    const auto order = *rc::gen::element(schedule::ring_order, schedule::by_priority);
    const auto before = *between<std::uint32_t>(0, 5);
    drained_by_hand ring(slots, order);
    const auto publish = [&] {
      ring.publish(mk::priority{*between<word>(0, 4)}, *between<std::uint32_t>(0, 4));
    };
    for (std::uint32_t i = 0; i < before; ++i) publish();
    ring.hire();
    for (auto steps = *between<std::uint32_t>(0, 120); steps != 0; --steps) {
      switch (*between<int>(0, 4)) {
        case 0:
        case 1:
          publish();
          break;
        case 2:
          ring.find(*between<std::size_t>(0, 4));
          break;
        case 3:
          ring.finish(*uniform<std::uint32_t>(), *between<int>(0, 5) == 0);
          break;
        default:
          ring.reclaim();
      }
    }
    ring.find_all();
  });
}

bool outstanding_before() {
  return once(
      "what an earlier kernel has left, or nobody's feed has published, is not brought", [] {
        auto buffers = value_of(mk::kernel_buffers::make({.slots = 8}));
        constexpr std::array left{slot_status::published, slot_status::empty,   slot_status::yield,
                                  slot_status::done,      slot_status::requeue, slot_status::fault,
                                  slot_status::wait_io,   slot_status{99}};
        for (std::uint32_t i = 0; i < left.size(); ++i) status(buffers, i) = word(left[i]);
        for (const bool fed : {false, true}) {
          auto queue = value_of(mk::submission_queue::over(buffers, schedule::ring_order));
          auto upload_scanner = value_of(
              mk::upload_scanner::over(buffers, fed ? &queue : nullptr, schedule::ring_order));
          std::vector<std::uint32_t> brought;
          for (int calls = 0; calls < 200; ++calls) {
            std::array<mk::gpu::slot_range, 3> ranges;
            const std::size_t found = upload_scanner.find(ranges);
            for (std::size_t i = 0; i < found; ++i)
              for (std::uint32_t k = 0; k < ranges[i].count; ++k)
                brought.push_back(ranges[i].first + k);
          }
          require(brought == std::vector<std::uint32_t>{0, 2, 4, 6});
        }
      });
}

/// The runtime over such a device: producers that race, a ring that is often full.
bool runtime_over(schedule order, std::uint32_t slots, const char* hazard) {
  return once(hazard, [&] {
    constexpr std::uint32_t producers = 3;
    const std::uint32_t each = sanitized ? 3'000 : 20'000;
    ring_device device;
    const mk::gpu::interface calls = device.calls();
    auto kernel = value_of(mk::kernel_session::make({.layout = {.slots = slots}, .order = order}));
    value_of(kernel.launch(
        value_of(mk::gpu_target::make(calls, {.order = order, .ring = mk::ring_memory::device})),
        soon()));
    std::atomic<std::uint32_t> refused{0};
    {
      std::vector<std::jthread> threads;
      for (std::uint32_t p = 0; p < producers; ++p) {
        threads.emplace_back([&, p] {
          const auto until = soon();
          for (std::uint32_t i = 0; i < each; ++i) {
            const std::array<word, 2> add{i, abi::observable_word + p};
            refused += !kernel.queue()
                            .publish({.op = mk::opcode::atomic_add,
                                      .tenant = p,
                                      .level = mk::priority{i % 5},
                                      .arguments = add},
                                     until)
                            .has_value();
          }
        });
      }
    }
    require(refused == 0);
    const auto drained = value_of(kernel.drain(soon()));
    require(drained.accepted == std::uint64_t{producers} * each);
    require(drained.done == drained.accepted && drained.faults == 0 && drained.outstanding == 0);
    word sum = 0;
    for (std::uint32_t i = 0; i < each; ++i) sum += i;
    for (std::uint32_t p = 0; p < producers; ++p) require(observable(kernel, p) == sum);
    (void)value_of(kernel.stop(soon()));
    require(device.on_its_own_ring() && device.wrong() == 0);
    require(device.ranges() != 0 && device.ranges() <= drained.accepted);
  });
}

}  // namespace

int main() {
  bool holds = each_publication_once();
  holds = outstanding_before() && holds;
  holds = runtime_over(schedule::ring_order, 32, "a slot is lost on its way to a device") && holds;
  holds = runtime_over(schedule::ring_order, 1000, "or of a larger ring") && holds;
  holds = runtime_over(schedule::by_priority, 100, "or of a ring of partitions") && holds;
  return holds ? 0 : 1;
}
