// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <fmt/format.h>
#include <zlib.h>
#include <zstd.h>

#include <algorithm>
#include <array>
#include <bit>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <expected>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "load/workload.h"
#include "observe/capture.h"
#include "observe/frame.h"
#include "observe/histogram.h"
#include "observe/inspect.h"
#include "render/names.h"
#include "render/run.h"
#include "report/report.h"

import megakernel;

namespace megakernel::tool::capture_format {
namespace {

constexpr std::string_view header_magic = "MKCAPTUR";
constexpr std::uint32_t record_magic = 0x4352'4B4D;  // "MKRC"
constexpr std::size_t checksum_bytes = 4;

template <class T>
T in_wire_order(T value) noexcept {
  return std::endian::native == std::endian::little ? value : std::byteswap(value);
}

template <class T>
T load(const std::byte* from) noexcept {
  T raw;
  std::memcpy(&raw, from, sizeof raw);
  return in_wire_order(raw);
}

template <class T>
void append(std::vector<std::byte>& to, T value) {
  const T raw = in_wire_order(value);
  const auto* const bytes = reinterpret_cast<const std::byte*>(&raw);
  to.insert(to.end(), bytes, bytes + sizeof raw);
}

void append_text(std::vector<std::byte>& to, std::string_view text) {
  append(to, static_cast<std::uint32_t>(text.size()));
  const auto* const bytes = reinterpret_cast<const std::byte*>(text.data());
  to.insert(to.end(), bytes, bytes + text.size());
}

/// Numbers from bytes that may end too soon: then it gives zeros and `short_of` says so.
class cursor {
 public:
  explicit cursor(std::span<const std::byte> bytes) : bytes_(bytes) {}

  template <class T>
  T take() noexcept {
    if (!has(sizeof(T))) return {};
    const T value = load<T>(bytes_.data() + at_);
    at_ += sizeof(T);
    return value;
  }
  std::string text(std::size_t most) {
    const auto size = take<std::uint32_t>();
    if (size > most || !has(size)) return short_of_ = true, std::string();
    std::string taken(reinterpret_cast<const char*>(bytes_.data() + at_), size);
    at_ += size;
    return taken;
  }
  /// Whether `count` elements of `size` bytes are there; nothing is taken.
  [[nodiscard]] bool has(std::size_t size, std::size_t count = 1) noexcept {
    if ((bytes_.size() - at_) / size < count) short_of_ = true;
    return !short_of_;
  }
  [[nodiscard]] bool has(std::uint32_t size) noexcept { return size == 0 || has(size, 1); }
  [[nodiscard]] bool short_of() const noexcept { return short_of_; }
  [[nodiscard]] std::size_t at() const noexcept { return at_; }
  [[nodiscard]] std::size_t left() const noexcept { return bytes_.size() - at_; }

 private:
  std::span<const std::byte> bytes_;
  std::size_t at_ = 0;
  bool short_of_ = false;
};

std::unexpected<std::string> refuse(std::string sentence) {
  return std::unexpected(std::move(sentence));
}

/// The limit of this library's encoder; nothing larger can be run or captured.
std::optional<std::string> impossible(const capture_header::sizes& bytes) {
  constexpr std::uint64_t words = sizeof(word);
  struct rule {
    std::string_view name;
    std::uint64_t size;
    std::uint64_t least;
    std::uint64_t most;
    std::uint64_t unit;
  };
  const std::array rules{
      rule{"control buffer", bytes.control, abi::control_bytes,
           (std::uint64_t{abi::control_words} + abi::max_encoded) * words, words},
      rule{"ring", bytes.ring, 0, std::uint64_t{abi::max_encoded} * abi::slot_bytes,
           abi::slot_bytes},
      rule{"debug log", bytes.debug_log, 0,
           (1 + std::uint64_t{abi::max_encoded} * abi::debug_record_words) * words, words},
      rule{"IO queue", bytes.io_queue, 0, std::uint64_t{abi::max_io_slots} * abi::io_slot_bytes,
           abi::io_slot_bytes}};
  for (const rule& r : rules) {
    if (r.size >= r.least && r.size <= r.most && r.size % r.unit == 0) continue;
    return fmt::format("Its {} would have {} bytes, which is not from {} to {} in steps of {}.",
                       r.name, grouped(r.size), grouped(r.least), grouped(r.most), r.unit);
  }
  return std::nullopt;
}

std::uint64_t pages_of(std::uint64_t slots) {
  return (slots + live_snapshot::page_slots - 1) / live_snapshot::page_slots;
}

constexpr std::size_t tenant_bytes = 4 + 4 * 8;
constexpr std::size_t bucket_bytes = 4 + 8;

}  // namespace

std::uint32_t checksum(std::span<const std::byte> bytes) noexcept {
  return static_cast<std::uint32_t>(
      crc32_z(0, reinterpret_cast<const unsigned char*>(bytes.data()), bytes.size()));
}

std::expected<std::vector<std::byte>, std::string> write_header(const capture_header& header) {
  if (const auto why = impossible(header.bytes)) return refuse(*why);
  for (const std::string* text : {&header.device, &header.build, &header.profile}) {
    if (text->size() > max_text_bytes)
      return refuse(fmt::format("A text of the header has {} bytes; {} are the most.",
                                grouped(text->size()), grouped(max_text_bytes)));
  }
  if (header.windows.size() > max_windows)
    return refuse(fmt::format("There are {} window opcodes; {} are the most.",
                              grouped(header.windows.size()), grouped(max_windows)));
  std::vector<std::byte> bytes;
  for (const char c : header_magic) bytes.push_back(static_cast<std::byte>(c));
  append(bytes, version);
  append(bytes, std::uint32_t{0});  // the length, which is known below
  append(bytes, header.abi_revision);
  append(bytes, static_cast<std::uint32_t>(header.windows.size()));
  append(bytes, header.bytes.control);
  append(bytes, header.bytes.ring);
  append(bytes, header.bytes.debug_log);
  append(bytes, header.bytes.io_queue);
  append(bytes, std::int64_t{std::chrono::nanoseconds(header.began.time_since_epoch()).count()});
  for (const opcode op : header.windows) append(bytes, word(op));
  append_text(bytes, header.device);
  append_text(bytes, header.build);
  append_text(bytes, header.profile);
  store_word(bytes.data(), 3, static_cast<word>(bytes.size() + checksum_bytes));
  append(bytes, checksum(bytes));
  return bytes;
}

std::expected<std::size_t, std::string> header_length(
    std::span<const std::byte, prefix_bytes> prefix) {
  if (std::memcmp(prefix.data(), header_magic.data(), header_magic.size()) != 0)
    return refuse("It is no capture: it does not start with \"MKCAPTUR\".");
  if (const auto found = load<std::uint32_t>(prefix.data() + 8); found != version) {
    return refuse(fmt::format(
        "It is a capture of version {}; this program reads version {}. Use one that is as new.",
        found, version));
  }
  const auto length = load<std::uint32_t>(prefix.data() + 12);
  if (length < prefix_bytes + checksum_bytes || length > max_header_bytes) {
    return refuse(
        fmt::format("Its header is damaged: at byte 12 it claims {} bytes; {} are the most.",
                    grouped(length), grouped(max_header_bytes)));
  }
  return length;
}

std::expected<capture_header, std::string> read_header(std::span<const std::byte> bytes) {
  const auto checked = bytes.first(bytes.size() - checksum_bytes);
  if (load<std::uint32_t>(checked.data() + checked.size()) != checksum(checked)) {
    return refuse(
        fmt::format("Its header, the first {} bytes, is damaged: its checksum does not fit.",
                    grouped(bytes.size())));
  }
  cursor from(checked.subspan(prefix_bytes));
  capture_header header{.abi_revision = from.take<std::uint32_t>()};
  const auto windows = from.take<std::uint32_t>();
  header.bytes = {.control = from.take<std::uint64_t>(),
                  .ring = from.take<std::uint64_t>(),
                  .debug_log = from.take<std::uint64_t>(),
                  .io_queue = from.take<std::uint64_t>()};
  header.began = std::chrono::system_clock::time_point(
      std::chrono::duration_cast<std::chrono::system_clock::duration>(
          std::chrono::nanoseconds(from.take<std::int64_t>())));
  if (windows > max_windows || !from.has(sizeof(word), windows))
    return refuse(fmt::format("Its header is wrong: {} window opcodes do not fit.", windows));
  for (std::uint32_t i = 0; i < windows; ++i) header.windows.push_back(opcode{from.take<word>()});
  for (std::string* text : {&header.device, &header.build, &header.profile})
    *text = from.text(max_text_bytes);
  if (from.short_of() || from.left() != 0)
    return refuse("Its header is wrong: what it says does not fill it.");
  if (const auto why = impossible(header.bytes)) return refuse("Its header is wrong. " + *why);
  return header;
}

void write_record(const record& from, std::span<std::byte, record_bytes> to) noexcept {
  const auto put = [to]<class T>(std::size_t at, T value) {
    const T raw = in_wire_order(value);
    std::memcpy(to.data() + at, &raw, sizeof raw);
  };
  put(0, record_magic);
  put(4, static_cast<std::uint32_t>(from.what));
  put(8, from.number);
  put(16, std::int64_t{from.at.count()});
  put(24, std::int64_t{from.wall.count()});
  put(32, from.dropped);
  put(40, from.link);
  put(48, from.stored);
  put(52, from.unpacked);
  put(56, from.checksum);
  put(60, checksum(to.first<record_bytes - checksum_bytes>()));
}

std::optional<record> read_record(std::span<const std::byte, record_bytes> bytes) noexcept {
  const std::byte* const from = bytes.data();
  if (load<std::uint32_t>(from) != record_magic) return std::nullopt;
  if (load<std::uint32_t>(from + 60) != checksum(bytes.first<record_bytes - checksum_bytes>()))
    return std::nullopt;
  const auto what = load<std::uint32_t>(from + 4);
  if (what < static_cast<std::uint32_t>(kind::key_frame) ||
      what > static_cast<std::uint32_t>(kind::end))
    return std::nullopt;
  return record{.what = kind{what},
                .number = load<std::uint64_t>(from + 8),
                .at = std::chrono::nanoseconds(load<std::int64_t>(from + 16)),
                .wall = std::chrono::nanoseconds(load<std::int64_t>(from + 24)),
                .dropped = load<std::uint64_t>(from + 32),
                .link = load<std::uint64_t>(from + 40),
                .stored = load<std::uint32_t>(from + 48),
                .unpacked = load<std::uint32_t>(from + 52),
                .checksum = load<std::uint32_t>(from + 56)};
}

void append_entry(const entry& from, std::vector<std::byte>& to) {
  append(to, from.offset);
  append(to, std::int64_t{from.at.count()});
  append(to, from.key);
}

entry read_entry(const std::byte* from) noexcept {
  return {.offset = load<std::uint64_t>(from),
          .at = std::chrono::nanoseconds(load<std::int64_t>(from + 8)),
          .key = load<std::uint64_t>(from + 16)};
}

void append_facts(const frame& from, std::vector<std::byte>& to) {
  append(to, static_cast<std::uint32_t>(from.torn_pages.size()));
  for (const std::uint32_t page : from.torn_pages) append(to, page);
  append(to, std::uint32_t{from.publishers != nullptr});
  if (from.publishers == nullptr) return;
  const publisher_totals& known = *from.publishers;
  append(to, known.accepted);
  append(to, known.publications);
  append(to, known.ring_full);
  append(to, static_cast<std::uint32_t>(known.tenants.size()));
  for (const publisher_totals::tenant& t : known.tenants) {
    append(to, t.tenant);
    for (const std::uint64_t n : {t.demand, t.finished, t.waits, t.waited}) append(to, n);
  }
  append(to, known.latency.sum());
  append(to, known.latency.max());
  const auto buckets = known.latency.buckets();
  append(to, static_cast<std::uint32_t>(buckets.size() -
                                        static_cast<std::size_t>(std::ranges::count(buckets, 0u))));
  for (std::size_t i = 0; i < buckets.size(); ++i) {
    if (buckets[i] == 0) continue;
    append(to, static_cast<std::uint32_t>(i));
    append(to, buckets[i]);
  }
}

std::expected<std::size_t, std::string> read_facts(std::span<const std::byte> bytes,
                                                   std::uint64_t slots, facts& to) {
  cursor from(bytes);
  const auto torn = from.take<std::uint32_t>();
  to.torn_pages.clear();
  if (torn > pages_of(slots) || !from.has(sizeof torn, torn))
    return refuse(fmt::format("it claims {} torn pages of {}", torn, pages_of(slots)));
  for (std::uint32_t i = 0; i < torn; ++i) {
    const auto page = from.take<std::uint32_t>();
    if (page >= pages_of(slots) || (i != 0 && page <= to.torn_pages.back()))
      return refuse(fmt::format("its torn page {} is out of place", page));
    to.torn_pages.push_back(page);
  }
  const auto known = from.take<std::uint32_t>();
  if (known > 1) return refuse(fmt::format("it claims {} totals of publishers", known));
  to.known = known == 1;
  if (!to.known) {
    if (from.short_of()) return refuse("it ends too soon");
    return from.at();
  }
  publisher_totals& totals = to.publishers;
  totals.accepted = from.take<std::uint64_t>();
  totals.publications = from.take<std::uint64_t>();
  totals.ring_full = from.take<std::uint64_t>();
  const auto tenants = from.take<std::uint32_t>();
  totals.tenants.clear();
  if (tenants > max_tenants || !from.has(tenant_bytes, tenants))
    return refuse(fmt::format("it claims {} tenants", tenants));
  for (std::uint32_t i = 0; i < tenants; ++i) {
    const auto number = from.take<std::uint32_t>();
    if (i != 0 && number <= totals.tenants.back().tenant)
      return refuse(fmt::format("its tenant {} is out of order", number));
    totals.tenants.push_back({.tenant = number,
                              .demand = from.take<std::uint64_t>(),
                              .finished = from.take<std::uint64_t>(),
                              .waits = from.take<std::uint64_t>(),
                              .waited = from.take<std::uint64_t>()});
  }
  totals.latency = {};
  const auto sum = from.take<std::uint64_t>();
  const auto max = from.take<std::uint64_t>();
  totals.latency.add_extremes(sum, max);
  const auto buckets = from.take<std::uint32_t>();
  if (buckets > log_buckets::count || !from.has(bucket_bytes, buckets))
    return refuse(fmt::format("it claims {} buckets of latency", buckets));
  std::uint32_t least = 0;
  for (std::uint32_t i = 0; i < buckets; ++i) {
    const auto bucket = from.take<std::uint32_t>();
    if (bucket < least || bucket >= log_buckets::count)
      return refuse(fmt::format("its bucket {} of latency is out of place", bucket));
    totals.latency.add(bucket, from.take<std::uint64_t>());
    least = bucket + 1;
  }
  if (from.short_of()) return refuse("it ends too soon");
  return from.at();
}

std::uint64_t max_facts_bytes(std::uint64_t slots) noexcept {
  constexpr std::uint64_t numbers = 64;  // more than what is there once
  return pages_of(slots) * sizeof(std::uint32_t) + std::uint64_t{max_tenants} * tenant_bytes +
         log_buckets::count * bucket_bytes + numbers;
}

std::uint64_t max_stored_bytes(const capture_header& header) noexcept {
  return ZSTD_compressBound(header.bytes.all() + max_facts_bytes(header.slots()));
}

}  // namespace megakernel::tool::capture_format
