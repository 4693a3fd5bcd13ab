// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The main program of a target that replays inputs instead of making them:
//
//     NAME_replay CORPUS [FILE | DIRECTORY]...
//
// The first path must hold an input; of the others, those that do not exist are passed over. The
// environment variable MEGAKERNEL_FUZZ_CODES names a file that the error codes go to which the
// inputs have led to, a number a line.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <system_error>
#include <vector>

#include "fuzz.h"

namespace {

namespace fs = std::filesystem;

/// The files of a directory by name; a file itself.
std::vector<fs::path> inputs_of(const fs::path& where) {
  if (fs::is_regular_file(where)) return {where};
  std::vector<fs::path> files;
  if (fs::is_directory(where)) {
    for (const fs::directory_entry& entry : fs::directory_iterator(where)) {
      if (entry.is_regular_file()) files.push_back(entry.path());
    }
  }
  std::sort(files.begin(), files.end());
  return files;
}

bool replay(const fs::path& file) {
  std::ifstream from(file, std::ios::binary);
  const std::string content{std::istreambuf_iterator<char>(from), {}};
  if (!from) {
    std::fprintf(stderr, "%s cannot be read.\n", file.c_str());
    return false;
  }
  // Of just this size, so that a target that reads past its input is found, too.
  const fuzz::block input(
      fuzz::bytes(reinterpret_cast<const std::uint8_t*>(content.data()), content.size()));
  std::fprintf(stderr, "\r%s\r", file.c_str());  // the last thing seen when one crashes
  LLVMFuzzerTestOneInput(input.plain().data(), content.size());
  return true;
}

bool write_codes(const char* to) {
  if (to == nullptr) return true;
  std::ofstream out(to);
  for (std::size_t code = 0; code < fuzz::codes_reached.size(); ++code) {
    if (fuzz::codes_reached[code]) out << code << '\n';
  }
  if (!out.flush()) std::fprintf(stderr, "%s cannot be written.\n", to);
  return out.good();
}

}  // namespace

/// Nobody mutates here.
extern "C" std::size_t LLVMFuzzerMutate(std::uint8_t*, std::size_t size, std::size_t) {
  return size;
}

int main(int count, char** arguments) {
  std::size_t replayed = 0;
  for (int i = 1; i < count; ++i) {
    for (const fs::path& file : inputs_of(arguments[i])) {
      if (!replay(file)) return 1;
      ++replayed;
    }
    if (replayed == 0) break;
  }
  if (replayed == 0) {
    std::fprintf(stderr, "There is no input in %s: a corpus is never empty.\n",
                 count > 1 ? arguments[1] : "nothing: name a corpus");
    return 1;
  }
  std::fprintf(stderr, "\n%zu inputs replayed\n", replayed);
  return write_codes(std::getenv("MEGAKERNEL_FUZZ_CODES")) ? 0 : 1;
}
