// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <charconv>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <expected>
#include <memory>
#include <new>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

#include "cli/input.h"
#include "load/run.h"
#include "observe/histogram.h"
#include "observe/inspect.h"
#include "render/names.h"
#include "report/report.h"
#include "serve/metrics.h"

import megakernel;

namespace megakernel::tool {
namespace {

using namespace std::chrono_literals;

constexpr std::chrono::nanoseconds hold_time = 1s;
/// For a scrape, which has ten seconds by default.
constexpr std::chrono::milliseconds file_timeout{2'000};

std::string_view trimmed(std::string_view text) noexcept {
  const std::size_t first = text.find_first_not_of(" \t");
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(" \t") - first + 1);
}

/// The part of `text` before `mark`, which is cut off it with the mark.
std::string_view cut(std::string_view& text, char mark) noexcept {
  const std::size_t at = std::min(text.find(mark), text.size());
  const std::string_view part = text.substr(0, at);
  text.remove_prefix(std::min(at + 1, text.size()));
  return trimmed(part);
}

bool same_word(std::string_view a, std::string_view b) noexcept {
  return std::ranges::equal(a, b, [](char x, char y) {
    return std::tolower(static_cast<unsigned char>(x)) ==
           std::tolower(static_cast<unsigned char>(y));
  });
}

/// The weight that one entry of an Accept header gives its type.
double weight_of(std::string_view parameters) noexcept {
  while (!parameters.empty()) {
    std::string_view one = cut(parameters, ';');
    if (!same_word(cut(one, '='), "q")) continue;
    double weight = 0;
    const auto [at, problem] = std::from_chars(one.data(), one.data() + one.size(), weight);
    return problem == std::errc{} && weight >= 0 ? weight : 0;
  }
  return 1;
}

}  // namespace

metrics_format format_for(std::string_view accept) noexcept {
  double open = 0;
  double plain = 0;
  while (!accept.empty()) {
    std::string_view entry = cut(accept, ',');
    const std::string_view type = cut(entry, ';');
    if (same_word(type, "application/openmetrics-text")) open = std::max(open, weight_of(entry));
    if (same_word(type, "text/plain")) plain = std::max(plain, weight_of(entry));
  }
  return open > 0 && open >= plain ? metrics_format::openmetrics : metrics_format::prometheus;
}

metrics_follower::metrics_follower(metrics_page&& page, window_opcodes&& windows,
                                   bool has_windows) noexcept
    : page_(std::move(page)),
      windows_(std::move(windows)),
      has_windows_(has_windows),
      tracker_(hold_time) {}

std::expected<metrics_follower, std::string> metrics_follower::make(
    const metrics_options& options, std::span<const opcode> windows) {
  auto page = metrics_page::make(options);
  if (!page) return std::unexpected(std::string(page.error().message().text()));
  auto opcodes = window_opcodes::of(windows);
  if (!opcodes) return std::unexpected(std::string(opcodes.error().message().text()));
  return metrics_follower(std::move(*page), std::move(*opcodes), !windows.empty());
}

std::expected<void, std::string> metrics_follower::refuse(const error& why) {
  page_.lose();
  return std::unexpected(std::string(why.message().text()));
}

result<void> metrics_follower::judge(const source& seen) noexcept {
  const bool same =
      health_ && seen.written && seen.written == judged_written_ && telemetry_.control() == judged_;
  if (same) return {};
  judged_at_ = clock::now() - began_;
  auto found = tracker_.observe(telemetry_, judged_at_);
  if (!found && found.error().code != error_code::out_of_memory) {
    tracker_ = health_tracker(hold_time);
    found = tracker_.observe(telemetry_, judged_at_);
  }
  health_.reset();
  if (!found) return std::unexpected(found.error());
  health_ = *found;
  judged_ = telemetry_.control();
  judged_written_ = seen.written;
  return {};
}

std::expected<void, std::string> metrics_follower::observe(const source& seen) {
  if (auto decoded = telemetry_.decode(seen.control, seen.ring, windows_); !decoded)
    return refuse(decoded.error());
  if (auto judged = judge(seen); !judged) return refuse(judged.error());
  std::optional<std::chrono::nanoseconds> age;
  if (seen.written) {
    // A clock that was set back makes nothing younger than new.
    const auto now = std::chrono::system_clock::now().time_since_epoch();
    age = std::max<std::chrono::nanoseconds>(0ns, now - *seen.written);
  }
  const auto taken = page_.observe({.ring = telemetry_,
                                    .health = &*health_,
                                    .at = judged_at_,
                                    .publishers = seen.publishers,
                                    .torn_pages = seen.torn_pages,
                                    .age = age,
                                    .windows = has_windows_});
  if (!taken) return refuse(taken.error());
  return {};
}

std::expected<metrics_response, std::string> metrics_follower::page(std::string_view accept) {
  const metrics_format format = format_for(accept);
  if (const auto rendered = page_.render(format, text_); !rendered)
    return std::unexpected(std::string(rendered.error().message().text()));
  return metrics_response{.type = media_type(format), .body = {text_.data(), text_.size()}};
}

std::expected<file_metrics, std::string> file_metrics::make(const files& named,
                                                            const metrics_options& options) {
  auto follower = metrics_follower::make(options, named.windows);
  if (!follower) return std::unexpected(follower.error());
  return file_metrics(named, std::move(*follower));
}

std::expected<void, std::string> file_metrics::observe() {
  constexpr std::uint64_t mebibyte = std::uint64_t{1} << 20;
  const auto read = [this](const std::string& path, std::uint64_t usual) {
    return read_input(path,
                      {.max_bytes = files_.max_bytes.value_or(usual), .timeout = file_timeout});
  };
  const auto refuse = [this](const std::string& path, const input_error& why) {
    follower_.lose();
    return std::unexpected(fmt::format("{}: {}", printable(path), sentence(why)));
  };
  const auto control = read(files_.control, 64 * mebibyte);
  if (!control) return refuse(files_.control, control.error());
  const auto ring = read(files_.ring, 1024 * mebibyte);
  if (!ring) return refuse(files_.ring, ring.error());
  return follower_.observe({.control = {control->bytes.data(), control->bytes.size()},
                            .ring = {ring->bytes.data(), ring->bytes.size()},
                            .written = control->modified});
}

std::expected<metrics_response, std::string> file_metrics::page(std::string_view accept) {
  trouble_.clear();
  if (auto looked = observe(); !looked) trouble_ = std::move(looked.error());
  return follower_.page(accept);
}

std::expected<std::unique_ptr<live_metrics>, std::string> live_metrics::make(
    live_run& run, const metrics_options& options) {
  auto follower = metrics_follower::make(options, std::array{window_opcode});
  if (!follower) return std::unexpected(follower.error());
  return std::unique_ptr<live_metrics>(new live_metrics(run, std::move(*follower)));
}

std::expected<metrics_response, std::string> live_metrics::page(std::string_view accept) {
  kernel_session& kernel = run_.kernel();
  if (const auto taken = snapshot_.take(kernel.buffers(), kernel.queue()); !taken) {
    follower_.lose();
    return std::unexpected(std::string(taken.error().message().text()));
  }
  latency_counts latency;
  const published_counts publishers = run_.published(latency);
  const auto looked =
      follower_.observe({.control = snapshot_.control(),
                         .ring = snapshot_.ring(),
                         .publishers = &publishers,
                         .torn_pages = static_cast<std::uint32_t>(snapshot_.torn_pages().size())});
  if (!looked) return std::unexpected(looked.error());
  return follower_.page(accept);
}

}  // namespace megakernel::tool
