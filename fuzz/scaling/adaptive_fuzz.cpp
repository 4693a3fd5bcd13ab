// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// What goes with the launch policy: diffusion, autotune choice, gradient step and names.
// An input is numbers, any bits of them; results are the plain ones, bit by bit.
// docs/protocol.md#diffusion docs/protocol.md#autotune-choice docs/protocol.md#gradient-step
#include <bit>
#include <cmath>
#include <optional>

#include "fuzz.h"
#include "oracle_adaptive.h"

#include "megakernel_import.h"

namespace mk = megakernel;

namespace {

/// Small and exact, special, or any bits.
double double_from(fuzz::input& in) {
  constexpr std::array<double, 8> special{0.0, -0.0,     1.0,    -1.0,
                                          0.5, INFINITY, 5e-324, 1.7976931348623157e308};
  const std::uint32_t code = in.byte();
  if (code < 8) return special[code];
  if (code == 8) return -INFINITY;
  if (code == 9) return std::bit_cast<double>(in.take<std::uint64_t>());
  if (code == 10) return std::bit_cast<double>(0x7FF8'0000'0000'0000u);
  if (code == 11) return std::bit_cast<double>(0xFFF8'0000'0000'0000u);
  return (code - 128.0) / 64;
}

oracle::doubles doubles_from(fuzz::input& in, std::size_t count) {
  oracle::doubles all(count);
  for (double& d : all) d = double_from(in);
  return all;
}

bool same(std::span<const double> got, const oracle::doubles& wanted) {
  return std::ranges::equal(got, wanted, oracle::same_number);
}

void check_diffusion(fuzz::input& in) {
  oracle::doubles values = doubles_from(in, in.below(9));
  const auto restriction = doubles_from(in, in.below(4) == 3 ? in.below(9) : values.size());
  const double damping = double_from(in);
  const std::uint32_t iterations = in.byte();
  const auto wanted = oracle::diffused(values, restriction, damping, iterations);
  fuzz::check(mk::diffuse(values, restriction, damping, iterations) ==
                  (values.size() == restriction.size()),
              "lists of one length diffuse");
  fuzz::check(same(values, wanted), "every step of a diffusion rounds by itself");
}

void check_choice(fuzz::input& in) {
  const fuzz::words candidates = in.numbers(9);
  const auto costs = doubles_from(in, in.below(9));
  const std::uint32_t fallback = in.number();
  fuzz::check(mk::autotune_choice(candidates, costs, fallback) ==
                  oracle::cheapest(candidates, costs, fallback),
              "the first cheapest candidate is chosen");
}

/// Sizes are what is needed, or one off.
void check_gradient(fuzz::input& in) {
  const std::uint32_t code = in.below(8);
  const std::uint32_t n = code == 7 ? in.number() : code;
  const std::size_t side = code == 7 ? 5 : n;
  const std::uint32_t less = in.below(8);
  const auto matrix = doubles_from(in, side * side - (less == 1 && side != 0));
  const auto slope = doubles_from(in, side + (less == 2) - (less == 3 && side != 0));
  const double rate = double_from(in);
  oracle::doubles room(side + (less == 4) - (less == 5 && side != 0), 7.0);
  const auto wanted = oracle::gradient_step(matrix, slope, n, rate, room.size());
  const auto step = mk::natural_gradient_step(matrix, slope, n, rate, room);
  fuzz::check(same(step, wanted), "a gradient step sums from left to right");
  fuzz::check(step.empty() || step.data() == room.data(), "it stands where there is room for it");
  fuzz::check(
      std::ranges::all_of(std::span(room).subspan(step.size()), [](double d) { return d == 7.0; }),
      "what is left of the room stays as it is");
}

void check_names(std::uint32_t value) {
  constexpr std::array<std::string_view, 6> topologies{"Empty",          "SparseFrontier",
                                                       "HybridFrontier", "DenseFrontier",
                                                       "FusedDense",     "MemoryConstrained"};
  constexpr std::array<std::string_view, 4> pressures{"Empty", "Light", "Balanced", "Saturated"};
  constexpr std::array<std::string_view, 2> modes{"Interpreter", "Jit"};
  const auto named = [value](auto names) {
    return value < names.size() ? names[value] : std::string_view();
  };
  const auto byte = static_cast<std::uint8_t>(value);
  const auto topology = static_cast<mk::launch_topology>(byte);
  fuzz::check(mk::to_string(topology) == named(topologies) &&
                  mk::to_string(static_cast<mk::queue_pressure>(byte)) == named(pressures) &&
                  mk::to_string(static_cast<mk::execution_mode>(byte)) == named(modes),
              "what has a name has its own");
  const auto found = mk::topology_named(named(topologies));
  fuzz::check(found == (value < topologies.size() ? std::optional(topology) : std::nullopt),
              "a topology is found by its name");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  fuzz::input in(data, size);
  check_names(in.byte());
  while (!in.empty()) {
    switch (in.below(3)) {
      case 0:
        check_diffusion(in);
        break;
      case 1:
        check_choice(in);
        break;
      default:
        check_gradient(in);
    }
  }
  return 0;
}
