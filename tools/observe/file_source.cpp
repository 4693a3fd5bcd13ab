// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <fmt/format.h>
#include <sys/stat.h>

#include <cerrno>
#include <chrono>
#include <cstdint>
#include <cstring>
#include <expected>
#include <optional>
#include <string>
#include <utility>

#include "cli/input.h"
#include "observe/file_source.h"
#include "observe/frame.h"
#include "render/names.h"

import megakernel;

namespace megakernel::tool {

std::expected<file_source::identity, std::string> file_source::identify(const std::string& path) {
  struct stat status{};
  if (::stat(path.c_str(), &status) != 0)
    return std::unexpected(fmt::format("{}: {}.", printable(path), std::strerror(errno)));
  if (!S_ISREG(status.st_mode)) {
    return std::unexpected(
        fmt::format("{}: It is no regular file, and only one of those can be seen to change.",
                    printable(path)));
  }
  return identity{.device = static_cast<std::uint64_t>(status.st_dev),
                  .inode = static_cast<std::uint64_t>(status.st_ino),
                  .bytes = static_cast<std::int64_t>(status.st_size),
                  .seconds = static_cast<std::int64_t>(status.st_mtim.tv_sec),
                  .nanoseconds = static_cast<std::int64_t>(status.st_mtim.tv_nsec)};
}

std::expected<file_source::both, std::string> file_source::identify_both() const {
  auto control = identify(control_path_);
  if (!control) return std::unexpected(std::move(control.error()));
  auto ring = identify(ring_path_);
  if (!ring) return std::unexpected(std::move(ring.error()));
  return both{*control, *ring};
}

std::expected<byte_buffer, std::string> file_source::read(const std::string& path,
                                                          const input_limits& limits) {
  auto got = read_input(path, limits);
  if (!got) return std::unexpected(fmt::format("{}: {}", printable(path), sentence(got.error())));
  return std::move(got->bytes);
}

std::expected<std::optional<frame>, std::string> file_source::next() {
  constexpr int tries = 4;
  auto before = identify_both();
  if (!before) return std::unexpected(std::move(before.error()));
  if (seen_ == *before) return std::optional<frame>{};
  for (int i = 0; i < tries; ++i) {
    auto control = read(control_path_, limits_);
    if (!control) return std::unexpected(std::move(control.error()));
    auto ring = read(ring_path_, limits_);
    if (!ring) return std::unexpected(std::move(ring.error()));
    const auto after = identify_both();
    if (!after) return std::unexpected(after.error());
    if (*after == *before) {
      control_ = std::move(*control);
      ring_ = std::move(*ring);
      seen_ = *after;
      const auto now = std::chrono::steady_clock::now();
      if (!began_) began_ = now;
      frame seen;
      seen.at = now - *began_;
      seen.wall = std::chrono::system_clock::now();
      seen.control = {control_.data(), control_.size()};
      seen.ring = {ring_.data(), ring_.size()};
      return seen;
    }
    before = *after;
  }
  return std::unexpected(
      fmt::format("{}, {}: One of them changed each time both were read. Rewrite them less often, "
                  "or under another name that is then renamed.",
                  printable(control_path_), printable(ring_path_)));
}

}  // namespace megakernel::tool
