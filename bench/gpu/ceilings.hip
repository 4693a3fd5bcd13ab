// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// What this device can do at best with what a persistent kernel lives on: launches, a word sent to
// and fro through pinned memory, bandwidths, and the bare draining of a ring. The figures of the
// real kernel are ratios to these.
//
//   megakernel_gpu_ceilings [--rounds N] [--json FILE]
//
// Exit status: 0 measured, 1 an error or a wait that did not end, 2 a wrong command line, 77 no
// GPU.
#include <cstring>
#include <vector>

#include "limits.h"

namespace {

using namespace limits;

/// The largest power of two that is at most `most` and at most `share`.
std::size_t fitting(std::size_t most, std::size_t share) {
  while (most > share) most /= 2;
  return most;
}

struct options {
  std::size_t rounds = 30;
  const char* json = nullptr;
};

options parse(int count, char** arguments) {
  options chosen;
  for (int i = 1; i + 1 < count; i += 2) {
    const char* const value = arguments[i + 1];
    if (std::strcmp(arguments[i], "--json") == 0) {
      chosen.json = value;
    } else if (std::strcmp(arguments[i], "--rounds") == 0) {
      chosen.rounds = std::strtoul(value, nullptr, 10);
    } else {
      count = 0;
    }
  }
  if (count % 2 == 0 || chosen.rounds == 0) {
    std::fprintf(stderr, "usage: megakernel_gpu_ceilings [--rounds N] [--json FILE]\n");
    std::exit(2);
  }
  return chosen;
}

}  // namespace

int main(int count, char** arguments) {
  const options chosen = parse(count, arguments);
  gpu_support::watchdog dog(std::chrono::seconds(30));
  const gpu_support::properties gpu = gpu_support::take("megakernel_gpu_ceilings");

  dog.begin("allocating");
  std::size_t free_bytes = 0;
  std::size_t all_bytes = 0;
  CHECKED(hipMemGetInfo(&free_bytes, &all_bytes));
  const std::size_t bytes = fitting(std::size_t{1} << 30, free_bytes / 8);
  const std::size_t host_bytes = std::size_t{256} << 20;
  const auto many_slots = static_cast<word>(fitting(1u << 24, free_bytes / 8 / abi::slot_bytes));
  bench on(gpu, bytes, host_bytes, many_slots);

  std::vector<table::limit> limits;
  const gpu_support::stream& stream = on.stream;
  limits.push_back({"empty launch, until it is done", "us", better::lower,
                    until_done(stream, [&] { gpu_support::launch(nothing, {1, 1}, stream); })});
  limits.push_back({"graph launch, until it is done", "us", better::lower,
                    until_done(stream, [&] { on.graph.launch(stream); })});
  limits.push_back(asynchronous_launch(stream));
  limits.push_back(
      {"ping-pong through pinned memory",
       "us",
       better::lower,
       {ping_pong<false>("relaxed", stream, on.box.host(), on.box.device(), gpu.wave_size)}});
  limits.push_back({"ping-pong, acquire and release",
                    "us",
                    better::lower,
                    {ping_pong<true>("fence on arrival, store-release", stream, on.box.host(),
                                     on.box.device(), gpu.wave_size)}});
  limits.push_back(
      {"copy of 640 B to the device, until done", "us", better::lower, until_done(stream, [&] {
         CHECKED(hipMemcpyAsync(on.to.data(), on.host.host(), abi::control_bytes,
                                hipMemcpyHostToDevice, stream));
       })});
  limits.push_back(
      {"copy of 640 B to the host, until done", "us", better::lower, until_done(stream, [&] {
         CHECKED(hipMemcpyAsync(on.host.host(), on.from.data(), abi::control_bytes,
                                hipMemcpyDeviceToHost, stream));
       })});
  limits.push_back(
      {"device read", "GB/s", better::higher, reads<1, 2, 4, 8, 16>(on, on.from.data(), bytes)});
  limits.push_back(
      {"device copy, read and written bytes", "GB/s", better::higher, copies<1, 2, 4, 8>(on)});
  limits.push_back({"host to device, pinned",
                    "GB/s",
                    better::higher,
                    {moves("the runtime's copy", on, host_bytes, [&] {
                      CHECKED(hipMemcpyAsync(on.to.data(), on.host.host(), host_bytes,
                                             hipMemcpyHostToDevice, stream));
                    })}});
  limits.push_back({"device to host, pinned",
                    "GB/s",
                    better::higher,
                    {moves("the runtime's copy", on, host_bytes, [&] {
                      CHECKED(hipMemcpyAsync(on.host.host(), on.from.data(), host_bytes,
                                             hipMemcpyDeviceToHost, stream));
                    })}});
  limits.push_back({"pinned memory read by the device", "GB/s", better::higher,
                    reads<1, 4>(on, on.host.device(), host_bytes)});

  const word some_slots = std::min<word>(1u << 20, many_slots);
  const bare::tally some = complete(some_slots);
  const drained rings[] = {{some_slots, cache::of_publishing, some},
                           {some_slots, cache::of_other_memory, some},
                           {many_slots, cache::of_other_memory, complete(many_slots)}};
  for (const drained& ring : rings) add_drains(limits, on, ring);

  table::measure(limits, chosen.rounds, dog);
  dog.begin("printing");
  table::print(gpu, limits);
  std::FILE* const json = chosen.json == nullptr ? stdout : std::fopen(chosen.json, "w");
  if (json == nullptr) gpu_support::fail("cannot write %s", chosen.json);
  if (json == stdout) std::puts("");
  table::print_json(json, gpu, limits);
  if (std::fflush(json) != 0) gpu_support::fail("cannot write the figures");
  if (json != stdout) std::fclose(json);
  return 0;
}
