// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <climits>
#include <cstdlib>
#include <cstring>
#include <expected>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "cli/output.h"
#include "cli/whole_file.h"
#include "render/names.h"

namespace megakernel::tool {
namespace {

using outcome = std::expected<void, std::string>;

std::unexpected<std::string> failed(std::string_view what, int why) {
  return std::unexpected(fmt::format("{}: {}.", what, std::strerror(why)));
}

/// The target of a link; the name itself where there is none yet.
std::string followed(const std::string& path) {
  const std::unique_ptr<char, decltype(&std::free)> real(::realpath(path.c_str(), nullptr),
                                                         &std::free);
  return real ? std::string(real.get()) : path;
}

std::string directory_of(const std::string& path) {
  const std::size_t slash = path.find_last_of('/');
  if (slash == std::string::npos) return ".";
  return slash == 0 ? "/" : path.substr(0, slash);
}

/// The usual mode of a file that is made.
mode_t usual_mode() {
  const mode_t mask = ::umask(0);
  ::umask(mask);
  return 0666 & ~mask;
}

/// A file without a name where the system has such, else one with a name that is taken away again.
class draft {
 public:
  static std::expected<draft, std::string> in(const std::string& directory) {
    draft made;
    made.name_ = directory + "/.megakernel.XXXXXX";
    made.descriptor_ = ::open(directory.c_str(), O_TMPFILE | O_WRONLY | O_CLOEXEC, 0600);
    if (made.descriptor_ < 0) {
      made.descriptor_ = ::mkostemp(made.name_.data(), O_CLOEXEC);
      made.named_ = made.descriptor_ >= 0;
    }
    if (made.descriptor_ < 0)
      return failed(fmt::format("No file can be made in {}", printable(directory)), errno);
    return made;
  }
  draft(draft&& from) noexcept
      : descriptor_(std::exchange(from.descriptor_, -1)),
        named_(std::exchange(from.named_, false)),
        name_(std::move(from.name_)) {}
  draft& operator=(draft&&) = delete;
  ~draft() {
    if (named_) ::unlink(name_.c_str());
    if (descriptor_ >= 0) ::close(descriptor_);
  }

  [[nodiscard]] int descriptor() const noexcept { return descriptor_; }

  outcome move_to(const std::string& path, mode_t mode) {
    if (::fchmod(descriptor_, mode) != 0 || ::fsync(descriptor_) != 0)
      return failed("It could not be written", errno);
    if (!named_) {
      // The name of a file that has none can only be given to nothing: a name of our own first.
      const std::string self = fmt::format("/proc/self/fd/{}", descriptor_);
      const int reserved = ::mkostemp(name_.data(), O_CLOEXEC);
      if (reserved < 0) return failed("It could not be put in its place", errno);
      ::close(reserved);
      ::unlink(name_.c_str());
      if (::linkat(AT_FDCWD, self.c_str(), AT_FDCWD, name_.c_str(), AT_SYMLINK_FOLLOW) != 0)
        return failed("It could not be put in its place", errno);
      named_ = true;
    }
    if (::rename(name_.c_str(), path.c_str()) != 0)
      return failed("It could not be put in its place", errno);
    named_ = false;
    return {};
  }

 private:
  draft() = default;
  int descriptor_ = -1;
  bool named_ = false;
  std::string name_;
};

/// A pipe, a device: nothing to keep, nothing to replace.
outcome write_through(const std::string& path, const std::function<outcome(output&)>& fill) {
  const int descriptor = ::open(path.c_str(), O_WRONLY | O_CLOEXEC | O_NOCTTY);
  if (descriptor < 0) return failed("It could not be opened", errno);
  output to(descriptor);
  outcome filled = fill(to);
  int failure = to.finish();
  if (::close(descriptor) != 0 && failure == 0) failure = errno;
  if (failure != 0) return failed("It could not be written", failure);
  return filled;
}

}  // namespace

outcome check_writable(const std::string& path) {
  const std::string real = followed(path);
  struct stat found{};
  if (::stat(real.c_str(), &found) == 0) {
    if (S_ISDIR(found.st_mode))
      return std::unexpected(std::string("It is a directory. Name a file to write to."));
    if (!S_ISREG(found.st_mode)) return {};
  } else if (errno != ENOENT) {
    return failed("It cannot be written", errno);
  }
  const std::string directory = directory_of(real);
  if (::access(directory.c_str(), W_OK | X_OK) != 0)
    return failed(fmt::format("No file can be made in {}", printable(directory)), errno);
  return {};
}

outcome write_whole_file(const std::string& path, const std::function<outcome(output&)>& fill) {
  if (auto fine = check_writable(path); !fine) return fine;
  const std::string real = followed(path);
  struct stat found{};
  const bool is_there = ::stat(real.c_str(), &found) == 0;
  if (is_there && !S_ISREG(found.st_mode)) return write_through(real, fill);
  auto made = draft::in(directory_of(real));
  if (!made) return std::unexpected(made.error());
  output to(made->descriptor());
  if (auto filled = fill(to); !filled) return filled;
  if (const int failure = to.finish(); failure != 0)
    return failed("It could not be written", failure);
  return made->move_to(real, is_there ? found.st_mode & 0777 : usual_mode());
}

}  // namespace megakernel::tool
