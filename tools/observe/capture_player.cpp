// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <sys/stat.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <expected>
#include <optional>
#include <string>
#include <utility>

#include "observe/capture_player.h"
#include "observe/capture_reader.h"
#include "observe/histogram.h"
#include "observe/inspect.h"
#include "observe/observer.h"
#include "report/report.h"

import megakernel;

namespace megakernel::tool {

std::expected<capture_player, std::string> capture_player::open(
    const std::string& path, std::chrono::nanoseconds hold_time) {
  auto reader = capture_reader::open(path);
  if (!reader) return std::unexpected(std::move(reader.error()));
  auto watching = observer::make(reader->header().windows, hold_time);
  if (!watching) return std::unexpected(std::move(watching.error()));
  return capture_player(path, hold_time, std::move(*reader), std::move(*watching));
}

std::optional<std::chrono::nanoseconds> capture_player::next_at() const noexcept {
  if (reader_.position() >= reader_.frames()) return std::nullopt;
  return reader_.time_of(reader_.position());
}

std::expected<std::optional<observation>, std::string> capture_player::next() {
  const auto seen = reader_.next();
  if (!seen) return std::unexpected(seen.error());
  if (!*seen) return std::optional<observation>{};
  auto observed = observer_.observe(**seen);
  if (!observed) return std::unexpected(std::move(observed.error()));
  return std::optional(std::move(*observed));
}

std::expected<void, std::string> capture_player::seek(std::uint64_t number) {
  auto fresh = observer::make(reader_.header().windows, hold_time_);
  if (!fresh) return std::unexpected(std::move(fresh.error()));
  observer_ = std::move(*fresh);
  number = std::min(number, reader_.frames());
  reader_.seek(number == 0 ? 0 : number - 1);
  if (number == 0) return {};
  if (auto before = next(); !before) return std::unexpected(std::move(before.error()));
  return {};
}

bool capture_player::grow() {
  struct stat status{};
  if (::stat(path_.c_str(), &status) != 0 ||
      static_cast<std::uint64_t>(status.st_size) <= reader_.totals().bytes)
    return false;
  auto longer = capture_reader::open(path_);
  if (!longer || longer->frames() <= reader_.frames()) return false;
  longer->seek(reader_.position());
  reader_ = std::move(*longer);
  return true;
}

}  // namespace megakernel::tool
