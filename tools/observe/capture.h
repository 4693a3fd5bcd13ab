// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include "standard.h"

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <expected>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "observe/frame.h"

import megakernel;

/// A capture: one file of frames over time. docs/capture.md has the format, byte by byte; here is
/// what its writer and its reader agree on.
namespace megakernel::tool {

/// The part before the frames.
struct capture_header {
  std::uint32_t abi_revision = abi::revision;  ///< of the library that wrote it
  /// Of each buffer, the same in every frame.
  struct sizes {
    std::uint64_t control = 0;
    std::uint64_t ring = 0;
    std::uint64_t debug_log = 0;
    std::uint64_t io_queue = 0;
    [[nodiscard]] std::uint64_t all() const noexcept {
      return control + ring + debug_log + io_queue;
    }
    friend bool operator==(const sizes&, const sizes&) = default;
  } bytes{};
  std::chrono::system_clock::time_point began{};  ///< when frame times count from
  std::string device{};                           ///< what ran the kernel, for a person
  std::string build{};                            ///< what wrote the file, for a person
  std::string profile{};                          ///< what was run, for a person
  std::vector<opcode> windows{};                  ///< opcodes whose slots form windows

  [[nodiscard]] std::uint64_t slots() const noexcept { return bytes.ring / abi::slot_bytes; }
};

/// The totals of a capture, so far or at its end.
struct capture_totals {
  std::uint64_t frames = 0;   ///< in the file
  std::uint64_t dropped = 0;  ///< due, and not in the file: its writer was behind
  std::uint64_t bytes = 0;    ///< of the file
};

}  // namespace megakernel::tool

/// The pieces of the file.
namespace megakernel::tool::capture_format {

inline constexpr std::uint32_t version = 1;
inline constexpr std::size_t prefix_bytes = 16;    ///< of the header: how long it is
inline constexpr std::size_t record_bytes = 64;    ///< of what precedes each payload
inline constexpr std::size_t entry_bytes = 24;     ///< of the index, a frame
inline constexpr std::size_t index_frames = 1024;  ///< at most in one record of the index
inline constexpr std::uint64_t chain = 64;         ///< a key frame at least every so many frames
inline constexpr std::size_t max_header_bytes = 64 << 10;
inline constexpr std::size_t max_text_bytes = 8 << 10;
inline constexpr std::size_t max_windows = 4096;
inline constexpr std::uint32_t max_tenants = 1 << 16;

enum class kind : std::uint32_t { key_frame = 1, delta_frame = 2, index = 3, end = 4 };

/// The header of each payload. Numbers that a kind does not use are zero.
struct record {
  kind what = kind::end;
  std::uint64_t number = 0;  ///< of a frame; of an index its first; of the end how many there are
  std::chrono::nanoseconds at{};
  std::chrono::nanoseconds wall{};  ///< since 1970
  std::uint64_t dropped = 0;        ///< until then
  /// A frame: the number of the key frame that it counts from, its own where it is one. An index,
  /// the end: where in the file the index before it stands, or zero.
  std::uint64_t link = 0;
  std::uint32_t stored = 0;    ///< bytes of the payload in the file
  std::uint32_t unpacked = 0;  ///< and decompressed
  std::uint32_t checksum = 0;  ///< of the payload in the file
};

/// A frame in the index.
struct entry {
  std::uint64_t offset = 0;  ///< of its record in the file
  std::chrono::nanoseconds at{};
  std::uint64_t key = 0;  ///< as `record::link`
};

/// CRC-32, that of zlib.
[[nodiscard]] std::uint32_t checksum(std::span<const std::byte> bytes) noexcept;

/// The error is a sentence: texts, windows or buffers over their bounds.
[[nodiscard]] std::expected<std::vector<std::byte>, std::string> write_header(
    const capture_header& header);
/// How long the header is, from its first `prefix_bytes`; the error is a sentence.
[[nodiscard]] std::expected<std::size_t, std::string> header_length(
    std::span<const std::byte, prefix_bytes> prefix);
/// `bytes`: all of it. The error is a sentence.
[[nodiscard]] std::expected<capture_header, std::string> read_header(
    std::span<const std::byte> bytes);

void write_record(const record& from, std::span<std::byte, record_bytes> to) noexcept;
/// Nothing where these bytes are no record, or one that is damaged.
[[nodiscard]] std::optional<record> read_record(
    std::span<const std::byte, record_bytes> bytes) noexcept;

void append_entry(const entry& from, std::vector<std::byte>& to);
[[nodiscard]] entry read_entry(const std::byte* from) noexcept;

/// The facts of a frame beside its buffers: torn pages and the counts of publishers.
void append_facts(const frame& from, std::vector<std::byte>& to);
struct facts {
  std::vector<std::uint32_t> torn_pages{};
  bool known = false;  ///< whether publishers are
  publisher_totals publishers{};
};
/// Takes `to` from the start of `bytes`, whose storage it reuses, and says how many it took. The
/// error is a sentence without its subject's place.
[[nodiscard]] std::expected<std::size_t, std::string> read_facts(std::span<const std::byte> bytes,
                                                                 std::uint64_t slots, facts& to);
/// The most bytes that facts of such a ring take.
[[nodiscard]] std::uint64_t max_facts_bytes(std::uint64_t slots) noexcept;

/// The most bytes of a payload in the file.
[[nodiscard]] std::uint64_t max_stored_bytes(const capture_header& header) noexcept;

}  // namespace megakernel::tool::capture_format
