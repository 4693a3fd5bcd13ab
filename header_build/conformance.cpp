// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// `megakernel conformance` without the rest of the command: golden vectors against the header
// build.
#include <unistd.h>

#include <csignal>
#include <string>
#include <vector>

#include "cli/output.h"
#include "conformance/conformance.h"

int main(int count, char** arguments) {
  std::signal(SIGPIPE, SIG_IGN);
  const std::vector<std::string> files(arguments + 1, arguments + count);
  megakernel::tool::output to(STDOUT_FILENO);
  const int failed = megakernel::tool::run_conformance(files, to);
  return to.finish() == 0 && !files.empty() ? failed : 1;
}
