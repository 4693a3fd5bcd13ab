// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
module;
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <expected>
#include <optional>
#include <span>
#include <utility>
module megakernel.runtime;
import megakernel.protocol;

namespace megakernel {
namespace {

/// A regular file, open for reading; else the system's error number.
std::expected<int, int> open_regular(const char* path) noexcept {
  if (path == nullptr) return std::unexpected(EFAULT);
  // Without blocking: what is not a regular file may never answer.
  const int descriptor = ::open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (descriptor < 0) return std::unexpected(errno);
  struct stat status{};
  int problem = ::fstat(descriptor, &status) == 0 ? 0 : errno;
  if (problem == 0 && !S_ISREG(status.st_mode)) problem = EINVAL;
  if (problem == 0) return descriptor;
  ::close(descriptor);
  return std::unexpected(problem);
}

}  // namespace

result<file_pump> file_pump::over(kernel_buffers& buffers) noexcept {
  const auto queue = io_queue::over(buffers.io_queue());
  if (!queue) return std::unexpected(queue.error());
  return file_pump(buffers, *queue);
}

file_pump::file_pump(file_pump&& other) noexcept
    : buffers_(other.buffers_), queue_(other.queue_), files_(std::move(other.files_)) {}

file_pump::~file_pump() {
  for (const file& open : files_) ::close(open.descriptor);
}

const file_pump::file* file_pump::find(std::uint32_t id) const noexcept {
  const auto* const at = std::ranges::find(files_, id, &file::id);
  return at == files_.end() ? nullptr : at;
}

result<void> file_pump::add(const file_resource& resource) noexcept {
  const auto refuse = [&](error_code code, std::uint64_t found, std::uint64_t bound) {
    return std::unexpected(
        error{.code = code, .index = resource.id, .found = found, .bound = bound});
  };
  if (find(resource.id) != nullptr) return refuse(error_code::resource_repeated, 0, 0);
  const std::uint64_t there = buffers_.arena().size();
  if (resource.arena_offset > there || resource.byte_count > there - resource.arena_offset)
    return refuse(error_code::arena_out_of_range, resource.byte_count, there);
  if (auto room = files_.reserve(files_.size() + 1); !room) return room;
  const auto opened = open_regular(resource.path);
  if (!opened)
    return refuse(error_code::resource_unreadable, static_cast<std::uint64_t>(opened.error()), 0);
  files_.push_within_capacity({.id = resource.id,
                               .descriptor = *opened,
                               .file_offset = resource.file_offset,
                               .arena_offset = resource.arena_offset,
                               .byte_count = resource.byte_count});
  return {};
}

bool file_pump::load(const io_request& request) noexcept {
  const file* const from = find(request.source);
  if (from == nullptr || request.operation != io_operation::read) return false;
  std::byte* to = buffers_.arena().data() + from->arena_offset;
  std::uint64_t left = from->byte_count;
  std::uint64_t at = from->file_offset;
  while (left != 0) {
    const ssize_t got = ::pread(from->descriptor, to, left, static_cast<off_t>(at));
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return false;
    to += got;
    at += static_cast<std::uint64_t>(got);
    left -= static_cast<std::uint64_t>(got);
  }
  return true;
}

std::uint32_t file_pump::serve() noexcept {
  std::uint32_t served = 0;
  for (auto slot = queue_.poll(); slot; slot = queue_.poll(*slot + 1)) {
    const auto request = queue_.claim(*slot);
    if (!request) continue;
    const std::array<io_completion, 1> answer{{{.slot = *slot, .ok = load(*request)}}};
    served += queue_.complete(answer).has_value();
  }
  return served;
}

}  // namespace megakernel
