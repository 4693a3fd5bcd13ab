// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// metrics_page: whatever the rings hold, its pages are strict, bounded, and their counters never
// fall; and where the ring's scenario is known, every value is the one that was put there.
#include <rapidcheck.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <expected>
#include <initializer_list>
#include <map>
#include <optional>
#include <set>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "kernel_memory.h"
#include "metrics_text.h"
#include "rings.h"

import megakernel;

namespace {

using namespace props;
namespace mk = megakernel;
using mk::metrics_format;
using std::chrono::nanoseconds;

mk::metrics_page page_of(const mk::metrics_options& options) {
  auto made = mk::metrics_page::make(options);
  RC_ASSERT(made.has_value());
  return std::move(*made);
}

std::string text_of(const mk::metrics_page& page, metrics_format format) {
  mk::aligned_array<char> text;
  RC_ASSERT(page.render(format, text).has_value());
  return {text.data(), text.size()};
}

/// The page in both formats, each read strictly, within the bound, and saying the same.
metrics_reader read(const mk::metrics_page& page) {
  const std::string open = text_of(page, metrics_format::openmetrics);
  const std::string old = text_of(page, metrics_format::prometheus);
  RC_ASSERT(open.size() <= page.bound().bytes);
  RC_ASSERT(old.size() <= page.bound().bytes);
  try {
    metrics_reader read_open(open, true);
    const metrics_reader read_old(old, false);
    RC_ASSERT(read_open.series() <= page.bound().series);
    RC_ASSERT(read_open.series() == read_old.series());
    RC_ASSERT(read_open.counters() == read_old.counters());
    return read_open;
  } catch (const std::exception& wrong) {
    RC_FAIL(std::string(wrong.what()) + "\n" + open);
  }
}

struct decoded_ring {
  mk::ring_telemetry telemetry;
  decoded_ring(const bytes& control, const bytes& ring,
               const std::vector<std::uint32_t>& window_words = {}) {
    std::vector<mk::opcode> opcodes;
    for (const std::uint32_t w : window_words) opcodes.push_back(mk::opcode{w});
    const auto windows = mk::window_opcodes::of(opcodes);
    RC_ASSERT(windows.has_value());
    RC_ASSERT(
        telemetry
            .decode(std::as_bytes(std::span(control)), std::as_bytes(std::span(ring)), *windows)
            .has_value());
  }
};

std::uint64_t sum(const std::map<std::string, metric_sample>& samples) {
  std::uint64_t all = 0;
  for (const auto& [label, s] : samples) all += s.whole();
  return all;
}

struct weight {
  std::uint64_t outstanding = 0;
  std::uint64_t faulted = 0;
};

/// What the slots say, told plainly.
template <class Key>
std::map<std::uint32_t, weight> weights(const mk::ring_telemetry& ring, Key key) {
  std::map<std::uint32_t, weight> found;
  for (const mk::slot_snapshot& slot : ring.slots()) {
    const auto status = static_cast<std::uint32_t>(slot.status);
    const bool outstanding =
        status == 1 || status == 2 || status == 4 || status == 5 || status == 6;
    if (outstanding) ++found[key(slot)].outstanding;
    if (status == 7) ++found[key(slot)].faulted;
  }
  return found;
}

/// `outstanding` and `faulted` name at most `most` keys, those with most slots, and add up.
void check_named(const metrics_reader& page, const std::string& what, std::uint32_t most,
                 const std::map<std::uint32_t, weight>& truth,
                 const std::vector<std::pair<std::string, std::uint32_t>>& names) {
  const auto outstanding = page.all("megakernel_" + what + "_owed_slots", what);
  const auto faulted = page.all("megakernel_" + what + "_fault_slots", what);
  RC_ASSERT(outstanding.contains("other") && faulted.contains("other"));
  RC_ASSERT(outstanding.size() == std::min<std::size_t>(most, truth.size()) + 1);
  RC_ASSERT(outstanding.size() == faulted.size());
  std::uint64_t all_outstanding = 0;
  std::uint64_t all_faulted = 0;
  for (const auto& [key, w] : truth) {
    all_outstanding += w.outstanding;
    all_faulted += w.faulted;
  }
  RC_ASSERT(sum(outstanding) == all_outstanding);
  RC_ASSERT(sum(faulted) == all_faulted);
  RC_ASSERT(page.one("megakernel_" + what + "s") == truth.size());
  std::uint64_t least_named = ~std::uint64_t{0};
  std::uint64_t most_unnamed = 0;
  for (const auto& [key, w] : truth) {
    std::string label = std::to_string(key);
    for (const auto& [name, raw] : names) {
      if (raw == key) label = name;
    }
    if (outstanding.contains(label)) {
      RC_ASSERT(outstanding.at(label).whole() == w.outstanding);
      RC_ASSERT(faulted.at(label).whole() == w.faulted);
      least_named = std::min(least_named, w.outstanding + w.faulted);
    } else {
      most_unnamed = std::max(most_unnamed, w.outstanding + w.faulted);
    }
  }
  RC_ASSERT(most == 0 || least_named >= most_unnamed);
}

const std::vector<std::pair<std::string, std::uint32_t>> opcode_names{{"nop", 0},
                                                                      {"store_u32", 1},
                                                                      {"atomic_add", 2},
                                                                      {"load_u32", 3},
                                                                      {"compare_swap", 4},
                                                                      {"memcpy", 5},
                                                                      {"dfa_step", 6},
                                                                      {"batch_fence", 7},
                                                                      {"load_miss", 0xFFFD},
                                                                      {"printf", 0xFFFE},
                                                                      {"packed_slot", 0x80000001u},
                                                                      {"shutdown", 0xFFFFFFFFu}};

bool any_ring() {
  return rc::check("a page of any ring is strict, bounded, and has the ring's numbers", [] {
    const auto shape = *any_shape(rc::gen::element<std::uint32_t>(0, 1, 2, 33, 500));
    const auto tenants = *rc::gen::element<std::uint32_t>(0, 1, 3, 20, 1000, 0xFFFFFFFFu);
    const auto opcodes = *rc::gen::element<std::uint32_t>(0, 1, 3, 20);
    const built_ring built = build(shape);
    const decoded_ring ring(built.control, built.ring, built.windows);
    mk::health_tracker tracker{};
    const auto health = tracker.observe(ring.telemetry, nanoseconds(0));
    RC_ASSERT(health.has_value());
    prng d(shape.seed);
    mk::latency_counts latency;
    for (int i = 0; i < 20; ++i) latency.add(d.next() >> d.below(64), d.below(1000));
    const mk::published_counts publishers{.slots = d.next() >> 1,
                                          .publications = d.next() >> 1,
                                          .ring_full = d.next() >> 1,
                                          .latency = &latency};
    auto page = page_of({.top_tenants = tenants, .top_opcodes = opcodes, .version = "1"});
    RC_ASSERT(read(page).one("megakernel_up") == 0u);
    RC_ASSERT(page.observe({.ring = ring.telemetry,
                            .health = &*health,
                            .at = nanoseconds(0),
                            .publishers = &publishers,
                            .torn_pages = d.below(9),
                            .age = nanoseconds(d.next() >> 1),
                            .windows = true})
                  .has_value());
    const metrics_reader seen = read(page);
    RC_ASSERT(seen.one("megakernel_up") == 1u);
    const mk::ring_occupancy& o = ring.telemetry.occupancy();
    RC_ASSERT(sum(seen.all("megakernel_ring_slots", "status")) == o.total_slots());
    RC_ASSERT(seen.one("megakernel_owed_slots") == o.active());
    RC_ASSERT(seen.one("megakernel_queue_depth_slots") == o.queue_depth());
    RC_ASSERT(seen.all("megakernel_ring_occupancy_ratio").empty() == (shape.slots == 0));
    const auto words = ring.telemetry.control().words();
    RC_ASSERT(seen.one("megakernel_heartbeats_total").has_value() == (words[141] == 1));
    RC_ASSERT(seen.one("megakernel_batch_fences_total") == words[128]);
    for (std::uint32_t i = 0; i < 32; ++i) {
      const auto claims = seen.all("megakernel_tenant_claims_total", "tenant");
      RC_ASSERT(claims.contains(std::to_string(i)) == (words[64 + i] != 0));
      if (words[64 + i] != 0) RC_ASSERT(claims.at(std::to_string(i)).whole() == words[64 + i]);
    }
    RC_ASSERT(sum(seen.all("megakernel_health", "megakernel_health")) == 1);
    RC_ASSERT(seen.one("megakernel_published_slots_total") == publishers.slots);
    check_named(seen, "tenant", std::min(tenants, mk::metrics_page::most_named),
                weights(ring.telemetry, [](const auto& s) { return s.tenant; }), {});
    check_named(seen, "opcode", opcodes,
                weights(ring.telemetry, [](const auto& s) { return std::uint32_t(s.op); }),
                opcode_names);
    for (const auto& [tenant, s] : seen.all("megakernel_tenant_authorised", "tenant"))
      RC_ASSERT((s.whole() == 1) == ring.telemetry.control().authorises(
                                        static_cast<std::uint32_t>(std::stoul(tenant))));

    page.lose();
    const metrics_reader lost = read(page);
    RC_ASSERT(lost.one("megakernel_up") == 0u);
    RC_ASSERT(lost.one("megakernel_lost_looks_total") == 1u);
    RC_ASSERT(lost.series() == 5u);
  });
}

/// A kernel whose counts are known in full, whatever its words can hold.
struct true_kernel {
  std::map<std::uint32_t, std::uint64_t> counts;  // by word, of all launches
  std::map<std::uint32_t, std::uint64_t> launch;  // of this one
  bool reports = false;
  bool wide = false;

  static const std::vector<std::uint32_t>& words() {
    static const std::vector<std::uint32_t> all = [] {
      std::vector<std::uint32_t> made{1, 128};
      for (std::uint32_t i = 64; i < 128; ++i) made.push_back(i);
      for (std::uint32_t i = 136; i < 141; ++i) made.push_back(i);
      for (std::uint32_t i = 142; i < 149; ++i) {
        if (i != 146) made.push_back(i);
      }
      return made;
    }();
    return all;
  }
  void grow(std::uint32_t word, std::uint64_t by) {
    counts[word] += by;
    launch[word] += by;
  }
  void restart() { launch.clear(); }
  [[nodiscard]] bytes control() const {
    std::vector<std::uint32_t> out(160);
    for (const auto& [word, count] : launch) out[word] = static_cast<std::uint32_t>(count);
    if (reports) {
      out[141] = 1;
      out[146] = 3;
      if (wide) out[149] = static_cast<std::uint32_t>(launch.at(1) >> 32);
    }
    return to_bytes(out);
  }
};

bool known_scenario() {
  return rc::check("counters go on over 32-bit wraps, restarts and lost looks, to the slot", [] {
    true_kernel kernel;
    kernel.reports = *rc::gen::arbitrary<bool>();
    kernel.wide = *rc::gen::arbitrary<bool>();
    prng d(*uniform<std::uint64_t>());
    // One that has run for long when the first sample comes.
    for (const std::uint32_t w : true_kernel::words())
      kernel.grow(w, w == 1 && kernel.reports && kernel.wide ? d.next() >> 20 : d.word());
    auto page = page_of({});
    std::uint64_t restarts = 0;
    std::map<std::string, double> before;
    const int samples = *between(1, 12);
    for (int i = 0; i < samples; ++i) {
      if (d.one_in(4)) page.lose();
      const decoded_ring ring(kernel.control(), {});
      RC_ASSERT(page.observe({.ring = ring.telemetry}).has_value());
      const metrics_reader seen = read(page);
      const auto at = [&](std::uint32_t w) { return kernel.counts[w]; };
      RC_ASSERT(seen.one("megakernel_done_slots_total") == at(1));
      RC_ASSERT(seen.one("megakernel_batch_fences_total") == at(128));
      RC_ASSERT(seen.one("megakernel_restarts_total") == restarts);
      const auto tenants = seen.all("megakernel_tenant_claims_total", "tenant");
      const auto opcodes = seen.all("megakernel_opcode_claims_total", "opcode");
      for (std::uint32_t t = 0; t < 32; ++t) {
        RC_ASSERT(tenants.contains(std::to_string(t)) == (at(64 + t) != 0));
        if (at(64 + t) != 0) RC_ASSERT(tenants.at(std::to_string(t)).whole() == at(64 + t));
        const std::string op = t < 8 ? opcode_names[t].first : std::to_string(t);
        if (at(96 + t) != 0) RC_ASSERT(opcodes.at(op).whole() == at(96 + t));
      }
      const auto levels = seen.all("megakernel_priority_claims_total", "priority");
      RC_ASSERT(levels.at("idle").whole() == at(140));
      if (kernel.reports) {
        RC_ASSERT(seen.one("megakernel_heartbeats_total") == at(142));
        RC_ASSERT(seen.one("megakernel_faults_total") == at(143));
        RC_ASSERT(seen.one("megakernel_dropped_debug_records_total") == at(148));
      }
      for (const auto& [series, value] : seen.counters()) {
        if (before.contains(series)) RC_ASSERT(value >= before[series]);
      }
      before = seen.counters();

      // A restart that can be seen: its done count stands below the old one's, by less than 2^31.
      const auto low = static_cast<std::uint32_t>(kernel.launch[1]);
      if (low != 0 && low < 1u << 31 && d.one_in(3)) {
        kernel.restart();
        ++restarts;
        for (const std::uint32_t w : true_kernel::words())
          kernel.grow(w, w == 1 ? d.below(low) : d.word());
      } else {
        for (const std::uint32_t w : true_kernel::words()) kernel.grow(w, d.word() & 0x7FFFFFFFu);
      }
    }
  });
}

bool any_words() {
  return rc::check("counters never fall, whatever the words and the publishers do", [] {
    prng d(*uniform<std::uint64_t>());
    auto page = page_of({.top_tenants = 2, .top_opcodes = 2});
    std::map<std::string, double> before;
    mk::latency_counts latency;
    for (int i = 0; i < 10; ++i) {
      const decoded_ring ring(build_control(d, 0), {});
      if (d.one_in(3)) latency = {};
      latency.add(d.next() >> 20 >> d.below(44), d.below(100));
      const mk::published_counts publishers{.slots = d.next() >> 8,
                                            .publications = d.word(),
                                            .ring_full = std::nullopt,
                                            .latency = d.one_in(4) ? nullptr : &latency};
      if (d.one_in(4)) {
        page.lose();
      } else {
        RC_ASSERT(page.observe({.ring = ring.telemetry, .publishers = &publishers}).has_value());
      }
      const metrics_reader seen = read(page);
      RC_ASSERT(!seen.one("megakernel_ring_full_total").has_value());
      for (const auto& [series, value] : seen.counters()) {
        if (before.contains(series) && value < before[series]) RC_FAIL(series);
        before[series] = value;
      }
    }
  });
}

/// A ring in which key i of `outstanding` owes so many slots.
bytes ring_of(const std::vector<std::uint32_t>& outstanding) {
  std::vector<std::uint32_t> words;
  for (std::uint32_t t = 0; t < outstanding.size(); ++t) {
    for (std::uint32_t n = 0; n < outstanding[t]; ++n) {
      words.insert(words.end(), {1, t * 7, t});
      words.resize(words.size() + 13);
    }
  }
  return to_bytes(words);
}

bool stable_names() {
  return rc::check(
      "a tenant loses its series only to one with more than twice its slots and two", [] {
        const auto most = *between<std::uint32_t>(1, 5);
        auto page = page_of({.top_tenants = most});
        const bytes control(640);
        std::set<std::string> before;
        prng d(*uniform<std::uint64_t>());
        std::vector<std::uint32_t> outstanding(12);
        for (int sample = 0; sample < 6; ++sample) {
          for (std::uint32_t& n : outstanding) {
            if (d.one_in(2)) n = d.below(d.one_in(2) ? 4 : 30);
          }
          const decoded_ring ring(control, ring_of(outstanding));
          RC_ASSERT(page.observe({.ring = ring.telemetry}).has_value());
          std::set<std::string> now;
          for (const auto& [t, s] : read(page).all("megakernel_tenant_owed_slots", "tenant")) {
            if (t != "other") now.insert(t);
          }
          RC_ASSERT(now.size() <= most);
          for (const std::string& gone : before) {
            if (now.contains(gone)) continue;
            for (const std::string& come : now) {
              if (before.contains(come)) continue;
              RC_ASSERT(outstanding[std::stoul(come)] >= 2 * outstanding[std::stoul(gone)] + 2);
            }
          }
          before = now;
        }
      });
}

bool many_keys() {
  return rc::check("10,000 tenants and as many opcodes do not grow a page past its bound", [] {
    std::vector<std::uint32_t> words(std::size_t{65'536} * 16);
    prng d(*uniform<std::uint64_t>());
    for (std::size_t i = 0; i < words.size(); i += 16) {
      words[i] = d.one_in(9) ? 7 : 1;
      words[i + 1] = d.below(10'000);
      words[i + 2] = d.below(10'000);
    }
    for (std::size_t i = 0; i < 10'000; ++i) words[i * 16 + 2] = static_cast<std::uint32_t>(i);
    std::vector<std::uint32_t> control(160, 0x7FFFFFFFu);
    control[141] = 1;
    const decoded_ring ring(to_bytes(control), to_bytes(words));
    auto page = page_of({});
    RC_ASSERT(page.observe({.ring = ring.telemetry, .torn_pages = 0, .windows = true}).has_value());
    const metrics_reader seen = read(page);
    RC_ASSERT(seen.one("megakernel_tenants") == 10'000u);
    RC_ASSERT(seen.all("megakernel_tenant_owed_slots", "tenant").size() == 21);
    RC_ASSERT(seen.all("megakernel_opcode_owed_slots", "opcode").size() == 21);
    RC_ASSERT(sum(seen.all("megakernel_tenant_owed_slots", "tenant")) +
                  sum(seen.all("megakernel_tenant_fault_slots", "tenant")) ==
              65'536);
  });
}

bool labels() {
  return rc::check("labels of any bytes can be read back", [] {
    const auto text = *rc::gen::container<std::string>(
        rc::gen::weightedOneOf<char>({{3, rc::gen::element('"', '\\', '\n', 'n', '{', '}', ',')},
                                      {2, rc::gen::arbitrary<char>()},
                                      {1, rc::gen::inRange<char>('a', 'z')}}));
    const auto page = page_of({.version = text, .target = "ä\xE2\x82\xAC\xF0\x9F\x98\x80"});
    const auto labels = read(page).all("megakernel_build_info").begin()->second.labels;
    RC_ASSERT(labels.at("target") == "ä\xE2\x82\xAC\xF0\x9F\x98\x80");
    const std::string& shown = labels.at("version");
    RC_ASSERT(shown.size() <= 64);
    // ASCII as it was; any other byte as it was or as a question mark.
    for (std::size_t i = 0; i < shown.size(); ++i)
      RC_ASSERT(shown[i] == text[i] || (shown[i] == '?' && (text[i] & 0x80) != 0));
    RC_ASSERT(shown.size() == text.size() || shown.size() > 60);
  });
}

bool characters() {
  return rc::check(
      "of every length the first and the last character are shown, and no other bytes", [] {
        const auto shown = [](const std::string& text) {
          const auto page = page_of({.version = text});
          return read(page).all("megakernel_build_info").begin()->second.labels.at("version");
        };
        for (const char* const whole :
             {"\x7F", "\xC2\x80", "\xDF\xBF", "\xE0\xA0\x80", "\xED\x9F\xBF", "\xEE\x80\x80",
              "\xEF\xBF\xBF", "\xF0\x90\x80\x80", "\xF4\x8F\xBF\xBF"})
          RC_ASSERT(shown(whole) == whole);
        // Over-long, surrogates, past the last, a tail alone, too short, and a tail that is none.
        for (const char* const bytes :
             {"\xC1\xBF", "\xE0\x9F\xBF", "\xF0\x8F\xBF\xBF", "\xED\xA0\x80", "\xED\xBF\xBF",
              "\xF4\x90\x80\x80", "\xF5\x80\x80\x80", "\x80", "\xE2\x82", "\xF0\x9F\x98"})
          RC_ASSERT(shown(bytes) == std::string(std::string_view(bytes).size(), '?'));
        RC_ASSERT(shown("\xE2\x28\xA1") == "?(?");
      });
}

bool media_types() {
  return rc::check("a page is sent as what it is", [] {
    RC_ASSERT(mk::media_type(metrics_format::openmetrics) ==
              "application/openmetrics-text; version=1.0.0; charset=utf-8");
    RC_ASSERT(mk::media_type(metrics_format::prometheus) ==
              "text/plain; version=0.0.4; charset=utf-8");
  });
}

bool sums() {
  return rc::check("durations with a sum of their own fall into the same bucket", [] {
    const auto each = *uniform<std::uint64_t>() >> *between<int>(0, 63);
    const auto times = *between<std::uint64_t>(0, 1000);
    const auto sum = *uniform<std::uint64_t>();
    mk::latency_counts alike;
    mk::latency_counts known;
    alike.add(each, times);
    known.add(each, times, sum);
    RC_ASSERT(known.counts() == alike.counts() && known.sum() == sum);
    known.add(each, times, each * times - sum);
    RC_ASSERT(known.sum() == alike.sum());
  });
}

bool every_opcode() {
  return rc::check("every opcode that has a name is shown by it", [] {
    std::vector<std::uint32_t> words;
    for (const auto& [name, op] : opcode_names) {
      words.insert(words.end(), {1, op});
      words.resize(words.size() + 14);
    }
    const decoded_ring ring(bytes(640), to_bytes(words));
    auto page = page_of({});
    RC_ASSERT(page.observe({.ring = ring.telemetry}).has_value());
    const auto outstanding = read(page).all("megakernel_opcode_owed_slots", "opcode");
    RC_ASSERT(outstanding.size() == opcode_names.size() + 1);
    for (const auto& [name, op] : opcode_names) RC_ASSERT(outstanding.at(name).whole() == 1u);
  });
}

bool oldest_slot() {
  return rc::check("the longest stuck slot's age is shown, and none where none is stuck", [] {
    const std::vector<std::uint32_t> words{1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0};
    const decoded_ring ring(bytes(640), to_bytes(words));
    mk::health_tracker tracker{};
    auto page = page_of({});
    for (const int at : {5, 6, 8, 12}) {
      const nanoseconds now = std::chrono::seconds(at);
      const auto health = tracker.observe(ring.telemetry, now);
      RC_ASSERT(health.has_value());
      RC_ASSERT(page.observe({.ring = ring.telemetry, .health = &*health, .at = now}).has_value());
      const metrics_reader seen = read(page);
      const bool stuck = at >= 6;  // seen twice
      RC_ASSERT(seen.one("megakernel_stuck_slots") == std::uint64_t{stuck});
      const auto age = seen.one("megakernel_oldest_stuck_seconds");
      RC_ASSERT(age.has_value() == stuck);
      if (stuck) RC_ASSERT(*age == static_cast<std::uint64_t>(at - 5));
    }
  });
}

bool no_large_key() {
  return rc::check("a key that was never counted has no slots, whatever its size", [] {
    auto tally = mk::detail::key_tally::make(1);
    RC_ASSERT(tally.has_value());
    tally->start();
    RC_ASSERT(tally->find(3).weight() == 0u && tally->find(0xFFFF'FFFFu).weight() == 0u);
    RC_ASSERT(tally->add(0xFFFF'FFFFu, 2));
    RC_ASSERT(tally->find(0xFFFF'FFFEu).weight() == 0u &&
              tally->find(0xFFFF'FFFFu).outstanding == 2u);
  });
}

}  // namespace

int main() {
  bool ok = true;
  ok &= any_ring();
  ok &= known_scenario();
  ok &= any_words();
  ok &= stable_names();
  ok &= many_keys();
  ok &= labels();
  ok &= characters();
  ok &= media_types();
  ok &= sums();
  ok &= every_opcode();
  ok &= oldest_slot();
  ok &= no_large_key();
  return ok ? 0 : 1;
}
