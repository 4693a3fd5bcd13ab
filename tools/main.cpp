// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <unistd.h>
#include <CLI/CLI.hpp>

#include <csignal>
#include <cstdio>
#include <exception>
#include <new>
#include <sstream>

#include "cli/conformance.h"
#include "cli/inspect.h"
#include "cli/output.h"
#include "cli/recommend.h"
#include "cli/replay.h"
#include "cli/report.h"
#include "cli/run.h"
#include "cli/serve.h"
#include "cli/sketch.h"
#include "cli/status.h"
#include "cli/watch.h"

namespace {

using namespace megakernel::tool;

int run(int argc, char** argv) {
  CLI::App app("Tools for persistent-kernel work rings", "megakernel");
  app.set_version_flag("--version", "megakernel " MEGAKERNEL_VERSION);
  app.require_subcommand(1);
  int exit_code = success;
  add_run(app, exit_code);
  add_watch(app, exit_code);
  add_replay(app, exit_code);
  add_serve(app, exit_code);
  add_inspect(app, exit_code);
  add_report(app, exit_code);
  add_recommend(app, exit_code);
  add_sketch(app, exit_code);
  add_conformance(app, exit_code);

  try {
    app.parse(argc, argv);
    return exit_code;
  } catch (const CLI::ParseError& problem) {
    std::ostringstream out;
    std::ostringstream err;
    const int code = app.exit(problem, out, err);
    std::fputs(err.str().c_str(), stderr);
    output to(STDOUT_FILENO);
    to.write(out.str());
    return finish(to, code == 0 ? success : usage);
  }
}

}  // namespace

int main(int argc, char** argv) {
  // A reader that leaves is an error to report, not a reason to die.
  std::signal(SIGPIPE, SIG_IGN);
  try {
    return run(argc, argv);
  } catch (const std::bad_alloc&) {
    std::fputs("megakernel: There is no memory left. Inspect a smaller dump, or free some.\n",
               stderr);
  } catch (const std::exception& problem) {
    std::fputs("megakernel: This is a mistake of the command's own: ", stderr);
    std::fputs(problem.what(), stderr);
    std::fputs(".\n", stderr);
  }
  return unusable;
}
