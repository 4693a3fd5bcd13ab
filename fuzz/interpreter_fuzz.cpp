// The kernel's interpreter (SPEC 7): one-shot launches of any control buffer and ring, lane after
// lane, next to the plain kernel. Everything is left as that leaves it, word by word; the buffers
// are of exact size, so that a step outside is seen.
#include <string>
#include <tuple>

#include "fuzz.h"
#include "kernel_input.h"
#include "plain_kernel.h"

#include "megakernel_import.h"

#include "interpret.h"

namespace kernel = props::kernel;
namespace dev = megakernel::device;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  fuzz::input in(data, size);
  const std::uint32_t lanes = in.below(3) + 1;
  const bool by_priority = in.flag();
  const plain::kernel_state before = fuzz::kernel_from(in, fuzz::kernel_sizes_from(in));

  plain::kernel_state expected = before;
  kernel::execute_plainly(expected, lanes, by_priority);
  plain::kernel_state one_by_one = before;
  kernel::interpret<dev::direct_counters<dev::host_memory>>(one_by_one, lanes, by_priority);
  fuzz::check(kernel::different(one_by_one, expected).empty(),
              "a launch leaves what the plain kernel leaves");
  plain::kernel_state together = before;
  kernel::interpret<dev::counter_batch<dev::host_memory>>(together, lanes, by_priority);
  // A slot that reads a counter may see it lag: what it has stored then may differ.
  std::ranges::copy(std::span(expected.control).subspan(160), together.control.begin() + 160);
  fuzz::check(kernel::different(together, expected).empty(),
              "counters that are added up come out the same");

  // Once more, on what the first has left.
  expected.control[0] = 0;
  one_by_one = expected;
  kernel::execute_plainly(expected, 1, by_priority);
  kernel::interpret<dev::direct_counters<dev::host_memory>>(one_by_one, 1, by_priority);
  fuzz::check(kernel::different(one_by_one, expected).empty(),
              "and so does one on what the first has left");
  return 0;
}
