// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The rules of a ring that lanes drain and producers fill, asked after every
// access of every actor. Plain words and numbers: nothing here knows the library.
// docs/protocol.md#slot-status docs/protocol.md#claim
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

namespace props {

/// An access as a rule sees it.
struct touch {
  enum class kinds : std::uint8_t { load, store, add, exchange, body };
  enum class areas : std::uint8_t { control, ring, debug_log, io_queue, table, own, outside };
  std::uint32_t actor = 0;
  kinds kind = kinds::load;
  areas area = areas::outside;
  std::uint32_t index = 0;
  std::uint32_t before = 0;
  std::uint32_t after = 0;
  /// An exchange that found something else has written nothing.
  [[nodiscard]] bool writes() const {
    return kind == kinds::store || kind == kinds::add ||
           (kind == kinds::exchange && before != after);
  }
};

class ring_rules {
 public:
  using words = std::span<const std::uint32_t>;

  /// The first `lanes` actors are lanes, the others the host's. Every job that may run adds 1 to
  /// the word that its argument 1 names, and no other does; `quotas`: lanes take tokens.
  ring_rules(words control, words ring, std::uint32_t lanes, bool quotas = false)
      : control_(control), ring_(ring), lanes_(lanes), quotas_(quotas), done_before_(control[1]) {}

  /// Words of memory the rules need: the owner of each slot, and how many DONEs were stored.
  [[nodiscard]] std::size_t ghosts() const { return ring_.size() / 16 + 1; }

  /// What is wrong with `t`, which has just happened; empty when nothing is.
  [[nodiscard]] std::string_view operator()(const touch& t, std::span<std::uint32_t> ghost) const {
    if (t.area == touch::areas::outside) return "an access outside the buffers";
    const std::string_view wrong = t.actor < lanes_ ? by_lane(t, ghost) : by_host(t, ghost);
    if (!wrong.empty()) return wrong;
    if (control_[1] - done_before_ > ghost.back())
      return "DONE_COUNT runs ahead of the DONEs that can be seen";
    return {};
  }

 private:
  static constexpr std::uint32_t empty = 0, published = 1, claimed = 2, done = 3, wait_io = 4,
                                 yield = 5, requeue = 6, fault = 7;

  [[nodiscard]] std::string_view by_lane(const touch& t, std::span<std::uint32_t> ghost) const {
    if (t.area == touch::areas::ring) return in_ring(t, ghost);
    if (!t.writes()) return {};
    if (t.area == touch::areas::control) {
      if (!may_write(t.index)) return "a lane wrote a control word that is not the kernel's";
      if (t.index >= 160 && t.after > 1) return "a job was executed twice";
    }
    if (t.area == touch::areas::table || t.area == touch::areas::own)
      return "a lane wrote memory that is not the kernel's";
    return {};
  }

  [[nodiscard]] bool may_write(std::uint32_t word) const {
    const bool counts = word <= 1 || (word >= 64 && word <= 128) || (word >= 135 && word <= 149);
    return counts || word >= 160 || (quotas_ && word >= 32 && word < 64);
  }

  [[nodiscard]] std::string_view in_ring(const touch& t, std::span<std::uint32_t> ghost) const {
    std::uint32_t& owner = ghost[t.index / 16];
    const std::uint32_t me = t.actor + 1;
    const std::uint32_t word = t.index % 16;
    if (t.kind == touch::kinds::body)
      return owner == me ? std::string_view{}
                         : "a slot was taken by a lane that has not claimed it";
    if (!t.writes()) return {};
    if (word != 0) {
      if (owner != me) return "a lane wrote into a slot that it has not claimed";
      return word >= 14 ? std::string_view{} : "a lane wrote a word that is the host's";
    }
    if (t.after == claimed) {
      if (owner != 0) return "a slot was claimed that another lane has";
      if (t.before != published && t.before != yield && t.before != requeue && t.before != wait_io)
        return "a slot was claimed that was not schedulable";
      owner = me;
      return {};
    }
    if (owner != me || t.before != claimed) return "a slot was let go that was not claimed";
    owner = 0;
    return let_go(t, ghost);
  }

  [[nodiscard]] std::string_view let_go(const touch& t, std::span<std::uint32_t> ghost) const {
    const auto slot = ring_.subspan(t.index, 16);
    switch (t.after) {
      case done:
        ++ghost.back();
        if (slot[1] == 2 && control_[slot[5]] != 1) return "DONE was stored before the results";
        return may_run(slot[2]) ? std::string_view{} : "a slot was run that is not authorised";
      case wait_io:
      case yield:
      case requeue:
      case fault:
        return {};
      case published:
        // Another's by now: it was looked at, drained, published again and claimed.
        return may_run(slot[2]) && !quotas_ ? "a slot went back that could have run"
                                            : std::string_view{};
      default:
        return "a slot was left in a status that is no lane's to give";
    }
  }
  [[nodiscard]] bool may_run(std::uint32_t tenant) const {
    return tenant < 29 && control_[2] == 3 && control_[3 + tenant] != 0;
  }

  [[nodiscard]] std::string_view by_host(const touch& t, std::span<std::uint32_t> ghost) const {
    if (t.area != touch::areas::ring || !t.writes()) return {};
    if (ghost[t.index / 16] != 0) return "the host wrote into a slot that a lane has";
    const std::uint32_t status = ring_[t.index / 16 * 16];
    if (t.index % 16 != 0)
      return status == empty || status == done ? std::string_view{}
                                               : "the host wrote into a slot that is owed";
    const bool publishes = (t.before == empty || t.before == done) && t.after == published;
    const bool reclaims = (t.before == fault || t.before == done) && t.after == empty;
    return publishes || reclaims ? std::string_view{} : "the host may not change that status";
  }

  words control_;
  words ring_;
  std::uint32_t lanes_;
  bool quotas_;
  std::uint32_t done_before_;
};

}  // namespace props
