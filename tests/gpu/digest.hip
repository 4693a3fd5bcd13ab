// Digests that the card makes of rings, word for word those of a plain implementation on this
// processor: random rings, hostile ones included, in the device's memory and in the host's; more
// windows than there is room for; and through the component, of a kernel that runs meanwhile.
//
// `--small` is for sanitizers: rings at rest only, since under them kernels run one after the
// other, and a scan beside a kernel that stays would wait for ever.
//
// Exit status: 0 all right, 1 something is not, 77 no GPU.
#include <megakernel/gpu/gpu_component_main.h>

#include "../../bench/gpu/card.h"
#include "../../props/plain/plain_digest.h"

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

class dice {
 public:
  explicit dice(uint64_t seed) : state_(seed) {}
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
std::vector<word> random_ring(dice& dice, word slots) {
  std::vector<word> ring(std::size_t{slots} * abi::slot_words);
  const word opcodes = 1 + dice.below(40);
  const word tenants = 1 + dice.below(40);
  const word tickets = dice.one_in(3) ? 1 : 1 + dice.below(300);
  const word run = 1 + dice.below(20);
  const word odd = dice.one_in(3) ? 1 : dice.one_in(2) ? 0xFFFF'FFFF : 10;
  for (word i = 0; i < slots; ++i) {
    word* const slot = ring.data() + std::size_t{i} * abi::slot_words;
    for (word w = 6; w < abi::slot_words; ++w) slot[w] = dice.next();
    slot[0] = dice.one_in(odd) ? dice.any() : dice.below(8);
    slot[1] = dice.one_in(odd) ? dice.any() : (i / run * 7) % opcodes;
    slot[2] = dice.one_in(odd) ? dice.any() : (i / run) % tenants;
    slot[3] = dice.any();
    slot[4] = dice.one_in(odd) ? dice.any() : (i / run) % tickets;
    slot[5] = dice.one_in(odd) ? dice.any() : dice.below(3);
  }
  return ring;
}

digest_request random_request(dice& dice, const std::vector<word>& ring) {
  digest_request what{};
  if (!dice.one_in(4)) {
    what.depth = 1 + dice.below(5);
    what.width = dice.one_in(2) ? 1 + dice.below(50) : 1024;
  }
  std::set<word> list;
  for (word n = dice.one_in(3) ? 0 : dice.below(20); n != 0 && list.size() < 16; --n)
    list.insert(dice.one_in(4) || ring.empty()
                    ? dice.any()
                    : ring[dice.below(static_cast<word>(ring.size() / 16)) * 16 + 1]);
  for (const word op : list) what.window_opcode[what.window_opcodes++] = op;
  return what;
}

std::vector<word> plain_digest(const std::vector<word>& ring, const digest_request& what,
                               std::size_t most_windows = d::most_windows) {
  return plain::make_digest(
      ring.data(), ring.size() / abi::slot_words,
      {what.depth, what.width,
       std::vector<word>(what.window_opcode, what.window_opcode + what.window_opcodes),
       most_windows});
}

void wait_for(const ring_scanner& scanner) {
  const auto start = card::clock::now();
  hipError_t status;
  while ((status = scanner.query()) == hipErrorNotReady)
    if (card::seconds_since(start) > 20) card::fail("a scan did not end within 20 s");
  card::check(status, "a scan");
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
  const char* const why = plain::wrong_with_digest(words, words.size() * sizeof(word));
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

void test_rings(const card::stream& stream, bool small, card::watchdog& dog) {
  const word rings = small ? 60 : 3000;
  constexpr word most_slots = 200'000;
  constexpr word few = 64;
  ring_scanner scanner;
  ring_scanner cramped;
  CHECKED(scanner.prepare());
  CHECKED(cramped.prepare(few));
  const card::device_memory<abi::slot> on_card(most_slots);
  const card::pinned_memory<abi::slot> shared(most_slots);
  uint64_t slots_in_all = 0;
  uint64_t windows = 0;
  uint64_t crowded = 0;
  for (word n = 0; n < rings; ++n) {
    dog.begin("a random ring");
    dice dice(20261128 + n);
    const word slots = n < 10            ? n * 17
                       : n % 500 == 499  ? most_slots
                       : dice.one_in(10) ? dice.below(20'000)
                                         : dice.below(1500);
    const std::vector<word> ring = random_ring(dice, slots);
    const digest_request what = random_request(dice, ring);
    const std::vector<word> wanted = plain_digest(ring, what);
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

// Through the component

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
    if (memory_ == nullptr) card::fail("no memory");
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
    if (answer_ != gpu::answer::yes) return;
    const auto start = card::clock::now();
    while (get(control_ + abi::workers_alive_word) == 0) {
      (void)running();
      if (card::seconds_since(start) > 10) card::fail("a kernel does not report itself alive");
    }
  }
  ~running_kernel() {
    if (answer_ != gpu::answer::yes) return;
    api_->leave(kernel_);
    const auto start = card::clock::now();
    while (running() != 0)
      if (card::seconds_since(start) > 10) card::fail("a kernel does not leave");
    api_->close(kernel_);
  }
  running_kernel(const running_kernel&) = delete;
  running_kernel& operator=(const running_kernel&) = delete;

  uint32_t running() {
    uint32_t lanes = 0;
    if (api_->running(kernel_, &lanes, &why_) != gpu::answer::yes) card::fail("%s", why_.sentence);
    return lanes;
  }
  gpu::answer scan(const digest_request& what, double seconds, uint64_t capacity) {
    const gpu::scan_request wanted{what, static_cast<uint64_t>(seconds * 1e9)};
    bytes_.assign(capacity, 0xEE);
    uint64_t size = 0;
    const gpu::answer came = api_->scan(kernel_, &wanted, bytes_.data(), capacity, &size, &why_);
    words_.resize(size / sizeof(word));
    if (size != 0) std::memcpy(words_.data(), bytes_.data(), size);
    return came;
  }
  [[nodiscard]] const std::vector<word>& digest() const { return words_; }
  [[nodiscard]] const char* why() const { return why_.sentence; }
  [[nodiscard]] gpu::answer started() const { return answer_; }
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
  gpu::answer answer_ = gpu::answer::failed;
  uint32_t most_ = 0;
  gpu::reason why_{};
  std::vector<unsigned char> bytes_;
  std::vector<word> words_;
};

/// Digests while the kernel works are consistent; of slots that nobody may run they are exact.
void test_running(card::watchdog& dog) {
  dog.begin("digests of a ring that is worked on");
  constexpr word slots = 5000;
  constexpr digest_request what{3, 100, 2, {9, 1000}};
  constexpr uint64_t room = sizeof(word) * d::words(3, 100, d::most_windows);
  running_kernel kernel(slots, 0);
  if (kernel.started() != gpu::answer::yes) card::fail("no kernel: %s", kernel.why());
  std::atomic<bool> enough{false};
  std::thread publisher([&] {
    dice dice(7);
    while (!enough) {
      const word i = dice.below(slots);
      if (const word status = get(kernel.slot(i)); status != 0 && status != 3) continue;
      kernel.publish(i, dice.one_in(3) ? 0 : 9, dice.one_in(9) ? 7 : dice.below(6), i / 16,
                     dice.below(2));
    }
  });
  constexpr word looks = 2000;
  double slowest = 0;
  for (word look = 0; look < looks; ++look) {
    const auto start = card::clock::now();
    if (kernel.scan(what, 10, room) != gpu::answer::yes) card::fail("no digest: %s", kernel.why());
    slowest = std::max(slowest, card::seconds_since(start));
    const char* const wrong_with =
        plain::wrong_with_digest(kernel.digest(), kernel.digest().size() * sizeof(word));
    if (*wrong_with != '\0' || kernel.digest()[d::slots_word] != slots)
      report("look %u at a ring that is worked on: %s", look, wrong_with);
  }
  enough = true;
  publisher.join();
  dog.begin("a digest of a ring at rest");
  const auto start = card::clock::now();
  for (word i = 0; i < slots; ++i)
    while (get(kernel.slot(i)) == 1 && kernel.slot(i)[abi::tenant_word] != 7)
      if (card::seconds_since(start) > 10) card::fail("slot %u is not run", i);
  if (kernel.scan(what, 10, room) != gpu::answer::yes) card::fail("no digest: %s", kernel.why());
  same(kernel.digest().data(), kernel.digest().size(), plain_digest(kernel.ring(), what),
       "by the component", 0);
  std::printf("component: %u digests while %u slots were worked on, at most %.0f us each\n", looks,
              slots, slowest * 1e6);

  if (kernel.scan(what, 10, 100) != gpu::answer::failed || kernel.why()[0] == '\0')
    report("a digest was put where there is no room for it");
  digest_request bad = what;
  bad.window_opcode[1] = 9;
  if (kernel.scan(bad, 10, room) != gpu::answer::failed || kernel.why()[0] == '\0')
    report("a request that cannot be was answered");
}

/// A kernel that takes the whole device leaves a scan no room: that is said in time, and the kernel
/// can be ended all the same.
void test_full(card::watchdog& dog) {
  dog.begin("a kernel that takes the whole device");
  uint32_t most = 0;
  {
    const running_kernel refused(1'000'000, 0x7FFF'FFFF);
    if (refused.started() != gpu::answer::too_many_lanes) report("2^31 lanes were not refused");
    most = refused.most_lanes();
  }
  running_kernel kernel(1'000'000, most);
  if (kernel.started() != gpu::answer::yes) card::fail("no kernel: %s", kernel.why());
  const digest_request what{};
  const uint64_t room = sizeof(word) * d::words(0, 0, 0);
  const gpu::answer first = kernel.scan(what, 0.05, room);
  const gpu::answer second = kernel.scan(what, 0.05, room);
  for (const gpu::answer came : {first, second})
    if (came != gpu::answer::yes && came != gpu::answer::busy)
      report("a scan beside a kernel of %u lanes: %s", most, kernel.why());
  std::printf("beside a kernel of %u lanes: %s\n", most,
              second == gpu::answer::yes ? "there is room for a scan" : "no room for a scan");
}

}  // namespace

int main(int argc, char** argv) {
  const auto gpu = card::take("megakernel_gpu_digest");
  const bool small = argc > 1 && std::strcmp(argv[1], "--small") == 0;
  card::watchdog dog(std::chrono::seconds(small ? 300 : 60));
  const card::stream stream;
  test_rings(stream, small, dog);
  if (!small) {
    test_running(dog);
    test_full(dog);
  }
  std::printf("%s: %s\n", gpu.name.c_str(),
              wrong == 0 ? "the digests are right" : "the digests are not right, see above");
  return wrong == 0 ? 0 : card::failed;
}
