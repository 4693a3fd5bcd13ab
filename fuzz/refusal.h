// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// A refusal in full, for targets whose second opinion knows its figures, too.
#pragma once

#include "fuzz.h"
#include "oracle_errors.h"

namespace fuzz {

struct refusal {
  std::string_view code{};  ///< empty: there is none
  std::uint64_t index = 0;
  std::uint64_t found = 0;
  std::uint64_t bound = 0;
};

/// Asks that `got` is this refusal, figure by figure or, where its code is empty, a value. Whether
/// it is a refusal.
template <class Expected>
bool refused_as(const Expected& got, const refusal& wanted,
                std::source_location where = std::source_location::current()) {
  if (!refused_as(got, wanted.code, where)) return false;
  check(got.error().index == wanted.index && got.error().found == wanted.found &&
            got.error().bound == wanted.bound,
        "a refusal says where, what was found and what would do", where);
  check(wanted.code == "buffer_unaligned" ||
            to_string(got.error().buffer) == oracle::buffer_of(wanted.code),
        "a refusal says of which buffer it is", where);
  return true;
}

}  // namespace fuzz
