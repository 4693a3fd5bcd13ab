// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// What this machine can do at best with the bytes a decoder reads and writes: the floor under
// every figure of the benchmarks. Several ways each; the fastest one counts.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace ceilings {

/// Reads every byte in order and folds them, so that no load can be left out.
inline std::uint64_t read_portable(std::span<const std::byte> bytes) {
  std::uint64_t fold[8] = {};
  for (std::size_t i = 0; i + 64 <= bytes.size(); i += 64) {
    std::uint64_t line[8];
    std::memcpy(line, bytes.data() + i, sizeof line);
    for (int k = 0; k < 8; ++k) fold[k] |= line[k];
  }
  std::uint64_t all = 0;
  for (const std::uint64_t f : fold) all |= f;
  return all;
}

inline void write_memset(std::span<std::byte> bytes) { std::memset(bytes.data(), 1, bytes.size()); }

#if defined(__x86_64__)
/// `ahead` bytes of prefetch, because the hardware's own stops at each page. The last lines ask
/// for memory past the end, which is only a hint.
template <std::size_t Ahead>
__attribute__((target("avx512f"), noinline)) inline std::uint64_t read_avx512(
    std::span<const std::byte> bytes) {
  const std::byte* const base = bytes.data();
  __m512i fold[4] = {};
  for (std::size_t i = 0; i + 256 <= bytes.size(); i += 256) {
    for (std::size_t k = 0; k < 4; ++k) {
      if constexpr (Ahead != 0) _mm_prefetch(base + i + 64 * k + Ahead, _MM_HINT_T0);
      fold[k] = _mm512_or_si512(fold[k], _mm512_loadu_si512(base + i + 64 * k));
    }
  }
  return static_cast<std::uint64_t>(_mm512_reduce_or_epi64(
      _mm512_or_si512(_mm512_or_si512(fold[0], fold[1]), _mm512_or_si512(fold[2], fold[3]))));
}

template <std::size_t Ahead>
__attribute__((target("avx2"), noinline)) inline std::uint64_t read_avx2(
    std::span<const std::byte> bytes) {
  const std::byte* const base = bytes.data();
  __m256i fold[4] = {};
  for (std::size_t i = 0; i + 128 <= bytes.size(); i += 128) {
    if constexpr (Ahead != 0) {
      _mm_prefetch(base + i + Ahead, _MM_HINT_T0);
      _mm_prefetch(base + i + 64 + Ahead, _MM_HINT_T0);
    }
    for (std::size_t k = 0; k < 4; ++k) {
      fold[k] = _mm256_or_si256(
          fold[k], _mm256_loadu_si256(reinterpret_cast<const __m256i*>(base + i + 32 * k)));
    }
  }
  const __m256i all =
      _mm256_or_si256(_mm256_or_si256(fold[0], fold[1]), _mm256_or_si256(fold[2], fold[3]));
  return static_cast<std::uint64_t>(_mm256_extract_epi64(all, 0) | _mm256_extract_epi64(all, 1) |
                                    _mm256_extract_epi64(all, 2) | _mm256_extract_epi64(all, 3));
}

/// Stores past the caches.
inline void write_streaming(std::span<std::byte> bytes) {
  const __m128i ones = _mm_set1_epi32(1);
  for (std::size_t i = 0; i + 64 <= bytes.size(); i += 64) {
    for (std::size_t k = 0; k < 64; k += 16)
      _mm_stream_si128(reinterpret_cast<__m128i*>(bytes.data() + i + k), ones);
  }
  _mm_sfence();
}
#endif

}  // namespace ceilings
