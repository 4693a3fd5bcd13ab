// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <chrono>
#include <expected>
#include <memory>
#include <utility>
import megakernel.runtime;
import megakernel.protocol;

// What README shows: work for a kernel on two threads, with the runtime and the protocol alone.
int publish_one() {
  using namespace megakernel;
  auto kernel = kernel_session::make({.layout = {.slots = 64}});
  auto workers = cpu_workers::make({.workers = 2});
  const auto soon = deadline::in(std::chrono::seconds(10));
  if (!kernel || !workers || !kernel->launch(std::move(*workers), soon)) return 1;

  const word arguments[] = {7, 160};  // control[160] = 7, the first observable word
  const auto accepted =
      kernel->queue().publish({.op = opcode::store_u32, .arguments = arguments}, soon);
  if (!accepted || !kernel->queue().wait(*accepted, soon)) return 1;

  const auto drained = kernel->drain(soon);  // nothing that was accepted is lost
  return drained && drained->done == 1 ? 0 : 1;
}

int main() { return publish_one(); }
