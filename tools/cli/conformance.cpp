// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <unistd.h>
#include <CLI/CLI.hpp>

#include <memory>
#include <string>
#include <vector>

#include "cli/conformance.h"
#include "cli/output.h"
#include "cli/status.h"
#include "conformance/conformance.h"

void add_conformance(CLI::App& app, int& exit_code) {
  CLI::App& command = *app.add_subcommand("conformance", "Run golden vectors against the library");
  const auto files = std::make_shared<std::vector<std::string>>();
  command.add_option("files", *files, "JSON lines, plain or compressed with zstd")
      ->type_name("FILE")
      ->required();
  command.footer(
      "Example:\n"
      "  megakernel conformance tests/golden/vectors.jsonl.zst\n"
      "\n"
      "Exit status: 0 all cases that were not skipped passed, 1 a case failed or a file was not\n"
      "usable, 2 usage.");
  command.callback([files, &exit_code] {
    using namespace megakernel::tool;
    output to(STDOUT_FILENO);
    const int code = run_conformance(*files, to);
    exit_code = finish(to, code);
  });
}
