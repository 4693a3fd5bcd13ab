// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <fmt/format.h>
#include <CLI/CLI.hpp>

#include <chrono>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "cli/input.h"
#include "cli/numbers.h"
#include "cli/options.h"
#include "serve/http_server.h"

import megakernel;

namespace megakernel::tool {
namespace {

/// Takes the decimals that `fits` is true of.
template <class Fits>
text_check is_decimal(Fits fits, std::string otherwise) {
  return [fits, otherwise = std::move(otherwise)](const std::string& text) {
    const auto value = parse_decimal(text);
    return value && fits(*value) ? std::string() : otherwise;
  };
}

}  // namespace

std::string check_file_name(const std::string& name) {
  return name.empty() ? "A file name is empty." : "";
}

text_check is_word(std::string what) {
  return [what = std::move(what)](const std::string& text) {
    return parse_number<word>(text) ? std::string() : what + " is a number from 0 to 4294967295.";
  };
}

text_check is_seconds(double most) {
  return is_decimal([most](double value) { return value >= 0 && value <= most; },
                    fmt::format("A number of seconds from 0 to {:.0f} is needed.", most));
}

text_check is_positive(double most) {
  return is_decimal([most](double value) { return value > 0 && value <= most; },
                    fmt::format("A number over 0, at most {:.0f}, is needed.", most));
}

std::optional<double> parse_decimal(const std::string& text) {
  double value = 0;
  if (!CLI::detail::lexical_cast(text, value)) return std::nullopt;
  return value;
}

std::chrono::nanoseconds from_seconds(double seconds) {
  return std::chrono::nanoseconds(std::llround(seconds * 1e9));
}

CLI::Option* add_file(CLI::App& command, const char* option, std::string& to, const char* help) {
  return command.add_option(option, to, help)->type_name("FILE")->check(check_file_name);
}

CLI::Option* add_choice(CLI::App& command, const char* option, std::string& to,
                        const std::vector<std::string>& names, const char* help) {
  return command.add_option(option, to, help)
      ->check(CLI::IsMember(names))
      ->type_name(CLI::detail::join(names, "|"))
      ->capture_default_str();
}

CLI::Option* add_colour(CLI::App& command, std::string& to, const char* help) {
  return add_choice(command, "--color,--colour", to, {"auto", "always", "never"}, help);
}

CLI::Option* add_view(CLI::App& command, std::string& to, const char* help) {
  return add_choice(command, "--view", to, {"auto", "always", "never"}, help);
}

CLI::Option* add_window_opcodes(CLI::App& command, std::vector<std::string>& to) {
  return command
      .add_option("--window-opcode", to,
                  "Opcode whose slots form windows, decimal or 0x...; may be repeated")
      ->type_name("N")
      ->take_all()
      ->expected(1)
      ->check(is_word("An opcode"));
}

std::vector<opcode> parse_opcodes(std::span<const std::string> texts) {
  std::vector<opcode> opcodes;
  for (const std::string& text : texts) opcodes.push_back(opcode{*parse_number<word>(text)});
  return opcodes;
}

CLI::Option* add_max_bytes(CLI::App& command, std::optional<std::uint64_t>& to, const char* help) {
  return command.add_option("--max-bytes", to, help)
      ->transform(CLI::AsSizeValue(false))
      ->check(CLI::Range(std::uint64_t{0}, std::uint64_t{1} << 40))
      ->type_name("SIZE");
}

input_limits input_bounds::limits(std::uint64_t usual) const {
  return {.max_bytes = max_bytes.value_or(usual),
          .timeout = std::chrono::milliseconds(static_cast<std::int64_t>(timeout * 1000))};
}

void add_input_bounds(CLI::App& command, input_bounds& to, const char* help) {
  add_max_bytes(command, to.max_bytes, help);
  command
      .add_option("--timeout", to.timeout,
                  "Seconds to wait for all of an input that is not a regular file")
      ->check(CLI::Range(0.0, 86'400.0))
      ->type_name("SECONDS")
      ->capture_default_str();
}

void check_bounds(const input_bounds& bounds) {
  if (std::isnan(bounds.timeout)) throw CLI::ValidationError("--timeout: not a number.");
}

void check_one_standard_input(std::ptrdiff_t dashes, const char* others) {
  if (dashes > 1) {
    throw CLI::ValidationError(
        fmt::format("Only one input can be '-', the standard input. {}", others));
  }
}

std::optional<std::chrono::nanoseconds> capture_choice::at() const {
  if (!seconds) return std::nullopt;
  return from_seconds(*seconds);
}

CLI::Option* add_capture(CLI::App& command, capture_choice& to) {
  auto* const capture =
      add_file(command, "--capture", to.file, "A capture of `megakernel run`, instead of dumps");
  command.add_option("--at", to.seconds, "The capture's frame at so many seconds [the last]")
      ->type_name("SECONDS")
      ->needs(capture)
      ->check(is_seconds());
  return capture;
}

dump_options add_dumps(CLI::App& command, std::string& control, std::string& ring) {
  const dump_options added{
      .control = add_file(command, "--control", control, "Control buffer; '-' is standard input"),
      .ring = add_file(command, "--ring", ring, "Ring")};
  added.control->needs(added.ring);
  added.ring->needs(added.control);
  return added;
}

CLI::Option* add_patience(CLI::App& command, double& to, const char* help, double most) {
  return command.add_option("--patience", to, help)
      ->check(is_seconds(most))
      ->type_name("SECONDS")
      ->capture_default_str();
}

CLI::Option* add_listen(CLI::App& command, const char* option, std::string& to, const char* help) {
  return command.add_option(option, to, help)
      ->check([](const std::string& text) {
        const auto where = parse_listen_address(text);
        return where ? std::string() : where.error();
      })
      ->type_name("HOST:PORT")
      ->capture_default_str();
}

}  // namespace megakernel::tool
