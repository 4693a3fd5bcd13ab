// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Calls of the system that fail: short reads and writes, interruptions, a full disk, a read error,
// each at the n-th call, once and for good, for every n. What is written around them is what would
// have been written, or is whole up to there; nothing stays open.
//
// The two calls are this program's own: definitions in a program go before those of the C library.
#include <rapidcheck.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <expected>
#include <filesystem>
#include <iterator>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "exhaustive.h"

#include "capture_support.h"

#include "load/workload.h"
#include "observe/capture.h"
#include "observe/capture_reader.h"
#include "observe/capture_writer.h"

import megakernel;

namespace {

/// What happens to calls on files that the program opened itself.
struct faults {
  std::atomic<std::uint64_t> calls = 0;
  std::atomic<std::uint64_t> most = ~std::uint64_t{0};     ///< bytes of one call
  std::atomic<bool> interrupted = false;                   ///< every other call, before it starts
  std::atomic<std::uint64_t> fail_at = ~std::uint64_t{0};  ///< the call that fails
  std::atomic<bool> from_then_on = false;                  ///< and all after it
  std::atomic<int> error = 0;

  void reset() {
    calls = 0;
    most = fail_at = ~std::uint64_t{0};
    interrupted = from_then_on = false;
  }
};
faults writing;
faults reading;

template <class Call>
ssize_t through(faults& f, int file, std::size_t size, Call call) {
  if (file <= STDERR_FILENO) return call(size);
  const std::uint64_t n = f.calls++;
  if (f.interrupted && n % 2 == 0) {
    errno = EINTR;
    return -1;
  }
  if (n == f.fail_at || (f.from_then_on && n > f.fail_at)) {
    errno = f.error;
    return -1;
  }
  return call(std::min<std::uint64_t>(size, f.most));
}

}  // namespace

extern "C" ssize_t write(int file, const void* from, std::size_t size) {
  return through(writing, file, size, [&](std::size_t some) {
    return static_cast<ssize_t>(::syscall(SYS_write, file, from, some));
  });
}
extern "C" ssize_t pread(int file, void* to, std::size_t size, off_t at) {
  return through(reading, file, size, [&](std::size_t some) {
    return static_cast<ssize_t>(::syscall(SYS_pread64, file, to, some, at));
  });
}

namespace {

using namespace props;

std::ptrdiff_t open_files() {
  return std::distance(std::filesystem::directory_iterator("/proc/self/fd"), {});
}

/// Leaves a test as it found the process.
class untouched {
 public:
  ~untouched() {
    writing.reset();
    reading.reset();
  }
  void check() const { require(open_files() == files_); }

 private:
  std::ptrdiff_t files_ = open_files();
};

const scenario& recorded() {
  static const scenario some = make_scenario(7, 64, 24);
  return some;
}

std::expected<capture_totals, std::string> record(const std::string& path) {
  auto writer = capture_writer::create(path, recorded().header);
  if (!writer) return std::unexpected(writer.error());
  for (const kept_frame& f : recorded().frames) {
    while (!(*writer)->has_room()) std::this_thread::yield();
    (void)(*writer)->offer(f.view());
  }
  return (*writer)->close();
}

/// Frames that were read, each of which is the scenario's; nothing where the file was refused.
std::optional<std::uint64_t> read_back(const std::string& path) {
  auto reader = capture_reader::open(path);
  if (!reader) {
    require(!reader.error().empty());
    return std::nullopt;
  }
  std::uint64_t whole = 0;
  for (std::uint64_t number = 0; number < reader->frames(); ++number) {
    const auto found = reader->frame_at(number);
    if (found) require(same(*found, recorded().frames[number].view()));
    whole += found.has_value();
    if (!found) require(!found.error().empty());
  }
  return whole;
}

std::uint64_t short_and_interrupted(std::string& now) {
  const untouched before;
  const scratch plain;
  require(record(plain.path()).has_value());
  const file_bytes wanted = plain.read();
  std::uint64_t cases = 0;
  for (const std::uint64_t most : {1u, 7u, 64u, 1000u}) {
    now = "at most " + std::to_string(most) + " bytes";
    const scratch file;
    writing.most = reading.most = most;
    writing.interrupted = reading.interrupted = true;
    require(record(file.path()).has_value());
    // All but the end, which says when that was.
    const file_bytes got = file.read();
    const auto all_but_the_end = static_cast<std::ptrdiff_t>(wanted.size() - format::record_bytes);
    require(got.size() == wanted.size());
    require(std::equal(wanted.begin(), wanted.begin() + all_but_the_end, got.begin()));
    require(read_back(file.path()) == recorded().frames.size());
    ++cases;
  }
  before.check();
  return cases;
}

/// Calls `attempt` with the first, second, ... call of `f` failing, until none fails.
template <class Attempt>
std::uint64_t each_call(faults& f, int error, std::string& now, Attempt attempt) {
  const untouched before;
  std::uint64_t cases = 0;
  for (const bool from_then_on : {false, true}) {
    for (std::uint64_t nth = 0;; ++nth, ++cases) {
      now = "call " + std::to_string(nth) + (from_then_on ? " and all after it" : "");
      f.reset();
      f.error = error;
      f.from_then_on = from_then_on;
      f.fail_at = nth;
      attempt();
      const bool failed = f.calls > nth;
      f.reset();
      before.check();
      if (!failed) break;
    }
  }
  return cases;
}

std::uint64_t full_disks(std::string& now) {
  return each_call(writing, ENOSPC, now, [] {
    const scratch file;
    const auto written = record(file.path());
    const bool failed = writing.calls > writing.fail_at;
    require(written.has_value() == !failed);
    if (failed) require(written.error().find("No space left") != std::string::npos);
    writing.fail_at = ~std::uint64_t{0};
    writing.from_then_on = false;
    const auto whole = read_back(file.path());
    // What was written before reads; a file without even its header is refused.
    if (!failed) require(whole == recorded().frames.size());
    if (whole) require(*whole <= recorded().frames.size());
  });
}

std::uint64_t unreadable_disks(std::string& now) {
  const scratch file;
  require(record(file.path()).has_value());
  return each_call(reading, EIO, now, [&file] {
    const auto whole = read_back(file.path());
    const bool failed = reading.calls > reading.fail_at;
    if (!failed) require(whole == recorded().frames.size());
    // One call that fails costs no more than what it was to read, and never gives other frames.
    if (whole) require(*whole <= recorded().frames.size());
  });
}

std::uint64_t pumped_files(std::string& now) {
  const untouched before;
  std::vector<std::byte> content(1000);
  for (std::size_t i = 0; i < content.size(); ++i) content[i] = static_cast<std::byte>(i * 7);
  const scratch file;
  file.write(content);
  std::uint64_t cases = 0;
  // Everything, part by part; then a file that ends early, and a read that fails.
  enum class how { pieces, truncated, error };
  for (const how what : {how::pieces, how::truncated, how::error}) {
    now = "kind " + std::to_string(static_cast<int>(what));
    auto buffers = kernel_buffers::make({.slots = 4, .io_slots = 2, .arena_bytes = 2048});
    require(buffers.has_value());
    auto pump = file_pump::over(*buffers);
    require(pump.has_value());
    const file_resource resource{.id = 5,
                                 .path = file.path().c_str(),
                                 .file_offset = 100,
                                 .arena_offset = 64,
                                 .byte_count = what == how::truncated ? 1000u : 900u};
    require(pump->add(resource).has_value());
    auto queue = io_queue::over(buffers->io_queue());
    require(queue.has_value());
    require(queue->publish(0, {.source = 5}).has_value());
    reading.reset();
    reading.most = 17;
    reading.interrupted = what != how::error;
    if (what == how::error) reading.fail_at = 3;
    reading.error = EIO;
    require(pump->serve() == 1);
    reading.reset();
    const auto ended = queue->status(0);
    require(holds(ended, what == how::pieces ? io_status::ok : io_status::error));
    if (what == how::pieces)
      require(std::equal(content.begin() + 100, content.end(), buffers->arena().begin() + 64));
    ++cases;
  }
  before.check();
  return cases;
}

}  // namespace

int main() {
  bool ok = true;
  ok &= exhaustively("captures in pieces, interrupted", short_and_interrupted);
  ok &= exhaustively("captures on a disk that is full, call by call", full_disks);
  ok &= exhaustively("captures on a disk that cannot be read, call by call", unreadable_disks);
  ok &= exhaustively("files for LOAD_MISS, in pieces, too short, unreadable", pumped_files);
  return ok ? 0 : 1;
}
