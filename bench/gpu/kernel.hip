// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// How fast the kernels are, in one run with what the device can do at best.
//
//   megakernel_gpu_kernel_bench [--rounds N] [--threads N] [--slots N] [--json FILE]
//
// `--slots`: millions of slots through one persistent kernel at the end, each run exactly once.
// Exit status: 0 measured, 1 an error, a wrong count or a wait that did not end, 2 a wrong command
// line, 77 no GPU.
#include <cstring>
#include <vector>

#include "kernel_cases.h"
#include "limits.h"

namespace {

using namespace limits;
using cases::fed_ring;
using cases::slots_are;

struct options {
  std::size_t rounds = 15;
  word threads = 16;
  std::size_t millions = 100;
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
    } else if (std::strcmp(arguments[i], "--threads") == 0) {
      chosen.threads = static_cast<word>(std::strtoul(value, nullptr, 10));
    } else if (std::strcmp(arguments[i], "--slots") == 0) {
      chosen.millions = std::strtoul(value, nullptr, 10);
    } else {
      count = 0;
    }
  }
  if (count % 2 == 0 || chosen.rounds == 0 || chosen.threads == 0 || chosen.threads > 256) {
    std::fprintf(stderr,
                 "usage: megakernel_gpu_kernel_bench [--rounds N] [--threads N] [--slots N] "
                 "[--json FILE]\n");
    std::exit(2);
  }
  return chosen;
}

/// One slot published and seen DONE, again and again, while the kernel has nothing else to do.
table::way single_slot(const char* name, const gpu_support::stream& stream, word op, word waves,
                       const gpu_support::properties& gpu) {
  return {name,
          [=, &stream, &gpu](samples& into) {
            fed_ring ring(stream, 1024, waves);
            ring.start(gpu.wave_size);
            for (word n = 0; n < 500; ++n) {
              const word i = n % ring.slots();
              const auto start = gpu_support::clock::now();
              ring.publish(i, op, n, abi::observable_word + 10);
              ring.wait_for(i, 3);
              if (n >= 20) into.push_back(gpu_support::seconds_since(start) * micro);
            }
            ring.stop();
          },
          {}};
}

table::way fed(std::string name, const gpu_support::stream& stream,
               const gpu_support::properties& gpu, word slots, word waves, word threads) {
  return {std::move(name),
          [=, &stream, &gpu](samples& into) {
            constexpr std::uint64_t groups = 1 << 18;  // 8 Mi slots
            fed_ring ring(stream, slots, waves);
            ring.start(gpu.wave_size);
            const double seconds = ring.queue(groups, threads, slots_are::drained);
            ring.stop();
            ring.verify();
            into.push_back(groups * fed_ring::group_slots / seconds * 1e-6);
          },
          {}};
}

/// The publishers alone, over slots that nobody drains: lines that stay with the processors.
table::limit feeding_alone(const gpu_support::stream& stream, word threads) {
  return {"publishers alone, nobody drains",
          "M/s",
          better::higher,
          {{std::to_string(threads) + " threads",
            [=, &stream](samples& into) {
              constexpr std::uint64_t groups = 1 << 18;
              fed_ring ring(stream, 65536, 1);
              const double seconds = ring.queue(groups, threads, slots_are::left);
              into.push_back(groups * fed_ring::group_slots / seconds * 1e-6);
            },
            {}}}};
}
/// The same, once over slots that the device has written last: what the publishers' half of a
/// hand-over costs, with nothing to wait for.
table::limit feeding_after_the_device(const gpu_support::stream& stream,
                                      const gpu_support::properties& gpu, word slots,
                                      word threads) {
  return {"publishers alone, after the device",
          "M/s",
          better::higher,
          {{std::to_string(threads) + " threads",
            [=, &stream, &gpu](samples& into) {
              fed_ring ring(stream, slots, 64);
              const std::uint64_t groups = slots / fed_ring::group_slots;
              (void)ring.queue(groups, threads, slots_are::left);
              ring.start(gpu.wave_size);
              ring.wait_for_count(slots);
              ring.stop();
              const double seconds = ring.queue(groups, threads, slots_are::done);
              into.push_back(slots / seconds * 1e-6);
            },
            {}}}};
}
/// The kernel alone, over slots that were published before it was started.
table::way draining_alone(const char* name, const gpu_support::stream& stream,
                          const gpu_support::properties& gpu, word waves) {
  return {name,
          [=, &stream, &gpu](samples& into) {
            constexpr word slots = 1 << 20;
            fed_ring ring(stream, slots, waves);
            (void)ring.queue(slots / fed_ring::group_slots, 8, slots_are::left);
            const auto start = gpu_support::clock::now();
            ring.start(gpu.wave_size);
            ring.wait_for_count(slots);
            const double seconds = gpu_support::seconds_since(start);
            ring.stop();
            ring.verify();
            into.push_back(slots / seconds * 1e-6);
          },
          {}};
}

double median(const std::vector<table::limit>& limits, const char* name) {
  for (const table::limit& of : limits)
    if (of.name == name) return table::quantile(table::best(of).samples, 0.5);
  gpu_support::fail("no figure %s", name);
}

void claim(const char* what, double ratio, const char* wanted, bool met) {
  std::printf("%-74s %8.2f   %-14s %s\n", what, ratio, wanted, met ? "met" : "MISSED");
}

}  // namespace

int main(int count, char** arguments) {
  const options chosen = parse(count, arguments);
  gpu_support::watchdog dog(std::chrono::seconds(120));
  const gpu_support::properties gpu = gpu_support::take("megakernel_gpu_kernel_bench");
  dog.begin("allocating");
  constexpr word slots = 1 << 20;
  bench on(gpu, std::size_t{1} << 30, std::size_t{1} << 20, slots);
  const gpu_support::stream& stream = on.stream;
  cases::mixed_ring mixed(gpu, stream, slots);

  std::vector<table::limit> all;
  all.push_back({"empty launch, until it is done", "us", better::lower,
                 until_done(stream, [&] { gpu_support::launch(nothing, {1, 1}, stream); })});
  all.push_back({"graph launch, until it is done", "us", better::lower,
                 until_done(stream, [&] { on.graph.launch(stream); })});
  all.push_back(
      {"ping-pong through pinned memory",
       "us",
       better::lower,
       {ping_pong<false>("relaxed", stream, on.box.host(), on.box.device(), gpu.wave_size)}});
  all.push_back({"ping-pong, acquire and release",
                 "us",
                 better::lower,
                 {ping_pong<true>("fence on arrival, store-release", stream, on.box.host(),
                                  on.box.device(), gpu.wave_size)}});
  all.push_back({"one NOP, published to seen DONE",
                 "us",
                 better::lower,
                 {single_slot("64 waves", stream, 0, 64, gpu)}});
  all.push_back(
      {"one NOP, few waves", "us", better::lower, {single_slot("4 waves", stream, 0, 4, gpu)}});
  all.push_back({"one STORE_U32, published to seen DONE",
                 "us",
                 better::lower,
                 {single_slot("64 waves", stream, 1, 64, gpu)}});
  all.push_back(
      {"device read", "GB/s", better::higher, reads<4, 8>(on, on.from.data(), on.from.bytes())});
  const drained ring{slots, cache::of_publishing, complete(slots)};
  add_drains(all, on, ring);
  using cases::copied;
  const auto kernels = [&](const char* name, cases::mixed_ring::kernel code, copied from) {
    const auto way = [&](const char* how, std::uint32_t lanes) {
      return table::way{
          how,
          [=, &mixed](samples& into) { into.push_back(mixed.drain(code, lanes, from, name)); },
          {}};
    };
    all.push_back({name, "G/s", better::higher, {way("blocks of 128", 128), way("of 256", 256)}});
  };
  using device::visibility;
  const auto once = device::run_once<visibility::at_exit, device::handlers<>>;
  kernels("the kernel, mixed work, 2^20 warm", once, copied::apart);
  kernels("the same, MEMCPY reads what STORE_U32 writes", once, copied::stored);
  kernels("the same with system fences", device::run_once<visibility::host, device::handlers<>>,
          copied::apart);
  kernels("the same with global atomics a slot",
          device::run_once_counting_at_once<device::handlers<>>, copied::apart);
  all.push_back(feeding_alone(stream, chosen.threads));
  all.push_back(feeding_after_the_device(stream, gpu, 1 << 20, chosen.threads));
  all.push_back(
      {"kernel alone, pinned ring published before",
       "M/s",
       better::higher,
       {draining_alone("16 waves", stream, gpu, 16), draining_alone("32 waves", stream, gpu, 32),
        draining_alone("64 waves", stream, gpu, 64),
        draining_alone("128 waves", stream, gpu, 128)}});
  std::vector<table::way> fed_ways;
  for (const word waves : {16u, 32u, 64u, 128u})
    for (const word of : {4096u, 65536u})
      fed_ways.push_back(fed(std::to_string(of) + " slots, " + std::to_string(waves) + " waves",
                             stream, gpu, of, waves, chosen.threads));
  all.push_back({"fed by all threads while it drains", "M/s", better::higher, std::move(fed_ways)});
  all.push_back({"fed by 1 thread",
                 "M/s",
                 better::higher,
                 {fed("4096 slots, 32 waves", stream, gpu, 4096, 32, 1)}});

  table::measure(all, chosen.rounds, dog);
  dog.begin("printing");
  table::print(gpu, all);

  std::puts("");
  const double one = median(all, "one NOP, published to seen DONE");
  const double ping = median(all, "ping-pong through pinned memory");
  claim("one slot / ping-pong through pinned memory", one / ping, "at most 1.4", one <= 1.4 * ping);
  const double launch = median(all, "empty launch, until it is done");
  claim("launch and synchronise / one slot", launch / one, "at least 3", launch >= 3 * one);
  const double ours = median(all, "the kernel, mixed work, 2^20 warm");
  const double bare = median(all, "drain, counters a block, 2^20 warm");
  claim("the kernel / bare loop with counters a block", ours / bare, "at least 0.6",
        ours >= 0.6 * bare);
  const double each = median(all, "the same with global atomics a slot");
  claim("the kernel / itself with global atomics a slot", ours / each, "at least 5",
        ours >= 5 * each);
  const double sustained = median(all, "fed by all threads while it drains");
  claim("million slots a second, fed while it drains", sustained, "at least 100", sustained >= 100);

  if (chosen.millions != 0) {
    dog.begin("many slots");
    fed_ring many(stream, 65536, 32);
    many.start(gpu.wave_size);
    const std::uint64_t groups = chosen.millions * 1'000'000 / fed_ring::group_slots;
    const double seconds = many.queue(groups, chosen.threads, slots_are::drained);
    many.stop();
    many.verify();
    std::printf(
        "\n%llu slots through one persistent kernel by %u threads in %.1f s, each run once "
        "with its own words: %.1f M/s\n",
        (unsigned long long)(groups * fed_ring::group_slots), chosen.threads, seconds,
        static_cast<double>(groups * fed_ring::group_slots) / seconds * 1e-6);
  }
  std::FILE* const json = chosen.json == nullptr ? stdout : std::fopen(chosen.json, "w");
  if (json == nullptr) gpu_support::fail("cannot write %s", chosen.json);
  if (json == stdout) std::puts("");
  table::print_json(json, gpu, all);
  if (std::fflush(json) != 0) gpu_support::fail("cannot write the figures");
  if (json != stdout) std::fclose(json);
  return 0;
}
