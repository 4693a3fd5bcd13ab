// The switch of mutation testing (ci/mutants): every mutant of a file is compiled into it, and one of
// them, or none, is chosen when a program starts. Constant evaluation sees the original.
#pragma once

#if defined(__clang__)
#pragma clang diagnostic push
#pragma clang diagnostic ignored "-Weverything"
#endif

/// The chosen mutant; 0: none. From the environment: MEGAKERNEL_MUTANT.
extern "C" unsigned megakernel_mutant;
/// Which of them this run has come by.
extern "C" unsigned char megakernel_mutants_reached[];

namespace megakernel_mutants {

constexpr bool on(unsigned n) noexcept {
  if consteval {
    return false;
  } else {
    megakernel_mutants_reached[n] = 1;
    return megakernel_mutant == n;
  }
}

// Each operator as a function: its operands are written, and evaluated, once. `n` and the numbers
// after it choose what stands in its place.

#define MEGAKERNEL_MUTANT_1(name, original, first)                         \
  template <class A, class B>                                              \
  constexpr auto name(unsigned n, const A& a, const B& b) noexcept {       \
    if (on(n)) return static_cast<decltype(a original b)>(a first b);      \
    return a original b;                                                   \
  }
#define MEGAKERNEL_MUTANT_2(name, original, first, second)                 \
  template <class A, class B>                                              \
  constexpr auto name(unsigned n, const A& a, const B& b) noexcept {       \
    if (on(n)) return a first b;                                           \
    if (on(n + 1)) return a second b;                                      \
    return a original b;                                                   \
  }
MEGAKERNEL_MUTANT_2(lt, <, <=, >=)
MEGAKERNEL_MUTANT_2(le, <=, <, >)
MEGAKERNEL_MUTANT_2(gt, >, >=, <=)
MEGAKERNEL_MUTANT_2(ge, >=, >, <)
MEGAKERNEL_MUTANT_1(eq, ==, !=)
MEGAKERNEL_MUTANT_1(ne, !=, ==)
MEGAKERNEL_MUTANT_1(add, +, -)
MEGAKERNEL_MUTANT_1(sub, -, +)
MEGAKERNEL_MUTANT_1(mul, *, +)
MEGAKERNEL_MUTANT_1(shl, <<, >>)
MEGAKERNEL_MUTANT_1(shr, >>, <<)
MEGAKERNEL_MUTANT_1(band, &, |)
MEGAKERNEL_MUTANT_1(bor, |, &)
MEGAKERNEL_MUTANT_1(bxor, ^, |)
#undef MEGAKERNEL_MUTANT_1
#undef MEGAKERNEL_MUTANT_2

template <class A, class B>
constexpr auto div(unsigned n, const A& a, const B& b) noexcept {
  return on(n) ? static_cast<decltype(a / b)>(a * b) : a / b;
}
template <class A, class B>
constexpr auto rem(unsigned n, const A& a, const B& b) noexcept {
  return on(n) ? static_cast<decltype(a % b)>(a / b) : a % b;
}

/// A number, or the next one.
template <class T>
constexpr T number(unsigned n, T value) noexcept {
  return on(n) ? static_cast<T>(value + 1) : value;
}
/// An enumerator, or another.
template <class E>
constexpr E enumerator(unsigned n, E value, E other) noexcept {
  return on(n) ? other : value;
}

#define MEGAKERNEL_MUTANT_ASSIGN(name, original, other)               \
  template <class A, class B>                                         \
  constexpr A& name(unsigned n, A& a, const B& b) noexcept {          \
    return on(n) ? (a other b) : (a original b);                      \
  }
MEGAKERNEL_MUTANT_ASSIGN(add_assign, +=, -=)
MEGAKERNEL_MUTANT_ASSIGN(sub_assign, -=, +=)
MEGAKERNEL_MUTANT_ASSIGN(or_assign, |=, &=)
MEGAKERNEL_MUTANT_ASSIGN(and_assign, &=, |=)
MEGAKERNEL_MUTANT_ASSIGN(xor_assign, ^=, |=)
#undef MEGAKERNEL_MUTANT_ASSIGN

}  // namespace megakernel_mutants

#if defined(__clang__)
#pragma clang diagnostic pop
#endif
