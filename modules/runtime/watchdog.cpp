module;
#include <chrono>
#include <expected>
module megakernel.runtime;
import megakernel.decoder;
import megakernel.health;
import megakernel.protocol;

namespace megakernel {

result<health_report> watchdog::look(kernel_buffers& buffers, const work_feed& feed,
                                     kernel_target* target, const window_opcodes& windows,
                                     deadline flush) noexcept {
  if (auto taken = snapshot_.take(buffers, feed, target, flush); !taken)
    return std::unexpected(taken.error());
  if (auto decoded = telemetry_.decode(snapshot_.control(), snapshot_.ring(), windows); !decoded)
    return std::unexpected(decoded.error());
  const auto found = doctor_.look(telemetry_, std::chrono::steady_clock::now() - began_,
                                  snapshot_.torn_pages(), snapshot_.ring());
  if (!found) return std::unexpected(found.error());
  found_ = *found;
  return doctor_.health();
}

}  // namespace megakernel
