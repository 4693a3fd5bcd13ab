// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
module;
#include <megakernel/lane_order.h>
#include <sys/mman.h>

#include <algorithm>
#include <array>
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

// A step is two switches between stacks. swapcontext also exchanges the mask of signals, which
// takes a call of the kernel each, and with it most of a step's time. The thread sanitizer follows
// swapcontext, and a shadow stack does not follow what is written here.
#if defined(__x86_64__) && !defined(MEGAKERNEL_THREAD_SANITIZER) && \
    !(defined(__CET__) && (__CET__ & 2) != 0)
#define MEGAKERNEL_SWITCHES_STACKS

/// Leaves this stack, and its place on it in `left`, for the one that was left at `entered`.
extern "C" void megakernel_switch_stack(void** left, void* entered) noexcept;
/// Where a new stack is entered as if it had been left: calls the function in r13 with r12.
extern "C" void megakernel_enter_stack() noexcept;

asm(R"(
.pushsection .text
.p2align 4
.globl megakernel_switch_stack
.hidden megakernel_switch_stack
.type megakernel_switch_stack, @function
megakernel_switch_stack:
  .cfi_startproc
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  .cfi_adjust_cfa_offset 48
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  .cfi_adjust_cfa_offset -48
  ret
  .cfi_endproc
.size megakernel_switch_stack, . - megakernel_switch_stack
.p2align 4
.globl megakernel_enter_stack
.hidden megakernel_enter_stack
.type megakernel_enter_stack, @function
megakernel_enter_stack:
  .cfi_startproc
  .cfi_undefined rip
  movq %r12, %rdi
  callq *%r13
  ud2
  .cfi_endproc
.size megakernel_enter_stack, . - megakernel_enter_stack
.popsection
)");
#else
#include <ucontext.h>
#endif
module megakernel.testing;
import megakernel.protocol;
import megakernel.runtime;

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
  // The table is never written; it may not even be writable.
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

namespace {

#if defined(MEGAKERNEL_SWITCHES_STACKS)
/// Where a stack has been left.
struct context {
  void* at = nullptr;

  void prepare(std::byte* stack, void (*enter)(step_fiber*), step_fiber* self) noexcept {
    // The bytes that megakernel_switch_stack pops; then the stack pointer is a multiple of 16.
    const auto word_of = [](auto* p) { return reinterpret_cast<std::uintptr_t>(p); };
    const std::array<std::uintptr_t, 9> frame{
        0, 0, word_of(enter), word_of(self), 0, 0, word_of(&megakernel_enter_stack), 0, 0};
    at = stack + stack_bytes - sizeof frame;
    std::memcpy(at, frame.data(), sizeof frame);
  }
  void leave_for(context& other) noexcept { megakernel_switch_stack(&at, other.at); }
};
#else
class context {
 public:
  void prepare(std::byte* stack, void (*enter)(step_fiber*), step_fiber* self) noexcept {
    (void)::getcontext(&at_);
    at_.uc_stack.ss_sp = stack;
    at_.uc_stack.ss_size = stack_bytes;
    at_.uc_link = nullptr;
    static_assert(sizeof(unsigned) == 4 && sizeof(std::uintptr_t) == 8);
    const auto halves = [](auto* p) {
      const auto whole = reinterpret_cast<std::uintptr_t>(p);
      return std::pair(static_cast<unsigned>(whole >> 32), static_cast<unsigned>(whole));
    };
    const auto [enter_high, enter_low] = halves(enter);
    const auto [self_high, self_low] = halves(self);
    ::makecontext(&at_, reinterpret_cast<void (*)()>(&call), 4, enter_high, enter_low, self_high,
                  self_low);
  }
  void leave_for(context& other) noexcept { (void)::swapcontext(&at_, &other.at_); }

 private:
  // makecontext passes no pointers, but ints.
  static void call(unsigned enter_high, unsigned enter_low, unsigned self_high,
                   unsigned self_low) noexcept {
    const auto pointer = [](unsigned high, unsigned low) {
      return std::uintptr_t{high} << 32 | low;
    };
    const auto enter =
        reinterpret_cast<void (*)(step_fiber*)>(pointer(enter_high, enter_low));  // NOLINT
    enter(reinterpret_cast<step_fiber*>(pointer(self_high, self_low)));           // NOLINT
  }

  ucontext_t at_{};
};
#endif

}  // namespace

struct step_fiber::contexts {
  context own{};
  context driver{};
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
  static void enter(step_fiber* self) noexcept { self->live(); }
};

result<std::unique_ptr<step_fiber>> step_fiber::make(actor_main main,
                                                     const step_world& world) noexcept {
  std::unique_ptr<contexts> made(new (std::nothrow) contexts);
  if (made == nullptr) return std::unexpected(no_memory(1, sizeof(contexts)));
  made->mapping = ::mmap(nullptr, guard_bytes + stack_bytes, PROT_READ | PROT_WRITE,
                         MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  // The guard lies below, where a stack that is too small runs into it.
  if (made->mapping == MAP_FAILED || ::mprotect(made->mapping, guard_bytes, PROT_NONE) != 0)
    return std::unexpected(no_memory(1, guard_bytes + stack_bytes));
  std::unique_ptr<step_fiber> fiber(new (std::nothrow)
                                        step_fiber(std::move(main), world, std::move(made)));
  if (fiber == nullptr) return std::unexpected(no_memory(1, sizeof(step_fiber)));
  return fiber;
}

step_fiber::step_fiber(actor_main main, const step_world& world,
                       std::unique_ptr<contexts> made) noexcept
    : main_(std::move(main)), world_(world), contexts_(std::move(made)) {
  contexts_->own.prepare(contexts_->stack(), &contexts::enter, this);
}

step_fiber::~step_fiber() {
  if (!contexts_->entered) return;
  abandon();
  quit_ = true;
  switch_in();
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
  c.driver.leave_for(c.own);
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
  c.own.leave_for(c.driver);
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
