// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
module;
#include <megakernel/lane_order.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <expected>
#include <functional>
#include <memory>
#include <optional>
#include <span>
export module megakernel.testing:fiber;
import megakernel.protocol;
import megakernel.runtime;

export namespace megakernel {

enum class access_kind : std::uint8_t {
  load,
  store,
  add,
  compare_exchange,
  body,  ///< words 1..15 of a slot that the actor holds, at once
};

/// Memory that actors share. `outside` is anywhere else: a bug of the actor's, which is shown and
/// not carried out.
enum class memory_area : std::uint8_t {
  control,
  ring,
  debug_log,
  io_queue,
  dfa_table,
  own,
  outside,
};

/// One access to shared memory, as an actor is about to make it.
struct memory_access {
  access_kind kind = access_kind::load;
  device::order order = device::order::relaxed;
  device::scope scope = device::scope::system;
  memory_area area = memory_area::outside;
  std::uint32_t index = 0;  ///< word of the area
  word operand = 0;         ///< what is stored, added, or put in the place of `expected`
  word expected = 0;
  friend constexpr bool operator==(const memory_access&, const memory_access&) = default;
};

/// An access that was made.
struct step_record {
  std::uint32_t actor = 0;
  memory_access what{};
  word before = 0;  ///< what stood there, so what was read; of a body, a digest
  word after = 0;
  friend constexpr bool operator==(const step_record&, const step_record&) = default;
};

namespace detail {

/// Where the areas lie, and which of their words are no steps.
struct step_world {
  static constexpr std::size_t areas = static_cast<std::size_t>(memory_area::outside);
  static constexpr std::uint8_t fixed = 1;
  static constexpr std::uint8_t unseen = 2;
  struct area {
    word* base = nullptr;
    std::uint32_t words = 0;
    std::uint32_t offset = 0;  // of its first word among those of all areas
  };
  device::launch where{};
  std::array<area, areas> area_of{};
  std::uint32_t words = 0;
  aligned_array<std::uint8_t> flags;  // of every word of every area

  void place(const word* at, memory_access& what) const noexcept;
  [[nodiscard]] std::uint32_t flat(const memory_access& what) const noexcept;
  [[nodiscard]] word* at(const memory_access& what) const noexcept;
  [[nodiscard]] bool flagged(const memory_access& what, std::uint8_t flag) const noexcept;
  /// Carries the access out; `body` gets the words of a body.
  [[nodiscard]] step_record perform(std::uint32_t actor, const memory_access& what,
                                    word (&body)[abi::slot_words]) const noexcept;
};

class step_fiber;

/// Hands an access to whoever steps the actor and returns, once it was made, what was read.
word ask(step_fiber& fiber, memory_access what, const word* at, word* body);
void note_checkpoint(step_fiber& fiber, std::span<const word> state) noexcept;

}  // namespace detail

/// The `Memory` of an actor: suspends it before each access until it is stepped.
///
/// Steps are sequentially consistent, whatever their order says: what weaker memory could show is
/// for other tools. Fences are no steps.
class stepping_memory {
 public:
  explicit stepping_memory(detail::step_fiber& fiber) noexcept : fiber_(&fiber) {}

  template <device::order O, device::scope S>
  word load(const word* at, device::order_tag<O>, device::scope_tag<S>) const {
    return detail::ask(*fiber_, {.kind = access_kind::load, .order = O, .scope = S}, at, nullptr);
  }
  template <device::order O, device::scope S>
  void store(word* at, word value, device::order_tag<O>, device::scope_tag<S>) const {
    (void)detail::ask(*fiber_,
                      {.kind = access_kind::store, .order = O, .scope = S, .operand = value}, at,
                      nullptr);
  }
  template <device::order O, device::scope S>
  word add(word* at, word amount, device::order_tag<O>, device::scope_tag<S>) const {
    return detail::ask(*fiber_,
                       {.kind = access_kind::add, .order = O, .scope = S, .operand = amount}, at,
                       nullptr);
  }
  template <device::order O, device::scope S>
  bool compare_exchange(word* at, word& expected, word desired, device::order_tag<O>,
                        device::scope_tag<S>) const {
    const word before = detail::ask(*fiber_,
                                    {.kind = access_kind::compare_exchange,
                                     .order = O,
                                     .scope = S,
                                     .operand = desired,
                                     .expected = expected},
                                    at, nullptr);
    const bool exchanged = before == expected;
    expected = before;
    return exchanged;
  }
  template <device::order O, device::scope S>
  void fence(device::order_tag<O>, device::scope_tag<S>) const noexcept {}
  void read_body(const word* slot, word (&body)[abi::slot_words]) const {
    (void)detail::ask(*fiber_, {.kind = access_kind::body}, slot, body);
  }

  /// Says that what the actor does from here on depends on nothing but `state` and what it reads
  /// from here on. Exploring then sees that a poll that found nothing is back where it was.
  void checkpoint(std::span<const word> state = {}) const noexcept {
    detail::note_checkpoint(*fiber_, state);
  }

 private:
  detail::step_fiber* fiber_;
};

/// The body of an actor, on 128 KiB of stack. It can be called again, from its start, and does then
/// the same as long as it reads the same: all it shares goes through the memory it is given. An
/// actor that is not run to its end is unwound by an exception, so `noexcept` is not for it.
using actor_main = std::function<void(stepping_memory&, const device::launch&)>;

namespace detail {

/// An actor's code on a stack of its own. It is started, resumed and abandoned by one driver at a
/// time; an abandoned one can be started again.
class step_fiber {
 public:
  static result<std::unique_ptr<step_fiber>> make(actor_main main,
                                                  const step_world& world) noexcept;
  step_fiber(const step_fiber&) = delete;
  step_fiber& operator=(const step_fiber&) = delete;
  ~step_fiber();

  /// Runs from the start to just before the first access.
  void start();
  /// Runs from the pending access, which came out so, to just before the next.
  void resume(word answer, const word (&body)[abi::slot_words]);
  /// Unwinds what it runs.
  void abandon() noexcept;

  [[nodiscard]] bool started() const noexcept { return phase_ != phase::idle; }
  [[nodiscard]] bool ended() const noexcept { return phase_ == phase::ended; }
  [[nodiscard]] const memory_access& pending() const noexcept { return pending_; }

  /// Stores to unseen words since it was last resumed: they are the driver's to carry out.
  [[nodiscard]] std::span<const memory_access> unseen() const noexcept {
    return {unseen_.data(), unseens_};
  }
  /// The state that the latest checkpoint since then named, as a digest.
  [[nodiscard]] const std::optional<std::array<std::uint64_t, 2>>& checkpoint() const noexcept {
    return checkpoint_;
  }

 private:
  friend word ask(step_fiber& fiber, memory_access what, const word* at, word* body);
  friend void note_checkpoint(step_fiber& fiber, std::span<const word> state) noexcept;

  enum class phase : std::uint8_t { idle, running, suspended, ended };
  struct abandoned {};
  struct contexts;

  step_fiber(actor_main main, const step_world& world, std::unique_ptr<contexts> made) noexcept;
  void live() noexcept;
  void switch_in() noexcept;
  void switch_out(bool for_good) noexcept;

  actor_main main_;
  const step_world& world_;
  std::unique_ptr<contexts> contexts_;
  phase phase_ = phase::idle;
  bool abandoned_ = false;
  bool quit_ = false;
  memory_access pending_{};
  word answer_ = 0;
  word body_[abi::slot_words] = {};
  std::array<memory_access, 64> unseen_{};
  std::size_t unseens_ = 0;
  std::optional<std::array<std::uint64_t, 2>> checkpoint_;
};

/// Two words that are mixed so well that sums of them name a state.
inline std::array<std::uint64_t, 2> mixed(std::uint64_t a, std::uint64_t b) noexcept {
  const auto spread = [](std::uint64_t x) {
    x = (x ^ x >> 30) * 0xBF58476D1CE4E5B9u;
    x = (x ^ x >> 27) * 0x94D049BB133111EBu;
    return x ^ x >> 31;
  };
  const std::uint64_t one = spread(a + 0x9E3779B97F4A7C15u + spread(b + 0x243F6A8885A308D3u));
  return {one, spread(one + (b ^ 0x13198A2E03707344u) * 3 + spread(a ^ 0xA4093822299F31D0u))};
}

}  // namespace detail

}  // namespace megakernel
