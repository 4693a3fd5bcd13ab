// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <fcntl.h>
#include <fmt/format.h>
#include <pthread.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zstd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <exception>
#include <expected>
#include <functional>
#include <memory>
#include <mutex>
#include <new>
#include <optional>
#include <span>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "cli/input.h"
#include "observe/capture.h"
#include "observe/capture_writer.h"
#include "observe/frame.h"
#include "observe/histogram.h"
#include "observe/inspect.h"
#include "render/names.h"
#include "report/report.h"

import megakernel;

namespace megakernel::tool {
namespace {

using namespace capture_format;

/// A copy of a frame that waits to be written.
struct waiting_frame {
  std::chrono::nanoseconds at{};
  std::chrono::system_clock::time_point wall{};
  std::uint64_t dropped = 0;         // before it
  std::vector<std::byte> buffers{};  // one after the other
  std::vector<std::byte> facts{};
};

bool in_order(const frame& seen) {
  if (std::ranges::adjacent_find(seen.torn_pages, std::greater_equal{}) != seen.torn_pages.end())
    return false;
  if (seen.publishers == nullptr) return true;
  const auto& tenants = seen.publishers->tenants;
  return tenants.size() <= max_tenants &&
         std::ranges::adjacent_find(tenants, std::greater_equal{},
                                    &publisher_totals::tenant::tenant) == tenants.end();
}

/// A file that only grows. It may be a device: what is written there is gone.
class growing_file {
 public:
  /// Empty. The error is a sentence.
  [[nodiscard]] static std::expected<growing_file, std::string> open(const std::string& path) {
    const auto refused = [](int why) {
      return std::unexpected(fmt::format("It cannot be written: {}.", std::strerror(why)));
    };
    // Without waiting for who reads a pipe, which is refused below.
    growing_file opened(
        ::open(path.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC | O_NONBLOCK | O_NOCTTY, 0666));
    if (opened.descriptor_ < 0 && errno != ENXIO) return refused(errno);
    struct stat about{};
    if (opened.descriptor_ < 0 || ::fstat(opened.descriptor_, &about) != 0 ||
        S_ISFIFO(about.st_mode) || S_ISSOCK(about.st_mode)) {
      return std::unexpected(
          std::string("It is a pipe. A capture is read by seeking: write it to a file."));
    }
    if (S_ISREG(about.st_mode) && ::ftruncate(opened.descriptor_, 0) != 0) return refused(errno);
    if (::fcntl(opened.descriptor_, F_SETFL, 0) != 0) return refused(errno);
    return opened;
  }
  growing_file(growing_file&& other) noexcept
      : descriptor_(std::exchange(other.descriptor_, -1)), size_(other.size_) {}
  growing_file& operator=(growing_file&&) = delete;
  ~growing_file() { (void)close(); }

  /// 0, or an error number; then what was written of it is taken back where that is possible.
  [[nodiscard]] int append(std::span<const std::byte> bytes) noexcept {
    std::size_t put = 0;
    while (put < bytes.size()) {
      const ssize_t got = ::write(descriptor_, bytes.data() + put, bytes.size() - put);
      if (got > 0) {
        put += static_cast<std::size_t>(got);
      } else if (got == 0 || errno != EINTR) {
        const int why = got == 0 ? ENOSPC : errno;
        (void)::ftruncate(descriptor_, static_cast<off_t>(size_));
        return why;
      }
    }
    size_ += bytes.size();
    return 0;
  }
  /// 0, or an error number.
  [[nodiscard]] int close() noexcept {
    const int descriptor = std::exchange(descriptor_, -1);
    return descriptor < 0 || ::close(descriptor) == 0 ? 0 : errno;
  }
  [[nodiscard]] std::uint64_t size() const noexcept { return size_; }

 private:
  explicit growing_file(int descriptor) noexcept : descriptor_(descriptor) {}
  int descriptor_;
  std::uint64_t size_ = 0;
};

struct context_deleter {
  void operator()(ZSTD_CCtx* context) const noexcept { ZSTD_freeCCtx(context); }
};

}  // namespace

struct capture_writer::state {
  state(growing_file&& opened, const capture_header& header)
      : file(std::move(opened)), bytes(header.bytes), size(file.size()) {
    constexpr std::uint64_t enough = 32 << 20;
    const std::uint64_t each = std::max<std::uint64_t>(bytes.all(), 1);
    queue.resize(static_cast<std::size_t>(std::clamp<std::uint64_t>(enough / each, 2, 16)));
    for (waiting_frame& frame : queue) frame.buffers.resize(bytes.all());
    last.resize(bytes.all());
    index.reserve(index_frames);
  }

  void run() noexcept;
  void write(const waiting_frame& next);
  void write_index();
  void write_end();
  [[nodiscard]] bool put(std::span<const std::byte> all);
  void fail(std::string sentence);

  growing_file file;
  capture_header::sizes bytes;

  // Between who offers and the thread: `queue` is a ring of which [taken, given) waits.
  std::vector<waiting_frame> queue;
  std::atomic<std::uint64_t> given{0};
  std::atomic<std::uint64_t> taken{0};
  std::atomic<std::uint32_t> wake{0};
  std::atomic<std::uint64_t> frames{0};
  std::atomic<std::uint64_t> dropped{0};
  std::atomic<std::uint64_t> size{0};
  std::atomic<bool> closing{false};
  std::atomic<bool> failed{false};
  mutable std::mutex guard;  // of `why`
  std::string why;

  // Of the thread: a sentence that is made while there is memory for it.
  std::string no_memory = "There is no memory left to pack a frame.";

  std::chrono::nanoseconds last_offered{};  // of who offers

  // Of the thread.
  std::unique_ptr<ZSTD_CCtx, context_deleter> zstd{ZSTD_createCCtx()};
  std::vector<std::byte> last;    // the buffers of the frame before
  std::vector<std::byte> body;    // what is compressed
  std::vector<std::byte> record;  // what is written
  std::vector<entry> index;       // of frames that no index record has yet
  std::uint64_t last_index = 0;   // its offset
  std::uint64_t key = 0;          // the number of the last key frame
  std::chrono::nanoseconds last_at{};

  std::thread thread;
};

namespace {

/// Whether so little changed that the difference is smaller and quicker to pack: few of the lines
/// of 64 bytes, the size of a slot.
bool worth_a_delta(std::span<const std::byte> now, std::span<const std::byte> before) noexcept {
  constexpr std::size_t line = 64;
  const std::size_t most = now.size() / line / 4;
  std::size_t changed = 0;
  for (std::size_t at = 0; at < now.size() && changed <= most; at += line) {
    const std::size_t size = std::min(line, now.size() - at);
    changed += std::memcmp(now.data() + at, before.data() + at, size) != 0;
  }
  return changed <= most;
}

}  // namespace

void capture_writer::state::run() noexcept {
  (void)::pthread_setname_np(::pthread_self(), "mk-capture");
  // Linux: of this thread alone.
  (void)::setpriority(PRIO_PROCESS, 0, std::min(19, ::getpriority(PRIO_PROCESS, 0) + 10));
  const auto has_memory = [this](auto step) {
    try {
      step();
      return true;
    } catch (const std::bad_alloc&) {
      fail(std::move(no_memory));
      return false;
    }
  };
  while (true) {
    const std::uint32_t seen = wake.load(std::memory_order_acquire);
    const bool last_turn = closing.load(std::memory_order_acquire);
    const std::uint64_t next = taken.load(std::memory_order_relaxed);
    if (given.load(std::memory_order_acquire) != next) {
      const std::uint64_t whole = frames.load(std::memory_order_relaxed);
      if (!has_memory([&] { write(queue[next % queue.size()]); }) &&
          frames.load(std::memory_order_relaxed) == whole)
        dropped.fetch_add(1, std::memory_order_relaxed);
      taken.store(next + 1, std::memory_order_release);
    } else if (last_turn) {
      break;
    } else {
      wake.wait(seen, std::memory_order_acquire);
    }
  }
  (void)has_memory([this] { write_end(); });
}

void capture_writer::state::write(const waiting_frame& next) {
  if (failed.load(std::memory_order_relaxed)) {
    dropped.fetch_add(1, std::memory_order_relaxed);
    return;
  }
  const std::uint64_t number = frames.load(std::memory_order_relaxed);
  const bool delta = number != 0 && number - key < chain && worth_a_delta(next.buffers, last);
  body.assign(next.facts.begin(), next.facts.end());
  const std::size_t start = body.size();
  body.insert(body.end(), next.buffers.begin(), next.buffers.end());
  if (delta) {
    for (std::size_t i = 0; i < last.size(); ++i) body[start + i] ^= last[i];
  }
  record.resize(record_bytes + ZSTD_compressBound(body.size()));
  const std::size_t packed =
      ZSTD_compressCCtx(zstd.get(), record.data() + record_bytes, record.size() - record_bytes,
                        body.data(), body.size(), 1);
  if (ZSTD_isError(packed) != 0) {
    return fail(fmt::format("A frame could not be packed: {}.", ZSTD_getErrorName(packed)));
  }
  record.resize(record_bytes + packed);
  const auto payload = std::span<const std::byte>(record).subspan(record_bytes);
  const entry found{.offset = file.size(), .at = next.at, .key = delta ? key : number};
  write_record({.what = delta ? kind::delta_frame : kind::key_frame,
                .number = number,
                .at = next.at,
                .wall = next.wall.time_since_epoch(),
                .dropped = next.dropped,
                .link = found.key,
                .stored = static_cast<std::uint32_t>(packed),
                .unpacked = static_cast<std::uint32_t>(body.size()),
                .checksum = checksum(payload)},
               std::span(record).first<record_bytes>());
  if (!put(record)) {
    dropped.fetch_add(1, std::memory_order_relaxed);
    return;
  }
  std::ranges::copy(next.buffers, last.begin());
  key = found.key;
  last_at = next.at;
  index.push_back(found);
  frames.store(number + 1, std::memory_order_relaxed);
  if (index.size() == index_frames) write_index();
}

void capture_writer::state::write_index() {
  if (index.empty()) return;
  record.assign(record_bytes, std::byte{});
  for (const entry& e : index) append_entry(e, record);
  const auto payload = std::span<const std::byte>(record).subspan(record_bytes);
  const std::uint64_t offset = file.size();
  write_record({.what = kind::index,
                .number = frames.load(std::memory_order_relaxed) - index.size(),
                .link = last_index,
                .stored = static_cast<std::uint32_t>(payload.size()),
                .unpacked = static_cast<std::uint32_t>(payload.size()),
                .checksum = checksum(payload)},
               std::span(record).first<record_bytes>());
  index.clear();
  if (put(record)) last_index = offset;
}

void capture_writer::state::write_end() {
  if (failed.load(std::memory_order_relaxed)) return;
  write_index();
  if (failed.load(std::memory_order_relaxed)) return;
  record.assign(record_bytes, std::byte{});
  write_record({.what = kind::end,
                .number = frames.load(std::memory_order_relaxed),
                .at = last_at,
                .wall = std::chrono::system_clock::now().time_since_epoch(),
                .dropped = dropped.load(std::memory_order_relaxed),
                .link = last_index},
               std::span(record).first<record_bytes>());
  (void)put(record);
}

bool capture_writer::state::put(std::span<const std::byte> all) {
  const int why_not = file.append(all);
  size.store(file.size(), std::memory_order_relaxed);
  if (why_not == 0) return true;
  const std::uint64_t whole = frames.load(std::memory_order_relaxed);
  fail(fmt::format("It could not be written: {}. {} {} whole in it, later ones are not.",
                   std::strerror(why_not), counted(whole, "frame"), whole == 1 ? "is" : "are"));
  return false;
}

void capture_writer::state::fail(std::string sentence) {
  const std::scoped_lock lock(guard);
  if (why.empty()) why = std::move(sentence);
  failed.store(true, std::memory_order_relaxed);
}

capture_writer::capture_writer(std::unique_ptr<state> made) noexcept : state_(std::move(made)) {}

capture_writer::~capture_writer() {
  if (state_->thread.joinable()) (void)close();
}

std::expected<std::unique_ptr<capture_writer>, std::string> capture_writer::create(
    const std::string& path, const capture_header& header) {
  const auto first = write_header(header);
  if (!first) return std::unexpected(first.error());
  auto opened = growing_file::open(path);
  if (!opened) return std::unexpected(opened.error());
  if (const int why = opened->append(*first); why != 0)
    return std::unexpected(fmt::format("It cannot be written: {}.", std::strerror(why)));
  const auto no_memory = [&] {
    return std::unexpected(
        fmt::format("There is no memory for frames of {}.", human_bytes(header.bytes.all())));
  };
  try {
    auto made = std::make_unique<state>(std::move(*opened), header);
    if (!made->zstd) return no_memory();
    // The thread last: what fails before it has none to wait for.
    std::unique_ptr<capture_writer> writer(new capture_writer(std::move(made)));
    writer->state_->thread = std::thread([&s = *writer->state_] { s.run(); });
    return writer;
  } catch (const std::bad_alloc&) {
    return no_memory();
  } catch (const std::exception&) {
    return std::unexpected(std::string("The system gives no thread to write it."));
  }
}

bool capture_writer::has_room() const noexcept {
  const state& s = *state_;
  return s.given.load(std::memory_order_relaxed) - s.taken.load(std::memory_order_acquire) <
         s.queue.size();
}

bool capture_writer::offer(const frame& seen) noexcept {
  state& s = *state_;
  const capture_header::sizes found{.control = seen.control.size(),
                                    .ring = seen.ring.size(),
                                    .debug_log = seen.debug_log.size(),
                                    .io_queue = seen.io_queue.size()};
  if (!has_room() || found != s.bytes || seen.at < s.last_offered || !in_order(seen)) {
    miss();
    return false;
  }
  const std::uint64_t number = s.given.load(std::memory_order_relaxed);
  waiting_frame& next = s.queue[number % s.queue.size()];
  try {
    next.facts.clear();
    append_facts(seen, next.facts);
  } catch (const std::bad_alloc&) {
    miss();
    return false;
  }
  next.at = s.last_offered = seen.at;
  next.wall = seen.wall;
  next.dropped = s.dropped.load(std::memory_order_relaxed);
  auto to = next.buffers.begin();
  for (const auto from : {seen.control, seen.ring, seen.debug_log, seen.io_queue})
    to = std::ranges::copy(from, to).out;
  s.given.store(number + 1, std::memory_order_release);
  s.wake.fetch_add(1, std::memory_order_release);
  s.wake.notify_one();
  return true;
}

void capture_writer::miss(std::uint64_t frames) noexcept {
  state_->dropped.fetch_add(frames, std::memory_order_relaxed);
}

capture_totals capture_writer::totals() const noexcept {
  return {.frames = state_->frames.load(std::memory_order_relaxed),
          .dropped = state_->dropped.load(std::memory_order_relaxed),
          .bytes = state_->size.load(std::memory_order_relaxed)};
}

std::string capture_writer::failure() const {
  const std::scoped_lock lock(state_->guard);
  return state_->why;
}

std::expected<capture_totals, std::string> capture_writer::close() {
  state& s = *state_;
  if (s.thread.joinable()) {
    s.closing.store(true, std::memory_order_release);
    s.wake.fetch_add(1, std::memory_order_release);
    s.wake.notify_one();
    s.thread.join();
    if (const int why = s.file.close(); why != 0)
      s.fail(fmt::format("It could not be closed: {}.", std::strerror(why)));
  }
  if (std::string why = failure(); !why.empty()) return std::unexpected(std::move(why));
  return totals();
}

}  // namespace megakernel::tool
