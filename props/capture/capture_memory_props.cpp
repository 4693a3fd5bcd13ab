// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Captures without memory: the n-th allocation fails, once and for good, for every n. A call says
// so or lets std::bad_alloc through, which the command turns into a sentence; nothing is leaked, no
// file stays open, and what a file then has reads.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <expected>
#include <filesystem>
#include <iterator>
#include <memory>
#include <new>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "counting_heap.h"
#include "exhaustive.h"

#include "capture_support.h"

#include "observe/capture.h"
#include "observe/capture_reader.h"
#include "observe/capture_writer.h"

import megakernel;

namespace {

using namespace props;

const scenario& written() {
  static const scenario some = make_scenario(11, 32, 8);
  return some;
}

/// Frames that were read, each of which is the scenario's, in its order: some may have been
/// dropped.
std::uint64_t read_back(const std::string& path) {
  auto reader = capture_reader::open(path);
  if (!reader) return 0;
  std::uint64_t whole = 0;
  std::size_t at = 0;
  while (true) {
    const auto next = reader->next();
    if (!next) continue;  // the position has moved on
    if (!*next) return whole;
    while (at < written().frames.size() && !same(**next, written().frames[at].view())) ++at;
    require(at++ < written().frames.size());
    ++whole;
  }
}

/// What came of a call that may lack memory.
enum class end { well, refused, thrown };

end record(const std::string& path) {
  try {
    auto writer = capture_writer::create(path, written().header);
    if (!writer) return end::refused;
    for (const kept_frame& f : written().frames) {
      while (!(*writer)->has_room()) std::this_thread::yield();
      (void)(*writer)->offer(f.view());
    }
    const auto closed = (*writer)->close();
    const capture_totals totals = (*writer)->totals();
    require(totals.frames + totals.dropped == written().frames.size());
    return closed && totals.dropped == 0 ? end::well : end::refused;
  } catch (const std::bad_alloc&) {
    return end::thrown;
  }
}

end read(const std::string& path) {
  try {
    return read_back(path) == written().frames.size() ? end::well : end::refused;
  } catch (const std::bad_alloc&) {
    return end::thrown;
  }
}

std::ptrdiff_t open_files() {
  return std::distance(std::filesystem::directory_iterator("/proc/self/fd"), {});
}

/// `attempt` with its first, second, ... allocation failing, until none does.
template <class Attempt, class After>
std::uint64_t each_allocation(std::string& now, Attempt attempt, After after) {
  require(attempt() == end::well);  // what is made once, such as by the compressor's library, is
  const std::ptrdiff_t files = open_files();
  std::uint64_t cases = 0;
  for (const bool from_then_on : {false, true}) {
    for (std::uint64_t nth = 0;; ++nth, ++cases) {
      now = "allocation " + std::to_string(nth) + (from_then_on ? " and all after it" : "");
      const std::int64_t live = heap::state.live;
      end how{};
      std::uint64_t tried = 0;
      {
        const heap::tripwire trip(nth, from_then_on);
        const std::uint64_t before = heap::state.allocations;
        how = attempt();
        tried = heap::state.allocations - before;
      }
      require(heap::state.live == live);
      require(open_files() == files);
      if (tried <= nth) {
        require(how == end::well);
        break;
      }
      after();
    }
  }
  return cases;
}

std::uint64_t writing(std::string& now) {
  const scratch file;
  return each_allocation(
      now, [&] { return record(file.path()); },
      [&] { require(read_back(file.path()) <= written().frames.size()); });
}

std::uint64_t reading(std::string& now) {
  const scratch file;
  require(record(file.path()) == end::well);
  return each_allocation(
      now, [&] { return read(file.path()); },
      [&] { require(read_back(file.path()) == written().frames.size()); });
}

}  // namespace

int main() {
  bool ok = true;
  ok &= exhaustively("a capture is written without memory", writing);
  ok &= exhaustively("a capture is read without memory", reading);
  return ok ? 0 : 1;
}
