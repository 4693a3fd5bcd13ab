// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The digest of a ring once more: made slot by slot, as kernels/megakernel/ring_digest.h describes
// it, and judged law by law. It shares no code with library and kernels and spells the numbers of
// the wire out. C++17, because it is held against the device's, too.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace oracle {

struct digest_wish {
  std::uint32_t depth = 0;
  std::uint32_t width = 0;
  std::vector<std::uint32_t> opcodes{};  ///< of windows; ascending, each once, at most 16
  std::size_t most_windows = 8192;       ///< the first ones of the ring are listed
};

inline std::uint64_t digest_bucket(std::uint32_t key, std::uint64_t row, std::uint64_t width) {
  std::uint64_t x = (key ^ row * 0x9E3779B97F4A7C15u) + 0x9E3779B97F4A7C15u;
  x = (x ^ x >> 30) * 0xBF58476D1CE4E5B9u;
  x = (x ^ x >> 27) * 0x94D049BB133111EBu;
  return (x ^ x >> 31) % width;
}

/// The words of the digest of a ring of 16 words a slot.
inline std::vector<std::uint32_t> make_digest(const std::uint32_t* ring, std::size_t slots,
                                              const digest_wish& wish) {
  const auto is_outstanding = [](std::uint32_t s) {
    return s == 1 || s == 2 || s == 4 || s == 5 || s == 6;
  };
  std::vector<std::uint32_t> out(112);
  out[0] = 'M' | 'K' << 8 | 'R' << 16 | 'D' << 24;
  out[1] = 1;
  out[2] = static_cast<std::uint32_t>(slots);
  out[3] = wish.depth;
  out[4] = wish.width;
  out[7] = static_cast<std::uint32_t>(wish.opcodes.size());
  std::copy(wish.opcodes.begin(), wish.opcodes.end(), out.begin() + 16);
  const std::size_t each = std::size_t{wish.depth} * wish.width;
  std::vector<std::uint64_t> sketches(4 * each);
  const auto sketch = [&](std::size_t which, std::uint32_t key) {
    for (std::size_t row = 0; row < wish.depth; ++row)
      ++sketches[which * each + row * wish.width + digest_bucket(key, row, wish.width)];
  };
  // Each of 16 words, by ticket and opcode.
  std::vector<std::vector<std::uint32_t>> windows;
  const auto before = [](const std::vector<std::uint32_t>& a, const std::vector<std::uint32_t>& b) {
    return a[0] != b[0] ? a[0] < b[0] : a[1] < b[1];
  };
  for (std::size_t i = 0; i < slots; ++i) {
    const std::uint32_t* const slot = ring + 16 * i;
    const std::uint32_t status = slot[0], op = slot[1], tenant = slot[2];
    ++out[32 + (status > 7 ? 8 : status)];
    ++(op < 32 ? out[48 + op] : out[9]);
    ++(tenant < 32 ? out[80 + tenant] : out[10]);
    sketch(0, op);
    sketch(2, tenant);
    sketch(3, status);
    if (is_outstanding(status)) {
      ++out[8];
      sketch(1, op);
    }
    if (!std::binary_search(wish.opcodes.begin(), wish.opcodes.end(), op)) continue;
    std::vector<std::uint32_t> fresh(16);
    fresh[0] = slot[4];
    fresh[1] = op;
    fresh[2] = tenant;
    auto found = std::lower_bound(windows.begin(), windows.end(), fresh, before);
    if (found == windows.end() || before(fresh, *found)) {
      if (windows.size() >= wish.most_windows) {
        ++out[6];
        continue;
      }
      found = windows.insert(found, fresh);
    }
    std::vector<std::uint32_t>& window = *found;
    if (slot[5] < 2) ++window[3 + slot[5]];
    if (status >= 1 && status <= 7) ++window[4 + status];
    ++window[12];
    if (tenant != window[2]) window[13] = 1;
  }
  out[5] = static_cast<std::uint32_t>(windows.size());
  for (const std::uint64_t counter : sketches) {
    out.push_back(static_cast<std::uint32_t>(counter));
    out.push_back(static_cast<std::uint32_t>(counter >> 32));
  }
  for (const auto& window : windows) out.insert(out.end(), window.begin(), window.end());
  return out;
}

/// A refusal: its name, or "" where there is none, the word, what is found there, and the bound.
struct digest_refusal {
  const char* code = "";
  std::uint64_t index = 0;
  std::uint64_t found = 0;
  std::uint64_t bound = 0;
};

/// Why `bytes` bytes that begin with these words are no digest, front to back.
inline digest_refusal judge_digest(const std::vector<std::uint32_t>& words, std::size_t bytes) {
  using u64 = std::uint64_t;
  const auto inconsistent = [](u64 index, u64 found, u64 bound) {
    return digest_refusal{"digest_inconsistent", index, found, bound};
  };
  if (bytes < 448) return {"digest_wrong_size", 0, bytes, 448};
  if (words[0] != 0x44524B4D) return {"digest_foreign", 0, words[0], 0x44524B4D};
  if (words[1] != 1) return {"digest_foreign", 1, words[1], 1};
  const u64 depth = words[3], width = words[4], windows = words[5], opcodes = words[7];
  const bool none = depth == 0 && width == 0;
  if (!none &&
      (depth == 0 || width == 0 || depth > 16384 || width > 16384 || depth * width > 16384))
    return inconsistent(4, width, depth == 0 ? 0 : 16384 / depth);
  if (windows > 8192) return inconsistent(5, windows, 8192);
  if (opcodes > 16) return inconsistent(7, opcodes, 16);
  const u64 window_at = 112 + 8 * depth * width;
  const u64 size = 4 * (window_at + 16 * windows);
  if (bytes != size) return {"digest_wrong_size", 0, bytes, size};

  const auto add_up = [&](u64 first, u64 last) {
    u64 sum = 0;
    for (u64 i = first; i < last; ++i) sum += words[i];
    return sum;
  };
  const auto first_set = [&](u64 first, u64 last) {
    while (first < last && words[first] == 0) ++first;
    return first;
  };
  for (u64 i = 17; i < 16 + opcodes; ++i)
    if (words[i] <= words[i - 1]) return inconsistent(i, words[i], u64{words[i - 1]} + 1);
  if (const u64 i = first_set(11, 16); i != 16) return inconsistent(i, words[i], 0);
  if (const u64 i = first_set(16 + opcodes, 32); i != 32) return inconsistent(i, words[i], 0);
  const u64 slots = words[2];
  const u64 active = add_up(33, 35) + add_up(36, 39);
  if (add_up(32, 41) != slots) return inconsistent(32, add_up(32, 41), slots);
  if (const u64 i = first_set(41, 48); i != 48) return inconsistent(i, words[i], 0);
  if (words[8] != active) return inconsistent(8, words[8], active);
  const u64 by_opcode = add_up(48, 80) + words[9], by_tenant = add_up(80, 112) + words[10];
  if (by_opcode != slots) return inconsistent(9, by_opcode, slots);
  if (by_tenant != slots) return inconsistent(10, by_tenant, slots);
  for (u64 row = 0; row < 4 * depth; ++row) {
    const u64 first = 112 + 2 * row * width;
    unsigned __int128 sum = 0;
    for (u64 at = first; at < first + 2 * width; at += 2)
      sum += words[at] | u64{words[at + 1]} << 32;
    const u64 wanted = row / depth == 1 ? active : slots;
    if (sum != wanted)
      return inconsistent(first, sum > ~u64{0} ? ~u64{0} : static_cast<u64>(sum), wanted);
  }

  u64 of_opcode[16] = {};
  u64 of_status[8] = {};
  u64 all = 0;
  for (u64 w = 0; w < windows; ++w) {
    const u64 at = window_at + 16 * w;
    const std::uint32_t* const window = words.data() + at;
    const auto key = [](const std::uint32_t* of) { return u64{of[0]} << 32 | of[1]; };
    u64 number = 0;
    while (number < opcodes && words[16 + number] != window[1]) ++number;
    if (number == opcodes) return inconsistent(at + 1, window[1], 0);
    if (w != 0 && key(window - 16) >= key(window))
      return inconsistent(at, key(window), key(window - 16));
    u64 with_status = 0;
    for (std::size_t s = 1; s < 8; ++s) {
      with_status += window[4 + s];
      of_status[s] += window[4 + s];
    }
    const u64 in_it = window[12];
    const u64 of_kinds = u64{window[3]} + window[4];
    const u64 may_disagree = in_it > 1 ? 1 : 0;
    if (in_it == 0) return inconsistent(at + 12, 0, 1);
    if (of_kinds > in_it) return inconsistent(at + 3, of_kinds, in_it);
    if (with_status > in_it) return inconsistent(at + 5, with_status, in_it);
    if (window[13] > may_disagree) return inconsistent(at + 13, window[13], may_disagree);
    if (const u64 i = first_set(at + 14, at + 16); i != at + 16)
      return inconsistent(i, words[i], 0);
    of_opcode[number] += in_it;
    all += in_it;
  }
  for (std::size_t s = 1; s < 8; ++s)
    if (of_status[s] > words[32 + s]) return inconsistent(32 + s, of_status[s], words[32 + s]);
  // Slots of window opcodes: of those below 32 it is known how many there are.
  u64 known = 0, known_listed = 0;
  bool any_other = false;
  for (u64 i = 0; i < opcodes; ++i) {
    const std::uint32_t op = words[16 + i];
    if (op >= 32) {
      any_other = true;
      continue;
    }
    known += words[48 + op];
    known_listed += of_opcode[i];
    if (of_opcode[i] > words[48 + op]) return inconsistent(48 + op, of_opcode[i], words[48 + op]);
  }
  const u64 other = all - known_listed;
  if (other > words[9]) return inconsistent(9, other, words[9]);
  const u64 least = known - known_listed;
  const u64 most = least + (any_other ? words[9] - other : 0);
  if (words[6] < least) return inconsistent(6, words[6], least);
  if (words[6] > most) return inconsistent(6, words[6], most);
  return {};
}

/// The name of that refusal, or "".
inline const char* wrong_with_digest(const std::vector<std::uint32_t>& words, std::size_t bytes) {
  return judge_digest(words, bytes).code;
}

}  // namespace oracle
