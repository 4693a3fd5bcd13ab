// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include "standard.h"

#include <chrono>
#include <cstdint>
#include <expected>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "load/producer.h"
#include "load/workload.h"

import megakernel;

/// Failures that `megakernel run --inject` makes happen, for real, in a kernel under load.
namespace megakernel::tool {

/// `"lost-io"` and so on, as the command line spells them.
[[nodiscard]] std::string_view to_string(injection what) noexcept;
[[nodiscard]] std::optional<injection> parse_injection(std::string_view text) noexcept;

/// The injected failure, for the check that it was found.
struct injected_failure {
  injection what = injection::nothing;
  std::chrono::nanoseconds at{};       ///< since the load began
  std::vector<std::uint32_t> slots{};  ///< that it put into the ring, or holds
  std::optional<std::uint32_t> tenant{};
  std::optional<opcode> op{};
};

/// Brings one failure about, once, and takes it back before the lanes are stopped. It publishes on
/// a total of its own, so that what was accepted still adds up. For one thread.
class injector {
 public:
  /// `counts` is its total; both outlive the injector.
  injector(const run_profile& profile, kernel_session& kernel, producer_counts& counts) noexcept
      : profile_(profile), kernel_(kernel), counts_(counts) {}

  /// Does it. The error is a sentence.
  [[nodiscard]] std::expected<void, std::string> strike(
      std::chrono::steady_clock::time_point load_began);
  /// Whether it has been done, and what.
  [[nodiscard]] const std::optional<injected_failure>& done() const noexcept { return done_; }
  /// Lets go of lanes and slots that are held, so that lanes can leave and producers end: SHUTDOWN
  /// is set first, so that nothing else is run on the way.
  void lift() noexcept;
  /// Adds to the totals what of its work has finished. When no lane runs any more.
  void finish() noexcept;
  /// Tokens of this tenant are gone for good.
  [[nodiscard]] bool withholds_tokens(std::uint32_t tenant) const noexcept;

 private:
  using outcome = std::expected<void, std::string>;
  [[nodiscard]] outcome hang();
  [[nodiscard]] outcome hang_waves();
  [[nodiscard]] outcome send_lanes_away();
  [[nodiscard]] outcome publish_faults();
  [[nodiscard]] outcome lose_io();
  [[nodiscard]] outcome hold_a_slot();
  void set_done_count_back() noexcept;
  [[nodiscard]] outcome published(const result<submission>& accepted, opcode op,
                                  std::uint32_t tenant);
  [[nodiscard]] std::uint32_t victim() const noexcept { return profile_.tenants - 1; }
  [[nodiscard]] word& control(word index) noexcept {
    return kernel_.buffers().where().control[index];
  }

  const run_profile& profile_;
  kernel_session& kernel_;
  producer_counts& counts_;
  injected_failure now_;
  std::optional<injected_failure> done_;
  std::vector<submission> submissions_;
  std::optional<std::uint32_t> held_;
};

}  // namespace megakernel::tool
