// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
module;
#include <algorithm>
#include <array>
#include <charconv>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <utility>
module megakernel.health;
import megakernel.decoder;
import megakernel.protocol;

namespace megakernel {
namespace {

using std::chrono::nanoseconds;

/// The names of a finding, for programs and for people.
struct naming {
  std::string_view name;
  std::string_view title;
};

constexpr naming naming_of(finding_kind what) noexcept {
  switch (what) {
    using enum finding_kind;
    case too_early:
      return {"too_early", "too early to say"};
    case healthy:
      return {"healthy", "healthy"};
    case idle:
      return {"idle", "idle"};
    case stopped:
      return {"stopped", "stopped"};
    case slow:
      return {"slow", "slow"};
    case stalled:
      return {"stalled", "stalled"};
    case unauthorised:
      return {"unauthorised", "blocked by authorisation"};
    case throttled:
      return {"throttled", "throttled by quota"};
    case waiting_for_io:
      return {"waiting_for_io", "waiting for IO"};
    case faulted:
      return {"faulted", "faulted"};
    case dead:
      return {"dead", "dead"};
    case count_regressed:
      return {"count_regressed", "the done count went back"};
    case torn:
      return {"torn", "torn pages"};
    case observer_too_slow:
      return {"observer_too_slow", "looked at too seldom"};
  }
  return {};
}

/// Reads like a stream, writes into the text.
class writer {
 public:
  explicit writer(diagnosis_text& to) noexcept : to_(to) {}
  template <class... Parts>
  void operator()(Parts... parts) noexcept {
    (to_.add(parts), ...);
  }
  /// "1 slot", "2 slots"; `is` adds the verb.
  void slots(std::uint64_t n, std::string_view one = "", std::string_view more = "") noexcept {
    (*this)(n, n == 1 ? " slot" : " slots", n == 1 ? one : more);
  }

 private:
  diagnosis_text& to_;
};

nanoseconds time_of(const finding& f, evidence_metric of = evidence_metric::time) noexcept {
  constexpr std::uint64_t longest = INT64_MAX;
  return nanoseconds(static_cast<std::int64_t>(std::min(f[of], longest)));
}

void say_blocked(writer& out, const finding& f, std::string_view for_what) noexcept {
  const std::uint64_t blocked = f[evidence_metric::blocked_slots];
  out.slots(blocked, " waits ", " wait ");
  out(for_what, ", the longest for ", time_of(f));
  if (!f.kernel_wide) {
    out(", while other work goes on or is stuck for another reason.");
  } else if (blocked == f[evidence_metric::outstanding_slots]) {
    out("; nothing else is owed.");
  } else {
    out("; the other ", f[evidence_metric::outstanding_slots] - blocked,
        " that are owed wait for the host, too.");
  }
}

void say_stalled(writer& out, const finding& f) noexcept {
  const std::uint64_t held = f[evidence_metric::held_slots];
  if (!f.kernel_wide) {
    out.slots(held, " has been inside a handler for ", " have been inside a handler for up to ");
    out(time_of(f), ", while other work goes on.");
    return;
  }
  out.slots(f[evidence_metric::outstanding_slots], " is owed", " are owed");
  out(" and may run, and nothing was finished for ", time_of(f), ".");
  if (held == 0) {
    out(" No lane has claimed any of them for longer than a look.");
    return;
  }
  out(" ", held, held == 1 ? " is" : " are", " inside a handler that has not returned");
  if (const std::uint64_t lanes = f[evidence_metric::lanes]; lanes != 0)
    out("; the kernel has ", lanes, lanes == 1 ? " lane" : " lanes");
  out(".");
}

void say_too_seldom(writer& out, const finding& f) noexcept {
  if (f.kernel_wide) {
    out("In the ", time_of(f, evidence_metric::interval),
        " between two looks a kernel that drains ", f[evidence_metric::drain_rate],
        " slots/s can come round its 32-bit done count: what was drained cannot be told.");
    return;
  }
  out(f[evidence_metric::drained_slots], " slots were drained in the ",
      time_of(f, evidence_metric::interval),
      " between two looks, as many as were free: a slot that looks unchanged may hold new work.");
}

std::string_view status_word_of(slot_status status) noexcept {
  static constexpr std::array<std::string_view, 8> names{
      "EMPTY", "PUBLISHED", "CLAIMED", "DONE", "WAIT_IO", "YIELD", "REQUEUE", "FAULT"};
  return is_known(status) ? names[word(status)] : "not copied whole";
}

void say_keys(writer& out, std::string_view one, std::string_view many,
              const short_list<concerned_key, 8>& keys, std::uint32_t in_all) noexcept {
  if (keys.empty()) return;
  out(" ", keys.size() == 1 ? one : many, " ");
  std::uint64_t named = 0;
  constexpr std::size_t most = 4;
  for (std::size_t i = 0; i < std::min(keys.size(), most); ++i) {
    if (i != 0) out(", ");
    out(std::uint64_t{keys[i].key}, " (", std::uint64_t{keys[i].slots}, ")");
    named += keys[i].slots;
  }
  if (named < in_all) out(" and others");
  out(".");
}

}  // namespace

std::string_view to_string(finding_kind what) noexcept { return naming_of(what).name; }
std::string_view title(finding_kind what) noexcept { return naming_of(what).title; }

std::string_view to_string(suggested_action what) noexcept {
  static constexpr std::array<std::string_view, 13> names{"nothing",
                                                          "look_again",
                                                          "look_more_often",
                                                          "find_the_handler",
                                                          "find_the_claim",
                                                          "relaunch",
                                                          "authorise_the_tenant",
                                                          "refill_the_quota",
                                                          "answer_the_request",
                                                          "mend_the_arguments",
                                                          "check_for_a_restart",
                                                          "find_the_producer",
                                                          "find_the_load"};
  const auto index = static_cast<std::size_t>(what);
  return index < names.size() ? names[index] : std::string_view();
}

std::string_view to_string(evidence_metric what) noexcept {
  static constexpr std::array<std::string_view, 21> names{
      "nothing",     "looks",          "time_ns",       "patience_ns",         "interval_ns",
      "ring_slots",  "owed_slots",     "waiting_slots", "held_slots",          "blocked_slots",
      "fault_slots", "counted_faults", "drained_slots", "drain_rate",          "usual_drain_rate",
      "heartbeats",  "lanes",          "done_count",    "previous_done_count", "torn_pages",
      "longest_step"};
  const auto index = static_cast<std::size_t>(what);
  return index < names.size() ? names[index] : std::string_view();
}

std::string_view advice(suggested_action what) noexcept {
  switch (what) {
    case suggested_action::nothing:
      return "";
    case suggested_action::sample_again:
      return "Look again in a while.";
    case suggested_action::sample_more_often:
      return "Look more often, or use a larger ring.";
    case suggested_action::find_the_handler:
      return "Find out why the handler of the opcode named does not return with these arguments: "
             "an endless loop, a lock, or work that takes too long for one slot and should yield.";
    case suggested_action::find_the_claim:
      return "Find out why no lane claims them: do the priority offsets (control words 129 to 134) "
             "cover these slots, does some lane own them, or do handlers yield without end?";
    case suggested_action::relaunch:
      return "Look for the kernel's error (a trap, a lost device, a killed process) and launch it "
             "again; what is CLAIMED was begun and not finished.";
    case suggested_action::authorise_the_tenant:
      return "Store a mask other than zero in control word 3 + tenant, or take the slots back. A "
             "tenant over 28, or a TENANT_BASE (word 2) other than 3, is never authorised.";
    case suggested_action::refill_the_quota:
      return "Store tokens in control word 32 + tenant, more or more often: see whether who "
             "refills it still runs.";
    case suggested_action::complete_the_request:
      return "See whether the IO pump still runs and knows the resource (the slot's first "
             "argument): the request stands in the IO queue until it is completed.";
    case suggested_action::mend_the_arguments:
      return "The fault code says why: mend what publishes these arguments. A slot stays in FAULT "
             "until it is reclaimed.";
    case suggested_action::check_for_a_restart:
      return "If the kernel was launched again, begin anew: what was owed before may never have "
             "run. If it was not, something overwrites the control buffer.";
    case suggested_action::find_the_producer:
      return "A producer took a slot and has not published it: see whether its thread is stopped, "
             "swapped out or dead.";
    case suggested_action::find_the_load:
      return "See what takes the lanes' time: heavier work than before, other programs on the same "
             "cores, a lower clock, or lanes held by a slow handler.";
  }
  return "";
}

void diagnosis_text::add(std::string_view more) noexcept {
  size_ += more.copy(text_.data() + size_, text_.size() - size_);
}

void diagnosis_text::add(std::uint64_t number) noexcept {
  std::array<char, 20> digits;
  const auto end = std::to_chars(digits.data(), digits.data() + digits.size(), number).ptr;
  add(std::string_view(digits.data(), static_cast<std::size_t>(end - digits.data())));
}

void diagnosis_text::add(nanoseconds time) noexcept {
  struct unit {
    std::uint64_t size;
    std::string_view name;
  };
  constexpr std::array<unit, 4> units{
      {{1'000'000'000, " s"}, {1'000'000, " ms"}, {1'000, " us"}, {1, " ns"}}};
  const auto value = static_cast<std::uint64_t>(std::max<nanoseconds::rep>(time.count(), 0));
  const auto* fits = &units.back();
  for (const unit& u : units) {
    if (value < u.size) continue;
    fits = &u;
    break;
  }
  add(value / fits->size);
  if (value < 10 * fits->size && fits->size > 1) {  // two digits that count
    add(".");
    add(value % fits->size / (fits->size / 10));
  }
  add(fits->name);
}

diagnosis_text sentence(const finding& of, nanoseconds at) noexcept {
  diagnosis_text text;
  writer out(text);
  const std::uint64_t outstanding = of[evidence_metric::outstanding_slots];
  switch (of.what) {
    case finding_kind::too_early: {
      const std::uint64_t samples = of[evidence_metric::samples];
      out("After ", samples, samples == 1 ? " look" : " looks", " it is too early to say; ");
      out.slots(outstanding, " is owed.", " are owed.");
      break;
    }
    case finding_kind::healthy:
      out.slots(of[evidence_metric::drained_slots], " was drained in ", " were drained in ");
      out(time_of(of, evidence_metric::interval), "; ");
      out.slots(outstanding, " is owed.", " are owed.");
      break;
    case finding_kind::idle:
      out("Nothing is owed: the kernel waits for work.");
      break;
    case finding_kind::stopped:
      out("The kernel left as SHUTDOWN told it; ");
      out.slots(outstanding, " is owed still.", " are owed still.");
      break;
    case finding_kind::slow:
      out("The kernel drains ", of[evidence_metric::drain_rate], " slots/s, not the usual ",
          of[evidence_metric::usual_drain_rate], ", and ");
      out.slots(of[evidence_metric::waiting_slots], " waits for a lane.", " wait for a lane.");
      break;
    case finding_kind::stalled:
      say_stalled(out, of);
      break;
    case finding_kind::unauthorised:
      say_blocked(out, of, "for a tenant mask");
      break;
    case finding_kind::throttled:
      say_blocked(out, of, "for a token of an empty quota");
      break;
    case finding_kind::waiting_for_io:
      say_blocked(out, of, "for an answer to an IO request");
      break;
    case finding_kind::faulted:
      out.slots(of[evidence_metric::fault_slots], " is in FAULT", " are in FAULT");
      if (const std::uint64_t counted = of[evidence_metric::counted_faults]; counted != 0)
        out(", and the kernel counted ", counted, " more since the look before");
      out("; ");
      out.slots(outstanding, " is owed, ", " are owed, ");
      out.slots(of[evidence_metric::drained_slots], " was drained.", " were drained.");
      break;
    case finding_kind::dead: {
      const std::uint64_t lanes = of[evidence_metric::lanes];
      out("The kernel's heartbeat has stood still for ", time_of(of), " and SHUTDOWN is not set: ");
      if (lanes == 0) {
        out("no lane says it is there; ");
      } else {
        out(lanes,
            lanes == 1 ? " lane that says it is there does" : " lanes that say they are there do",
            " not pass; ");
      }
      out.slots(outstanding, " is owed.", " are owed.");
      break;
    }
    case finding_kind::count_regressed:
      out("The done count went back from ", of[evidence_metric::previous_done_count], " to ",
          of[evidence_metric::done_count], ", as after a restart. It is followed from there.");
      break;
    case finding_kind::torn: {
      const std::uint64_t pages = of[evidence_metric::torn_pages];
      out(pages, pages == 1 ? " page" : " pages", " of 32 slots could not be copied whole for ",
          time_of(of), ": somebody stays inside a slot.");
      break;
    }
    case finding_kind::observer_too_slow:
      say_too_seldom(out, of);
      break;
  }
  if (of.clearing) {
    out(" The last look no longer shows it");
    out(" (it began ", detail::elapsed(of.since, at), " ago).");
  }
  return text;
}

diagnosis_text concerned(const finding& of, nanoseconds at) noexcept {
  diagnosis_text text;
  writer out(text);
  if (of.slots.empty()) return text;
  const concerned_slot& first = of.slots[0];
  out(of.slots_in_all == 1 ? "It is slot " : "The longest is slot ",
      std::uint64_t{first.slot.index}, " (");
  if (is_known(first.slot.status)) {
    out(status_word_of(first.slot.status), ", opcode ", std::uint64_t{word(first.slot.op)},
        ", tenant ", std::uint64_t{first.slot.tenant});
    if (first.why != fault_code::unreported) out(", fault code ", std::uint64_t{word(first.why)});
  } else {
    out(status_word_of(first.slot.status));
  }
  out("), for ", detail::elapsed(first.since, at), ".");
  say_keys(out, "Tenant", "Tenants", of.tenants, of.slots_in_all);
  say_keys(out, "Opcode", "Opcodes", of.opcodes, of.slots_in_all);
  return text;
}

}  // namespace megakernel
