// health_tracker against a model that keeps every slot's words and sorts: the same report, look
// after look, and a refused look changes nothing.
#include <rapidcheck.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <expected>
#include <optional>
#include <ostream>
#include <span>
#include <string_view>
#include <tuple>
#include <vector>

#include "kernel_memory.h"
#include "support.h"

import megakernel;

namespace {

using namespace props;
namespace mk = megakernel;
using std::chrono::nanoseconds;

struct stuck {
  std::int64_t since = 0;
  std::uint32_t index = 0;
  std::uint32_t looks = 0;
  std::array<std::uint32_t, 7> words{};
  friend bool operator==(const stuck&, const stuck&) = default;
};

/// A report, or the name of a refusal.
struct finding {
  std::string_view refused{};
  std::string_view verdict{};
  std::uint64_t done = 0;
  std::uint64_t done_delta = 0;
  std::int64_t quiet = 0;
  std::uint32_t faults = 0;
  std::uint32_t owed = 0;
  std::uint32_t unauthorised = 0;
  std::uint32_t throttled = 0;
  std::optional<std::uint32_t> heartbeat{};
  std::vector<stuck> oldest{};
  std::size_t stuck_slots = 0;
  friend bool operator==(const finding&, const finding&) = default;
};

void print(std::ostream& out, const char* who, const finding& f) {
  out << who << ": " << f.refused << f.verdict << ", done " << f.done << " +" << f.done_delta
      << ", quiet " << f.quiet << ", faults " << f.faults << ", owed " << f.owed << " ("
      << f.unauthorised << ", " << f.throttled << "), heartbeat "
      << (f.heartbeat ? static_cast<std::int64_t>(*f.heartbeat) : -1) << ", stuck " << f.stuck_slots
      << ':';
  for (const stuck& s : f.oldest) out << ' ' << s.index << '@' << s.since << 'x' << s.looks;
  out << '\n';
}

/// The rules, told plainly.
class model {
 public:
  explicit model(std::int64_t patience) : patience_(patience) {}

  finding look(const kernel_memory& m, std::int64_t at) {
    const auto word = [&m](std::size_t i) { return m.control[i]; };
    if (seen_ && m.slots.size() != slots_.size()) return {.refused = "ring_resized"};
    if (seen_ && at < last_look_) return {.refused = "clock_regressed"};
    const auto total = extended(m);
    if (!total) return {.refused = "done_count_regressed"};

    finding f;
    f.done = *total;
    f.done_delta = seen_ ? *total - done_ : 0;
    if (!seen_ || f.done_delta != 0) last_progress_ = at;
    f.quiet = at - last_progress_;
    const bool both_report = seen_ && word(141) == 1 && before_.control[141] == 1;
    if (both_report) f.heartbeat = word(142) - before_.control[142];
    const bool throttling = both_report && word(145) != before_.control[145];
    for (const auto& s : m.slots) {
      f.faults += s[0] == 7;
      const bool waits = s[0] == 1 || s[0] == 5 || s[0] == 6;
      f.owed += waits || s[0] == 2 || s[0] == 4;
      if (!waits) continue;
      const std::uint64_t mask = std::uint64_t{word(2)} + s[2];
      if (s[2] >= 29 || mask < 3 || mask >= 32 || word(mask) == 0) {
        ++f.unauthorised;
      } else if (throttling && word(32 + s[2]) == 0) {
        ++f.throttled;
      }
    }
    remember(m, at, f);
    f.verdict = judge(f, word(0) != 0);
    before_ = m;
    done_ = *total;
    last_look_ = at;
    seen_ = true;
    return f;
  }

 private:
  struct known {
    std::array<std::uint32_t, 7> words{};
    std::uint32_t looks = 0;
    std::int64_t since = 0;
  };

  [[nodiscard]] std::optional<std::uint64_t> extended(const kernel_memory& m) const {
    const std::uint32_t low = m.control[1];
    if (m.control[141] == 1 && m.control[149] != 0) {
      const std::uint64_t whole = std::uint64_t{m.control[149]} << 32 | low;
      if (!seen_ || whole >= done_) return whole;
      // The low half may have been read wrapped, before the high half moved.
      const std::uint64_t wrap = 4'294'967'296;
      if (whole > 0xFFFFFFFFFFFFFFFF - wrap || whole + wrap < done_) return std::nullopt;
      if (whole + wrap - done_ > 0x7FFFFFFF) return std::nullopt;
      return whole + wrap;
    }
    if (!seen_) return low;
    const std::uint32_t step = low - static_cast<std::uint32_t>(done_);
    if (step > 0x7FFFFFFF) return std::nullopt;
    return done_ + step;
  }

  void remember(const kernel_memory& m, std::int64_t at, finding& f) {
    slots_.resize(m.slots.size());
    for (std::uint32_t i = 0; i < slots_.size(); ++i) {
      known& k = slots_[i];
      std::array<std::uint32_t, 7> now{};
      std::copy_n(m.slots[i].begin(), 7, now.begin());
      const std::uint32_t status = now[0];
      if (status == 0 || status == 3 || status >= 7) {
        k = {};
      } else if (k.looks != 0 && k.words == now) {
        ++k.looks;
      } else {
        k = {now, 1, at};
      }
      if (k.looks >= 2) f.oldest.push_back({k.since, i, k.looks, k.words});
    }
    f.stuck_slots = f.oldest.size();
    std::ranges::sort(f.oldest, {}, [](const stuck& s) { return std::tuple(s.since, s.index); });
    if (f.oldest.size() > 16) f.oldest.resize(16);
  }

  [[nodiscard]] std::string_view judge(const finding& f, bool shutdown) const {
    if (!seen_) return "watching";
    if (f.done_delta != 0) return "progressing";
    const bool alarm = f.quiet >= patience_;
    if (f.heartbeat == 0u && shutdown) return "stopped";
    if (f.heartbeat == 0u) return alarm ? "dead" : "watching";
    if (f.owed == 0) return "idle";
    if (!alarm) return "watching";
    return f.unauthorised + f.throttled == f.owed ? "blocked" : "stalled";
  }

  std::int64_t patience_;
  bool seen_ = false;
  kernel_memory before_;
  std::vector<known> slots_;
  std::uint64_t done_ = 0;
  std::int64_t last_look_ = 0;
  std::int64_t last_progress_ = 0;
};

finding told(const mk::result<mk::health_report>& r) {
  if (!r) return {.refused = mk::name(r.error().code)};
  finding f{.verdict = mk::name(r->verdict),
            .done = r->done,
            .done_delta = r->done_delta,
            .quiet = r->quiet.count(),
            .faults = r->fault_slots,
            .owed = r->owed_slots,
            .unauthorised = r->unauthorised_slots,
            .throttled = r->throttled_slots,
            .heartbeat = r->heartbeat_delta,
            .stuck_slots = r->stuck_slots};
  for (const mk::stuck_slot& s : r->oldest) {
    f.oldest.push_back(
        {s.since.count(),
         s.slot.index,
         s.looks,
         {static_cast<std::uint32_t>(s.slot.status), static_cast<std::uint32_t>(s.slot.op),
          s.slot.tenant, static_cast<std::uint32_t>(s.slot.level), s.slot.arguments[0],
          s.slot.arguments[1], s.slot.arguments[2]}});
  }
  return f;
}

/// Between two looks: a word of the control buffer or of a slot becomes another, or time passes.
struct change {
  enum kind : unsigned { slot, tenant, argument, done, high, control, time, resize } what = slot;
  std::uint32_t at = 0;
  std::uint32_t by = 0;
};
void showValue(const change& c, std::ostream& out) {
  static constexpr std::array names{"slot", "tenant",  "argument", "done",
                                    "high", "control", "time",     "resize"};
  out << names[c.what] << ' ' << c.at << ' ' << c.by;
}

rc::Gen<change> any_change() {
  const auto make = [](change::kind what, rc::Gen<std::uint32_t> at, rc::Gen<std::uint32_t> by) {
    return rc::gen::build<change>(rc::gen::set(&change::what, rc::gen::just(what)),
                                  rc::gen::set(&change::at, std::move(at)),
                                  rc::gen::set(&change::by, std::move(by)));
  };
  using rc::gen::element;
  const auto slot = between<std::uint32_t>(0, 63);
  const auto tenant = element<std::uint32_t>(0, 1, 28, 29, ~0u);
  return rc::gen::weightedOneOf<change>(
      {{12, make(change::slot, slot, any_status())},
       {4, make(change::tenant, slot, tenant)},
       {3, make(change::argument, slot, between<std::uint32_t>(0, 15))},
       {4, make(change::done, rc::gen::just(0u),
                element<std::uint32_t>(1, 2, 1000, 0x7FFFFFFF, 0x80000000, ~0u))},
       {1, make(change::high, rc::gen::just(0u), element<std::uint32_t>(0, 1, 2, 3))},
       // Shutdown, table base, masks and quotas of the tenants above, and what a kernel reports.
       {8, make(change::control,
                element<std::uint32_t>(0, 2, 3, 4, 31, 32, 33, 60, 141, 141, 142, 142, 145),
                element<std::uint32_t>(0, 0, 1, 1, 2, 3))},
       {6, make(change::time, between<std::uint32_t>(0, 9), between<std::uint32_t>(0, 30))},
       {1, make(change::resize, rc::gen::just(0u), rc::gen::just(0u))}});
}

/// Makes a change that stays; returns how much time it takes.
std::int64_t apply(const change& c, kernel_memory& m) {
  auto* const s = m.slots.empty() ? nullptr : &m.slots[c.at % m.slots.size()];
  if (c.what == change::slot && s != nullptr) (*s)[0] = c.by;
  if (c.what == change::tenant && s != nullptr) (*s)[2] = c.by;
  if (c.what == change::argument && s != nullptr) (*s)[c.by] += 1;
  if (c.what == change::done && c.by <= 0x7FFFFFFF) m.control[1] += c.by;
  if (c.what == change::control) m.control[c.at] = c.by;
  return c.what == change::time && c.at != 0 ? c.by : 0;
}

/// Makes a change that is seen by one look; returns how far the clock is off at that look.
std::int64_t apply_once(const change& c, kernel_memory& seen) {
  if (c.what == change::done && c.by > 0x7FFFFFFF) seen.control[1] += c.by;
  if (c.what == change::high) seen.control[149] = c.by;
  if (c.what == change::resize) seen.slot(1);
  return c.what == change::time && c.at == 0 ? -std::int64_t{c.by} : 0;
}

bool reports() {
  return rc::check("every look reports what the model does", [] {
    const auto patience = *between<std::int64_t>(0, 40);
    const auto slots = *rc::gen::element<std::uint32_t>(0, 1, 3, 17, 40);
    const auto rounds = *rc::gen::container<std::vector<std::vector<change>>>(
        rc::gen::scale(0.1, rc::gen::container<std::vector<change>>(any_change())));
    const auto first_status = *any_status();
    kernel_memory m;
    for (std::uint32_t i = 0; i < slots; ++i) m.slot(i % 2 == 0 ? first_status : 1, i % 2, i);
    m.done(*any_word());
    std::int64_t now = *rc::gen::element<std::int64_t>(0, -1000, 1'000'000'000'000);
    mk::health_tracker tracker{nanoseconds(patience)};
    model expected(patience);
    mk::ring_telemetry telemetry;
    for (const auto& round : rounds) {
      for (const change& c : round) now += apply(c, m);
      // What a look is refused for lasts for this look, or every later one would be refused too.
      kernel_memory seen = m;
      std::int64_t at = now;
      for (const change& c : round) at += apply_once(c, seen);
      const bytes control = seen.control_bytes();
      const bytes ring = seen.ring_bytes();
      RC_ASSERT(telemetry.decode(std::as_bytes(std::span(control)), std::as_bytes(std::span(ring)))
                    .has_value());
      const finding wanted = expected.look(seen, at);
      const finding got = told(tracker.look(telemetry, nanoseconds(at)));
      if (wanted != got) {
        print(RC_LOG(), "model", wanted);
        print(RC_LOG(), "library", got);
        RC_FAIL("findings differ");
      }
    }
  });
}

}  // namespace

int main() { return reports() ? 0 : 1; }
