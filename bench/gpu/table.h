// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The figures of one run: several ways to measure the same limit, samples of all of them taken in
// turn, the best way reported.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdio>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "gpu_support.h"

namespace table {

enum class better { lower, higher };

/// One way to measure a limit. `sample` appends what it saw to the list it is given.
struct way {
  std::string name;
  std::function<void(std::vector<double>&)> sample;
  std::vector<double> samples;
};

/// Of a sorted list.
inline double quantile(const std::vector<double>& sorted, double q) {
  return sorted.empty()
             ? 0
             : sorted[static_cast<std::size_t>(q * static_cast<double>(sorted.size() - 1) + 0.5)];
}

struct limit {
  std::string name;
  std::string unit;
  better direction;
  std::vector<way> ways;
};

/// One round samples every way of every limit once, so that a device that warms up or a neighbour
/// that wakes touches all alike. The first round is not kept.
inline void measure(std::vector<limit>& limits, std::size_t rounds, gpu_support::watchdog& dog) {
  for (std::size_t round = 0; round <= rounds; ++round) {
    for (limit& of : limits) {
      for (way& by : of.ways) {
        dog.begin(of.name.c_str());
        by.sample(by.samples);
        if (round == 0) by.samples.clear();
      }
    }
  }
  for (limit& of : limits)
    for (way& by : of.ways) std::sort(by.samples.begin(), by.samples.end());
}

inline const way& best(const limit& of) {
  return *std::min_element(of.ways.begin(), of.ways.end(), [&](const way& a, const way& b) {
    const double x = quantile(a.samples, 0.5);
    const double y = quantile(b.samples, 0.5);
    return of.direction == better::lower ? x < y : x > y;
  });
}

inline void print(const gpu_support::properties& gpu_properties, const std::vector<limit>& limits) {
  std::printf("%s, %u processors, wave of %u, %.1f GiB, %.0f MiB of cache; driver %s; %s\n\n",
              gpu_properties.name.c_str(), gpu_properties.processors, gpu_properties.wave_size,
              static_cast<double>(gpu_properties.memory_bytes) / (1u << 30),
              static_cast<double>(gpu_properties.cache_bytes) / (1u << 20),
              gpu_properties.driver.c_str(), gpu_properties.date.c_str());
  std::printf("%-52s %10s %10s %10s  %-8s %s\n", "limit", "median", "p10", "p90", "unit", "how");
  for (const limit& of : limits) {
    const way& by = best(of);
    std::printf("%-52s %10.2f %10.2f %10.2f  %-8s %s\n", of.name.c_str(), quantile(by.samples, 0.5),
                quantile(by.samples, 0.1), quantile(by.samples, 0.9), of.unit.c_str(),
                by.name.c_str());
  }
}

/// A line for the device, then one a way; names here need no escapes.
inline void print_json(std::FILE* to, const gpu_support::properties& gpu_properties,
                       const std::vector<limit>& limits) {
  std::fprintf(to,
               "{\"card\":\"%s\",\"processors\":%u,\"wave_size\":%u,\"memory_bytes\":%llu,"
               "\"cache_bytes\":%llu,\"driver\":\"%s\",\"date\":\"%s\"}\n",
               gpu_properties.name.c_str(), gpu_properties.processors, gpu_properties.wave_size,
               static_cast<unsigned long long>(gpu_properties.memory_bytes),
               static_cast<unsigned long long>(gpu_properties.cache_bytes),
               gpu_properties.driver.c_str(), gpu_properties.date.c_str());
  for (const limit& of : limits) {
    for (const way& by : of.ways) {
      std::fprintf(to,
                   "{\"limit\":\"%s\",\"how\":\"%s\",\"best\":%s,\"unit\":\"%s\",\"median\":%.6g,"
                   "\"p10\":%.6g,\"p90\":%.6g,\"samples\":%zu}\n",
                   of.name.c_str(), by.name.c_str(), &by == &best(of) ? "true" : "false",
                   of.unit.c_str(), quantile(by.samples, 0.5), quantile(by.samples, 0.1),
                   quantile(by.samples, 0.9), by.samples.size());
    }
  }
}

}  // namespace table
