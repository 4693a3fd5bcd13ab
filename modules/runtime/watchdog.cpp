// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
module;
#include <chrono>
#include <expected>
module megakernel.runtime;
import megakernel.decoder;
import megakernel.health;
import megakernel.protocol;

namespace megakernel {

result<health_report> watchdog::observe(kernel_buffers& buffers, const submission_queue& queue,
                                        kernel_target* target, const window_opcodes& windows,
                                        deadline flush) noexcept {
  if (auto taken = snapshot_.take(buffers, queue, target, flush); !taken)
    return std::unexpected(taken.error());
  if (auto decoded = telemetry_.decode(snapshot_.control(), snapshot_.ring(), windows); !decoded)
    return std::unexpected(decoded.error());
  const auto found = doctor_.observe(telemetry_, std::chrono::steady_clock::now() - began_,
                                     snapshot_.torn_pages(), snapshot_.ring());
  if (!found) return std::unexpected(found.error());
  found_ = *found;
  return doctor_.health();
}

}  // namespace megakernel
