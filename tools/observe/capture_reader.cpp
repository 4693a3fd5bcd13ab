// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zstd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <expected>
#include <limits>
#include <memory>
#include <new>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "cli/input.h"
#include "observe/capture.h"
#include "observe/capture_reader.h"
#include "observe/frame.h"
#include "observe/histogram.h"
#include "observe/inspect.h"
#include "render/names.h"
#include "report/report.h"

import megakernel;

namespace megakernel::tool {
namespace {

using namespace capture_format;

std::unexpected<std::string> refuse(std::string sentence) {
  return std::unexpected(std::move(sentence));
}

/// A regular file, read at any place. What another process does to it meanwhile is an error, not a
/// signal, as it would be with mapped memory.
class seekable_file {
 public:
  [[nodiscard]] static std::expected<seekable_file, std::string> open(const std::string& path) {
    seekable_file opened(::open(path.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC | O_NOCTTY));
    struct stat about{};
    if (opened.descriptor_ < 0 || ::fstat(opened.descriptor_, &about) != 0)
      return refuse(fmt::format("It cannot be opened: {}.", std::strerror(errno)));
    if (S_ISDIR(about.st_mode)) return refuse("It is a directory. Name the capture inside it.");
    if (!S_ISREG(about.st_mode)) {
      return refuse(
          "It is no regular file. A capture is read by seeking: copy it to a file first.");
    }
    opened.size_ = static_cast<std::uint64_t>(std::max<off_t>(about.st_size, 0));
    return opened;
  }
  seekable_file(seekable_file&& other) noexcept
      : descriptor_(std::exchange(other.descriptor_, -1)), size_(other.size_) {}
  seekable_file& operator=(seekable_file&&) = delete;
  ~seekable_file() {
    if (descriptor_ >= 0) ::close(descriptor_);
  }

  [[nodiscard]] std::uint64_t size() const noexcept { return size_; }
  /// Whether the file had `bytes` more at `offset` when it was opened.
  [[nodiscard]] bool has(std::uint64_t offset, std::uint64_t bytes) const noexcept {
    return offset <= size_ && bytes <= size_ - offset;
  }
  [[nodiscard]] std::expected<void, std::string> read(std::uint64_t offset,
                                                      std::span<std::byte> to) const {
    std::size_t got = 0;
    while (got < to.size()) {
      const ssize_t some =
          ::pread(descriptor_, to.data() + got, to.size() - got, static_cast<off_t>(offset + got));
      if (some > 0) {
        got += static_cast<std::size_t>(some);
      } else if (some == 0) {
        return refuse(fmt::format("It has become shorter while it was read, at byte {}.",
                                  grouped(offset + got)));
      } else if (errno != EINTR) {
        return refuse(fmt::format("It cannot be read at byte {}: {}.", grouped(offset + got),
                                  std::strerror(errno)));
      }
    }
    return {};
  }
  /// Nothing where it does not fit into the file or is none.
  [[nodiscard]] std::expected<std::optional<record>, std::string> record_at(
      std::uint64_t offset) const {
    if (!has(offset, record_bytes)) return std::nullopt;
    std::array<std::byte, record_bytes> bytes{};
    if (auto got = read(offset, bytes); !got) return std::unexpected(got.error());
    return read_record(bytes);
  }

 private:
  explicit seekable_file(int descriptor) noexcept : descriptor_(descriptor) {}
  int descriptor_;
  std::uint64_t size_ = 0;
};

struct context_deleter {
  void operator()(ZSTD_DCtx* context) const noexcept { ZSTD_freeDCtx(context); }
};

std::string whole_frames(std::uint64_t frames) {
  return fmt::format("{} {} whole", counted(frames, "frame"), frames == 1 ? "is" : "are");
}

}  // namespace

struct capture_reader::state {
  explicit state(seekable_file&& opened) : file(std::move(opened)) {}

  using outcome = std::expected<void, std::string>;
  [[nodiscard]] outcome read_start();
  [[nodiscard]] std::expected<bool, std::string> read_index();
  [[nodiscard]] outcome scan();
  [[nodiscard]] outcome check_last();
  [[nodiscard]] bool fits(const record& found, const std::vector<entry>& before) const noexcept;
  [[nodiscard]] std::expected<record, std::string> load(std::uint64_t number);
  [[nodiscard]] outcome decode(std::uint64_t number);

  seekable_file file;
  capture_header header;
  capture_totals totals;
  std::string damage;
  std::uint64_t start = 0;  // of the first record
  std::vector<entry> index;
  std::uint64_t position = 0;

  static constexpr std::uint64_t none = std::numeric_limits<std::uint64_t>::max();
  std::uint64_t decoded = none;    // the frame that the buffers hold
  record present;                  // its record
  std::vector<std::byte> stored;   // its payload as it is in the file
  std::vector<std::byte> body;     // and unpacked
  std::vector<std::byte> buffers;  // one after the other
  facts known;
  std::unique_ptr<ZSTD_DCtx, context_deleter> zstd;  // from the first frame on: it is large
};

capture_reader::state::outcome capture_reader::state::read_start() {
  std::array<std::byte, prefix_bytes> prefix{};
  if (!file.has(0, prefix.size()))
    return refuse(file.size() == 0
                      ? std::string("It is empty: no capture.")
                      : fmt::format("It has {}: too few for a capture.", human_bytes(file.size())));
  if (auto got = file.read(0, prefix); !got) return got;
  const auto length = header_length(prefix);
  if (!length) return std::unexpected(length.error());
  if (!file.has(0, *length)) {
    return refuse(fmt::format("It ends at byte {}, inside its header of {}.", grouped(file.size()),
                              human_bytes(*length)));
  }
  std::vector<std::byte> bytes(*length);
  if (auto got = file.read(0, bytes); !got) return got;
  auto read = read_header(bytes);
  if (!read) return std::unexpected(read.error());
  header = std::move(*read);
  start = *length;
  totals.bytes = file.size();
  return {};
}

/// Whether a frame may come after those before it, as far as its record tells.
bool capture_reader::state::fits(const record& found,
                                 const std::vector<entry>& before) const noexcept {
  const std::uint64_t number = before.size();
  const std::uint64_t least = header.bytes.all();
  const bool is_key = found.what == kind::key_frame;
  return (is_key || found.what == kind::delta_frame) && found.number == number &&
         found.at >= (before.empty() ? std::chrono::nanoseconds{} : before.back().at) &&
         (is_key ? found.link == number
                 : number != 0 && found.link == before.back().key && number - found.link < chain) &&
         found.stored <= max_stored_bytes(header) && found.unpacked >= least &&
         found.unpacked - least <= max_facts_bytes(header.slots());
}

/// Whether there is an end, and an index that fits. What it says of a frame is checked when that is
/// read.
std::expected<bool, std::string> capture_reader::state::read_index() {
  if (file.size() < start + record_bytes) return false;
  const std::uint64_t end = file.size() - record_bytes;
  const auto last = file.record_at(end);
  if (!last) return std::unexpected(last.error());
  if (!*last || (*last)->what != kind::end || (*last)->number > (end - start) / record_bytes)
    return false;
  totals.dropped = (*last)->dropped;
  std::vector<entry> all;  // the last one first: no more is allocated than there is
  std::uint64_t missing = (*last)->number;
  std::uint64_t above = end;
  std::vector<std::byte> bytes;
  for (std::uint64_t at = (*last)->link; at != 0;) {
    if (at < start || at >= above) return false;
    const auto found = file.record_at(at);
    if (!found) return std::unexpected(found.error());
    if (!*found || (*found)->what != kind::index || (*found)->stored % entry_bytes != 0 ||
        !file.has(at + record_bytes, (*found)->stored))
      return false;
    const std::size_t count = (*found)->stored / entry_bytes;
    if (count == 0 || count > index_frames || count > missing ||
        (*found)->number != missing - count)
      return false;
    bytes.resize((*found)->stored);
    if (auto got = file.read(at + record_bytes, bytes); !got) return std::unexpected(got.error());
    if (checksum(bytes) != (*found)->checksum) return false;
    missing -= count;
    for (std::size_t i = count; i != 0; --i)
      all.push_back(read_entry(bytes.data() + (i - 1) * entry_bytes));
    above = at;
    at = (*found)->link;
  }
  if (missing != 0) return false;
  std::ranges::reverse(all);
  std::uint64_t least = start;
  for (std::size_t i = 0; i < all.size(); ++i) {
    const entry& e = all[i];
    if (e.offset < least || !file.has(e.offset, record_bytes) || e.at < std::chrono::nanoseconds{})
      return false;
    if (i != 0 && e.at < all[i - 1].at) return false;
    if (e.key != i && (i == 0 || e.key != all[i - 1].key || i - e.key >= chain)) return false;
    least = e.offset + record_bytes;
  }
  index = std::move(all);
  return true;
}

/// Goes from record to record. Stops where there is none: what comes after could only be guessed.
capture_reader::state::outcome capture_reader::state::scan() {
  std::uint64_t at = start;
  totals.dropped = 0;
  while (at != file.size()) {
    const auto found = file.record_at(at);
    if (!found) return std::unexpected(found.error());
    if (!*found && !file.has(at, record_bytes)) {
      damage = fmt::format("It ends in the middle of frame {}", index.size());
      return {};
    }
    const bool payload_fits = *found && file.has(at + record_bytes, (*found)->stored);
    if (*found && (*found)->what == kind::end) {
      totals.dropped = (*found)->dropped;
      if ((*found)->number != index.size()) {
        damage = fmt::format("Its end, at byte {}, claims {}", grouped(at),
                             counted((*found)->number, "frame"));
      } else if (at + record_bytes != file.size()) {
        damage = fmt::format("{} follow its end", human_bytes(file.size() - at - record_bytes));
      }
      return {};
    }
    if (*found && (*found)->what == kind::index) {
      if (!payload_fits) {
        damage = fmt::format("It ends in the middle of its index");
        return {};
      }
      at += record_bytes + (*found)->stored;
      continue;
    }
    if (!*found || !fits(**found, index)) {
      damage = fmt::format("It is damaged at byte {}, where frame {} should be", grouped(at),
                           index.size());
      return {};
    }
    if (!payload_fits) {
      damage = fmt::format("It ends in the middle of frame {}", index.size());
      return {};
    }
    index.push_back({.offset = at, .at = (*found)->at, .key = (*found)->link});
    totals.dropped = (*found)->dropped;
    at += record_bytes + (*found)->stored;
  }
  damage = "It was not closed: the run was killed, or still goes on";
  return {};
}

/// The last frame of a file that was not closed may have been written in part, and the rest be
/// whatever the disk had there.
capture_reader::state::outcome capture_reader::state::check_last() {
  if (damage.empty() || index.empty()) return {};
  if (load(index.size() - 1)) return {};
  const entry last = index.back();
  index.pop_back();
  damage =
      fmt::format("It is damaged from byte {} on, in frame {}", grouped(last.offset), index.size());
  return {};
}

/// The record of a frame, with its payload in `stored`.
std::expected<record, std::string> capture_reader::state::load(std::uint64_t number) {
  const entry& where = index[number];
  const auto damaged = [&](const char* how) {
    return refuse(
        fmt::format("Frame {}, at byte {}, is damaged: {}.", number, grouped(where.offset), how));
  };
  const auto found = file.record_at(where.offset);
  if (!found) return std::unexpected(found.error());
  if (!*found) return damaged("what precedes it is none of a frame");
  const record& r = **found;
  const bool is_key = r.what == kind::key_frame;
  const std::uint64_t least = header.bytes.all();
  if ((!is_key && r.what != kind::delta_frame) || r.number != number || r.at != where.at ||
      r.link != where.key || is_key != (r.link == number))
    return damaged("it is not the frame that the index names");
  if (r.stored > max_stored_bytes(header) || r.unpacked < least ||
      r.unpacked - least > max_facts_bytes(header.slots()))
    return damaged("its size is out of bounds");
  if (!file.has(where.offset + record_bytes, r.stored))
    return damaged("it is longer than the file");
  stored.resize(r.stored);
  if (auto got = file.read(where.offset + record_bytes, stored); !got)
    return std::unexpected(got.error());
  if (checksum(stored) != r.checksum) return damaged("its checksum does not fit");
  return r;
}

/// Into the buffers, which hold the frame before it where it is a delta.
capture_reader::state::outcome capture_reader::state::decode(std::uint64_t number) {
  decoded = none;
  const auto found = load(number);
  if (!found) return std::unexpected(found.error());
  const auto wrong = [&](std::string_view how) {
    return refuse(fmt::format("Frame {}, at byte {}, is wrong: {}.", number,
                              grouped(index[number].offset), how));
  };
  body.resize(found->unpacked);
  if (!zstd) zstd.reset(ZSTD_createDCtx());
  if (!zstd) throw std::bad_alloc();
  const std::size_t got =
      ZSTD_decompressDCtx(zstd.get(), body.data(), body.size(), stored.data(), stored.size());
  if (ZSTD_isError(got) != 0) return wrong(ZSTD_getErrorName(got));
  if (got != body.size()) return wrong("it unpacks to another size than it says");
  const auto used = read_facts(body, header.slots(), known);
  if (!used) return wrong(used.error());
  if (body.size() - *used != header.bytes.all()) return wrong("its buffers have other sizes");
  const auto news = std::span<const std::byte>(body).subspan(*used);
  if (found->what == kind::key_frame) {
    buffers.assign(news.begin(), news.end());
  } else {
    for (std::size_t i = 0; i < news.size(); ++i) buffers[i] ^= news[i];
  }
  present = *found;
  decoded = number;
  return {};
}

capture_reader::capture_reader(std::unique_ptr<state> made) noexcept : state_(std::move(made)) {}
capture_reader::capture_reader(capture_reader&&) noexcept = default;
capture_reader& capture_reader::operator=(capture_reader&&) noexcept = default;
capture_reader::~capture_reader() = default;

std::expected<capture_reader, std::string> capture_reader::open(const std::string& path) {
  auto opened = seekable_file::open(path);
  if (!opened) return std::unexpected(opened.error());
  auto made = std::make_unique<state>(std::move(*opened));
  if (auto read = made->read_start(); !read) return std::unexpected(read.error());
  const auto indexed = made->read_index();
  if (!indexed) return std::unexpected(indexed.error());
  if (!*indexed) {
    if (auto scanned = made->scan(); !scanned) return std::unexpected(scanned.error());
    if (auto checked = made->check_last(); !checked) return std::unexpected(checked.error());
    if (!made->damage.empty())
      made->damage += fmt::format("; {}.", whole_frames(made->index.size()));
  }
  made->totals.frames = made->index.size();
  return capture_reader(std::move(made));
}

const capture_header& capture_reader::header() const noexcept { return state_->header; }
const capture_totals& capture_reader::totals() const noexcept { return state_->totals; }
const std::string& capture_reader::damage() const noexcept { return state_->damage; }

std::chrono::nanoseconds capture_reader::time_of(std::uint64_t number) const noexcept {
  return state_->index[number].at;
}

std::chrono::nanoseconds capture_reader::length() const noexcept {
  return state_->index.empty() ? std::chrono::nanoseconds{} : state_->index.back().at;
}

std::uint64_t capture_reader::first_from(std::chrono::nanoseconds at) const noexcept {
  const auto found = std::ranges::lower_bound(state_->index, at, {}, &entry::at);
  return static_cast<std::uint64_t>(found - state_->index.begin());
}

std::uint64_t capture_reader::last_until(std::chrono::nanoseconds at) const noexcept {
  const auto after = std::ranges::upper_bound(state_->index, at, {}, &entry::at);
  const auto count = static_cast<std::uint64_t>(after - state_->index.begin());
  return count == 0 ? 0 : count - 1;
}

std::expected<frame, std::string> capture_reader::frame_at(std::uint64_t number) {
  state& s = *state_;
  if (number >= frames()) {
    return refuse(fmt::format("There is no frame {}: it has {}.", grouped(number),
                              counted(frames(), "frame")));
  }
  const std::uint64_t key = s.index[number].key;
  const bool on_the_way = s.decoded != state::none && s.decoded >= key && s.decoded <= number;
  for (std::uint64_t i = on_the_way ? s.decoded + 1 : key; i <= number; ++i) {
    if (auto done = s.decode(i); !done) return std::unexpected(done.error());
  }
  std::size_t at = 0;
  const auto buffer = [&](std::uint64_t size) {
    const auto bytes = std::span<const std::byte>(s.buffers).subspan(at, size);
    at += size;
    return bytes;
  };
  const capture_header::sizes& sizes = s.header.bytes;
  frame seen;
  seen.at = s.present.at;
  seen.wall = std::chrono::system_clock::time_point(
      std::chrono::duration_cast<std::chrono::system_clock::duration>(s.present.wall));
  seen.control = buffer(sizes.control);
  seen.ring = buffer(sizes.ring);
  seen.debug_log = buffer(sizes.debug_log);
  seen.io_queue = buffer(sizes.io_queue);
  seen.torn_pages = s.known.torn_pages;
  seen.publishers = s.known.known ? &s.known.publishers : nullptr;
  return seen;
}

std::uint64_t capture_reader::position() const noexcept { return state_->position; }
void capture_reader::seek(std::uint64_t number) noexcept { state_->position = number; }

std::expected<std::optional<frame>, std::string> capture_reader::next() {
  if (state_->position >= frames()) return std::nullopt;
  auto seen = frame_at(state_->position++);
  if (!seen) return std::unexpected(seen.error());
  return *seen;
}

}  // namespace megakernel::tool
