// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The kernel's interpreter: one-shot launches of any control buffer and ring, lane after
// lane, next to the plain kernel. Everything is left as that leaves it, word by word, also where
// somebody changes a slot between a look at it and its claim; the buffers are of exact size,
// so that a step outside is seen. docs/protocol.md#lane-pass
#include <functional>
#include <string>
#include <tuple>

#include "fuzz.h"
#include "kernel_input.h"
#include "oracle_kernel.h"

#include "megakernel_import.h"

#include "interpret.h"
#include "lane_interference.h"

namespace kernel = props::kernel;
namespace dev = megakernel::device;

namespace {

/// Whether a slot is a MEMCPY.
bool copies(const oracle::kernel_state& k) {
  for (std::size_t slot = 0; slot < k.ring.size(); slot += 16)
    if (k.ring[slot + 1] == 5) return true;
  return false;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  fuzz::input in(data, size);
  const std::uint32_t lanes = in.below(3) + 1;
  const bool by_priority = in.flag();
  const oracle::kernel_state before = fuzz::kernel_from(in, fuzz::kernel_sizes_from(in));

  oracle::kernel_state expected = before;
  kernel::execute_plainly(expected, lanes, by_priority);
  oracle::kernel_state one_by_one = before;
  kernel::interpret<dev::direct_counters<dev::host_memory>>(one_by_one, lanes, by_priority);
  fuzz::check(kernel::different(one_by_one, expected).empty(),
              "a launch leaves what the plain kernel leaves");
  for (std::size_t shift = 0; shift < (copies(before) ? 4u : 1u); ++shift) {
    oracle::kernel_state by_quads = before;
    kernel::interpret_by_quads(by_quads, lanes, by_priority, shift);
    fuzz::check(kernel::different(by_quads, expected).empty(),
                "and so does one over memory that copies by quads");
  }
  oracle::kernel_state together = before;
  kernel::interpret<dev::counter_batch<dev::host_memory>>(together, lanes, by_priority);
  // A slot that reads a counter may see it lag: what it has stored then may differ.
  std::ranges::copy(std::span(expected.control).subspan(160), together.control.begin() + 160);
  fuzz::check(kernel::different(together, expected).empty(),
              "counters that are added up come out the same");

  if (!before.ring.empty()) fuzz::check_interference(before, size % (before.ring.size() / 16));

  // Once more, on what the first has left.
  expected.control[0] = 0;
  one_by_one = expected;
  kernel::execute_plainly(expected, 1, by_priority);
  kernel::interpret<dev::direct_counters<dev::host_memory>>(one_by_one, 1, by_priority);
  fuzz::check(kernel::different(one_by_one, expected).empty(),
              "and so does one on what the first has left");
  return 0;
}
