// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Refusals: any code with any figures, and any value of the other enumerations that have
// names. What is said is a whole sentence with its figures; what is no code has a sentence, too.
// docs/protocol.md#error-value
#include <charconv>

#include "fuzz.h"

#include "megakernel_import.h"

namespace mk = megakernel;

namespace {

std::uint64_t figure_from(fuzz::input& in) {
  return in.flag() ? in.take<std::uint64_t>() : in.number();
}

// No string: the memory sanitizer would have to see into the standard library.
using letters = std::vector<char>;

letters replaced(const letters& text, std::string_view what, std::uint64_t by) {
  std::array<char, 20> digits{};
  const std::string_view written(
      digits.data(), std::to_chars(digits.data(), digits.data() + digits.size(), by).ptr);
  letters out;
  for (auto at = text.begin();;) {
    const auto found = std::search(at, text.end(), what.begin(), what.end());
    out.insert(out.end(), at, found);
    if (found == text.end()) return out;
    out.insert(out.end(), written.begin(), written.end());
    at = found + static_cast<std::ptrdiff_t>(what.size());
  }
}

/// Whatever the figures are, the sentence is that of other figures, with these in their places.
void check_figures(const mk::error& e, bool numbered) {
  constexpr std::string_view ones = "1111111111111111111";
  constexpr std::string_view twos = "2222222222222222222";
  constexpr std::string_view threes = "3333333333333333333";
  mk::error other = e;
  if (!numbered) other.index = 1'111'111'111'111'111'111;
  other.found = 2'222'222'222'222'222'222;
  other.bound = 3'333'333'333'333'333'333;
  if (e.found >= e.bound) std::swap(other.found, other.bound);
  const bool below = e.found < e.bound;
  const auto message = other.message();
  letters wanted(message.text().begin(), message.text().end());
  wanted = replaced(wanted, ones, e.index);
  wanted = replaced(wanted, twos, below ? e.found : e.bound);
  wanted = replaced(wanted, threes, below ? e.bound : e.found);
  const std::string_view said(wanted.data(), wanted.size());
  fuzz::check(e.message().text() == said, "every figure stands where it belongs");
  if (e.code == mk::error_code::policy_out_of_range)
    fuzz::check(said.contains(below ? "at least" : "at most"), "a bound has a side");
  if (e.code == mk::error_code::deadline_passed) {
    const std::string_view starts = e.buffer == mk::buffer::ring      ? "Slot "
                                    : e.buffer == mk::buffer::control ? "Control word "
                                    : e.buffer == mk::buffer::none    ? "3333333333333333333 lanes"
                                                                      : "The wait ended";
    fuzz::check(other.message().text().starts_with(starts) ||
                    (below && other.message().text().starts_with("2222222222222222222 lanes")),
                "what was waited for is said");
  }
}

/// Sentences that are known by heart: each figure stands for what it is.
void check_by_heart() {
  const auto says = [](const mk::error& e, std::string_view text) {
    fuzz::check(e.message().text().starts_with(text), "a sentence is as it is known by heart");
  };
  says({.code = mk::error_code::control_missing_word,
        .buffer = mk::buffer::control,
        .index = 128,
        .bound = 127},
       "Control word 128 was asked for, but the buffer has only 127 words. ");
  says({.code = mk::error_code::control_too_short,
        .buffer = mk::buffer::control,
        .found = 636,
        .bound = 640},
       "The control buffer has 636 bytes but needs at least 640. ");
}

/// What has a number has a name, and nothing past the last one.
void check_subject(const mk::error& e) {
  const std::uint64_t count = e.code == mk::error_code::ring_full             ? 9
                              : e.code == mk::error_code::limit_zero          ? 3
                              : e.code == mk::error_code::policy_out_of_range ? 11
                                                                              : 0;
  fuzz::check(e.subject().empty() == (e.index >= count), "what is numbered has a name");
  for (mk::error other = e; other.index-- > 0 && other.index < count;)
    fuzz::check(e.subject() != other.subject(), "and no other has the same");
}

void check_error(const mk::error& e) {
  const auto message = e.message();
  const std::string_view said = message.text();
  fuzz::check(said.size() > 20 && said.size() < 320 && said.ends_with('.'),
              "a sentence is whole, however large its figures are");
  fuzz::check(said.find_first_of("{}") == std::string_view::npos, "every figure is filled in");
  fuzz::check(said.contains(e.subject()), "a subject is named");
  const auto code = static_cast<std::size_t>(e.code);
  const bool known = code >= 1 && code <= mk::error_codes;
  fuzz::check((to_string(e.code) != "unknown_error") == known,
              "what is a code has a name of its own");
  const bool numbered = e.code == mk::error_code::ring_full ||
                        e.code == mk::error_code::limit_zero ||
                        e.code == mk::error_code::policy_out_of_range;
  fuzz::check(e.subject().empty() || numbered, "a subject is that of what is numbered");
  check_subject(e);
  check_figures(e, numbered);
}

/// Names are of lower-case letters, one a value; what is no value has none.
template <class Enumeration>
void check_names(std::uint8_t value, std::size_t count) {
  const std::string_view named = to_string(static_cast<Enumeration>(value));
  fuzz::check(named.empty() == (value >= count), "every value has a name, and nothing else");
  for (std::size_t other = 0; other < count; ++other)
    fuzz::check(
        other == value || named.empty() || to_string(static_cast<Enumeration>(other)) != named,
        "no name is given twice");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  fuzz::input in(data, size);
  check_by_heart();
  const std::uint32_t code = in.number();
  const std::uint8_t value = in.byte();
  check_error({.code = static_cast<mk::error_code>(code),
               .buffer = static_cast<mk::buffer>(in.below(7)),
               .index = figure_from(in),
               .found = figure_from(in),
               .bound = figure_from(in)});
  check_names<mk::kernel_state>(value, mk::kernel_states);
  check_names<mk::finding_kind>(value, mk::finding_kinds);
  check_names<mk::suggested_action>(value, 13);
  check_names<mk::evidence_metric>(value, 21);
  check_names<mk::launch_topology>(value, 6);
  check_names<mk::queue_pressure>(value, 4);
  check_names<mk::execution_mode>(value, 2);
  fuzz::check(to_string(static_cast<mk::buffer>(value)).empty() == (value == 0 || value > 6),
              "every buffer has a name, and nothing else");
  fuzz::check(title(static_cast<mk::finding_kind>(value)).empty() == (value >= mk::finding_kinds),
              "every ailment has a title");
  fuzz::check(
      advice(static_cast<mk::suggested_action>(value)).empty() == (value == 0 || value >= 13),
      "every remedy but none is advised");
  return 0;
}
