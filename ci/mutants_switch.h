// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The switch of mutation testing (ci/mutants): every mutant of a file is compiled into it, and one
// of them, or none, is chosen when a program starts. Constant evaluation sees the original.
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

// Each operator as a function: its operands are written, and evaluated, once.

#define MEGAKERNEL_MUTANT(name, original, other)                      \
  template <class A, class B>                                         \
  constexpr auto name(unsigned n, const A& a, const B& b) noexcept {  \
    if (on(n)) return static_cast<decltype(a original b)>(a other b); \
    return a original b;                                              \
  }
MEGAKERNEL_MUTANT(lt, <, <=)
MEGAKERNEL_MUTANT(le, <=, <)
MEGAKERNEL_MUTANT(gt, >, >=)
MEGAKERNEL_MUTANT(ge, >=, >)
MEGAKERNEL_MUTANT(eq, ==, !=)
MEGAKERNEL_MUTANT(ne, !=, ==)
MEGAKERNEL_MUTANT(add, +, -)
MEGAKERNEL_MUTANT(sub, -, +)
MEGAKERNEL_MUTANT(mul, *, +)
MEGAKERNEL_MUTANT(div, /, *)
MEGAKERNEL_MUTANT(rem, %, /)
MEGAKERNEL_MUTANT(shl, <<, >>)
MEGAKERNEL_MUTANT(shr, >>, <<)
MEGAKERNEL_MUTANT(band, &, |)
MEGAKERNEL_MUTANT(bor, |, &)
MEGAKERNEL_MUTANT(bxor, ^, |)
#undef MEGAKERNEL_MUTANT

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

#define MEGAKERNEL_MUTANT_ASSIGN(name, original, other)      \
  template <class A, class B>                                \
  constexpr A& name(unsigned n, A& a, const B& b) noexcept { \
    return on(n) ? (a other b) : (a original b);             \
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
