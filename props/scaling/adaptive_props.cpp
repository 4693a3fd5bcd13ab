// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// What goes with the policy: accounting, diffusion, gradient step, autotune choice and names.
#include <rapidcheck.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <expected>
#include <limits>
#include <numeric>
#include <span>
#include <string_view>
#include <vector>

#include "oracle_adaptive.h"

#include "scaling_support.h"

import megakernel;

namespace {

using namespace props::scaling;
using namespace megakernel;

void accounting() {
  prng d(*seeds());
  priority_accounting got{.requeue_count = most64 - d.below(8),
                          .aged_promotions = most64 - d.below(8)};
  for (int i = 0; i < 20; ++i) {
    priority_accounting wanted = got;
    const auto age = static_cast<std::uint32_t>(d.sized());
    const bool requeue = d.one_in(2);
    std::uint64_t& counter = requeue ? wanted.requeue_count : wanted.aged_promotions;
    const auto recorded = requeue ? record_requeue(got, age) : record_aged_promotion(got, age);
    RC_ASSERT(recorded.has_value() == (counter != most64));
    if (recorded) {
      ++counter;
      wanted.max_priority_age = std::max(wanted.max_priority_age, age);
    } else {
      RC_ASSERT(recorded.error().code == (requeue ? error_code::requeue_count_overflow
                                                  : error_code::aged_promotions_overflow));
    }
    RC_ASSERT(got == wanted);
  }
}

double any_double(prng& d) {
  if (d.one_in(3)) return std::bit_cast<double>(d.next());
  if (d.one_in(3))
    return d.pick(
        {0.0, -0.0, 1.0, -1.0, 0.5, std::numeric_limits<double>::infinity(),
         -std::numeric_limits<double>::infinity(), std::numeric_limits<double>::quiet_NaN(),
         -std::numeric_limits<double>::quiet_NaN(), std::numeric_limits<double>::denorm_min()});
  return static_cast<double>(d.below(2'000'001)) / 1'000'000.0 - 1.0;
}

std::vector<double> any_doubles(prng& d, std::size_t count) {
  std::vector<double> values(count);
  for (double& v : values) v = any_double(d);
  return values;
}

void diffusion() {
  prng d(*seeds());
  const auto values = any_doubles(d, d.below(9));
  const auto restriction = any_doubles(d, d.one_in(5) ? d.below(9) : values.size());
  const double damping = any_double(d);
  const std::uint32_t iterations = d.below(60);
  const auto wanted = oracle::diffused(values, restriction, damping, iterations);
  auto got = values;
  RC_ASSERT(diffuse(got, restriction, damping, iterations) ==
            (values.size() == restriction.size()));
  RC_ASSERT(std::ranges::equal(got, wanted, oracle::same_number));
}

void gradient() {
  prng d(*seeds());
  const std::uint32_t n = d.one_in(10) ? d.near({most32, 65'536}) : d.below(6);
  const std::size_t full = std::size_t{n} * n;
  const auto matrix = any_doubles(d, n > 5 ? 30 : full - std::min<std::size_t>(full, d.below(2)));
  const auto slope = any_doubles(d, n > 5 ? 9 : n + 1 - d.below(2));
  const double rate = any_double(d);
  std::vector<double> out(12, 7.0);
  const auto wanted = oracle::gradient_step(matrix, slope, n, rate, out.size());
  const auto got = natural_gradient_step(matrix, slope, n, rate, out);
  RC_ASSERT(std::ranges::equal(got, wanted, oracle::same_number));
  RC_ASSERT(natural_gradient_step(matrix, slope, n, rate,
                                  std::span(out).first(n > 0 && n < 9 ? n - 1 : 0))
                .empty());
}

void autotune() {
  prng d(*seeds());
  std::vector<std::uint32_t> candidates(d.below(9));
  std::iota(candidates.begin(), candidates.end(), 100u);
  const auto costs = any_doubles(d, d.below(9));
  RC_ASSERT(autotune_choice(candidates, costs, 7) == oracle::cheapest(candidates, costs, 7));
}

void names() {
  for (int i = 0; i < 6; ++i) {
    const auto topology = static_cast<launch_topology>(i);
    RC_ASSERT(topology_named(to_string(topology)) == topology);
  }
  RC_ASSERT(!topology_named("empty") && !topology_named(""));
  RC_ASSERT(to_string(launch_topology{6}).empty() && to_string(queue_pressure{4}).empty());
  RC_ASSERT(to_string(execution_mode{2}).empty());
  // Every parameter that can be out of range is named as it is spelt.
  policy_parameters p;
  p.saturated_waves = 0;
  const error waves = launch_policy::build(p).error();
  RC_ASSERT(waves.subject() == std::string_view("saturated_waves"));
  RC_ASSERT(waves.message().text().contains("must be at least 1"));
  p = {};
  p.sparse_bps = 4001;
  const error sparse = launch_policy::build(p).error();
  RC_ASSERT(sparse.subject() == std::string_view("sparse_bps"));
  RC_ASSERT(sparse.message().text().contains("is 4001, but must be at most 4000"));
  p = {};
  p.memory_hysteresis_bps = 8501;
  RC_ASSERT(launch_policy::build(p).error().subject() == std::string_view("memory_hysteresis_bps"));
  p = {};
  p.sizing.default_workers = 0;
  RC_ASSERT(launch_policy::build(p).error().subject() == std::string_view("default_workers"));
}

}  // namespace

int main() {
  bool good = true;
  good &= rc::check("accounting counts, or changes nothing", accounting);
  good &= rc::check("diffusion rounds every step", diffusion);
  good &= rc::check("a gradient step sums from left to right", gradient);
  good &= rc::check("the first cheapest candidate wins", autotune);
  good &= rc::check("names and subjects", names);
  return good ? 0 : 1;
}
