// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <expected>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "load/injection.h"
#include "load/workload.h"
#include "render/names.h"
#include "report/report.h"

import megakernel;

namespace megakernel::tool {
namespace {

using namespace std::chrono_literals;

constexpr std::array<std::string_view, injections> names{
    "nothing", "stall", "dead", "fault", "unauthorised", "quota", "lost-io", "torn", "regressed"};

constexpr std::uint32_t faults = 4;
constexpr std::uint32_t misses = 4;
/// That no pump knows.
constexpr std::uint32_t lost_resource = 404;
constexpr std::chrono::nanoseconds room = 1s;  // for finding a free slot

void store(word& to, word value) noexcept {
  std::atomic_ref<word>(to).store(value, std::memory_order_seq_cst);
}
word load(word& from) noexcept {
  return std::atomic_ref<word>(from).load(std::memory_order_seq_cst);
}

/// Lets the handlers of `hang_opcode` return, now and later.
void open_gate(kernel_buffers& buffers) noexcept {
  store(*reinterpret_cast<word*>(buffers.arena().data() + work_places::gate), 1);
}

}  // namespace

std::string_view to_string(injection what) noexcept {
  const auto index = static_cast<std::size_t>(what);
  return index < names.size() ? names[index] : std::string_view();
}

std::optional<injection> parse_injection(std::string_view text) noexcept {
  const auto at = std::ranges::find(names, text);
  if (at == names.end() || at == names.begin()) return std::nullopt;
  return static_cast<injection>(at - names.begin());
}

std::expected<void, std::string> injector::published(const result<submission>& accepted, opcode op,
                                                     std::uint32_t tenant) {
  if (!accepted) {
    return std::unexpected(fmt::format("The failure '{}' could not be injected. {}",
                                       to_string(profile_.inject),
                                       accepted.error().message().text()));
  }
  for (std::uint32_t i = 0; i < accepted->slots; ++i) now_.slots.push_back(accepted->first + i);
  now_.op = op;
  now_.tenant = tenant;
  submissions_.push_back(*accepted);
  counts_.publications.add(1);
  counts_.slots.add(accepted->slots);
  counts_.tenants[tenant].demand.add(accepted->slots);
  const auto* const counted = std::ranges::find(counted_opcodes, op);
  if (counted != counted_opcodes.end())
    counts_.opcode_slots[static_cast<std::size_t>(counted - counted_opcodes.begin())].add(
        accepted->slots);
  return {};
}

/// A slot for each lane: consecutive ones, so that each lane has one whatever the form.
std::expected<void, std::string> injector::hang() {
  if (profile_.on_gpu) return hang_waves();
  const std::uint32_t lanes = std::min(profile_.workers, profile_.slots);
  const std::array<word, 1> payload{0};
  const std::vector<std::span<const word>> entries(lanes, payload);
  return published(
      kernel_.queue().publish_window(
          {.op = hang_opcode, .tenant = victim(), .ticket = hang_ticket, .required = entries},
          deadline::in(room)),
      hang_opcode, victim());
}

/// Lanes of a wave wait for each other: slots all over the ring, until each wave has one and there
/// is no room for another.
std::expected<void, std::string> injector::hang_waves() {
  constexpr std::array<word, 2> arguments{hang_ticket, 0};
  for (std::uint32_t i = 0; i < profile_.slots; ++i) {
    const auto accepted = kernel_.queue().publish(
        {.op = hang_opcode, .tenant = victim(), .arguments = arguments}, deadline::in(room / 10));
    if (!accepted && i != 0) break;
    if (auto counted = published(accepted, hang_opcode, victim()); !counted) return counted;
  }
  return {};
}

/// As a kernel that crashed would be: no lane passes, and nobody set SHUTDOWN. Here the lanes are
/// told to leave, by a SHUTDOWN that is taken back before anybody looks.
std::expected<void, std::string> injector::send_lanes_away() {
  const auto until = std::chrono::steady_clock::now() + room;
  store(control(abi::shutdown_word), 1);
  while (load(control(abi::workers_alive_word)) != 0 && std::chrono::steady_clock::now() < until)
    std::this_thread::sleep_for(50us);
  const word left = load(control(abi::workers_alive_word));
  store(control(abi::shutdown_word), 0);
  if (left != 0) {
    return std::unexpected(
        fmt::format("The failure 'dead' could not be injected: {} did not leave within a second.",
                    counted(left, "lane")));
  }
  return {};
}

std::expected<void, std::string> injector::publish_faults() {
  constexpr std::array<word, 2> outside{1, 0xFFFF'FFFFu};
  for (std::uint32_t i = 0; i < faults; ++i) {
    const auto accepted = kernel_.queue().publish(
        {.op = opcode::store_u32, .tenant = victim(), .arguments = outside}, deadline::in(room));
    if (auto counted = published(accepted, opcode::store_u32, victim()); !counted) return counted;
  }
  return {};
}

std::expected<void, std::string> injector::lose_io() {
  for (std::uint32_t i = 0; i < misses; ++i) {
    const auto accepted =
        kernel_.queue().publish_load_miss({.resource = lost_resource}, deadline::in(room));
    if (auto counted = published(accepted, opcode::load_miss, 0); !counted) return counted;
  }
  return {};
}

std::expected<void, std::string> injector::hold_a_slot() {
  const auto taken = megakernel::detail::try_claim(kernel_.queue(), deadline::in(room));
  if (!taken) {
    return std::unexpected(fmt::format("The failure 'torn' could not be injected. {}",
                                       taken.error().message().text()));
  }
  held_ = *taken;
  now_.slots.push_back(*taken);
  return {};
}

/// By so much that a 32-bit count tells a step back from a step forth.
void injector::set_done_count_back() noexcept {
  constexpr std::uint64_t furthest = std::uint64_t{1} << 30;
  const std::uint64_t done = std::uint64_t{load(control(abi::done_count_high_word))} << 32 |
                             load(control(abi::done_count_word));
  const std::uint64_t back = done - std::min(done, furthest);
  store(control(abi::done_count_word), static_cast<word>(back));
  store(control(abi::done_count_high_word), static_cast<word>(back >> 32));
}

std::expected<void, std::string> injector::strike(
    std::chrono::steady_clock::time_point load_began) {
  now_ = {.what = profile_.inject};
  outcome struck;
  switch (profile_.inject) {
    case injection::nothing:
      return {};
    case injection::stall:
      struck = hang();
      break;
    case injection::dead:
      struck = send_lanes_away();
      break;
    case injection::fault:
      struck = publish_faults();
      break;
    case injection::unauthorised:
      store(control(abi::tenant_mask_word + victim()), 0);
      now_.tenant = victim();
      break;
    case injection::quota:
      store(control(abi::tenant_quota_word + victim()), 0);
      now_.tenant = victim();
      break;
    case injection::lost_io:
      struck = lose_io();
      break;
    case injection::torn:
      struck = hold_a_slot();
      break;
    case injection::regressed:
      set_done_count_back();
      break;
  }
  if (!struck) return struck;
  now_.at = std::chrono::steady_clock::now() - load_began;
  done_ = now_;
  return {};
}

void injector::lift() noexcept {
  if (!done_) return;
  if (done_->what == injection::stall) {
    store(control(abi::shutdown_word), 1);
    open_gate(kernel_.buffers());
  }
  if (held_) megakernel::detail::abort(kernel_.queue(), *held_);
  held_.reset();
}

void injector::finish() noexcept {
  for (const submission& r : submissions_) {
    const work_state state = kernel_.queue().state(r);
    if (state.progress == progress::pending) continue;
    counts_.finished_slots.add(r.slots);
    if (state.progress == progress::faulted) counts_.faulted.add(1);
  }
  submissions_.clear();
}

bool injector::withholds_tokens(std::uint32_t tenant) const noexcept {
  return done_ && done_->what == injection::quota && tenant == victim();
}

}  // namespace megakernel::tool
