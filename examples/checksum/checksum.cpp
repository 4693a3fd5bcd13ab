// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Checksums of 4 KiB blocks by a kernel that stays: several threads publish blocks, lanes run the
// handler below on each, and every result is compared with zlib's.
#include <megakernel/handlers.h>
#include <zlib.h>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <expected>
#include <random>
#include <span>
#include <thread>
#include <utility>
#include <vector>

import megakernel;

namespace {

namespace mk = megakernel;
using mk::word;
using mk::device::outcome;

constexpr std::uint32_t blocks = 4096;
constexpr std::uint32_t block_bytes = 4096;
constexpr std::uint32_t producers = 4;

/// The user's opcode: the CRC-32 of block `block` of the arena, to observable word `result`.
struct checksum_block {
  static constexpr mk::opcode op{1000};
  static constexpr mk::fault_code outside{1000};  // of the handler's own
  struct arguments {
    word block, result;
  };

  template <class Context>
  MEGAKERNEL_HOST_DEVICE outcome operator()(const arguments& a, Context& context) const {
    const auto bytes = context.template arena<const unsigned char>(
        std::uint64_t{a.block} * block_bytes, block_bytes);
    if (!bytes) return outcome::fault(outside);
    // zlib's polynomial, half a byte at a time: entry i is what four zero bits make of i.
    constexpr word table[16] = {0x00000000, 0x1DB71064, 0x3B6E20C8, 0x26D930AC,
                                0x76DC4190, 0x6B6B51F4, 0x4DB26158, 0x5005713C,
                                0xEDB88320, 0xF00F9344, 0xD6D6A3E8, 0xCB61B38C,
                                0x9B64C2B0, 0x86D3D2D4, 0xA00AE278, 0xBDBDF21C};
    word crc = ~word{0};
    for (const unsigned char byte : bytes) {
      crc ^= byte;
      crc = crc >> 4 ^ table[crc & 15];
      crc = crc >> 4 ^ table[crc & 15];
    }
    return context.store_result(a.result, ~crc) ? outcome::done() : outcome::fault(outside);
  }
};

/// The value of a call, or the end of the program with a sentence that says why.
template <class T>
T need(mk::result<T> got) {
  if (!got) {
    const auto why = got.error().message();
    std::fprintf(stderr, "%.*s\n", static_cast<int>(why.text().size()), why.text().data());
    std::exit(1);
  }
  if constexpr (!std::is_void_v<T>) return std::move(*got);
}

mk::deadline soon() { return mk::deadline::in(std::chrono::seconds(60)); }

/// Publishes every block whose number is `first` modulo the number of producers.
void publish_blocks(mk::submission_queue& queue, std::uint32_t first) {
  for (std::uint32_t block = first; block < blocks; block += producers) {
    const word arguments[] = {block, block};
    need(
        queue.publish({.op = checksum_block::op, .tenant = first, .arguments = arguments}, soon()));
  }
}

}  // namespace

int main() {
  auto kernel = need(mk::kernel_session::make(
      {.layout = {.slots = 256, .observable_words = blocks, .arena_bytes = blocks * block_bytes}}));
  const std::span<std::byte> arena = kernel.buffers().arena();
  std::mt19937 noise(2026);
  for (std::byte& byte : arena) byte = static_cast<std::byte>(noise());

  need(kernel.launch(
      need(mk::cpu_workers::make<mk::device::handlers<checksum_block>>({.workers = 2})), soon()));
  {
    std::vector<std::jthread> threads;
    for (std::uint32_t i = 0; i < producers; ++i)
      threads.emplace_back([&kernel, i] { publish_blocks(kernel.queue(), i); });
  }
  const mk::work_totals end = need(kernel.drain(soon()));
  need(kernel.stop(soon()));

  std::uint32_t wrong = 0;
  for (std::uint32_t block = 0; block < blocks; ++block) {
    const auto* const bytes = reinterpret_cast<const Bytef*>(arena.data()) + block * block_bytes;
    const word result = need(mk::read_observable(kernel.buffers().control(), block));
    wrong += result != crc32_z(0, bytes, block_bytes);
  }
  std::printf("%llu of %u blocks done, %u faults, %u checksums differ from zlib's\n",
              static_cast<unsigned long long>(end.done), blocks, end.faults, wrong);
  return end.done == blocks && end.faults == 0 && wrong == 0 ? 0 : 1;
}
