// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The IO queue: any words, and any calls of the host on them, next to a queue of
// plain words. What is refused changes no byte; what is accepted changes what it should.
// docs/protocol.md#io-publish docs/protocol.md#io-claim docs/protocol.md#io-complete
#include "fuzz.h"
#include "refusal.h"

#include "megakernel_import.h"

namespace mk = megakernel;

namespace {

constexpr std::uint32_t empty = 0, published = 1, claimed = 2, ok = 0x10, failed = 0x11;

/// The queue and its twin.
class twins {
 public:
  explicit twins(fuzz::input& in)
      : slots_(in.below(64)), plain_(std::size_t{32} * slots_), real_(plain_.size()) {
    for (std::uint32_t slot = 0; slot < slots_; ++slot) {
      const std::uint32_t base = in.number();
      for (std::uint32_t i = 0; i < 8; ++i) expect(slot, i, i == 6 ? base : base + i);
    }
    if (slots_ != 0) std::memcpy(&real_[0], plain_.data(), plain_.size());
  }

  /// One call on both.
  void step(fuzz::input& in) {
    auto queue = mk::io_queue::over(real_.writable());
    fuzz::check(queue.has_value() && queue->slots() == slots_, "a whole queue is one");
    const std::uint32_t kind = in.below(7);
    const std::uint32_t slot = in.number();
    switch (kind) {
      case 0:
        if (const auto got = queue->status(slot); !fuzz::refused_as(got, missing(slot)))
          fuzz::check(mk::word(*got) == status(slot), "a status is read as it stands");
        break;
      case 1:
        publish(*queue, slot, in);
        break;
      case 2:
        poll(*queue, slot);
        break;
      case 3:
        claim(*queue, slot);
        break;
      case 4:
        complete(*queue, slot, in);
        break;
      case 5:
        if (!fuzz::refused_as(queue->recycle(slot), wrong_status(slot, {ok, failed})))
          expect(slot, 6, empty);
        break;
      default:
        if (slot < slots_) set(slot, 6, in.number());  // a kernel's
    }
    fuzz::check(std::ranges::equal(real_.plain(), plain_),
                "a call changes what it should, and a refused one nothing");
  }

 private:
  [[nodiscard]] std::uint32_t word(std::uint32_t slot, std::uint32_t index) const {
    return fuzz::word_at(plain_, std::size_t{8} * slot + index);
  }
  [[nodiscard]] std::uint32_t status(std::uint32_t slot) const { return word(slot, 6); }
  /// In the twin alone.
  void expect(std::uint32_t slot, std::uint32_t index, std::uint32_t value) {
    fuzz::put_word(plain_, std::size_t{8} * slot + index, value);
  }
  /// In both.
  void set(std::uint32_t slot, std::uint32_t index, std::uint32_t value) {
    expect(slot, index, value);
    fuzz::put_word({&real_[0], plain_.size()}, std::size_t{8} * slot + index, value);
  }
  [[nodiscard]] fuzz::refusal missing(std::uint32_t slot) const {
    if (slot < slots_) return {};
    return {"io_slot_out_of_range", 0, slot, slots_};
  }
  [[nodiscard]] fuzz::refusal wrong_status(std::uint32_t slot,
                                           std::initializer_list<std::uint32_t> may) const {
    if (slot >= slots_) return missing(slot);
    if (std::ranges::find(may, status(slot)) != may.end()) return {};
    return {"io_slot_wrong_status", slot, status(slot), *may.begin()};
  }

  void publish(mk::io_queue& queue, std::uint32_t slot, fuzz::input& in) {
    const std::array<std::uint32_t, 6> words{in.number(), in.number(), in.number(),
                                             in.number(), in.number(), in.number()};
    const std::uint32_t tag = in.number();
    const mk::io_request request{.operation = mk::io_operation{words[0]},
                                 .source = words[1],
                                 .destination = words[2],
                                 .offset = std::uint64_t{words[4]} << 32 | words[3],
                                 .byte_count = words[5],
                                 .tag = tag};
    const bool known = words[0] >= 1 && words[0] <= 3;
    const fuzz::refusal wrong = slot < slots_ && !known
                                    ? fuzz::refusal{"io_operation_unknown", slot, words[0], 3}
                                    : wrong_status(slot, {empty});
    if (fuzz::refused_as(queue.publish(slot, request), wrong)) return;
    for (std::uint32_t i = 0; i < 6; ++i) expect(slot, i, words[i]);
    expect(slot, 6, published);
    expect(slot, 7, tag);
  }

  void poll(const mk::io_queue& queue, std::uint32_t from) {
    std::uint32_t first = from;
    while (first < slots_ && status(first) != published) ++first;
    const auto got = queue.poll(from);
    fuzz::check(got.has_value() == (first < slots_) && (!got || *got == first),
                "polling finds the first request at or after a slot");
  }

  void claim(mk::io_queue& queue, std::uint32_t slot) {
    const auto got = queue.claim(slot);
    if (fuzz::refused_as(got, wrong_status(slot, {published}))) return;
    const std::uint64_t offset = std::uint64_t{word(slot, 4)} << 32 | word(slot, 3);
    fuzz::check(mk::word(got->operation) == word(slot, 0) && got->source == word(slot, 1) &&
                    got->destination == word(slot, 2) && got->byte_count == word(slot, 5) &&
                    got->tag == word(slot, 7) && got->offset == offset,
                "a request is claimed as it stands");
    expect(slot, 6, claimed);
  }

  void complete(mk::io_queue& queue, std::uint32_t slot, fuzz::input& in) {
    const bool first_ok = in.flag();
    std::vector<mk::io_completion> list(1 + in.below(5));  // no longer than what is in it
    list[0] = {.slot = slot, .ok = first_ok};
    for (mk::io_completion& c : std::span(list).subspan(1))
      c = {.slot = in.number(), .ok = in.flag()};
    fuzz::refusal wrong;
    for (std::size_t i = 0; i < list.size() && wrong.code.empty(); ++i) {
      wrong = wrong_status(list[i].slot, {claimed});
      for (std::size_t k = 0; k < i && wrong.code.empty(); ++k)
        if (list[k].slot == list[i].slot) wrong = {"io_completion_repeated", i, list[i].slot, 0};
    }
    if (fuzz::refused_as(queue.complete(list), wrong)) return;
    for (const mk::io_completion& c : list) expect(c.slot, 6, c.ok ? ok : failed);
  }

  std::uint32_t slots_;
  std::vector<std::uint8_t> plain_;
  fuzz::block real_;
};

/// A request that stands past the queue's end is none of its.
void check_end(std::uint32_t slots) {
  fuzz::block words(std::size_t{32} * (slots + 1));
  fuzz::put_word({&words[0], words.plain().size()}, std::size_t{8} * slots + 6, published);
  auto queue = mk::io_queue::over(words.writable().first(std::size_t{32} * slots)).value();
  fuzz::check(!queue.poll(0).has_value() && !queue.poll(slots).has_value(),
              "polling stays inside the queue");
  fuzz::refused_as(queue.claim(slots), fuzz::refusal{"io_slot_out_of_range", 0, slots, slots});
}

/// Bytes that are a queue or are not.
void check_over(std::uint32_t size, std::size_t offset) {
  fuzz::block queue(size, offset);
  const auto got = mk::io_queue::over(queue.writable());
  fuzz::refusal wrong;
  if (size % 32 != 0)
    wrong = {"io_queue_partial_slot", 0, size, 32};
  else if (size / 32 > 64)
    wrong = {"io_queue_too_large", 0, size / 32, 64};
  else if (offset % 4 != 0)
    wrong = {"buffer_unaligned", 0, offset % 4, 4};
  if (fuzz::refused_as(got, wrong))
    fuzz::check(got.error().buffer == mk::buffer::io_queue, "and says of which buffer it is");
  else
    fuzz::check(got->slots() == size / 32, "slots are counted");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  fuzz::input in(data, size);
  const std::uint32_t bytes = in.number() % 4096;
  check_over(bytes, in.below(8));
  check_end(bytes % 8);
  twins both(in);
  while (!in.empty()) both.step(in);
  return 0;
}
