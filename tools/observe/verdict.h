#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "observe/inspect.h"

/// An inspection in words.
namespace megakernel::tool {

/// `"stalled"` and so on.
[[nodiscard]] std::string_view name(condition c) noexcept;

/// What a person should know first, without the condition's name: `"37 slots are owed and none was
/// drained since the previous snapshot"`.
[[nodiscard]] std::string sentence(const inspection& found);

/// What else deserves a sentence: damage, tenants that disagree, dropped records.
[[nodiscard]] std::vector<std::string> warnings(const inspection& found);

}  // namespace megakernel::tool
