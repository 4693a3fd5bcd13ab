// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <cstdint>
#include <expected>
#include <functional>
#include <span>
#include <string_view>
import megakernel;
import megakernel.testing;

// Two lanes on one slot: run once, whatever the schedule.
int main() {
  using namespace megakernel;
  auto buffers = kernel_buffers::make({.slots = 1, .observable_words = 1});
  if (!buffers) return 1;
  word* const slot = buffers->where().ring;
  slot[abi::status_word] = static_cast<word>(slot_status::published);
  auto stepped = stepper::over(*buffers);
  if (!stepped) return 1;
  const lane_options how{.order = schedule::by_priority, .passes = 1};
  if (!stepped->add_lane(how) || !stepped->add_lane(how)) return 1;
  const auto once = [&]() -> std::string_view {
    return buffers->where().control[abi::done_count_word] == 1 ? "" : "not run once";
  };
  const auto found = stepped->explore({.end = once});
  return found && found->complete && found->ends != 0 ? 0 : 1;
}
