// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <fmt/format.h>
#include <zstd.h>
#include <nlohmann/json.hpp>

#include <array>
#include <charconv>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <expected>
#include <memory>
#include <optional>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "cli/input.h"
#include "cli/output.h"
#include "conformance/conformance.h"
#include "conformance/vectors.h"
#include "render/names.h"
#include "render/run.h"
#include "report/report.h"

import megakernel;

namespace megakernel::tool {

std::vector<std::byte> bytes_of(const json& hex) {
  const auto& text = hex.get_ref<const std::string&>();
  if (text.size() % 2 != 0) throw std::invalid_argument("half a byte of hexadecimal");
  std::vector<std::byte> bytes(text.size() / 2);
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    unsigned char value = 0;
    const char* const digits = text.data() + 2 * i;
    if (std::from_chars(digits, digits + 2, value, 16).ptr != digits + 2)
      throw std::invalid_argument("not hexadecimal");
    bytes[i] = std::byte{value};
  }
  return bytes;
}

std::string fnv1a64(std::span<const std::byte> bytes) {
  std::uint64_t hash = 0xCBF2'9CE4'8422'2325;
  for (const std::byte b : bytes)
    hash = (hash ^ std::to_integer<std::uint64_t>(b)) * 0x100'0000'01B3;
  return fmt::format("{:016x}", hash);
}

json json_of(std::span<const std::byte> bytes) {
  constexpr std::size_t most_spelled = 4096;
  json described{{"len", bytes.size()}};
  if (bytes.size() > most_spelled) {
    described["fnv1a64"] = fnv1a64(bytes);
  } else {
    std::string hex;
    for (const std::byte b : bytes) fmt::format_to(std::back_inserter(hex), "{:02x}", b);
    described["hex"] = std::move(hex);
  }
  return described;
}

namespace {

/// In the order of the golden README, which is the order of the report.
struct kind_result {
  std::string name;
  std::uint64_t passed = 0;
  std::uint64_t failed = 0;
  std::uint64_t skipped = 0;
};

/// The member of an expectation that nothing here computes: the FNV hash beside it identifies the
/// bytes.
void drop_uncompared(json& expected) {
  if (expected.is_object()) {
    expected.erase("sha256");
    for (auto& member : expected) drop_uncompared(member);
  } else if (expected.is_array()) {
    for (auto& element : expected) drop_uncompared(element);
  }
}

std::optional<json> answer(std::string_view kind, const json& input) {
  if (auto from_protocol = answer_protocol(kind, input)) return from_protocol;
  if (auto from_sketch = answer_sketch(kind, input)) return from_sketch;
  if (auto from_scaling = answer_scaling(kind, input)) return from_scaling;
  return answer_decoder(kind, input);
}

class run {
 public:
  void file(std::string_view name, std::string_view text) {
    std::size_t line = 0;
    while (!text.empty()) {
      const std::size_t end = text.find('\n');
      const std::string_view one = text.substr(0, end);
      text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
      ++line;
      if (one.empty()) continue;
      try {
        one_case(json::parse(one));
      } catch (const std::exception& problem) {
        complain("{}:{}: not a usable case: {}\n", printable(name), line, problem.what());
        broken_ = true;
      }
    }
  }

  int report(output& to) const {
    kind_result sum;
    for (const kind_result& kind : kinds_) {
      to.write(fmt::format("{:<26} {:>5} passed {:>5} failed {:>5} skipped\n", kind.name,
                           kind.passed, kind.failed, kind.skipped));
      sum.passed += kind.passed;
      sum.failed += kind.failed;
      sum.skipped += kind.skipped;
    }
    to.write(fmt::format("conformance: {} passed, {} failed, {} skipped\n", sum.passed, sum.failed,
                         sum.skipped));
    return sum.failed != 0 || broken_ ? 1 : 0;
  }

  void broken() { broken_ = true; }

 private:
  template <class... Args>
  static void complain(fmt::format_string<Args...> format, Args&&... args) {
    std::fputs(fmt::format(format, std::forward<Args>(args)...).c_str(), stderr);
  }

  void one_case(const json& golden) {
    const auto& name = golden.at("kind").get_ref<const std::string&>();
    kind_result& kind = of(name);
    const auto got = answer(name, golden.at("input"));
    if (!got) {
      ++kind.skipped;
      return;
    }
    json wanted = golden.at("expect");
    drop_uncompared(wanted);
    if (*got == wanted) {
      ++kind.passed;
      return;
    }
    constexpr std::uint64_t most_shown = 3;
    if (++kind.failed <= most_shown) {
      complain("{}: differs at {}\n", golden.at("id").get<std::string>(),
               json::diff(wanted, *got).at(0).dump());
    }
  }

  kind_result& of(std::string_view name) {
    for (kind_result& kind : kinds_) {
      if (kind.name == name) return kind;
    }
    return kinds_.emplace_back(kind_result{.name = std::string(name)});
  }

  std::vector<kind_result> kinds_;
  bool broken_ = false;
};

/// The text of a file that may be compressed; a sentence when it cannot be had.
std::expected<std::string, std::string> text_of(std::span<const std::byte> bytes,
                                                std::uint64_t bound) {
  constexpr std::array magic{std::byte{0x28}, std::byte{0xB5}, std::byte{0x2F}, std::byte{0xFD}};
  if (bytes.size() < magic.size() || std::memcmp(bytes.data(), magic.data(), magic.size()) != 0) {
    return std::string(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  }
  const std::unique_ptr<ZSTD_DStream, decltype(&ZSTD_freeDStream)> stream(ZSTD_createDStream(),
                                                                          &ZSTD_freeDStream);
  if (!stream) return std::unexpected("There is no memory left to decompress it.");
  std::string text;
  std::vector<char> chunk(ZSTD_DStreamOutSize());
  ZSTD_inBuffer in{bytes.data(), bytes.size(), 0};
  std::size_t hint = 1;
  while (in.pos < in.size) {
    ZSTD_outBuffer out{chunk.data(), chunk.size(), 0};
    hint = ZSTD_decompressStream(stream.get(), &out, &in);
    if (ZSTD_isError(hint) != 0)
      return std::unexpected(fmt::format("It does not decompress: {}.", ZSTD_getErrorName(hint)));
    text.append(chunk.data(), out.pos);
    if (text.size() > bound)
      return std::unexpected(fmt::format("It decompresses to over {}.", human_bytes(bound)));
  }
  if (hint != 0) return std::unexpected("It ends in the middle of compressed data.");
  return text;
}

}  // namespace

int run_conformance(std::span<const std::string> files, output& to) {
  constexpr input_limits limits{.max_bytes = std::uint64_t{1} << 30};
  run all;
  for (const std::string& name : files) {
    const auto refuse = [&](std::string_view why) {
      std::fputs(fmt::format("megakernel: {}: {}\n", printable(name), why).c_str(), stderr);
      all.broken();
    };
    const auto read = read_input(name, limits);
    if (!read) {
      refuse(sentence(read.error()));
      continue;
    }
    const auto text = text_of({read->bytes.data(), read->bytes.size()}, limits.max_bytes);
    if (!text) {
      refuse(text.error());
      continue;
    }
    all.file(name, *text);
  }
  return all.report(to);
}

}  // namespace megakernel::tool
