// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// What the GPU's process takes: questions that the library asks, and no others. Whatever else comes
// ends the conversation, and a kernel is started in the memory that was sent or not at all.
#include <fcntl.h>
#include <rapidcheck.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <megakernel/gpu/messages.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <expected>
#include <filesystem>
#include <iterator>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "server.h"
#include "support.h"

namespace {

using namespace props;
namespace gpu = megakernel::gpu;
namespace messages = gpu::messages;
using gpu::host::server;
using bytes_type = std::vector<unsigned char>;

constexpr std::uint64_t memory_bytes = 64 * 4096;

/// A plugin that only remembers what it was asked.
struct remembered {
  int starts = 0;
  gpu::request wanted{};
  std::vector<gpu::slot_range> carried;
  std::uint32_t room = 0;
};
remembered seen;
char the_kernel;

constexpr gpu::interface remembering{
    .version = gpu::interface_version,
    .own_process = 0,
    .context = &seen,
    .probe = [](void*, gpu::device_info* found, gpu::failure*) -> gpu::call_status {
      *found = {};
      found->wave_size = 32;
      return gpu::call_status::yes;
    },
    .start = [](void*, const gpu::request* wanted, gpu::kernel** started, std::uint32_t* lanes,
                gpu::failure*) -> gpu::call_status {
      ++seen.starts;
      seen.wanted = *wanted;
      *started = static_cast<gpu::kernel*>(static_cast<void*>(&the_kernel));
      *lanes = 32;
      return gpu::call_status::yes;
    },
    .running = [](gpu::kernel*, std::uint32_t* lanes, gpu::failure*) -> gpu::call_status {
      *lanes = 7;
      return gpu::call_status::yes;
    },
    .ask_flush = [](gpu::kernel*) -> std::uint32_t { return 9; },
    .flushed = [](gpu::kernel*, std::uint32_t number) { return number == 9; },
    .leave = [](gpu::kernel*) {},
    .close = [](gpu::kernel*) {},
    .upload = [](gpu::kernel*, const gpu::slot_range* ranges, std::uint32_t count,
                 std::uint32_t* room, gpu::failure*) -> gpu::call_status {
      seen.carried.insert(seen.carried.end(), ranges, ranges + count);
      *room = seen.room;
      return gpu::call_status::yes;
    },
    .scan = [](gpu::kernel*, const gpu::scan_request* wanted, void* bytes, std::uint64_t capacity,
               std::uint64_t* size, gpu::failure*) -> gpu::call_status {
      if (wanted->timeout == 0) return gpu::call_status::busy;
      *size = std::min<std::uint64_t>(capacity, 3);
      std::memcpy(bytes, "abc", *size);
      return gpu::call_status::yes;
    },
};

int sealed(std::uint64_t size, int seals) {
  const int file = ::memfd_create("test", MFD_CLOEXEC | MFD_ALLOW_SEALING);
  RC_ASSERT(file >= 0 && ::ftruncate(file, static_cast<off_t>(size)) == 0);
  RC_ASSERT(::fcntl(file, F_ADD_SEALS, seals) == 0);
  return file;
}
int some_memory() { return sealed(memory_bytes, F_SEAL_SHRINK | F_SEAL_GROW); }

template <class Call>
bytes_type question(const typename Call::asked& body, std::uint32_t number = 1) {
  const messages::question<Call> asked{{static_cast<std::uint32_t>(Call::id), number}, body};
  bytes_type bytes(sizeof asked);
  std::memcpy(bytes.data(), &asked, sizeof asked);
  return bytes;
}
template <class Call>
std::optional<messages::reply<Call>> reply_to(server& of, const bytes_type& asked,
                                              int descriptor = -1) {
  const auto got = of.answer_to(asked, descriptor);
  messages::reply<Call> reply;
  if (!messages::decode(got.data(), got.size(), reply)) return std::nullopt;
  return reply;
}

messages::start::asked good_start() {
  messages::start::asked asked{};
  asked.where.control = {0, 1184};
  asked.where.ring = {8192, 64};
  asked.where.debug_log = {16384, 257};
  asked.where.io_queue = {24576, 64};
  asked.where.dfa_table = {32768, 256};
  asked.where.arena = {40960, 100};
  asked.lanes = 64;
  return asked;
}

/// A server, and whether it started a kernel since.
struct trial {
  server gpu{remembering};
  trial() {
    seen = {};
    RC_ASSERT(reply_to<messages::open>(gpu, question<messages::open>({})).has_value());
  }
};

std::ptrdiff_t open_files() {
  return std::distance(std::filesystem::directory_iterator("/proc/self/fd"), {});
}

/// All of a launch that was asked for lies in the memory.
void check_started(const gpu::request& wanted) {
  const auto& w = wanted.where;
  const auto from = reinterpret_cast<std::uintptr_t>(wanted.memory.at);
  const auto inside = [&](const void* data, std::uint64_t count, std::uint64_t unit) {
    if (count == 0) return data == nullptr;
    const auto at = reinterpret_cast<std::uintptr_t>(data) - from;
    return at % 64 == 0 && at < memory_bytes && count <= (memory_bytes - at) / unit;
  };
  RC_ASSERT(wanted.memory.bytes == memory_bytes);
  RC_ASSERT(w.control_words >= 160u && w.slots >= 1u && w.io_slots <= 64u);
  RC_ASSERT(inside(w.control, w.control_words, 4) && inside(w.ring, w.slots, 64));
  RC_ASSERT(inside(w.debug_log, w.debug_words, 4) && inside(w.io_queue, w.io_slots, 32));
  RC_ASSERT(inside(w.dfa_table, w.dfa_words, 4) && inside(w.arena, w.arena_bytes, 1));
  ::munmap(wanted.memory.at, wanted.memory.bytes);
}

bool conversation() {
  return rc::check("what the library asks is answered", [] {
    const auto files = open_files();
    trial t;
    const auto number = *any_word();
    const auto started = reply_to<messages::start>(
        t.gpu, question<messages::start>(good_start(), number), some_memory());
    RC_ASSERT(started && started->head.number == number && started->how == 0u &&
              started->body.lanes == 32u && seen.starts == 1 && seen.wanted.lanes == 64u);
    check_started(seen.wanted);
    const auto running = reply_to<messages::running>(t.gpu, question<messages::running>({}));
    RC_ASSERT(running && running->body.lanes == 7u);
    const auto asked = reply_to<messages::ask_flush>(t.gpu, question<messages::ask_flush>({}));
    RC_ASSERT(asked && asked->body.number == 9u);
    for (const std::uint64_t n : {8u, 9u}) {
      const auto flushed =
          reply_to<messages::flushed>(t.gpu, question<messages::flushed>({.number = n}));
      RC_ASSERT(flushed && flushed->body.yes == (n == 9));
    }
    RC_ASSERT(reply_to<messages::leave>(t.gpu, question<messages::leave>({})).has_value());
    RC_ASSERT(open_files() == files);
  });
}

/// A server whose kernel runs over a ring of 64 slots.
struct started_trial : trial {
  started_trial() {
    auto asked = good_start();
    asked.device_ring = 1;
    const auto got =
        reply_to<messages::start>(gpu, question<messages::start>(asked), some_memory());
    RC_ASSERT(got.has_value() && seen.wanted.device_ring == 1u);
    check_started(seen.wanted);
  }
};

bool carrying() {
  return rc::check("runs are carried where there is room, and only of the ring", [] {
    started_trial t;
    seen.room = *between<std::uint32_t>(0, gpu::most_ranges);
    const auto room = reply_to<messages::upload>(t.gpu, question<messages::upload>({}));
    RC_ASSERT(room && room->body.room == seen.room && seen.carried.empty());
    messages::upload::asked asked{};
    asked.count = *between<std::uint32_t>(0, gpu::most_ranges + 1);
    bool right = asked.count <= seen.room;
    const auto edge = rc::gen::element<std::uint32_t>(0, 1, 2, 62, 63, 64, 65, 0xFFFF'FFFFu);
    for (std::uint32_t i = 0; i < gpu::most_ranges; ++i) {
      const bool used = i < asked.count;
      auto& [first, count] = asked.ranges[i];
      first = used ? *between<std::uint32_t>(0, 31) : 0;
      count = used ? *between<std::uint32_t>(1, 33) : 0;
      if (*between<int>(0, 200) == 0) first = *edge;
      if (*between<int>(0, 200) == 0) count = *edge;
      right = right &&
              (used ? count != 0 && std::uint64_t{first} + count <= 64 : first == 0 && count == 0);
    }
    const auto got = reply_to<messages::upload>(t.gpu, question<messages::upload>(asked));
    RC_ASSERT(got.has_value() == right);
    RC_ASSERT(seen.carried.size() == (right ? asked.count : 0u));
    for (std::size_t i = 0; i < seen.carried.size(); ++i)
      RC_ASSERT(seen.carried[i].first == asked.ranges[i].first &&
                seen.carried[i].count == asked.ranges[i].count);
  });
}

bool scanning() {
  return rc::check("a digest is written to the file that is sent, or nobody is asked for one", [] {
    const auto files = open_files();
    {
      started_trial t;
      messages::scan::asked asked{};
      const auto busy = reply_to<messages::scan>(t.gpu, question<messages::scan>(asked),
                                                 sealed(4096, F_SEAL_SHRINK));
      RC_ASSERT(busy && busy->how == 0u && busy->body.busy == 1u && busy->body.bytes == 0u);
      asked.timeout = 1;
      const int file = sealed(*rc::gen::element<std::uint64_t>(1, 3, 9000), F_SEAL_SHRINK);
      const int ours = ::dup(file);
      const auto got = reply_to<messages::scan>(t.gpu, question<messages::scan>(asked), file);
      std::array<char, 4> text{};
      const ssize_t there = ::pread(ours, text.data(), 3, 0);
      ::close(ours);
      RC_ASSERT(got && got->body.busy == 0u && got->body.bytes == std::uint64_t(there));
      RC_ASSERT(std::string("abc").starts_with(text.data()));
    }
    const auto refused_with = [&](auto change, int file) {
      started_trial t;
      messages::scan::asked asked{};
      change(asked);
      RC_ASSERT(!reply_to<messages::scan>(t.gpu, question<messages::scan>(asked), file));
    };
    refused_with([](auto&) {}, -1);
    refused_with([](auto&) {}, sealed(4096, 0));
    refused_with([](auto& a) { a.zero = 1; }, sealed(4096, F_SEAL_SHRINK));
    refused_with([](auto& a) { a.what.depth = 1; }, sealed(4096, F_SEAL_SHRINK));
    refused_with([](auto& a) { a.what.window_opcodes = 17; }, sealed(4096, F_SEAL_SHRINK));
    // Window opcodes ascend, each is there once, and there are no more than are counted.
    const auto windows = [](std::uint32_t count, std::uint32_t first, std::uint32_t second) {
      return [=](auto& a) {
        a.what.window_opcodes = count;
        a.what.window_opcode[0] = first;
        a.what.window_opcode[1] = second;
      };
    };
    refused_with(windows(2, 9, 9), sealed(4096, F_SEAL_SHRINK));
    refused_with(windows(2, 9, 8), sealed(4096, F_SEAL_SHRINK));
    refused_with(windows(1, 8, 9), sealed(4096, F_SEAL_SHRINK));
    {
      started_trial t;
      messages::scan::asked asked{};
      windows(2, 8, 9)(asked);
      RC_ASSERT(reply_to<messages::scan>(t.gpu, question<messages::scan>(asked),
                                         sealed(4096, F_SEAL_SHRINK)));
    }
    RC_ASSERT(open_files() == files);
  });
}

bool wrong_places() {
  int started = 0;
  int refused = 0;
  const bool ok = rc::check("a launch outside the memory is none", [&] {
    trial t;
    auto asked = good_start();
    std::array<messages::place*, 6> all{&asked.where.control,   &asked.where.ring,
                                        &asked.where.debug_log, &asked.where.io_queue,
                                        &asked.where.dfa_table, &asked.where.arena};
    const auto number = rc::gen::weightedOneOf<std::uint64_t>(
        {{3, between<std::uint64_t>(0, 2 * memory_bytes)},
         {1, rc::gen::map(between<std::uint64_t>(0, 4200), [](auto n) { return n * 64; })},
         {2, rc::gen::map(between<std::uint64_t>(0, 300), [](auto n) { return 0 - n; })},
         {1, rc::gen::map(between<std::uint64_t>(0, 66),
                          [](auto n) { return std::uint64_t{1} << (n % 64); })}});
    for (int changes = *between<int>(1, 3); changes > 0; --changes) {
      auto& place = *all[*between<std::size_t>(0, all.size() - 1)];
      (*rc::gen::arbitrary<bool>() ? place.offset : place.count) = *number;
    }
    const auto got =
        reply_to<messages::start>(t.gpu, question<messages::start>(asked), some_memory());
    RC_ASSERT(got.has_value() == (seen.starts == 1));
    ++(got ? started : refused);
    if (got) check_started(seen.wanted);
    // After nonsense there is no other question.
    RC_ASSERT(reply_to<messages::running>(t.gpu, question<messages::running>({})).has_value() ==
              got.has_value());
  });
  // It has seen both.
  return ok && started > 0 && refused > 0;
}

bool wrong_fields() {
  return rc::check("a start with anything else in it is none", [] {
    const auto files = open_files();
    const auto refused_with = [&](auto change, int memory) {
      trial t;
      auto asked = good_start();
      change(asked);
      const auto got = reply_to<messages::start>(t.gpu, question<messages::start>(asked), memory);
      RC_ASSERT(!got && seen.starts == 0);
      RC_ASSERT(open_files() == files);
    };
    const auto some = *between<std::uint32_t>(2, 0xFFFF'FFFEu);
    refused_with([&](auto& a) { a.by_priority = some; }, some_memory());
    refused_with([&](auto& a) { a.one_shot = some; }, some_memory());
    refused_with([&](auto& a) { a.device_ring = some; }, some_memory());
    refused_with([&](auto& a) { a.where.quotas = some; }, some_memory());
    refused_with([](auto& a) { a.where.control.count = 159; }, some_memory());
    refused_with([](auto& a) { a.where.ring = {}; }, some_memory());
    refused_with([](auto& a) { a.where.io_queue.count = 65; }, some_memory());
    // Without memory; with some that can be made shorter; with none in it; with what is no file.
    refused_with([](auto&) {}, -1);
    refused_with([](auto&) {}, sealed(memory_bytes, F_SEAL_GROW));
    refused_with([](auto&) {}, sealed(0, F_SEAL_SHRINK));
    refused_with([](auto&) {}, ::open("/dev/zero", O_RDWR | O_CLOEXEC));
  });
}

bool anything() {
  return rc::check("any bytes, at any time, are answered whole or not at all", [] {
    const auto files = open_files();
    seen = {};
    server gpu(remembering);
    for (int turn = 0; turn < 6; ++turn) {
      auto bytes =
          *rc::gen::oneOf(rc::gen::just(question<messages::open>({})),
                          rc::gen::just(question<messages::start>(good_start())),
                          rc::gen::just(question<messages::running>({})),
                          rc::gen::just(question<messages::flushed>({.number = 1})),
                          rc::gen::just(question<messages::upload>({})),
                          rc::gen::just(question<messages::scan>({})),
                          rc::gen::container<bytes_type>(rc::gen::arbitrary<unsigned char>()));
      if (*between<int>(0, 3) == 0 && !bytes.empty())
        bytes[*between<std::size_t>(0, bytes.size() - 1)] ^=
            static_cast<unsigned char>(*between<std::uint32_t>(1, 255));
      if (*between<int>(0, 5) == 0) bytes.resize(*between<std::size_t>(0, 300));
      const int memory = *rc::gen::arbitrary<bool>() ? some_memory() : -1;
      const int starts = seen.starts;
      const auto got = gpu.answer_to(bytes, memory);
      RC_ASSERT(got.empty() || got.size() >= sizeof(messages::header) + 8 + sizeof(gpu::failure));
      if (!got.empty()) RC_ASSERT(std::equal(bytes.begin(), bytes.begin() + 8, got.begin()));
      if (seen.starts != starts) check_started(seen.wanted);
    }
    RC_ASSERT(seen.starts <= 1);
    RC_ASSERT(open_files() == files);
  });
}

/// How the real program ends after `message`, with or without memory.
int end_after(std::span<const unsigned char> message, int memory) {
  const std::string program =
      std::string(std::getenv("MEGAKERNEL_GPU_PATH")) + "/megakernel_gpu_host";
  std::array<int, 2> ends{};
  RC_ASSERT(::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends.data()) == 0);
  posix_spawn_file_actions_t actions;
  ::posix_spawn_file_actions_init(&actions);
  ::posix_spawn_file_actions_adddup2(&actions, ends[1], 3);
  std::string self = std::to_string(::getpid());
  std::string name = "fake";
  std::string file = "libfake_nowhere.cuda.so";
  std::string first = program;
  std::array<char*, 5> arguments{first.data(), self.data(), name.data(), file.data(), nullptr};
  pid_t child = 0;
  RC_ASSERT(
      ::posix_spawn(&child, program.c_str(), &actions, nullptr, arguments.data(), ::environ) == 0);
  ::posix_spawn_file_actions_destroy(&actions);
  ::close(ends[1]);
  iovec part{const_cast<unsigned char*>(message.data()), message.size()};
  alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int))> beside{};
  msghdr whole{};
  whole.msg_iov = &part;
  whole.msg_iovlen = 1;
  if (memory >= 0) {
    whole.msg_control = beside.data();
    whole.msg_controllen = beside.size();
    cmsghdr* const right = CMSG_FIRSTHDR(&whole);
    right->cmsg_level = SOL_SOCKET;
    right->cmsg_type = SCM_RIGHTS;
    right->cmsg_len = CMSG_LEN(sizeof(int));
    std::memcpy(CMSG_DATA(right), &memory, sizeof memory);
  }
  RC_ASSERT(::sendmsg(ends[0], &whole, MSG_NOSIGNAL) == static_cast<ssize_t>(message.size()));
  // It answers, or it has ended.
  std::array<unsigned char, 4096> got{};
  (void)::recv(ends[0], got.data(), got.size(), 0);
  ::close(ends[0]);
  if (memory >= 0) ::close(memory);
  int status = 0;
  RC_ASSERT(::waitpid(child, &status, 0) == child && WIFEXITED(status));
  return WEXITSTATUS(status);
}

bool program() {
  return rc::check("the program ends by itself, whatever it is sent", [] {
    constexpr int done = 0;
    constexpr int nonsense = 3;
    static int tries = 0;
    if (++tries > 3) return;  // a process each
    RC_ASSERT(end_after(question<messages::open>({}), -1) == done);
    RC_ASSERT(end_after(question<messages::open>({}), some_memory()) == nonsense);
    RC_ASSERT(end_after(question<messages::start>(good_start()), some_memory()) == nonsense);
    RC_ASSERT(end_after(question<messages::leave>({}), -1) == nonsense);
    RC_ASSERT(end_after(bytes_type(messages::most_bytes + 1), -1) == nonsense);
    const auto bytes =
        *rc::gen::nonEmpty(rc::gen::container<bytes_type>(rc::gen::arbitrary<unsigned char>()));
    RC_ASSERT(end_after(bytes, -1) == nonsense);
  });
}

}  // namespace

int main() {
  bool ok = conversation();
  ok &= carrying();
  ok &= scanning();
  ok &= wrong_places();
  ok &= wrong_fields();
  ok &= anything();
  ok &= program();
  return ok ? 0 : 1;
}
