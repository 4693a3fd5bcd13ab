// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The interpreter against a plain kernel that was written from the spec alone: whole one-shot
// launches of hostile rings, byte for byte; and the faults case by case.
// docs/protocol.md#fault-codes docs/protocol.md#opcode-checks
#include <rapidcheck.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <expected>
#include <map>
#include <ostream>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "oracle_kernel.h"
#include "support.h"

import megakernel;

#include "interpret.h"

namespace {

using namespace props;
namespace mk = megakernel;
namespace dev = mk::device;
using kernel::different;
using kernel::execute_plainly;
using kernel::interpret;
using oracle::kernel_state;
using oracle::words;

// Hostile launches.

const std::vector<std::uint32_t> opcodes{
    0,      1,           2,           3,           4,           5,      6,      7,          5, 6,
    0xFFFD, 0xFFFE,      10,          11,          12,          13,     300,    8,          9, 31,
    32,     0x8000'0001, 0x8000'0001, 0x8000'0001, 0xFFFF'FFFF, 0xFFF0, 0xFFFF, 0x8000'0000};

class hostile {
 public:
  explicit hostile(prng& d) : d_(d) {}

  kernel_state launch() {
    k_.control.resize(160 + (d_.one_in(5) ? 0 : d_.pick(sizes)));
    k_.debug_log.resize(d_.pick(std::vector<std::size_t>{0, 1, 4, 5, 6, 9, 17, 257}));
    k_.io_queue.resize(8 * d_.pick(std::vector<std::size_t>{0, 1, 2, 3, 64}));
    k_.table.resize(d_.pick(std::vector<std::size_t>{0, 1, 255, 256, 257, 600}));
    for (std::uint32_t& w : k_.table) w = d_.word();
    k_.system_tenant = d_.one_in(3) ? d_.below(30) : 0;
    k_.quotas = d_.one_in(2);
    fill_control();
    if (!k_.debug_log.empty() && d_.one_in(3)) {
      k_.debug_log[0] = d_.pick(std::vector<std::uint32_t>{1, 3, 4, 8, 12, 252, 253, 0x7FFF'FFFC,
                                                           0xFFFF'FFFA, 0xFFFF'FFFC, 0xFFFF'FFFF});
    }
    const std::size_t slots = d_.below(17);
    const bool busy = d_.one_in(2);
    for (std::size_t i = 0; i < k_.io_queue.size() / 8; ++i) {
      k_.io_queue[8 * i + 6] =
          busy || d_.one_in(3) ? d_.pick(std::vector<std::uint32_t>{1, 2, 4, 0x10, 0x11, 0x12, 3})
                               : 0;
      k_.io_queue[8 * i + 7] = d_.below(slots + 1);
    }
    for (std::size_t i = 0; i < slots; ++i) {
      for (const std::uint32_t w : slot()) k_.ring.push_back(w);
    }
    return std::move(k_);
  }

 private:
  inline static const std::vector<std::size_t> sizes{1, 2, 3, 7, 40, 159, 160, 161, 200};

  void fill_control() {
    words& c = k_.control;
    for (std::size_t t = 0; t < 29; ++t) c[3 + t] = d_.one_in(6) ? 0 : d_.word() | 1;
    for (std::size_t t = 0; t < 32; ++t)
      c[32 + t] = d_.pick(std::vector<std::uint32_t>{0, 1, 1, 2, 1'000'000, 0xFFFF'FFFF});
    c[2] = d_.one_in(5) ? d_.word() : d_.one_in(5) ? d_.below(4) : 3;
    c[0] = d_.one_in(20);
    if (d_.one_in(2)) {
      for (std::size_t i = 64; i < 129; ++i) c[i] = d_.word();
      for (std::size_t i = 135; i < 150; ++i) c[i] = d_.word();
    }
    if (d_.one_in(2)) c[1] = 0xFFFF'FFFF - d_.below(4);
    for (std::size_t i = 129; i < 135; ++i) c[i] = d_.one_in(12) ? d_.word() : d_.below(18);
    if (d_.one_in(2)) std::sort(&c[129], &c[129] + 6);
    for (std::size_t i = 160; i < c.size(); ++i) c[i] = d_.word();
  }

  std::uint32_t address() {
    const auto last = static_cast<std::uint32_t>(k_.control.size() - 1);
    const std::vector<std::uint32_t> edges{
        0,        128,      159,        160,        161,         last - 1,    last,       last + 1,
        last + 2, last / 2, last - 160, last - 159, 0xFFFF'FFFF, 0xFFFF'FF60, 0xFFFF'FFFE};
    const std::uint32_t kind = d_.below(8);
    if (kind < 3) return d_.pick(edges);
    if (kind < 6) return 160 + d_.below(k_.control.size() - 159);
    return kind == 6 ? d_.below(k_.control.size() + 2) : d_.word();
  }

  std::vector<std::uint32_t> arguments(std::uint32_t op) {
    std::vector<std::uint32_t> a(12);
    for (std::uint32_t& w : a) w = d_.one_in(2) ? address() : d_.word();
    switch (op) {
      case 1:
      case 2:
        a[1] = address();
        break;
      case 3:
        a[0] = address();
        a[1] = d_.one_in(3) ? address() : address() - 160;
        break;
      case 4:
        a[0] = address();
        if (a[0] < k_.control.size() && d_.one_in(2)) a[1] = k_.control[a[0]];
        break;
      case 5: {
        a[0] = address();
        a[1] = d_.one_in(3) ? a[0] + d_.below(5) - 2 : address();  // overlapping
        const auto size = static_cast<std::uint32_t>(k_.control.size());
        a[2] = d_.pick(std::vector<std::uint32_t>{0, 1, 2, 3, 8, size - 160, size - a[0],
                                                  size - a[1], 0u - a[0], 0u - a[1], 0xFFFF'FFFF});
        break;
      }
      case 6:
        a[0] = d_.pick(std::vector<std::uint32_t>{0, 0, 0, 1, 2, 0x0100'0000, 0xFFFF'FFFF});
        a[1] = d_.pick(std::vector<std::uint32_t>{0, 1, 254, 255, 256, 511, 0xFFFF'FFFF});
        a[2] = address() - 160;
        break;
      case 10:
      case 300:
        a[0] = address() - 160;
        break;
      case 13:
        a[0] = d_.one_in(3) ? d_.word() : 7 + d_.below(100);
        break;
      case 0x8000'0001:
        pack(a);
        break;
      default:
        break;
    }
    return a;
  }

  /// A packed slot that is whole, or wrong in one byte, or noise.
  void pack(std::vector<std::uint32_t>& a) {
    if (d_.one_in(8)) return;
    const std::uint32_t ops = d_.below(6);
    const std::uint32_t table = (2 + 2 * ops + 3) / 4;
    std::array<std::uint8_t, 48> bytes{};
    bytes[0] = static_cast<std::uint8_t>(ops);
    std::uint32_t used = 0;
    for (std::uint32_t i = 0; i < ops; ++i) {
      std::uint32_t op = d_.pick(opcodes);
      if (op > 255) op = d_.below(14);
      const auto inner = op == 0x8000'0001 ? words(12) : arguments(op);
      bytes[2 + 2 * i] = static_cast<std::uint8_t>(op);
      bytes[3 + 2 * i] = static_cast<std::uint8_t>(used);
      for (std::uint32_t w = 0; w < 3 && table + used < 12 && !d_.one_in(8); ++w) {
        for (std::uint32_t b = 0; b < 4; ++b)
          bytes[4 * (table + used) + b] = static_cast<std::uint8_t>(inner[w] >> 8 * b);
        ++used;
      }
    }
    bytes[1] = static_cast<std::uint8_t>(used);
    if (d_.one_in(4)) bytes[d_.below(2 + 2 * ops)] = static_cast<std::uint8_t>(d_.word());
    if (d_.one_in(8)) bytes[d_.below(2)] = static_cast<std::uint8_t>(12 - table + d_.below(3));
    for (std::size_t w = 0; w < 12; ++w) {
      a[w] = 0;
      for (std::size_t b = 4; b-- > 0;) a[w] = a[w] << 8 | bytes[4 * w + b];
    }
  }

  std::vector<std::uint32_t> slot() {
    const std::vector<std::uint32_t> usual{1, 1, 1, 1, 5, 6, 4, 4, 0, 2, 3, 7};
    const std::uint32_t op = d_.one_in(20) ? d_.word() : d_.pick(opcodes);
    std::vector<std::uint32_t> s{d_.one_in(20) ? d_.word() : d_.pick(usual), op,
                                 d_.one_in(8) ? d_.word() : d_.below(d_.one_in(2) ? 3 : 33),
                                 d_.one_in(8) ? d_.word() : d_.below(6)};
    const auto a = arguments(op);
    s.insert(s.end(), a.begin(), a.end());
    if (s[0] == 4) {
      if (!d_.one_in(4)) s[1] = 0xFFFD;
      s[14] = d_.one_in(2) ? 0xFFFF'FFFF : d_.one_in(4) ? d_.word() : d_.below(4);
    }
    return s;
  }

  prng& d_;
  kernel_state k_;
};

/// How often a slot that was schedulable came out so: (status, fault code), that the launches are
/// not all alike.
std::map<std::pair<std::uint32_t, std::uint32_t>, std::uint64_t> came_out;

void same_as_plainly(std::uint64_t seed, std::uint32_t lanes, bool by_priority) {
  constexpr std::uint32_t launches = 100;
  prng d(seed);
  for (std::uint32_t n = 0; n < launches; ++n) {
    const kernel_state before = hostile(d).launch();
    kernel_state expected = before;
    execute_plainly(expected, lanes, by_priority);
    kernel_state one_by_one = before;
    interpret<dev::direct_counters<dev::host_memory>>(one_by_one, lanes, by_priority);
    expect_none(different(one_by_one, expected));
    kernel_state by_quads = before;
    kernel::interpret_by_quads(by_quads, lanes, by_priority, n % 4);
    expect_none(different(by_quads, expected));
    kernel_state aggregated = before;
    interpret<dev::counter_batch<dev::host_memory>>(aggregated, lanes, by_priority);
    // A slot that reads a counter may see it lag; what it has stored then is all that may differ.
    std::ranges::copy(std::span(expected.control).subspan(160), aggregated.control.begin() + 160);
    expect_none(different(aggregated, expected));
    for (std::size_t s = 0; s < before.ring.size(); s += 16) {
      if (before.ring[s] == expected.ring[s]) continue;
      const bool fault = expected.ring[s] == 7;
      ++came_out[{expected.ring[s],
                  fault && expected.ring[s + 15] < 7 ? expected.ring[s + 15] : 0}];
    }
  }
}

/// A second launch on what the first has left: links, cursors and codes of the kernel's own making.
void again_as_plainly(std::uint64_t seed, bool by_priority) {
  prng d(seed);
  kernel_state k = hostile(d).launch();
  for (int launch = 0; launch < 8; ++launch) {
    kernel_state expected = k;
    execute_plainly(expected, 1, by_priority);
    interpret<dev::direct_counters<dev::host_memory>>(k, 1, by_priority);
    expect_none(different(k, expected));
    // The host answers some requests and refills some quotas.
    for (std::size_t i = 0; i < k.io_queue.size(); i += 8) {
      if (k.io_queue[i + 6] == 1 && !d.one_in(3)) k.io_queue[i + 6] = d.one_in(4) ? 0x11 : 0x10;
    }
    k.control[32 + d.below(32)] += 1;
    k.control[0] = 0;
  }
}

void every_way_out_is_taken() {
  for (const std::pair<std::uint32_t, std::uint32_t>& way :
       std::vector<std::pair<std::uint32_t, std::uint32_t>>{
           {3, 0}, {4, 0}, {5, 0}, {6, 0}, {7, 1}, {7, 2}, {7, 3}, {7, 4}, {7, 5}, {7, 6}}) {
    if (came_out[way] == 0)
      RC_FAIL("status " + std::to_string(way.first) + ", code " + std::to_string(way.second) +
              " never came out");
  }
}

// A fault, and nothing else.

struct fault_case {
  const char* what;
  std::uint32_t op;
  std::vector<std::uint32_t> arguments;
  std::uint32_t code;
  std::uint32_t tenant = 0;
};

constexpr std::uint32_t top = 0xFFFF'FFFF;
constexpr std::uint32_t size = 200;  // words of control
constexpr std::uint32_t last = size - 1;

const std::vector<fault_case>& fault_cases() {
  static const std::vector<fault_case> cases{
      {"an opcode nobody has", 8, {}, 1},
      {"a reserved opcode", 0xFFF0, {}, 1},
      {"a system opcode that is none", 0x8000'0000, {}, 1},
      {"STORE to the first word", 1, {5, 0}, 3},
      {"STORE to a mask", 1, {5, 3}, 3},
      {"STORE to the last system word", 1, {5, 159}, 3},
      {"STORE one past the end", 1, {5, size}, 2},
      {"STORE at the top", 1, {5, top}, 2},
      {"ADD to DONE_COUNT", 2, {5, 1}, 3},
      {"ADD to a quota", 2, {5, 32}, 3},
      {"ADD one past the end", 2, {5, size}, 2},
      {"LOAD from one past the end", 3, {size, 0}, 2},
      {"LOAD to one past the end", 3, {0, size - 160}, 2},
      {"LOAD to where the index wraps to a mask", 3, {0, 0u - 160 + 3}, 2},
      {"SWAP of a system word", 4, {0, 0, 1}, 3},
      {"SWAP one past the end", 4, {size, 0, 1}, 2},
      {"SWAP without a word for the result", 4, {165, 0, 1}, 2},
      {"COPY to system words", 5, {160, 0, 4}, 3},
      {"COPY into the last system word", 5, {160, 159, 2}, 3},
      {"COPY from past the end", 5, {last, 160, 2}, 2},
      {"COPY to past the end", 5, {160, last, 2}, 2},
      {"COPY whose source wraps", 5, {top, 160, 2}, 2},
      {"COPY whose end wraps into the buffer", 5, {0u - 8, 160, 200}, 2},
      {"COPY whose target wraps", 5, {160, 0u - 8, 170}, 2},
      {"COPY of everything there is", 5, {0, 0, top}, 2},
      {"DFA_STEP past the table", 6, {1, 0, 0}, 2},
      {"DFA_STEP whose entry wraps", 6, {0x0100'0000, 0, 0}, 2},
      {"DFA_STEP without a word for the result", 6, {0, 0, size - 160}, 2},
      {"DFA_STEP to where the index wraps to a mask", 6, {0, 0, 0u - 160 + 3}, 2},
      {"a packed slot with too many operations", 0x8000'0001, {24}, 4},
      {"a packed slot with 255 operations", 0x8000'0001, {255}, 4},
      {"a packed slot with too many arguments", 0x8000'0001, {1 | 12 << 8}, 4},
      {"a packed offset past the arguments", 0x8000'0001, {1 | 2 << 8 | 0 << 16 | 3u << 24}, 4},
      {"a packed operation that faults behind one that does not",
       0x8000'0001,
       // store(9, 170), store(9, 3): the offsets are 0 and 2
       {2 | 4 << 8 | 1 << 16 | 0u << 24, 1 | 2 << 8, 9, 170, 9, 3},
       3},
      {"a packed opcode nobody has behind a fence",
       0x8000'0001,
       {2 | 0 << 8 | 7 << 16, 99 | 0 << 8},
       1},
      {"SHUTDOWN by a tenant that is not the system's", 0xFFFF'FFFF, {}, 3, 1},
  };
  return cases;
}

/// The words of `after` that differ, but for those a fault may change: the slot's status and code,
/// the counters of the claim and of the fault, the heartbeat.
std::string changed_besides(const kernel_state& before, const kernel_state& after,
                            const fault_case& f) {
  kernel_state expected = before;
  expected.ring[0] = 7;
  expected.ring[15] = f.code;
  if (f.op < 32) ++expected.control[96 + f.op];
  ++expected.control[64 + f.tenant];
  ++expected.control[136 + 2];
  ++expected.control[142];
  ++expected.control[143];
  return different(after, expected);
}

void faults_change_nothing_else() {
  const bool no_queue = *rc::gen::arbitrary<bool>();
  std::vector<fault_case> cases = fault_cases();
  cases.push_back(no_queue ? fault_case{"LOAD_MISS without a queue", 0xFFFD, {7}, 6}
                           : fault_case{"DFA_STEP without a table", 6, {0, 0, 0}, 5});
  prng d(*uniform<std::uint64_t>());
  for (const fault_case& f : cases) {
    kernel_state k;
    k.control.resize(size);
    for (std::uint32_t& w : k.control) w = d.word();
    k.control[0] = 0;
    k.control[2] = 3;
    for (std::size_t i = 3; i < 32; ++i) k.control[i] |= 1;
    k.debug_log.resize(9);
    if (!no_queue) k.io_queue.resize(16);
    if (f.code != 5) k.table.resize(256);
    k.ring.resize(32);
    for (std::uint32_t& w : k.ring) w = d.word();
    k.ring[0] = 1;
    k.ring[1] = f.op;
    k.ring[2] = f.tenant;
    k.ring[3] = 2;
    std::ranges::copy(f.arguments, &k.ring[4]);
    k.ring[16] = 0;
    const kernel_state before = k;
    // One pass, so that the second slot is not looked at.
    kernel_state one = k;
    one.ring.resize(16);
    interpret<dev::direct_counters<dev::host_memory>>(one, 1, false);
    one.ring.insert(one.ring.end(), &k.ring[16], &k.ring[16] + 16);
    if (const std::string wrong = changed_besides(before, one, f); !wrong.empty())
      RC_FAIL(std::string(f.what) + ": " + wrong);
  }
}

void unauthorised_slots_stay() {
  const auto tenant = *rc::gen::weightedOneOf<std::uint32_t>(
      {{2, between<std::uint32_t>(0, 33)}, {3, between<std::uint32_t>(28, 31)}, {1, any_word()}});
  const auto base = *rc::gen::weightedOneOf<std::uint32_t>(
      {{2, rc::gen::just<std::uint32_t>(3)},
       {4, between<std::uint32_t>(0, 2)},
       {2, between<std::uint32_t>(0, 40)},
       {1, rc::gen::elementOf(std::vector<std::uint32_t>{0xFFFF'FFFF, 0xFFFF'FFE4, 159, 160})}});
  const auto mask = *rc::gen::elementOf(std::vector<std::uint32_t>{0, 1, 0x8000'0000});
  kernel_state k;
  k.control.assign(170, 1);  // were any other word taken for a mask, it would let the tenant in
  k.control[0] = 0;
  k.control[2] = base;
  for (std::size_t i = 3; i < 32; ++i) k.control[i] = mask;
  k.ring.assign(16, 0);
  k.ring[0] = 1;
  k.ring[1] = 1;
  k.ring[2] = tenant;
  k.ring[4] = 9;
  k.ring[5] = 165;
  const std::uint64_t at = std::uint64_t{base} + tenant;
  const bool allowed = tenant < 29 && at >= 3 && at < 32 && mask != 0;
  RC_CLASSIFY(allowed);
  RC_CLASSIFY(tenant >= 29 && at >= 3 && at < 32 && mask != 0, "a mask past the tenants");
  kernel_state expected = k;
  ++expected.control[142];
  if (!allowed) ++expected.control[144];
  interpret<dev::direct_counters<dev::host_memory>>(k, 1, false);
  if (allowed) {
    RC_ASSERT(k.ring[0] == 3u && k.control[165] == 9u);
  } else {
    expect_none(different(k, expected));
  }
}

// What handlers are made of.

void arena_blocks(std::uint64_t offset, std::uint64_t count) {
  alignas(8) std::array<unsigned char, 100> arena{};
  const dev::launch where{.arena = arena.data(), .arena_bytes = arena.size()};
  dev::host_memory memory;
  const dev::handler_context<dev::host_memory> context(where, memory, 0, 0);
  const auto block = context.arena<std::uint64_t>(offset, count);
  const bool inside = offset % 8 == 0 && offset <= 100 && count <= (100 - offset) / 8;
  RC_CLASSIFY(inside);
  RC_ASSERT(bool(block) == inside);
  RC_ASSERT(block.size == (inside ? count : 0));
  if (!inside) return;
  const bool there = static_cast<void*>(block.data) == arena.data() + offset;
  RC_ASSERT(there);
}

void outcomes(std::uint32_t code) {
  for (const auto& o : {dev::outcome::done(), dev::outcome::yield(), dev::outcome::requeue(),
                        dev::outcome::wait_io(), dev::outcome::fault(mk::fault_code{code})}) {
    const auto again = dev::outcome::of(o.status(), o.why());
    RC_ASSERT(again.status() == o.status() && again.why() == o.why());
  }
}

void adding_in_any_order(std::uint32_t from, std::uint32_t by) {
  const dev::host_memory memory;
  std::uint32_t at = from;
  RC_ASSERT(memory.add(&at, by, dev::relaxed, dev::in_system) == from);
  RC_ASSERT(memory.add(&at, by, dev::acquire, dev::in_device) == from + by);
  RC_ASSERT(memory.add(&at, by, dev::release, dev::in_block) == from + 2 * by);
  RC_ASSERT(memory.add(&at, by, dev::acq_rel, dev::in_system) == from + 3 * by);
  RC_ASSERT(at == from + 4 * by);
}

}  // namespace

int main() {
  bool ok = true;
  const auto check = [&](const char* law, const auto& body) { ok = rc::check(law, body) && ok; };
  check("a launch of a hostile ring leaves what the plain kernel leaves, to the byte",
        [] { same_as_plainly(*uniform<std::uint64_t>(), *between<std::uint32_t>(1, 3), false); });
  check("and so in the priority form",
        [] { same_as_plainly(*uniform<std::uint64_t>(), *between<std::uint32_t>(1, 3), true); });
  check("and so launch after launch, with a host that answers",
        [] { again_as_plainly(*uniform<std::uint64_t>(), *rc::gen::arbitrary<bool>()); });
  check("every status and every fault code came out of these launches",
        [] { every_way_out_is_taken(); });
  check("a fault changes its slot's status and code, counts, and nothing else",
        [] { faults_change_nothing_else(); });
  check("a slot whose tenant has no mask stays as it is and is counted",
        [] { unauthorised_slots_stay(); });
  check("a block of the arena lies in it, aligned, or is none", [] {
    const auto edge = rc::gen::element<std::uint64_t>(0, 1, 12, 13, 1ull << 61, ~0ull - 7, ~0ull);
    arena_blocks(*rc::gen::oneOf(between<std::uint64_t>(0, 110), edge),
                 *rc::gen::oneOf(between<std::uint64_t>(0, 15), edge));
  });
  check("an outcome is its status and its code", [] { outcomes(*any_word()); });
  check("adding adds, whatever is ordered by it",
        [] { adding_in_any_order(*any_word(), *any_word()); });
  return ok ? 0 : 1;
}
