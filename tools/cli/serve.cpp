// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <fmt/format.h>
#include <unistd.h>
#include <CLI/CLI.hpp>

#include <csignal>
#include <cstdint>
#include <expected>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "cli/input.h"
#include "cli/options.h"
#include "cli/output.h"
#include "cli/serve.h"
#include "cli/status.h"
#include "render/run.h"
#include "report/report.h"
#include "serve/http_server.h"
#include "serve/metrics.h"

import megakernel;

namespace {

using namespace megakernel::tool;
using megakernel::metrics_page;
using megakernel::opcode;
using megakernel::word;

struct serve_options {
  std::string listen = "127.0.0.1:9464";
  std::string control;
  std::string ring;
  std::vector<std::string> window_opcodes;
  std::uint32_t top = megakernel::metrics_options{}.top_tenants;
  std::optional<std::uint64_t> max_bytes;
};

/// SIGINT and SIGTERM, kept from every thread that is started from here on, and waited for. One
/// that whoever started us ignores never comes.
class ending_signals {
 public:
  ending_signals() {
    sigemptyset(&set_);
    sigaddset(&set_, SIGINT);
    sigaddset(&set_, SIGTERM);
    pthread_sigmask(SIG_BLOCK, &set_, nullptr);
  }
  void wait() const {
    int which = 0;
    while (sigwait(&set_, &which) != 0) {
    }
  }

 private:
  sigset_t set_{};
};

/// Pages of files, and a line on stderr when it becomes impossible to read them, or possible again.
class reported_pages {
 public:
  explicit reported_pages(file_metrics& pages) : pages_(pages) {}
  std::expected<metrics_response, std::string> page(std::string_view accept) {
    auto made = pages_.page(accept);
    if (std::string now = pages_.trouble(); now != reported_) {
      complain(now.empty() ? std::string("The files are read again.") : now);
      reported_ = std::move(now);
    }
    return made;
  }

 private:
  file_metrics& pages_;
  std::string reported_;
};

int serve(const serve_options& options) {
  file_metrics::files files{
      .control = options.control, .ring = options.ring, .max_bytes = options.max_bytes};
  files.windows = parse_opcodes(options.window_opcodes);
  auto made = file_metrics::make(files, {.top_tenants = options.top,
                                         .top_opcodes = options.top,
                                         .version = MEGAKERNEL_VERSION,
                                         .target = "files"});
  if (!made) return give_up(made.error());
  reported_pages pages(*made);

  const ending_signals ending;
  const auto where = parse_listen_address(options.listen);  // the command line has checked it
  const auto server = http_server::open(*where, answers_of(pages));
  if (!server) return give_up(server.error());
  output to(STDOUT_FILENO);
  to.write(fmt::format("The metrics are at {}\n", (*server)->url()));
  if (finish(to, success) != success) return unusable;
  ending.wait();
  return success;
}

std::string is_read_again(const std::string& name) {
  return name == "-" ? "The standard input can be read only once; name a file." : "";
}

}  // namespace

void add_serve(CLI::App& app, int& exit_code) {
  CLI::App& command =
      *app.add_subcommand("serve", "Answer Prometheus with a kernel's metrics, read from files");
  const auto options = std::make_shared<serve_options>();
  add_file(command, "--control", options->control,
           "Control buffer, read anew for each answer; it need not be there yet")
      ->check(is_read_again)
      ->required();
  add_file(command, "--ring", options->ring, "Ring, likewise")->check(is_read_again)->required();
  add_listen(command, "--listen", options->listen, "Where to answer; port 0 is any that is free");
  command
      .add_option("--top", options->top,
                  "Tenants, and opcodes, that have series of their own; the others are in one")
      ->check(CLI::Range(0u, metrics_page::most_named))
      ->type_name("N")
      ->capture_default_str();
  add_window_opcodes(command, options->window_opcodes);
  add_max_bytes(command, options->max_bytes,
                "Refuse a file over this size: 4096, 64M, 2GiB... (1 GiB for the ring, 64 MiB "
                "for the control buffer)");
  command.footer(
      "Examples:\n"
      "  megakernel serve --control control.bin --ring ring.bin\n"
      "  megakernel serve --control c.bin --ring r.bin --listen [::1]:0 --top 5\n"
      "  curl http://127.0.0.1:9464/metrics\n"
      "\n"
      "For the metrics of a run of this machine: megakernel run --serve HOST:PORT.\n"
      "Ctrl-C or SIGTERM ends it.\n"
      "\n"
      "Exit status: 0 it was told to end, 1 it could not listen or write, 2 usage.");
  command.callback([options, &exit_code] { exit_code = serve(*options); });
}
