// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include "standard.h"

#include <cstdint>
#include <string>
#include <string_view>

#include "render/layout.h"

import megakernel;

/// A diagnosis for a person; `to_json` writes it for a program.
namespace megakernel::tool {

/// Whether a person should read of it: everything but that all is well or too early to say.
[[nodiscard]] bool is_noteworthy(const finding& of) noexcept;

/// Which noteworthy findings there are, gravest first: `"stalled, faulted"`; empty where all is
/// well.
[[nodiscard]] std::string headline(const diagnosis& of);

/// The findings: each with its title, its evidence, at most `top` of the slots concerned, what to
/// try. Nothing where all is well.
void render_diagnosis(const diagnosis& of, std::uint32_t top, screen& to);

/// The same as a section of its own; no section where all is well.
void render_diagnosis_section(const diagnosis& of, std::string_view remark, std::uint32_t top,
                              screen& to);

}  // namespace megakernel::tool
