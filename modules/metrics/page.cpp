// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
module;
#include <algorithm>
#include <array>
#include <bit>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <expected>
#include <initializer_list>
#include <optional>
#include <span>
#include <string_view>
#include <utility>
module megakernel.metrics;
import megakernel.decoder;
import megakernel.health;
import megakernel.protocol;

namespace megakernel {
namespace {

/// The words that only grow while a kernel lives, but those of its report.
constexpr auto base_counters = [] {
  constexpr std::size_t count = 2 + abi::tenant_fairness_counters + abi::metrics + abi::priorities;
  std::array<word, count> at{abi::done_count_word, abi::epoch_word};
  std::size_t n = 2;
  for (word i = 0; i < abi::tenant_fairness_counters; ++i) at[n++] = abi::tenant_fairness_word + i;
  for (word i = 0; i < abi::metrics; ++i) at[n++] = abi::metric_word + i;
  for (word i = 0; i < abi::priorities; ++i) at[n++] = abi::priority_fairness_word + i;
  return at;
}();

constexpr std::array report_counters{abi::heartbeat_word,    abi::fault_count_word,
                                     abi::unauthorised_word, abi::throttled_word,
                                     abi::claim_lost_word,   abi::debug_dropped_word};

constexpr bool fell(word now, word before) noexcept { return word{now - before} >= 1u << 31; }

/// Only upper halves that nobody counted to come this far; even they make no counter fall.
void add(std::uint64_t& value, std::uint64_t amount) noexcept {
  if (__builtin_add_overflow(value, amount, &value)) value = ~std::uint64_t{0};
}

/// A seed that whoever fills the ring cannot know.
std::uint64_t unforeseen(const void* place) noexcept {
  const auto now = std::chrono::steady_clock::now().time_since_epoch().count();
  return static_cast<std::uint64_t>(now) * 0x9E37'79B9'7F4A'7C15u ^
         std::bit_cast<std::uintptr_t>(place);
}

/// How many bytes the UTF-8 character at the start of `text` has; 0 where there is none.
std::size_t utf8_length(std::string_view text) noexcept {
  const auto byte = [text](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char first = byte(0);
  if (first < 0x80) return 1;
  const std::size_t length = first >= 0xF0 ? 4 : first >= 0xE0 ? 3 : 2;
  if (first < 0xC2 || first > 0xF4 || text.size() < length) return 0;
  for (std::size_t i = 1; i < length; ++i) {
    if (byte(i) >> 6 != 2) return 0;
  }
  // Over-long forms, surrogates, and what is past the last character.
  const unsigned char second = byte(1);
  if (first == 0xE0 && second < 0xA0) return 0;
  if (first == 0xED && second > 0x9F) return 0;
  if (first == 0xF0 && second < 0x90) return 0;
  if (first == 0xF4 && second > 0x8F) return 0;
  return length;
}

}  // namespace

std::string_view media_type(metrics_format format) noexcept {
  return format == metrics_format::openmetrics
             ? "application/openmetrics-text; version=1.0.0; charset=utf-8"
             : "text/plain; version=0.0.4; charset=utf-8";
}

metrics_page::label metrics_page::label_of(std::string_view text) noexcept {
  label made;
  while (!text.empty()) {
    const std::size_t length = utf8_length(text);
    const std::size_t taken = std::max<std::size_t>(length, 1);
    if (made.size + taken > made.text.size()) break;
    const std::string_view shown = length == 0 ? "?" : text.substr(0, length);
    std::ranges::copy(shown, made.text.data() + made.size);
    made.size += shown.size();
    text.remove_prefix(taken);
  }
  return made;
}

result<metrics_page::ranked> metrics_page::ranked::make(std::uint32_t most) noexcept {
  auto names = detail::top_k::make(most);
  if (!names) return std::unexpected(names.error());
  auto tally = detail::key_tally::make(unforeseen(&names));
  if (!tally) return std::unexpected(tally.error());
  return ranked{.tally = std::move(*tally), .names = std::move(*names)};
}

metrics_page::metrics_page(ranked&& tenants, ranked&& opcodes,
                           const metrics_options& options) noexcept
    : version_(label_of(options.version)),
      target_(label_of(options.target)),
      top_tenants_(std::min(options.top_tenants, most_named)),
      top_opcodes_(std::min(options.top_opcodes, most_named)),
      tenants_(std::move(tenants)),
      opcodes_(std::move(opcodes)) {}

result<metrics_page> metrics_page::make(const metrics_options& options) noexcept {
  auto tenants = ranked::make(std::min(options.top_tenants, most_named));
  if (!tenants) return std::unexpected(tenants.error());
  auto opcodes = ranked::make(std::min(options.top_opcodes, most_named));
  if (!opcodes) return std::unexpected(opcodes.error());
  return metrics_page(std::move(*tenants), std::move(*opcodes), options);
}

void metrics_page::count(const control_snapshot& control) noexcept {
  const auto now = control.words();
  const auto report = control.report();
  const auto has_fallen = [&](word at) { return fell(now[at], words_[at].last); };
  const bool reported = report && last_.workers;
  const bool restarted = counted_ && (has_fallen(abi::done_count_word) ||
                                      (reported && has_fallen(abi::heartbeat_word)));
  restarts_ += restarted;
  const auto extend = [&](word at) {
    counter& c = words_[at];
    // Before the first sample a counter had reached nothing.
    const bool anew = restarted || fell(now[at], c.last);
    add(c.value, anew ? now[at] : word{now[at] - c.last});
    c.last = now[at];
  };
  std::ranges::for_each(base_counters, extend);
  if (report) std::ranges::for_each(report_counters, extend);
  // Earlier drained slots are known where the kernel counts 64 bits.
  if (report && (restarted || !counted_))
    add(words_[abi::done_count_word].value, std::uint64_t{report->done_count_high} << 32);
  counted_ = true;
}

void metrics_page::count(const published_counts& publishers) noexcept {
  publisher_counters now = published_before_;  // what is not told has not moved
  now.slots = publishers.slots;
  now.publications = publishers.publications.value_or(now.publications);
  now.ring_full = publishers.ring_full.value_or(now.ring_full);
  if (publishers.latency != nullptr) {
    now.latency_sum = publishers.latency->sum();
    now.latency = publishers.latency->counts();
  }
  const auto each = [](auto&& visit, auto&... of) {
    visit(of.slots...);
    visit(of.publications...);
    visit(of.ring_full...);
    visit(of.latency_sum...);
    for (std::size_t i = 0; i <= latency_counts::bounded; ++i) visit(of.latency[i]...);
  };
  bool anew = false;
  each([&anew](std::uint64_t after, std::uint64_t before) { anew = anew || after < before; }, now,
       published_before_);
  each([anew](std::uint64_t& value, std::uint64_t after,
              std::uint64_t before) { value += anew ? after : after - before; },
       published_, now, published_before_);
  published_before_ = now;
}

result<void> metrics_page::observe(const metrics_sample& seen) noexcept {
  tenants_.tally.start();
  opcodes_.tally.start();
  for (const slot_snapshot& slot : seen.ring.slots()) {
    const std::uint64_t amount = detail::key_tally::amount_of(slot.status);
    if (!tenants_.tally.add(slot.tenant, amount) || !opcodes_.tally.add(word(slot.op), amount)) {
      return std::unexpected(error{.code = error_code::out_of_memory,
                                   .found = seen.ring.slots().size(),
                                   .bound = sizeof(detail::key_slots)});
    }
  }
  tenants_.names.choose(tenants_.tally);
  opcodes_.names.choose(opcodes_.tally);

  const control_snapshot& control = seen.ring.control();
  count(control);
  if (seen.publishers != nullptr) count(*seen.publishers);

  const auto report = control.report();
  last_ = {.occupancy = seen.ring.occupancy(),
           .shutdown = control.shutdown(),
           .urgent = control.starvation(),
           .revision = report ? abi::revision : 0,
           .torn_pages = seen.torn_pages,
           .age = seen.age};
  for (word t = 0; t < abi::tenant_masks; ++t) last_.authorised |= word{control.authorises(t)} << t;
  if (report) last_.workers = report->workers_alive;
  if (seen.windows) {
    const auto active = std::ranges::count_if(seen.ring.windows(),
                                              [](const window_telemetry& w) { return w.active(); });
    last_.active_windows = static_cast<std::uint32_t>(active);
  }
  if (seen.health != nullptr) {
    const health_report& h = *seen.health;
    last_.health = {.state = h.state,
                    .quiet = h.quiet,
                    .stuck = h.stuck_slots,
                    .unauthorised = h.unauthorised_slots,
                    .throttled = h.throttled_slots};
    if (!h.oldest.empty()) last_.health->oldest = seen.at - h.oldest.front().since;
  }
  if (const published_counts* const p = seen.publishers; p != nullptr) {
    last_.publishers = true;
    last_.publications = p->publications.has_value();
    last_.ring_full = p->ring_full.has_value();
    last_.latency = p->latency != nullptr;
  }
  up_ = true;
  ++samples_;
  return {};
}

void metrics_page::lose() noexcept {
  up_ = false;
  ++lost_;
}

}  // namespace megakernel
