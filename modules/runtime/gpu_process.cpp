// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
module;
#include <fcntl.h>
#include <megakernel/gpu/messages.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <expected>
#include <map>
#include <memory>
#include <mutex>
#include <new>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>
module megakernel.runtime;
import megakernel.protocol;

// A GPU that a process of its own drives (kernels/megakernel/gpu/host/main.cpp): the interface of a
// plugin whose calls are questions to that process. See kernels/megakernel/gpu/messages.h.
namespace megakernel::detail {
namespace {

namespace messages = gpu::messages;
using namespace std::chrono_literals;

/// A driver may take its time to come up, and a kernel to be loaded; nothing else should.
constexpr std::chrono::seconds start_timeout{60};
constexpr std::chrono::seconds timeout{5};
/// How long a process is waited for that was told to end; then that is done by force.
constexpr std::chrono::milliseconds grace{200};
constexpr std::chrono::seconds grace_of_force{2};

/// A descriptor, and who closes it.
class owned_descriptor {
 public:
  owned_descriptor() noexcept = default;
  explicit owned_descriptor(int descriptor) noexcept : descriptor_(descriptor) {}
  owned_descriptor(owned_descriptor&& other) noexcept
      : descriptor_(std::exchange(other.descriptor_, -1)) {}
  owned_descriptor& operator=(owned_descriptor&& other) noexcept {
    std::swap(descriptor_, other.descriptor_);
    return *this;
  }
  ~owned_descriptor() { close(); }
  void close() noexcept {
    if (descriptor_ >= 0) ::close(std::exchange(descriptor_, -1));
  }
  [[nodiscard]] int get() const noexcept { return descriptor_; }

 private:
  int descriptor_ = -1;
};

/// Children that did not end in time, to be looked after again when the next one is started.
class left_behind {
 public:
  static void add(pid_t child) noexcept {
    const std::lock_guard lock(mutex_);
    for (pid_t& place : children_) {
      if (place != 0) continue;
      place = child;
      return;
    }
  }
  static void reap() noexcept {
    const std::lock_guard lock(mutex_);
    for (pid_t& child : children_) {
      if (child != 0 && ::waitpid(child, nullptr, WNOHANG) != 0) child = 0;
    }
  }

 private:
  static inline std::mutex mutex_;
  static inline std::array<pid_t, 64> children_{};
};

/// How a process ended, for people.
void describe(int status, std::span<char> into) noexcept {
  if (WIFSIGNALED(status)) {
    std::snprintf(into.data(), into.size(), "the GPU's process was ended by signal %d",
                  WTERMSIG(status));
  } else {
    std::snprintf(into.data(), into.size(), "the GPU's process has ended with status %d",
                  WEXITSTATUS(status));
  }
}

/// A process that was started, and the socket to it. When this ends, that does.
class gpu_host {
 public:
  /// Or a sentence why it cannot be started.
  static std::expected<std::unique_ptr<gpu_host>, std::string> start(
      const std::string& program, std::string_view name, const std::vector<std::string>& files);
  gpu_host(const gpu_host&) = delete;
  gpu_host& operator=(const gpu_host&) = delete;
  ~gpu_host() { end(nullptr); }

  /// Asks it and waits for the answer. Once anything has gone wrong, or the kernel has failed,
  /// every call fails for the reason that the first one did. Any thread.
  template <class Call>
  gpu::call_status ask(const typename Call::asked& asked, typename Call::reported& reported,
                       gpu::failure& why, int descriptor = -1,
                       std::chrono::nanoseconds longest = timeout) noexcept;

  /// A digest of its kernel's ring, by way of memory that both see. Any thread; one after the
  /// other.
  gpu::call_status scan(const gpu::scan_request& wanted, std::span<unsigned char> into,
                        std::uint64_t& size, gpu::failure& why) noexcept;

  /// Whether it is there still, as far as can be seen without asking.
  [[nodiscard]] bool is_there() const noexcept {
    pollfd end{.fd = socket_.get(), .events = 0, .revents = 0};
    return socket_.get() >= 0 && ::poll(&end, 1, 0) == 0;
  }

  /// Whether it ended without an answer.
  [[nodiscard]] bool is_gone() const noexcept { return gone_; }

 private:
  gpu_host(pid_t child, owned_descriptor socket) noexcept
      : child_(child), socket_(std::move(socket)) {}
  /// Whether that went well; where it did not, the conversation is over.
  bool send(std::span<const unsigned char> question, int descriptor) noexcept;
  std::span<const unsigned char> receive(deadline until) noexcept;
  void gone() noexcept;
  void give_up(const char* sentence) noexcept;
  void end(gpu::failure* why) noexcept;

  std::mutex mutex_;
  pid_t child_;
  owned_descriptor socket_;
  std::uint32_t questions_ = 0;
  bool failed_ = false;
  bool gone_ = false;
  gpu::failure why_{};
  std::array<unsigned char, messages::most_bytes> reply_{};

  std::mutex scanning_;
  mapped_region digests_;  ///< from the first scan on
  std::span<std::byte> digest_;
};

std::unexpected<std::string> no_process(const char* what, int number) {
  return std::unexpected("The GPU's process cannot be started: " + std::string(what) +
                         ", the system's error number is " + std::to_string(number) + ".");
}

std::expected<std::unique_ptr<gpu_host>, std::string> gpu_host::start(
    const std::string& program, std::string_view name, const std::vector<std::string>& files) {
  left_behind::reap();
  std::array<int, 2> ends{};
  if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends.data()) != 0)
    return no_process("there is no socket", errno);
  owned_descriptor ours(ends[0]);
  owned_descriptor theirs(ends[1]);
  constexpr int its_end = 3;
  // Above what it is given: none of its descriptors is overwritten before it was copied.
  theirs = owned_descriptor(::fcntl(ends[1], F_DUPFD_CLOEXEC, its_end + 1));
  if (theirs.get() < 0) return no_process("there is no descriptor", errno);

  std::vector<std::string> words{program, std::to_string(::getpid()), std::string(name)};
  words.insert(words.end(), files.begin(), files.end());
  std::vector<char*> arguments;
  for (std::string& w : words) arguments.push_back(w.data());
  arguments.push_back(nullptr);

  posix_spawn_file_actions_t files_of_it;
  posix_spawnattr_t attributes;
  if (const int failed = ::posix_spawn_file_actions_init(&files_of_it); failed != 0)
    return no_process("there is no memory", failed);
  if (const int failed = ::posix_spawnattr_init(&attributes); failed != 0) {
    ::posix_spawn_file_actions_destroy(&files_of_it);
    return no_process("there is no memory", failed);
  }
  // The terminal's signals are for the program, and what its handlers ignore is not for this one.
  sigset_t none;
  sigset_t all;
  ::sigemptyset(&none);
  ::sigfillset(&all);
  pid_t child = 0;
  int failed = 0;
  for (const int result :
       {::posix_spawnattr_setsigmask(&attributes, &none),
        ::posix_spawnattr_setsigdefault(&attributes, &all),
        ::posix_spawnattr_setpgroup(&attributes, 0),
        ::posix_spawnattr_setflags(
            &attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETPGROUP),
        ::posix_spawn_file_actions_addopen(&files_of_it, STDIN_FILENO, "/dev/null", O_RDONLY, 0),
        // A handler's output is no part of the program's output.
        ::posix_spawn_file_actions_adddup2(&files_of_it, STDERR_FILENO, STDOUT_FILENO),
        ::posix_spawn_file_actions_adddup2(&files_of_it, theirs.get(), its_end),
        ::posix_spawn_file_actions_addclosefrom_np(&files_of_it, its_end + 1)}) {
    if (failed == 0) failed = result;
  }
  if (failed == 0)
    failed = ::posix_spawn(&child, program.c_str(), &files_of_it, &attributes, arguments.data(),
                           ::environ);
  ::posix_spawnattr_destroy(&attributes);
  ::posix_spawn_file_actions_destroy(&files_of_it);
  if (failed != 0) return no_process(program.c_str(), failed);
  theirs.close();
  std::unique_ptr<gpu_host> made(new (std::nothrow) gpu_host(child, std::move(ours)));
  if (made == nullptr) {
    left_behind::add(child);
    throw std::bad_alloc();
  }
  return made;
}

bool gpu_host::send(std::span<const unsigned char> question, int descriptor) noexcept {
  iovec part{const_cast<unsigned char*>(question.data()), question.size()};
  alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int))> beside{};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  if (descriptor >= 0) {
    message.msg_control = beside.data();
    message.msg_controllen = beside.size();
    cmsghdr* const first = CMSG_FIRSTHDR(&message);
    first->cmsg_level = SOL_SOCKET;
    first->cmsg_type = SCM_RIGHTS;
    first->cmsg_len = CMSG_LEN(sizeof(int));
    std::memcpy(CMSG_DATA(first), &descriptor, sizeof(int));
  }
  ssize_t sent = 0;
  do {
    // There is room: no other question is on its way.
    sent = ::sendmsg(socket_.get(), &message, MSG_NOSIGNAL | MSG_DONTWAIT);
  } while (sent < 0 && errno == EINTR);
  if (sent == static_cast<ssize_t>(question.size())) return true;
  gone();
  return false;
}

std::span<const unsigned char> gpu_host::receive(deadline until) noexcept {
  for (;;) {
    pollfd end{.fd = socket_.get(), .events = POLLIN, .revents = 0};
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(until.left());
    const int ready = ::poll(&end, 1, static_cast<int>(left.count()));
    if (ready < 0 && errno == EINTR) continue;
    if (ready <= 0) {
      give_up("the GPU's process does not answer");
      return {};
    }
    const ssize_t size = ::recv(socket_.get(), reply_.data(), reply_.size(), MSG_DONTWAIT);
    if (size < 0 && (errno == EINTR || errno == EAGAIN)) continue;
    if (size > 0) return std::span(reply_).first(static_cast<std::size_t>(size));
    gone();
    return {};
  }
}

void gpu_host::give_up(const char* sentence) noexcept {
  failed_ = true;
  why_ = {};
  std::snprintf(why_.sentence, sizeof why_.sentence, "%s", sentence);
  end(nullptr);
}

void gpu_host::gone() noexcept {
  failed_ = gone_ = true;
  why_ = {};
  std::snprintf(why_.sentence, sizeof why_.sentence, "the GPU's process has ended");
  end(&why_);
}

/// Closes the socket, which it ends by, and waits for that; by force if need be. `why` is told how
/// it ended where it had done so by itself.
void gpu_host::end(gpu::failure* why) noexcept {
  socket_.close();
  if (child_ == 0) return;
  const pid_t child = std::exchange(child_, 0);
  bool forced = false;
  auto until = deadline::in(grace);
  for (backoff wait;; wait.pause()) {
    int status = 0;
    const pid_t ended = ::waitpid(child, &status, WNOHANG);
    if (ended == child && why != nullptr && !forced) describe(status, why->sentence);
    // Or somebody else has waited for it.
    if (ended == child || (ended < 0 && errno != EINTR)) return;
    if (!until.passed()) continue;
    if (forced) return left_behind::add(child);
    ::kill(child, SIGKILL);
    forced = true;
    until = deadline::in(grace_of_force);
  }
}

template <class Call>
gpu::call_status gpu_host::ask(const typename Call::asked& asked, typename Call::reported& reported,
                               gpu::failure& why, int descriptor,
                               std::chrono::nanoseconds longest) noexcept {
  const std::lock_guard lock(mutex_);
  reported = {};
  const auto failed = [&] {
    why = why_;
    return gpu::call_status::failed;
  };
  if (failed_) return failed();
  const messages::question<Call> question{
      .head = {.call = static_cast<std::uint32_t>(Call::id), .number = ++questions_},
      .body = asked};
  std::array<unsigned char, sizeof question> bytes;
  std::memcpy(bytes.data(), &question, sizeof question);
  if (!send(bytes, descriptor)) return failed();
  const auto got = receive(deadline::in(longest));
  if (got.empty()) return failed();
  messages::reply<Call> reply;
  if (!messages::decode(got.data(), got.size(), reply) || reply.head.call != question.head.call ||
      reply.head.number != question.head.number ||
      reply.how > static_cast<std::uint32_t>(gpu::call_status::busy) || reply.zero != 0) {
    give_up("the GPU's process answers what was not asked");
    return failed();
  }
  reply.why.sentence[sizeof reply.why.sentence - 1] = '\0';
  why = reply.why;
  reported = reply.body;
  const auto how = static_cast<gpu::call_status>(reply.how);
  if (how != gpu::call_status::yes) {
    // There is nothing more to be had from it.
    why_ = reply.why;
    failed_ = true;
    end(nullptr);
  }
  return how;
}

gpu::call_status gpu_host::scan(const gpu::scan_request& wanted, std::span<unsigned char> into,
                                std::uint64_t& size, gpu::failure& why) noexcept {
  const std::lock_guard lock(scanning_);
  size = 0;
  if (digest_.empty()) {
    constexpr std::array<std::uint64_t, 1> bytes{std::uint64_t{abi::digest::most_words} *
                                                 sizeof(word)};
    auto made = mapped_region::make(bytes, std::span(&digest_, 1), true);
    if (!made) {
      std::snprintf(why.sentence, sizeof why.sentence, "there is no memory for a digest");
      digest_ = {};
      return gpu::call_status::busy;
    }
    digests_ = std::move(*made);
  }
  const messages::scan::asked asked{.what = wanted.what, .zero = 0, .timeout = wanted.timeout};
  messages::scan::reported reported{};
  const auto wait = std::chrono::nanoseconds(
      std::min<std::uint64_t>(wanted.timeout, std::chrono::nanoseconds(start_timeout).count()));
  const auto how =
      ask<messages::scan>(asked, reported, why, digests_.share().descriptor, timeout + wait);
  if (how != gpu::call_status::yes) return how;
  if (reported.busy != 0) return gpu::call_status::busy;
  // Whatever that process says and has written: it is looked at where it cannot change any more.
  if (reported.bytes > digest_.size() || reported.bytes > into.size()) {
    std::snprintf(why.sentence, sizeof why.sentence, "the GPU's process says too much");
    return gpu::call_status::failed;
  }
  size = reported.bytes;
  std::memcpy(into.data(), digest_.data(), size);
  return gpu::call_status::yes;
}

/// A kernel, as the library sees it: the process that has it.
gpu_host& host_of(gpu::kernel* kernel) noexcept { return *reinterpret_cast<gpu_host*>(kernel); }

/// A plugin of one name and place, and how its processes are started.
class remote_plugin {
 public:
  remote_plugin(std::string_view name, std::vector<std::string> files, std::string program)
      : name_(name), files_(std::move(files)), program_(std::move(program)) {
    calls_.context = this;
  }
  remote_plugin(const remote_plugin&) = delete;
  remote_plugin& operator=(const remote_plugin&) = delete;

  std::expected<remote_gpu, std::string> find() {
    const std::lock_guard lock(mutex_);
    if (auto ready = prepare(); !ready) return std::unexpected(ready.error());
    return remote_gpu{&calls_, found_};
  }

 private:
  static remote_plugin& of(void* context) noexcept { return *static_cast<remote_plugin*>(context); }

  /// Has a process wait that has found the GPU.
  std::expected<void, std::string> prepare() {
    if (waiting_ != nullptr && waiting_->is_there()) return {};
    waiting_.reset();
    auto started = gpu_host::start(program_, name_, files_);
    if (!started) return std::unexpected(started.error());
    messages::open::reported reported{};
    gpu::failure why{};
    if ((*started)->ask<messages::open>({}, reported, why, -1, start_timeout) !=
        gpu::call_status::yes) {
      reported.why_not[sizeof reported.why_not - 1] = '\0';
      if (reported.why_not[0] != '\0') return std::unexpected(reported.why_not);
      return std::unexpected("There is no GPU to run on (" + std::string(why.sentence) + ").");
    }
    found_ = reported.found;
    found_.name[sizeof found_.name - 1] = '\0';
    waiting_ = std::move(*started);
    return {};
  }

  bool prepare(gpu::failure& why) {
    const auto ready = prepare();
    if (!ready) std::snprintf(why.sentence, sizeof why.sentence, "%s", ready.error().c_str());
    return ready.has_value();
  }

  gpu::call_status probe(gpu::device_info& found, gpu::failure& why) {
    const std::lock_guard lock(mutex_);
    if (!prepare(why)) return gpu::call_status::no_gpu;
    found = found_;
    return gpu::call_status::yes;
  }

  /// A process for one kernel, or null.
  std::unique_ptr<gpu_host> take(gpu::failure& why) {
    const std::lock_guard lock(mutex_);
    if (!prepare(why)) return nullptr;
    return std::move(waiting_);
  }

  gpu::call_status start(const gpu::request& wanted, gpu::kernel*& started, std::uint32_t& lanes,
                         gpu::failure& why) {
    messages::start::asked asked{};
    if (wanted.memory.descriptor < 0 ||
        !messages::to_places(wanted.where, wanted.memory, asked.where)) {
      std::snprintf(why.sentence, sizeof why.sentence, "the buffers are not in shared memory");
      return gpu::call_status::not_shared;
    }
    asked.quantum = wanted.quantum;
    asked.lanes = wanted.lanes;
    asked.by_priority = wanted.by_priority != 0;
    asked.one_shot = wanted.one_shot != 0;
    asked.device_ring = wanted.device_ring != 0;
    messages::start::reported reported{};
    std::unique_ptr<gpu_host> host;
    gpu::call_status how{};
    // One that waited may have gone since it was seen.
    for (int tries = 0; tries < 2 && (host == nullptr || host->is_gone()); ++tries) {
      host = take(why);
      if (host == nullptr) return gpu::call_status::no_gpu;
      how =
          host->ask<messages::start>(asked, reported, why, wanted.memory.descriptor, start_timeout);
    }
    lanes = static_cast<std::uint32_t>(reported.lanes);
    if (how == gpu::call_status::yes) started = reinterpret_cast<gpu::kernel*>(host.release());
    return how;
  }

  gpu::interface calls_{
      .version = gpu::interface_version,
      .own_process = 1,
      .context = nullptr,
      .probe = [](void* context, gpu::device_info* found, gpu::failure* why) -> gpu::call_status {
        try {
          return of(context).probe(*found, *why);
        } catch (const std::bad_alloc&) {
          return gpu::call_status::no_memory;
        }
      },
      .start = [](void* context, const gpu::request* wanted, gpu::kernel** started,
                  std::uint32_t* lanes, gpu::failure* why) -> gpu::call_status {
        *started = nullptr;
        *lanes = 0;
        *why = {};
        try {
          return of(context).start(*wanted, *started, *lanes, *why);
        } catch (const std::bad_alloc&) {
          return gpu::call_status::no_memory;
        }
      },
      .running = [](gpu::kernel* of, std::uint32_t* lanes, gpu::failure* why) -> gpu::call_status {
        messages::running::reported reported{};
        const auto how = host_of(of).ask<messages::running>({}, reported, *why);
        *lanes = static_cast<std::uint32_t>(reported.lanes);
        return how;
      },
      .ask_flush = [](gpu::kernel* of) -> std::uint32_t {
        messages::ask_flush::reported reported{};
        gpu::failure why;
        (void)host_of(of).ask<messages::ask_flush>({}, reported, why);
        return static_cast<std::uint32_t>(reported.number);
      },
      .flushed = [](gpu::kernel* of, std::uint32_t number) -> bool {
        messages::flushed::reported reported{};
        gpu::failure why;
        return host_of(of).ask<messages::flushed>({.number = number}, reported, why) ==
                   gpu::call_status::yes &&
               reported.yes != 0;
      },
      .leave =
          [](gpu::kernel* of) {
            messages::leave::reported reported{};
            gpu::failure why;
            (void)host_of(of).ask<messages::leave>({}, reported, why);
          },
      .close = [](gpu::kernel* of) { delete &host_of(of); },
      .upload = [](gpu::kernel* of, const gpu::slot_range* ranges, std::uint32_t count,
                   std::uint32_t* room, gpu::failure* why) -> gpu::call_status {
        messages::upload::asked asked{};
        asked.count = std::min(count, gpu::most_ranges);
        std::copy_n(ranges, asked.count, asked.ranges);
        messages::upload::reported reported{};
        const auto how = host_of(of).ask<messages::upload>(asked, reported, *why);
        *room =
            static_cast<std::uint32_t>(std::min<std::uint64_t>(reported.room, gpu::most_ranges));
        return how;
      },
      .scan = [](gpu::kernel* of, const gpu::scan_request* wanted, void* bytes,
                 std::uint64_t capacity, std::uint64_t* size,
                 gpu::failure* why) -> gpu::call_status {
        return host_of(of).scan(*wanted, {static_cast<unsigned char*>(bytes), capacity}, *size,
                                *why);
      },
  };
  const std::string name_;
  const std::vector<std::string> files_;
  const std::string program_;
  std::mutex mutex_;
  std::unique_ptr<gpu_host> waiting_;
  gpu::device_info found_{};
};

}  // namespace

std::expected<remote_gpu, std::string> find_remote_gpu(std::string_view name,
                                                       const std::vector<std::string>& files,
                                                       const std::string& host) {
  // Never destroyed: a target may still be closing its kernel when the program ends.
  static auto& mutex = *new std::mutex;
  static auto& all = *new std::map<std::string, std::unique_ptr<remote_plugin>>;
  std::string key = host;
  for (const std::string& file : files) key += '\n' + file;
  remote_plugin* found = nullptr;
  {
    const std::lock_guard lock(mutex);
    auto& place = all[key];
    if (place == nullptr) place = std::make_unique<remote_plugin>(name, files, host);
    found = place.get();
  }
  return found->find();
}

}  // namespace megakernel::detail
