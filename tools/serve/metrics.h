// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include "standard.h"

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <expected>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "cli/input.h"
#include "load/run.h"

import megakernel;

/// Pages of metrics, each of a sample that is taken for it.
namespace megakernel::tool {

/// The format that an Accept header asks for: OpenMetrics where it is named and not weighed below
/// plain text, else the older one, which everybody reads.
[[nodiscard]] metrics_format format_for(std::string_view accept) noexcept;

/// Valid until the next one of its source.
struct metrics_response {
  std::string_view type;  ///< for Content-Type
  std::string_view body;
};

/// Bytes of a kernel, look by look -> a page. For one thread at a time.
class metrics_follower {
 public:
  /// `windows`: opcodes whose slots form windows. The error is a sentence.
  [[nodiscard]] static std::expected<metrics_follower, std::string> make(
      const metrics_options& options, std::span<const opcode> windows = {});

  struct source {
    std::span<const std::byte> control;
    std::span<const std::byte> ring;
    const published_counts* publishers = nullptr;
    std::optional<std::uint32_t> torn_pages{};
    /// When somebody else wrote the bytes, by the system's clock. Bytes of one time with equal
    /// control words are one snapshot, and no second look for the health of the kernel: it would
    /// seem dead to who looks more often than they are written.
    std::optional<std::chrono::nanoseconds> written{};
  };
  /// A kernel that was started anew, or a ring of another size, is followed from its beginning. The
  /// error is a sentence; the page then says that the kernel is not up.
  [[nodiscard]] std::expected<void, std::string> observe(const source& seen);
  /// There was nothing to look at.
  void lose() noexcept { page_.lose(); }
  /// The page as it stands, as an Accept header wants it. The error is a sentence.
  [[nodiscard]] std::expected<metrics_response, std::string> page(std::string_view accept);

 private:
  using clock = std::chrono::steady_clock;
  metrics_follower(metrics_page&& page, window_opcodes&& windows, bool has_windows) noexcept;
  [[nodiscard]] std::expected<void, std::string> refuse(const error& why);
  [[nodiscard]] result<void> judge(const source& seen) noexcept;

  metrics_page page_;
  window_opcodes windows_;
  bool has_windows_;
  ring_telemetry telemetry_;
  health_tracker tracker_;
  std::optional<health_report> health_;  // of the snapshot that was looked at last
  control_snapshot judged_;
  std::optional<std::chrono::nanoseconds> judged_written_;
  std::chrono::nanoseconds judged_at_{};
  aligned_array<char> text_;
  clock::time_point began_ = clock::now();
};

/// Two files that another process rewrites, read anew for every page.
class file_metrics {
 public:
  struct files {
    std::string control;
    std::string ring;
    std::optional<std::uint64_t> max_bytes{};
    std::vector<opcode> windows{};
  };
  /// The error is a sentence. Files need not be there yet.
  [[nodiscard]] static std::expected<file_metrics, std::string> make(
      const files& named, const metrics_options& options);

  /// The error, a sentence, says why there is no page at all. That the files could not be read is
  /// no such error: then the page says so, and `trouble` why.
  [[nodiscard]] std::expected<metrics_response, std::string> page(std::string_view accept);
  /// The problem with the files for the last page; empty without one.
  [[nodiscard]] const std::string& trouble() const noexcept { return trouble_; }

 private:
  file_metrics(const files& named, metrics_follower&& follower)
      : files_(named), follower_(std::move(follower)) {}
  [[nodiscard]] std::expected<void, std::string> observe();

  files files_;
  metrics_follower follower_;
  std::string trouble_;
};

/// A run, while it goes on. Pages may be made by another thread than the run's, until the run ends.
class live_metrics {
 public:
  /// The error is a sentence.
  [[nodiscard]] static std::expected<std::unique_ptr<live_metrics>, std::string> make(
      live_run& run, const metrics_options& options);
  [[nodiscard]] std::expected<metrics_response, std::string> page(std::string_view accept);

 private:
  live_metrics(live_run& run, metrics_follower&& follower)
      : run_(run), follower_(std::move(follower)) {}

  live_run& run_;
  metrics_follower follower_;
  live_snapshot snapshot_;
};

}  // namespace megakernel::tool
