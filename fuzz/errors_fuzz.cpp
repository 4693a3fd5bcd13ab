// Refusals (SPEC 8): any code with any figures, and any value of the other enumerations that have
// names. What is said is a whole sentence with its figures; what is no code has a sentence, too.
#include <string>

#include "fuzz.h"

#include "megakernel_import.h"

namespace mk = megakernel;

namespace {

std::uint64_t figure_from(fuzz::input& in) {
  return in.flag() ? in.take<std::uint64_t>() : in.number();
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
  fuzz::check((name(e.code) != "unknown_error") == known, "what is a code has a name of its own");
  const bool numbered = e.code == mk::error_code::ring_full ||
                        e.code == mk::error_code::limit_zero ||
                        e.code == mk::error_code::policy_out_of_range;
  fuzz::check(e.subject().empty() || numbered, "a subject is that of what is numbered");
}

/// Names are of lower-case letters, one a value; what is no value has none.
template <class Enumeration>
void check_names(std::uint8_t value, std::size_t count) {
  const std::string_view named = name(static_cast<Enumeration>(value));
  fuzz::check(named.empty() == (value >= count), "every value has a name, and nothing else");
  for (std::size_t other = 0; other < count; ++other)
    fuzz::check(other == value || named.empty() || name(static_cast<Enumeration>(other)) != named,
                "no name is given twice");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  fuzz::input in(data, size);
  const std::uint32_t code = in.number();
  const std::uint8_t value = in.byte();
  check_error({.code = static_cast<mk::error_code>(code),
               .buffer = static_cast<mk::buffer>(in.below(7)),
               .index = figure_from(in),
               .found = figure_from(in),
               .bound = figure_from(in)});
  check_names<mk::verdict>(value, 7);
  check_names<mk::ailment>(value, mk::ailments);
  check_names<mk::remedy>(value, 13);
  check_names<mk::measure>(value, 21);
  check_names<mk::launch_topology>(value, 6);
  check_names<mk::queue_pressure>(value, 4);
  check_names<mk::execution_mode>(value, 2);
  fuzz::check(name(static_cast<mk::buffer>(value)).empty() == (value == 0 || value > 6),
              "every buffer has a name, and nothing else");
  fuzz::check(title(static_cast<mk::ailment>(value)).empty() == (value >= mk::ailments),
              "every ailment has a title");
  fuzz::check(advice(static_cast<mk::remedy>(value)).empty() == (value == 0 || value >= 13),
              "every remedy but none is advised");
  return 0;
}
