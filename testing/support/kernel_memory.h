// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// A kernel's memory in the few words that health depends on.
#pragma once

#include <array>
#include <cstdint>
#include <ostream>
#include <vector>

#include "support.h"

namespace props {

struct kernel_memory {
  std::array<std::uint32_t, 160> control{};
  std::vector<std::array<std::uint32_t, 16>> slots;

  /// Every tenant has a mask and tokens; no slots, no report.
  kernel_memory() {
    control[2] = 3;
    for (std::size_t t = 0; t < 29; ++t) control[3 + t] = 1;
    for (std::size_t t = 0; t < 32; ++t) control[32 + t] = 100;
  }
  kernel_memory& done(std::uint32_t count) {
    control[1] = count;
    return *this;
  }
  kernel_memory& slot(std::uint32_t status, std::uint32_t tenant = 0, std::uint32_t argument = 0) {
    slots.push_back({status, 8, tenant, 2, argument});
    return *this;
  }
  kernel_memory& heartbeat(std::uint32_t passes) {
    control[141] = 1;
    control[142] = passes;
    return *this;
  }
  kernel_memory& set(std::size_t word, std::uint32_t value) {
    control[word] = value;
    return *this;
  }
  [[nodiscard]] bytes control_bytes() const { return to_bytes(control); }
  [[nodiscard]] bytes ring_bytes() const {
    bytes ring;
    for (const auto& s : slots) {
      const bytes one = to_bytes(s);
      ring.insert(ring.end(), one.begin(), one.end());
    }
    return ring;
  }
};

inline void showValue(const kernel_memory& m, std::ostream& out) {
  out << "kernel{done " << m.control[1] << ", slots";
  for (const auto& s : m.slots) out << ' ' << s[0] << '/' << s[2];
  out << '}';
}

/// A status word, mostly a known one.
inline rc::Gen<std::uint32_t> any_status() {
  return rc::gen::weightedOneOf<std::uint32_t>(
      {{8, between<std::uint32_t>(0, 8)}, {1, any_word()}});
}

}  // namespace props
