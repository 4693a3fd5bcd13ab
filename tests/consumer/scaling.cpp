// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <cstdio>
#include <expected>
#include <optional>
import megakernel.scaling;

// Sizes a launch, with the scaling module alone.
int main() {
  const auto request = megakernel::launch_request::direct(5000, 64, 256);
  const auto launch = megakernel::recommend(request);
  const auto impossible = megakernel::recommend({});
  if (!launch || impossible) return 1;
  std::printf("%u workgroups of %u lanes\n", launch->geometry.dispatch_grid[0],
              launch->geometry.workgroup_size_x);
  return impossible.error().code == megakernel::error_code::limit_zero ? 0 : 1;
}
