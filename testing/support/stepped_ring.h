// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Actors on the host's side of a stepped ring, and the rules over a stepper's records. A template
// of the library's memory and records, so that it can stand before the import.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "ring_rules.h"

namespace props {

/// A job that adds 1 to control word `result`.
struct job {
  std::uint32_t slot = 0;
  std::uint32_t tenant = 0;
  std::uint32_t result = 160;
  bool runs = true;  ///< its tenant is authorised, so it will be DONE
};

/// The host's view of shared memory: acquire loads and release stores of words.
template <class Memory, class Relaxed, class Acquire, class Release, class System>
class host_side {
 public:
  explicit host_side(Memory& memory) : memory_(memory) {}

  std::uint32_t observe(const std::uint32_t* at) { return memory_.load(at, Acquire{}, System{}); }
  void write(std::uint32_t* at, std::uint32_t value) {
    memory_.store(at, value, Relaxed{}, System{});
  }
  void commit(std::uint32_t* at, std::uint32_t value) {
    memory_.store(at, value, Release{}, System{});
  }
  bool exchange(std::uint32_t* at, std::uint32_t from, std::uint32_t to) {
    return memory_.compare_exchange(at, from, to, Acquire{}, System{});
  }

  /// Polls until `at` holds `value`; `place` tells this poll from the actor's others.
  void await(const std::uint32_t* at, std::uint32_t value, std::uint32_t place) {
    do {
      memory_.checkpoint(std::array{place});
    } while (observe(at) != value);
  }
  /// Polls until `at` held `from` and holds `to`.
  void await_exchange(std::uint32_t* at, std::uint32_t from, std::uint32_t to,
                      std::uint32_t place) {
    do {
      memory_.checkpoint(std::array{place});
    } while (!exchange(at, from, to));
  }
  /// Polls until the slot may be written.
  void await_free(const std::uint32_t* slot, std::uint32_t place) {
    std::uint32_t status = 1;
    do {
      memory_.checkpoint(std::array{place});
      status = observe(slot);
    } while (status != 0 && status != 3);
  }
  /// ATOMIC_ADD in NORMAL, PUBLISHED last. Only words that differ are written.
  void publish(std::uint32_t* slot, const job& what) {
    write(slot + 2, what.tenant);
    write(slot + 5, what.result);
    commit(slot, 1);
  }

 private:
  Memory& memory_;
};

template <class Record>
touch as_touch(const Record& r) {
  return {.actor = r.actor,
          .kind = touch::kinds{static_cast<std::uint8_t>(r.what.kind)},
          .area = touch::areas{static_cast<std::uint8_t>(r.what.area)},
          .index = r.what.index,
          .before = r.before,
          .after = r.after};
}

}  // namespace props
