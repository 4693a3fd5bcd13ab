// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "observe/inspect.h"

/// An inspection in words.
namespace megakernel::tool {

/// The headline for a person, without the state's name: `"37 slots are owed and none was
/// drained since the previous snapshot"`.
[[nodiscard]] std::string sentence(const inspection& found);

/// Further remarks: damage, tenants that disagree, dropped records.
[[nodiscard]] std::vector<std::string> warnings(const inspection& found);

}  // namespace megakernel::tool
