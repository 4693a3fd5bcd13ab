// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The debug log: an input is the log. The strict reader refuses what it should and reads
// what the words say; the salvaging one takes what is whole and counts what is not.
// docs/protocol.md#debug-log-layout docs/protocol.md#read-debug-log
#include "fuzz.h"
#include "refusal.h"

#include "megakernel_import.h"

namespace mk = megakernel;

namespace {

fuzz::refusal wrong_with(fuzz::bytes log) {
  if (log.size() % 4 != 0) return {"debug_log_misaligned", 0, log.size(), 4};
  if (log.empty()) return {"debug_log_too_short", 0, 0, 4};
  const std::uint32_t cursor = fuzz::word_at(log, 0);
  const std::uint64_t capacity = log.size() / 4 - 1;
  if (cursor > capacity) return {"debug_log_cursor_out_of_range", 0, cursor, capacity};
  if (cursor % 4 != 0) return {"debug_log_cursor_partial_record", 0, cursor, 4};
  return {};
}

void check_records(const mk::debug_log& got, fuzz::bytes log, std::uint64_t count) {
  fuzz::check(got.size() == count && got.empty() == (count == 0), "every whole record is there");
  std::size_t at = 1;
  for (auto each = got.begin(); each != got.end();) {
    const mk::debug_record record = *each++;
    const std::array words{record.format, record.arguments[0], record.arguments[1],
                           record.arguments[2]};
    for (const std::uint32_t word : words)
      fuzz::check(word == fuzz::word_at(log, at++), "a record is four words as they stand");
  }
  fuzz::check(at == 1 + 4 * count, "records are read to the last one");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const fuzz::block log(fuzz::bytes(data, size), size % 3);  // of any alignment
  const auto strict = mk::read_debug_log(log.view());
  if (!fuzz::refused_as(strict, wrong_with(log.plain())))
    check_records(*strict, log.plain(), fuzz::word_at(log.plain(), 0) / 4);

  const auto recovered = mk::recover_debug_log(log.view());
  const std::uint64_t cursor = size < 4 ? 0 : fuzz::word_at(log.plain(), 0);
  const std::uint64_t fitting = size < 4 ? 0 : (size / 4 - 1) / 4;
  const std::uint64_t whole = std::min(cursor / 4, fitting);
  check_records(recovered.records, log.plain(), whole);
  fuzz::check(recovered.dropped == (cursor + 3) / 4 - whole, "what was begun is read or dropped");
  return 0;
}

/// Most inputs get whole words, and many a cursor between two records.
extern "C" std::size_t LLVMFuzzerCustomMutator(std::uint8_t* data, std::size_t size,
                                               std::size_t most, unsigned seed) {
  std::size_t made = fuzz::mutate(data, size, most);
  if (seed % 16 == 0 || made < 4) return made;
  made = made / 4 * 4;
  if (seed % 2 == 0) {
    const std::size_t records = (made / 4 - 1) / 4;
    const auto cursor = static_cast<std::uint32_t>(4 * (seed / 16 % (records + 2)));
    fuzz::put_word({data, made}, 0, cursor);
  }
  return made;
}
