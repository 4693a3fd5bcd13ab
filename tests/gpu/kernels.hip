// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The kernels themselves, started as the runtime starts them.
//
// One-shot: thousands of random programs, hostile ones included, whose end does not depend on the
// order of their slots; ring, control and observable words are compared to the last byte with what
// the interpreter does on this processor. Persistent: threads publish while the kernel runs, in
// ring order and anywhere; every slot is run exactly once, with what was published in it.
//
// `--small` is for sanitizers; `--lost` only crashes a kernel and looks what is said of it.
//
// Exit status: 0 all right, 1 something is not, 77 no GPU.
#include <megakernel/device/shared_memory_policy.h>
#include <megakernel/gpu/plugin_main.h>

#include "../../bench/gpu/gpu_support.h"

#include <atomic>
#include <cstring>
#include <deque>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

namespace {

using namespace megakernel;
using namespace megakernel::device;

/// Adds its first argument to a word of the arena, and counts that it ran in the next one.
struct tally_up {
  static constexpr opcode op{9};
  struct arguments {
    word nonce, at, how;
  };
  // No random argument is one of these.
  static constexpr word wait = 0xA11F'0001;   ///< until somebody has written its word
  static constexpr word crash = 0xA11F'0002;  ///< and take the device along
  template <class Context>
  MEGAKERNEL_HOST_DEVICE outcome operator()(const arguments& a, Context& context) const {
    if (a.how == 1) return outcome::fault(fault_code{100});
#if MEGAKERNEL_ON_DEVICE && defined(__HIP__)
    if (a.how == crash) __builtin_trap();
#elif MEGAKERNEL_ON_DEVICE
    if (a.how == crash) __trap();
#endif
    const auto pair = context.template arena<word>(uint64_t{a.at} * 8, 2);
    if (!pair) return outcome::fault(fault_code{101});
#if MEGAKERNEL_ON_DEVICE
    while (a.how == wait && load(pair.data, relaxed, in_system) == 0) pause<1000>();
    fetch_add(pair.data, a.nonce, relaxed, in_device);
    fetch_add(pair.data + 1, 1u, relaxed, in_device);
#else
    pair[0] += a.nonce;
    pair[1] += 1;
#endif
    return outcome::done();
  }
};
using opcodes = handlers<tally_up>;

int wrong = 0;
__attribute__((format(printf, 1, 2))) void report(const char* format, ...) {
  if (++wrong > 40) return;
  std::va_list arguments;
  va_start(arguments, format);
  std::vprintf(format, arguments);
  va_end(arguments);
  std::putchar('\n');
}

class prng {
 public:
  explicit prng(uint64_t seed) : state_(seed) {}
  word next() {
    uint64_t z = state_ += 0x9E37'79B9'7F4A'7C15u;
    z = (z ^ z >> 30) * 0xBF58'476D'1CE4'E5B9u;
    z = (z ^ z >> 27) * 0x94D0'49BB'1331'11EBu;
    return static_cast<word>((z ^ z >> 31) >> 16);
  }
  word below(word n) { return next() % n; }
  bool one_in(word n) { return below(n) == 0; }

 private:
  uint64_t state_;
};

/// Buffers of one system, laid out in one block of words that the device can be given a copy of.
struct system_words {
  word slots;
  word control_words;
  word dfa_words;
  word arena_words;
  bool quotas;
  std::vector<word> words;

  [[nodiscard]] std::size_t control_at() const { return std::size_t{slots} * abi::slot_words; }
  [[nodiscard]] std::size_t arena_at() const {
    return (control_at() + control_words + 15) / 16 * 16;
  }
  [[nodiscard]] std::size_t dfa_at() const { return (arena_at() + arena_words + 15) / 16 * 16; }
  [[nodiscard]] std::size_t total() const { return (dfa_at() + dfa_words + 15) / 16 * 16; }
  /// As a launch over a copy of the words at `base`.
  [[nodiscard]] launch over(word* base) const {
    launch where;
    where.ring = base;
    where.slots = slots;
    where.control = base + control_at();
    where.control_words = control_words;
    where.arena = reinterpret_cast<unsigned char*>(base + arena_at());
    where.arena_bytes = uint64_t{arena_words} * sizeof(word);
    where.dfa_table = dfa_words == 0 ? nullptr : base + dfa_at();
    where.dfa_words = dfa_words;
    where.quotas = quotas;
    return where;
  }
};

/// Words of their own for slot `i`: it writes nowhere else, so no order matters.
constexpr word first_own = abi::observable_word + 1;
constexpr word own = 4;

word hostile_address(prng& d, word control_words) {
  const word edges[] = {
      0,           2,           3,           31,         32, 159, control_words, control_words + 1,
      0x7FFF'FFFF, 0x8000'0000, 0xFFFF'FF60, 0xFFFF'FFFF};
  return d.one_in(2) ? edges[d.below(sizeof edges / sizeof *edges)]
                     : control_words + d.below(0xFFFF'FFFFu - control_words);
}

/// Arguments of slot `i`: within its own words, or such that it faults.
void fill_slot(prng& d, const system_words& s, word i, word* slot) {
  const word mine = first_own + own * i;
  const word swaps = first_own + own * s.slots + i / 160 * 320 + i % 160;
  const bool bad = d.one_in(4);
  constexpr word ops[] = {0, 1,  2,      3,      4,           5,           6, 7,
                          9, 10, 0xFFFD, 0xFFFE, 0x8000'0001, 0xFFFF'FFFF, 8, 0xFFF5};
  const word op = ops[d.below(sizeof ops / sizeof *ops)];
  slot[abi::opcode_word] = op;
  slot[abi::tenant_word] = d.one_in(16) ? hostile_address(d, s.control_words) : d.below(6);
  // SHUTDOWN only from a tenant that may not: what a one-shot kernel leaves is a matter of order.
  if (op == 0xFFFF'FFFF && slot[abi::tenant_word] == 0) slot[abi::tenant_word] = 1;
  slot[abi::priority_word] = d.below(7);
  word* const a = slot + abi::argument_word;
  for (word k = 0; k < abi::argument_words; ++k) a[k] = d.next();
  const word outside = hostile_address(d, s.control_words);
  switch (op) {
    case 1:
    case 2:
      a[1] = bad ? outside : mine + d.below(own);
      break;
    case 3:
      // Masks and own words: what no slot changes.
      a[0] = bad && outside >= abi::observable_word ? outside : 3 + d.below(29);
      a[1] = bad && a[0] < 32 ? 0xFFFF'FFF0 : mine - abi::observable_word;
      break;
    case 4:
      a[0] = bad ? outside : swaps;
      if (d.one_in(2)) a[1] = 0;
      break;
    case 5:
      a[2] = d.one_in(8) ? 0 : 1 + d.below(2);
      a[0] = bad ? s.control_words - d.below(2) : 3 + d.below(20);
      a[1] = d.one_in(6) ? outside : mine + d.below(2);
      break;
    case 6:
      a[0] = d.below(bad ? 8 : 2);
      a[1] = d.below(300);
      a[2] = d.one_in(5) ? 0xFFFF'FF00 + d.below(200) : mine - abi::observable_word;
      break;
    case 7:
      a[1] = 4711;
      break;
    case 9:
      a[1] = bad ? d.next() : i;
      a[2] = d.below(5);
      break;
    case 0x8000'0001: {
      // NOP, ADD into the first own word, STORE into the second; sometimes malformed.
      word bytes[8] = {3, 4, 2, 0, 0, 2, 1, 2};
      constexpr word damage[][2] = {{0, 255}, {1, 40}, {3, 3}, {4, 200}};
      if (const word k = d.below(12); k < 4) bytes[damage[k][0]] = damage[k][1];
      for (word k = 0; k < 2; ++k)
        a[k] =
            bytes[4 * k] | bytes[4 * k + 1] << 8 | bytes[4 * k + 2] << 16 | bytes[4 * k + 3] << 24;
      a[3] = bad ? outside : mine;
      a[5] = mine + 1;
      break;
    }
    default:
      break;
  }
  slot[abi::status_word] = d.one_in(5) ? d.below(10) : 1;
  if (slot[abi::status_word] == word(slot_status::wait_io)) slot[abi::io_link_word] = d.below(5);
}

system_words random_system(uint64_t seed, word most_slots) {
  prng d(seed);
  system_words s;
  s.slots = 1 + d.below(most_slots);
  s.control_words = first_own + own * s.slots + (s.slots / 160 + 1) * 320;
  s.dfa_words = d.one_in(3) ? 0 : 700;
  s.arena_words = 2 * s.slots;
  s.quotas = d.one_in(2);
  s.words.assign(s.total(), 0);
  word* const control = s.words.data() + s.control_at();
  control[abi::tenant_base_word] = d.one_in(32) ? d.next() : d.one_in(8) ? 4 : 3;
  for (word t = 0; t < abi::tenant_masks; ++t) control[3 + t] = d.one_in(6) ? 0 : d.next() | 1;
  // Enough for all of a tenant's slots, or nothing: which slots get a token is a matter of order.
  for (word t = 0; t < abi::tenant_quotas; ++t) control[32 + t] = d.one_in(6) ? 0 : 10'000'000;
  if (d.one_in(3)) control[abi::done_count_word] = 0xFFFF'FFF0 + d.below(16);
  if (d.one_in(3)) control[abi::metric_word + 1] = 0xFFFF'FFF0 + d.below(16);
  for (word i = first_own; i < s.control_words; ++i) control[i] = d.one_in(2) ? 0 : d.next();
  for (word i = 0; i < s.arena_words; ++i) s.words[s.arena_at() + i] = d.next();
  for (word i = 0; i < s.dfa_words; ++i) s.words[s.dfa_at() + i] = d.next();
  for (word i = 0; i < s.slots; ++i) fill_slot(d, s, i, s.words.data() + i * abi::slot_words);
  return s;
}

void run_here(const system_words& s, word* words) {
  const launch where = s.over(words);
  shared_memory_policy memory;
  direct_counters<shared_memory_policy> counters(where, memory);
  using interpreter_type =
      interpreter<shared_memory_policy, direct_counters<shared_memory_policy>, opcodes>;
  interpreter_type slots(where, memory, counters);
  enter(memory, where);
  ring_lane<interpreter_type, direct_counters<shared_memory_policy>>(where, slots, counters, {})
      .run_once();
  leave(memory, where);
}

bool same(const system_words& s, const word* here, const word* there, const char* how, word n) {
  if (std::memcmp(here, there, s.total() * sizeof(word)) == 0) return true;
  std::size_t at = 0;
  while (here[at] == there[at]) ++at;
  const char* const part = at < s.control_at() ? "ring" : at < s.arena_at() ? "control" : "arena";
  const std::size_t begin = at < s.control_at() ? 0
                            : at < s.arena_at() ? s.control_at()
                                                : s.arena_at();
  const std::size_t in = at - begin;
  report("%s, program %u of %u slots: %s word %zu is %u here and %u on the device (opcode %x)", how,
         n, s.slots, part, in, here[at], there[at],
         at < s.control_at() ? s.words[in / 16 * 16 + 1] : 0);
  return false;
}

void test_one_shot(const gpu_support::properties& gpu, const gpu_support::stream& stream,
                   uint64_t seed, bool small, gpu_support::watchdog& dog) {
  const word programs = small ? 200 : 6000;
  constexpr word most_slots = 20'000;
  const system_words largest = [] {
    system_words s{};
    s.slots = most_slots;
    s.control_words = first_own + own * s.slots + (s.slots / 160 + 1) * 320;
    s.dfa_words = 700;
    s.arena_words = 2 * s.slots;
    return s;
  }();
  const gpu_support::device_memory<word> on_card(largest.total());
  const gpu_support::pinned_memory<word> shared(largest.total());
  const auto once = run_once<visibility::at_exit, opcodes>;
  const auto watched = run_once<visibility::host, opcodes>;
  const auto copied = run_once<visibility::mirrored, opcodes>;
  const auto at_once = run_once_counting_at_once<opcodes>;
  const uint32_t lanes = most_lanes_of_block;
  const uint32_t most = gpu_support::resident(once, lanes, gpu).blocks;
  uint64_t done = 0;
  uint64_t faults[8] = {};
  std::vector<word> there;
  for (word n = 0; n < programs; ++n) {
    dog.begin("a random program");
    const system_words s = random_system(seed + n, n % 100 == 0 ? most_slots : 200);
    std::vector<word> here = s.words;
    run_here(s, here.data());
    const uint32_t blocks = std::min(most, (s.slots + lanes - 1) / lanes);
    const std::size_t bytes = s.total() * sizeof(word);
    there.resize(s.total());
    const auto in_device_memory = [&](auto kernel, const char* how) {
      CHECKED(hipMemcpyAsync(on_card.data(), s.words.data(), bytes, hipMemcpyHostToDevice, stream));
      gpu_support::launch(kernel, {n % 3 == 0 ? 1 : blocks, lanes}, stream, s.over(on_card.data()),
                          swap_locks{});
      CHECKED(hipGetLastError());
      CHECKED(hipMemcpyAsync(there.data(), on_card.data(), bytes, hipMemcpyDeviceToHost, stream));
      stream.wait();
      same(s, here.data(), there.data(), how, n);
    };
    in_device_memory(once, "one-shot");
    if (n % 4 == 1) in_device_memory(at_once, "one-shot, counting at once");
    if (n % 4 == 2) {
      std::memcpy(shared.host(), s.words.data(), bytes);
      gpu_support::launch(watched, {blocks, lanes}, stream, s.over(shared.device()), swap_locks{});
      CHECKED(hipGetLastError());
      stream.wait();
      same(s, here.data(), shared.host(), "one-shot in the host's memory", n);
    }
    if (n % 4 == 3) {
      // The ring in the device's memory, all else and the copy of the statuses in the host's.
      std::memcpy(shared.host(), s.words.data(), bytes);
      launch where = s.over(shared.device());
      where.host_ring = where.ring;
      where.ring = on_card.data();
      CHECKED(hipMemcpyAsync(on_card.data(), s.words.data(), uint64_t{s.slots} * abi::slot_bytes,
                             hipMemcpyHostToDevice, stream));
      gpu_support::launch(copied, {blocks, lanes}, stream, where, swap_locks{});
      CHECKED(hipGetLastError());
      there.resize(s.slots * std::size_t{abi::slot_words});
      CHECKED(hipMemcpyAsync(there.data(), on_card.data(), there.size() * sizeof(word),
                             hipMemcpyDeviceToHost, stream));
      stream.wait();
      same(s, here.data(), shared.host(), "one-shot over a copy, as the host sees it", n);
      if (std::memcmp(here.data(), there.data(), there.size() * sizeof(word)) != 0)
        report("one-shot over a copy, program %u: the device's ring is not the host's", n);
    }
    for (word i = 0; i < s.slots; ++i) {
      const word* const slot = here.data() + std::size_t{i} * abi::slot_words;
      done += slot[0] == word(slot_status::done);
      if (slot[0] == word(slot_status::fault) && s.words[i * 16] != word(slot_status::fault))
        ++faults[slot[15] < 7 ? slot[15] : 7];
    }
  }
  std::printf(
      "one-shot: %u programs; %llu slots DONE, faults by code 1 to 6 %llu %llu %llu %llu "
      "%llu %llu, the handler's %llu\n",
      programs, (unsigned long long)done, (unsigned long long)faults[1],
      (unsigned long long)faults[2], (unsigned long long)faults[3], (unsigned long long)faults[4],
      (unsigned long long)faults[5], (unsigned long long)faults[6], (unsigned long long)faults[7]);
  for (int code = 1; code < 8; ++code)
    if (!small && faults[code] == 0)
      report("no fault of code %d occurred: the test tests too little", code);
}

// The persistent forms

word get(const word* at) { return __atomic_load_n(at, __ATOMIC_ACQUIRE); }
void put(word* at, word value) { __atomic_store_n(at, value, __ATOMIC_RELEASE); }

/// A kernel of the plugin over buffers of this process.
class running_kernel {
 public:
  running_kernel(word slots, bool by_priority, uint32_t lanes, uint64_t quantum,
                 bool device_ring = false)
      : slots_(slots), memory_(pages_for(slots)) {
    word* const words = memory_.get();
    where_.ring = words;
    where_.slots = slots;
    where_.control = words + slots * 16;
    where_.control_words = control_words;
    where_.arena = reinterpret_cast<unsigned char*>(words + slots * 16 + control_words + 16);
    where_.arena_bytes = slots * 8;
    word* const control = where_.control;
    control[abi::tenant_base_word] = 3;
    for (word t = 0; t < abi::tenant_masks; ++t) control[3 + t] = t == 7 ? 0 : ~word{0};
    for (word level = 1; level < 6; ++level)
      control[abi::priority_offset_word + level] = static_cast<word>(uint64_t{slots} * level / 5);
    gpu::request wanted{};
    wanted.where = where_;
    wanted.by_priority = by_priority;
    wanted.lanes = lanes;
    wanted.quantum = quantum;
    wanted.device_ring = device_ring;
    gpu::failure why{};
    if (api_->start(nullptr, &wanted, &kernel_, &lanes_, &why) != gpu::call_status::yes)
      gpu_support::fail("a kernel did not start: %s", why.sentence);
    if (device_ring) upload_scanner_ = std::thread([this] { upload(); });
    wait("a kernel that reports itself alive", [&] {
      return get(control + abi::workers_alive_word) != 0 || get(control + abi::heartbeat_word) != 0;
    });
  }
  ~running_kernel() {
    over_ = true;
    if (upload_scanner_.joinable()) upload_scanner_.join();
    api_->close(kernel_);
  }
  running_kernel(const running_kernel&) = delete;
  running_kernel& operator=(const running_kernel&) = delete;

  template <class Until>
  void wait(const char* what, Until until) {
    const auto start = gpu_support::clock::now();
    while (!until()) {
      (void)lost();
      if (gpu_support::seconds_since(start) > 10) {
        put(where_.control, 1);
        gpu_support::fail("waited 10 s for %s: %u slots, %u lanes %s", what, slots_, lanes_, why());
      }
    }
  }
  uint32_t running() {
    if (lost()) gpu_support::fail("%s", why());
    return running_;
  }
  bool lost() { return api_->running(kernel_, &running_, &why_) != gpu::call_status::yes; }
  [[nodiscard]] const char* why() const { return why_.sentence; }
  void flush() {
    const uint32_t number = api_->ask_flush(kernel_);
    wait("a flush", [&] { return api_->flushed(kernel_, number); });
  }
  void stop() {
    put(where_.control + abi::shutdown_word, 1);
    wait("SHUTDOWN", [&] { return running() == 0; });
  }
  void leave() {
    api_->leave(kernel_);
    wait("the kernel to leave", [&] { return running() == 0; });
  }
  [[nodiscard]] word* control() const { return where_.control; }
  [[nodiscard]] word* slot(word i) const { return where_.ring + std::size_t{i} * 16; }
  [[nodiscard]] const word* pair(word i) const {
    return reinterpret_cast<const word*>(where_.arena) + 2 * std::size_t{i};
  }
  void publish(word i, word op, word tenant, word a0, word a1, word a2) {
    word* const at = slot(i);
    const word body[15] = {op, tenant, 2, a0, a1, a2, i, ~i};
    std::memcpy(at + 1, body, sizeof body);
    put(at, 1);
    if (!upload_scanner_.joinable()) return;
    const std::lock_guard<std::mutex> lock(mutex_);
    to_upload_.push_back(i);
  }

  static constexpr word control_words = 1024;

 private:
  /// Brings slots to the device's ring in runs, as `gpu_target` does.
  void upload() {
    std::vector<word> slots;
    std::vector<gpu::slot_range> ranges;
    uint32_t room = 0;
    gpu::failure why{};
    while (!over_) {
      const auto count = static_cast<uint32_t>(ranges.size());
      if (api_->upload(kernel_, ranges.data(), count, &room, &why) != gpu::call_status::yes) return;
      ranges.clear();
      const std::lock_guard<std::mutex> lock(mutex_);
      while (!to_upload_.empty() && ranges.size() < room) {
        const word slot = to_upload_.front();
        to_upload_.pop_front();
        if (!ranges.empty() && ranges.back().first + ranges.back().count == slot)
          ++ranges.back().count;
        else
          ranges.push_back({slot, 1});
      }
    }
  }

  const gpu::interface* api_ = gpu::detail::interface_of<opcodes>(gpu::interface_version);
  word slots_;
  struct freed {
    void operator()(word* words) const { std::free(words); }
  };
  /// Whole pages: what shares a page with them would be pinned, too.
  static word* pages_for(word slots) {
    const std::size_t bytes =
        (std::size_t{slots} * 18 + control_words + 128) * sizeof(word) / 4096 * 4096 + 4096;
    void* const pages = std::aligned_alloc(4096, bytes);
    if (pages == nullptr) gpu_support::fail("no memory");
    std::memset(pages, 0, bytes);
    return static_cast<word*>(pages);
  }
  std::unique_ptr<word, freed> memory_;
  launch where_{};
  gpu::kernel* kernel_ = nullptr;
  uint32_t lanes_ = 0;
  uint32_t running_ = 0;
  gpu::failure why_{};
  std::mutex mutex_;
  std::deque<word> to_upload_;
  std::atomic<bool> over_{false};
  std::thread upload_scanner_;
};

/// A handler that does not return holds its own wave and no other: its slot stays CLAIMED, work of
/// other waves is done, and the kernel leaves as soon as the handler lets it.
void test_hung(bool device_ring, gpu_support::watchdog& dog) {
  dog.begin("a handler that does not return");
  constexpr word slots = 1024;
  constexpr word stuck = 37;
  running_kernel kernel(slots, false, slots, 0, device_ring);
  kernel.publish(stuck, 9, 0, 5, stuck, tally_up::wait);
  kernel.wait("the stuck slot to be claimed", [&] { return get(kernel.slot(stuck)) == 2; });
  for (word i = 0; i < slots; ++i)
    if (i / 64 != stuck / 64) kernel.publish(i, 9, 0, 7, i, 0);
  kernel.wait("the others' work", [&] {
    for (word i = 0; i < slots; ++i)
      if (i / 64 != stuck / 64 && get(kernel.slot(i)) != 3) return false;
    return true;
  });
  if (get(kernel.slot(stuck)) != 2) report("a hung handler's slot is %u", get(kernel.slot(stuck)));
  put(kernel.control() + abi::shutdown_word, 1);
  if (kernel.running() == 0) report("the kernel has left with a handler in it");
  put(const_cast<word*>(kernel.pair(stuck)), 1);
  kernel.wait("the kernel to leave", [&] { return kernel.running() == 0; });
  if (get(kernel.slot(stuck)) != 3) report("the slot is %u after all", get(kernel.slot(stuck)));
}

/// A handler that crashes takes along all that the process has on the device: that is said, and the
/// next start is refused with a sentence.
void test_lost(gpu_support::watchdog& dog) {
  dog.begin("a device that is lost");
  {
    running_kernel kernel(64, false, 64, 0);
    kernel.publish(5, 9, 0, 0, 5, tally_up::crash);
    kernel.wait("the kernel's failure", [&] { return kernel.lost(); });
    std::printf("lost: %s\n", kernel.why());
  }
  gpu::device_info found{};
  gpu::failure why{};
  gpu::kernel* next = nullptr;
  uint32_t lanes = 0;
  const gpu::request wanted{};
  const gpu::interface* const api = gpu::detail::interface_of<opcodes>(gpu::interface_version);
  const bool seen = api->probe(nullptr, &found, &why) == gpu::call_status::yes;
  if (seen && api->start(nullptr, &wanted, &next, &lanes, &why) == gpu::call_status::yes)
    report("a kernel was started on a device that is lost");
  std::printf("then: %s\n", why.sentence);
  if (why.sentence[0] == '\0') report("nothing says why not");
}

/// Every slot is published `laps` times, by threads that share them out, in an order of their own.
void test_persistent(word slots, bool by_priority, uint32_t lanes, uint64_t quantum, bool in_order,
                     word laps, bool device_ring, gpu_support::watchdog& dog) {
  dog.begin(device_ring ? "a persistent kernel over its own ring" : "a persistent kernel");
  running_kernel kernel(slots, by_priority, lanes, quantum, device_ring);
  constexpr word threads = 4;
  std::vector<uint64_t> sums(slots, 0);
  std::atomic<bool> gave_up{false};
  std::vector<std::thread> publishers;
  for (word t = 0; t < threads; ++t) {
    publishers.emplace_back([&, t] {
      prng d(slots * 31 + t);
      for (word lap = 0; lap < laps; ++lap) {
        const word mine = (slots - t + threads - 1) / threads;
        for (word k = 0; slots > t && k < mine; ++k) {
          const word place = in_order ? k : (k * 7919 + lap * 13) % mine;
          // 7919 is prime: with `mine` not its multiple every place comes up once a lap.
          const word i = t + threads * (mine % 7919 == 0 ? k : place);
          const auto start = gpu_support::clock::now();
          for (word spins = 0; get(kernel.slot(i)) > 0 && get(kernel.slot(i)) != 3; ++spins) {
            if (spins % 1024 == 0 && gpu_support::seconds_since(start) > 10) gave_up = true;
            if (gave_up) return;
          }
          const word nonce = d.next();
          sums[i] += nonce;
          kernel.publish(i, 9, i % 5, nonce, i, 0);
        }
      }
    });
  }
  // The next quantum is started by whoever asks.
  std::atomic<bool> published{false};
  std::thread relauncher([&] {
    while (!published) {
      (void)kernel.running();
      std::this_thread::sleep_for(std::chrono::microseconds(200));
    }
  });
  for (std::thread& t : publishers) t.join();
  published = true;
  relauncher.join();
  if (gave_up) return report("%u slots, %u lanes: a slot was not run within 10 s", slots, lanes);
  for (word i = 0; i < slots; ++i)
    kernel.wait("the last slots", [&] { return get(kernel.slot(i)) == 3; });
  kernel.flush();
  const word flushed = get(kernel.control() + abi::done_count_word);
  if (flushed != slots * laps)
    report("%u slots, %u lanes: %u DONE counted after a flush, not %u", slots, lanes, flushed,
           slots * laps);
  // A slot that may not run stays, and runs once it may.
  kernel.publish(slots / 2, 9, 7, 5, slots / 2, 0);
  const word seen = get(kernel.control() + abi::heartbeat_word);
  kernel.flush();
  kernel.wait("a heartbeat", [&] {
    kernel.flush();
    return get(kernel.control() + abi::heartbeat_word) - seen > 4 * lanes / 32 + 4;
  });
  if (get(kernel.slot(slots / 2)) != 1) report("an unauthorised slot was run");
  put(kernel.control() + 3 + 7, 1);
  kernel.wait("a slot that was authorised", [&] { return get(kernel.slot(slots / 2)) == 3; });
  sums[slots / 2] += 5;
  kernel.stop();
  for (word i = 0; i < slots; ++i) {
    const word times = laps + (i == slots / 2);
    if (kernel.pair(i)[0] != static_cast<word>(sums[i]) || kernel.pair(i)[1] != times)
      report("%u slots, %u lanes: slot %u ran %u times instead of %u, or with other arguments",
             slots, lanes, i, kernel.pair(i)[1], times);
  }
  const word* const control = kernel.control();
  word fairness = 0;
  word by_level = 0;
  for (word t = 0; t < 32; ++t) fairness += control[abi::tenant_fairness_word + t];
  for (word p = 0; p < 5; ++p) by_level += control[abi::priority_fairness_word + p];
  const word all = slots * laps + 1;
  if (control[abi::done_count_word] != all || control[abi::metric_word + 9] != all ||
      fairness != all || by_level != all || control[abi::workers_alive_word] != 0)
    report(
        "%u slots, %u lanes: done %u, claims %u, by tenant %u, by priority %u, all of %u; %u "
        "alive",
        slots, lanes, control[abi::done_count_word], control[abi::metric_word + 9], fairness,
        by_level, all, control[abi::workers_alive_word]);
}

void test_leaving(bool device_ring, gpu_support::watchdog& dog) {
  dog.begin("leaving");
  running_kernel idle(256, false, 0, 0, device_ring);
  idle.leave();
  running_kernel full(64, false, 32, 0, device_ring);
  for (word i = 0; i < 64; ++i) full.publish(i, i % 2 == 0 ? 8 : 0, 7, 0, 0, 0);
  full.stop();
  for (word i = 0; i < 64; ++i)
    if (full.slot(i)[0] != 1)
      report("slot %u of a tenant without a mask is %u", i, full.slot(i)[0]);
  // A SHUTDOWN slot ends the kernel by itself.
  running_kernel reported(100, false, 0, 0, device_ring);
  reported.publish(50, 0xFFFF'FFFF, 0, 0, 0, 0);
  reported.wait("a SHUTDOWN slot", [&] { return reported.running() == 0; });
  if (reported.slot(50)[0] != 3) report("the SHUTDOWN slot is %u", reported.slot(50)[0]);
}

}  // namespace

int main(int argc, char** argv) {
  const auto gpu = gpu_support::take("megakernel_gpu_kernels");
  const bool sanitized = argc > 1 && std::strcmp(argv[1], "--small") == 0;
  gpu_support::watchdog dog(std::chrono::seconds(sanitized ? 300 : 60));
  if (argc > 1 && std::strcmp(argv[1], "--lost") == 0) {
    test_lost(dog);
    return wrong == 0 ? 0 : gpu_support::failed;
  }
  const gpu_support::stream stream;
  test_one_shot(gpu, stream, 20261126, sanitized, dog);
  const word laps = sanitized ? 2 : 200;
  for (const bool device_ring : {false, true}) {
    const char* const where = device_ring ? "the device's ring" : "the host's ring";
    for (const bool by_priority : {false, true}) {
      for (const word slots : {1u, 31u, 32u, 33u, 1000u, 4096u}) {
        for (const bool in_order : {true, false}) {
          const word n = slots > 500 ? laps / 10 + 1 : laps;
          test_persistent(slots, by_priority, 0, 0, in_order, n, device_ring, dog);
          std::printf("persistent%s: %u slots of %s, %s, %u laps\n",
                      by_priority ? " by priority" : "", slots, where,
                      in_order ? "in order" : "anywhere", n);
        }
      }
    }
    test_persistent(20'000, false, 64, 0, true, 3, device_ring, dog);
    test_persistent(20'000, false, 4096, 0, false, 3, device_ring, dog);
    test_persistent(100, false, 0, 3'000'000, true, laps, device_ring, dog);
    test_leaving(device_ring, dog);
    test_hung(device_ring, dog);
    std::printf("leaving, a hung handler, quanta: %s\n", where);
  }
  std::printf("%s: %s\n", gpu.name.c_str(),
              wrong == 0 ? "the kernels are right" : "the kernels are not right, see above");
  return wrong == 0 ? 0 : gpu_support::failed;
}
