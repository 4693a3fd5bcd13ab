// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Options shared by the commands that read a capture.
#pragma once

#include <CLI/CLI.hpp>

#include <chrono>
#include <cmath>
#include <optional>
#include <string>

/// Seconds as people give them: not negative, no NaN, and few enough for nanoseconds.
inline std::string check_seconds(const std::string& text) {
  double value = 0;
  const bool number = CLI::detail::lexical_cast(text, value);
  return number && value >= 0 && value <= 1e9
             ? std::string()
             : std::string("A number of seconds from 0 to 1000000000 is needed.");
}

/// Of seconds that were checked.
inline std::chrono::nanoseconds from_seconds(double seconds) {
  return std::chrono::nanoseconds(std::llround(seconds * 1e9));
}

/// A frame of a capture, in the place of dumps.
struct capture_choice {
  std::string file;
  std::optional<double> seconds;
  [[nodiscard]] std::optional<std::chrono::nanoseconds> at() const {
    if (!seconds) return std::nullopt;
    return from_seconds(*seconds);
  }
};

/// Adds `--capture` and `--at`, to a group of options where one is named; returns the former.
inline CLI::Option* add_capture(CLI::App& command, capture_choice& to, const char* group) {
  auto* const capture =
      command.add_option("--capture", to.file, "A capture of `megakernel run`, instead of dumps")
          ->type_name("FILE")
          ->check([](const std::string& name) {
            return name.empty() ? std::string("A file name is empty.") : std::string();
          });
  auto* const at =
      command.add_option("--at", to.seconds, "The capture's frame at so many seconds [the last]")
          ->type_name("SECONDS")
          ->needs(capture)
          ->check(check_seconds);
  if (group != nullptr) {
    capture->group(group);
    at->group(group);
  }
  return capture;
}
