// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Whether the corpora lead to every error code of the library: `fuzz_every_code DIRECTORY`, with
// the files that the replay programs write, a code a line.
#include <cstddef>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <set>

#include "megakernel_import.h"

int main(int count, char** arguments) {
  std::set<std::size_t> reached;
  if (count == 2) {
    for (const auto& file : std::filesystem::directory_iterator(arguments[1])) {
      std::ifstream codes(file.path());
      for (std::size_t code = 0; codes >> code;) reached.insert(code);
    }
  }
  std::size_t missing = 0;
  for (std::size_t code = 1; code <= megakernel::error_codes; ++code) {
    if (reached.contains(code)) continue;
    const auto name = megakernel::to_string(static_cast<megakernel::error_code>(code));
    std::fprintf(stderr, "No input of any corpus leads to %.*s (code %zu).\n",
                 static_cast<int>(name.size()), name.data(), code);
    ++missing;
  }
  std::fprintf(stderr, "%zu of %zu error codes are reached\n", megakernel::error_codes - missing,
               megakernel::error_codes);
  return missing == 0 ? 0 : 1;
}
