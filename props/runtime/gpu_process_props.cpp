// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// A GPU in a process of its own, over a plugin that needs no GPU (fake_plugin.cpp): whatever
// becomes of that process, this one is told so in time, keeps nothing of it, and the next runtime
// works.
#include <dlfcn.h>
#include <fcntl.h>
#include <link.h>
#include <rapidcheck.h>
#include <signal.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <expected>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <memory>
#include <new>
#include <span>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include <megakernel/gpu/messages.h>

#include "fake_plugin.h"
#include "support.h"

#include "runtime_support.h"

import megakernel.testing;

// Calls of the system that fail at the n-th time. The definitions are this program's own, which go
// before those of the C library; the thread sanitizer wants to have them itself.
namespace {

struct failing_call {
  std::atomic<int> calls = 0;
  std::atomic<int> fail_at = -1;
  [[nodiscard]] bool fails() { return calls++ == fail_at; }
  void reset() { calls = 0, fail_at = -1; }
};
failing_call mapping;
failing_call making_file;
failing_call sizing_file;
failing_call pairing;
failing_call spawning;
failing_call making_object;  // by a `new` that does not throw
failing_call populating;
std::atomic<int> why_not_populated = 0;
std::atomic<bool> stops_what_it_spawns = false;

}  // namespace

#if !defined(PROPS_THREAD_SANITIZED)
extern "C" void* mmap(void* at, std::size_t size, int protection, int flags, int file, off_t from) {
  if (mapping.fails()) {
    errno = ENOMEM;
    return MAP_FAILED;
  }
  // NOLINTNEXTLINE(performance-no-int-to-ptr): the system's numbers are addresses
  return reinterpret_cast<void*>(::syscall(SYS_mmap, at, size, protection, flags, file, from));
}
extern "C" int memfd_create(const char* name, unsigned flags) noexcept {
  if (making_file.fails()) {
    errno = EPERM;
    return -1;
  }
  return static_cast<int>(::syscall(SYS_memfd_create, name, flags));
}
extern "C" int ftruncate(int file, off_t size) noexcept {
  if (sizing_file.fails()) {
    errno = ENOSPC;
    return -1;
  }
  return static_cast<int>(::syscall(SYS_ftruncate, file, size));
}
extern "C" int socketpair(int domain, int type, int protocol, int* ends) noexcept {
  if (pairing.fails()) {
    errno = EMFILE;
    return -1;
  }
  return static_cast<int>(::syscall(SYS_socketpair, domain, type, protocol, ends));
}
extern "C" int posix_spawn(pid_t* child, const char* path,
                           const posix_spawn_file_actions_t* actions,
                           const posix_spawnattr_t* attributes, char* const* arguments,
                           char* const* environment) {
  if (spawning.fails()) return EAGAIN;
  static const auto real =
      reinterpret_cast<decltype(&::posix_spawn)>(::dlsym(RTLD_NEXT, "posix_spawn"));
  const int result = real(child, path, actions, attributes, arguments, environment);
  if (result == 0 && stops_what_it_spawns) ::kill(*child, SIGSTOP);
  return result;
}
extern "C" int madvise(void* at, std::size_t size, int advice) noexcept {
  if (advice == MADV_POPULATE_WRITE && populating.fails()) {
    errno = why_not_populated;
    return -1;
  }
  return static_cast<int>(::syscall(SYS_madvise, at, size, advice));
}
void* operator new(std::size_t size, const std::nothrow_t&) noexcept {
  if (making_object.fails()) return nullptr;
  try {
    return ::operator new(size);
  } catch (const std::bad_alloc&) {
    return nullptr;
  }
}
#endif

namespace {

using namespace props;
using namespace std::chrono_literals;
using code = mk::error_code;
namespace gpu = mk::gpu;
namespace messages = gpu::messages;

constexpr std::uint32_t slots = 64;
constexpr auto own = mk::gpu_process::own;

std::ptrdiff_t open_files() {
  return std::distance(std::filesystem::directory_iterator("/proc/self/fd"), {});
}

/// The state and the parent of a process; nothing where there is none.
struct process_facts {
  char state = 0;
  pid_t parent = 0;
};
process_facts facts_of(const std::string& number) {
  std::ifstream file("/proc/" + number + "/stat");
  std::string all((std::istreambuf_iterator<char>(file)), {});
  process_facts facts;
  const std::size_t name_ends = all.rfind(')');
  if (name_ends != std::string::npos)
    std::sscanf(all.c_str() + name_ends + 1, " %c %d", &facts.state, &facts.parent);
  return facts;
}

std::vector<pid_t> children() {
  std::vector<pid_t> found;
  for (const auto& entry : std::filesystem::directory_iterator("/proc")) {
    const std::string number = entry.path().filename();
    if (number.find_first_not_of("0123456789") != std::string::npos) continue;
    if (facts_of(number).parent == ::getpid()) found.push_back(std::stoi(number));
  }
  return found;
}
pid_t only_child() {
  const auto all = children();
  require(all.size() == 1, std::to_string(all.size()) + " processes");
  return all[0];
}

/// Leaves no process and no descriptor.
class untouched {
 public:
  void check() const {
    require(children().empty(), "a process is left");
    require(open_files() == files_, "a descriptor is left");
  }

 private:
  std::ptrdiff_t files_ = open_files();
};

mk::gpu_plugin fake_gpu(const char* name = "fake_works") {
  auto found = mk::gpu_plugin::find(name, own);
  if (!found) require(false, found.error());
  return *found;
}
std::string refusal_of(const char* name) {
  const auto found = mk::gpu_plugin::find(name, own);
  require(!found, "it was found");
  return found.error();
}
bool says(const std::string& sentence, std::string_view part) {
  return sentence.find(part) != std::string::npos;
}

mk::kernel_session some_runtime(mk::schedule order = mk::schedule::ring_order) {
  static constexpr std::array<mk::word, 256> table{};
  return value_of(mk::kernel_session::make(
      {.layout = {.slots = slots, .arena_bytes = 100, .dfa_table = table, .shared = true},
       .order = order}));
}
std::unique_ptr<mk::kernel_target> target(const mk::gpu_options& options = {.lanes = 3}) {
  return value_of(mk::gpu_target::make(fake_gpu().calls(), options));
}

void publish(mk::kernel_session& kernel, fake::asked what, std::uint32_t index = 0,
             std::uint32_t value = 0) {
  const std::array<mk::word, 3> arguments{what, index, value};
  value_of(
      kernel.queue().publish({.op = mk::opcode{fake::mischief}, .arguments = arguments}, soon()));
}

/// Launches, has everything run, and stops.
void works(mk::kernel_session& kernel, const mk::gpu_options& options = {.lanes = 3},
           std::uint32_t count = 1000) {
  value_of(kernel.launch(target(options), soon()));
  for (std::uint32_t i = 0; i < count; ++i) publish(kernel, fake::add, i % 7, i);
  const mk::work_totals drained = value_of(kernel.drain(soon()));
  require(drained.done == count && drained.faults == 0 && drained.outstanding == 0,
          "not all was run");
  std::array<std::uint32_t, 7> sums{};
  for (std::uint32_t i = 0; i < count; ++i) sums[i % 7] += i;
  for (std::uint32_t i = 0; i < sums.size(); ++i)
    require(control(kernel, mk::abi::observable_word + i) == sums[i], "not what was published");
  const mk::work_totals stopped = value_of(kernel.stop(soon()));
  require(stopped.running == 0 && stopped.done == count, "not all has left");
}
void works() {
  auto kernel = some_runtime();
  works(kernel);
}

bool whole() {
  return once("a kernel in another process runs less, or is left behind", [] {
    const untouched before;
    for (const auto order : {mk::schedule::ring_order, mk::schedule::by_priority}) {
      auto kernel = some_runtime(order);
      works(kernel, {.lanes = 4, .order = order});
    }
    // Without an arena and a table, and with as many lanes as suit it.
    {
      auto bare = value_of(mk::kernel_session::make({.layout = {.slots = 4, .shared = true}}));
      works(bare, {});
    }
    before.check();
  });
}

bool carried_and_counted() {
  return once("what is published is not brought to the device, or its digest does not come", [] {
    const untouched before;
    {
      auto kernel = some_runtime();
      value_of(kernel.launch(target({.lanes = 2, .ring = mk::ring_memory::device}), soon()));
      const auto carried = [&] {
        return control(kernel, mk::abi::observable_word + fake::carried_word).load();
      };
      // Its lanes do not wait for that, so that the work may be done and gone before.
      std::uint32_t published = 0;
      do {
        for (std::uint32_t i = 0; i < 1000; ++i) publish(kernel, fake::add, i % 7, i);
        published += 1000;
      } while (carried() == 0 && published < 100'000);
      require(value_of(kernel.drain(soon())).done == published, "not all was run");
      require(carried() != 0 && carried() <= published,
              std::to_string(carried()) + " were brought");
      mk::live_digest figures;
      for (int turn = 0; turn < 2; ++turn) {
        value_of(kernel.digest(figures));
        require(figures.by_device(), "it did not come from the device");
        require(figures.summary().occupancy().done == slots, "it is of another ring");
      }
      // What the device has no answer to is answered here.
      value_of(kernel.digest(figures, {}, {.depth = 2, .width = 8}));
      require(!figures.by_device() && figures.sketches().total_slots() == slots);
      ::kill(only_child(), SIGKILL);
      const auto lost = kernel.digest(figures);
      require(!lost && lost.error().code == code::device_failed, "a dead process gives digests");
      require(figures.summary().occupancy().total_slots() == 0, "and leaves some");
    }
    before.check();
  });
}

bool finding() {
  return once("a component that cannot be had is not named, or leaves its process", [] {
    const untouched before;
    require(says(refusal_of("fake_old"), "another version"));
    require(says(refusal_of("fake_absent"), "the fake is not to be seen"));
    require(says(refusal_of("fake_crashing"), "ended by signal"));
    require(says(refusal_of("fake_nowhere"), "There is no GPU plugin"));
    before.check();
    const auto found = fake_gpu();
    require(found.device_name() == "a fake" && found.wave_size() == fake::wave_size);
    require(&fake_gpu().calls() == &found.calls(), "found twice, it is two");
    // The process that waits is looked after, and replaced where it has gone.
    const pid_t waiting = only_child();
    require(fake_gpu().wave_size() == fake::wave_size && only_child() == waiting);
    ::kill(waiting, SIGKILL);
    require(comes_true([&] { return facts_of(std::to_string(waiting)).state == 'Z'; }));
    works();
    before.check();
  });
}

/// For what it lives, the files of a plugin are looked for there.
class looked_for_in {
 public:
  explicit looked_for_in(const char* place) {
    if (place == nullptr) {
      ::unsetenv(name);
    } else {
      ::setenv(name, place, 1);
    }
  }
  ~looked_for_in() { ::setenv(name, usual_.c_str(), 1); }
  looked_for_in(const looked_for_in&) = delete;
  looked_for_in& operator=(const looked_for_in&) = delete;

 private:
  static constexpr auto name = "MEGAKERNEL_GPU_PATH";
  std::string usual_ = std::getenv(name);
};

class folder {
 public:
  folder() {
    std::string name = std::filesystem::temp_directory_path() / "megakernel-XXXXXX";
    require(::mkdtemp(name.data()) != nullptr, "no temporary folder");
    path_ = name;
  }
  ~folder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  folder(const folder&) = delete;
  folder& operator=(const folder&) = delete;
  [[nodiscard]] const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

bool in_this_process() {
  return once("a component of this process does not run, or is not named where there is none", [] {
    const untouched before;
    const auto why_not = [](const char* name) {
      const auto found = mk::gpu_plugin::find(name);
      require(!found, "it was found");
      return found.error();
    };
    require(says(why_not("fake_old"), "libfake_old.cuda.so: it was built for another version"));
    require(says(why_not("fake_absent"), "libfake_absent.cuda.so: the fake is not to be seen"));
    require(says(why_not("fake_nowhere"), "There is no GPU plugin: neither libfake_nowhere"));
    {
      const folder here;
      std::ofstream(here.path() / "libtext.cuda.so") << "no library";
      std::filesystem::copy_file(here.path() / "libtext.cuda.so", here.path() / "libtext.amd.so");
      // A library that is no plugin.
      link_map* standard = nullptr;
      void* const loaded = ::dlopen("libc.so.6", RTLD_NOW | RTLD_NOLOAD);
      require(loaded != nullptr && ::dlinfo(loaded, RTLD_DI_LINKMAP, &standard) == 0);
      std::filesystem::create_symlink(standard->l_name, here.path() / "libother.cuda.so");
      ::dlclose(loaded);
      const looked_for_in there(here.path().c_str());
      require(says(why_not("other"), "libother.cuda.so: it was built for another version"));
      const std::string why = why_not("text");
      require(says(why, "There is no GPU to run on (libtext.cuda.so: ") &&
                  says(why, "; libtext.amd.so: "),
              why);
    }
    for (const char* const nothing : {static_cast<const char*>(nullptr), ""}) {
      const looked_for_in usual(nothing);
      require(says(why_not("fake_nowhere"), "There is no GPU plugin"));
    }
    const auto found = mk::gpu_plugin::find("fake_works");
    require(found && found->device_name() == "a fake" && found->wave_size() == fake::wave_size);
    auto kernel = value_of(mk::kernel_session::make({.layout = {.slots = slots}}));
    value_of(kernel.launch(value_of(mk::gpu_target::make(found->calls(), {.lanes = 2})), soon()));
    for (std::uint32_t i = 0; i < 100; ++i) publish(kernel, fake::add, 3, i);
    require(value_of(kernel.drain(soon())).done == 100 &&
            control(kernel, mk::abi::observable_word + 3) == 4950);
    require(value_of(kernel.stop(soon())).running == 0);
    before.check();
  });
}

/// After `lose` has been done to a kernel that runs, all that is asked is answered so, in time.
template <class Lose>
void is_lost(Lose lose, std::uint64_t number, std::chrono::seconds longest = 4s) {
  const untouched before;
  {
    auto kernel = some_runtime();
    value_of(kernel.launch(target(), soon()));
    for (std::uint32_t i = 0; i < 30; ++i) publish(kernel, fake::add);
    // Of a tenant that has no mask: it will be outstanding for ever.
    value_of(kernel.queue().publish({.tenant = 40}));
    const auto start = std::chrono::steady_clock::now();
    lose(kernel);
    const mk::error wanted{.code = code::device_failed, .found = number};
    mk::result<mk::work_totals> drained;
    require(comes_true([&] {
      const auto seen = kernel.observe();
      require(seen || seen.error() == wanted, "a look fails for another reason");
      return !(drained = kernel.drain(mk::deadline::immediate())) &&
             drained.error().code != code::deadline_passed;
    }));
    require(drained.error() == wanted, drained.error().message().text());
    const auto once_more = std::chrono::steady_clock::now();
    require(once_more - start < longest, "that took too long");
    require(refused(kernel.drain(soon()), wanted), "it is not said again");
    require(value_of(kernel.stop(soon())).running == 0);
    require(std::chrono::steady_clock::now() - once_more < 1s, "the lost one is asked again");
    require(children().empty(), "its process is left");
  }
  before.check();
  works();
  before.check();
}

bool losing() {
  return once("a device that is lost takes the program along, or is not replaced", [] {
    is_lost([](auto&) { ::kill(only_child(), SIGKILL); }, 0);
    is_lost([](auto& kernel) { publish(kernel, fake::crash); }, 0);
    is_lost([](auto& kernel) { publish(kernel, fake::lose); }, fake::lost_number);
    is_lost([](auto&) { ::kill(only_child(), SIGSTOP); }, 0, 12s);
    is_lost([](auto& kernel) { publish(kernel, fake::hang_driver); }, 0, 12s);
  });
}

bool not_returning() {
  return once("a handler that does not return keeps its process", [] {
    const untouched before;
    {
      auto kernel = some_runtime();
      value_of(kernel.launch(target(), soon()));
      publish(kernel, fake::never_return);
      require(comes_true(
          [&] { return status(kernel.buffers(), 0) == mk::word(mk::slot_status::claimed); }));
      require(!kernel.stop(mk::deadline::in(100ms)), "it has left");
    }
    before.check();
    works();
  });
}

bool refusing() {
  return once("a launch that is refused leaves its process, or the runtime unusable", [] {
    const untouched before;
    auto unshared = value_of(mk::kernel_session::make({.layout = {.slots = slots}}));
    require(refused(unshared.launch(target(), soon()), mk::error{.code = code::memory_not_shared}));
    {
      auto kernel = some_runtime();
      require(refused(
          kernel.launch(target({.lanes = 100}), soon()),
          mk::error{.code = code::device_lanes_refused, .found = 100, .bound = fake::most_lanes}));
      works(kernel);
    }
    before.check();
    // Two at once have a process each; the one's end is not the other's.
    auto one = some_runtime();
    value_of(one.launch(target(), soon()));
    const pid_t first = only_child();
    auto other = some_runtime();
    value_of(other.launch(target(), soon()));
    require(children().size() == 2);
    ::kill(first, SIGKILL);
    publish(other, fake::add, 3, 5);
    require(value_of(other.drain(soon())).done == 1);
    value_of(other.stop(soon()));
  });
}

bool ending_while_lanes_run() {
  return once("lanes are not told to leave by a target that ends", [] {
    auto buffers = value_of(mk::kernel_buffers::make({.slots = slots, .shared = true}));
    const untouched before;
    mk::doorbell bell;
    auto its = value_of(mk::gpu_target::make(fake_gpu().calls(), {.lanes = 2}));
    value_of(its->launch({.buffers = buffers, .bell = bell}));
    require(its->running() == 2);
    const auto start = std::chrono::steady_clock::now();
    its.reset();
    // Who is not told is waited for for two seconds.
    require(std::chrono::steady_clock::now() - start < 2s);
    before.check();
  });
}

bool other_memory() {
  return once("a kernel is started over memory that its process does not have", [] {
    const auto buffers = value_of(mk::kernel_buffers::make({.slots = slots, .shared = true}));
    const untouched before;
    const mk::shared_memory_handle share = buffers.share();
    const auto& calls = fake_gpu().calls();
    std::array<mk::word, mk::abi::control_words> elsewhere{};
    const auto start_over = [&](mk::word* control, int descriptor) {
      gpu::request wanted{};
      wanted.where = buffers.where();
      wanted.where.control = control;
      wanted.lanes = 2;
      wanted.memory = {.at = reinterpret_cast<unsigned char*>(share.at),
                       .bytes = share.bytes,
                       .descriptor = descriptor};
      gpu::kernel* kernel = nullptr;
      std::uint32_t lanes = 0;
      gpu::failure why{};
      const auto how = calls.start(calls.context, &wanted, &kernel, &lanes, &why);
      if (kernel != nullptr) calls.close(kernel);
      return how;
    };
    require(start_over(elsewhere.data(), share.descriptor) == gpu::call_status::not_shared);
    require(start_over(buffers.where().control, -1) == gpu::call_status::not_shared);
    require(start_over(buffers.where().control, share.descriptor) == gpu::call_status::yes);
    before.check();
  });
}

bool interrupted() {
  return once("a signal ends the wait for an answer", [] {
    const untouched before;
    struct sigaction nothing{};
    struct sigaction usual{};
    nothing.sa_handler = [](int) {};
    ::sigaction(SIGUSR1, &nothing, &usual);
    {
      auto kernel = some_runtime();
      value_of(kernel.launch(target(), soon()));
      const pid_t child = only_child();
      ::kill(child, SIGSTOP);
      std::jthread other([child, self = ::pthread_self()] {
        for (int i = 0; i < 100; ++i) {
          std::this_thread::sleep_for(1ms);
          ::pthread_kill(self, SIGUSR1);
        }
        ::kill(child, SIGCONT);
      });
      publish(kernel, fake::add, 2, 5);
      const auto drained = value_of(kernel.drain(soon()));
      other.join();
      require(drained.done == 1 && value_of(kernel.stop(soon())).running == 0);
    }
    ::sigaction(SIGUSR1, &usual, nullptr);
    before.check();
  });
}

bool children_of_nobody() {
  return once("a program that keeps no children waits for one that has ended", [] {
    const untouched before;
    const auto usual = ::signal(SIGCHLD, SIG_IGN);
    works();
    ::signal(SIGCHLD, usual);
    before.check();
  });
}

/// What the GPU's process is to answer wrongly, by the name of its plugin.
constexpr std::array<const char*, 5> lies{"number", "call", "kind", "padding", "length"};
constexpr const char* too_much = "too_much";

/// The GPU's process, where it answers what it should not.
int lying_host(const std::string& lie) {
  std::array<unsigned char, messages::most_bytes> question{};
  for (;;) {
    const ssize_t size = ::recv(3, question.data(), question.size(), 0);
    messages::header head{};
    if (size < static_cast<ssize_t>(sizeof head)) ::_exit(0);
    std::memcpy(&head, question.data(), sizeof head);
    if (lie == "nothing") ::_exit(5);
    const auto answer = [&]<class Call>(Call) {
      messages::reply<Call> reply{};
      reply.head = head;
      if (lie == "number") ++reply.head.number;
      if (lie == "call") ++reply.head.call;
      if (lie == "kind") reply.how = static_cast<std::uint32_t>(gpu::call_status::busy) + 1;
      if (lie == "padding") reply.zero = 1;
      if constexpr (requires { reply.body.busy; }) reply.body.bytes = 1u << 30;
      (void)::send(3, &reply, sizeof reply - (lie == "length" ? 1 : 0), 0);
    };
    switch (static_cast<messages::call>(head.call)) {
      case messages::call::open:
        answer(messages::open{});
        break;
      case messages::call::start:
        answer(messages::start{});
        break;
      case messages::call::running:
        answer(messages::running{});
        break;
      case messages::call::ask_flush:
        answer(messages::ask_flush{});
        break;
      case messages::call::flushed:
        answer(messages::flushed{});
        break;
      case messages::call::scan:
        answer(messages::scan{});
        break;
      case messages::call::leave:
      case messages::call::upload:
        ::_exit(1);
    }
  }
}

bool lying() {
  return once("a process that answers what was not asked is believed", [] {
    const untouched before;
    {
      const folder here;
      std::filesystem::create_symlink(std::filesystem::read_symlink("/proc/self/exe"),
                                      here.path() / "megakernel_gpu_host");
      const looked_for_in there(here.path().c_str());
      for (const char* const lie : lies) {
        const std::string why = refusal_of(lie);
        require(says(why, "answers what was not asked"), why);
        before.check();
      }
      const std::string ended = refusal_of("nothing");
      require(says(ended, "ended with status 5"), ended);
      auto kernel = some_runtime();
      value_of(kernel.launch(
          value_of(mk::gpu_target::make(fake_gpu(too_much).calls(), {.lanes = 2})), soon()));
      mk::live_digest figures;
      const auto got = kernel.digest(figures);
      require(refused(got, mk::error{.code = code::device_failed}), "a digest of a gigabyte");
      require(figures.summary().occupancy().total_slots() == 0);
    }
    before.check();
  });
}

/// A process that is started finds no memory here to be remembered in, or no more processes.
bool no_second_process() {
  return once("a process that cannot be kept is forgotten, or spoils the one that is there", [] {
    const untouched before;
    {
      auto one = some_runtime();
      const auto plugin = fake_gpu();
      const auto& calls = plugin.calls();
      value_of(one.launch(target(), soon()));  // over the process that has waited
      require(children().size() == 1);

      spawning.reset();
      spawning.fail_at = 0;
      gpu::device_info info{};
      gpu::failure why{};
      const auto looked = calls.probe(calls.context, &info, &why);
      require(looked == gpu::call_status::no_gpu && says(why.sentence, "cannot be started"));
      const auto refused_with = [&](const mk::error& wanted, failing_call& call) {
        auto other = some_runtime();
        auto its = value_of(mk::gpu_target::make(calls, {.lanes = 3}));
        call.reset();
        call.fail_at = 0;
        const auto launched = other.launch(std::move(its), soon());
        call.reset();
        require(refused(launched, wanted));
      };
      refused_with({.code = code::device_failed}, spawning);
      require(children().size() == 1);

      stops_what_it_spawns = true;
      refused_with({.code = code::out_of_memory, .found = slots, .bound = mk::abi::slot_bytes},
                   making_object);
      making_object.fail_at = 0;
      const bool no_memory = calls.probe(calls.context, &info, &why) == gpu::call_status::no_memory;
      making_object.reset();
      stops_what_it_spawns = false;
      require(no_memory && children().size() == 3, "stopped, they are there still");
      for (const pid_t child : children()) ::kill(child, SIGCONT);
      require(comes_true([] {
        // A zombie cannot be waited for before its last thread has gone, too.
        std::ptrdiff_t ended = 0;
        for (const pid_t child : children()) {
          siginfo_t reported{};
          ended += ::waitid(P_PID, static_cast<id_t>(child), &reported,
                            WEXITED | WNOHANG | WNOWAIT) == 0 &&
                   reported.si_pid == child;
        }
        return ended == 2;
      }));
      require(calls.probe(calls.context, &info, &why) == gpu::call_status::yes &&
              info.wave_size == fake::wave_size);
      require(children().size() == 2, "what has ended is looked after by the next");
    }
    works();
    before.check();
  });
}

bool system_failures() {
  return once("a call of the system that fails is no value, or leaks", [] {
    const untouched before;
    const mk::buffer_layout shared{.slots = slots, .shared = true};
    const auto fails = [&](failing_call& call, int at, mk::error wanted) {
      call.reset();
      call.fail_at = at;
      const auto made = mk::kernel_buffers::make(shared);
      call.reset();
      require(refused(made, wanted), made ? "made" : made.error().message().text());
      before.check();
      value_of(mk::kernel_buffers::make(shared));
    };
    fails(making_file, 0, {.code = code::memory_not_shared, .found = EPERM});
    fails(sizing_file, 0, {.code = code::memory_not_shared, .found = ENOSPC});
    // The address space, then the control buffer, the ring, the debug log and the IO queue.
    for (int at = 0; at < 5; ++at) {
      mapping.reset();
      mapping.fail_at = at;
      const auto made = mk::kernel_buffers::make(shared);
      mapping.reset();
      require(!made && made.error().code == code::out_of_memory, "no memory, and none is missed");
      before.check();
    }
    const auto huge = mk::kernel_buffers::make({.slots = 1, .arena_bytes = ~std::uint64_t{0}});
    require(refused(
        huge, mk::error{.code = code::out_of_memory, .found = ~std::uint64_t{0}, .bound = 1}));
    for (const auto& [call, number] : {std::pair(&pairing, EMFILE), std::pair(&spawning, EAGAIN)}) {
      call->reset();
      call->fail_at = 0;
      const std::string why = refusal_of("fake_works");
      call->reset();
      require(says(why, "error number is " + std::to_string(number)), why);
      before.check();
    }
    {
      // Two descriptors are left for the socket, and none for the copy of its end.
      std::array<int, 2> free{::dup(0), ::dup(0)};
      for (const int file : free) ::close(file);
      rlimit usual{};
      ::getrlimit(RLIMIT_NOFILE, &usual);
      const rlimit few{.rlim_cur = static_cast<rlim_t>(free[1]) + 1, .rlim_max = usual.rlim_max};
      ::setrlimit(RLIMIT_NOFILE, &few);
      const std::string why = refusal_of("fake_works");
      ::setrlimit(RLIMIT_NOFILE, &usual);
      require(says(why, "there is no descriptor"), why);
      before.check();
    }
    // Pages that cannot be had now are had later, unless there is no memory for them.
    const mk::buffer_layout large{.slots = slots, .arena_bytes = std::uint64_t{4} << 20};
    for (const int number : {EINVAL, ENOMEM}) {
      populating.reset();
      populating.fail_at = 0;
      why_not_populated = number;
      const auto made = mk::kernel_buffers::make(large);
      populating.reset();
      require(code_of(made) == (number == ENOMEM ? code::out_of_memory : code{}));
    }
    {
      // A stack for an actor.
      auto buffers = value_of(mk::kernel_buffers::make({.slots = 1}));
      auto stepper = value_of(mk::stepper::over(buffers));
      const auto actor = [](mk::stepping_memory&, const mk::device::launch&) {};
      mapping.reset();
      mapping.fail_at = 0;
      const auto added = stepper.add(actor);
      mapping.reset();
      require(code_of(added) == code::out_of_memory && stepper.actors() == 0);
      require(value_of(stepper.add(actor)) == 0);
    }
    {
      // A file for digests: they are made here instead.
      auto kernel = some_runtime();
      value_of(kernel.launch(target(), soon()));
      mk::live_digest figures;
      making_file.reset();
      making_file.fail_at = 0;
      value_of(kernel.digest(figures));
      making_file.reset();
      require(!figures.by_device() && figures.summary().occupancy().total_slots() == slots);
      value_of(kernel.digest(figures));
      require(figures.by_device());
    }
    works();
    before.check();
  });
}

bool no_program() {
  return once("a program that is missing is not missed", [] {
    const untouched before;
    const std::string path = std::getenv("MEGAKERNEL_GPU_PATH");
    require(mk::has_gpu_process());
    ::setenv("MEGAKERNEL_GPU_PATH", "/nowhere", 1);
    const bool there = mk::has_gpu_process();
    const std::string why = refusal_of("fake_works");
    ::setenv("MEGAKERNEL_GPU_PATH", path.c_str(), 1);
    require(!there && says(why, "megakernel_gpu_host"), why);
    before.check();
  });
}

/// The program's other half: launches, says which process has the kernel, and is killed.
int orphan() {
  auto kernel = some_runtime();
  if (!kernel.launch(target(), soon())) return 1;
  std::printf("%d\n", children()[0]);
  std::fflush(stdout);
  std::abort();
}

bool orphans() {
  return once("the GPU's process outlives the program", [] {
    std::array<int, 2> ends{};
    require(::pipe2(ends.data(), O_CLOEXEC) == 0);
    posix_spawn_file_actions_t actions;
    ::posix_spawn_file_actions_init(&actions);
    ::posix_spawn_file_actions_adddup2(&actions, ends[1], STDOUT_FILENO);
    std::string self = "/proc/self/exe";
    std::string word = "orphan";
    std::array<char*, 3> arguments{self.data(), word.data(), nullptr};
    pid_t program = 0;
    require(::posix_spawn(&program, self.c_str(), &actions, nullptr, arguments.data(), ::environ) ==
            0);
    ::posix_spawn_file_actions_destroy(&actions);
    ::close(ends[1]);
    std::array<char, 32> text{};
    const ssize_t size = ::read(ends[0], text.data(), text.size() - 1);
    ::close(ends[0]);
    int status = 0;
    ::waitpid(program, &status, 0);
    require(size > 1 && !WIFEXITED(status), "it did not come so far");
    const std::string number = std::to_string(std::atoi(text.data()));
    require(comes_true([&] {
      const char state = facts_of(number).state;
      return state == 0 || state == 'Z';
    }));
  });
}

}  // namespace

int main(int count, char** arguments) {
  const std::string program = arguments[0];
  if (program.ends_with("/megakernel_gpu_host") && count > 2) return lying_host(arguments[2]);
  if (count > 1) return orphan();
  bool ok = whole();
  ok &= carried_and_counted();
  ok &= finding();
  ok &= in_this_process();
  ok &= ending_while_lanes_run();
  ok &= other_memory();
  ok &= interrupted();
  ok &= children_of_nobody();
  ok &= lying();
  ok &= refusing();
  ok &= not_returning();
  ok &= losing();
  if (!thread_sanitized) {
    ok &= system_failures();
    ok &= no_second_process();
  }
  ok &= no_program();
  ok &= orphans();
  return ok ? 0 : 1;
}
