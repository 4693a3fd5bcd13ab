// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// What lanes must have counted, told from the accesses that they made: claims
// by tenant, priority and opcode, faults, lost claims, and slots that were not for them. Include it
// after the library. docs/protocol.md#claim-counters docs/protocol.md#kernel-report
#pragma once

namespace fuzz {

namespace mk = megakernel;

class lane_totals {
 public:
  using words = std::span<const std::uint32_t>;

  /// `ring` is shared with the lanes, `control` as it was before.
  lane_totals(words control, words ring, bool by_priority, bool quotas)
      : before_(control.begin(), control.begin() + 160),
        ring_(ring),
        by_priority_(by_priority),
        quotas_(quotas),
        slots_(ring.size() / 16) {}

  /// After every access of a lane. `owned`: whether the lane held a slot before it.
  void observe(const mk::step_record& made, bool owned) {
    using enum mk::memory_area;
    const mk::memory_access& what = made.what;
    if (what.area == ring) observe_ring(made);
    if (what.area != control) return;
    const bool adds = what.kind == mk::access_kind::add;
    if (what.index == 135 && adds) ++urgent_;
    if (what.index == 135 && what.kind == mk::access_kind::store) ++others_;
    // A token that is not there; opcodes may look at the quotas, too.
    const bool quota = what.index >= 32 && what.index < 64 && !owned && quotas_;
    const bool reads = what.kind == mk::access_kind::load || lost(made);
    if (quota && reads && made.before == 0) ++wanted_[145];
  }
  /// The host has published a slot anew: lanes may hold what they have read of the old one.
  void disturbed() { meddled_ = true; }

  /// Asks whether `after` has it all.
  void check(words after) const {
    if (unsure_) return;
    const auto grown = [&](std::size_t i) { return after[i] - before_[i]; };
    const auto counted = [&](std::size_t i) { return grown(i) == wanted_[i]; };
    std::uint32_t claims = 0, by_level = 0;
    for (std::size_t t = 64; t < 96; ++t) {
      fuzz::check(counted(t), "a claim is its tenant's");
      claims += wanted_[t];
    }
    for (std::size_t op = 96; op < 128; ++op)
      fuzz::check(counted(op) || (packed_ && after[op] - before_[op] > wanted_[op]),
                  "a claim is of its opcode");
    for (std::size_t level = 136; level < 141; ++level) {
      // In the priority form a claim is its partition's.
      fuzz::check(by_priority_ || counted(level), "a claim is of its priority");
      by_level += grown(level);
    }
    fuzz::check(by_level == claims, "a claim has one priority");
    fuzz::check(by_priority_ ? urgent_ == grown(136) + grown(137) && urgent_ + others_ == claims
                             : urgent_ + others_ == 0,
                "urgent claims in a row are counted, and end with another one");
    fuzz::check(counted(143), "faults are counted");
    fuzz::check(counted(144), "looks at slots of tenants without a mask are counted");
    fuzz::check(counted(147), "lost claims are counted");
    fuzz::check(meddled_ || counted(145), "looks at slots of tenants without a token are counted");
    for (std::size_t t = 0; t < 32; ++t) {
      const std::uint32_t taken = quotas_ ? wanted_[64 + t] : 0;
      fuzz::check(before_[32 + t] - after[32 + t] == taken, "a claim takes one token");
    }
  }

 private:
  struct held {
    std::uint32_t from = 0;  ///< its status when it was claimed
    std::uint32_t tenant = 0;
  };

  static bool lost(const mk::step_record& made) {
    return made.what.kind == mk::access_kind::compare_exchange && made.before != made.what.expected;
  }
  [[nodiscard]] bool may_run(std::uint32_t tenant) const {
    const std::uint64_t mask = std::uint64_t{before_[2]} + tenant;
    return tenant < 29 && mask >= 3 && mask < 32 && before_[mask] != 0;
  }

  void observe_ring(const mk::step_record& made) {
    const mk::memory_access& what = made.what;
    const std::uint32_t word = what.index % 16;
    held& slot = slots_[what.index / 16];
    if (what.kind == mk::access_kind::load) {
      if (word == 2 && !may_run(made.before)) ++wanted_[144];
    } else if (what.kind == mk::access_kind::body) {
      slot.tenant = ring_[what.index / 16 * 16 + 2];
      if (slot.from != 4 && !may_run(slot.tenant)) ++wanted_[144];
    } else if (word == 0 && lost(made)) {
      ++wanted_[147];
    } else if (word == 0 && made.after == 2) {
      slot.from = made.before;
    } else if (word == 0) {
      let_go(slot, what.index / 16, made.after);
    }
  }

  void let_go(const held& slot, std::size_t index, std::uint32_t after) {
    wanted_[143] += after == 7;
    if (slot.from == 4 || !may_run(slot.tenant)) return;
    if (after == slot.from && after == 1) return;  // put back: its tenant has no token
    // Put back, or claimed and left as it was.
    if (after == slot.from && quotas_ && meddled_) unsure_ = true;
    const words body = ring_.subspan(16 * index, 16);
    if (body[1] < 32) ++wanted_[96 + body[1]];
    packed_ |= body[1] == 0x8000'0001;
    ++wanted_[64 + slot.tenant];
    ++wanted_[136 + std::min(body[3], 4u)];
  }

  std::vector<std::uint32_t> before_;
  words ring_;
  bool by_priority_;
  bool quotas_;
  std::vector<held> slots_;
  std::array<std::uint32_t, 160> wanted_{};  ///< what is added to each control word
  std::uint32_t urgent_ = 0;
  std::uint32_t others_ = 0;
  bool packed_ = false;
  bool meddled_ = false;
  bool unsure_ = false;
};

}  // namespace fuzz
