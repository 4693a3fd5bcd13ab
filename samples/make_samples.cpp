// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Makes the sample dumps: `make_samples DIR` writes DIR/<scenario>/*.bin, the same bytes every
// time. The host's side is this library's encoders and publisher; a kernel is played by storing
// the words that a kernel would store.
#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <expected>
#include <filesystem>
#include <fstream>
#include <initializer_list>
#include <ios>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

import megakernel;

namespace {

using namespace megakernel;
namespace fs = std::filesystem;

/// The user's opcodes in these dumps.
constexpr opcode route{42};
constexpr opcode gather{0x4D};
constexpr opcode normalise{1000};

/// The scenarios are fixed, so a refusal is a mistake in this program.
template <class T>
T must(result<T> made) {
  if (made) return std::move(*made);
  const error_message message = made.error().message();
  std::fprintf(stderr, "make_samples: %.*s\n", static_cast<int>(message.text().size()),
               message.text().data());
  std::exit(1);
}
void must(result<void> done) {
  (void)must(done ? result<int>(0) : result<int>(std::unexpected(done.error())));
}

/// One launch: its buffers, the host's publisher, and a kernel to be played.
class launch {
 public:
  struct shape {
    std::uint32_t slots;
    std::uint32_t tenants;
    bool reports = true;  ///< whether the kernel stores the extension words
  };
  explicit launch(const shape& s)
      : control_(must(encode_control({.tenants = s.tenants, .observable_words = 16}))),
        ring_(must(encode_ring(s.slots))) {
    must(write_priority_offsets(bytes(control_), s.slots));
    if (!s.reports) return;
    set_control(abi::revision_word, abi::revision);
    set_control(abi::workers_alive_word, 4);
  }

  ring_publisher host() { return must(ring_publisher::over(bytes(ring_))); }
  void publish(std::uint32_t slot, opcode op, std::uint32_t tenant,
               std::initializer_list<word> arguments, priority level = priority::normal) {
    must(host().publish(slot, {.op = op,
                               .tenant = tenant,
                               .level = level,
                               .arguments = {arguments.begin(), arguments.size()}}));
  }

  /// The kernel's side.
  void claim(std::uint32_t slot) {
    set_status(slot, slot_status::claimed);
    const word op = slot_word(slot, abi::opcode_word);
    if (op < abi::metrics) add_control(abi::metric_word + op, 1);
    add_control(abi::tenant_fairness_word +
                    slot_word(slot, abi::tenant_word) % abi::tenant_fairness_counters,
                1);
    add_control(abi::priority_fairness_word +
                    std::min(slot_word(slot, abi::priority_word), word(priority::idle)),
                1);
  }
  void claim_as(std::uint32_t slot, slot_status status) {
    claim(slot);
    set_status(slot, status);
  }
  void finish(std::uint32_t slot) {
    claim_as(slot, slot_status::done);
    add_control(abi::done_count_word, 1);
  }
  void fault(std::uint32_t slot, fault_code code) {
    claim_as(slot, slot_status::fault);
    set_slot_word(slot, abi::fault_code_word, word(code));
    add_control(abi::fault_count_word, 1);
  }
  void pass(word passes) { add_control(abi::heartbeat_word, passes); }
  /// Work of a longer past than the ring holds.
  void age(std::uint32_t tenant, opcode op, word claims) {
    add_control(abi::done_count_word, claims);
    add_control(abi::metric_word + word(op), claims);
    add_control(abi::tenant_fairness_word + tenant, claims);
    add_control(abi::priority_fairness_word + word(priority::normal), claims);
  }

  void set_status(std::uint32_t slot, slot_status status) {
    set_slot_word(slot, abi::status_word, word(status));
  }
  void set_slot_word(std::uint32_t slot, word index, word value) {
    store_word(ring_.data(), std::size_t{slot} * abi::slot_words + index, value);
  }
  [[nodiscard]] word slot_word(std::uint32_t slot, word index) const {
    return load_word(ring_.data(), std::size_t{slot} * abi::slot_words + index);
  }
  void set_control(word index, word value) { store_word(control_.data(), index, value); }
  void add_control(word index, word amount) {
    set_control(index, load_word(control_.data(), index) + amount);
  }
  [[nodiscard]] std::uint32_t slots() const {
    return static_cast<std::uint32_t>(ring_.size() / abi::slot_bytes);
  }

  [[nodiscard]] std::span<const std::byte> control() const {
    return {control_.data(), control_.size()};
  }
  [[nodiscard]] std::span<const std::byte> ring() const { return {ring_.data(), ring_.size()}; }

  static std::span<std::byte> bytes(byte_buffer& buffer) { return {buffer.data(), buffer.size()}; }

 private:
  byte_buffer control_;
  byte_buffer ring_;
};

/// A scenario's directory.
class folder {
 public:
  folder(const fs::path& root, std::string_view scenario) : path_(root / scenario) {
    fs::create_directories(path_);
  }
  void write(std::string_view name, std::span<const std::byte> bytes) const {
    std::ofstream file(path_ / (std::string(name) + ".bin"), std::ios::binary);
    file.exceptions(std::ios::failbit | std::ios::badbit);
    file.write(reinterpret_cast<const char*>(bytes.data()),
               static_cast<std::streamsize>(bytes.size()));
    file.close();
  }
  void write(const launch& now) const {
    write("control", now.control());
    write("ring", now.ring());
  }
  void write_previous(const launch& before) const {
    write("previous-control", before.control());
    write("previous-ring", before.ring());
  }

 private:
  fs::path path_;
};

/// Everything published was drained; the host reused some slots and has nothing more.
void make_idle(const fs::path& root) {
  launch l({.slots = 64, .tenants = 3});
  l.age(0, opcode::store_u32, 9'000);
  l.age(1, opcode::atomic_add, 3'200);
  for (std::uint32_t i = 0; i < 20; ++i) {
    l.publish(i, i % 2 == 0 ? opcode::store_u32 : opcode::atomic_add, i % 3, {i, 160 + i % 16});
    l.finish(i);
  }
  l.pass(1'842'113);
  folder(root, "idle").write(l);
}

/// Six windows of two opcodes, at all stages.
std::uint32_t publish_windows(launch& l, std::uint32_t first) {
  constexpr std::array<word, 4> payload{7, 11, 13, 17};
  const std::array<std::span<const word>, 4> required{payload, payload, payload, payload};
  const std::array<std::span<const word>, 2> lookahead{payload, payload};
  std::uint32_t at = first;
  for (word ticket = 0; ticket < 6; ++ticket) {
    const std::uint32_t start = at;
    at += must(l.host().publish_window(at, {.op = ticket % 3 == 2 ? gather : route,
                                            .tenant = 1 + ticket % 4,
                                            .ticket = 9'000 + ticket,
                                            .level = priority::high,
                                            .required = required,
                                            .lookahead = lookahead}));
    for (std::uint32_t i = start; i < start + ticket; ++i) l.finish(i);
    if (ticket == 3) l.claim(start + 3);
    if (ticket == 4) l.claim_as(start + 4, slot_status::yield);
    if (ticket == 5) l.finish(start + 5);
  }
  return at;
}

byte_buffer busy_debug_log() {
  constexpr std::uint32_t records = 16;
  byte_buffer log = must(encode_debug_log(records));
  for (word i = 0; i < records; ++i) {
    const std::size_t at = abi::debug_record_word + i * abi::debug_record_words;
    store_word(log.data(), at, 100 + i % 3);
    store_word(log.data(), at + 1, i * i);
    store_word(log.data(), at + 2, 0xC0FFEE + i);
    store_word(log.data(), at + 3, (i * 5 % 256) * abi::slot_words);
  }
  // Five more PRINTFs ran after the log was full: the cursor counts them.
  store_word(log.data(), abi::debug_cursor_word, (records + 5) * abi::debug_record_words);
  return log;
}

byte_buffer busy_io_queue() {
  byte_buffer bytes = must(encode_io_queue(8));
  io_queue queue = must(io_queue::over(launch::bytes(bytes)));
  for (std::uint32_t i = 0; i < 6; ++i) {
    must(queue.publish(i, {.operation = i == 5   ? io_operation::fence
                                        : i == 4 ? io_operation::write
                                                 : io_operation::read,
                           .source = 3,
                           .destination = 40 + i,
                           .offset = (std::uint64_t{1} << 33) + std::uint64_t{i} * 65'536,
                           .byte_count = i == 5 ? 0u : 65'536u,
                           .tag = 700 + i}));
  }
  for (const std::uint32_t i : {0u, 1u, 2u}) (void)must(queue.claim(i));
  const std::array<io_completion, 2> ended{io_completion{.slot = 0, .ok = true},
                                           io_completion{.slot = 1, .ok = false}};
  must(queue.complete(ended));
  return bytes;
}

/// A ring that several tenants use for everything at once.
launch make_busy_launch() {
  launch l({.slots = 256, .tenants = 7});
  for (word t = 0; t < 7; ++t) l.age(t, opcode{1 + t % 6}, 4'000 + 1'500 * t);
  std::uint32_t at = publish_windows(l, 0);

  constexpr std::array<word, 2> store{5, 161};
  constexpr std::array<word, 2> add{1, 162};
  const std::array<packed_op, 2> inner{packed_op{1, store}, packed_op{2, add}};
  for (std::uint32_t i = 0; i < 4; ++i, ++at) {
    must(l.host().publish_packed(at, {.tenant = 5, .level = priority::low, .ops = inner}));
    if (i == 0) l.finish(at);
  }

  const std::array<batch_item, 7> items{
      batch_item{opcode::store_u32, store}, batch_item{opcode::atomic_add, add},
      batch_item{normalise, store},         batch_item{normalise, add},
      batch_item{normalise, store},         batch_item{opcode::nop, {}},
      batch_item{opcode::load_u32, add}};
  const std::uint32_t batch = at;
  at += must(l.host().publish_batch(at, 6, items, 4'242));
  for (std::uint32_t i = batch; i < batch + 3; ++i) l.finish(i);
  l.claim(batch + 3);

  constexpr std::array levels{priority::critical, priority::high, priority::normal, priority::low,
                              priority::idle};
  for (std::uint32_t i = 0; i < 120; ++i, ++at) {
    const std::uint32_t tenant = i * i % 7;
    l.publish(at, i % 9 == 0 ? normalise : opcode{1 + i % 6}, tenant, {i, 160 + i % 16, i * 3},
              levels[i % levels.size()]);
    if (i < 52) l.finish(at);
    if (i >= 52 && i < 60) l.claim(at);
    if (i >= 60 && i < 63) l.claim_as(at, slot_status::wait_io);
    if (i >= 63 && i < 66) l.claim_as(at, slot_status::requeue);
  }
  l.set_control(abi::epoch_word, 17);
  l.set_control(abi::starvation_word, 3);
  l.set_control(abi::claim_lost_word, 271);
  l.set_control(abi::debug_dropped_word, 5);
  l.pass(77'031);
  return l;
}

void make_busy(const fs::path& root) {
  const folder to(root, "busy");
  to.write(make_busy_launch());
  const byte_buffer log = busy_debug_log();
  to.write("debug-log", {log.data(), log.size()});
  const byte_buffer queue = busy_io_queue();
  to.write("io-queue", {queue.data(), queue.size()});
}

/// The busy launch, and the same a little later.
void make_progressing(const fs::path& root) {
  const folder to(root, "progressing");
  launch l = make_busy_launch();
  to.write_previous(l);
  for (std::uint32_t i = 0; i < l.slots(); ++i) {
    const slot_status status{l.slot_word(i, abi::status_word)};
    if (status == slot_status::claimed || (status == slot_status::published && i % 3 == 0))
      l.finish(i);
  }
  l.pass(5'120);
  to.write(l);
}

/// Forty outstanding slots, of which three are claimed and one waits for IO.
launch make_stuck_launch() {
  launch l({.slots = 128, .tenants = 4});
  l.age(0, opcode::memcpy, 12'000);
  l.age(3, opcode::store_u32, 800);
  for (std::uint32_t i = 0; i < 90; ++i) {
    l.publish(i, i % 4 == 0 ? normalise : opcode::memcpy, i % 4, {170, 171 + i % 4, 2});
    if (i < 50) l.finish(i);
  }
  for (const std::uint32_t i : {50u, 61u, 62u}) l.claim(i);
  l.claim_as(77, slot_status::wait_io);
  l.pass(50'400);
  return l;
}

/// The kernel passes over its slots and drains none.
void make_stalled(const fs::path& root) {
  const folder to(root, "stalled");
  launch l = make_stuck_launch();
  to.write_previous(l);
  l.publish(100, opcode::store_u32, 2, {1, 160});  // the host still publishes
  l.pass(3'000);
  to.write(l);
}

/// The same, but the heartbeat stands still.
void make_dead(const fs::path& root) {
  const folder to(root, "dead");
  const launch l = make_stuck_launch();
  to.write_previous(l);
  to.write(l);
}

/// The host asked the kernel to leave, and it did; the heartbeat stands still for a good reason.
void make_stopped(const fs::path& root) {
  const folder to(root, "stopped");
  launch l({.slots = 64, .tenants = 2});
  for (std::uint32_t i = 0; i < 30; ++i) {
    l.publish(i, opcode::store_u32, i % 2, {i, 160});
    if (i < 27) l.finish(i);
  }
  l.set_control(abi::shutdown_word, 1);
  l.pass(991);
  to.write_previous(l);
  to.write(l);
}

/// All that is left belongs to tenants without a mask, or to one without a token.
void make_blocked(const fs::path& root) {
  const folder to(root, "blocked");
  launch l({.slots = 64, .tenants = 4});
  for (std::uint32_t i = 0; i < 40; ++i) {
    constexpr std::array<std::uint32_t, 4> tenants{2, 9, 30, 400};
    const bool served = i < 24;
    l.publish(i, opcode::atomic_add, served ? i % 4 : tenants[i % 4], {1, 160});
    if (served) l.finish(i);
  }
  l.set_control(abi::tenant_quota_word + 2, 0);
  l.pass(600);
  l.set_control(abi::unauthorised_word, 7'200);
  l.set_control(abi::throttled_word, 2'400);
  to.write_previous(l);
  l.pass(100);
  l.add_control(abi::unauthorised_word, 1'200);
  l.add_control(abi::throttled_word, 400);
  to.write(l);
}

/// One slot of every way to fail, a handler's own code and a kernel that did not say why.
void make_faulted(const fs::path& root) {
  launch l({.slots = 64, .tenants = 5});
  for (std::uint32_t i = 0; i < 40; ++i) {
    l.publish(i, opcode{1 + i % 6}, i % 5, {i, 160 + i % 16, 1});
    if (i < 30) l.finish(i);
  }
  const auto publish_fault = [&](std::uint32_t slot, opcode op, std::uint32_t tenant,
                                 std::initializer_list<word> arguments, fault_code code) {
    l.publish(slot, op, tenant, arguments);
    l.fault(slot, code);
  };
  publish_fault(40, opcode{0x7777}, 1, {1, 2, 3}, fault_code::unknown_opcode);
  publish_fault(41, opcode::store_u32, 2, {9, 100'000}, fault_code::address_outside_buffer);
  publish_fault(42, opcode::atomic_add, 2, {1, 3}, fault_code::system_word_write);
  publish_fault(43, opcode::packed_slot, 3, {0xFFFF'FFFF}, fault_code::malformed_packed_slot);
  publish_fault(44, opcode::dfa_step, 0, {4, 65, 2}, fault_code::no_dfa_table);
  publish_fault(45, opcode::nop, 0, {}, fault_code::io_queue_refused);
  publish_fault(46, route, 4, {1, 0}, fault_code{77});
  publish_fault(47, normalise, 4, {1, 2}, fault_code::unreported);
  publish_fault(48, opcode::shutdown, 4, {}, fault_code::system_word_write);
  l.pass(4'100);
  folder(root, "faulted").write(l);
}

/// Copied while it was written, or hit by a stray store: statuses that do not exist, slots whose
/// halves are of different ages, a window two tenants share. A kernel of the base ABI.
void make_torn(const fs::path& root) {
  launch l({.slots = 64, .tenants = 6, .reports = false});
  const std::uint32_t used = publish_windows(l, 0);
  for (const std::uint32_t i : {7u, 8u, 20u}) l.set_slot_word(i, abi::tenant_word, 5);
  for (std::uint32_t i = used; i < 60; ++i) {
    l.publish(i, opcode::compare_swap, i % 6, {161, i, i + 1});
    if (i % 2 == 0) l.finish(i);
  }
  for (const auto& [slot, status] : {std::pair{3u, 0xDEAD'BEEFu},
                                     {11u, 8u},
                                     {29u, 0x0000'0100u},
                                     {44u, 0xFFFF'FFFFu},
                                     {51u, 0x1B5B'324Au}})  // the last one spells a terminal escape
    l.set_slot_word(slot, abi::status_word, status);
  // The second half of a slot from another publish: its arguments do not belong to its opcode.
  for (const std::uint32_t slot : {47u, 53u}) {
    for (word w = abi::argument_word; w < abi::slot_words; ++w)
      l.set_slot_word(slot, w, 0xAAAA'0000u + w);
  }
  l.set_slot_word(55, abi::opcode_word, 0x8000'0042);
  l.set_slot_word(55, abi::tenant_word, 0x6D34'3233);
  l.set_slot_word(55, abi::priority_word, 99);
  folder(root, "torn").write(l);
}

/// A ring copy that ends inside a slot.
void make_truncated(const fs::path& root) {
  launch l({.slots = 64, .tenants = 2, .reports = false});
  for (std::uint32_t i = 0; i < 64; ++i) l.publish(i, opcode::store_u32, i % 2, {i, 160});
  const folder to(root, "truncated");
  to.write("control", l.control());
  to.write("ring", l.ring().first(41 * abi::slot_bytes + 20));
}

void make_all(const fs::path& root) {
  make_idle(root);
  make_busy(root);
  make_progressing(root);
  make_stalled(root);
  make_dead(root);
  make_stopped(root);
  make_blocked(root);
  make_faulted(root);
  make_torn(root);
  make_truncated(root);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fputs("usage: make_samples DIR\n", stderr);
    return 2;
  }
  try {
    make_all(argv[1]);
  } catch (const std::exception& problem) {
    std::fprintf(stderr, "make_samples: %s\n", problem.what());
    return 1;
  }
}
