// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// In whose memory the ring of a kernel should be: one slot, a batch, and a ring drained once, each
// with the ring in the host's memory and with a copy in the device's, as the runtime's plugin
// starts them. Every slot is checked to be DONE.
//
//   megakernel_gpu_ring_memory [--rounds N]
//
// Exit status: 0 measured, 1 an error or a wait that did not end, 2 a wrong command line, 77 no
// GPU.
#include <megakernel/gpu/plugin_main.h>

#include <atomic>
#include <cstring>
#include <memory>
#include <thread>
#include <vector>

#include "limits.h"

namespace {

using namespace limits;

word get(const word* at) { return __atomic_load_n(at, __ATOMIC_ACQUIRE); }
void put(word* at, word value) { __atomic_store_n(at, value, __ATOMIC_RELEASE); }

enum class form { persistent, one_shot };

/// A kernel of NOPs over buffers of this process, as the runtime starts it.
class nop_kernel {
 public:
  nop_kernel(word slots, bool device_ring) : slots_(slots), on_card_(device_ring) {
    const std::size_t bytes =
        (std::size_t{slots} * abi::slot_bytes + control_words * sizeof(word)) / 4096 * 4096 + 4096;
    words_.reset(static_cast<word*>(std::aligned_alloc(4096, bytes)));
    if (words_ == nullptr) gpu_support::fail("no memory");
    std::memset(words_.get(), 0, bytes);
    wanted_.where.ring = words_.get();
    wanted_.where.slots = slots;
    wanted_.where.control = words_.get() + std::size_t{slots} * abi::slot_words;
    wanted_.where.control_words = control_words;
    wanted_.device_ring = device_ring;
    control()[abi::tenant_base_word] = abi::tenant_mask_word;
    control()[abi::tenant_mask_word] = ~word{0};
  }
  nop_kernel(const nop_kernel&) = delete;
  nop_kernel& operator=(const nop_kernel&) = delete;
  ~nop_kernel() { close(); }

  void start(form as) {
    wanted_.one_shot = as == form::one_shot;
    wanted_.lanes = wanted_.one_shot ? 0 : std::min(slots_, 64 * 32u);
    uint32_t lanes = 0;
    gpu::failure why{};
    if (api_->start(nullptr, &wanted_, &kernel_, &lanes, &why) != gpu::call_status::yes)
      gpu_support::fail("a kernel did not start: %s", why.sentence);
    if (wanted_.one_shot) return;
    if (on_card_) upload_scanner_ = std::thread([this] { upload(); });
    wait("a kernel that reports itself alive",
         [&] { return get(control() + abi::workers_alive_word) != 0; });
  }
  void publish(word slot) { put(status(slot), 1); }
  /// Slots `first` to `end` have been published: where an upload scanner is needed, it may take
  /// them.
  void published(word first, word end) {
    next_.first = first;
    next_.count = end - first;
    has_next_.store(true, std::memory_order_release);
  }
  void wait_for(word slot) {
    wait("a slot", [&] { return get(status(slot)) == 3; });
  }
  void wait_for_all() {
    for (word i = 0; i < slots_; ++i) wait_for(i);
  }
  /// Until a one-shot kernel has left.
  void wait_for_end() {
    uint32_t lanes = 1;
    gpu::failure why{};
    while (lanes != 0)
      if (api_->running(kernel_, &lanes, &why) != gpu::call_status::yes)
        gpu_support::fail("%s", why.sentence);
  }
  void close() {
    if (kernel_ == nullptr) return;
    over_ = true;
    if (upload_scanner_.joinable()) upload_scanner_.join();
    put(control() + abi::shutdown_word, 1);
    wait_for_end();
    api_->close(kernel_);
    kernel_ = nullptr;
  }

 private:
  static constexpr word control_words = 1024;
  struct freed {
    void operator()(word* words) const { std::free(words); }
  };

  word* control() { return wanted_.where.control; }
  word* status(word slot) { return wanted_.where.ring + std::size_t{slot} * abi::slot_words; }

  template <class Until>
  void wait(const char* what, Until until) {
    const auto start = gpu_support::clock::now();
    for (word turn = 0; !until(); ++turn)
      if (turn % 1024 == 1023 && gpu_support::seconds_since(start) > 10)
        gpu_support::fail("waited for %s", what);
  }
  void upload() {
    uint32_t room = 0;
    gpu::failure why{};
    while (!over_) {
      const bool some = has_next_.load(std::memory_order_acquire);
      if (api_->upload(kernel_, &next_, some, &room, &why) != gpu::call_status::yes) return;
      if (some) has_next_.store(false, std::memory_order_relaxed);
    }
  }

  const gpu::interface* api_ =
      gpu::detail::interface_of<device::handlers<>>(gpu::interface_version);
  word slots_;
  bool on_card_;
  std::unique_ptr<word, freed> words_;
  gpu::request wanted_{};
  gpu::kernel* kernel_ = nullptr;
  std::thread upload_scanner_;
  std::atomic<bool> over_{false};
  std::atomic<bool> has_next_{false};
  gpu::slot_range next_{};
};

const char* where(bool on_card) { return on_card ? "the device's" : "the host's"; }

table::way one_slot(bool on_card) {
  return {where(on_card),
          [=](samples& into) {
            nop_kernel kernel(1024, on_card);
            kernel.start(form::persistent);
            for (word n = 0; n < 200; ++n) {
              const word i = n % 1024;
              const auto start = gpu_support::clock::now();
              kernel.publish(i);
              if (on_card) kernel.published(i, i + 1);
              kernel.wait_for(i);
              if (n >= 20) into.push_back(gpu_support::seconds_since(start) * micro);
            }
          },
          {}};
}

/// One thread publishes `slots` and waits for all of them.
table::way batch(bool on_card, word slots) {
  return {where(on_card),
          [=](samples& into) {
            nop_kernel kernel(slots, on_card);
            kernel.start(form::persistent);
            const auto start = gpu_support::clock::now();
            for (word i = 0; i < slots; ++i) kernel.publish(i);
            if (on_card) kernel.published(0, slots);
            kernel.wait_for_all();
            into.push_back(slots / gpu_support::seconds_since(start) * 1e-6);
          },
          {}};
}

/// A ring that stands published, drained once: from the start of the kernel to its end.
table::way once(bool on_card, word slots) {
  return {where(on_card),
          [=](samples& into) {
            nop_kernel kernel(slots, on_card);
            for (word i = 0; i < slots; ++i) kernel.publish(i);
            const auto start = gpu_support::clock::now();
            kernel.start(form::one_shot);
            kernel.wait_for_end();
            into.push_back(gpu_support::seconds_since(start) * micro);
            kernel.wait_for_all();
          },
          {}};
}

}  // namespace

int main(int count, char** arguments) {
  std::size_t rounds = 15;
  if (count == 3 && std::strcmp(arguments[1], "--rounds") == 0) {
    rounds = std::strtoul(arguments[2], nullptr, 10);
  } else if (count != 1) {
    rounds = 0;
  }
  if (rounds == 0) {
    std::fprintf(stderr, "usage: megakernel_gpu_ring_memory [--rounds N]\n");
    return 2;
  }
  const auto gpu = gpu_support::take("megakernel_gpu_ring_memory");
  gpu_support::watchdog dog(std::chrono::seconds(120));
  std::vector<table::limit> all;
  const auto both = [&](const char* name, const char* unit, table::better good, auto way) {
    for (const bool on_card : {false, true})
      all.push_back({std::string(name) + ", " + where(on_card), unit, good, {way(on_card)}});
  };
  using table::better;
  both("one slot, published to seen DONE", "us", better::lower, one_slot);
  for (const word slots : {1u << 10, 1u << 14, 1u << 18}) {
    const std::string name = std::to_string(slots) + " slots of one thread";
    both(name.c_str(), "M/s", better::higher, [=](bool on_card) { return batch(on_card, slots); });
  }
  for (const word slots : {1u << 10, 1u << 14, 1u << 17, 1u << 20}) {
    const std::string name = std::to_string(slots) + " slots, one-shot, start to end";
    both(name.c_str(), "us", better::lower, [=](bool on_card) { return once(on_card, slots); });
  }
  table::measure(all, rounds, dog);
  dog.begin("printing");
  table::print(gpu, all);
  return 0;
}
