// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
module;
#include <zlib.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <expected>
#include <limits>
#include <span>
#include <string_view>
module megakernel.sketch;
import megakernel.protocol;

namespace megakernel {
namespace {

constexpr std::string_view magic = "MKSKETCH";
constexpr std::string_view hash_name{"splitmix64\0\0\0\0\0\0", 16};
constexpr std::uint32_t version = 1;
enum class kind : std::uint32_t { count_min = 1, telemetry = 2 };

constexpr std::size_t version_at = 8;
constexpr std::size_t kind_at = 12;
constexpr std::size_t hash_at = 16;
constexpr std::size_t seed_at = 32;
constexpr std::size_t depth_at = 40;
constexpr std::size_t width_at = 48;
constexpr std::size_t header_bytes = 56;
constexpr std::size_t total_bytes = 16;
constexpr std::size_t checksum_bytes = 4;

constexpr std::uint64_t sketches_of(kind which) noexcept {
  return which == kind::count_min ? 1 : 5;
}

using wide = unsigned __int128;

/// Exact for a shape whose counters can be numbered.
constexpr wide size_of(kind which, const sketch_shape& shape) noexcept {
  const wide counters = wide{shape.depth} * shape.width;
  return header_bytes + sketches_of(which) * (total_bytes + sizeof(std::uint64_t) * counters) +
         checksum_bytes;
}

constexpr std::uint64_t in_wire_order(std::uint64_t value) noexcept {
  if constexpr (std::endian::native == std::endian::little) {
    return value;
  } else {
    return __builtin_bswap64(value);
  }
}

std::uint64_t load_u64(const std::byte* from) noexcept {
  std::uint64_t raw;
  std::memcpy(&raw, from, sizeof raw);
  return in_wire_order(raw);
}

void store_u64(std::byte* to, std::uint64_t value) noexcept {
  const std::uint64_t raw = in_wire_order(value);
  std::memcpy(to, &raw, sizeof raw);
}

std::uint32_t load_u32(const std::byte* from) noexcept { return load_word(from, 0); }
void store_u32(std::byte* to, std::uint32_t value) noexcept { store_word(to, 0, value); }

std::uint32_t checksum(std::span<const std::byte> bytes) noexcept {
  return static_cast<std::uint32_t>(
      crc32_z(0, reinterpret_cast<const unsigned char*>(bytes.data()), bytes.size()));
}

wide sum(std::span<const std::uint64_t> row) noexcept {
  wide total = 0;
  for (const std::uint64_t counter : row) total += counter;
  return total;
}

constexpr std::uint64_t saturated(wide total) noexcept {
  constexpr std::uint64_t most = ~std::uint64_t{0};
  return total > most ? most : static_cast<std::uint64_t>(total);
}

std::unexpected<error> refuse(error_code code, std::uint64_t found, std::uint64_t bound,
                              std::uint64_t index = 0) noexcept {
  return std::unexpected(error{
      .code = code, .buffer = buffer::sketch, .index = index, .found = found, .bound = bound});
}

result<byte_buffer> write(kind which, std::span<const count_min_sketch* const> sketches) noexcept {
  const sketch_shape shape = sketches.front()->shape();
  if (shape.depth == 0) return refuse(error_code::sketch_dim_zero, 0, 0);
  byte_buffer bytes;
  // Counters that are in memory can be counted in bytes; what comes on top of five times them
  // may pass the address space, which the array then refuses.
  const wide size = size_of(which, shape);
  constexpr std::size_t most = std::numeric_limits<std::size_t>::max();
  if (auto sized = bytes.resize_for_overwrite(size > most ? most : static_cast<std::size_t>(size));
      !sized)
    return std::unexpected(sized.error());

  std::byte* const start = bytes.data();
  std::memcpy(start, magic.data(), magic.size());
  store_u32(start + version_at, version);
  store_u32(start + kind_at, static_cast<std::uint32_t>(which));
  std::memcpy(start + hash_at, hash_name.data(), hash_name.size());
  store_u64(start + seed_at, sketch_seed);
  store_u64(start + depth_at, shape.depth);
  store_u64(start + width_at, shape.width);
  std::byte* at = start + header_bytes;
  for (const count_min_sketch* sketch : sketches) {
    const wide total = sum(sketch->counters().first(shape.width));
    store_u64(at, static_cast<std::uint64_t>(total));
    store_u64(at + sizeof(std::uint64_t), static_cast<std::uint64_t>(total >> 64));
    at += total_bytes;
    for (const std::uint64_t counter : sketch->counters()) {
      store_u64(at, counter);
      at += sizeof counter;
    }
  }
  const auto checked = std::span<const std::byte>(start, at);
  store_u32(at, checksum(checked));
  return bytes;
}

/// Everything that can be wrong before the counters are looked at.
result<sketch_shape> check(kind wanted, std::span<const std::byte> bytes) noexcept {
  const std::size_t marked = std::min(bytes.size(), magic.size());
  if (marked != 0 && std::memcmp(bytes.data(), magic.data(), marked) != 0)
    return refuse(error_code::sketch_bytes_foreign, 0, 0);
  if (bytes.size() < header_bytes)
    return refuse(error_code::sketch_bytes_truncated, bytes.size(), header_bytes);
  const std::byte* const start = bytes.data();
  if (const auto found = load_u32(start + version_at); found != version)
    return refuse(error_code::sketch_version_unknown, found, version);
  if (const auto found = load_u32(start + kind_at); found != static_cast<std::uint32_t>(wanted))
    return refuse(error_code::sketch_kind_mismatch, found, static_cast<std::uint32_t>(wanted));
  const std::uint64_t seed = load_u64(start + seed_at);
  if (std::memcmp(start + hash_at, hash_name.data(), hash_name.size()) != 0)
    return refuse(error_code::sketch_hash_unknown, seed, sketch_seed, 0);
  if (seed != sketch_seed) return refuse(error_code::sketch_hash_unknown, seed, sketch_seed, 1);
  const sketch_shape shape{.depth = load_u64(start + depth_at),
                           .width = load_u64(start + width_at)};
  if (const auto counters = detail::counters_of(shape); !counters)
    return std::unexpected(counters.error());
  const wide size = size_of(wanted, shape);
  if (bytes.size() < size)
    return refuse(error_code::sketch_bytes_truncated, bytes.size(), saturated(size));
  if (bytes.size() > size)
    return refuse(error_code::sketch_bytes_trailing, bytes.size(),
                  static_cast<std::uint64_t>(size));
  const auto body = bytes.first(bytes.size() - checksum_bytes);
  const std::uint32_t stated = load_u32(start + body.size());
  if (const std::uint32_t found = checksum(body); found != stated)
    return refuse(error_code::sketch_checksum_mismatch, found, stated);
  return shape;
}

}  // namespace

/// Fills sketches from bytes that `check` has found whole.
class sketch_reader {
 public:
  sketch_reader(const sketch_shape& shape, std::span<const std::byte> bytes) noexcept
      : shape_(shape), at_(bytes.data() + header_bytes) {}

  /// The next sketch, whose total is from `least` to `most`.
  result<void> next(count_min_sketch& sketch, wide least = 0, wide most = ~wide{0}) noexcept {
    if (auto reset = sketch.reset_shape(shape_.depth, shape_.width); !reset) return reset;
    const wide total = wide{load_u64(at_ + sizeof(std::uint64_t))} << 64 | load_u64(at_);
    at_ += total_bytes;
    if (total < least || total > most)
      return refuse(error_code::sketch_row_sum_mismatch, saturated(total), saturated(most));
    for (std::uint64_t& counter : sketch.counters_) {
      counter = load_u64(at_);
      at_ += sizeof counter;
    }
    for (std::uint64_t row = 0; row < shape_.depth; ++row) {
      const wide found = sum(sketch.counters().subspan(row * shape_.width, shape_.width));
      if (found != total)
        return refuse(error_code::sketch_row_sum_mismatch, saturated(found), saturated(total), row);
    }
    sketch.total_ = saturated(total);
    return {};
  }

  result<void> all(telemetry_sketch& sketch) noexcept {
    // Each slot has an opcode, a tenant and a status.
    if (auto read = next(sketch.ring_opcode_, 0, ~std::uint64_t{0}); !read) return read;
    const std::uint64_t slots = sketch.total_slots();
    if (auto read = next(sketch.active_opcode_, 0, slots); !read) return read;
    if (auto read = next(sketch.tenant_, slots, slots); !read) return read;
    if (auto read = next(sketch.status_, slots, slots); !read) return read;
    return next(sketch.dispatch_metrics_);
  }

 private:
  sketch_shape shape_;
  const std::byte* at_;
};

std::uint64_t sketch_bytes(const sketch_shape& shape) noexcept {
  return saturated(size_of(kind::count_min, shape));
}

std::uint64_t telemetry_sketch_bytes(const sketch_shape& shape) noexcept {
  return saturated(size_of(kind::telemetry, shape));
}

result<byte_buffer> write_sketch(const count_min_sketch& sketch) noexcept {
  const std::array sketches{&sketch};
  return write(kind::count_min, sketches);
}

result<byte_buffer> write_sketch(const telemetry_sketch& sketch) noexcept {
  const std::array sketches{&sketch.ring_opcode(), &sketch.active_opcode(), &sketch.tenant(),
                            &sketch.status(), &sketch.dispatch_metrics()};
  return write(kind::telemetry, sketches);
}

result<count_min_sketch> read_count_min_sketch(std::span<const std::byte> bytes) noexcept {
  const auto shape = check(kind::count_min, bytes);
  if (!shape) return std::unexpected(shape.error());
  count_min_sketch sketch;
  if (auto read = sketch_reader(*shape, bytes).next(sketch); !read)
    return std::unexpected(read.error());
  return sketch;
}

result<telemetry_sketch> read_telemetry_sketch(std::span<const std::byte> bytes) noexcept {
  const auto shape = check(kind::telemetry, bytes);
  if (!shape) return std::unexpected(shape.error());
  telemetry_sketch sketch;
  if (auto read = sketch_reader(*shape, bytes).all(sketch); !read)
    return std::unexpected(read.error());
  return sketch;
}

}  // namespace megakernel
