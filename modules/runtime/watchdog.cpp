module;
#include <chrono>
#include <expected>
module megakernel.runtime;
import megakernel.decoder;
import megakernel.protocol;

namespace megakernel {

result<health_report> watchdog::look(kernel_buffers& buffers, const work_feed& feed,
                                     kernel_target* target, const window_opcodes& windows,
                                     deadline flush) noexcept {
  if (auto taken = snapshot_.take(buffers, feed, target, flush); !taken)
    return std::unexpected(taken.error());
  if (auto decoded = telemetry_.decode(snapshot_.control(), snapshot_.ring(), windows); !decoded)
    return std::unexpected(decoded.error());
  return tracker_.look(telemetry_, std::chrono::steady_clock::now() - began_);
}

}  // namespace megakernel
