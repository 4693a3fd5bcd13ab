// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// A device that is lost, and the program that goes on: a GPU in a process of its own runs slots,
// loses its device by a handler that crashes, says `device_failed`, and a new runtime of this
// process drains what it is given, several times over.
//
// Exit status: 0 all right, 1 something is not, 77 no GPU.
#include "lost.h"

#include <array>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <expected>
#include <string_view>
#include <utility>

import megakernel;

namespace {

using namespace megakernel;
using clock_type = std::chrono::steady_clock;
using namespace std::chrono_literals;

constexpr std::uint32_t slots = 1024;
constexpr std::uint32_t count = 1000;

[[noreturn]] void fail(const char* what, std::string_view why) {
  std::printf("%s: %.*s\n", what, static_cast<int>(why.size()), why.data());
  std::exit(1);
}
template <class T>
T must(result<T> got, const char* what) {
  if (!got) fail(what, got.error().message().text());
  if constexpr (!std::is_void_v<T>) return std::move(*got);
}
long long since(clock_type::time_point start) {
  return std::chrono::duration_cast<std::chrono::milliseconds>(clock_type::now() - start).count();
}

void publish(kernel_session& kernel, std::uint32_t how, std::uint32_t value) {
  const std::array<word, 3> arguments{how, 0, value};
  (void)must(kernel.queue().publish({.op = opcode{lost::opcode}, .arguments = arguments},
                                    deadline::in(10s)),
             "publishing");
}

kernel_session launched(const gpu_plugin& gpu) {
  const auto start = clock_type::now();
  auto kernel =
      must(kernel_session::make({.layout = {.slots = slots, .shared = true}}), "the buffers");
  must(kernel.launch(must(gpu_target::make(gpu.calls(), {}), "the target"), deadline::in(30s)),
       "the launch");
  std::printf("  launched after %lld ms\n", since(start));
  return kernel;
}

/// Everything is run, once.
void works(const gpu_plugin& gpu) {
  auto kernel = launched(gpu);
  const auto start = clock_type::now();
  word sum = 0;
  for (std::uint32_t i = 0; i < count; ++i) {
    publish(kernel, lost::add, i);
    sum += i;
  }
  const totals drained = must(kernel.drain(deadline::in(10s)), "draining");
  const word found = load_word(kernel.buffers().control().data(), abi::observable_word);
  if (drained.done != count || drained.outstanding != 0 || drained.faults != 0 || found != sum)
    fail("draining", "not every slot was run once");
  (void)must(kernel.stop(deadline::in(10s)), "stopping");
  std::printf("  %u slots drained after %lld ms\n", count, since(start));
}

void is_lost(const gpu_plugin& gpu) {
  auto kernel = launched(gpu);
  for (std::uint32_t i = 0; i < 100; ++i) publish(kernel, lost::add, i);
  const auto start = clock_type::now();
  publish(kernel, lost::crash, 0);
  const auto drained = kernel.drain(deadline::in(30s));
  if (drained) fail("the crash", "it was drained");
  const auto text = drained.error().message();
  std::printf("  lost after %lld ms: %.*s\n", since(start), static_cast<int>(text.text().size()),
              text.text().data());
  if (drained.error().code != error_code::device_failed) fail("the crash", "that is another error");
  if (must(kernel.stop(deadline::in(10s)), "stopping what is lost").running != 0)
    fail("the crash", "lanes are left");
}

}  // namespace

int main() {
  const auto start = clock_type::now();
  const auto gpu = gpu_plugin::find("megakernel_gpu_lost_kernels", gpu_process::own);
  if (!gpu) {
    std::printf("megakernel_gpu_lost: %s\n", gpu.error().c_str());
    return 77;
  }
  std::printf("%.*s, found after %lld ms\n", static_cast<int>(gpu->device_name().size()),
              gpu->device_name().data(), since(start));
  works(*gpu);
  for (int round = 1; round <= 3; ++round) {
    std::printf("round %d\n", round);
    is_lost(*gpu);
    works(*gpu);
  }
  std::printf("ok: a device that is lost is an error, and the next runtime works\n");
}
