// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstdio>
#include <cstring>
#include <ctime>
#include <expected>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "cli/dump.h"
#include "cli/output.h"
#include "load/run.h"
#include "report/report.h"

namespace megakernel::tool {
namespace {

/// Of this process: two runs into one directory do not write into each other's files.
std::string temporary(std::string_view name) { return fmt::format(".{}.{}", name, ::getpid()); }

timespec stamp_of(std::chrono::system_clock::time_point at) {
  const auto since = at.time_since_epoch();
  const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(since);
  return {.tv_sec = static_cast<std::time_t>(seconds.count()),
          .tv_nsec = static_cast<long>(
              std::chrono::duration_cast<std::chrono::nanoseconds>(since - seconds).count())};
}

/// 0, or the error number of what failed; then the file may be there, incomplete.
int write_file(int directory, const std::string& name, std::span<const std::byte> bytes,
               std::chrono::system_clock::time_point at) {
  const int file =
      ::openat(directory, name.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
  if (file < 0) return errno;
  output to(file);
  to.write({reinterpret_cast<const char*>(bytes.data()), bytes.size()});
  int failure = to.finish();
  const std::array<timespec, 2> stamps{stamp_of(at), stamp_of(at)};
  if (failure == 0 && ::futimens(file, stamps.data()) != 0) failure = errno;
  if (::close(file) != 0 && failure == 0) failure = errno;
  return failure;
}

}  // namespace

std::expected<dump_directory, std::string> dump_directory::open(const std::string& path) {
  const int descriptor = ::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (descriptor < 0) {
    return std::unexpected(
        fmt::format("It is no directory to dump into: {}. Create it first.", std::strerror(errno)));
  }
  dump_directory opened(descriptor);
  const std::string probe = temporary("probe");
  const int failure = write_file(descriptor, probe, {}, std::chrono::system_clock::now());
  (void)::unlinkat(descriptor, probe.c_str(), 0);
  if (failure == 0) return opened;
  return std::unexpected(fmt::format("No file can be written there: {}.", std::strerror(failure)));
}

dump_directory::~dump_directory() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

std::expected<void, std::string> dump_directory::write(const run_dump& dump) {
  struct entry {
    std::string_view name;
    std::span<const std::byte> bytes;
    std::chrono::system_clock::time_point at;
  };
  const std::array entries{
      entry{"previous-control.bin", dump.previous.control, dump.previous.at},
      entry{"previous-ring.bin", dump.previous.ring, dump.previous.at},
      entry{"control.bin", dump.last.control, dump.last.at},
      entry{"ring.bin", dump.last.ring, dump.last.at},
      entry{"debug-log.bin", dump.debug_log, dump.last.at},
      entry{"io-queue.bin", dump.io_queue, dump.last.at},
  };
  const auto give_up = [&](std::string_view name, int failure) {
    for (const entry& e : entries) (void)::unlinkat(descriptor_, temporary(e.name).c_str(), 0);
    return std::unexpected(
        fmt::format("{} could not be written: {}.", name, std::strerror(failure)));
  };
  for (const entry& e : entries) {
    if (const int failure = write_file(descriptor_, temporary(e.name), e.bytes, e.at); failure != 0)
      return give_up(e.name, failure);
  }
  for (const entry& e : entries) {
    if (::renameat(descriptor_, temporary(e.name).c_str(), descriptor_,
                   std::string(e.name).c_str()) != 0)
      return give_up(e.name, errno);
  }
  return {};
}

}  // namespace megakernel::tool
