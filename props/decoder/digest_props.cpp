// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// A digest says of a ring what decoding the ring says, and bytes that say two things are refused.
// The digests here are made by a plain implementation, which the device's are compared with, too.
#include <rapidcheck.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <expected>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "oracle_digest.h"
#include "rings.h"
#include "support.h"

import megakernel;

namespace {

using namespace props;
namespace mk = megakernel;
using words = std::vector<std::uint32_t>;

template <class T>
T must(mk::result<T> got) {
  if (!got) RC_FAIL(std::string(got.error().message().text()));
  if constexpr (!std::is_void_v<T>) return std::move(*got);
}

words to_words(const bytes& from) {
  words out(from.size() / 4);
  for (std::size_t i = 0; i < out.size(); ++i) out[i] = oracle::word_at(from, i);
  return out;
}

std::span<const std::byte> view(const bytes& b) { return std::as_bytes(std::span(b)); }

/// A ring, and what is wanted of it.
struct trial {
  built_ring ring;
  oracle::digest_wish wish;
  mk::window_opcodes windows;
  [[nodiscard]] words digest() const {
    const words all = to_words(ring.ring);
    return oracle::make_digest(all.data(), all.size() / 16, wish);
  }
};

trial any_trial(std::uint32_t most_slots) {
  trial made{build(*any_shape(between<std::uint32_t>(0, most_slots))), {}, {}};
  std::set<std::uint32_t> list(made.ring.windows.begin(), made.ring.windows.end());
  while (list.size() > 16) list.erase(std::prev(list.end()));
  made.wish.opcodes.assign(list.begin(), list.end());
  if (!*rc::gen::weightedElement<bool>({{1, true}, {3, false}})) {
    made.wish.depth = *rc::gen::element<std::uint32_t>(1, 2, 4, 5);
    made.wish.width = *rc::gen::element<std::uint32_t>(1, 2, 7, 64, 100);
  }
  std::vector<mk::opcode> named;
  for (const std::uint32_t op : list) named.push_back(mk::opcode{op});
  made.windows = must(mk::window_opcodes::of(named));
  return made;
}

/// For what draws nothing.
template <class Law>
bool once(const char* hazard, Law law) {
  bool tried = false;
  return rc::check(hazard, [&] {
    if (tried) return;
    tried = true;
    law();
  });
}

bool is_empty(const mk::ring_digest& digest) {
  return digest.summary() == mk::ring_summary() && digest.counts() == mk::slot_counts() &&
         digest.request() == mk::digest_request{} && digest.unlisted_window_slots() == 0 &&
         digest.counters(mk::ring_sketch::status).empty();
}

/// Against the ring itself, which is decoded.
void expect_same(const mk::ring_digest& digest, const trial& of) {
  const auto control = view(of.ring.control);
  const auto ring = view(of.ring.ring);
  mk::ring_telemetry telemetry;
  must(telemetry.decode(control, ring, of.windows));
  RC_ASSERT(digest.summary() == telemetry.summary());
  RC_ASSERT(digest.counts() == mk::counts_of(must(mk::ring_view::over(control, ring))));
  RC_ASSERT(digest.unlisted_window_slots() == 0u);
  RC_ASSERT(digest.request().depth == of.wish.depth && digest.request().width == of.wish.width);
  auto from_digest = must(mk::telemetry_sketch::of_shape(3, 3));
  if (of.wish.depth == 0) {
    const auto refused = from_digest.assign(digest);
    RC_ASSERT(!refused && refused.error().code == mk::error_code::sketch_dim_zero);
    RC_ASSERT(from_digest == must(mk::telemetry_sketch::of_shape(3, 3)));
    return;
  }
  auto from_ring = must(mk::telemetry_sketch::of_shape(of.wish.depth, of.wish.width));
  must(from_ring.assign(telemetry));
  must(from_digest.assign(digest));
  RC_ASSERT(from_digest == from_ring);
  RC_ASSERT(from_digest.total_slots() == from_ring.total_slots() &&
            from_digest.active_slots() == from_ring.active_slots());
}

bool says_what_the_ring_says() {
  return rc::check("a digest says what decoding the ring says", [] {
    const trial of = any_trial(400);
    const bytes digest = to_bytes(of.digest());
    const placed control(of.ring.control, *between<std::size_t>(0, 7));
    const placed there(digest, *between<std::size_t>(0, 7));
    mk::ring_digest decoded;
    must(decoded.decode(control.view(), there.view()));
    expect_same(decoded, of);
  });
}

bool storage_is_used_again() {
  return rc::check("nothing is left of another digest, nor of one that is refused", [] {
    const trial first = any_trial(200);
    const trial second = any_trial(200);
    const bytes one = to_bytes(first.digest());
    const bytes other = to_bytes(second.digest());
    mk::ring_digest decoded;
    must(decoded.decode(view(first.ring.control), view(one)));
    must(decoded.decode(view(second.ring.control), view(other)));
    expect_same(decoded, second);
    const auto short_control = decoded.decode(view(first.ring.control).first(639), view(one));
    RC_ASSERT(!short_control && short_control.error().code == mk::error_code::control_too_short);
    RC_ASSERT(is_empty(decoded));
    must(decoded.decode(view(first.ring.control), view(one)));
    RC_ASSERT(!decoded.decode(view(first.ring.control), view(one).first(one.size() - 1)));
    RC_ASSERT(is_empty(decoded));
    must(decoded.decode(view(first.ring.control), view(one)));
    expect_same(decoded, first);
    decoded.clear();
    RC_ASSERT(is_empty(decoded));
  });
}

bool windows_without_room() {
  return rc::check("windows that find no room are left out whole, and their slots counted", [] {
    trial of = any_trial(400);
    const words all = to_words(of.ring.ring);
    const words roomy = of.digest();
    of.wish.most_windows = *between<std::size_t>(0, roomy[5]);
    const words cramped = of.digest();
    mk::ring_digest decoded;
    mk::ring_summary summary;
    must(decoded.decode(view(of.ring.control), view(to_bytes(cramped))));
    must(summary.decode(view(of.ring.control), view(of.ring.ring), of.windows));
    RC_ASSERT(decoded.summary().occupancy() == summary.occupancy());
    RC_ASSERT(decoded.summary().windows().size() == of.wish.most_windows);
    RC_ASSERT(std::ranges::all_of(decoded.summary().windows(), [&](const auto& window) {
      return std::ranges::find(summary.windows(), window) != summary.windows().end();
    }));
    std::size_t listed = 0;
    for (std::size_t w = 0; w < cramped[5]; ++w) listed += cramped[cramped.size() - 16 * w - 4];
    std::size_t in_windows = 0;
    for (std::size_t s = 0; s < all.size(); s += 16)
      in_windows += std::ranges::binary_search(of.wish.opcodes, all[s + 1]);
    RC_ASSERT(listed + decoded.unlisted_window_slots() == in_windows);
  });
}

/// The refusal there should be, by the plain checker; else the same figures.
void expect_as_judged(const words& digest, std::size_t size) {
  bytes there = to_bytes(digest);
  there.resize(size);
  mk::ring_digest decoded;
  const auto got = decoded.decode(view(bytes(640)), view(there));
  const oracle::digest_refusal wanted = oracle::judge_digest(digest, size);
  RC_ASSERT((got ? std::string_view() : mk::to_string(got.error().code)) == wanted.code);
  if (!got) {
    RC_ASSERT((got.error().index == wanted.index && got.error().found == wanted.found &&
               got.error().bound == wanted.bound));
    RC_ASSERT(got.error().buffer == mk::buffer::digest);
    RC_ASSERT(is_empty(decoded));
    return;
  }
  const mk::ring_occupancy& o = decoded.summary().occupancy();
  const std::array<std::uint32_t, 9> by_status{o.empty, o.published, o.claimed, o.done,   o.wait_io,
                                               o.yield, o.requeue,   o.fault,   o.unknown};
  RC_ASSERT(std::equal(by_status.begin(), by_status.end(), digest.begin() + 32));
  RC_ASSERT(std::ranges::equal(decoded.counts().opcodes.of, std::span(digest).subspan(48, 32)));
  RC_ASSERT(std::ranges::equal(decoded.counts().tenants.of, std::span(digest).subspan(80, 32)));
  RC_ASSERT(decoded.counts().opcodes.others == digest[9]);
  RC_ASSERT(decoded.counts().tenants.others == digest[10]);
  RC_ASSERT(decoded.unlisted_window_slots() == digest[6]);
  std::size_t at = 112;
  for (std::uint32_t which = 0; which < 4; ++which)
    for (const std::uint64_t counter : decoded.counters(mk::ring_sketch{which})) {
      RC_ASSERT(counter == (digest[at] | std::uint64_t{digest[at + 1]} << 32));
      at += 2;
    }
  for (const mk::window_telemetry& w : decoded.summary().windows()) {
    const std::array<std::uint32_t, 12> figures{
        w.ticket,  mk::word(w.op), w.tenant,  w.required_slots, w.lookahead_slots, w.published,
        w.claimed, w.done,         w.wait_io, w.yield,          w.requeue,         w.fault};
    RC_ASSERT(std::equal(figures.begin(), figures.end(),
                         digest.begin() + static_cast<std::ptrdiff_t>(at)));
    RC_ASSERT(w.tenants_disagree == (digest[at + 13] != 0));
    at += 16;
  }
  RC_ASSERT(at == digest.size());
}

bool changed_words() {
  return rc::check("a digest with other words is refused, or says what they say", [] {
    const trial of = any_trial(60);
    words digest = of.digest();
    const int changes = *between<int>(1, 3);
    for (int i = 0; i < changes; ++i) {
      const std::size_t most = *rc::gen::element<std::size_t>(16, 48, 112, digest.size());
      std::uint32_t& at = digest[*between<std::size_t>(0, std::min(most, digest.size()) - 1)];
      switch (*between<int>(0, 3)) {
        case 0:
          at = *any_word();
          break;
        case 1:
          ++at;
          break;
        case 2:
          --at;
          break;
        default:
          at ^= 1u << *between<int>(0, 31);
      }
    }
    expect_as_judged(digest, digest.size() * 4);
  });
}

/// What changes two figures that belong together gets past the sums.
bool moved_slots() {
  return rc::check("slots that are moved from figure to figure are refused, or believed", [] {
    const trial of = any_trial(60);
    words digest = of.digest();
    const auto any = [&] {
      return *rc::gen::element<std::size_t>(
          *between<std::size_t>(6, 10), *between<std::size_t>(32, 40),
          *between<std::size_t>(48, 111), *between<std::size_t>(48, digest.size() - 1),
          *between<std::size_t>(112, digest.size()) - 1);
    };
    const int moves = *between<int>(1, 3);
    for (int i = 0; i < moves; ++i) {
      const std::size_t from = any();
      const std::size_t to = any();
      if (digest[from] == 0) continue;
      --digest[from];
      ++digest[to];
    }
    expect_as_judged(digest, digest.size() * 4);
  });
}

/// Each law by itself: every word of one digest, up and down, to nothing and to the most, alone and
/// with each of the counts.
bool every_word() {
  return once("every word of a digest is looked at", [] {
    words ring;
    for (const std::array<std::uint32_t, 6>& slot :
         std::vector<std::array<std::uint32_t, 6>>{{1, 9, 3, 0, 7, 0},
                                                   {2, 9, 3, 0, 7, 1},
                                                   {3, 9, 4, 0, 7, 0},
                                                   {7, 9, 3, 0, 8, 2},
                                                   {0, 9, 3, 0, 8, 0},
                                                   {6, 40, 50, 0, 7, 0},
                                                   {99, 1, 2, 0, 0, 0}}) {
      ring.insert(ring.end(), slot.begin(), slot.end());
      ring.resize(ring.size() + 10);
    }
    const words whole =
        oracle::make_digest(ring.data(), 7, {.depth = 2, .width = 3, .opcodes = {9, 40}});
    const std::array<std::size_t, 4> counts{6, 9, 49, whole.size() - 4};
    for (std::size_t at = 0; at < whole.size(); ++at) {
      for (const std::uint32_t value : {whole[at] + 1, whole[at] - 1, 0u, ~0u}) {
        words changed = whole;
        changed[at] = value;
        expect_as_judged(changed, changed.size() * 4);
        for (const std::size_t count : counts) {
          if (count == at) continue;
          for (const std::uint32_t step : {1u, ~0u}) {
            words both = changed;
            both[count] += step;
            expect_as_judged(both, both.size() * 4);
          }
        }
        // A row whose sum passes 64 bits.
        words large = changed;
        large[113] = ~0u;
        expect_as_judged(large, large.size() * 4);
      }
    }
  });
}

bool every_length() {
  return once("a digest has one length", [] {
    const trial of = any_trial(8);
    const words digest = of.digest();
    words padded = digest;
    padded.resize(digest.size() + 20);
    for (std::size_t size = 0; size < digest.size() * 4 + 70; ++size)
      expect_as_judged(size <= digest.size() * 4 ? digest : padded, size);
  });
}

/// What digests are compared by.
bool equality() {
  return once("summaries are equal where control, occupancy and windows are", [] {
    const auto of = [](std::uint32_t done, std::uint32_t status, std::uint32_t ticket) {
      words control(160), ring(32);
      control[1] = done;
      ring[0] = status;
      ring[16 + 1] = 9;
      ring[16 + 4] = ticket;
      mk::ring_summary summary;
      const std::array list{mk::opcode{9}};
      RC_ASSERT(
          summary
              .decode(view(to_bytes(control)), view(to_bytes(ring)), *mk::window_opcodes::of(list))
              .has_value());
      return summary;
    };
    RC_ASSERT(of(1, 3, 7) == of(1, 3, 7));
    RC_ASSERT(of(1, 3, 7) != of(2, 3, 7));
    RC_ASSERT(of(1, 3, 7) != of(1, 5, 7));
    RC_ASSERT(of(1, 3, 7) != of(1, 3, 8));
  });
}

/// The bounds of what a digest can be, which no small ring comes near.
bool largest() {
  return once("the largest digest is one, and nothing larger", [] {
    words digest = oracle::make_digest(nullptr, 0, {.depth = 128, .width = 128});
    expect_as_judged(digest, digest.size() * 4);
    RC_ASSERT(oracle::wrong_with_digest(digest, digest.size() * 4) == std::string_view());
    for (const auto& [depth, width] :
         std::initializer_list<std::pair<std::uint32_t, std::uint32_t>>{
             {1, 16385}, {16385, 1}, {129, 128}, {0, 1}, {1, 0}, {65536, 65536}, {~0u, ~0u}}) {
      digest[3] = depth;
      digest[4] = width;
      expect_as_judged(digest, digest.size() * 4);
    }
    std::vector<std::uint32_t> ring(std::size_t{8192} * 16);
    for (std::size_t i = 0; i < 8192; ++i) {
      ring[16 * i + 1] = 9;
      ring[16 * i + 4] = static_cast<std::uint32_t>(i * 0x9E3779B1u);
    }
    words crowded = oracle::make_digest(ring.data(), 8192, {.opcodes = {9}});
    RC_ASSERT(crowded[5] == 8192u);
    expect_as_judged(crowded, crowded.size() * 4);
    ++crowded[5];
    crowded.resize(crowded.size() + 16);
    expect_as_judged(crowded, crowded.size() * 4);
  });
}

}  // namespace

int main() {
  bool ok = true;
  ok &= says_what_the_ring_says();
  ok &= storage_is_used_again();
  ok &= windows_without_room();
  ok &= changed_words();
  ok &= moved_slots();
  ok &= every_word();
  ok &= every_length();
  ok &= equality();
  ok &= largest();
  return ok ? 0 : 1;
}
