// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
module;
#include <megakernel/lane_order.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <expected>
#include <memory>
#include <new>
#include <optional>
#include <span>
#include <utility>
#include <vector>
module megakernel.testing;
import megakernel.protocol;
import megakernel.runtime;

namespace megakernel {
namespace {

std::unexpected<error> no_memory(std::uint64_t count, std::uint64_t size) noexcept {
  return std::unexpected(error{.code = error_code::out_of_memory, .found = count, .bound = size});
}

}  // namespace

void detail::stepper_state::start(std::uint32_t actor) {
  step_fiber& fiber = *fibers[actor];
  if (fiber.started()) return;
  fiber.start();
  word no_body[abi::slot_words];
  for (const memory_access& store : fiber.unseen()) (void)world.perform(actor, store, no_body);
}

stepper::stepper(std::unique_ptr<detail::stepper_state> made) noexcept : state_(std::move(made)) {}
stepper::stepper(stepper&&) noexcept = default;
stepper::~stepper() = default;

result<stepper> stepper::over(kernel_buffers& buffers, const stepping_options& options) noexcept {
  std::unique_ptr<detail::stepper_state> made(new (std::nothrow) detail::stepper_state);
  if (made == nullptr) return no_memory(1, sizeof(detail::stepper_state));
  made->steps_left = options.most_steps;
  made->tracing = options.trace;
  detail::step_world& world = made->world;
  const device::launch& where = world.where = buffers.where();
  const auto lay = [&](memory_area area, const word* base, std::uint64_t words) {
    const auto size = static_cast<std::uint32_t>(words);
    world.area_of[static_cast<std::size_t>(area)] = {const_cast<word*>(base), size, world.words};
    world.words += size;
  };
  lay(memory_area::control, where.control, where.control_words);
  lay(memory_area::ring, where.ring, std::uint64_t{where.slots} * abi::slot_words);
  lay(memory_area::debug_log, where.debug_log, where.debug_words);
  lay(memory_area::io_queue, where.io_queue, std::uint64_t{where.io_slots} * abi::io_slot_words);
  lay(memory_area::dfa_table, where.dfa_table, where.dfa_words);
  lay(memory_area::own, options.own.data(), options.own.size());
  if (auto sized = world.flags.resize_for_overwrite(world.words); !sized)
    return std::unexpected(sized.error());
  world.flags.fill_zero();
  const auto flag = [&](std::span<const word_range> ranges, std::uint8_t with) {
    for (const word_range& range : ranges) {
      if (range.area == memory_area::outside) continue;
      const auto& area = world.area_of[static_cast<std::size_t>(range.area)];
      const std::uint32_t first = std::min(range.first, area.words);
      const std::uint32_t count = std::min(range.count, area.words - first);
      for (std::uint32_t i = 0; i < count; ++i) world.flags[area.offset + first + i] |= with;
    }
  };
  flag(options.fixed, detail::step_world::fixed);
  flag(options.unseen, detail::step_world::unseen);
  return stepper(std::move(made));
}

result<std::uint32_t> stepper::add(actor_main main) noexcept {
  auto fiber = detail::step_fiber::make(std::move(main), state_->world);
  if (!fiber) return std::unexpected(fiber.error());
  try {
    state_->fibers.push_back(std::move(*fiber));
  } catch (const std::bad_alloc&) {
    return no_memory(state_->fibers.size() + 1, sizeof(void*));
  }
  return actors() - 1;
}

std::uint32_t stepper::actors() const noexcept {
  return static_cast<std::uint32_t>(state_->fibers.size());
}

std::optional<memory_access> stepper::pending(std::uint32_t actor) {
  state_->start(actor);
  const detail::step_fiber& fiber = *state_->fibers[actor];
  if (fiber.ended()) return std::nullopt;
  return fiber.pending();
}

result<bool> stepper::step(std::uint32_t actor) {
  detail::stepper_state& s = *state_;
  s.start(actor);
  detail::step_fiber& fiber = *s.fibers[actor];
  if (fiber.ended() || s.steps_left == 0) return false;
  try {
    s.made.reserve(1 + 64);
    if (s.tracing && s.trace.size() == s.trace.capacity()) s.trace.reserve(s.trace.size() * 2 + 64);
  } catch (const std::bad_alloc&) {
    return no_memory(s.trace.size() + 1, sizeof(step_record));
  }
  --s.steps_left;
  s.made.clear();
  word body[abi::slot_words];
  s.made.push_back(s.world.perform(actor, fiber.pending(), body));
  if (s.tracing) s.trace.push_back(s.made.front());
  fiber.resume(s.made.front().before, body);
  for (const memory_access& store : fiber.unseen())
    s.made.push_back(s.world.perform(actor, store, body));
  return true;
}

std::span<const step_record> stepper::made() const noexcept { return state_->made; }
std::span<const step_record> stepper::trace() const noexcept { return state_->trace; }

result<std::size_t> stepper::replay(std::span<const step_record> trace) {
  for (std::size_t i = 0; i < trace.size(); ++i) {
    if (trace[i].actor >= actors()) return i;
    const auto stepped = step(trace[i].actor);
    if (!stepped) return std::unexpected(stepped.error());
    if (!*stepped || state_->made.front() != trace[i]) return i;
  }
  return trace.size();
}

void stepper::restart() {
  for (const auto& fiber : state_->fibers) fiber->abandon();
  state_->made.clear();
  state_->trace.clear();
}

}  // namespace megakernel
