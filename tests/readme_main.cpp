// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Runs README's programs, which are compiled from its text: readme_programs CONTROL RING.
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <expected>
#include <fstream>
#include <iterator>
#include <span>
#include <string>
#include <utility>
#include <vector>

import megakernel;

int report(std::span<const std::byte> control, std::span<const std::byte> ring);
megakernel::result<megakernel::word> on_threads();
std::expected<megakernel::word, std::string> on_a_gpu();
megakernel::result<std::uint64_t> memcpys_of_both(std::span<const std::byte> one,
                                                  std::span<const std::byte> other);

namespace {

std::string read(const char* path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

int failed(const char* what) {
  std::fprintf(stderr, "%s\n", what);
  return 1;
}

/// Of slots that all ask for MEMCPY.
megakernel::byte_buffer sketch_of(std::uint32_t slots) {
  auto control = megakernel::encode_control({});
  auto ring = megakernel::encode_ring(slots);
  auto publisher = megakernel::ring_publisher::over(*ring);
  for (std::uint32_t i = 0; i < slots; ++i)
    (void)publisher->publish(i, {.op = megakernel::opcode::memcpy});
  const auto decoded = megakernel::decode(*control, *ring);
  auto sketch = megakernel::telemetry_sketch::of_shape(4, 64);
  (void)sketch->assign(*decoded);
  return std::move(*megakernel::write_sketch(*sketch));
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) return failed("readme_programs CONTROL RING");
  const std::string control = read(argv[1]);
  const std::string ring = read(argv[2]);
  if (report(std::as_bytes(std::span(control)), std::as_bytes(std::span(ring))) != 0)
    return failed("the dump was refused");
  if (report({}, {}) != 1) return failed("no dump was taken for one");
  if (on_threads().value_or(0) != 7) return failed("threads did not store it");
  if (const auto stored = on_a_gpu(); stored ? *stored != 7 : stored.error().empty())
    return failed("a GPU stored something else, or nobody says why there is none");
  if (memcpys_of_both(sketch_of(3), sketch_of(4)).value_or(0) != 7) return failed("3 and 4 are 7");
  return 0;
}
