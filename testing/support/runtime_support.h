// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// What the tests of the running system share: kernels on CPU workers, waits that end, and tests
// that are run once, since many threads are in them and many slots. Include it after all other
// headers: it imports the library.
#pragma once

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <expected>
#include <iostream>
#include <memory>
#include <source_location>
#include <span>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

import megakernel;

namespace props {

namespace mk = megakernel;

#if defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define PROPS_THREAD_SANITIZED 1
#elif __has_feature(address_sanitizer)
#define PROPS_ADDRESS_SANITIZED 1
#endif
#endif

inline constexpr bool thread_sanitized =
#if defined(PROPS_THREAD_SANITIZED)
    true;
#else
    false;
#endif
inline constexpr bool sanitized =
#if defined(PROPS_ADDRESS_SANITIZED)
    true;
#else
    thread_sanitized;
#endif

/// Long enough for whatever is expected to happen, on a machine that does other things, too.
inline mk::deadline soon() { return mk::deadline::in(std::chrono::seconds(60)); }

struct failure {
  std::source_location at;
  std::string why;
};

/// Ends the test unless `holds`. Of the test's own thread: others count what went wrong.
inline void require(bool holds, std::string_view why = {},
                    std::source_location at = std::source_location::current()) {
  if (!holds) throw failure{at, std::string(why)};
}

/// The value, or the end of the test with the refusal's sentence.
template <class T>
T value_of(mk::result<T> got, std::source_location at = std::source_location::current()) {
  if (!got) throw failure{at, std::string(got.error().message().text())};
  if constexpr (!std::is_void_v<T>) return std::move(*got);
}

/// Runs a test and says what became of it.
template <class Test>
bool once(const char* hazard, Test test) {
  std::cout << "- " << hazard << std::endl;
  const auto start = std::chrono::steady_clock::now();
  const auto elapsed = [start] {
    return std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::steady_clock::now() -
                                                                 start)
        .count();
  };
  try {
    test();
    std::cout << "  ok, " << elapsed() << " ms" << std::endl;
    return true;
  } catch (const failure& f) {
    std::cout << "  FAILED at " << f.at.file_name() << ':' << f.at.line() << ": " << f.why
              << std::endl;
    return false;
  }
}

/// Whether `condition` comes to hold.
template <class Condition>
bool comes_true(Condition condition) {
  const mk::deadline until = soon();
  while (!condition()) {
    if (until.passed()) return condition();
    std::this_thread::sleep_for(std::chrono::microseconds(50));
  }
  return true;
}

template <class Handlers = mk::device::handlers<>>
void launch(mk::kernel_session& kernel, mk::worker_options workers,
            std::source_location at = std::source_location::current()) {
  value_of(kernel.launch(value_of(mk::cpu_workers::make<Handlers>(workers), at), soon()), at);
}

/// A kernel that runs.
template <class Handlers = mk::device::handlers<>>
mk::kernel_session running(const mk::session_options& options, std::uint32_t workers,
                           std::source_location at = std::source_location::current()) {
  auto kernel = value_of(mk::kernel_session::make(options), at);
  launch<Handlers>(kernel, {.workers = workers, .order = options.order}, at);
  return kernel;
}

inline std::atomic_ref<std::uint32_t> control(mk::kernel_session& kernel, std::size_t word) {
  return std::atomic_ref(kernel.buffers().where().control[word]);
}
inline std::atomic_ref<std::uint32_t> observable(mk::kernel_session& kernel, std::size_t word) {
  return control(kernel, mk::abi::observable_word + word);
}
inline std::atomic_ref<std::uint32_t> status(mk::kernel_buffers& buffers, std::uint32_t slot) {
  return std::atomic_ref(
      buffers.where().ring[std::size_t{slot} * mk::abi::slot_words + mk::abi::status_word]);
}
inline std::uint32_t slot_word(mk::kernel_buffers& buffers, std::uint32_t slot, std::size_t word) {
  return std::atomic_ref(buffers.where().ring[std::size_t{slot} * mk::abi::slot_words + word])
      .load();
}

/// The sum of `count` control words from `first`, modulo 2^32.
inline std::uint32_t sum_of(mk::kernel_session& kernel, std::size_t first, std::size_t count) {
  std::uint32_t sum = 0;
  for (std::size_t i = 0; i < count; ++i) sum += control(kernel, first + i).load();
  return sum;
}

/// `count` threads that run `body(i)`; they have ended when this returns.
template <class Body>
void in_threads(std::uint32_t count, Body body) {
  std::vector<std::jthread> all;
  for (std::uint32_t i = 0; i < count; ++i) all.emplace_back([&body, i] { body(i); });
}

/// Holds handlers back until it is opened.
struct gate {
  std::atomic<std::uint32_t> waiting{0};
  std::atomic<bool> open{false};
  void pass() {
    waiting.fetch_add(1);
    while (!open.load()) std::this_thread::sleep_for(std::chrono::microseconds(100));
    waiting.fetch_sub(1);
  }
  void reset() { open = false; }
};
inline gate the_gate;

/// A user's opcode that does not return until `the_gate` is open.
struct wait_at_gate {
  static constexpr mk::opcode op{30};
  struct arguments {};
  template <class Context>
  mk::device::outcome operator()(const arguments&, Context&) const {
    the_gate.pass();
    return mk::device::outcome::done();
  }
};

/// A user's opcode for windows: adds the ticket to observable word `where`.
struct add_ticket {
  static constexpr mk::opcode op{9};
  struct arguments {
    mk::word ticket, kind, where;
  };
  template <class Context>
  mk::device::outcome operator()(const arguments& a, Context& context) const {
    return context.add_result(a.where, a.ticket)
               ? mk::device::outcome::done()
               : mk::device::outcome::fault(mk::fault_code::address_outside_buffer);
  }
};

}  // namespace props
