// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The options and checks that subcommands share.
#pragma once

#include "standard.h"

#include <fmt/format.h>
#include <CLI/CLI.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <limits>
#include <optional>
#include <span>
#include <string>
#include <type_traits>
#include <vector>

#include "cli/input.h"
#include "cli/numbers.h"

import megakernel;

namespace megakernel::tool {

/// A check as CLI11 calls it: an empty string accepts the text, a sentence refuses it.
using text_check = std::function<std::string(const std::string&)>;

/// Refuses an empty name.
[[nodiscard]] std::string check_file_name(const std::string& name);
/// Takes a word; `what` begins the sentence that refuses others, such as "An opcode".
[[nodiscard]] text_check is_word(std::string what);
/// Takes seconds as people give them: not negative, no NaN, and few enough for nanoseconds.
[[nodiscard]] text_check is_seconds(double most = 1e9);
/// Takes what is over 0 and at most `most`.
[[nodiscard]] text_check is_positive(double most);

/// Decimal, with or without a fraction; nothing where it is no number.
[[nodiscard]] std::optional<double> parse_decimal(const std::string& text);
/// Of seconds that were checked.
[[nodiscard]] std::chrono::nanoseconds from_seconds(double seconds);

/// An option for the name of a file.
CLI::Option* add_file(CLI::App& command, const char* option, std::string& to, const char* help);

/// An option that takes one of `names`.
CLI::Option* add_choice(CLI::App& command, const char* option, std::string& to,
                        const std::vector<std::string>& names, const char* help);
/// `--color` and `--colour`.
CLI::Option* add_colour(CLI::App& command, std::string& to, const char* help);
/// `--view`, of the full-screen view.
CLI::Option* add_view(CLI::App& command, std::string& to, const char* help);
/// The sentence for `--view always` without a terminal.
inline constexpr const char* no_terminal =
    "There is no terminal to show the view on. Leave --view out.";

/// `--window-opcode`.
CLI::Option* add_window_opcodes(CLI::App& command, std::vector<std::string>& to);
/// Of texts that were checked.
[[nodiscard]] std::vector<opcode> parse_opcodes(std::span<const std::string> texts);

/// `--max-bytes`: 1 TiB at most.
CLI::Option* add_max_bytes(CLI::App& command, std::optional<std::uint64_t>& to, const char* help);
/// The bounds of an input where `--max-bytes` is not given.
inline constexpr std::uint64_t usual_ring_bytes = std::uint64_t{1} << 30;
inline constexpr std::uint64_t usual_dump_bytes = std::uint64_t{64} << 20;
/// The help that says these.
inline constexpr const char* usual_bytes_help =
    "Refuse an input over this size: 4096, 64M, 2GiB... (1 GiB for a ring, 64 MiB for the others)";

/// `--max-bytes` and `--timeout`.
struct input_bounds {
  std::optional<std::uint64_t> max_bytes;
  double timeout = 10;  ///< seconds
  /// `usual`: bytes, where `--max-bytes` is not given.
  [[nodiscard]] input_limits limits(std::uint64_t usual) const;
};
void add_input_bounds(CLI::App& command, input_bounds& to, const char* help);

/// Refuses a NaN, which no range of CLI11's does. Throws CLI::ValidationError.
void check_bounds(const input_bounds& bounds);
/// Refuses a second `-` among the names of inputs: it can be read once. `others`: what is to be
/// done with those. Throws CLI::ValidationError.
void check_one_standard_input(std::ptrdiff_t dashes, const char* others);

/// A frame of a capture, in the place of dumps.
struct capture_choice {
  std::string file;
  std::optional<double> seconds;
  [[nodiscard]] std::optional<std::chrono::nanoseconds> at() const;
};
/// `--capture` and `--at`; returns the former.
CLI::Option* add_capture(CLI::App& command, capture_choice& to);

struct dump_options {
  CLI::Option* control;
  CLI::Option* ring;
};
/// `--control` and `--ring`, which may come through the standard input.
dump_options add_dumps(CLI::App& command, std::string& control, std::string& ring);

/// `--patience`: at most `most` seconds.
CLI::Option* add_patience(CLI::App& command, double& to, const char* help, double most = 1e9);

/// An option for the address of a server.
CLI::Option* add_listen(CLI::App& command, const char* option, std::string& to, const char* help);

/// The number of a `T` or of a `std::optional<T>`.
template <class T>
struct number_in {
  using type = T;
};
template <class T>
struct number_in<std::optional<T>> {
  using type = T;
};

/// An option for an unsigned number from `least` to `most`, decimal or 0x...
template <class T, class V = number_in<T>::type>
CLI::Option* add_number(CLI::App& command, const char* option, T& to, const std::string& help,
                        std::type_identity_t<V> least = 0,
                        std::type_identity_t<V> most = std::numeric_limits<V>::max()) {
  const auto take = [&to](const std::string& text) { to = *parse_number<V>(text); };
  return command.add_option_function<std::string>(option, take, help)
      ->check([least, most](const std::string& text) {
        const auto given = parse_number<V>(text);
        return given && *given >= least && *given <= most
                   ? std::string()
                   : fmt::format("A number from {} to {} is needed.", least, most);
      })
      ->type_name("N");
}

/// An option for a number over 0, at most `most`; `type` is its unit in the help.
template <class T>
CLI::Option* add_positive(CLI::App& command, const char* option, T& to, double most,
                          const char* type, const char* help) {
  return command.add_option(option, to, help)->check(is_positive(most))->type_name(type);
}

}  // namespace megakernel::tool
