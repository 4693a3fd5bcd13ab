// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// A second, deliberately plain kernel: one-shot execution on vectors of words.
// docs/protocol.md#lane-pass
//
// It is the oracle of the interpreter's properties. It executes on a copy, with bounds looked at
// where a word is touched, and throws the copy away when something is wrong; so a fault changes
// nothing by construction. It shares no code with the library, includes none of its headers and
// spells the numbers out, so that a mistake in the one is not a mistake in the other.
#pragma once

#include <cstdint>
#include <vector>

namespace oracle {

using words = std::vector<std::uint32_t>;

/// What the kernel works on. An empty log, queue or table is one that the launch does not have.
struct kernel_state {
  words control;
  words ring;
  words debug_log;
  words io_queue;
  words table;
  std::uint32_t system_tenant = 0;
  bool quotas = false;
};

/// Opcodes of the test's own, as the interpreter is given them.
inline constexpr std::uint32_t user_store = 10;    ///< observable word a0 = a1, or fault 2
inline constexpr std::uint32_t user_yield = 11;    ///< yields
inline constexpr std::uint32_t user_requeue = 12;  ///< requeues
inline constexpr std::uint32_t user_fault = 13;    ///< observable word 0 += 1, then fault a0
inline constexpr std::uint32_t user_add = 300;     ///< observable word a0 += a1, or fault 2

/// Lane `lane` of `lanes` looks at each of its slots once.
void run_once(kernel_state& k, std::uint32_t lane, std::uint32_t lanes);
/// The same in the priority form.
void run_once_by_priority(kernel_state& k, std::uint32_t lane, std::uint32_t lanes);

}  // namespace oracle
