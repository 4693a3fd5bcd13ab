// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
module;
#include <megakernel/lane_order.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <expected>
#include <limits>
#include <memory>
#include <new>
#include <optional>
#include <span>
#include <string_view>
#include <utility>
#include <vector>
module megakernel.testing;
import megakernel.protocol;
import megakernel.runtime;

namespace megakernel {
namespace {

using detail::mixed;
using key = std::array<std::uint64_t, 2>;

key operator^(const key& a, const key& b) noexcept { return {a[0] ^ b[0], a[1] ^ b[1]}; }

constexpr std::uint32_t none = 0xFFFF'FFFFu;

/// Numbers of things by their 128-bit keys. That two of 2^32 things have one key has odds of 2^-65.
class index_by_key {
 public:
  index_by_key() : slots_(1024, {key{}, none}) {}

  /// The number that `k` has, or none; then it gets `number`.
  std::uint32_t find_or_add(const key& k, std::uint32_t number) {
    if (used_ * 2 >= slots_.size()) grow();
    entry& e = slots_[find(k)];
    if (e.number != none) return e.number;
    e = {k, number};
    ++used_;
    return none;
  }

 private:
  struct entry {
    key k;
    std::uint32_t number;
  };
  [[nodiscard]] std::size_t find(const key& k) const noexcept {
    std::size_t at = k[0] & (slots_.size() - 1);
    while (slots_[at].number != none && slots_[at].k != k) at = (at + 1) & (slots_.size() - 1);
    return at;
  }
  void grow() {
    std::vector<entry> old(slots_.size() * 2, {key{}, none});
    old.swap(slots_);
    for (const entry& e : old) {
      if (e.number != none) slots_[find(e.k)] = e;
    }
  }
  std::vector<entry> slots_;
  std::size_t used_ = 0;
};

/// Where an actor can be: just before an access that it makes next, whatever led there.
struct place {
  memory_access next{};
  bool ended = false;
  key name{};
  std::uint32_t before =
      none;  // the place and what was read there, by which this was first reached
  word read = 0;
  std::uint32_t body = none;
};

/// From a place to a place, by what was read, with the stores to unseen words on the way.
struct passage {
  std::uint32_t to = none;
  std::uint32_t first_store = 0;
  std::uint32_t stores = 0;
};

/// The known behaviour of an actor: an automaton over the values it reads.
class known_actor {
 public:
  using body_words = std::array<word, abi::slot_words>;

  explicit known_actor(detail::step_fiber& fiber) : fiber_(fiber) { begin(); }

  [[nodiscard]] const place& at(std::uint32_t p) const noexcept { return places_[p]; }
  [[nodiscard]] std::size_t places() const noexcept { return places_.size(); }
  /// The first place is 0.
  [[nodiscard]] std::span<const memory_access> stores_at_start() const noexcept {
    return {stores_.data(), stores_at_start_};
  }
  [[nodiscard]] std::span<const memory_access> stores(const passage& p) const noexcept {
    return std::span(stores_).subspan(p.first_store, p.stores);
  }
  /// False once the actor was seen to do different things after reading the same.
  [[nodiscard]] bool deterministic() const noexcept { return deterministic_; }

  /// Where reading `read`, or `body` where that is accessed, leads from `from`.
  passage follow(std::uint32_t from, word read, const word (&body)[abi::slot_words]) {
    key k = mixed(std::uint64_t{from} << 32 | read, 0x5851F42D4C957F2Du);
    const bool has_body = places_[from].next.kind == access_kind::body;
    if (has_body) {
      for (word i = 1; i < abi::slot_words; ++i)
        k = k ^ mixed(i, body[i] + (std::uint64_t{1} << 32));
    }
    const auto number = static_cast<std::uint32_t>(passages_.size());
    if (const std::uint32_t known = by_reading_.find_or_add(k, number); known != none)
      return passages_[known];
    if (!go_to(from)) {
      passages_.push_back({.to = from});
      return passages_.back();
    }
    std::uint32_t kept = none;
    if (has_body) {
      kept = static_cast<std::uint32_t>(bodies_.size());
      body_words copy{};
      std::memcpy(copy.data(), body, sizeof body);
      bodies_.push_back(copy);
    }
    fiber_.resume(read, body);
    passages_.push_back(
        arrive(mixed(places_[from].name[0] ^ k[0], places_[from].name[1]), from, read, kept));
    return passages_.back();
  }

 private:
  void begin() {
    fiber_.start();
    here_ = arrive(key{1, 1}, none, 0, none).to;
    stores_at_start_ = stores_.size();
  }

  /// The place where the fiber is now; `name` is its name unless a checkpoint gave it one.
  passage arrive(key name, std::uint32_t from, word read, std::uint32_t body) {
    if (const auto& named = fiber_.checkpoint()) name = mixed((*named)[0], ~(*named)[1]);
    const passage p{.to = none,
                    .first_store = static_cast<std::uint32_t>(stores_.size()),
                    .stores = static_cast<std::uint32_t>(fiber_.unseen().size())};
    stores_.insert(stores_.end(), fiber_.unseen().begin(), fiber_.unseen().end());
    place reached{.next = fiber_.ended() ? memory_access{} : fiber_.pending(),
                  .ended = fiber_.ended(),
                  .name = name,
                  .before = from,
                  .read = read,
                  .body = body};
    // An end is an end, whatever was read before.
    if (reached.ended) reached.name = name = key{};
    const auto number = static_cast<std::uint32_t>(places_.size());
    const std::uint32_t known = by_name_.find_or_add(name, number);
    here_ = known == none ? number : known;
    if (known == none) {
      places_.push_back(reached);
    } else if (places_[known].ended != reached.ended || places_[known].next != reached.next) {
      deterministic_ = false;
    }
    return {here_, p.first_store, p.stores};
  }

  /// Whether the fiber can go on; an actor that is elsewhere than it was has broken its promise.
  bool stands_before(const memory_access& next) noexcept {
    if (fiber_.ended() || fiber_.pending() != next) deterministic_ = false;
    return !fiber_.ended();
  }

  /// Brings the fiber to `to`, by the way that it was first reached; false where it has ended.
  bool go_to(std::uint32_t to) {
    if (here_ == to) return true;
    way_.clear();
    for (std::uint32_t p = to; p != 0; p = places_[p].before) way_.push_back(p);
    fiber_.start();
    for (auto p = way_.rbegin(); p != way_.rend(); ++p) {
      const place& next = places_[*p];
      word body[abi::slot_words] = {};
      if (next.body != none) std::memcpy(body, bodies_[next.body].data(), sizeof body);
      if (!stands_before(places_[next.before].next)) break;
      fiber_.resume(next.read, body);
    }
    here_ = to;
    return stands_before(places_[to].next);
  }

  detail::step_fiber& fiber_;
  std::vector<place> places_;
  std::vector<passage> passages_;
  std::vector<body_words> bodies_;
  std::vector<memory_access> stores_;
  std::vector<std::uint32_t> way_;
  index_by_key by_name_;
  index_by_key by_reading_;
  std::size_t stores_at_start_ = 0;
  std::uint32_t here_ = 0;
  bool deterministic_ = true;
};

/// Depth first over the states, on the one memory there is: what a step changed is put back.
class explorer {
 public:
  explorer(detail::stepper_state& of, const exploration_checks& checks,
           const exploration_limits& limits)
      : world_(of.world),
        checks_(checks),
        limits_(limits),
        ghost_(checks.ghost_words),
        ghost_before_(checks.ghost_words) {
    for (const auto& fiber : of.fibers) actors_.emplace_back(*fiber);
    at_.resize(actors_.size());
  }
  explorer(const explorer&) = delete;
  explorer& operator=(const explorer&) = delete;
  ~explorer() { undo_to(0); }

  exploration run() {
    for (std::uint32_t a = 0; a < actors_.size(); ++a) {
      for (const memory_access& store : actors_[a].stores_at_start()) perform(a, store);
      name_ = name_ ^ name_of(a, 0);
    }
    (void)by_name_.find_or_add(name_, 0);
    enter(none, 0, 0);
    search();
    found_.states = states_.size();
    for (const known_actor& actor : actors_) {
      found_.local_states += actor.places();
      if (!actor.deterministic() && found_.failure.empty())
        fail("an actor did different things after reading the same");
    }
    found_.complete = complete_ && found_.failure.empty();
    if (found_.complete) find_stuck();
    if (endless_) found_.interleavings = std::numeric_limits<double>::infinity();
    return std::move(found_);
  }

 private:
  struct state {
    std::uint32_t before = none;
    std::uint32_t actor = 0;
    bool open = true;  // on the path
    bool end = false;
    double schedules = 0;
  };
  struct frame {
    std::uint32_t number = 0;
    std::uint32_t next_actor = 0;
    std::uint32_t came_from = 0;  // where the actor of the step that led here was
    std::size_t undo = 0;
    key name{};
  };
  struct change {
    word* at;
    word before;
  };

  [[nodiscard]] static key name_of(std::uint64_t actor, std::uint32_t at) noexcept {
    return mixed(actor << 40 | at, 0x9216D5D98979FB1Bu);
  }
  [[nodiscard]] static key name_of_word(std::uint64_t flat, word value) noexcept {
    return mixed(flat << 32 | value, 0xD1310BA698DFB5ACu);
  }

  void change_word(word* at, std::uint64_t flat, word before, word after, bool seen) {
    if (before == after) return;
    undo_.push_back({at, before});
    if (seen) name_ = name_ ^ name_of_word(flat, before) ^ name_of_word(flat, after);
  }

  template <class T>
  static void make_room(std::vector<T>& in) {
    if (in.size() == in.capacity()) in.reserve(2 * in.size() + 64);
  }

  word perform(std::uint32_t actor, const memory_access& what) {
    // A step that cannot be undone is not taken.
    make_room(undo_);
    make_room(made_);
    made_.push_back(world_.perform(actor, what, body_));
    const step_record& made = made_.back();
    if (what.area == memory_area::outside) {
      fail("an access outside the shared memory");
    } else if (made.before != made.after) {
      if (world_.flagged(what, detail::step_world::fixed)) fail("a fixed word was written");
      if (what.area == memory_area::dfa_table) {
        fail("the table was written");
      } else {
        change_word(world_.at(what), world_.flat(what), made.before, made.after,
                    !world_.flagged(what, detail::step_world::unseen));
      }
    }
    return made.before;
  }

  void undo_to(std::size_t mark) noexcept {
    for (; undo_.size() > mark; undo_.pop_back()) *undo_.back().at = undo_.back().before;
  }

  void fail(std::string_view why) {
    if (!found_.failure.empty()) return;
    found_.failure = why;
    found_.schedule.clear();
    for (const frame& f : path_) {
      if (states_[f.number].before != none) found_.schedule.push_back(states_[f.number].actor);
    }
    if (stepping_) found_.schedule.push_back(stepping_actor_);
  }

  void enter(std::uint32_t before, std::uint32_t actor, std::size_t undo) {
    const auto number = static_cast<std::uint32_t>(states_.size());
    states_.push_back({.before = before, .actor = actor});
    path_.push_back({.number = number, .undo = undo, .name = name_});
    found_.deepest = std::max(found_.deepest, path_.size() - 1);
  }

  /// Back to the state before the last of the path.
  void leave() {
    const frame last = path_.back();
    state& s = states_[last.number];
    bool ended = true;
    for (std::size_t a = 0; a < actors_.size(); ++a) ended = ended && actors_[a].at(at_[a]).ended;
    if (ended) {
      s.end = true;
      s.schedules = 1;
      ++found_.ends;
      if (checks_.end) {
        if (const std::string_view wrong = checks_.end(); !wrong.empty()) fail(wrong);
      }
    }
    s.open = false;
    path_.pop_back();
    if (path_.empty()) {
      found_.interleavings = s.schedules;
      return;
    }
    states_[path_.back().number].schedules += s.schedules;
    at_[s.actor] = last.came_from;
    undo_to(last.undo);
    name_ = path_.back().name;
  }

  void search() {
    while (!path_.empty() && found_.failure.empty()) {
      frame& top = path_.back();
      if (top.next_actor == actors_.size()) {
        leave();
        continue;
      }
      const std::uint32_t actor = top.next_actor++;
      if (!actors_[actor].at(at_[actor]).ended) step(actor);
    }
  }

  void step(std::uint32_t actor) {
    stepping_ = true;
    stepping_actor_ = actor;
    const frame& top = path_.back();
    const std::uint32_t from = at_[actor];
    const std::size_t undo = undo_.size();
    made_.clear();
    const word read = perform(actor, actors_[actor].at(from).next);
    const passage way = actors_[actor].follow(from, read, body_);
    for (const memory_access& store : actors_[actor].stores(way)) perform(actor, store);
    at_[actor] = way.to;
    name_ = name_ ^ name_of(actor, from) ^ name_of(actor, way.to);
    check();
    ++found_.steps;
    stepping_ = false;

    const auto number = static_cast<std::uint32_t>(states_.size());
    const std::uint32_t known = by_name_.find_or_add(name_, number);
    steps_.push_back({top.number, known == none ? number : known});
    if (known == none) {
      if (number < limits_.most_states) {
        enter(top.number, actor, undo);
        path_.back().came_from = from;
        return;
      }
      complete_ = false;
      path_.resize(0);
      return;
    }
    endless_ = endless_ || states_[known].open;
    states_[top.number].schedules += states_[known].schedules;
    at_[actor] = from;
    undo_to(undo);
    name_ = top.name;
  }

  void check() {
    if (!checks_.step || !found_.failure.empty()) return;
    ghost_before_ = ghost_;
    const std::string_view wrong = checks_.step(made_, ghost_);
    for (std::size_t i = 0; i < ghost_.size(); ++i)
      change_word(&ghost_[i], world_.words + i, ghost_before_[i], ghost_[i], true);
    if (!wrong.empty()) fail(wrong);
  }

  /// States from which steps lead to no end, by walking back from the ends.
  void find_stuck() {
    std::vector<std::uint32_t> first(states_.size() + 1);
    for (const auto& [from, to] : steps_) ++first[to + 1];
    for (std::size_t i = 1; i < first.size(); ++i) first[i] += first[i - 1];
    std::vector<std::uint32_t> into(steps_.size());
    std::vector<std::uint32_t> next(first.begin(), first.end() - 1);
    for (const auto& [from, to] : steps_) into[next[to]++] = from;
    std::vector<bool> reaches(states_.size());
    std::vector<std::uint32_t> work;
    for (std::uint32_t i = 0; i < states_.size(); ++i) {
      if (!states_[i].end) continue;
      reaches[i] = true;
      work.push_back(i);
    }
    while (!work.empty()) {
      const std::uint32_t at = work.back();
      work.pop_back();
      for (std::uint32_t i = first[at]; i < first[at + 1]; ++i) {
        if (reaches[into[i]]) continue;
        reaches[into[i]] = true;
        work.push_back(into[i]);
      }
    }
    for (std::uint32_t i = 0; i < states_.size(); ++i) {
      if (reaches[i]) continue;
      if (found_.stuck++ != 0) continue;
      for (std::uint32_t at = i; states_[at].before != none; at = states_[at].before)
        found_.schedule.push_back(states_[at].actor);
      std::ranges::reverse(found_.schedule);
    }
  }

  const detail::step_world& world_;
  const exploration_checks& checks_;
  const exploration_limits& limits_;
  std::vector<known_actor> actors_;
  std::vector<std::uint32_t> at_;  // the place of each actor
  std::vector<word> ghost_;
  std::vector<word> ghost_before_;
  key name_{};  // of the state: what has changed since the start, and the places
  word body_[abi::slot_words] = {};
  std::vector<step_record> made_;
  std::vector<change> undo_;
  std::vector<state> states_;
  std::vector<frame> path_;
  std::vector<std::pair<std::uint32_t, std::uint32_t>> steps_;
  index_by_key by_name_;
  exploration found_;
  bool stepping_ = false;
  std::uint32_t stepping_actor_ = 0;
  bool complete_ = true;
  bool endless_ = false;
};

}  // namespace

result<exploration> stepper::explore(const exploration_checks& checks,
                                     const exploration_limits& limits) {
  try {
    exploration found = explorer(*state_, checks, limits).run();
    restart();
    return found;
  } catch (const std::bad_alloc&) {
    restart();
    return std::unexpected(error{.code = error_code::out_of_memory, .found = 1, .bound = 0});
  }
}

}  // namespace megakernel
