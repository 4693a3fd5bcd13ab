// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// A ring over many samples: an input says what changes between samples and when they
// are taken. The tracker's report is the model's; what is diagnosed is of the ring that was looked
// at, and said in sentences. docs/protocol.md#health-delta docs/protocol.md#health-tracker
#include <chrono>
#include <optional>
#include <tuple>
#include <utility>

#include "failing_heap.h"
#include "fuzz.h"
#include "refusal.h"
#include "tracker_model.h"

#include "megakernel_import.h"

namespace mk = megakernel;
namespace model = props::tracker;
using std::chrono::nanoseconds;

namespace {

/// A kernel's memory, in words.
struct kernel_words {
  std::array<std::uint32_t, 160> control{};
  std::vector<std::array<std::uint32_t, 16>> slots{};
};

void check_texts(const mk::finding& f, nanoseconds at) {
  const auto said = mk::sentence(f, at);
  fuzz::check(said.text().size() > 10 && said.text().ends_with('.'), "a finding is a sentence");
  const auto concerned = mk::concerned(f, at);
  fuzz::check(concerned.text().empty() == f.slots.empty() || concerned.text().ends_with('.'),
              "whom it concerns is a sentence, or nothing");
  fuzz::check(
      !to_string(f.what).empty() && !title(f.what).empty() && !to_string(f.what_to_try).empty(),
      "a finding and its remedy have names");
  fuzz::check(advice(f.what_to_try).empty() == (f.what_to_try == mk::suggested_action::nothing),
              "a remedy is advised");
  for (const mk::evidence_item& figure : f.evidence)
    fuzz::check(!to_string(figure.what).empty() && f[figure.what] == figure.found,
                "evidence is found by its name");
}

/// What a finding says of slots is so.
void check_slots(const mk::finding& f, const mk::ring_telemetry& telemetry) {
  fuzz::check(f.slots_in_all >= f.slots.size() && f.slots_in_all <= telemetry.slots().size(),
              "no more slots are concerned than there are");
  std::uint64_t of_tenants = 0;
  for (const mk::concerned_key& key : f.tenants) of_tenants += key.slots;
  fuzz::check(of_tenants <= f.slots_in_all, "a slot has one tenant");
  if (f.clearing) return;  // of a sample before
  for (const mk::concerned_slot& s : f.slots) {
    fuzz::check(
        s.slot.index < telemetry.slots().size() && s.slot == telemetry.slots()[s.slot.index],
        "a slot that is named is as it was seen");
  }
  const bool faulted = f.what == mk::finding_kind::faulted;
  fuzz::check(!faulted || f.slots_in_all == telemetry.occupancy().fault,
              "all slots in FAULT are counted");
}

void check_diagnosis(const mk::diagnosis& d, const mk::ring_telemetry& telemetry, nanoseconds at) {
  fuzz::check(!d.findings.empty() && d.at == at, "there is always a finding");
  fuzz::check(d.secondary().size() + 1 == d.findings.size() && &d.primary() == &d.findings[0],
              "one of them is the first");
  bool alarm = false, part = false;
  for (const mk::finding& f : d.findings) {
    check_texts(f, at);
    check_slots(f, telemetry);
    alarm |= mk::is_alarm(f.what);
    fuzz::check(f.kernel_wide || &f != &d.findings[0], "the first is of the ring as a whole");
    fuzz::check(!(part && f.kernel_wide), "parts come last");
    part |= !f.kernel_wide;
    fuzz::check(d.find(f.what) != nullptr, "a finding is found");
  }
  fuzz::check(d.alarm() == alarm, "an alarm is one of the findings");
  const bool owes = telemetry.occupancy().active() != 0;
  fuzz::check(d.find(mk::finding_kind::idle) == nullptr || !owes, "what owes work is not idle");
}

class ward {
 public:
  ward(std::uint32_t slots, const mk::diagnosis_options& options, unsigned failing_allocation)
      : control_(640),
        ring_(std::size_t{64} * slots),
        tracker_(options.hold_time),
        diagnostician_(options),
        model_(options.hold_time.count()),
        failing_allocation_(failing_allocation) {
    fuzz::check(diagnostician_.options().hold_time == options.hold_time &&
                    diagnostician_.options().samples == options.samples,
                "options are those given");
    kernel.slots.resize(slots);
    kernel.control[2] = 3;
    kernel.control[141] = 1;
    for (std::size_t t = 0; t < 8; ++t) kernel.control[3 + t] = kernel.control[32 + t] = 1;
  }

  ward(const ward&) = delete;
  ward& operator=(const ward&) = delete;

  kernel_words kernel;

  void resize(std::uint32_t slots) {
    kernel.slots.resize(slots);
    ring_ = fuzz::block(std::size_t{64} * slots);
  }

  void observe(nanoseconds at, bool with_ring, std::span<const std::uint32_t> torn) {
    fuzz::put_words({&control_[0], 640}, kernel.control);
    for (std::size_t s = 0; s < kernel.slots.size(); ++s)
      fuzz::put_words({&ring_[64 * s], 64}, kernel.slots[s]);
    std::swap(before_, now_);
    fuzz::check(now_->decode(control_.view(), ring_.view()).has_value(), "a ring decodes");
    const mk::ring_telemetry& now = *now_;
    compare();

    // Of the first three allocations two are the tracker's.
    const unsigned nth = std::exchange(failing_allocation_, 0);
    const auto tracked = [&] {
      const fuzz::short_memory scarce(nth < 3 ? nth : 0);
      return tracker_.observe(now, at);
    }();
    if (fuzz::short_memory::ran_out()) {
      fuzz::refused_as(tracked, "out_of_memory");
      return;
    }
    fuzz::refused(tracked);
    fuzz::check(model::reported(tracked) == model_.observe(kernel, at.count()),
                "the tracker's report is the model's");
    if (!tracked && tracked.error().code == mk::error_code::done_count_regressed &&
        kernel.control[128] % 2 != 0) {
      tracker_.take_up_count();
      model_.take_up_count();
    }
    const auto diagnose = [&](unsigned failing) {
      const fuzz::short_memory scarce(failing);
      return diagnostician_.observe(now, at, torn,
                                    with_ring ? ring_.view() : std::span<const std::byte>());
    };
    auto made = diagnose(nth < 3 ? 0 : nth - 2);
    if (fuzz::short_memory::ran_out()) {
      fuzz::refused_as(made, "out_of_memory");
      made = diagnose(0);  // as if it had not been asked before
    }
    const bool back = !tracked && tracked.error().code == mk::error_code::done_count_regressed;
    const bool for_the_first_time = back && !regressed_;
    regressed_ |= back;
    if (fuzz::refused(made)) {
      fuzz::check(regressed_ || (!tracked && made.error() == tracked.error()),
                  "a diagnosis is refused where tracking is");
      return;
    }
    check_diagnosis(*made, now, at);
    if (for_the_first_time)
      fuzz::check(made->find(mk::finding_kind::count_regressed) != nullptr ||
                      made->find(mk::finding_kind::observer_too_slow) != nullptr,
                  "a count that went back is a finding");
    if (!regressed_)
      fuzz::check(model::reported(mk::result<mk::health_report>(diagnostician_.health())) ==
                      model::reported(tracked),
                  "a diagnosis is made of what a tracker says");
  }

 private:
  /// Two snapshots, without a history.
  void compare() const {
    const auto got = mk::health_since(before_->summary(), now_->summary());
    const std::uint32_t done = kernel.control[1];
    const bool back = done < before_->control().done_count();
    if (!fuzz::refused_as(got, back ? fuzz::refusal{"done_count_regressed", 1, done,
                                                    before_->control().done_count()}
                                    : fuzz::refusal{})) {
      const mk::runtime_counters c = now_->summary().counters();
      const std::uint32_t delta = done - before_->control().done_count();
      fuzz::check(*got == mk::health_delta{.done_delta = delta,
                                           .queue_depth = c.queue_depth,
                                           .fault_slots = c.fault_slots,
                                           .requeue_slots = c.requeue_slots,
                                           .gpu_idle_ppm = c.gpu_idle_ppm,
                                           .suspected_stall = c.queue_depth > 0 && delta == 0 &&
                                                              c.fault_slots == 0},
                  "health is what changed, and how it is now");
    }
  }

  fuzz::block control_;
  fuzz::block ring_;
  std::array<mk::ring_telemetry, 2> samples_;
  mk::ring_telemetry* before_ = &samples_[0];
  mk::ring_telemetry* now_ = &samples_[1];
  mk::health_tracker tracker_;
  mk::diagnostician diagnostician_;
  model::model<kernel_words> model_;
  unsigned failing_allocation_;
  bool regressed_ = false;  // from then on tracker and diagnostician count apart
};

/// Time that passes: none, a little, or any.
nanoseconds time_from(fuzz::input& in) {
  constexpr std::array<std::int64_t, 7> units{
      0, 1, 1'000, 1'000'000, 50'000'000, 1'000'000'000, 100'000'000'000};
  const std::uint32_t kind = in.below(8);
  return nanoseconds(kind == 7 ? in.take<std::int64_t>() : units[kind] * in.byte());
}

/// A stamp that much later; the last there is where it would be later.
nanoseconds after(nanoseconds at, nanoseconds step) {
  std::int64_t sum = 0;
  if (__builtin_add_overflow(at.count(), step.count(), &sum)) return nanoseconds::max();
  return nanoseconds(sum);
}

void change_slots(ward& of, fuzz::input& in) {
  if (of.kernel.slots.empty()) return;
  const std::uint32_t word = in.below(12) == 11 ? 15 : in.below(7);
  const std::size_t first = in.byte() % of.kernel.slots.size();
  const std::size_t count = in.below(40) + 1;
  const std::uint32_t value = in.number();
  const std::uint32_t step = in.below(2);
  for (std::size_t s = first; s < std::min(first + count, of.kernel.slots.size()); ++s)
    of.kernel.slots[s][word] = value + step * static_cast<std::uint32_t>(s);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const fuzz::balanced_memory balance;
  fuzz::input in(data, size);
  const std::uint32_t slots = in.below(80);
  const nanoseconds hold_time = time_from(in);
  const mk::diagnosis_options options{.hold_time = std::max(hold_time, nanoseconds()),
                                      .samples = in.below(5)};
  fuzz::check(mk::diagnosis().secondary().empty() && !mk::diagnosis().alarm(),
              "where nothing was found there is nothing else");
  ward patient(slots, options, in.below(16) == 15 ? in.below(5) : 0);
  auto& control = patient.kernel.control;
  nanoseconds at = time_from(in);
  std::uint32_t samples = 0;
  constexpr std::uint32_t most_samples = 64;
  while (!in.empty() && samples < most_samples) {
    switch (in.below(6)) {
      case 0:
        change_slots(patient, in);
        break;
      case 1: {
        const std::size_t word = in.byte() % 160;
        control[word] = in.number();
        break;
      }
      case 2:
        control[143] += in.number();  // faults
        break;
      case 3:
        control[145] += in.number();  // throttled
        break;
      case 5:
        patient.resize(in.below(80));
        break;
      default: {
        // So many samples, between which the same happens.
        const std::uint32_t count = in.below(24) + 1;
        const std::uint32_t done = in.number();
        const std::uint32_t beats = in.below(3);
        const nanoseconds step = time_from(in);
        const std::array<std::uint32_t, 4> pages{0, 1, 2, 7};
        const auto torn = std::span(pages).first(in.below(5));
        const bool with_ring = in.flag();
        for (std::uint32_t i = 0; i < count && samples < most_samples; ++i, ++samples) {
          control[1] += done;
          control[142] += beats;
          at = after(at, step);
          patient.observe(at, with_ring, torn);
        }
      }
    }
  }
  return 0;
}
