// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
module;
#include <megakernel/ring_digest.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <expected>
#include <span>
module megakernel.decoder;
import megakernel.protocol;

namespace megakernel {
namespace {

namespace wire = abi::digest;

std::unexpected<error> refuse(error_code code, std::uint64_t index, std::uint64_t found,
                              std::uint64_t bound) noexcept {
  return std::unexpected(error{
      .code = code, .buffer = buffer::digest, .index = index, .found = found, .bound = bound});
}

/// Where `found` is not `bound`.
result<void> expect_equal(std::uint64_t index, std::uint64_t found, std::uint64_t bound) noexcept {
  if (found != bound) return refuse(error_code::digest_inconsistent, index, found, bound);
  return {};
}
/// Where `found` is more than `bound`.
result<void> expect_at_most(std::uint64_t index, std::uint64_t found,
                            std::uint64_t bound) noexcept {
  if (found > bound) return refuse(error_code::digest_inconsistent, index, found, bound);
  return {};
}

}  // namespace

slot_counts counts_of(const ring_view& ring) noexcept {
  slot_counts counts;
  const auto count = [](key_counts& to, std::uint32_t key) {
    ++(key < to.of.size() ? to.of[key] : to.others);
  };
  for (const slot_snapshot slot : ring) {
    count(counts.opcodes, word(slot.op));
    count(counts.tenants, slot.tenant);
  }
  return counts;
}

/// Goes through the bytes once, front to back.
class ring_digest::reader {
 public:
  reader(std::span<const std::byte> bytes, ring_digest& into) noexcept
      : bytes_(bytes), into_(into) {}

  result<void> all() noexcept {
    for (const auto step : {&reader::request, &reader::counts, &reader::sketches, &reader::windows,
                            &reader::unlisted}) {
      if (auto read = (this->*step)(); !read) return read;
    }
    return {};
  }

 private:
  [[nodiscard]] word at(std::size_t index) const noexcept {
    return load_word(bytes_.data(), index);
  }
  [[nodiscard]] std::uint64_t sum(std::size_t first, std::size_t count) const noexcept {
    std::uint64_t total = 0;
    for (std::size_t i = first; i < first + count; ++i) total += at(i);
    return total;
  }
  [[nodiscard]] result<void> expect_zeros(std::size_t first, std::size_t last) const noexcept {
    for (std::size_t i = first; i < last; ++i) {
      if (auto zero = expect_equal(i, at(i), 0); !zero) return zero;
    }
    return {};
  }

  result<void> request() noexcept {
    constexpr std::size_t fixed_bytes = wire::sketches_word * sizeof(word);
    if (bytes_.size() < fixed_bytes)
      return refuse(error_code::digest_wrong_size, 0, bytes_.size(), fixed_bytes);
    if (const word found = at(wire::magic_word); found != wire::magic)
      return refuse(error_code::digest_foreign, wire::magic_word, found, wire::magic);
    if (const word found = at(wire::version_word); found != wire::version)
      return refuse(error_code::digest_foreign, wire::version_word, found, wire::version);

    digest_request& made_for = into_.request_;
    made_for.depth = at(wire::depth_word);
    made_for.width = at(wire::width_word);
    if (!wire::holds_sketches(made_for.depth, made_for.width))
      return refuse(error_code::digest_inconsistent, wire::width_word, made_for.width,
                    made_for.depth == 0 ? 0 : wire::most_counters / made_for.depth);
    windows_ = at(wire::windows_word);
    if (auto fits = expect_at_most(wire::windows_word, windows_, wire::most_windows); !fits)
      return fits;
    made_for.window_opcodes = at(wire::window_opcodes_word);
    if (auto fits = expect_at_most(wire::window_opcodes_word, made_for.window_opcodes,
                                   digest_request::most_window_opcodes);
        !fits)
      return fits;
    const std::size_t size =
        std::size_t{wire::words(made_for.depth, made_for.width, windows_)} * sizeof(word);
    if (bytes_.size() != size) return refuse(error_code::digest_wrong_size, 0, bytes_.size(), size);

    for (word i = 0; i < made_for.window_opcodes; ++i) {
      const word op = at(wire::window_opcode_word + i);
      made_for.window_opcode[i] = op;
      if (i != 0 && op <= made_for.window_opcode[i - 1])
        return refuse(error_code::digest_inconsistent, wire::window_opcode_word + i, op,
                      std::uint64_t{made_for.window_opcode[i - 1]} + 1);
    }
    if (auto zero = expect_zeros(wire::other_tenants_word + 1, wire::window_opcode_word); !zero)
      return zero;
    return expect_zeros(wire::window_opcode_word + made_for.window_opcodes, wire::occupancy_word);
  }

  result<void> counts() noexcept {
    slots_ = at(wire::slots_word);
    if (auto all =
            expect_equal(wire::occupancy_word, sum(wire::occupancy_word, wire::statuses), slots_);
        !all)
      return all;
    if (auto zero = expect_zeros(wire::occupancy_word + wire::statuses, wire::opcodes_word); !zero)
      return zero;
    const auto of = [&](slot_status status) { return at(wire::occupancy_word + word(status)); };
    using enum slot_status;
    into_.summary_.occupancy_ = {.empty = of(empty),
                                 .published = of(published),
                                 .claimed = of(claimed),
                                 .done = of(done),
                                 .wait_io = of(wait_io),
                                 .yield = of(yield),
                                 .requeue = of(requeue),
                                 .fault = of(fault),
                                 .unknown = at(wire::occupancy_word + wire::statuses - 1)};
    if (auto all = expect_equal(wire::active_word, at(wire::active_word),
                                into_.summary_.occupancy_.active());
        !all)
      return all;
    if (auto all = count(into_.counts_.opcodes, wire::opcodes_word, wire::other_opcodes_word); !all)
      return all;
    return count(into_.counts_.tenants, wire::tenants_word, wire::other_tenants_word);
  }
  result<void> count(key_counts& counts, word first, word others) noexcept {
    for (word key = 0; key < wire::keys; ++key) counts.of[key] = at(first + key);
    counts.others = at(others);
    return expect_equal(others, sum(first, wire::keys) + counts.others, slots_);
  }

  result<void> sketches() noexcept {
    const std::size_t width = into_.request_.width;
    const std::size_t rows = std::size_t{wire::sketches} * into_.request_.depth;
    if (auto sized = into_.counters_.resize_for_overwrite(rows * width); !sized) return sized;
    std::size_t from = wire::sketches_word;
    std::uint64_t* to = into_.counters_.data();
    for (std::size_t row = 0; row < rows; ++row) {
      const auto which = static_cast<ring_sketch>(row / into_.request_.depth);
      const std::uint64_t slots =
          which == ring_sketch::active_opcode ? into_.summary_.occupancy_.active() : slots_;
      const std::size_t first = from;
      std::uint64_t total = 0;
      for (std::size_t i = 0; i < width; ++i, ++to, from += 2) {
        *to = std::uint64_t{at(from + 1)} << 32 | at(from);
        if (__builtin_add_overflow(total, *to, &total))
          return refuse(error_code::digest_inconsistent, first, ~std::uint64_t{0}, slots);
      }
      if (auto all = expect_equal(first, total, slots); !all) return all;
    }
    next_ = from;
    return {};
  }

  /// The number of a window opcode in the list.
  [[nodiscard]] word number_of(word op) const noexcept {
    const std::span list(into_.request_.window_opcode, into_.request_.window_opcodes);
    return static_cast<word>(std::ranges::find(list, op) - list.begin());
  }

  result<void> window(std::size_t from) noexcept {
    const auto in = [&](word what) { return at(from + what); };
    const word slots = in(wire::window_slots_word);
    const window_telemetry w{.ticket = in(wire::ticket_word),
                             .op = opcode{in(wire::opcode_word)},
                             .tenant = in(wire::tenant_word),
                             .required_slots = in(wire::required_word),
                             .lookahead_slots = in(wire::lookahead_word),
                             .published = in(wire::published_word),
                             .claimed = in(wire::published_word + 1),
                             .done = in(wire::published_word + 2),
                             .wait_io = in(wire::published_word + 3),
                             .yield = in(wire::published_word + 4),
                             .requeue = in(wire::published_word + 5),
                             .fault = in(wire::fault_word),
                             .tenants_disagree = in(wire::tenants_disagree_word) != 0};
    const word number = number_of(word(w.op));
    if (number == into_.request_.window_opcodes)
      return refuse(error_code::digest_inconsistent, from + wire::opcode_word, word(w.op), 0);
    const std::uint64_t key = std::uint64_t{w.ticket} << 32 | word(w.op);
    if (from != next_ && key <= last_key_)
      return refuse(error_code::digest_inconsistent, from, key, last_key_);
    last_key_ = key;
    if (slots == 0)
      return refuse(error_code::digest_inconsistent, from + wire::window_slots_word, 0, 1);
    for (const auto& fits :
         {expect_at_most(from + wire::required_word,
                         std::uint64_t{w.required_slots} + w.lookahead_slots, slots),
          expect_at_most(from + wire::published_word,
                         sum(from + wire::published_word, wire::statuses - 2), slots),
          expect_at_most(from + wire::tenants_disagree_word, in(wire::tenants_disagree_word),
                         slots > 1 ? 1 : 0),
          expect_zeros(from + wire::tenants_disagree_word + 1, from + wire::window_words)}) {
      if (!fits) return fits;
    }
    listed_[number] += slots;
    for (word status = 1; status < wire::statuses - 1; ++status)
      by_status_[status] += in(wire::published_word + status - 1);
    into_.summary_.windows_.list(w);
    return {};
  }

  result<void> windows() noexcept {
    if (auto room = into_.summary_.windows_.start_list(windows_); !room) return room;
    for (word i = 0; i < windows_; ++i) {
      if (auto read = window(next_ + std::size_t{i} * wire::window_words); !read) return read;
    }
    for (word status = 1; status < wire::statuses - 1; ++status) {
      const word index = wire::occupancy_word + status;
      if (auto fits = expect_at_most(index, by_status_[status], at(index)); !fits) return fits;
    }
    return {};
  }

  /// Slots of these opcodes that the windows lack must be in no listed window.
  result<void> unlisted() noexcept {
    const std::span list(into_.request_.window_opcode, into_.request_.window_opcodes);
    std::uint64_t least = 0;
    std::uint64_t listed_others = 0;
    bool others = false;
    for (word i = 0; i < list.size(); ++i) {
      if (list[i] >= wire::keys) {
        others = true;
        listed_others += listed_[i];
        continue;
      }
      const word index = wire::opcodes_word + list[i];
      if (auto fits = expect_at_most(index, listed_[i], at(index)); !fits) return fits;
      least += at(index) - listed_[i];
    }
    if (auto fits =
            expect_at_most(wire::other_opcodes_word, listed_others, at(wire::other_opcodes_word));
        !fits)
      return fits;
    const std::uint64_t most =
        least + (others ? at(wire::other_opcodes_word) - listed_others : std::uint64_t{0});
    into_.unlisted_ = at(wire::unlisted_word);
    return expect_equal(wire::unlisted_word, into_.unlisted_,
                        std::clamp<std::uint64_t>(into_.unlisted_, least, most));
  }

  std::span<const std::byte> bytes_;
  ring_digest& into_;
  std::uint64_t slots_ = 0;
  word windows_ = 0;
  std::size_t next_ = 0;  // the first word of the windows
  std::uint64_t last_key_ = 0;
  std::array<std::uint64_t, digest_request::most_window_opcodes> listed_{};  // slots by opcode
  std::array<std::uint64_t, wire::statuses> by_status_{};                    // of all windows
};

void ring_digest::clear() noexcept {
  summary_.clear();
  counts_ = {};
  request_ = {};
  unlisted_ = 0;
  counters_.clear();
}

result<void> ring_digest::decode(std::span<const std::byte> control,
                                 std::span<const std::byte> digest) noexcept {
  clear();
  const auto words = decode_control(control);
  if (!words) return std::unexpected(words.error());
  auto read = reader(digest, *this).all();
  if (read) {
    summary_.control_ = *words;
  } else {
    clear();
  }
  return read;
}

}  // namespace megakernel
