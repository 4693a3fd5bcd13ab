module;
#include <megakernel/forms.h>
#include <sys/mman.h>
#include <ucontext.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <expected>
#include <functional>
#include <memory>
#include <new>
#include <optional>
#include <span>
#include <utility>
#include <vector>

// The sanitizers have to be told that a thread changes its stack.
#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define MEGAKERNEL_ADDRESS_SANITIZER
#include <sanitizer/common_interface_defs.h>
#endif
#if __has_feature(thread_sanitizer)
#define MEGAKERNEL_THREAD_SANITIZER
#include <sanitizer/tsan_interface.h>
#endif
#endif
module megakernel.runtime;
import megakernel.protocol;

namespace megakernel {
namespace detail {
namespace {

constexpr std::size_t stack_bytes = std::size_t{128} << 10;
constexpr std::size_t guard_bytes = std::size_t{64} << 10;  // a page, of whatever size

error no_memory(std::size_t count, std::size_t size) noexcept {
  return {.code = error_code::out_of_memory, .found = count, .bound = size};
}

word digest_of(const word (&body)[abi::slot_words]) noexcept {
  word digest = 2166136261u;
  for (word i = 1; i < abi::slot_words; ++i) digest = (digest ^ body[i]) * 16777619u;
  return digest;
}

}  // namespace

void step_world::place(const word* at, memory_access& what) const noexcept {
  const auto address = reinterpret_cast<std::uintptr_t>(at);
  const std::size_t count = what.kind == access_kind::body ? abi::slot_words : 1;
  for (std::size_t i = 0; i < areas; ++i) {
    const auto first = reinterpret_cast<std::uintptr_t>(area_of[i].base);
    if (address < first) continue;
    const std::uintptr_t index = (address - first) / sizeof(word);
    if (index >= area_of[i].words || count > area_of[i].words - index) continue;
    what.area = memory_area{static_cast<std::uint8_t>(i)};
    what.index = static_cast<std::uint32_t>(index);
    return;
  }
  what.area = memory_area::outside;
}

std::uint32_t step_world::flat(const memory_access& what) const noexcept {
  return area_of[static_cast<std::size_t>(what.area)].offset + what.index;
}

word* step_world::at(const memory_access& what) const noexcept {
  return area_of[static_cast<std::size_t>(what.area)].base + what.index;
}

bool step_world::flagged(const memory_access& what, std::uint8_t flag) const noexcept {
  return what.area != memory_area::outside && (flags[flat(what)] & flag) != 0;
}

step_record step_world::perform(std::uint32_t actor, const memory_access& what,
                                word (&body)[abi::slot_words]) const noexcept {
  step_record made{.actor = actor, .what = what};
  if (what.area == memory_area::outside) return made;
  word* const here = at(what);
  if (what.kind == access_kind::body) {
    std::memcpy(body, here, sizeof body);
    body[abi::status_word] = 0;
    made.before = made.after = digest_of(body);
    return made;
  }
  made.before = made.after = *here;
  switch (what.kind) {
    case access_kind::store:
      made.after = what.operand;
      break;
    case access_kind::add:
      made.after = made.before + what.operand;
      break;
    case access_kind::compare_exchange:
      if (made.before == what.expected) made.after = what.operand;
      break;
    case access_kind::load:
    case access_kind::body:
      return made;
  }
  // Nobody writes the table, which may not even be writable.
  if (what.area != memory_area::dfa_table) *here = made.after;
  return made;
}

word ask(step_fiber& fiber, memory_access what, const word* at, word* body) {
  const step_world& world = fiber.world_;
  world.place(at, what);
  if (what.kind == access_kind::load && world.flagged(what, step_world::fixed))
    return *world.at(what);
  if ((what.kind == access_kind::store || what.kind == access_kind::add) &&
      fiber.unseens_ < fiber.unseen_.size() && world.flagged(what, step_world::unseen)) {
    fiber.unseen_[fiber.unseens_++] = what;
    return 0;
  }
  fiber.pending_ = what;
  fiber.phase_ = step_fiber::phase::suspended;
  fiber.switch_out(false);
  if (fiber.abandoned_) throw step_fiber::abandoned{};
  if (body != nullptr) std::memcpy(body, fiber.body_, sizeof fiber.body_);
  return fiber.answer_;
}

void note_checkpoint(step_fiber& fiber, std::span<const word> state) noexcept {
  std::array<std::uint64_t, 2> digest{state.size(), 0};
  for (const word w : state) {
    const auto next = mixed(digest[0] ^ w, digest[1]);
    digest = {next[0], next[1] + w};
  }
  fiber.checkpoint_ = digest;
}

// Fibers.

struct step_fiber::contexts {
  ucontext_t own{};
  ucontext_t driver{};
  void* mapping = MAP_FAILED;
  bool entered = false;
#if defined(MEGAKERNEL_ADDRESS_SANITIZER)
  void* fake_stack = nullptr;
  const void* driver_stack = nullptr;
  std::size_t driver_stack_bytes = 0;
#endif
#if defined(MEGAKERNEL_THREAD_SANITIZER)
  void* fiber = __tsan_create_fiber(0);
  void* driver_fiber = nullptr;
#endif

  contexts() = default;
  contexts(const contexts&) = delete;
  contexts& operator=(const contexts&) = delete;
  ~contexts() {
    if (mapping != MAP_FAILED) ::munmap(mapping, guard_bytes + stack_bytes);
#if defined(MEGAKERNEL_THREAD_SANITIZER)
    __tsan_destroy_fiber(fiber);
#endif
  }
  [[nodiscard]] std::byte* stack() const noexcept {
    return static_cast<std::byte*>(mapping) + guard_bytes;
  }
};

result<std::unique_ptr<step_fiber>> step_fiber::make(actor_main main,
                                                     const step_world& world) noexcept {
  std::unique_ptr<contexts> made(new (std::nothrow) contexts);
  if (made == nullptr) return std::unexpected(no_memory(1, sizeof(contexts)));
  made->mapping = ::mmap(nullptr, guard_bytes + stack_bytes, PROT_READ | PROT_WRITE,
                         MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  // The guard lies below, where a stack that is too small runs into it.
  if (made->mapping == MAP_FAILED || ::mprotect(made->mapping, guard_bytes, PROT_NONE) != 0 ||
      ::getcontext(&made->own) != 0)
    return std::unexpected(no_memory(1, guard_bytes + stack_bytes));
  std::unique_ptr<step_fiber> fiber(new (std::nothrow)
                                        step_fiber(std::move(main), world, std::move(made)));
  if (fiber == nullptr) return std::unexpected(no_memory(1, sizeof(step_fiber)));
  return fiber;
}

step_fiber::step_fiber(actor_main main, const step_world& world,
                       std::unique_ptr<contexts> made) noexcept
    : main_(std::move(main)), world_(world), contexts_(std::move(made)) {
  ucontext_t& own = contexts_->own;
  own.uc_stack.ss_sp = contexts_->stack();
  own.uc_stack.ss_size = stack_bytes;
  own.uc_link = nullptr;
  const auto self = std::bit_cast<std::uintptr_t>(this);
  static_assert(sizeof(unsigned) == 4 && sizeof self == 8);
  ::makecontext(&own, reinterpret_cast<void (*)()>(&step_fiber::enter), 2,
                static_cast<unsigned>(self >> 32), static_cast<unsigned>(self));
}

step_fiber::~step_fiber() {
  if (!contexts_->entered) return;
  abandon();
  quit_ = true;
  switch_in();
}

void step_fiber::enter(unsigned high, unsigned low) noexcept {
  std::bit_cast<step_fiber*>(std::uintptr_t{high} << 32 | low)->live();
}

void step_fiber::live() noexcept {
#if defined(MEGAKERNEL_ADDRESS_SANITIZER)
  __sanitizer_finish_switch_fiber(nullptr, &contexts_->driver_stack,
                                  &contexts_->driver_stack_bytes);
#endif
  while (!quit_) {
    stepping_memory memory(*this);
    try {
      main_(memory, world_.where);
      phase_ = phase::ended;
    } catch (const abandoned&) {
      phase_ = phase::idle;
    }
    switch_out(false);
  }
  switch_out(true);
}

void step_fiber::switch_in() noexcept {
  contexts& c = *contexts_;
  c.entered = true;
#if defined(MEGAKERNEL_THREAD_SANITIZER)
  c.driver_fiber = __tsan_get_current_fiber();
  __tsan_switch_to_fiber(c.fiber, 0);
#endif
#if defined(MEGAKERNEL_ADDRESS_SANITIZER)
  void* fake_stack = nullptr;
  __sanitizer_start_switch_fiber(&fake_stack, c.stack(), stack_bytes);
#endif
  (void)::swapcontext(&c.driver, &c.own);
#if defined(MEGAKERNEL_ADDRESS_SANITIZER)
  __sanitizer_finish_switch_fiber(fake_stack, nullptr, nullptr);
#endif
}

void step_fiber::switch_out([[maybe_unused]] bool for_good) noexcept {
  contexts& c = *contexts_;
#if defined(MEGAKERNEL_THREAD_SANITIZER)
  __tsan_switch_to_fiber(c.driver_fiber, 0);
#endif
#if defined(MEGAKERNEL_ADDRESS_SANITIZER)
  __sanitizer_start_switch_fiber(for_good ? nullptr : &c.fake_stack, c.driver_stack,
                                 c.driver_stack_bytes);
#endif
  (void)::swapcontext(&c.own, &c.driver);
#if defined(MEGAKERNEL_ADDRESS_SANITIZER)
  __sanitizer_finish_switch_fiber(c.fake_stack, &c.driver_stack, &c.driver_stack_bytes);
#endif
}

void step_fiber::start() {
  abandon();
  phase_ = phase::running;
  unseens_ = 0;
  checkpoint_.reset();
  switch_in();
}

void step_fiber::resume(word answer, const word (&body)[abi::slot_words]) {
  answer_ = answer;
  if (pending_.kind == access_kind::body) std::memcpy(body_, body, sizeof body_);
  phase_ = phase::running;
  unseens_ = 0;
  checkpoint_.reset();
  switch_in();
}

void step_fiber::abandon() noexcept {
  if (phase_ == phase::suspended) {
    abandoned_ = true;
    switch_in();
    abandoned_ = false;
  }
  phase_ = phase::idle;
}

}  // namespace detail
}  // namespace megakernel
