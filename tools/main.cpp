#include <fmt/format.h>
#include <sys/ioctl.h>
#include <unistd.h>
#include <CLI/CLI.hpp>

#include <algorithm>
#include <array>
#include <charconv>
#include <chrono>
#include <cmath>
#include <csignal>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <memory>
#include <new>
#include <optional>
#include <span>
#include <sstream>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

import megakernel;
import megakernel.tool;

namespace {

using namespace megakernel::tool;
using megakernel::opcode;
using megakernel::word;

enum exit_status : int { healthy = 0, unusable = 1, usage = 2, attention = 3 };

/// To stderr, where a failure to write has nowhere left to be told.
void complain(std::string_view sentence) {
  std::fputs(fmt::format("megakernel: {}\n", sentence).c_str(), stderr);
}

void complain(std::string_view file, std::string_view sentence) {
  complain(fmt::format("{}: {}", printable(file == "-" ? "standard input" : file), sentence));
}

/// `code`, or 1 with a sentence when not all of the text could be written.
int finish(output& to, int code) {
  const int failure = to.finish();
  if (failure == 0) return code;
  complain(fmt::format("The output could not be written: {}.", std::strerror(failure)));
  return unusable;
}

/// Decimal, or hexadecimal after 0x. CLI11 would take 010 for eight.
std::optional<word> parse_word(std::string_view text) {
  const bool hex = text.starts_with("0x") || text.starts_with("0X");
  if (hex) text.remove_prefix(2);
  word value = 0;
  const char* const end = std::to_address(text.end());
  const auto [at, problem] =
      std::from_chars(std::to_address(text.begin()), end, value, hex ? 16 : 10);
  if (problem != std::errc{} || at != end) return std::nullopt;
  return value;
}

struct inspect_options {
  std::array<std::string, sources> files;
  std::vector<std::string> window_opcodes;
  std::string format = "table";
  std::string colour = "auto";
  std::uint32_t top = 10;
  std::optional<std::uint64_t> max_bytes;
  double timeout = 10;
  bool slots = false;
};

bool wants_colour(std::string_view when) {
  if (when != "auto") return when == "always";
  const char* const terminal = std::getenv("TERM");
  const char* const refused = std::getenv("NO_COLOR");
  return (refused == nullptr || *refused == '\0') && terminal != nullptr &&
         std::string_view(terminal) != "dumb" && ::isatty(STDOUT_FILENO) == 1;
}

std::size_t screen_width() {
  winsize size{};
  constexpr std::size_t unknown = 100;
  if (::ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) != 0 || size.ws_col == 0) return unknown;
  return size.ws_col;
}

class inspect_command {
 public:
  explicit inspect_command(const inspect_options& options) : options_(options) {}

  int run() {
    for (std::size_t i = 0; i < sources; ++i) {
      if (!load(static_cast<source>(i))) return unusable;
    }
    for (const std::string& text : options_.window_opcodes)
      opcodes_.push_back(opcode{*parse_word(text)});  // the command line has checked it
    const auto found = inspect(given());
    if (!found) {
      complain(file(found.error().from), found.error().why.message().text());
      return unusable;
    }
    return render(*found);
  }

 private:
  [[nodiscard]] const std::string& file(source from) const {
    return options_.files[static_cast<std::size_t>(from)];
  }
  [[nodiscard]] input& loaded(source from) { return inputs_[static_cast<std::size_t>(from)]; }
  [[nodiscard]] std::span<const std::byte> bytes(source from) {
    const input& read = loaded(from);
    return {read.bytes.data(), read.bytes.size()};
  }

  bool load(source from) {
    if (file(from).empty()) return true;
    const bool ring = from == source::ring || from == source::previous_ring;
    const std::uint64_t usual = std::uint64_t{ring ? 1024u : 64u} << 20;
    const input_limits limits{
        .max_bytes = options_.max_bytes.value_or(usual),
        .timeout = std::chrono::milliseconds(static_cast<std::int64_t>(options_.timeout * 1000))};
    auto read = read_input(file(from), limits);
    if (!read) {
      complain(file(from), sentence(read.error()));
      return false;
    }
    loaded(from) = std::move(*read);
    return true;
  }

  dumps given() {
    dumps all{.control = bytes(source::control),
              .ring = bytes(source::ring),
              .debug_log = std::nullopt,
              .io_queue = std::nullopt,
              .previous = std::nullopt,
              .window_opcodes = opcodes_};
    if (!file(source::debug_log).empty()) all.debug_log = bytes(source::debug_log);
    if (!file(source::io_queue).empty()) all.io_queue = bytes(source::io_queue);
    if (file(source::previous_control).empty()) return all;
    all.previous = {.control = bytes(source::previous_control),
                    .ring = bytes(source::previous_ring)};
    const auto now = loaded(source::control).modified;
    const auto before = loaded(source::previous_control).modified;
    if (now && before && *now > *before) all.interval = *now - *before;
    return all;
  }

  int render(const inspection& found) {
    output to(STDOUT_FILENO);
    if (options_.format == "json") {
      render_json(found, {.slots = options_.slots}, to);
    } else if (options_.format == "csv") {
      render_csv(found, to);
    } else {
      render_table(
          found,
          {.top = options_.top, .width = screen_width(), .colour = wants_colour(options_.colour)},
          to);
    }
    return finish(to, needs_attention(found.state) ? attention : healthy);
  }

  const inspect_options& options_;
  std::array<input, sources> inputs_;
  std::vector<opcode> opcodes_;
};

/// What CLI11 cannot say: `-` can be read once, and no range of its refuses a NaN.
void check_inspect(const inspect_options& options) {
  if (std::ranges::count(options.files, "-") > 1) {
    throw CLI::ValidationError(
        "Only one input can be '-', the standard input. Write the others to files.");
  }
  if (options.slots && options.format != "json") {
    throw CLI::ValidationError(
        "--slots goes with --format json. --format csv lists every slot anyway.");
  }
  if (std::isnan(options.timeout)) throw CLI::ValidationError("--timeout: not a number.");
}

void add_inspect(CLI::App& app, int& exit_code) {
  CLI::App& command =
      *app.add_subcommand("inspect", "Say what a dump of a control buffer and a ring shows");
  const auto options = std::make_shared<inspect_options>();
  const auto file = [&](const char* option, source from, const char* help) {
    return command.add_option(option, options->files[static_cast<std::size_t>(from)], help)
        ->type_name("FILE")
        ->check([](const std::string& name) {
          return name.empty() ? std::string("A file name is empty.") : std::string();
        });
  };
  file("--control", source::control, "Control buffer; '-' is standard input")->required();
  file("--ring", source::ring, "Ring")->required();
  file("--debug-log", source::debug_log, "Debug log");
  file("--io-queue", source::io_queue, "IO queue");
  auto* const previous_control = file("--previous-control", source::previous_control,
                                      "Control buffer of an earlier snapshot of the same launch");
  auto* const previous_ring =
      file("--previous-ring", source::previous_ring, "Ring of that snapshot");
  previous_control->needs(previous_ring);
  previous_ring->needs(previous_control);
  command
      .add_option("--window-opcode", options->window_opcodes,
                  "Opcode whose slots form windows, decimal or 0x...; may be repeated")
      ->type_name("N")
      ->take_all()
      ->expected(1)
      ->check([](const std::string& text) {
        return parse_word(text) ? std::string()
                                : std::string("An opcode is a number from 0 to 4294967295.");
      });
  command.add_option("--format", options->format, "How to say it")
      ->check(CLI::IsMember({"table", "json", "csv"}))
      ->type_name("table|json|csv")
      ->capture_default_str();
  command.add_flag("--slots", options->slots, "List every slot in the JSON, too");
  command.add_option("--top", options->top, "Rows of each list in the table")
      ->check(CLI::Range(1u, 1'000'000u))
      ->type_name("N")
      ->capture_default_str();
  command.add_option("--color,--colour", options->colour, "Colours in the table")
      ->check(CLI::IsMember({"auto", "always", "never"}))
      ->type_name("auto|always|never")
      ->capture_default_str();
  command
      .add_option("--max-bytes", options->max_bytes,
                  "Refuse an input over this size: 4096, 64M, 2GiB... (1 GiB for a ring, 64 MiB "
                  "for the others)")
      ->transform(CLI::AsSizeValue(false))
      ->check(CLI::Range(std::uint64_t{0}, std::uint64_t{1} << 40))
      ->type_name("SIZE");
  command
      .add_option("--timeout", options->timeout,
                  "Seconds to wait for all of an input that is not a regular file")
      ->check(CLI::Range(0.0, 86'400.0))
      ->type_name("SECONDS")
      ->capture_default_str();
  command.footer(
      "Examples:\n"
      "  megakernel inspect --control control.bin --ring ring.bin\n"
      "  megakernel inspect --control c1.bin --ring r1.bin \\\n"
      "      --previous-control c0.bin --previous-ring r0.bin   # stalled, dead or blocked?\n"
      "  megakernel inspect --control c.bin --ring r.bin --window-opcode 0x2a --format json\n"
      "  ssh host cat ring.bin | megakernel inspect --control c.bin --ring - --format csv\n"
      "\n"
      "Exit status: 0 healthy, 1 unusable input or output, 2 usage, 3 the kernel looks stalled,\n"
      "dead, blocked or faulted.");
  command.callback([options, &exit_code] {
    check_inspect(*options);
    exit_code = inspect_command(*options).run();
  });
}

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
    output to(STDOUT_FILENO);
    const int code = run_conformance(*files, to);
    exit_code = finish(to, code);
  });
}

int run(int argc, char** argv) {
  CLI::App app("Tools for persistent-kernel work rings", "megakernel");
  app.set_version_flag("--version", "megakernel " MEGAKERNEL_VERSION);
  app.require_subcommand(1);
  int exit_code = healthy;
  add_inspect(app, exit_code);
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
    return finish(to, code == 0 ? healthy : usage);
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
