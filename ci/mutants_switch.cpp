// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// See mutants_switch.h. Compiled into the library of a mutated tree.
#include <cstdio>
#include <cstdlib>

extern "C" {
unsigned megakernel_mutant = 0;
unsigned char megakernel_mutants_reached[1 << 14] = {};
}

namespace {

struct choice {
  choice() {
    if (const char* chosen = std::getenv("MEGAKERNEL_MUTANT"))
      megakernel_mutant = static_cast<unsigned>(std::strtoul(chosen, nullptr, 10));
  }
  ~choice() {
    const char* const path = std::getenv("MEGAKERNEL_MUTANTS_REACHED");
    std::FILE* const to = path == nullptr ? nullptr : std::fopen(path, "wb");
    if (to == nullptr) return;
    std::fwrite(megakernel_mutants_reached, 1, sizeof megakernel_mutants_reached, to);
    std::fclose(to);
  }
} chosen;

}  // namespace
