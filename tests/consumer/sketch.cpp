// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <cstddef>
#include <expected>
#include <span>
import megakernel.sketch;

// A sketch goes through its byte form, with the sketch module alone.
int main() {
  auto sketch = megakernel::count_min_sketch::of_shape(4, 64);
  if (!sketch || !sketch->add(42, 7)) return 1;
  const auto bytes = megakernel::write_sketch(*sketch);
  if (!bytes) return 1;
  const std::span<const std::byte> written(bytes->data(), bytes->size());
  const auto read = megakernel::read_count_min_sketch(written);
  const auto cut = megakernel::read_count_min_sketch(written.first(written.size() - 1));
  return read && read->estimate(42) == 7 && !cut ? 0 : 1;
}
