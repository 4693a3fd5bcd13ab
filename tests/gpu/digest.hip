// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Digests that the device makes of rings, word for word those of a plain implementation on this
// processor: random rings, hostile ones included, in the device's memory and in the host's; more
// windows than there is room for; and through the plugin, of a kernel that runs meanwhile.
//
// `--small` is for sanitizers: rings at rest only, since under them kernels run one after the
// other, and a scan beside a kernel that stays would wait for ever.
//
// Exit status: 0 all right, 1 something is not, 77 no GPU.
#include <megakernel/gpu/plugin_main.h>

#include "../../bench/gpu/gpu_support.h"
#include "../../testing/oracle/oracle_digest.h"

#include <algorithm>
#include <cstring>
#include <memory>
#include <set>
#include <vector>

namespace {

using namespace megakernel;
using namespace megakernel::device;
namespace d = abi::digest;

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
  /// A word where something changes, or any.
  word any() {
    constexpr word edges[] = {0, 1, 7, 8, 31, 32, 33, 0x7FFF'FFFF, 0x8000'0000, 0xFFFF'FFFF};
    return one_in(2) ? edges[below(10)] : next();
  }

 private:
  uint64_t state_;
};

/// Rings whose slots are alike, or all different, or in between.
std::vector<word> random_ring(prng& prng, word slots) {
  std::vector<word> ring(std::size_t{slots} * abi::slot_words);
  const word opcodes = 1 + prng.below(40);
  const word tenants = 1 + prng.below(40);
  const word tickets = prng.one_in(3) ? 1 : 1 + prng.below(300);
  const word run = 1 + prng.below(20);
  const word odd = prng.one_in(3) ? 1 : prng.one_in(2) ? 0xFFFF'FFFF : 10;
  for (word i = 0; i < slots; ++i) {
    word* const slot = ring.data() + std::size_t{i} * abi::slot_words;
    for (word w = 6; w < abi::slot_words; ++w) slot[w] = prng.next();
    slot[0] = prng.one_in(odd) ? prng.any() : prng.below(8);
    slot[1] = prng.one_in(odd) ? prng.any() : (i / run * 7) % opcodes;
    slot[2] = prng.one_in(odd) ? prng.any() : (i / run) % tenants;
    slot[3] = prng.any();
    slot[4] = prng.one_in(odd) ? prng.any() : (i / run) % tickets;
    slot[5] = prng.one_in(odd) ? prng.any() : prng.below(3);
  }
  return ring;
}

digest_request random_request(prng& prng, const std::vector<word>& ring) {
  digest_request what{};
  if (!prng.one_in(4)) {
    what.depth = 1 + prng.below(5);
    what.width = prng.one_in(2) ? 1 + prng.below(50) : 1024;
  }
  std::set<word> list;
  for (word n = prng.one_in(3) ? 0 : prng.below(20); n != 0 && list.size() < 16; --n)
    list.insert(prng.one_in(4) || ring.empty()
                    ? prng.any()
                    : ring[prng.below(static_cast<word>(ring.size() / 16)) * 16 + 1]);
  for (const word op : list) what.window_opcode[what.window_opcodes++] = op;
  return what;
}

std::vector<word> oracle_digest(const std::vector<word>& ring, const digest_request& what,
                                std::size_t most_windows = d::most_windows) {
  return oracle::make_digest(
      ring.data(), ring.size() / abi::slot_words,
      {what.depth, what.width,
       std::vector<word>(what.window_opcode, what.window_opcode + what.window_opcodes),
       most_windows});
}

void wait_for(const ring_scanner& scanner) {
  const auto start = gpu_support::clock::now();
  hipError_t status;
  while ((status = scanner.query()) == hipErrorNotReady)
    if (gpu_support::seconds_since(start) > 20) gpu_support::fail("a scan did not end within 20 s");
  gpu_support::check(status, "a scan");
}

bool same(const word* got, std::size_t size, const std::vector<word>& wanted, const char* how,
          word number) {
  for (std::size_t i = 0; i < wanted.size(); ++i) {
    if (got[i] == wanted[i]) continue;
    report("%s, ring %u of %u slots: word %zu of the digest is %u, not %u", how, number, wanted[2],
           i, got[i], wanted[i]);
    return false;
  }
  if (size == wanted.size()) return true;
  report("%s, ring %u: the digest has %zu words, not %zu", how, number, size, wanted.size());
  return false;
}

/// Windows that found room are whole, and the slots of the others are counted.
void check_crowded(const ring_scanner& scanner, const std::vector<word>& roomy, word places,
                   word number) {
  const word* const got = scanner.digest();
  const std::vector<word> words(got, got + scanner.digest_words());
  const char* const why = oracle::wrong_with_digest(words, words.size() * sizeof(word));
  if (*why != '\0') report("ring %u, few places: %s", number, why);
  const std::size_t windows_at = d::words(roomy[d::depth_word], roomy[d::width_word], 0);
  for (std::size_t i = 0; i < windows_at; ++i)
    if (i != d::windows_word && i != d::unlisted_word && words[i] != roomy[i])
      report("ring %u, few places: word %zu is %u, not %u", number, i, words[i], roomy[i]);
  word listed = 0;
  word all = 0;
  for (std::size_t w = windows_at; w < roomy.size(); w += d::window_words) {
    all += roomy[w + d::window_slots_word];
    for (std::size_t g = windows_at; g < words.size(); g += d::window_words) {
      if (words[g] != roomy[w] || words[g + 1] != roomy[w + 1]) continue;
      listed += words[g + d::window_slots_word];
      if (!std::equal(&words[g], &words[g] + d::window_words, &roomy[w]))
        report("ring %u, few places: window %u of opcode %u differs", number, words[g],
               words[g + 1]);
    }
  }
  if (words[d::windows_word] > places || listed + words[d::unlisted_word] != all)
    report("ring %u, %u places: %u windows with %u slots, %u slots without, of %u", number, places,
           words[d::windows_word], listed, words[d::unlisted_word], all);
}

void test_rings(const gpu_support::stream& stream, bool small, gpu_support::watchdog& dog) {
  const word rings = small ? 60 : 3000;
  constexpr word most_slots = 200'000;
  constexpr word few = 64;
  ring_scanner scanner;
  ring_scanner cramped;
  CHECKED(scanner.prepare());
  CHECKED(cramped.prepare(few));
  const gpu_support::device_memory<abi::slot> on_card(most_slots);
  const gpu_support::pinned_memory<abi::slot> shared(most_slots);
  uint64_t slots_in_all = 0;
  uint64_t windows = 0;
  uint64_t crowded = 0;
  for (word n = 0; n < rings; ++n) {
    dog.begin("a random ring");
    prng prng(20261128 + n);
    const word slots = n < 10            ? n * 17
                       : n % 500 == 499  ? most_slots
                       : prng.one_in(10) ? prng.below(20'000)
                                         : prng.below(1500);
    const std::vector<word> ring = random_ring(prng, slots);
    const digest_request what = random_request(prng, ring);
    const std::vector<word> wanted = oracle_digest(ring, what);
    const std::size_t bytes = ring.size() * sizeof(word);
    if (bytes != 0) {
      CHECKED(hipMemcpyAsync(on_card.data(), ring.data(), bytes, hipMemcpyHostToDevice, stream));
      std::memcpy(static_cast<void*>(shared.host()), ring.data(), bytes);
    }
    stream.wait();
    // More windows than a sure place for each: then which are listed is a matter of order.
    const bool sure = wanted[d::windows_word] <= d::most_windows / 4;
    const struct {
      const abi::slot* from;
      ring_in where;
      const char* how;
    } places[] = {{on_card.data(), ring_in::device_memory, "in the device's memory"},
                  {shared.device(), ring_in::host_memory, "in the host's memory"}};
    for (const auto& place : places) {
      CHECKED(scanner.start(place.from, slots, place.where, what));
      wait_for(scanner);
      if (sure)
        same(scanner.digest(), scanner.digest_words(), wanted, place.how, n);
      else if (wanted[d::unlisted_word] == 0)
        check_crowded(scanner, wanted, d::most_windows, n);
    }
    if (what.window_opcodes != 0 && wanted[d::unlisted_word] == 0 &&
        wanted[d::windows_word] < 3000) {
      CHECKED(cramped.start(on_card.data(), slots, ring_in::device_memory, what));
      wait_for(cramped);
      check_crowded(cramped, wanted, few, n);
      crowded += cramped.digest()[d::unlisted_word] != 0;
    }
    slots_in_all += slots;
    windows += wanted[d::windows_word];
  }
  std::printf("digests: %u rings, %llu slots, %llu windows; %llu rings with too many windows\n",
              rings, (unsigned long long)slots_in_all, (unsigned long long)windows,
              (unsigned long long)crowded);
  if (windows == 0 || crowded == 0) report("the rings test too little");
}

// Through the plugin

struct none {
  static constexpr opcode op{9};
  struct arguments {};
  template <class Context>
  MEGAKERNEL_HOST_DEVICE outcome operator()(const arguments&, Context&) const {
    return outcome::done();
  }
};

word get(const word* at) { return __atomic_load_n(at, __ATOMIC_ACQUIRE); }
void put(word* at, word value) { __atomic_store_n(at, value, __ATOMIC_RELEASE); }

class running_kernel {
 public:
  running_kernel(word slots, uint32_t lanes) : slots_(slots) {
    const std::size_t bytes =
        (std::size_t{slots} * abi::slot_words + control_words) * sizeof(word) / 4096 * 4096 + 4096;
    memory_.reset(static_cast<word*>(std::aligned_alloc(4096, bytes)));
    if (memory_ == nullptr) gpu_support::fail("no memory");
    std::memset(memory_.get(), 0, bytes);
    launch where;
    where.ring = memory_.get();
    where.slots = slots;
    where.control = memory_.get() + std::size_t{slots} * abi::slot_words;
    where.control_words = control_words;
    control_ = where.control;
    control_[abi::tenant_base_word] = abi::tenant_mask_word;
    for (word t = 0; t < abi::tenant_masks; ++t) control_[3 + t] = t == 7 ? 0 : ~word{0};
    for (word level = 1; level < 6; ++level)
      control_[abi::priority_offset_word + level] = static_cast<word>(uint64_t{slots} * level / 5);
    gpu::request wanted{};
    wanted.where = where;
    wanted.lanes = lanes;
    uint32_t got = 0;
    answer_ = api_->start(nullptr, &wanted, &kernel_, &got, &why_);
    most_ = got;
    if (answer_ != gpu::call_status::yes) return;
    const auto start = gpu_support::clock::now();
    while (get(control_ + abi::workers_alive_word) == 0) {
      (void)running();
      if (gpu_support::seconds_since(start) > 10)
        gpu_support::fail("a kernel does not report itself alive");
    }
  }
  ~running_kernel() {
    if (answer_ != gpu::call_status::yes) return;
    api_->leave(kernel_);
    const auto start = gpu_support::clock::now();
    while (running() != 0)
      if (gpu_support::seconds_since(start) > 10) gpu_support::fail("a kernel does not leave");
    api_->close(kernel_);
  }
  running_kernel(const running_kernel&) = delete;
  running_kernel& operator=(const running_kernel&) = delete;

  uint32_t running() {
    uint32_t lanes = 0;
    if (api_->running(kernel_, &lanes, &why_) != gpu::call_status::yes)
      gpu_support::fail("%s", why_.sentence);
    return lanes;
  }
  gpu::call_status scan(const digest_request& what, double seconds, uint64_t capacity) {
    const gpu::scan_request wanted{what, static_cast<uint64_t>(seconds * 1e9)};
    bytes_.assign(capacity, 0xEE);
    uint64_t size = 0;
    const gpu::call_status came =
        api_->scan(kernel_, &wanted, bytes_.data(), capacity, &size, &why_);
    words_.resize(size / sizeof(word));
    if (size != 0) std::memcpy(words_.data(), bytes_.data(), size);
    return came;
  }
  [[nodiscard]] const std::vector<word>& digest() const { return words_; }
  [[nodiscard]] const char* why() const { return why_.sentence; }
  [[nodiscard]] gpu::call_status started() const { return answer_; }
  [[nodiscard]] uint32_t most_lanes() const { return most_; }
  [[nodiscard]] word* slot(word i) const {
    return memory_.get() + std::size_t{i} * abi::slot_words;
  }
  [[nodiscard]] std::vector<word> ring() const {
    return std::vector<word>(slot(0), slot(0) + std::size_t{slots_} * abi::slot_words);
  }
  void publish(word i, word op, word tenant, word ticket, word kind) const {
    const word body[15] = {op, tenant, 2, ticket, kind};
    std::memcpy(slot(i) + 1, body, sizeof body);
    put(slot(i), word(slot_status::published));
  }

  static constexpr word control_words = 1024;

 private:
  struct freed {
    void operator()(word* words) const { std::free(words); }
  };
  const gpu::interface* api_ = gpu::detail::interface_of<handlers<none>>(gpu::interface_version);
  word slots_;
  std::unique_ptr<word, freed> memory_;
  word* control_ = nullptr;
  gpu::kernel* kernel_ = nullptr;
  gpu::call_status answer_ = gpu::call_status::failed;
  uint32_t most_ = 0;
  gpu::failure why_{};
  std::vector<unsigned char> bytes_;
  std::vector<word> words_;
};

/// Digests while the kernel works are consistent; of slots that nobody may run they are exact.
void test_running(gpu_support::watchdog& dog) {
  dog.begin("digests of a ring that is worked on");
  constexpr word slots = 5000;
  constexpr digest_request what{3, 100, 2, {9, 1000}};
  constexpr uint64_t room = sizeof(word) * d::words(3, 100, d::most_windows);
  running_kernel kernel(slots, 0);
  if (kernel.started() != gpu::call_status::yes) gpu_support::fail("no kernel: %s", kernel.why());
  std::atomic<bool> enough{false};
  std::thread publisher([&] {
    prng prng(7);
    while (!enough) {
      const word i = prng.below(slots);
      if (const word status = get(kernel.slot(i)); status != 0 && status != 3) continue;
      kernel.publish(i, prng.one_in(3) ? 0 : 9, prng.one_in(9) ? 7 : prng.below(6), i / 16,
                     prng.below(2));
    }
  });
  constexpr word samples = 2000;
  double slowest = 0;
  for (word sample = 0; sample < samples; ++sample) {
    const auto start = gpu_support::clock::now();
    if (kernel.scan(what, 10, room) != gpu::call_status::yes)
      gpu_support::fail("no digest: %s", kernel.why());
    slowest = std::max(slowest, gpu_support::seconds_since(start));
    const char* const wrong_with =
        oracle::wrong_with_digest(kernel.digest(), kernel.digest().size() * sizeof(word));
    if (*wrong_with != '\0' || kernel.digest()[d::slots_word] != slots)
      report("look %u at a ring that is worked on: %s", sample, wrong_with);
  }
  enough = true;
  publisher.join();
  dog.begin("a digest of a ring at rest");
  const auto start = gpu_support::clock::now();
  for (word i = 0; i < slots; ++i)
    while (get(kernel.slot(i)) == 1 && kernel.slot(i)[abi::tenant_word] != 7)
      if (gpu_support::seconds_since(start) > 10) gpu_support::fail("slot %u is not run", i);
  if (kernel.scan(what, 10, room) != gpu::call_status::yes)
    gpu_support::fail("no digest: %s", kernel.why());
  same(kernel.digest().data(), kernel.digest().size(), oracle_digest(kernel.ring(), what),
       "by the component", 0);
  std::printf("component: %u digests while %u slots were worked on, at most %.0f us each\n",
              samples, slots, slowest * 1e6);

  if (kernel.scan(what, 10, 100) != gpu::call_status::failed || kernel.why()[0] == '\0')
    report("a digest was put where there is no room for it");
  digest_request bad = what;
  bad.window_opcode[1] = 9;
  if (kernel.scan(bad, 10, room) != gpu::call_status::failed || kernel.why()[0] == '\0')
    report("a request that cannot be was answered");
}

/// A kernel that takes the whole device leaves a scan no room: that is said in time, and the kernel
/// can be ended all the same.
void test_full(gpu_support::watchdog& dog) {
  dog.begin("a kernel that takes the whole device");
  uint32_t most = 0;
  {
    const running_kernel refused(1'000'000, 0x7FFF'FFFF);
    if (refused.started() != gpu::call_status::too_many_lanes)
      report("2^31 lanes were not refused");
    most = refused.most_lanes();
  }
  running_kernel kernel(1'000'000, most);
  if (kernel.started() != gpu::call_status::yes) gpu_support::fail("no kernel: %s", kernel.why());
  const digest_request what{};
  const uint64_t room = sizeof(word) * d::words(0, 0, 0);
  const gpu::call_status first = kernel.scan(what, 0.05, room);
  const gpu::call_status second = kernel.scan(what, 0.05, room);
  for (const gpu::call_status came : {first, second})
    if (came != gpu::call_status::yes && came != gpu::call_status::busy)
      report("a scan beside a kernel of %u lanes: %s", most, kernel.why());
  std::printf("beside a kernel of %u lanes: %s\n", most,
              second == gpu::call_status::yes ? "there is room for a scan" : "no room for a scan");
}

}  // namespace

int main(int argc, char** argv) {
  const auto gpu = gpu_support::take("megakernel_gpu_digest");
  const bool small = argc > 1 && std::strcmp(argv[1], "--small") == 0;
  gpu_support::watchdog dog(std::chrono::seconds(small ? 300 : 60));
  const gpu_support::stream stream;
  test_rings(stream, small, dog);
  if (!small) {
    test_running(dog);
    test_full(dog);
  }
  std::printf("%s: %s\n", gpu.name.c_str(),
              wrong == 0 ? "the digests are right" : "the digests are not right, see above");
  return wrong == 0 ? 0 : gpu_support::failed;
}
