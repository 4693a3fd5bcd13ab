// The IO queue (SPEC 2.5 and 3): any words, and any calls of the host on them, next to a queue of
// plain words. What is refused changes no byte; what is accepted changes what it should.
#include "fuzz.h"

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
          set(slot, 6, empty);
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
  [[nodiscard]] std::string_view missing(std::uint32_t slot) const {
    return slot < slots_ ? "" : "io_slot_out_of_range";
  }
  [[nodiscard]] std::string_view wrong_status(std::uint32_t slot,
                                              std::initializer_list<std::uint32_t> may) const {
    if (slot >= slots_) return missing(slot);
    return std::ranges::find(may, status(slot)) != may.end() ? "" : "io_slot_wrong_status";
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
    const std::string_view wrong =
        slot < slots_ && !known ? "io_operation_unknown" : wrong_status(slot, {empty});
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
    std::string_view wrong;
    std::uint64_t where = 0;
    for (std::size_t i = 0; i < list.size() && wrong.empty(); ++i) {
      wrong = wrong_status(list[i].slot, {claimed});
      for (std::size_t k = 0; k < i && wrong.empty(); ++k)
        if (list[k].slot == list[i].slot) wrong = "io_completion_repeated";
      where = i;
    }
    const auto got = queue.complete(list);
    if (fuzz::refused_as(got, wrong)) {
      if (wrong == "io_completion_repeated")
        fuzz::check(got.error().index == where, "the second of two completions is named");
      return;
    }
    for (const mk::io_completion& c : list) expect(c.slot, 6, c.ok ? ok : failed);
  }

  std::uint32_t slots_;
  std::vector<std::uint8_t> plain_;
  fuzz::block real_;
};

/// Bytes that are a queue or are not.
void check_over(std::uint32_t size, std::size_t offset) {
  fuzz::block queue(size, offset);
  const auto got = mk::io_queue::over(queue.writable());
  const std::string_view wrong = size % 32 != 0    ? "io_queue_partial_slot"
                                 : size / 32 > 64  ? "io_queue_too_large"
                                 : offset % 4 != 0 ? "buffer_unaligned"
                                                   : "";
  if (!fuzz::refused_as(got, wrong)) fuzz::check(got->slots() == size / 32, "slots are counted");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  fuzz::input in(data, size);
  const std::uint32_t bytes = in.number() % 4096;
  check_over(bytes, in.below(8));
  twins both(in);
  while (!in.empty()) both.step(in);
  return 0;
}
