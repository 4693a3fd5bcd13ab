// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <fmt/format.h>

#include <iterator>
#include <string_view>

#include "cli/output.h"
#include "observe/inspect.h"
#include "render/csv.h"
#include "render/names.h"

import megakernel;

namespace megakernel::tool {

void render_csv(const inspection& found, output& to) {
  to.write("index,status,status_raw,opcode,tenant,priority,a0,a1,a2,fault_code\n");
  fmt::memory_buffer row;
  for (const slot_snapshot& s : found.slots) {
    if (to.failed()) return;
    row.clear();
    const auto end = std::back_inserter(row);
    fmt::format_to(end, "{},{},{},{},{},{},{},{},{},", s.index, to_string(s.status), word(s.status),
                   word(s.op), s.tenant, word(s.level), s.arguments[0], s.arguments[1],
                   s.arguments[2]);
    // Word 15 is an argument unless the slot is in FAULT.
    if (s.status == slot_status::fault) fmt::format_to(end, "{}", word(found.slots.fault(s.index)));
    row.push_back('\n');
    to.write({row.data(), row.size()});
  }
}

}  // namespace megakernel::tool
