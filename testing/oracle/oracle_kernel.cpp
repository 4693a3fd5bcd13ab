// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "oracle_kernel.h"

#include <algorithm>
#include <cstddef>
#include <optional>

namespace oracle {
namespace {

using u32 = std::uint32_t;
using u64 = std::uint64_t;

/// Thrown where an operation is wrong.
struct wrong {
  u32 code;
};
/// How a handler of the user's ended; nothing for done.
struct ending {
  u32 status = 3;
  u32 code = 0;
};

/// The control buffer as an operation may use it.
class guarded {
 public:
  explicit guarded(words& control) : control_(control) {}
  u32 read(u64 at) const {
    if (at >= control_.size()) throw wrong{2};
    return control_[at];
  }
  u32& observable(u64 at) {
    if (at >= control_.size()) throw wrong{2};
    if (at < 160) throw wrong{3};
    return control_[at];
  }
  u32& system(std::size_t at) { return control_[at]; }
  [[nodiscard]] bool has_observable(u64 index) const { return 160 + index < control_.size(); }
  [[nodiscard]] u64 size() const { return control_.size(); }

 private:
  words& control_;
};

ending run_simple(const kernel_state& k, guarded control, u32 op, const words& a) {
  switch (op) {
    case 0:
      return {};
    case 1:
      control.observable(a[1]) = a[0];
      return {};
    case 2:
      control.observable(a[1]) += a[0];
      return {};
    case 3: {
      const u32 value = control.read(a[0]);
      control.observable(u64{160} + a[1]) = value;
      return {};
    }
    case 4: {
      u32& target = control.observable(a[0]);
      u32& result = control.observable(u64{160} + a[0]);
      const u32 previous = target;
      if (target == a[1]) target = a[2];
      result = previous;
      return {};
    }
    case 5: {
      // Whole or not at all, and what is outside the buffer is said before what is the system's.
      const u64 from = a[0], to = a[1], count = a[2];
      if (count == 0) return {};
      if (from + count > control.size() || to + count > control.size()) throw wrong{2};
      if (to < 160) throw wrong{3};
      for (u64 i = 0; i < count; ++i) control.observable(to + i) = control.read(from + i);
      return {};
    }
    case 6: {
      if (k.table.empty()) throw wrong{5};
      const u64 entry = u64{a[0]} * 256 + a[1];
      if (entry >= k.table.size()) throw wrong{2};
      control.observable(u64{160} + a[2]) = k.table[entry];
      return {};
    }
    case 7:
      control.system(128) += 1;
      if (control.has_observable(0)) control.observable(160) = a[1];
      return {};
    case user_store:
    case user_add:
      if (!control.has_observable(a[0])) return {7, 2};
      if (op == user_store) control.observable(u64{160} + a[0]) = 0;
      control.observable(u64{160} + a[0]) += a[1];
      return {};
    case user_yield:
      return {5, 0};
    case user_requeue:
      return {6, 0};
    case user_fault:
      if (control.has_observable(0)) control.observable(160) += 1;
      return {7, a[0]};
    default:
      throw wrong{1};
  }
}

struct inner {
  u32 op;
  words arguments;
};

/// The operations of a packed slot.
std::vector<inner> unpack(const words& a) {
  std::vector<u32> bytes;
  for (const u32 w : a) {
    for (int shift = 0; shift < 32; shift += 8) bytes.push_back(w >> shift & 255);
  }
  const std::size_t count = bytes[0], used = bytes[1];
  std::size_t table_end = 2 + 2 * count;
  while (table_end % 4 != 0) ++table_end;
  if (table_end / 4 + used > 12) throw wrong{4};
  std::vector<std::size_t> offsets;
  for (std::size_t i = 0; i < count; ++i) offsets.push_back(bytes[3 + 2 * i]);
  offsets.push_back(used);
  if (!std::is_sorted(offsets.begin(), offsets.end())) throw wrong{4};
  std::vector<inner> ops;
  for (std::size_t i = 0; i < count; ++i) {
    words mine;
    for (std::size_t w = offsets[i]; w < offsets[i + 1]; ++w) mine.push_back(a[table_end / 4 + w]);
    mine.resize(12);
    ops.push_back({bytes[2 + 2 * i], mine});
  }
  return ops;
}

ending run_packed(kernel_state& k, const words& a) {
  const std::vector<inner> ops = unpack(a);
  // First all of it on paper, whatever a handler would say.
  words paper = k.control;
  for (const inner& o : ops) (void)run_simple(k, guarded(paper), o.op, o.arguments);
  for (const inner& o : ops) {
    if (o.op < 32) ++k.control[96 + o.op];
    const ending e = run_simple(k, guarded(k.control), o.op, o.arguments);
    if (e.status == 7) return e;
    if (e.status != 3) return {7, 4};  // half of a packed slot cannot wait
  }
  return {};
}

/// Puts the request of slot `index` into the first free slot of the queue.
void park(kernel_state& k, u32 index, u32* slot) {
  slot[14] = 0xFFFF'FFFF;
  for (u32 i = 0; i < k.io_queue.size() / 8; ++i) {
    u32* const io = &k.io_queue[std::size_t{8} * i];
    if (io[6] != 0) continue;
    const words request{1, slot[4], 0, 0, 0, 0, 1, index};
    std::copy(request.begin(), request.end(), io);
    slot[14] = i;
    return;
  }
}

ending run(kernel_state& k, u32 index, u32* slot, u32 op, u32 tenant, const words& a) {
  switch (op) {
    case 0x8000'0001:
      return run_packed(k, a);
    case 0xFFFF'FFFF:
      if (tenant != k.system_tenant) throw wrong{3};
      k.control[0] = 1;
      return {};
    case 0xFFFD:
      if (k.io_queue.empty()) throw wrong{6};
      park(k, index, slot);
      return {4, 0};
    case 0xFFFE: {
      if (k.debug_log.empty()) {
        ++k.control[148];
        return {};
      }
      const u64 at = k.debug_log[0];
      k.debug_log[0] += 4;
      if (at + 5 > k.debug_log.size()) {
        ++k.control[148];
      } else {
        const words record{a[0], a[1], a[2], index * 16};
        std::copy(record.begin(), record.end(), &k.debug_log[1 + at]);
      }
      return {};
    }
    default:
      return run_simple(k, guarded(k.control), op, a);
  }
}

bool may_run(const kernel_state& k, u32 tenant) {
  if (tenant > 28) return false;
  const u64 mask = u64{k.control[2]} + tenant;
  return mask >= 3 && mask <= 31 && k.control[mask] != 0;
}

void end_slot(kernel_state& k, u32* slot, const ending& e) {
  if (e.status == 7) {
    slot[15] = e.code;
    ++k.control[143];
  }
  if (e.status == 3 && ++k.control[1] == 0) ++k.control[149];
  slot[0] = e.status;
}

void resume(kernel_state& k, u32 index, u32* slot) {
  const ending refused{7, 6};
  const u32 link = slot[14];
  if (k.io_queue.empty()) return end_slot(k, slot, refused);
  if (link == 0xFFFF'FFFF) {
    bool room = false;
    for (std::size_t i = 6; i < k.io_queue.size(); i += 8) room = room || k.io_queue[i] == 0;
    if (!room) return;
    if (slot[1] != 0xFFFD || !may_run(k, slot[2])) return end_slot(k, slot, refused);
    return park(k, index, slot);
  }
  if (link >= k.io_queue.size() / 8) return end_slot(k, slot, refused);
  u32* const io = &k.io_queue[std::size_t{8} * link];
  if ((io[6] != 0x10 && io[6] != 0x11) || io[7] != index) return;
  end_slot(k, slot, io[6] == 0x10 ? ending{} : refused);
  io[6] = 0;
}

void look_at(kernel_state& k, u32 index, std::optional<u32> partition) {
  u32* const slot = &k.ring[std::size_t{16} * index];
  if (slot[0] == 4) return resume(k, index, slot);
  if (slot[0] != 1 && slot[0] != 5 && slot[0] != 6) return;
  const u32 op = slot[1], tenant = slot[2];
  if (!may_run(k, tenant)) {
    ++k.control[144];
    return;
  }
  if (k.quotas) {
    u32& tokens = k.control[32 + tenant];
    if (tokens == 0) {
      ++k.control[145];
      return;
    }
    --tokens;
  }
  const u32 level = std::min(partition.value_or(slot[3]), 4u);
  if (op < 32) ++k.control[96 + op];
  ++k.control[64 + tenant];
  ++k.control[136 + level];
  if (partition) k.control[135] = level < 2 ? k.control[135] + 1 : 0;
  const words a(slot + 4, slot + 16);
  const words control = k.control;
  try {
    end_slot(k, slot, run(k, index, slot, op, tenant, a));
  } catch (const wrong& w) {
    k.control = control;
    end_slot(k, slot, {7, w.code});
  }
}

/// False where the lane finds SHUTDOWN.
bool pass(kernel_state& k, u32 index, std::optional<u32> partition) {
  ++k.control[142];
  if (k.control[0] != 0) return false;
  look_at(k, index, partition);
  return true;
}

}  // namespace

void run_once(kernel_state& k, u32 lane, u32 lanes) {
  for (u64 i = lane; i < k.ring.size() / 16; i += lanes) {
    if (!pass(k, static_cast<u32>(i), std::nullopt)) return;
  }
}

void run_once_by_priority(kernel_state& k, u32 lane, u32 lanes) {
  for (u32 level = 0; level < 5; ++level) {
    const u64 end = std::min<u64>(k.control[130 + level], k.ring.size() / 16);
    for (u64 i = u64{k.control[129 + level]} + lane; i < end; i += lanes) {
      if (!pass(k, static_cast<u32>(i), level)) return;
    }
  }
}

}  // namespace oracle
