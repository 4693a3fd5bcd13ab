// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The process that drives a GPU for a program of the library: what a driver or a handler crashes
// takes this one along, and not the program.
//
//     megakernel_gpu_host PROGRAM NAME FILE...
//
// PROGRAM is the number of the process that it works for, NAME the plugin, FILE where it may be.
// Descriptor 3 is its end of a socket. It ends with its program, or when the socket's other end is
// closed, also out of the middle of a call that does not return.
#include <poll.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <charconv>
#include <cstdio>
#include <cstring>
#include <exception>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include "server.h"

namespace {

using namespace megakernel::gpu;

constexpr int library = 3;
enum exit_status : int { done = 0, unusable = 1, not_by_hand = 2, nonsense = 3 };

/// Ends this process with the program. The socket says so too, but a child of the program's may
/// hold its end; and PR_SET_PDEATHSIG means the thread that started this process, which may end
/// long before.
void watch(pid_t program) {
  std::array<pollfd, 2> ends{};
  ends[0] = {.fd = library, .events = 0, .revents = 0};
  ends[1] = {.fd = static_cast<int>(::syscall(SYS_pidfd_open, program, 0)),
             .events = POLLIN,
             .revents = 0};
  // Asked for the program only now: had it ended before, this would not be its child any more.
  if (::getppid() != program) ::_exit(done);
  for (;;) {
    if (::poll(ends.data(), ends.size(), -1) < 0 && errno != EINTR) ::_exit(unusable);
    if (ends[0].revents != 0 || ends[1].revents != 0) ::_exit(done);
  }
}

struct received {
  std::size_t bytes = 0;
  int descriptor = -1;
  bool whole = false;
};

/// One message; not whole where there will be none any more, or it brings what none does.
received receive(std::span<unsigned char> into) {
  iovec part{into.data(), into.size()};
  alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int))> beside{};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = beside.data();
  message.msg_controllen = beside.size();
  ssize_t size = 0;
  do {
    size = ::recvmsg(library, &message, MSG_CMSG_CLOEXEC);
  } while (size < 0 && errno == EINTR);
  received got;
  if (size <= 0) return got;
  got.bytes = static_cast<std::size_t>(size);
  const cmsghdr* const first = CMSG_FIRSTHDR(&message);
  if (first != nullptr && first->cmsg_level == SOL_SOCKET && first->cmsg_type == SCM_RIGHTS &&
      first->cmsg_len == CMSG_LEN(sizeof(int)))
    std::memcpy(&got.descriptor, CMSG_DATA(first), sizeof(int));
  got.whole = (message.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) == 0;
  return got;
}

bool send(std::span<const unsigned char> reply) {
  ssize_t sent = 0;
  do {
    sent = ::send(library, reply.data(), reply.size(), MSG_NOSIGNAL);
  } while (sent < 0 && errno == EINTR);
  return sent == static_cast<ssize_t>(reply.size());
}

int serve(host::server& gpu) {
  std::array<unsigned char, messages::most_bytes> question{};
  for (;;) {
    const received got = receive(question);
    if (got.bytes == 0) return done;
    const auto reply =
        gpu.answer_to(std::span(question).first(got.whole ? got.bytes : 0), got.descriptor);
    if (reply.empty()) return nonsense;
    if (!send(reply)) return done;
  }
}

}  // namespace

int main(int count, char** arguments) {
  const std::span all(arguments, static_cast<std::size_t>(count));
  pid_t program = 0;
  int type = 0;
  socklen_t size = sizeof type;
  if (count < 3 ||
      std::from_chars(all[1], all[1] + std::strlen(all[1]), program).ec != std::errc{} ||
      ::getsockopt(library, SOL_SOCKET, SO_TYPE, &type, &size) != 0 || type != SOCK_SEQPACKET) {
    std::fputs(
        "megakernel_gpu_host: the library starts this program, to drive a GPU in a process of its "
        "own. There is no other use of it.\n",
        stderr);
    return not_by_hand;
  }
  try {
    std::thread(watch, program).detach();
    host::server gpu(all[2], {all.begin() + 3, all.end()});
    // Without the destructors of whatever the plugin has loaded: they may wait for the device.
    ::_exit(serve(gpu));
  } catch (const std::exception& e) {
    std::fprintf(stderr, "megakernel_gpu_host: %s\n", e.what());
  }
  ::_exit(unusable);
}
