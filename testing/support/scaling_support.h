// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// What the properties of the scaling policy share: requests and policies that reach its edges.
// Include it after all other headers: it imports the library.
#pragma once

#include <rapidcheck.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <expected>
#include <initializer_list>
#include <limits>
#include <optional>

import megakernel;

namespace props::scaling {

using namespace megakernel;

inline constexpr std::uint32_t most32 = std::numeric_limits<std::uint32_t>::max();
inline constexpr std::uint64_t most64 = std::numeric_limits<std::uint64_t>::max();

/// How many requests one try of a property draws.
inline constexpr int rounds = 100;

/// Cheap numbers: a test draws the seed, which is what RapidCheck shows.
class prng {
 public:
  explicit prng(std::uint64_t seed) : state_(seed) {}
  std::uint64_t next() {
    std::uint64_t z = state_ += 0x9E37'79B9'7F4A'7C15u;
    z = (z ^ z >> 30) * 0xBF58'476D'1CE4'E5B9u;
    z = (z ^ z >> 27) * 0x94D0'49BB'1331'11EBu;
    return z ^ z >> 31;
  }
  std::uint32_t below(std::uint64_t n) { return static_cast<std::uint32_t>(next() % n); }
  std::uint32_t between(std::uint32_t low, std::uint32_t high) {
    return static_cast<std::uint32_t>(low + next() % (std::uint64_t{high} - low + 1));
  }
  bool one_in(std::uint32_t n) { return below(n) == 0; }
  template <class T>
  T pick(std::initializer_list<T> from) {
    return from.begin()[below(from.size())];
  }
  /// A value of any size: as many bits as the generator says.
  std::uint64_t sized() { return one_in(16) ? 0 : next() >> below(64); }
  /// Next to one of `edges`, or of any size.
  std::uint32_t near(std::initializer_list<std::uint32_t> edges) {
    if (one_in(4)) return static_cast<std::uint32_t>(sized());
    return pick(edges) + pick({0u, 0u, 1u, 2u, most32, most32 - 1});
  }

 private:
  std::uint64_t state_;
};

inline rc::Gen<std::uint64_t> seeds() {
  return rc::gen::resize(rc::kNominalSize, rc::gen::arbitrary<std::uint64_t>());
}

inline std::uint16_t any_bps(prng& d, const policy_parameters& p) {
  const auto value = d.one_in(3) ? d.below(10'001)
                                 : d.near({0, p.sparse_bps - p.frontier_hysteresis_bps,
                                           p.sparse_bps, p.sparse_bps + p.frontier_hysteresis_bps,
                                           p.dense_bps - p.frontier_hysteresis_bps, p.dense_bps,
                                           p.dense_bps + p.frontier_hysteresis_bps,
                                           p.memory_pressure_bps - p.memory_hysteresis_bps,
                                           p.memory_pressure_bps, 10'000, 65'535});
  return static_cast<std::uint16_t>(value);
}

inline launch_request any_request(prng& d, const policy_parameters& p) {
  launch_request r;
  r.queue_len = d.near({0, 1, 31, 64, 256, 1024, p.jit_queue_len_threshold, 65'535, 1u << 31,
                        most32, most32 / 2, most32 / 3});
  r.requested_worker_groups = d.near({0, 1, 31, 32, 33, 64, 255, 1024, 65'535, 1u << 20, most32});
  r.limits = {.max_workgroup_size_x = d.near({0, 1, 32, 256, 1024, most32}),
              .max_compute_workgroups_per_dimension =
                  d.near({0, 1, 255, 256, 512, 65'535, 1u << 18, most32}),
              .max_compute_invocations_per_workgroup = d.near({0, 1, 256, 1024, 4096, most32})};
  if (!d.one_in(4)) {  // most requests get past the limits
    r.limits.max_workgroup_size_x |= 1;
    r.limits.max_compute_workgroups_per_dimension |= 1;
    r.limits.max_compute_invocations_per_workgroup |= 1;
  }
  if (d.one_in(4)) r.requested_hit_capacity = d.near({0, 1, 1024, most32});
  r.expected_hits_per_item = d.one_in(2) ? 1 : d.near({0, 1, 2, 3, 65'536, most32});
  r.hot_opcode_count = d.near({0, p.hot_opcode_threshold});
  r.hot_window_count = d.near({0, p.hot_window_threshold});
  r.requeue_count = d.one_in(2) ? 0 : d.one_in(2) ? most64 - d.below(3) : d.sized();
  r.max_priority_age = d.near({0, p.priority_age_threshold, most32});
  r.graph_node_count = d.one_in(3) ? 0 : d.near({1, 100, r.queue_len, most32});
  r.graph_edge_count = d.near({0, p.fusion_edge_threshold, most32});
  r.frontier_density_bps = any_bps(d, p);
  r.memory_pressure_bps = d.one_in(2) ? 0 : any_bps(d, p);
  r.device_memory_budget_bytes = d.one_in(2) ? 0 : d.one_in(4) ? most64 - d.below(3) : d.sized();
  r.resident_device_bytes = d.sized();
  if (d.one_in(2)) r.resident_device_bytes = r.device_memory_budget_bytes / 100 * d.below(101);
  if (d.one_in(8)) r.resident_device_bytes = most64 - d.below(1u << 16);
  return r;
}

inline std::optional<launch_topology> any_topology(prng& d) {
  if (d.one_in(4)) return std::nullopt;
  return static_cast<launch_topology>(d.below(6));
}

/// A policy of any values, about half of which keep the rules.
inline policy_parameters any_policy(prng& d) {
  policy_parameters p;
  const auto count = [&] { return d.near({1, 2, 256, 1024, most32}); };
  p.sizing = {.default_workers = count() | 1,
              .occupancy_divisor = count() | 1,
              .max_dispatch_groups = count() | 1,
              .powerful_invocations = count(),
              .powerful_worker_groups = count() | 1};
  p.min_hit_capacity = count();
  p.hit_capacity_multiplier = count() | 1;
  p.saturated_waves = count() | 1;
  p.hot_opcode_threshold = d.below(12);
  p.hot_window_threshold = d.below(12);
  p.jit_queue_len_threshold = count();
  p.priority_age_threshold = count();
  p.dense_bps = d.pick({0u, 1u, 9'999u, 10'000u, d.below(10'001)});
  p.sparse_bps = d.one_in(4) ? p.dense_bps : d.below(p.dense_bps + 1);
  const std::uint32_t room = std::min(p.sparse_bps, 10'000 - p.dense_bps);
  p.frontier_hysteresis_bps = d.one_in(2) ? room : d.below(room + 1);
  p.memory_pressure_bps = d.pick({0u, 1u, 9'999u, 10'000u, d.below(10'001)});
  p.memory_hysteresis_bps =
      d.one_in(2) ? p.memory_pressure_bps : d.below(p.memory_pressure_bps + 1);
  p.fusion_edge_threshold = count();
  p.scratch_bytes_per_hit = count();
  if (!d.one_in(2)) return p;
  const std::array spoilt{&p.sizing.default_workers,
                          &p.sizing.occupancy_divisor,
                          &p.sizing.max_dispatch_groups,
                          &p.sizing.powerful_worker_groups,
                          &p.hit_capacity_multiplier,
                          &p.saturated_waves,
                          &p.sparse_bps,
                          &p.dense_bps,
                          &p.frontier_hysteresis_bps,
                          &p.memory_pressure_bps,
                          &p.memory_hysteresis_bps};
  *spoilt[d.below(spoilt.size())] = d.pick({0u, 1u, 250u, 10'000u, 10'001u, most32, most32 - 250});
  return p;
}

/// A request that is not refused, with nothing to infer.
inline launch_request easy_request(prng& d) {
  launch_request r =
      launch_request::on({.max_workgroup_size_x = d.between(1, 1024),
                          .max_compute_workgroups_per_dimension = d.between(1, 65'535),
                          .max_compute_invocations_per_workgroup = d.between(1, 8192)},
                         d.between(1, 1u << 24));
  r.requested_worker_groups = d.below(2048);
  r.frontier_density_bps = static_cast<std::uint16_t>(d.between(1, 10'000));
  r.memory_pressure_bps = static_cast<std::uint16_t>(d.between(1, 8000));
  r.graph_node_count = d.between(1, 1u << 20);
  r.graph_edge_count = d.below(1u << 18);
  r.hot_opcode_count = d.below(10);
  return r;
}

inline bool same(const result<launch_recommendation>& a, const result<launch_recommendation>& b) {
  if (a.has_value() != b.has_value()) return false;
  return a ? *a == *b : a.error() == b.error();
}

template <class T>
bool refused(const result<T>& got, const error& wanted) {
  return !got.has_value() && got.error() == wanted;
}

}  // namespace props::scaling
