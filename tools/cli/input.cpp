// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <expected>
#include <optional>
#include <string>
#include <utility>

#include "cli/input.h"
#include "render/names.h"

import megakernel;

namespace megakernel::tool {
namespace {

using clock = std::chrono::steady_clock;
using kind = input_error::kind;

class descriptor {
 public:
  descriptor(int number, bool owned) noexcept : number_(number), owned_(owned) {}
  descriptor(const descriptor&) = delete;
  descriptor& operator=(const descriptor&) = delete;
  ~descriptor() {
    if (owned_ && number_ >= 0) ::close(number_);
  }
  [[nodiscard]] int number() const noexcept { return number_; }

 private:
  int number_;
  bool owned_;
};

/// Non-blocking: opening a FIFO that nobody writes to would otherwise wait for ever. It is ours
/// alone; the standard input is not, so there the flag stays as it is.
descriptor open_input(const std::string& path) noexcept {
  if (path == "-") return {STDIN_FILENO, false};
  int number;
  do {
    number = ::open(path.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);
  } while (number < 0 && errno == EINTR);
  return {number, true};
}

std::unexpected<input_error> refuse(kind what, std::uint64_t bound = 0, std::uint64_t found = 0) {
  return std::unexpected(input_error{.what = what, .bound = bound, .found = found});
}

std::unexpected<input_error> refuse_system(kind what, int system) {
  return std::unexpected(input_error{.what = what, .system = system});
}

/// Whether there is something to read, or an end to see, before the deadline.
bool wait_readable(int number, clock::time_point deadline) noexcept {
  while (true) {
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - clock::now());
    constexpr std::int64_t most = 3'600'000;
    pollfd waited{.fd = number, .events = POLLIN, .revents = 0};
    const int ready =
        ::poll(&waited, 1, static_cast<int>(std::clamp<std::int64_t>(left.count(), 0, most)));
    if (ready > 0) return true;
    if (ready < 0 && errno != EINTR) return true;  // the read will say what is wrong
    if (clock::now() >= deadline) return false;
  }
}

/// Moves the bytes to a buffer of exactly `capacity`, so that growing never passes the bound.
result<void> grow(byte_buffer& bytes, std::uint64_t capacity) noexcept {
  byte_buffer larger;
  if (auto sized = larger.resize_for_overwrite(capacity); !sized) return sized;
  if (!bytes.empty()) std::memcpy(larger.data(), bytes.data(), bytes.size());
  larger.set_size(bytes.size());
  bytes = std::move(larger);
  return {};
}

/// Reads up to the end of an open file.
class reader {
 public:
  reader(int number, const struct stat& about, const input_limits& limits) noexcept
      : number_(number),
        regular_(S_ISREG(about.st_mode)),
        // A FIFO without a writer reads as ended. Waiting first gives a writer time to come; once
        // bytes have come, an end is an end.
        patient_(!regular_),
        limits_(limits),
        deadline_(clock::now() + limits.timeout) {}

  std::expected<byte_buffer, input_error> read_all(std::uint64_t expected) noexcept {
    constexpr std::uint64_t first_chunk = 64 << 10;
    // One byte more than a file's size, so that its end is found without growing.
    std::uint64_t wanted = regular_ ? expected + 1 : first_chunk;
    while (true) {
      if (bytes_.size() == bytes_.capacity()) {
        if (bytes_.size() == limits_.max_bytes) return at_bound();
        wanted = std::min({std::max(wanted, first_chunk), limits_.max_bytes});
        if (!grow(bytes_, wanted)) return refuse(kind::out_of_memory, wanted);
        wanted = bytes_.capacity() * 2;
      }
      const auto got = read_some(bytes_.data() + bytes_.size(), bytes_.capacity() - bytes_.size());
      if (!got) return std::unexpected(got.error());
      if (*got == 0) return std::move(bytes_);
      bytes_.set_size(bytes_.size() + *got);
    }
  }

 private:
  /// The bound is used up: fine when the input ends here.
  std::expected<byte_buffer, input_error> at_bound() noexcept {
    std::byte beyond;
    const auto got = read_some(&beyond, 1);
    if (!got) return std::unexpected(got.error());
    if (*got != 0) return refuse(kind::too_large, limits_.max_bytes);
    return std::move(bytes_);
  }

  std::expected<std::size_t, input_error> read_some(std::byte* to, std::size_t room) noexcept {
    constexpr std::size_t most = std::size_t{16} << 20;  // the deadline is looked at in between
    while (true) {
      if (!regular_ && clock::now() >= deadline_) return timed_out();
      // The standard input may be blocking, so it is waited for every time.
      if (patient_ || (!regular_ && number_ == STDIN_FILENO)) {
        if (!wait_readable(number_, deadline_)) return timed_out();
        patient_ = false;
      }
      const ssize_t got = ::read(number_, to, std::min(room, most));
      if (got >= 0) return static_cast<std::size_t>(got);
      if (errno == EINTR) continue;
      if (errno != EAGAIN && errno != EWOULDBLOCK) return refuse_system(kind::cannot_read, errno);
      patient_ = true;
    }
  }

  [[nodiscard]] std::unexpected<input_error> timed_out() const {
    return refuse(kind::timed_out, static_cast<std::uint64_t>(limits_.timeout.count()),
                  bytes_.size());
  }

  int number_;
  bool regular_;
  bool patient_;
  input_limits limits_;
  clock::time_point deadline_;
  byte_buffer bytes_;
};

}  // namespace

std::expected<input, input_error> read_input(const std::string& path,
                                             const input_limits& limits) noexcept {
  const descriptor file = open_input(path);
  if (file.number() < 0) return refuse_system(kind::cannot_open, errno);
  struct stat about{};
  if (::fstat(file.number(), &about) != 0) return refuse_system(kind::cannot_open, errno);
  if (S_ISDIR(about.st_mode)) return refuse(kind::is_directory);

  input read;
  std::uint64_t expected = 0;
  if (S_ISREG(about.st_mode)) {
    const off_t at = std::max<off_t>(::lseek(file.number(), 0, SEEK_CUR), 0);
    expected = static_cast<std::uint64_t>(std::max<off_t>(about.st_size - at, 0));
    // Before anything is allocated: a sparse file claims any size for free.
    if (expected > limits.max_bytes) return refuse(kind::too_large, limits.max_bytes, expected);
    read.modified = std::chrono::seconds(about.st_mtim.tv_sec) +
                    std::chrono::nanoseconds(about.st_mtim.tv_nsec);
  }
  auto bytes = reader(file.number(), about, limits).read_all(expected);
  if (!bytes) return std::unexpected(bytes.error());
  read.bytes = std::move(*bytes);
  return read;
}

std::string human_bytes(std::uint64_t bytes) {
  constexpr std::array units{"TiB", "GiB", "MiB", "KiB"};
  for (std::size_t i = 0; i < units.size(); ++i) {
    const auto shift = 40 - 10 * i;
    if (bytes >> shift != 0 && (bytes >> shift) << shift == bytes)
      return fmt::format("{} {}", grouped(bytes >> shift), units[i]);
  }
  return fmt::format("{} bytes", grouped(bytes));
}

std::string sentence(const input_error& problem) {
  switch (problem.what) {
    case kind::cannot_open:
      return fmt::format("It cannot be opened: {}.", std::strerror(problem.system));
    case kind::cannot_read:
      return fmt::format("It cannot be read: {}.", std::strerror(problem.system));
    case kind::is_directory:
      return "It is a directory. Name the dump inside it.";
    case kind::too_large:
      if (problem.found != 0) {
        return fmt::format(
            "It has {}, over the bound of {} for this input. Raise it with "
            "--max-bytes if it is the right file.",
            human_bytes(problem.found), human_bytes(problem.bound));
      }
      return fmt::format(
          "It does not end within the bound of {} for this input. Raise it with "
          "--max-bytes if it is the right file.",
          human_bytes(problem.bound));
    case kind::timed_out:
      if (problem.found == 0) {
        return fmt::format(
            "Nothing came from it within {} s. Start what writes to it, or wait "
            "longer with --timeout.",
            static_cast<double>(problem.bound) / 1000);
      }
      return fmt::format("It did not end within {} s; {} came. Wait longer with --timeout.",
                         static_cast<double>(problem.bound) / 1000, human_bytes(problem.found));
    case kind::out_of_memory:
      return fmt::format(
          "There is no memory for the {} that it needs. Free some, or inspect a "
          "smaller dump.",
          human_bytes(problem.bound));
  }
  return {};
}

}  // namespace megakernel::tool
