// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include "standard.h"

#include <cstddef>
#include <optional>
#include <string>

#include "cli/output.h"
#include "render/layout.h"

import megakernel;

/// A launch recommendation and its reasons, for a person and for a program.
namespace megakernel::tool {

/// A request and its outcome. The outcome is a recommendation.
struct launch_advice {
  explanation why;
  std::optional<launch_topology> previous{};
};

/// `"Launch 16 workgroups of 64 lanes, DenseFrontier, interpreted."`
[[nodiscard]] std::string headline(const launch_recommendation& launch);

struct advice_table_options {
  std::size_t width = 100;
  bool colour = false;
};

/// The launch in numbers; then why, under a title. For a page of which they are a part.
void render_launch(const launch_advice& advice, screen& page);
void render_reasons(const launch_advice& advice, screen& page);

/// The launch in numbers, then why each is what it is.
void render_advice_table(const launch_advice& advice, const advice_table_options& options,
                         output& to);

/// `{"schema": "megakernel.recommend", "version": 1, "recommendation", "request",
/// "previous_topology", "reasons": [{"about", "rule", "numbers", "sentence"}]}`; the request is the
/// one decided on, with what was inferred.
void render_advice_json(const launch_advice& advice, output& to);

}  // namespace megakernel::tool
