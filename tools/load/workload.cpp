// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <fmt/format.h>
#include <megakernel/lane_order.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <expected>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <thread>
#include <utility>

#include "cli/numbers.h"
#include "load/producer.h"
#include "load/run_handlers.h"
#include "load/workload.h"
#include "observe/capture.h"
#include "observe/histogram.h"
#include "render/ring_bar.h"
#include "render/run.h"
#include "report/report.h"

import megakernel;

namespace megakernel::tool {
namespace {

namespace at = work_places;

using run_handlers::sum_of;
static_assert(run_handlers::first_sum == at::sums && run_handlers::block_words == at::block_words);
static_assert(run_handlers::checksum::op == checksum_opcode &&
              run_handlers::checksum_in_window::op == window_opcode &&
              run_handlers::hang::op == hang_opcode);
static_assert(run_handlers::blocks == at::blocks && run_handlers::hang::gate == at::gate);

constexpr std::array<std::string_view, work_kinds> kind_names{
    "nop",    "store",  "add",    "load",  "cas",  "memcpy", "dfa",
    "printf", "packed", "window", "batch", "user", "bad"};
constexpr std::array<std::string_view, abi::priorities> priority_names{"critical", "high", "normal",
                                                                       "low", "idle"};
constexpr std::uint32_t most_weight = 1'000'000;

template <std::size_t N>
std::expected<mix<N>, std::string> parse_mix(std::string_view text, std::string_view what,
                                             const std::array<std::string_view, N>& names) {
  mix<N> parsed;
  std::array<bool, N> seen{};
  while (!text.empty()) {
    const std::string_view entry = text.substr(0, text.find(','));
    text.remove_prefix(std::min(entry.size() + 1, text.size()));
    const std::size_t equals = entry.find('=');
    const auto named = std::ranges::find(names, entry.substr(0, equals));
    if (named == names.end()) {
      return std::unexpected(fmt::format("There is no {} '{}'. There are {}.", what,
                                         entry.substr(0, equals), fmt::join(names, ", ")));
    }
    const auto index = static_cast<std::size_t>(named - names.begin());
    if (seen[index]) return std::unexpected(fmt::format("'{}' is given twice.", *named));
    seen[index] = true;
    std::uint32_t weight = 1;
    if (equals != std::string_view::npos) {
      const auto given = parse_number<std::uint32_t>(entry.substr(equals + 1));
      if (!given || *given > most_weight) {
        return std::unexpected(
            fmt::format("The weight of '{}' is not a number from 0 to {}.", *named, most_weight));
      }
      weight = *given;
    }
    parsed.weights[index] = weight;
  }
  if (parsed.total() == 0)
    return std::unexpected(fmt::format("At least one {} needs a weight over 0.", what));
  return parsed;
}

template <std::size_t N>
std::string mix_text(const mix<N>& of, const std::array<std::string_view, N>& names) {
  std::string text;
  for (std::size_t i = 0; i < N; ++i) {
    if (of.weights[i] == 0) continue;
    text += fmt::format("{}{}={}", text.empty() ? "" : ",", names[i], of.weights[i]);
  }
  return text;
}

template <std::size_t N>
std::size_t pick(const mix<N>& from, random_numbers& random) noexcept {
  // Weights sum to less than 2^32.
  std::uint32_t left = random.below(static_cast<std::uint32_t>(from.total()));
  std::size_t chosen = 0;
  while (left >= from.weights[chosen]) left -= from.weights[chosen++];
  return chosen;
}

/// Slots that may hold work of a priority.
std::uint32_t room_for(const run_profile& profile, priority level) noexcept {
  if (profile.order == schedule::ring_order) return profile.slots;
  const auto offsets = default_priority_offsets(profile.slots);
  return offsets[word(level) + 1] - offsets[word(level)];
}

constexpr std::uint32_t window_required = 4;
constexpr std::uint32_t window_lookahead = 2;
constexpr std::uint32_t batch_items = 4;

std::size_t index_of(opcode op) noexcept {
  return static_cast<std::size_t>(std::ranges::find(counted_opcodes, op) - counted_opcodes.begin());
}

constexpr word outside = 0xFFFF'FFFF;

opcode opcode_of(work_kind kind) noexcept {
  switch (kind) {
    case work_kind::nop:
      return opcode::nop;
    case work_kind::store:
    case work_kind::bad:
      return opcode::store_u32;
    case work_kind::add:
      return opcode::atomic_add;
    case work_kind::load:
      return opcode::load_u32;
    case work_kind::cas:
      return opcode::compare_swap;
    case work_kind::memcpy:
      return opcode::memcpy;
    case work_kind::dfa:
      return opcode::dfa_step;
    case work_kind::printf:
      return opcode::printf;
    case work_kind::packed:
      return opcode::packed_slot;
    case work_kind::window:
      return window_opcode;
    case work_kind::batch:
      return opcode::batch_fence;
    case work_kind::user:
      return checksum_opcode;
  }
  return opcode::nop;
}

constexpr word word_of(word observable) noexcept { return abi::observable_word + observable; }

/// The word that a tenant's ATOMIC_ADDs go to.
constexpr word adds_of(std::uint32_t tenant) noexcept { return word_of(at::adds + tenant); }

result<submission> publish_packed(submission_queue& queue, const publication& work,
                                  deadline until) noexcept {
  const std::array<word, 2> add{1, adds_of(work.tenant)};
  const std::array<word, 2> store{work.arguments[0], work.arguments[1]};
  const std::array ops{
      packed_op{.op = static_cast<std::uint8_t>(opcode::nop)},
      packed_op{.op = static_cast<std::uint8_t>(opcode::atomic_add), .arguments = add},
      packed_op{.op = static_cast<std::uint8_t>(opcode::store_u32), .arguments = store}};
  return queue.publish_packed({.tenant = work.tenant, .level = work.level, .ops = ops}, until);
}

result<submission> publish_window(submission_queue& queue, const publication& work,
                                  deadline until) noexcept {
  std::array<word, window_required + window_lookahead> blocks{};
  std::array<std::span<const word>, blocks.size()> entries;
  for (std::size_t i = 0; i < blocks.size(); ++i) {
    blocks[i] = (work.arguments[0] + static_cast<word>(i)) % at::blocks;
    entries[i] = std::span(blocks).subspan(i, 1);
  }
  const std::span<const std::span<const word>> all = std::span(entries).first(work.slots);
  const std::size_t required = std::min<std::size_t>(window_required, work.slots);
  return queue.publish_window({.op = window_opcode,
                               .tenant = work.tenant,
                               .ticket = work.ticket,
                               .level = work.level,
                               .required = all.first(required),
                               .lookahead = all.subspan(required)},
                              until);
}

result<submission> publish_batch(submission_queue& queue, const publication& work,
                                 deadline until) noexcept {
  const std::array<word, 2> add{1, adds_of(work.tenant)};
  std::array<batch_item, batch_items> items;
  for (std::size_t i = 1; i < items.size(); i += 2)
    items[i] = {.op = opcode::atomic_add, .arguments = add};
  return queue.publish_batch(work.tenant, std::span(items).first(work.slots - 1), work.ticket,
                             until);
}

}  // namespace

std::string_view to_string(work_kind kind) noexcept {
  return kind_names[static_cast<std::size_t>(kind)];
}

std::expected<work_mix, std::string> parse_work_mix(std::string_view text) {
  return parse_mix(text, "kind of work", kind_names);
}
std::expected<priority_mix, std::string> parse_priority_mix(std::string_view text) {
  return parse_mix(text, "priority", priority_names);
}
std::string to_text(const work_mix& of) { return mix_text(of, kind_names); }
std::string to_text(const priority_mix& of) { return mix_text(of, priority_names); }

work_mix usual_work() noexcept {
  work_mix usual;
  for (const auto& [kind, weight] :
       {std::pair(work_kind::nop, 4u), std::pair(work_kind::store, 2u),
        std::pair(work_kind::add, 2u), std::pair(work_kind::load, 1u),
        std::pair(work_kind::cas, 1u), std::pair(work_kind::memcpy, 1u),
        std::pair(work_kind::dfa, 1u), std::pair(work_kind::packed, 1u),
        std::pair(work_kind::window, 1u), std::pair(work_kind::batch, 1u),
        std::pair(work_kind::user, 1u)})
    usual.weights[static_cast<std::size_t>(kind)] = weight;
  return usual;
}

priority_mix usual_priorities(schedule order) noexcept {
  if (order == schedule::ring_order) return {{0, 0, 1, 0, 0}};
  return {{1, 2, 4, 2, 1}};
}

std::uint32_t run_profile::outstanding() const noexcept {
  if (rate) return std::max(1u, slots / producers);
  constexpr std::uint32_t usual_each = 64;
  const std::uint32_t usual = std::min(slots / 2 / producers, usual_each);
  return std::max(1u, in_flight ? *in_flight / producers : usual);
}

std::optional<std::string> impossible(const run_profile& profile) {
  if (profile.in_flight && profile.rate) {
    return "--in-flight is of the closed loop, --rate of the open one, where slots are published "
           "when they are due. Give one of them.";
  }
  if (profile.in_flight && *profile.in_flight < profile.producers) {
    return fmt::format("--in-flight {} is less than one slot for each of {} producers.",
                       *profile.in_flight, profile.producers);
  }
  if (profile.in_flight && *profile.in_flight > profile.slots) {
    return fmt::format("--in-flight {} is more than the {} slots of the ring.", *profile.in_flight,
                       profile.slots);
  }
  if (profile.order == schedule::ring_order) {
    if (profile.priorities == usual_priorities(schedule::ring_order)) return std::nullopt;
    return "--priorities has no effect with --form ring, which runs slots in ring order. Use "
           "--form priority.";
  }
  for (word level = 0; level < abi::priorities; ++level) {
    if (profile.priorities.weights[level] == 0 || room_for(profile, priority{level}) != 0) continue;
    return fmt::format(
        "A ring of {} slots has none for priority {}: each of the 5 gets a fifth. Give --slots 5 "
        "or more, or --priorities normal.",
        profile.slots, priority_names[level]);
  }
  return std::nullopt;
}

opcode_counts counts_of(const publication& work) noexcept {
  opcode_counts counts;
  const auto slots = [&](opcode op, std::uint32_t n) { counts.slots[index_of(op)] += n; };
  switch (work.kind) {
    case work_kind::packed:
      slots(opcode::packed_slot, 1);
      for (const opcode op : {opcode::nop, opcode::atomic_add, opcode::store_u32})
        ++counts.inner[index_of(op)];
      counts.added = 1;
      break;
    case work_kind::window:
      slots(window_opcode, work.slots);
      break;
    case work_kind::batch: {
      const std::uint32_t items = work.slots - 1;
      slots(opcode::nop, (items + 1) / 2);
      slots(opcode::atomic_add, items / 2);
      slots(opcode::batch_fence, 1);
      counts.added = items / 2;
      break;
    }
    default:
      slots(opcode_of(work.kind), 1);
      counts.added = work.kind == work_kind::add ? work.arguments[0] : 0;
  }
  return counts;
}

work_source::work_source(const run_profile& profile, std::uint32_t producer) noexcept
    : profile_(profile),
      random_(random_numbers(profile.seed ^ std::uint64_t{producer} << 40).next()),
      ticket_(producer << 24) {}

publication work_source::next(std::uint64_t most) noexcept {
  publication work{.kind = static_cast<work_kind>(pick(profile_.work, random_)),
                   .level = static_cast<priority>(pick(profile_.priorities, random_)),
                   .tenant = random_.below(profile_.tenants)};
  const std::uint64_t bits = random_.next();
  const word value = static_cast<word>(bits >> 32);
  const auto one_of = [bits](word first, word count) {
    return first + static_cast<word>(bits) % count;
  };
  const auto sized = [&](std::uint32_t usual) {
    work.slots = static_cast<std::uint32_t>(
        std::min({std::uint64_t{usual}, most, std::uint64_t{room_for(profile_, work.level)}}));
    work.ticket = ticket_++;
  };
  switch (work.kind) {
    case work_kind::nop:
      break;
    case work_kind::store:
    case work_kind::packed:
      work.arguments = {value, word_of(one_of(at::stores, at::each))};
      break;
    case work_kind::add:
      work.arguments = {1 + value % 8, adds_of(work.tenant)};
      break;
    case work_kind::load:
      work.arguments = {word_of(one_of(at::copies_from, at::each)), one_of(at::loads, at::each)};
      break;
    case work_kind::cas:
      work.arguments = {word_of(one_of(at::swaps, at::each)), value % 2, (value + 1) % 2};
      break;
    case work_kind::memcpy:
      work.arguments = {word_of(at::copies_from + value % 16),
                        word_of(one_of(at::copies_to, at::each / 2)), 1 + value % 16};
      break;
    case work_kind::dfa:
      work.arguments = {value % at::states, value >> 24, one_of(at::dfa_states, at::each)};
      break;
    case work_kind::printf:
      work.arguments = {1, work.tenant, value};
      break;
    case work_kind::window:
      work.arguments = {one_of(0, at::blocks)};
      sized(window_required + window_lookahead);
      break;
    case work_kind::batch:
      work.level = priority::normal;
      sized(batch_items + 1);
      break;
    case work_kind::user:
      work.arguments = {one_of(0, at::blocks)};
      break;
    case work_kind::bad:
      work.arguments = {value, outside};
      break;
  }
  return work;
}

result<submission> publish(submission_queue& queue, const publication& work,
                           deadline until) noexcept {
  switch (work.kind) {
    case work_kind::packed:
      return publish_packed(queue, work, until);
    case work_kind::window:
      return publish_window(queue, work, until);
    case work_kind::batch:
      return publish_batch(queue, work, until);
    default:
      return queue.publish({.op = opcode_of(work.kind),
                            .tenant = work.tenant,
                            .level = work.level,
                            .arguments = work.arguments},
                           until);
  }
}

void prepare(kernel_buffers& buffers, std::uint64_t seed) noexcept {
  random_numbers random(seed);
  std::byte* const arena = buffers.arena().data();
  for (std::size_t i = 0; i < at::blocks * at::block_words; ++i)
    store_word(arena, i, static_cast<word>(random.next()));
  std::byte* const control = buffers.control().data();
  for (word i = 0; i < at::each; ++i)
    store_word(control, word_of(at::copies_from + i), static_cast<word>(random.next()));
}

std::array<word, work_places::dfa_words> dfa_table() noexcept {
  std::array<word, at::dfa_words> table{};
  for (word i = 0; i < table.size(); ++i) table[i] = (i / 256 + i % 256) % at::states;
  return table;
}

result_check check_results(std::span<const std::byte> control,
                           std::span<const std::byte> arena) noexcept {
  result_check found;
  for (word t = 0; t < abi::tenant_masks; ++t) found.added += load_word(control.data(), adds_of(t));
  for (word block = 0; block < at::blocks; ++block) {
    std::array<word, at::block_words> words{};
    for (std::size_t i = 0; i < words.size(); ++i)
      words[i] = load_word(arena.data() + block * at::block_bytes, i);
    const word stored = load_word(control.data(), word_of(at::sums + block));
    if (stored == sum_of(words.data())) {
      ++found.blocks_right;
    } else if (stored != 0) {
      ++found.blocks_wrong;
    }
  }
  return found;
}

std::expected<std::unique_ptr<kernel_target>, std::string> make_target(const run_profile& profile) {
  const auto sentence = [](const error& e) {
    return std::unexpected(std::string(e.message().text()));
  };
  if (profile.on_gpu) {
    const auto plugin = gpu_plugin::find(gpu_plugin_name, profile.gpu_in);
    if (!plugin) return std::unexpected(plugin.error());
    auto made = gpu_target::make(
        plugin->calls(), {.lanes = profile.workers, .order = profile.order, .ring = profile.ring});
    if (!made) return sentence(made.error());
    return std::move(*made);
  }
  auto made = cpu_workers::make<run_handlers::all>(
      {.workers = profile.workers, .order = profile.order, .spin = profile.spin});
  if (!made) return sentence(made.error());
  return std::move(*made);
}

}  // namespace megakernel::tool
