// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <fmt/format.h>

#include <cstdio>
#include <cstring>
#include <expected>
#include <string>
#include <string_view>

#include "cli/output.h"
#include "cli/status.h"
#include "render/names.h"

namespace megakernel::tool {

std::string about(std::string_view file, std::string_view why) {
  return fmt::format("{}: {}", printable(file), why);
}

std::string about_input(std::string_view file, std::string_view why) {
  return about(file == "-" ? "standard input" : file, why);
}

void complain(std::string_view sentence) {
  std::fputs(fmt::format("megakernel: {}\n", sentence).c_str(), stderr);
}

int give_up(std::string_view sentence) {
  complain(sentence);
  return unusable;
}

std::expected<void, std::string> finish(output& to) {
  const int failure = to.finish();
  if (failure == 0) return {};
  return std::unexpected(
      fmt::format("The output could not be written: {}.", std::strerror(failure)));
}

int finish(output& to, int code) {
  const auto finished = finish(to);
  return finished ? code : give_up(finished.error());
}

}  // namespace megakernel::tool
