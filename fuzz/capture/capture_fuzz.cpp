// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Capture files (docs/capture.md): an input is the file. It is refused in a sentence, or read:
// every frame has the sizes that the header says, comes out the same in order and out of it, and
// the times are in order.
#include <sys/mman.h>
#include <unistd.h>
#include <zlib.h>

#include <chrono>
#include <optional>
#include <string>
#include <utility>

#include "fuzz.h"

#include "megakernel_import.h"
#include "observe/capture.h"
#include "observe/capture_reader.h"

namespace mk = megakernel;
namespace tool = megakernel::tool;
namespace format = megakernel::tool::capture_format;

namespace {

/// A file of the input's bytes, without a disk.
class file_in_memory {
 public:
  explicit file_in_memory(fuzz::bytes content) : descriptor_(memfd_create("capture", MFD_CLOEXEC)) {
    fuzz::check(descriptor_ >= 0 && ::pwrite(descriptor_, content.data(), content.size(), 0) ==
                                        static_cast<ssize_t>(content.size()),
                "there is memory for the file");
  }
  file_in_memory(const file_in_memory&) = delete;
  file_in_memory& operator=(const file_in_memory&) = delete;
  ~file_in_memory() { ::close(descriptor_); }
  [[nodiscard]] std::string path() const { return "/proc/self/fd/" + std::to_string(descriptor_); }

 private:
  int descriptor_;
};

bool is_sentence(const std::string& text) { return text.size() > 10 && text.ends_with('.'); }

std::uint32_t crc_of(fuzz::bytes all) {
  return static_cast<std::uint32_t>(crc32_z(0, all.data(), all.size()));
}

/// A frame's bytes as one number.
std::uint32_t digest(const tool::frame& f) {
  uLong crc = crc32_z(0, nullptr, 0);
  for (const auto& buffer : {f.control, f.ring, f.debug_log, f.io_queue})
    crc = crc32_z(crc, reinterpret_cast<const unsigned char*>(buffer.data()), buffer.size());
  return static_cast<std::uint32_t>(crc + f.torn_pages.size() + (f.publishers != nullptr));
}

void check_frame(const tool::frame& f, const tool::capture_header& header) {
  fuzz::check(f.control.size() == header.bytes.control && f.ring.size() == header.bytes.ring &&
                  f.debug_log.size() == header.bytes.debug_log &&
                  f.io_queue.size() == header.bytes.io_queue,
              "a frame's buffers have the sizes that the header says");
  for (std::size_t i = 0; i < f.torn_pages.size(); ++i)
    fuzz::check(f.torn_pages[i] * std::uint64_t{32} < header.slots() &&
                    (i == 0 || f.torn_pages[i] > f.torn_pages[i - 1]),
                "torn pages are of the ring, in order");
  if (f.publishers == nullptr) return;
  const auto& tenants = f.publishers->tenants;
  for (std::size_t i = 1; i < tenants.size(); ++i)
    fuzz::check(tenants[i].tenant > tenants[i - 1].tenant, "tenants are in order");
}

void check_header(const tool::capture_header& header, fuzz::bytes file) {
  const auto written = format::write_header(header);
  fuzz::check(written.has_value() && written->size() <= file.size() &&
                  std::memcmp(written->data(), file.data(), written->size()) == 0,
              "a header that was read is written as it was");
}

void check_times(const tool::capture_reader& reader) {
  const std::uint64_t frames = reader.frames();
  for (std::uint64_t i = 0; i < frames; ++i) {
    const auto at = reader.time_of(i);
    fuzz::check(i == 0 || at >= reader.time_of(i - 1), "time never falls");
    fuzz::check(reader.first_from(at) <= i && reader.last_until(at) >= i,
                "a frame is found by its time");
  }
  fuzz::check(
      reader.length() == (frames == 0 ? std::chrono::nanoseconds() : reader.time_of(frames - 1)),
      "a capture lasts until its last frame");
}

void check_frames(tool::capture_reader& reader) {
  std::vector<std::optional<std::uint32_t>> digests;
  while (reader.position() < reader.frames()) {
    const std::uint64_t number = reader.position();
    const auto got = reader.next();
    fuzz::check(reader.position() == number + 1, "reading moves on, also over what is damaged");
    if (!got) {
      fuzz::check(is_sentence(got.error()), "why a frame cannot be read is a sentence");
      digests.emplace_back();
      continue;
    }
    fuzz::check(got->has_value() && (*got)->at == reader.time_of(number), "frames have their time");
    check_frame(**got, reader.header());
    digests.emplace_back(digest(**got));
  }
  fuzz::check(!reader.next().value().has_value(), "after the last frame there is none");
  for (std::uint64_t i = reader.frames(); i != 0; --i) {
    const auto got = reader.frame_at(i - 1);
    fuzz::check(
        got.has_value() == digests[i - 1].has_value() && (!got || digest(*got) == digests[i - 1]),
        "backwards a frame is what it is forwards");
  }
  const auto none = reader.frame_at(reader.frames());
  fuzz::check(!none && is_sentence(none.error()), "a frame that is not there is refused");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const fuzz::bytes content(data, size);
  const file_in_memory file(content);
  auto reader = tool::capture_reader::open(file.path());
  if (!reader) {
    fuzz::check(is_sentence(reader.error()), "why a capture cannot be read is a sentence");
    return 0;
  }
  fuzz::check(reader->totals().bytes == size && reader->frames() <= size / format::record_bytes,
              "there are no more frames than fit into the file");
  fuzz::check(reader->damage().empty() || is_sentence(reader->damage()),
              "what is damaged is said in a sentence");
  check_header(reader->header(), content);
  check_times(*reader);
  check_frames(*reader);
  return 0;
}

/// Random bytes have no right checksum. The header is given one, and every record and payload, as
/// far as they follow one another.
extern "C" std::size_t LLVMFuzzerCustomMutator(std::uint8_t* data, std::size_t size,
                                               std::size_t most, unsigned seed) {
  const std::size_t made = fuzz::mutate(data, size, most);
  if (seed % 8 == 0 || made < 84) return made;
  const std::span<std::uint8_t> all(data, made);
  const auto word = [&](std::size_t at) { return fuzz::word_at(all.subspan(at), 0); };
  const auto put = [&](std::size_t at, std::uint32_t value) {
    fuzz::put_word(all.subspan(at), 0, value);
  };
  std::memcpy(data, "MKCAPTUR\1\0\0\0", 12);
  const std::size_t header = word(12);
  if (header < 84 || header > made) return made;
  put(header - 4, crc_of(all.first(header - 4)));
  for (std::size_t at = header; at + 64 <= made;) {
    put(at, 0x4352'4B4D);
    if (word(at + 4) - 1 > 3) put(at + 4, 1 + seed % 4);
    const std::size_t left = made - at - 64;
    if (word(at + 48) > left && seed % 8 != 1) put(at + 48, static_cast<std::uint32_t>(left));
    const std::size_t stored = std::min<std::size_t>(word(at + 48), left);
    put(at + 56, crc_of(all.subspan(at + 64, stored)));
    put(at + 60, crc_of(all.subspan(at, 60)));
    at += 64 + stored;
  }
  return made;
}
