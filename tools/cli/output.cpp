// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <poll.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <string>
#include <string_view>

#include "cli/output.h"

namespace megakernel::tool {

void output::write(std::string_view text) {
  constexpr std::size_t enough = 64 << 10;
  if (failed()) return;
  pending_ += text;
  if (pending_.size() >= enough) flush();
}

int output::finish() noexcept {
  flush();
  return failure_;
}

void output::flush() noexcept {
  std::string_view rest = pending_;
  while (!rest.empty() && !failed()) {
    const ssize_t put = ::write(descriptor_, rest.data(), rest.size());
    if (put >= 0) {
      rest.remove_prefix(static_cast<std::size_t>(put));
    } else if (errno == EAGAIN || errno == EWOULDBLOCK) {
      // Somebody else made our stdout non-blocking.
      pollfd waited{.fd = descriptor_, .events = POLLOUT, .revents = 0};
      if (::poll(&waited, 1, -1) < 0 && errno != EINTR) failure_ = errno;
    } else if (errno != EINTR) {
      failure_ = errno;
    }
  }
  pending_.clear();
}

}  // namespace megakernel::tool
