// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// What the tests of captures share: frames that own their bytes, made-up runs of them, files that
// go away. Include it after all other headers: it imports the command's parts.
#pragma once

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <expected>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "load/workload.h"
#include "observe/capture.h"
#include "observe/frame.h"

import megakernel;

namespace props {

using namespace megakernel;
using namespace megakernel::tool;
namespace format = megakernel::tool::capture_format;
using file_bytes = std::vector<std::byte>;

/// A file that goes away with the test.
class scratch {
 public:
  scratch() {
    const char* const base = std::getenv("TMPDIR");
    path_ = std::string(base != nullptr ? base : "/tmp") + "/capture_props.XXXXXX";
    const int made = ::mkstemp(path_.data());
    if (made < 0) std::abort();
    ::close(made);
  }
  scratch(const scratch&) = delete;
  scratch& operator=(const scratch&) = delete;
  ~scratch() { ::unlink(path_.c_str()); }
  [[nodiscard]] const std::string& path() const { return path_; }

  void write(std::span<const std::byte> all) const {
    const int file = ::open(path_.c_str(), O_WRONLY | O_TRUNC | O_CLOEXEC);
    put(file, 0, all);
    ::close(file);
  }
  void write_at(std::uint64_t offset, std::span<const std::byte> some) const {
    const int file = ::open(path_.c_str(), O_WRONLY | O_CLOEXEC);
    put(file, offset, some);
    ::close(file);
  }
  void resize(std::uint64_t size) const {
    if (::truncate(path_.c_str(), static_cast<off_t>(size)) != 0) std::abort();
  }
  [[nodiscard]] file_bytes read() const {
    struct stat about{};
    const int file = ::open(path_.c_str(), O_RDONLY | O_CLOEXEC);
    if (file < 0 || ::fstat(file, &about) != 0) std::abort();
    file_bytes all(static_cast<std::size_t>(about.st_size));
    if (::read(file, all.data(), all.size()) != about.st_size) std::abort();
    ::close(file);
    return all;
  }

 private:
  static void put(int file, std::uint64_t offset, std::span<const std::byte> some) {
    if (::pwrite(file, some.data(), some.size(), static_cast<off_t>(offset)) !=
        static_cast<ssize_t>(some.size()))
      std::abort();
  }
  std::string path_;
};

/// A frame that owns its bytes.
struct kept_frame {
  std::chrono::nanoseconds at{};
  std::chrono::nanoseconds wall{};
  std::array<file_bytes, 4> buffers{};
  std::vector<std::uint32_t> torn{};
  std::optional<publisher_totals> publishers{};

  [[nodiscard]] frame view() const {
    frame f;
    f.at = at;
    f.wall = std::chrono::system_clock::time_point(wall);
    f.control = buffers[0];
    f.ring = buffers[1];
    f.debug_log = buffers[2];
    f.io_queue = buffers[3];
    f.torn_pages = torn;
    f.publishers = publishers ? &*publishers : nullptr;
    return f;
  }
};

inline bool same(const publisher_totals& a, const publisher_totals& b) {
  return a.accepted == b.accepted && a.publications == b.publications &&
         a.ring_full == b.ring_full &&
         std::ranges::equal(a.tenants, b.tenants,
                            [](const auto& x, const auto& y) {
                              return std::tuple(x.tenant, x.demand, x.finished, x.waits,
                                                x.waited) ==
                                     std::tuple(y.tenant, y.demand, y.finished, y.waits, y.waited);
                            }) &&
         a.latency.sum() == b.latency.sum() && a.latency.max() == b.latency.max() &&
         std::ranges::equal(a.latency.buckets(), b.latency.buckets());
}

inline bool same(const frame& a, const frame& b) {
  return a.at == b.at && a.wall == b.wall && std::ranges::equal(a.control, b.control) &&
         std::ranges::equal(a.ring, b.ring) && std::ranges::equal(a.debug_log, b.debug_log) &&
         std::ranges::equal(a.io_queue, b.io_queue) &&
         std::ranges::equal(a.torn_pages, b.torn_pages) &&
         (a.publishers == nullptr) == (b.publishers == nullptr) &&
         (a.publishers == nullptr || same(*a.publishers, *b.publishers));
}

/// A made-up run: some buffers change wholly from frame to frame, some a little, some not at all.
struct scenario {
  capture_header header{};
  std::vector<kept_frame> frames{};
};

inline scenario make_scenario(std::uint64_t seed, std::uint64_t slots, std::size_t count) {
  random_numbers random(seed);
  scenario made;
  made.header.bytes = {.control = abi::control_bytes + 4 * random.below(9),
                       .ring = slots * abi::slot_bytes,
                       .debug_log = random.below(2) == 0 ? 0u : 4u * (1 + random.below(40)),
                       .io_queue = 32u * random.below(4)};
  made.header.began = std::chrono::system_clock::time_point(std::chrono::seconds(1'700'000'000));
  made.header.device = "a device";
  made.header.build = std::string(random.below(20), 'b');
  made.header.profile = random.below(2) == 0 ? "" : "what was run";
  for (std::uint32_t i = random.below(4); i != 0; --i)
    made.header.windows.push_back(opcode{random.below(2000)});
  const std::array sizes{made.header.bytes.control, made.header.bytes.ring,
                         made.header.bytes.debug_log, made.header.bytes.io_queue};
  kept_frame now;
  for (std::size_t i = 0; i < sizes.size(); ++i) now.buffers[i].resize(sizes[i]);
  for (std::size_t n = 0; n < count; ++n) {
    now.at += std::chrono::nanoseconds(random.below(4) == 0 ? 0 : random.below(20'000'000));
    now.wall = std::chrono::nanoseconds(static_cast<std::int64_t>(random.next() >> 1));
    const std::uint32_t how = random.below(4);
    for (file_bytes& buffer : now.buffers) {
      if (buffer.empty()) continue;
      const auto size = static_cast<std::uint32_t>(buffer.size());
      for (std::uint32_t i = how == 0 ? size : how == 1 ? 0 : random.below(5); i != 0; --i)
        buffer[random.below(size)] = static_cast<std::byte>(random.below(256));
    }
    now.torn.clear();
    for (std::uint32_t page = 0; page < (slots + 31) / 32; ++page) {
      if (random.below(5) == 0) now.torn.push_back(page);
    }
    now.publishers.reset();
    if (random.below(3) != 0) {
      publisher_totals& known = now.publishers.emplace();
      known.accepted = random.next();
      known.publications = random.next();
      known.ring_full = random.below(100);
      for (std::uint32_t t = random.below(3); t < 6; t += 1 + random.below(4))
        known.tenants.push_back({.tenant = t,
                                 .demand = random.next(),
                                 .finished = random.next(),
                                 .waits = random.below(10),
                                 .waited = random.next()});
      known.latency.add_extremes(random.next(), random.next());
      for (std::uint32_t i = random.below(30); i != 0; --i)
        known.latency.add(random.below(log_buckets::count), random.next() >> 40);
    }
    made.frames.push_back(now);
  }
  return made;
}

}  // namespace props
