// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
module;
#include <cstddef>
#include <cstring>
#if defined(__SSE2__)
#include <emmintrin.h>
#endif
module megakernel.decoder:stream;

/// Stores past the caches: output that does not fit in them would push out what does, and each of
/// its lines would be read before it is written.
namespace megakernel::detail {

/// Output over this many bytes is streamed.
inline constexpr std::size_t streaming_bytes = std::size_t{1} << 20;

/// Copies `Bytes`, a multiple of 16, to `to`, which is 16-byte aligned.
template <std::size_t Bytes>
inline void stream(void* to, const void* from) noexcept {
#if defined(__SSE2__)
  static_assert(Bytes % sizeof(__m128i) == 0);
  auto* const out = static_cast<__m128i*>(to);
  for (std::size_t i = 0; i < Bytes / sizeof(__m128i); ++i) {
    __m128i part;
    std::memcpy(&part, static_cast<const std::byte*>(from) + i * sizeof part, sizeof part);
    _mm_stream_si128(out + i, part);
  }
#else
  std::memcpy(to, from, Bytes);
#endif
}

/// Orders streamed stores before whatever the caller does next.
inline void finish_streaming() noexcept {
#if defined(__SSE2__)
  _mm_sfence();
#endif
}

}  // namespace megakernel::detail
