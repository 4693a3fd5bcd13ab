// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
module;
#include <algorithm>
#include <array>
#include <charconv>
#include <chrono>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <expected>
#include <span>
#include <string_view>
module megakernel.metrics;
import megakernel.decoder;
import megakernel.health;
import megakernel.protocol;

namespace megakernel {
namespace {

enum class kind : std::uint8_t { gauge, counter, info, state_set, histogram };

/// The suffix of a sample's name after its family's.
constexpr std::string_view suffix(kind of) noexcept {
  return of == kind::counter ? "_total" : of == kind::info ? "_info" : "";
}

std::string_view type_name(kind of, metrics_format format) noexcept {
  switch (of) {
    case kind::counter:
      return "counter";
    case kind::histogram:
      return "histogram";
    case kind::info:
      if (format == metrics_format::openmetrics) return "info";
      break;
    case kind::state_set:
      if (format == metrics_format::openmetrics) return "stateset";
      break;
    case kind::gauge:
      break;
  }
  return "gauge";
}

/// Those of the tracker.
constexpr std::array<kernel_state, 7> states{
    kernel_state::watching, kernel_state::progressing, kernel_state::idle,   kernel_state::blocked,
    kernel_state::stalled,  kernel_state::dead,        kernel_state::stopped};

constexpr std::array<std::string_view, abi::priorities> priority_names{"critical", "high", "normal",
                                                                       "low", "idle"};

/// Empty for an opcode without a name of its own.
constexpr std::string_view opcode_label(opcode op) noexcept {
  switch (op) {
    case opcode::nop:
      return "nop";
    case opcode::store_u32:
      return "store_u32";
    case opcode::atomic_add:
      return "atomic_add";
    case opcode::load_u32:
      return "load_u32";
    case opcode::compare_swap:
      return "compare_swap";
    case opcode::memcpy:
      return "memcpy";
    case opcode::dfa_step:
      return "dfa_step";
    case opcode::batch_fence:
      return "batch_fence";
    case opcode::load_miss:
      return "load_miss";
    case opcode::printf:
      return "printf";
    case opcode::packed_slot:
      return "packed_slot";
    case opcode::shutdown:
      return "shutdown";
  }
  return {};
}

/// A number, or the longer text of it, without an allocation.
class number_text {
 public:
  template <class T>
    requires std::unsigned_integral<T> || std::floating_point<T>
  explicit number_text(T value) noexcept {
    const auto end = std::to_chars(text_.data(), text_.data() + text_.size(), value).ptr;
    size_ = static_cast<std::size_t>(end - text_.data());
  }
  [[nodiscard]] std::string_view view() const noexcept { return {text_.data(), size_}; }

 private:
  std::array<char, 32> text_{};
  std::size_t size_ = 0;
};

double seconds(std::chrono::nanoseconds time) noexcept {
  return static_cast<double>(time.count()) / 1e9;
}

// The bound of a page, in lines that are never longer. props/metrics/metrics_props.cpp holds pages
// to it.
constexpr std::size_t most_families = 48;
constexpr std::size_t family_bytes = 384;  // its HELP, TYPE and UNIT
constexpr std::size_t series_bytes = 112;
constexpr std::size_t label_bytes = std::size_t{2} * 64;  // of the build, every byte escaped
constexpr std::size_t tenant_series = 3;                  // of a named tenant, but its claims
constexpr std::size_t opcode_series = 2;
constexpr std::size_t fixed_series = 48 + 9 + abi::priorities + states.size() +
                                     abi::tenant_fairness_counters + abi::metrics +
                                     latency_counts::bounded + 3;

}  // namespace

metrics_bound metrics_page::bound() const noexcept {
  const std::size_t series = fixed_series + tenant_series * (std::size_t{top_tenants_} + 1) +
                             opcode_series * (std::size_t{top_opcodes_} + 1);
  return {.series = series,
          .bytes = most_families * family_bytes + series * series_bytes + 2 * label_bytes};
}

/// Writes one page.
class metrics_text {
 public:
  metrics_text(const metrics_page& page, metrics_format format, aligned_array<char>& to) noexcept
      : page_(page), format_(format), to_(to) {}

  void write() noexcept {
    about();
    if (page_.up_) {
      ring();
      kernel();
      tenants();
      opcodes();
      report();
      health();
      publishers();
    }
    if (format_ == metrics_format::openmetrics) put("# EOF\n");
  }
  [[nodiscard]] bool failed() const noexcept { return failed_; }

 private:
  using word_counter = metrics_page::counter;

  void put(std::string_view text) noexcept {
    const std::size_t end = to_.size() + text.size();
    if (failed_ || !to_.reserve(end)) {
      failed_ = true;
      return;
    }
    std::ranges::copy(text, to_.data() + to_.size());
    to_.set_size(end);
  }
  template <class... Texts>
  void line(Texts... texts) noexcept {
    (put(texts), ...);
    put("\n");
  }
  void put_escaped(std::string_view text) noexcept {
    for (const char c : text) {
      if (c == '\n') {
        put("\\n");
      } else {
        if (c == '"' || c == '\\') put("\\");
        put({&c, 1});
      }
    }
  }

  /// The samples of the family follow. A help text has nothing to escape.
  void family(std::string_view name, kind of, std::string_view unit,
              std::string_view help) noexcept {
    name_ = name;
    kind_ = of;
    // The old format names a family as its samples are named.
    const bool open = format_ == metrics_format::openmetrics;
    const std::string_view shown = open ? "" : suffix(of);
    line("# HELP megakernel_", name, shown, " ", help);
    line("# TYPE megakernel_", name, shown, " ", type_name(of, format_));
    if (open && !unit.empty()) line("# UNIT megakernel_", name, " ", unit);
  }
  void name(std::string_view after) noexcept {
    put("megakernel_");
    put(name_);
    put(after);
  }
  template <class T>
  void sample(T value) noexcept {
    name(suffix(kind_));
    line(" ", number_text(value).view());
  }
  template <class T>
  void sample(std::string_view label, std::string_view of, T value) noexcept {
    name(suffix(kind_));
    line("{", label, "=\"", of, "\"} ", number_text(value).view());
  }
  template <class T>
  void single(std::string_view called, kind of, std::string_view unit, std::string_view help,
              T value) noexcept {
    family(called, of, unit, help);
    sample(value);
  }
  [[nodiscard]] const word_counter& counter(word at) const noexcept { return page_.words_[at]; }

  void about() noexcept;
  void ring() noexcept;
  void kernel() noexcept;
  void tenants() noexcept;
  void opcodes() noexcept;
  void report() noexcept;
  void health() noexcept;
  void publishers() noexcept;
  void latency() noexcept;

  const metrics_page& page_;
  metrics_format format_;
  aligned_array<char>& to_;
  std::string_view name_;
  kind kind_ = kind::gauge;
  bool failed_ = false;
};

void metrics_text::about() noexcept {
  single("up", kind::gauge, "", "Whether the kernel's buffers could be read and decoded just now.",
         std::uint32_t{page_.up_});
  family("build", kind::info, "", "The library that made this page, and what it looks at.");
  name(suffix(kind_));
  put("{version=\"");
  put_escaped(page_.version_.view());
  put("\",target=\"");
  put_escaped(page_.target_.view());
  put("\"} 1\n");
  single("looks", kind::counter, "", "Looks at the kernel that were taken.", page_.samples_);
  single("lost_looks", kind::counter, "", "Looks at the kernel that failed.", page_.lost_);
  single("restarts", kind::counter, "",
         "Times the kernel was found started anew: its done count or heartbeat had fallen.",
         page_.restarts_);
}

void metrics_text::ring() noexcept {
  const ring_occupancy& o = page_.last_.occupancy;
  const std::uint32_t total = o.total_slots();
  if (const auto age = page_.last_.age) {
    single("snapshot_age_seconds", kind::gauge, "seconds",
           "How long ago the buffers were copied out of the kernel.", seconds(*age));
  }
  single("ring_bytes", kind::gauge, "bytes", "Size of the ring.",
         std::uint64_t{total} * abi::slot_bytes);
  family("ring_slots", kind::gauge, "slots", "Slots of the ring by status; together, its size.");
  sample("status", "empty", o.empty);
  sample("status", "published", o.published);
  sample("status", "claimed", o.claimed);
  sample("status", "done", o.done);
  sample("status", "wait_io", o.wait_io);
  sample("status", "yield", o.yield);
  sample("status", "requeue", o.requeue);
  sample("status", "fault", o.fault);
  sample("status", "unknown", o.unknown);
  single("owed_slots", kind::gauge, "slots", "Slots that the kernel still has to run or finish.",
         o.active());
  single("queue_depth_slots", kind::gauge, "slots",
         "Slots that are neither free nor done: owed, faulted and unknown ones.", o.queue_depth());
  if (total != 0) {
    const auto share = [total](std::uint32_t part) { return static_cast<double>(part) / total; };
    single("ring_occupancy_ratio", kind::gauge, "ratio", "Slots that are not EMPTY, of all.",
           share(total - o.empty));
    single("frontier_density_ratio", kind::gauge, "ratio", "Queue depth, of all slots.",
           share(o.queue_depth()));
  }
  if (const auto windows = page_.last_.active_windows)
    single("active_windows", kind::gauge, "", "Route windows with a slot still owed.", *windows);
  if (const auto torn = page_.last_.torn_pages) {
    single("torn_pages", kind::gauge, "",
           "Pages of 32 slots with one that changed too fast to be copied; such slots are unknown.",
           *torn);
  }
}

void metrics_text::kernel() noexcept {
  const auto& last = page_.last_;
  family("abi", kind::info, "", "Revision of the report words; 0: the kernel does not report.");
  name(suffix(kind_));
  line("{revision=\"", number_text(last.revision).view(), "\"} 1");
  single("shutdown_requested", kind::gauge, "", "Whether the kernel was told to leave.",
         std::uint32_t{last.shutdown});
  single("done_slots", kind::counter, "slots", "Slots that the kernel has drained.",
         counter(abi::done_count_word).value);
  single("batch_fences", kind::counter, "", "Batches whose fence was run: steps of the epoch.",
         counter(abi::epoch_word).value);
  single("urgent_claims_in_a_row", kind::gauge, "",
         "Claims of critical or high priority since the last of another.", last.urgent);
  family("priority_claims", kind::counter, "", "Claims by priority.");
  for (word i = 0; i < abi::priorities; ++i)
    sample("priority", priority_names[i], counter(abi::priority_fairness_word + i).value);
}

void metrics_text::tenants() noexcept {
  const auto others = page_.tenants_.names.others();
  const auto named = page_.tenants_.names.named();
  family("tenant_claims", kind::counter, "", "Claims by tenant, of those that had any; modulo 32.");
  for (word i = 0; i < abi::tenant_fairness_counters; ++i) {
    if (const auto& c = counter(abi::tenant_fairness_word + i); c.value != 0)
      sample("tenant", number_text(i).view(), c.value);
  }
  family("tenant_owed_slots", kind::gauge, "slots",
         "Owed slots of the tenants with most of them, and of all others.");
  for (const auto& t : named) sample("tenant", number_text(t.key).view(), t.outstanding);
  sample("tenant", "other", others.outstanding);
  family("tenant_fault_slots", kind::gauge, "slots",
         "Slots in FAULT of the same tenants, and of all others.");
  for (const auto& t : named) sample("tenant", number_text(t.key).view(), t.faulted);
  sample("tenant", "other", others.faulted);
  family("tenant_authorised", kind::gauge, "", "Whether the kernel serves the tenant.");
  for (const auto& t : named) {
    const bool served = t.key < abi::tenant_masks && (page_.last_.authorised >> t.key & 1) != 0;
    sample("tenant", number_text(t.key).view(), std::uint32_t{served});
  }
  single("tenants", kind::gauge, "", "Different tenants with an owed or faulted slot.",
         page_.tenants_.names.different());
}

void metrics_text::opcodes() noexcept {
  const auto others = page_.opcodes_.names.others();
  const auto named = page_.opcodes_.names.named();
  const auto of_opcode = [this](word raw, auto value) {
    const std::string_view known = opcode_label(opcode{raw});
    sample("opcode", known.empty() ? number_text(raw).view() : known, value);
  };
  family("opcode_claims", kind::counter, "",
         "Claims by opcode, of those below 32 that had any; operations in packed slots count.");
  for (word i = 0; i < abi::metrics; ++i) {
    if (const auto& c = counter(abi::metric_word + i); c.value != 0) of_opcode(i, c.value);
  }
  family("opcode_owed_slots", kind::gauge, "slots",
         "Owed slots of the opcodes with most of them, and of all others.");
  for (const auto& o : named) of_opcode(o.key, o.outstanding);
  sample("opcode", "other", others.outstanding);
  family("opcode_fault_slots", kind::gauge, "slots",
         "Slots in FAULT of the same opcodes, and of all others.");
  for (const auto& o : named) of_opcode(o.key, o.faulted);
  sample("opcode", "other", others.faulted);
  single("opcodes", kind::gauge, "", "Different opcodes with an owed or faulted slot.",
         page_.opcodes_.names.different());
}

void metrics_text::report() noexcept {
  if (!page_.last_.workers) return;
  const auto count = [this](std::string_view called, std::string_view help, word at) {
    single(called, kind::counter, "", help, counter(at).value);
  };
  single("workers_alive", kind::gauge, "", "Workers, or lanes of a GPU, that have not left.",
         *page_.last_.workers);
  count("heartbeats", "Passes over the ring; a dead kernel makes none.", abi::heartbeat_word);
  count("faults", "Slots turned to FAULT.", abi::fault_count_word);
  count("unauthorised_looks", "Looks at a slot whose tenant is not authorised.",
        abi::unauthorised_word);
  count("throttled_looks", "Looks at a slot whose tenant has no token left.", abi::throttled_word);
  count("lost_claims", "Claims that another lane won.", abi::claim_lost_word);
  count("dropped_debug_records", "PRINTF records that did not fit.", abi::debug_dropped_word);
}

void metrics_text::health() noexcept {
  if (!page_.last_.health) return;
  const auto& h = *page_.last_.health;
  family("health", kind::state_set, "", "What the kernel looks like; exactly one state is 1.");
  for (const kernel_state s : states)
    sample("megakernel_health", megakernel::to_string(s), std::uint32_t{s == h.state});
  single("quiet_seconds", kind::gauge, "seconds", "Time since a look last saw the done count move.",
         seconds(h.quiet));
  single("stuck_slots", kind::gauge, "slots", "Owed slots unchanged for two looks or more.",
         h.stuck);
  if (h.oldest) {
    single("oldest_stuck_seconds", kind::gauge, "seconds",
           "How long the longest stuck slot has been seen unchanged.", seconds(*h.oldest));
  }
  single("unauthorised_slots", kind::gauge, "slots",
         "Owed slots that wait for their tenant to be authorised.", h.unauthorised);
  single("throttled_slots", kind::gauge, "slots",
         "Owed slots that wait for their tenant to have a token.", h.throttled);
}

void metrics_text::publishers() noexcept {
  const auto& last = page_.last_;
  const auto& sums = page_.published_;
  if (!last.publishers) return;
  single("published_slots", kind::counter, "slots", "Slots that publishers have handed over.",
         sums.slots);
  if (last.publications) {
    single("publications", kind::counter, "",
           "Publications, each a slot, a packed slot, a window or a batch.", sums.publications);
  }
  if (last.ring_full) {
    single("ring_full", kind::counter, "", "Publishing calls that found no room.", sums.ring_full);
  }
  if (last.latency) latency();
}

void metrics_text::latency() noexcept {
  const auto& sums = page_.published_;
  family("publication_latency_seconds", kind::histogram, "seconds",
         "Time from publishing until the publisher saw it finished.");
  std::uint64_t so_far = 0;
  for (std::size_t i = 0; i <= latency_counts::bounded; ++i) {
    so_far += sums.latency[i];
    name("_bucket");
    put("{le=\"");
    if (i == latency_counts::bounded) {
      put("+Inf");
    } else {
      put(number_text(static_cast<double>(latency_counts::bound(i)) / 1e9).view());
    }
    line("\"} ", number_text(so_far).view());
  }
  name("_sum");
  line(" ", number_text(static_cast<double>(sums.latency_sum) / 1e9).view());
  name("_count");
  line(" ", number_text(so_far).view());
}

result<void> metrics_page::render(metrics_format format, aligned_array<char>& to) const noexcept {
  to.clear();
  const std::size_t room = bound().bytes;
  if (auto sized = to.reserve(room); !sized) return sized;
  metrics_text text(*this, format, to);
  text.write();
  if (!text.failed()) return {};
  to.clear();
  return std::unexpected(
      error{.code = error_code::out_of_memory, .found = room, .bound = sizeof(char)});
}

}  // namespace megakernel
