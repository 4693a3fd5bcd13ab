// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Captures: what is written is read, bit by bit; what is damaged is never read as something else.
#include <rapidcheck.h>
#include <sys/resource.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <csignal>
#include <cstddef>
#include <cstdint>
#include <expected>
#include <limits>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "support.h"

#include "capture_support.h"

#include "load/workload.h"
#include "observe/capture.h"
#include "observe/capture_reader.h"
#include "observe/capture_writer.h"

import megakernel;

namespace {

using namespace props;
using namespace std::chrono_literals;

/// Every place of a file at the first try, some of them at each of the others: all of them take
/// a while, and the tries are for other contents.
class places {
 public:
  std::size_t step() {
    if (!std::exchange(tried_, true)) return 1;
    return *props::between<std::size_t>(20, 90);
  }

 private:
  bool tried_ = false;
};

/// Writes it all, waiting where the writer is behind.
void record(const scenario& written, const std::string& path) {
  auto writer = capture_writer::create(path, written.header);
  RC_ASSERT(writer.has_value());
  for (const kept_frame& f : written.frames) {
    while (!(*writer)->has_room()) std::this_thread::yield();
    RC_ASSERT((*writer)->offer(f.view()));
  }
  const auto closed = (*writer)->close();
  RC_ASSERT(closed.has_value());
  RC_ASSERT(closed->frames == written.frames.size());
  RC_ASSERT(closed->dropped == 0u);
}

/// How many frames the file has, all of which are read and are those of the scenario where they are
/// readable; nothing where it is refused.
std::optional<std::uint64_t> read_back(const scenario& written, const std::string& path,
                                       bool all_readable) {
  auto reader = capture_reader::open(path);
  if (!reader) {
    RC_ASSERT(!reader.error().empty());
    return std::nullopt;
  }
  RC_ASSERT(reader->frames() <= written.frames.size());
  std::uint64_t number = 0;
  while (true) {
    const auto next = reader->next();
    if (next && !*next) break;
    RC_ASSERT(next.has_value() || !all_readable);
    if (next) RC_ASSERT(same(**next, written.frames[number].view()));
    ++number;
  }
  RC_ASSERT(number == reader->frames());
  return number;
}

/// Where each frame's bytes end, by going through the file.
std::vector<std::size_t> ends_of(const file_bytes& file) {
  std::vector<std::size_t> ends;
  std::size_t at = load_word(file.data(), 3);
  while (at + format::record_bytes <= file.size()) {
    const auto found =
        format::read_record(std::span(file).subspan(at).first<format::record_bytes>());
    RC_ASSERT(found.has_value());
    at += format::record_bytes + found->stored;
    if (found->what == format::kind::key_frame || found->what == format::kind::delta_frame)
      ends.push_back(at);
  }
  return ends;
}

bool frames_come_back() {
  return rc::check("frames, the header and the times come back, in any order", [] {
    const auto slots = *props::between<std::uint64_t>(0, 70);
    const auto count = *props::between<std::size_t>(0, 150);
    const scenario written = make_scenario(*props::uniform<std::uint64_t>(), slots, count);
    const scratch file;
    record(written, file.path());
    RC_ASSERT(read_back(written, file.path(), true) == std::optional(std::uint64_t{count}));

    auto reader = capture_reader::open(file.path());
    RC_ASSERT(reader.has_value());
    RC_ASSERT(reader->damage().empty());
    const capture_header& header = reader->header();
    RC_ASSERT(header.bytes == written.header.bytes);
    RC_ASSERT(header.began == written.header.began);
    RC_ASSERT(header.device == written.header.device && header.build == written.header.build &&
              header.profile == written.header.profile);
    RC_ASSERT(header.windows == written.header.windows);
    for (int i = 0; i < 20 && count != 0; ++i) {
      const auto number = *props::between<std::size_t>(0, count - 1);
      const auto seen = reader->frame_at(number);
      RC_ASSERT(seen.has_value());
      RC_ASSERT(same(*seen, written.frames[number].view()));
      const auto at = written.frames[number].at;
      const std::uint64_t from = reader->first_from(at);
      RC_ASSERT(written.frames[from].at == at && (from == 0 || written.frames[from - 1].at < at));
      const std::uint64_t until = reader->last_until(at);
      RC_ASSERT(written.frames[until].at == at &&
                (until + 1 == count || written.frames[until + 1].at > at));
    }
    RC_ASSERT(!reader->frame_at(count).has_value());
  });
}

bool long_captures_have_many_indexes() {
  return rc::check("an index of several records is that of going through the file", [] {
    static int tries = 0;
    if (tries++ % 20 != 0) return;  // one takes as long as many of the other properties
    const scenario written = make_scenario(*props::uniform<std::uint64_t>(), 2, 2500);
    const scratch file;
    record(written, file.path());
    RC_ASSERT(read_back(written, file.path(), true) == std::optional(std::uint64_t{2500}));
    const file_bytes whole = file.read();
    file.resize(whole.size() - 1);  // without its end
    RC_ASSERT(read_back(written, file.path(), true) == std::optional(std::uint64_t{2500}));
  });
}

bool truncation_keeps_whole_frames() {
  places all;
  return rc::check("cut anywhere, a capture reads exactly the frames that are whole", [&all] {
    const scenario written =
        make_scenario(*props::uniform<std::uint64_t>(), *props::between<std::uint64_t>(0, 3), 5);
    const scratch file;
    record(written, file.path());
    const file_bytes whole = file.read();
    const std::size_t header = load_word(whole.data(), 3);
    const auto ends = ends_of(whole);
    const std::size_t step = all.step();
    for (std::size_t size = whole.size() - 1; size < whole.size(); size -= step) {
      file.resize(size);
      const auto frames = read_back(written, file.path(), true);
      if (size < header) {
        RC_ASSERT(!frames.has_value());
        continue;
      }
      const auto expected = std::ranges::count_if(ends, [&](std::size_t e) { return e <= size; });
      RC_ASSERT(frames == std::optional(static_cast<std::uint64_t>(expected)));
      RC_ASSERT(!capture_reader::open(file.path())->damage().empty());
    }
  });
}

bool corruption_is_seen() {
  places all;
  return rc::check("no changed byte makes a frame another", [&all] {
    const scenario written =
        make_scenario(*props::uniform<std::uint64_t>(), *props::between<std::uint64_t>(0, 2), 4);
    const scratch file;
    record(written, file.path());
    const file_bytes whole = file.read();
    for (std::size_t at = 0, step = all.step(); at < whole.size(); at += step) {
      const auto changed = whole[at] ^ static_cast<std::byte>(*props::between<int>(1, 255));
      file.write_at(at, std::span(&changed, 1));
      (void)read_back(written, file.path(), false);
      file.write_at(at, std::span(&whole[at], 1));
    }
  });
}

/// Reads everything there is to read and holds what is read against what the header says.
void read_hostile(const std::string& path) {
  auto reader = capture_reader::open(path);
  if (!reader) return;
  const capture_header::sizes sizes = reader->header().bytes;
  std::chrono::nanoseconds before{};
  for (std::uint64_t i = 0; i < std::min<std::uint64_t>(reader->frames(), 2000); ++i) {
    RC_ASSERT(reader->time_of(i) >= before);
    before = reader->time_of(i);
    const auto seen = reader->frame_at(i);
    if (!seen) continue;
    RC_ASSERT(seen->control.size() == sizes.control && seen->ring.size() == sizes.ring &&
              seen->debug_log.size() == sizes.debug_log && seen->io_queue.size() == sizes.io_queue);
    for (const std::uint32_t page : seen->torn_pages) RC_ASSERT(page * 2048ull < sizes.ring);
  }
}

bool hostile_bytes_are_survived() {
  return rc::check("whatever the bytes, with checksums that fit, too: no crash", [] {
    const scenario written =
        make_scenario(*props::uniform<std::uint64_t>(), *props::between<std::uint64_t>(0, 40), 6);
    const scratch file;
    record(written, file.path());
    file_bytes all = file.read();
    random_numbers random(*props::uniform<std::uint64_t>());
    const auto any_byte = [&] { return static_cast<std::byte>(random.below(256)); };
    const std::size_t header = load_word(all.data(), 3);
    // 1. noise, alone and after a good header
    file_bytes noise(random.below(4000));
    std::ranges::generate(noise, any_byte);
    file.write(noise);
    read_hostile(file.path());
    file_bytes after(all.begin(), all.begin() + static_cast<std::ptrdiff_t>(header));
    after.insert(after.end(), noise.begin(), noise.end());
    file.write(after);
    read_hostile(file.path());
    // 2. records whose numbers are wrong and whose checksums are right
    for (int turn = 0; turn < 20; ++turn) {
      file_bytes bad = all;
      for (std::size_t at = header; at + format::record_bytes <= bad.size();) {
        const auto place = std::span(bad).subspan(at).first<format::record_bytes>();
        auto found = format::read_record(place);
        if (!found) break;
        const std::size_t next = at + format::record_bytes + found->stored;
        const auto payload = std::span(bad).subspan(at + format::record_bytes, found->stored);
        if (random.below(3) == 0) {
          const std::array<std::uint64_t, 6> odd{0, 1, 63, 64, random.next(), ~0ull};
          const std::uint64_t value = odd[random.below(6)];
          switch (random.below(8)) {
            case 0:
              found->number = value;
              break;
            case 1:
              found->at = std::chrono::nanoseconds(static_cast<std::int64_t>(value));
              break;
            case 2:
              found->link = value;
              break;
            case 3:
              found->stored = static_cast<std::uint32_t>(value);
              break;
            case 4:
              found->unpacked = static_cast<std::uint32_t>(value);
              break;
            case 5:
              found->what = format::kind{1 + random.below(4)};
              break;
            default:
              for (int i = 0; i < 3 && !payload.empty(); ++i)
                payload[random.below(static_cast<std::uint32_t>(payload.size()))] = any_byte();
              found->checksum = format::checksum(payload);
          }
          format::write_record(*found, place);
        }
        at = next;
      }
      file.write(bad);
      read_hostile(file.path());
    }
    // 3. a header of other sizes before the same frames
    capture_header other = written.header;
    other.bytes.ring = 64ull * random.below(70);
    other.bytes.io_queue = 32ull * random.below(65);
    auto swapped = format::write_header(other);
    RC_ASSERT(swapped.has_value());
    swapped->insert(swapped->end(), all.begin() + static_cast<std::ptrdiff_t>(header), all.end());
    file.write(*swapped);
    read_hostile(file.path());
  });
}

long resident_kib() {
  rusage usage{};
  ::getrusage(RUSAGE_SELF, &usage);
  return usage.ru_maxrss;
}

bool claims_cost_nothing() {
  return rc::check("what a header claims is not allocated", [] {
    capture_header header;
    header.bytes = {.control = abi::control_bytes + 4ull * abi::max_encoded,
                    .ring = 64ull * abi::max_encoded,
                    .debug_log = 4 + 16ull * abi::max_encoded,
                    .io_queue = 2048};
    auto all = format::write_header(header);
    RC_ASSERT(all.has_value());
    const std::size_t start = all->size();
    all->resize(start + format::record_bytes);
    const auto place = std::span(*all).subspan(start).first<format::record_bytes>();
    const scratch file;
    const long before = resident_kib();
    // A frame that would be the largest; an end that claims more frames than there are bytes.
    for (const format::record& claim :
         {format::record{
              .what = format::kind::key_frame, .stored = 0x7FFF'FFFF, .unpacked = 0xFFFF'FFFF},
          format::record{.what = format::kind::key_frame,
                         .stored = 16,
                         .unpacked = static_cast<std::uint32_t>(header.bytes.all())},
          format::record{.what = format::kind::end, .number = 1ull << 40, .link = start}}) {
      format::write_record(claim, place);
      file.write(*all);
      read_hostile(file.path());
      file.resize(1ull << 40);  // a sparse file claims any size for free
      read_hostile(file.path());
    }
    RC_ASSERT(resident_kib() - before < 4096);
    header.bytes.ring += 64;
    RC_ASSERT(!format::write_header(header).has_value());
  });
}

bool offsets_have_64_bits() {
  return rc::check("frames behind the fourth GiB are found, with an index and without", [] {
    const scenario written = make_scenario(*props::uniform<std::uint64_t>(), 2, 2);
    const scratch small;
    record(written, small.path());
    const file_bytes all = small.read();
    const auto ends = ends_of(all);
    const std::size_t first_end = ends[0];
    // Between the two frames, a record that no reader of frames looks into, and that is a hole.
    const auto part = [&](std::size_t from, std::size_t to) {
      return std::span(all).subspan(from, to - from);
    };
    const scratch file;
    file.write(part(0, first_end));
    std::array<std::byte, format::record_bytes> place{};
    const format::record hole{.what = format::kind::index, .stored = 0xFFFF'FF00u};
    format::write_record(hole, place);
    file.write_at(first_end, place);
    const std::uint64_t second = first_end + format::record_bytes + std::uint64_t{hole.stored};
    file.write_at(second, part(first_end, ends[1]));
    RC_ASSERT(second > 1ull << 32 || second + all.size() > 1ull << 32);
    RC_ASSERT(read_back(written, file.path(), true) == std::optional<std::uint64_t>(2));

    const auto record_of = [&](std::size_t at) {
      return *format::read_record(
          part(at, at + format::record_bytes).first<format::record_bytes>());
    };
    file_bytes index;
    const std::size_t header = load_word(all.data(), 3);
    format::append_entry({.offset = header, .at = written.frames[0].at, .key = 0}, index);
    format::append_entry(
        {.offset = second, .at = written.frames[1].at, .key = record_of(first_end).link}, index);
    const std::uint64_t index_at = second + (ends[1] - first_end);
    format::write_record({.what = format::kind::index,
                          .stored = static_cast<std::uint32_t>(index.size()),
                          .unpacked = static_cast<std::uint32_t>(index.size()),
                          .checksum = format::checksum(index)},
                         place);
    file.write_at(index_at, place);
    file.write_at(index_at + place.size(), index);
    format::write_record(
        {.what = format::kind::end, .number = 2, .at = written.frames[1].at, .link = index_at},
        place);
    file.write_at(index_at + format::record_bytes + index.size(), place);
    RC_ASSERT(capture_reader::open(file.path())->damage().empty());
    RC_ASSERT(read_back(written, file.path(), true) == std::optional<std::uint64_t>(2));
  });
}

bool drops_are_counted() {
  return rc::check("what is offered is in the file or counted as dropped", [] {
    const auto count = *props::between<std::size_t>(1, 300);
    const scenario written = make_scenario(*props::uniform<std::uint64_t>(), 64, count);
    const scratch file;
    std::vector<std::size_t> taken;
    {
      auto writer = capture_writer::create(file.path(), written.header);
      RC_ASSERT(writer.has_value());
      for (std::size_t i = 0; i < count; ++i) {
        if ((*writer)->offer(written.frames[i].view())) taken.push_back(i);
      }
      (*writer)->miss(3);
      // Of other sizes, from the past: refused.
      kept_frame odd = written.frames.back();
      odd.buffers[1].resize(odd.buffers[1].size() + 64);
      while (!(*writer)->has_room()) std::this_thread::yield();
      RC_ASSERT(!(*writer)->offer(odd.view()));
      odd = written.frames.back();
      odd.at = written.frames[taken.back()].at - 1ns;
      RC_ASSERT(!(*writer)->offer(odd.view()));
      const auto closed = (*writer)->close();
      RC_ASSERT(closed.has_value());
      RC_ASSERT(closed->frames == taken.size());
      RC_ASSERT(closed->frames + closed->dropped == count + 5);
    }
    auto reader = capture_reader::open(file.path());
    RC_ASSERT(reader.has_value() && reader->totals().dropped == count - taken.size() + 5);
    for (const std::size_t i : taken) {
      const auto next = reader->next();
      RC_ASSERT(next.has_value() && next->has_value());
      RC_ASSERT(same(**next, written.frames[i].view()));
    }
  });
}

bool full_disks_are_reported() {
  return rc::check("a file that may not grow is reported, and what is whole in it reads", [] {
    const scenario written = make_scenario(*props::uniform<std::uint64_t>(), 64, 100);
    const scratch file;
    rlimit usual{};
    ::getrlimit(RLIMIT_FSIZE, &usual);
    const rlimit small{.rlim_cur = *props::between<rlim_t>(2000, 40'000),
                       .rlim_max = usual.rlim_max};
    auto writer = capture_writer::create(file.path(), written.header);
    RC_ASSERT(writer.has_value());
    ::setrlimit(RLIMIT_FSIZE, &small);
    for (const kept_frame& f : written.frames) {
      while (!(*writer)->has_room()) std::this_thread::yield();
      (void)(*writer)->offer(f.view());
    }
    const auto closed = (*writer)->close();
    ::setrlimit(RLIMIT_FSIZE, &usual);
    const capture_totals totals = (*writer)->totals();
    RC_ASSERT(!closed.has_value() && closed.error() == (*writer)->failure());
    RC_ASSERT(totals.frames + totals.dropped == written.frames.size());
    RC_ASSERT(totals.bytes <= small.rlim_cur);
    RC_ASSERT(read_back(written, file.path(), true) == std::optional(totals.frames));
  });
}

}  // namespace

int main() {
  std::signal(SIGXFSZ, SIG_IGN);
  bool good = true;
  for (const auto check :
       {frames_come_back, long_captures_have_many_indexes, truncation_keeps_whole_frames,
        corruption_is_seen, hostile_bytes_are_survived, claims_cost_nothing, offsets_have_64_bits,
        drops_are_counted, full_disks_are_reported})
    good = check() && good;
  return good ? 0 : 1;
}
