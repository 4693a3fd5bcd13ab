// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
module;
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <expected>
#include <span>
#include <utility>

#if defined(__SANITIZE_ADDRESS__)
#define MEGAKERNEL_WATCHED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define MEGAKERNEL_WATCHED 1
#endif
#endif
#if defined(MEGAKERNEL_WATCHED)
#include <sanitizer/asan_interface.h>
#endif
module megakernel.runtime;
import megakernel.protocol;

namespace megakernel {
namespace {

constexpr std::uint64_t huge_page = std::uint64_t{2} << 20;

std::uint64_t page_size() noexcept {
  static const auto size = static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
  return size;
}

constexpr std::uint64_t round_up(std::uint64_t bytes, std::uint64_t unit) noexcept {
  return (bytes + unit - 1) / unit * unit;
}

/// The rest of a buffer's last page is no part of it.
void watch_end([[maybe_unused]] std::span<std::byte> buffer) noexcept {
#if defined(MEGAKERNEL_WATCHED)
  const std::byte* const end = buffer.data() + buffer.size();
  ASAN_POISON_MEMORY_REGION(end, round_up(buffer.size(), page_size()) - buffer.size());
#endif
}
void watch_no_more([[maybe_unused]] std::byte* at, [[maybe_unused]] std::size_t bytes) noexcept {
#if defined(MEGAKERNEL_WATCHED)
  if (bytes != 0) ASAN_UNPOISON_MEMORY_REGION(at, bytes);
#endif
}

/// A file of `bytes` bytes without a name, whose size nobody can change; else the error number.
std::expected<int, int> sealed_file(std::uint64_t bytes) noexcept {
  const int made = ::memfd_create("megakernel", MFD_CLOEXEC | MFD_ALLOW_SEALING);
  if (made < 0) return std::unexpected(errno);
  if (::ftruncate(made, static_cast<off_t>(bytes)) == 0 &&
      ::fcntl(made, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) == 0)
    return made;
  const int why = errno;
  ::close(made);
  return std::unexpected(why);
}

/// Puts zeroed pages there, of the file where there is one, at the same distance from its start.
bool fill_in(std::byte* at, std::uint64_t bytes, int file, std::uint64_t offset) noexcept {
  const int kind = file < 0 ? MAP_PRIVATE | MAP_ANONYMOUS : MAP_SHARED;
  const std::uint64_t whole = round_up(bytes, page_size());
  if (::mmap(at, whole, PROT_READ | PROT_WRITE, kind | MAP_FIXED, file,
             static_cast<off_t>(offset)) == MAP_FAILED)
    return false;
  if (bytes < huge_page) return true;
  // Advice: where it is not taken, the memory is only slower.
  (void)::madvise(at, whole, MADV_HUGEPAGE);
  return ::madvise(at, whole, MADV_POPULATE_WRITE) == 0 || errno != ENOMEM;
}

}  // namespace

result<mapped_region> mapped_region::make(std::span<const std::uint64_t> sizes,
                                          std::span<std::span<std::byte>> made,
                                          bool shared) noexcept {
  std::uint64_t wanted = 0;
  const auto no_memory = [&wanted] {
    return std::unexpected(error{.code = error_code::out_of_memory, .found = wanted, .bound = 1});
  };
  // No sum of so few of them, rounded up, comes near the end of the numbers.
  constexpr std::uint64_t most = std::uint64_t{1} << 56;
  std::uint64_t end = 0;
  const auto place = [&end](std::uint64_t bytes) {
    const std::uint64_t at = round_up(end, bytes >= huge_page ? huge_page : page_size());
    end = at + round_up(bytes, page_size()) + page_size();
    return at;
  };
  for (const std::uint64_t bytes : sizes) {
    wanted = std::max(wanted, bytes);
    if (bytes > most) return no_memory();
    if (bytes != 0) (void)place(bytes);
  }
  wanted = end;

  mapped_region all;
  const std::uint64_t reserved = end + huge_page;
  void* const found =
      ::mmap(nullptr, reserved, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (found == MAP_FAILED) return no_memory();
  all.reserved_ = static_cast<std::byte*>(found);
  all.reserved_bytes_ = reserved;
  const auto address = reinterpret_cast<std::uintptr_t>(found);
  all.at_ = all.reserved_ + (round_up(address, huge_page) - address);
  all.bytes_ = end;
  if (shared) {
    const auto file = sealed_file(end);
    if (!file) {
      return std::unexpected(error{.code = error_code::memory_not_shared,
                                   .found = static_cast<std::uint32_t>(file.error())});
    }
    all.descriptor_ = *file;
  }
  end = 0;
  for (std::size_t i = 0; i < sizes.size(); ++i) {
    made[i] = {};
    if (sizes[i] == 0) continue;
    const std::uint64_t offset = place(sizes[i]);
    if (!fill_in(all.at_ + offset, sizes[i], all.descriptor_, offset)) return no_memory();
    made[i] = {all.at_ + offset, sizes[i]};
    watch_end(made[i]);
  }
  return all;
}

mapped_region::mapped_region(mapped_region&& other) noexcept
    : reserved_(std::exchange(other.reserved_, nullptr)),
      reserved_bytes_(std::exchange(other.reserved_bytes_, 0)),
      at_(std::exchange(other.at_, nullptr)),
      bytes_(std::exchange(other.bytes_, 0)),
      descriptor_(std::exchange(other.descriptor_, -1)) {}

mapped_region& mapped_region::operator=(mapped_region&& other) noexcept {
  std::swap(reserved_, other.reserved_);
  std::swap(reserved_bytes_, other.reserved_bytes_);
  std::swap(at_, other.at_);
  std::swap(bytes_, other.bytes_);
  std::swap(descriptor_, other.descriptor_);
  return *this;
}

mapped_region::~mapped_region() {
  if (descriptor_ >= 0) ::close(descriptor_);
  if (reserved_ == nullptr) return;
  watch_no_more(at_, bytes_);
  ::munmap(reserved_, reserved_bytes_);
}

shared_memory_handle mapped_region::share() const noexcept {
  if (descriptor_ < 0) return {};
  return {.descriptor = descriptor_, .at = at_, .bytes = bytes_};
}

}  // namespace megakernel
