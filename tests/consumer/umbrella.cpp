// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <cstddef>
#include <cstdio>
#include <span>
import megakernel;

// What README shows: bytes of a hung kernel in, an answer out.
int main() {
  const std::byte truncated[3]{};
  megakernel::ring_telemetry telemetry;
  const auto decoded = telemetry.decode(truncated, {});
  if (decoded) return 1;
  const auto message = decoded.error().message();
  std::printf("%.*s\n", static_cast<int>(message.text().size()), message.text().data());
  return decoded.error().code == megakernel::error_code::control_too_short ? 0 : 1;
}
