// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// A strict reader of metrics pages, in OpenMetrics 1.0 or in the older text format, written from
// their specifications: it knows nothing of the library. What a page does wrong is a sentence.
#pragma once

#include <algorithm>
#include <cctype>
#include <charconv>
#include <cmath>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <sstream>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace props {

struct metric_sample {
  std::string name;
  std::map<std::string, std::string> labels;
  std::string value;  ///< as it is written
  [[nodiscard]] double number() const { return std::stod(value); }
  [[nodiscard]] std::uint64_t whole() const {
    std::uint64_t n = 0;
    const auto [at, problem] = std::from_chars(value.data(), value.data() + value.size(), n);
    if (problem != std::errc{} || at != value.data() + value.size())
      throw std::invalid_argument(name + " is no whole number: " + value);
    return n;
  }
};

struct metric_family {
  std::string type;
  std::string unit;
  bool helped = false;
  std::vector<metric_sample> samples;
};

class metrics_reader {
 public:
  /// Throws std::invalid_argument for what the format does not allow.
  metrics_reader(std::string_view page, bool open) : open_(open) {
    while (!page.empty()) {
      const std::size_t end = page.find('\n');
      require(end != page.npos, "the last line does not end");
      require(!ended_, "something after # EOF");
      line(page.substr(0, end));
      page.remove_prefix(end + 1);
    }
    require(!open_ || ended_, "no # EOF");
    for (const auto& [name, family] : families_) check(name, family);
  }

  [[nodiscard]] const std::map<std::string, metric_family>& families() const { return families_; }
  [[nodiscard]] std::size_t series() const { return series_.size(); }

  /// The samples called `name`, by the value of `label`; by "" where there is none.
  [[nodiscard]] std::map<std::string, metric_sample> all(const std::string& name,
                                                         const std::string& label = {}) const {
    std::map<std::string, metric_sample> found;
    for (const auto& [of, family] : families_) {
      for (const metric_sample& s : family.samples) {
        if (s.name == name) found.emplace(label.empty() ? "" : s.labels.at(label), s);
      }
    }
    return found;
  }
  [[nodiscard]] std::optional<std::uint64_t> one(const std::string& name) const {
    const auto found = all(name);
    return found.empty() ? std::nullopt : std::optional(found.begin()->second.whole());
  }
  /// What may not fall, by the text of its series.
  [[nodiscard]] std::map<std::string, double> counters() const {
    std::map<std::string, double> found;
    for (const auto& [name, family] : families_) {
      if (family.type != "counter" && family.type != "histogram") continue;
      for (const metric_sample& s : family.samples) found.emplace(key(s), s.number());
    }
    return found;
  }

 private:
  static void require(bool holds, const std::string& what) {
    if (!holds) throw std::invalid_argument(what);
  }
  static bool is_name(std::string_view text) {
    const auto letter = [](char c) { return std::isalpha(static_cast<unsigned char>(c)) != 0; };
    return !text.empty() && (letter(text[0]) || text[0] == '_') &&
           std::ranges::all_of(
               text, [&](char c) { return letter(c) || c == '_' || (c >= '0' && c <= '9'); });
  }
  static std::string key(const metric_sample& s) {
    std::string text = s.name;
    for (const auto& [name, value] : s.labels) text += '{' + name + '=' + value + '}';
    return text;
  }
  static bool ends(std::string_view text, std::string_view with) { return text.ends_with(with); }

  void line(std::string_view text) {
    if (text == "# EOF") {
      require(open_, "# EOF in the old format");
      ended_ = true;
    } else if (text.starts_with("# ")) {
      describe(text.substr(2));
    } else {
      read(text);
    }
  }

  void describe(std::string_view text) {
    const std::size_t first = text.find(' ');
    const std::size_t second = text.find(' ', first + 1);
    require(first != text.npos && second != text.npos, "not HELP, TYPE or UNIT of something");
    const std::string_view what = text.substr(0, first);
    const std::string name(text.substr(first + 1, second - first - 1));
    const std::string_view rest = text.substr(second + 1);
    require(is_name(name), "no name: " + name);
    if (name != current_) {
      require(!families_.contains(name), "a family twice, or interrupted: " + name);
      current_ = name;
    }
    metric_family& family = families_[name];
    require(family.samples.empty(), "described after its samples: " + name);
    if (what == "HELP") {
      require(!family.helped && !rest.empty(), "HELP twice or empty: " + name);
      family.helped = true;
    } else if (what == "TYPE") {
      static const std::set<std::string_view> open{"gauge",   "counter",   "info",   "stateset",
                                                   "unknown", "histogram", "summary"};
      static const std::set<std::string_view> old{"gauge", "counter", "untyped", "histogram",
                                                  "summary"};
      require(family.type.empty() && (open_ ? open : old).contains(rest), "bad TYPE: " + name);
      family.type = rest;
    } else {
      require(open_ && what == "UNIT", "neither HELP, TYPE nor UNIT: " + name);
      require(is_name(rest) && family.unit.empty(), "bad UNIT: " + name);
      family.unit = rest;
    }
  }

  void read(std::string_view text) {
    metric_sample sample;
    std::size_t at = text.find_first_of("{ ");
    require(at != text.npos, "no value: " + std::string(text));
    sample.name = text.substr(0, at);
    require(is_name(sample.name), "no name: " + sample.name);
    if (text[at] == '{') at = labels(text, at + 1, sample);
    require(at < text.size() && text[at] == ' ', "no space before the value");
    sample.value = text.substr(at + 1);
    double number = 0;
    const char* const end = sample.value.data() + sample.value.size();
    const auto [stopped, problem] = std::from_chars(sample.value.data(), end, number);
    require(problem == std::errc{} && stopped == end && std::isfinite(number),
            "no number: " + sample.name + ' ' + sample.value);
    require(series_.insert(key(sample)).second, "twice: " + key(sample));
    require(families_.contains(current_) && !families_[current_].type.empty(),
            "a sample of no family: " + sample.name);
    families_[current_].samples.push_back(std::move(sample));
  }

  static std::size_t labels(std::string_view text, std::size_t at, metric_sample& sample) {
    while (true) {
      const std::size_t equals = text.find("=\"", at);
      require(equals != text.npos, "no label");
      const std::string name(text.substr(at, equals - at));
      require(is_name(name), "no label name: " + name);
      std::string value;
      for (at = equals + 2; at < text.size() && text[at] != '"'; ++at) {
        if (text[at] != '\\') {
          value += text[at];
          continue;
        }
        ++at;
        require(at < text.size() && (text[at] == 'n' || text[at] == '"' || text[at] == '\\'),
                "bad escape");
        value += text[at] == 'n' ? '\n' : text[at];
      }
      require(at + 1 < text.size(), "a label does not end");
      require(sample.labels.emplace(name, value).second, "a label twice: " + name);
      at += 2;
      if (text[at - 1] == '}') return at;
      require(text[at - 1] == ',', "neither , nor } after a label");
    }
  }

  void check(const std::string& name, const metric_family& family) const {
    require(family.helped && !family.type.empty(), "no HELP or TYPE: " + name);
    require(family.unit.empty() || ends(name, '_' + family.unit), "not named by its unit: " + name);
    const bool labelled = family.type == "info" || family.type == "stateset";
    require(family.unit.empty() || !labelled, "cannot have a unit: " + name);
    require(!open_ || (!ends(name, "_total") && !ends(name, "_info")),
            "named by a suffix: " + name);
    require(open_ || family.type != "counter" || ends(name, "_total"), "no _total: " + name);
    std::set<std::string> label_names;
    for (const metric_sample& s : family.samples) {
      const std::string after = s.name.starts_with(name) ? s.name.substr(name.size()) : "?";
      if (family.type == "histogram") {
        require(after == "_bucket" || after == "_sum" || after == "_count", s.name);
        require(s.number() >= 0, "negative: " + s.name);
        continue;
      }
      const bool total = open_ && family.type == "counter";
      require(after == (total ? "_total" : family.type == "info" ? "_info" : ""), s.name);
      require(family.type != "counter" || s.number() >= 0, "negative: " + s.name);
      require(family.type != "info" || s.value == "1", "an info is 1: " + s.name);
      if (family.type == "stateset")
        require(s.labels.contains(name) && (s.value == "0" || s.value == "1"), key(s));
      std::set<std::string> names;
      for (const auto& [label, value] : s.labels) names.insert(label);
      require(&s == &family.samples.front() || names == label_names, "other labels: " + s.name);
      label_names = names;
    }
    if (family.type == "histogram") check_histogram(name, family);
  }

  static void check_histogram(const std::string& name, const metric_family& family) {
    double bound = -1;
    std::uint64_t count = 0;
    std::optional<std::uint64_t> all;
    bool closed = false;
    for (const metric_sample& s : family.samples) {
      if (s.name == name + "_count") all = s.whole();
      if (s.name != name + "_bucket") continue;
      const std::string& edge = s.labels.at("le");
      const double le = edge == "+Inf" ? HUGE_VAL : std::stod(edge);
      require(le > bound && s.whole() >= count, "buckets out of order: " + name);
      bound = le;
      count = s.whole();
      closed = edge == "+Inf";
    }
    require(closed && all == count, "the last bucket is not the count: " + name);
  }

  bool open_;
  bool ended_ = false;
  std::string current_;
  std::map<std::string, metric_family> families_;
  std::set<std::string> series_;
};

}  // namespace props
