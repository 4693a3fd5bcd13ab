// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// What the fuzz targets share: a reader of inputs, copies whose edges the address sanitizer guards,
// and checks that end the program with a sentence. Nothing here knows the library.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <expected>
#include <initializer_list>
#include <memory>
#include <source_location>
#include <span>
#include <string_view>
#include <type_traits>
#include <vector>

#if defined(__has_feature)
#if __has_feature(memory_sanitizer)
#include <sanitizer/msan_interface.h>
#define MEGAKERNEL_FUZZ_MEMORY_SANITIZER
#endif
#endif

namespace fuzz {

using bytes = std::span<const std::uint8_t>;
using words = std::vector<std::uint32_t>;

/// Ends the program unless `holds`. `law` is what should hold, in a sentence.
inline void check(bool holds, const char* law,
                  std::source_location where = std::source_location::current()) {
  if (holds) [[likely]]
    return;
  std::fprintf(stderr, "%s:%u: this does not hold: %s\n", where.file_name(), where.line(), law);
  std::abort();
}

/// Numbers where something changes: counts of things, the edges of opcodes, sign and wrap.
inline constexpr std::array<std::uint32_t, 31> edges{
    256,         257,         639,         640,         1000,        1023,        1024,
    4096,        10'000,      0xFFEF,      0xFFF0,      0xFFFC,      0xFFFD,      0xFFFE,
    0xFFFF,      0x10000,     0x10001,     1'000'000,   1'048'576,   1'048'577,   0x7FFF'FFFF,
    0x8000'0000, 0x8000'0001, 0x8000'0002, 0xFFFF'FF5F, 0xFFFF'FF60, 0xFFFF'FFC0, 0xFFFF'FFF8,
    0xFFFF'FFFD, 0xFFFF'FFFE, 0xFFFF'FFFF};

/// Takes an input apart from its front. Past its end there are zeros, so that every input means
/// something and most mutations change little.
class input {
 public:
  input(const std::uint8_t* data, std::size_t size) : left_(data, size) {}

  [[nodiscard]] bool empty() const { return left_.empty(); }

  /// Little-endian.
  template <class T>
  T take() {
    std::uint64_t value = 0;
    const bytes from = take_bytes(sizeof(T));
    for (std::size_t i = 0; i < from.size(); ++i) value |= std::uint64_t{from[i]} << 8 * i;
    return static_cast<T>(value);
  }
  std::uint8_t byte() { return take<std::uint8_t>(); }
  bool flag() { return (byte() & 1) != 0; }
  /// In [0, limit), of one byte; `limit` is at most 256.
  std::uint32_t below(std::uint32_t limit) { return byte() % limit; }

  /// A word of one byte where it is small or an edge, of five where it is any.
  std::uint32_t number() {
    constexpr std::uint32_t first_edge = 256 - 1 - edges.size();
    const std::uint32_t code = byte();
    if (code < first_edge) return code;
    return code == 255 ? take<std::uint32_t>() : edges[code - first_edge];
  }
  /// As many numbers as the next byte says, less than `limit`.
  words numbers(std::uint32_t limit) {
    words all(below(limit));
    for (std::uint32_t& n : all) n = number();
    return all;
  }

  /// `count` bytes, or what is left.
  bytes take_bytes(std::size_t count) {
    const bytes taken = left_.first(std::min(count, left_.size()));
    left_ = left_.subspan(taken.size());
    return taken;
  }
  bytes rest() { return take_bytes(left_.size()); }

 private:
  bytes left_;
};

/// Bytes in a heap block that ends where they end, and starts where they start or `offset` bytes
/// before: the address sanitizer sees a step too far. They are given, or zero.
class block {
 public:
  explicit block(std::size_t size, std::size_t offset = 0)
      : size_(size), offset_(offset), memory_(new std::uint8_t[size + offset]()) {}
  explicit block(bytes from, std::size_t offset = 0) : block(from.size(), offset) {
    if (!from.empty()) std::memcpy(memory_.get() + offset, from.data(), from.size());
  }

  [[nodiscard]] bytes plain() const { return {memory_.get() + offset_, size_}; }
  [[nodiscard]] std::span<const std::byte> view() const { return std::as_bytes(plain()); }
  [[nodiscard]] std::span<std::byte> writable() {
    return std::as_writable_bytes(std::span(memory_.get() + offset_, size_));
  }
  [[nodiscard]] std::uint8_t& operator[](std::size_t at) { return memory_[offset_ + at]; }

  friend bool operator==(const block& a, const block& b) {
    return std::ranges::equal(a.plain(), b.plain());
  }

 private:
  std::size_t size_;
  std::size_t offset_;
  std::unique_ptr<std::uint8_t[]> memory_;
};

/// A word as it stands in memory, little-endian, and back.
constexpr std::uint32_t little_endian(std::uint32_t word) {
  return std::endian::native == std::endian::little ? word : std::byteswap(word);
}
/// Word `index` of little-endian bytes.
inline std::uint32_t word_at(bytes from, std::size_t index) {
  std::uint32_t word = 0;
  std::memcpy(&word, from.subspan(4 * index, 4).data(), 4);
  return little_endian(word);
}
inline void put_word(std::span<std::uint8_t> to, std::size_t index, std::uint32_t value) {
  const std::uint32_t word = little_endian(value);
  std::memcpy(to.subspan(4 * index, 4).data(), &word, 4);
}
/// `all` from the front of `to`.
inline void put_words(std::span<std::uint8_t> to, std::span<const std::uint32_t> all) {
  if constexpr (std::endian::native == std::endian::little) {
    const std::span<std::uint8_t> room = to.first(all.size_bytes());
    if (!room.empty()) std::memcpy(room.data(), all.data(), room.size());
  } else {
    for (std::size_t i = 0; i < all.size(); ++i) put_word(to, i, all[i]);
  }
}

/// For what takes longer than all the rest, such as sentences: of each of 256 kinds it is due the
/// first 64 times, and then every 64th.
class seldom {
 public:
  bool due(std::size_t kind) {
    const std::uint32_t n = times_[kind]++;
    return n < 64 || n % 64 == 0;
  }

 private:
  std::array<std::uint32_t, 256> times_{};
};
inline seldom sentences_of_codes;

/// Error codes that inputs have led to; the replay programs write them down.
inline std::array<bool, 256> codes_reached{};

/// Whether `got`, an expected value, is a refusal. Its code is noted, its sentence seldom looked
/// at: the target `errors` has every sentence with every figure.
template <class Expected>
bool refused(const Expected& got) {
  if (got.has_value()) return false;
  const auto code = static_cast<std::size_t>(got.error().code);
  codes_reached[code] = true;
  if (!sentences_of_codes.due(code)) return true;
  const auto message = got.error().message();
  const std::string_view text = message.text();
  check(text.size() > 20 && text.ends_with('.') && !text.contains('{') && !text.contains('}') &&
            text.contains(got.error().subject()),
        "a refusal has a whole sentence");
  const auto where = got.error().buffer;
  check(to_string(where).empty() == (where == std::remove_const_t<decltype(where)>{}),
        "a buffer has a name");
  return true;
}

/// Asks that `got` is a refusal with this code or, where `code` is empty, a value. Whether it is a
/// refusal.
template <class Expected>
bool refused_as(const Expected& got, std::string_view code,
                std::source_location where = std::source_location::current()) {
  check(refused(got) == !code.empty(), "what is wrong is refused, and nothing else", where);
  if (!code.empty())
    check(to_string(got.error().code) == code, "the refusal is the first one of its list", where);
  return !code.empty();
}

}  // namespace fuzz

/// What a fuzzer calls with every input, and what a target defines.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);
/// What it calls to make one input out of another; for a target to define whose inputs random
/// changes would spoil. Both return the new size, `most` at most.
extern "C" std::size_t LLVMFuzzerCustomMutator(std::uint8_t* data, std::size_t size,
                                               std::size_t most, unsigned seed);
/// Its random changes, for a mutator to start from.
extern "C" std::size_t LLVMFuzzerMutate(std::uint8_t* data, std::size_t size, std::size_t most);

namespace fuzz {

/// The same, whose bytes are initialised for the memory sanitizer, too: it cannot see what
/// libFuzzer does.
inline std::size_t mutate(std::uint8_t* data, std::size_t size, std::size_t most) {
  const std::size_t made = LLVMFuzzerMutate(data, size, most);
#if defined(MEGAKERNEL_FUZZ_MEMORY_SANITIZER)
  __msan_unpoison(data, made);
#endif
  return made;
}

}  // namespace fuzz
