// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// What the property tests share: generators that reach boundaries, byte buffers of any alignment,
// and a way to say where two decodings differ. Nothing here knows the library.
#pragma once

#include <rapidcheck.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <ostream>
#include <span>
#include <sstream>
#include <string>
#include <string_view>
#include <vector>

#include "oracle_decoder.h"

namespace props {

using bytes = std::vector<unsigned char>;

/// Words where something changes: counts of things, the system opcodes' edges, sign and wrap.
inline const std::vector<std::uint32_t>& edge_words() {
  static const std::vector<std::uint32_t> edges = [] {
    std::vector<std::uint32_t> all{
        0,   1,   2,           3,           4,           5,           6,          7,   8,
        12,  13,  28,          29,          31,          32,          127,        128, 255,
        256, 160, 0x7FFFFFFFu, 0x80000000u, 0x80000001u, 0xFFFFFFFEu, 0xFFFFFFFFu};
    for (std::uint32_t op = 0xFFEF; op <= 0x10000; ++op) all.push_back(op);
    return all;
  }();
  return edges;
}

/// RapidCheck's own integers follow the test's size and so seldom are large; these do not.
template <class T>
rc::Gen<T> uniform() {
  return rc::gen::resize(rc::kNominalSize, rc::gen::arbitrary<T>());
}

/// Uniform in [low, high], whatever the size of the test.
template <class T>
rc::Gen<T> between(T low, T high) {
  return rc::gen::resize(rc::kNominalSize, rc::gen::inRange<T>(low, static_cast<T>(high + 1)));
}

inline rc::Gen<std::uint32_t> any_word() {
  return rc::gen::weightedOneOf<std::uint32_t>({{4, rc::gen::elementOf(edge_words())},
                                                {2, between<std::uint32_t>(0, 20)},
                                                {2, uniform<std::uint32_t>()}});
}

/// Cheap numbers for buffers of thousands of words: a test draws the seed and a shape, which is
/// what RapidCheck shrinks and shows.
class prng {
 public:
  explicit prng(std::uint64_t seed) : state_(seed) {}
  std::uint64_t next() {
    std::uint64_t z = state_ += 0x9E3779B97F4A7C15u;
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9u;
    z = (z ^ z >> 27) * 0x94D049BB133111EBu;
    return z ^ z >> 31;
  }
  std::uint32_t below(std::size_t n) { return static_cast<std::uint32_t>(next() % n); }
  bool one_in(std::uint32_t n) { return below(n) == 0; }
  std::uint32_t word() {
    return one_in(2) ? pick(edge_words()) : static_cast<std::uint32_t>(next());
  }
  template <class T>
  const T& pick(const std::vector<T>& from) {
    return from[below(from.size())];
  }

 private:
  std::uint64_t state_;
};

/// A copy of some bytes whose first is `offset` bytes past an aligned address and whose last is
/// the last of its block, where the address sanitizer sees a step too far.
class placed {
 public:
  placed(std::span<const unsigned char> from, std::size_t offset) : offset_(offset) {
    block_.resize(offset + from.size());
    std::copy(from.begin(), from.end(), block_.begin() + static_cast<std::ptrdiff_t>(offset));
  }
  [[nodiscard]] std::span<const unsigned char> plain() const {
    return std::span(block_).subspan(offset_);
  }
  [[nodiscard]] std::span<const std::byte> view() const { return std::as_bytes(plain()); }

 private:
  bytes block_;
  std::size_t offset_;
};

inline void put(std::span<unsigned char> to, std::size_t index, std::uint32_t value) {
  for (std::size_t i = 0; i < 4; ++i)
    to[4 * index + i] = static_cast<unsigned char>(value >> 8 * i);
}

inline bytes to_bytes(std::span<const std::uint32_t> words) {
  bytes out(words.size() * 4);
  for (std::size_t i = 0; i < words.size(); ++i) put(out, i, words[i]);
  return out;
}

inline bytes to_bytes(std::span<const std::byte> from) {
  bytes out;
  for (const std::byte b : from) out.push_back(static_cast<unsigned char>(b));
  return out;
}

/// `words` words of 32 bits whose first byte is aligned for them, as bytes that can be written.
inline std::span<std::byte> writable(std::vector<std::uint32_t>& words) {
  return std::as_writable_bytes(std::span(words));
}

/// Arbitrary bytes: each an edge or uniform.
inline bytes noise(prng& d, std::size_t count) {
  bytes out(count);
  for (unsigned char& b : out)
    b = d.one_in(2) ? static_cast<unsigned char>(d.below(9)) : static_cast<unsigned char>(d.next());
  return out;
}

/// Where `a` and `b` differ first; empty where they do not.
template <class T>
std::string difference(const char* what, const std::vector<T>& a, const std::vector<T>& b) {
  std::ostringstream out;
  if (a.size() != b.size()) {
    out << what << ": " << a.size() << " against " << b.size();
    return out.str();
  }
  for (std::size_t i = 0; i < a.size(); ++i) {
    if (a[i] == b[i]) continue;
    out << what << '[' << i << "] differs";
    return out.str();
  }
  return {};
}

inline std::string difference(const oracle::decoded& a, const oracle::decoded& b) {
  if (a.error != b.error) {
    std::string both = "error: ";
    return both.append(a.error).append(" against ").append(b.error);
  }
  if (a.control != b.control) return "control";
  if (a.occupancy != b.occupancy) return "occupancy";
  if (auto slots = difference("slots", a.slots, b.slots); !slots.empty()) return slots;
  return difference("windows", a.windows, b.windows);
}

/// Whether `got`, an expected value, is a refusal equal to `wanted`.
template <class Expected, class Error>
bool refused(const Expected& got, const Error& wanted) {
  return !got.has_value() && got.error() == wanted;
}

/// The code of a refusal; zero, which is none, for a value.
template <class Expected>
auto code_of(const Expected& got) {
  return got.has_value() ? decltype(got.error().code){} : got.error().code;
}

/// Whether `got` is a value equal to `wanted`.
template <class Expected, class Value>
bool holds(const Expected& got, const Value& wanted) {
  return got.has_value() && *got == wanted;
}

/// Fails the property unless `what` is empty.
inline void expect_none(const std::string& what) {
  if (!what.empty()) RC_FAIL(what);
}

}  // namespace props
