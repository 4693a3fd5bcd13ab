// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <fmt/format.h>
#include <pthread.h>
#include <sys/utsname.h>

#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <expected>
#include <fstream>
#include <memory>
#include <mutex>
#include <new>
#include <string>
#include <string_view>
#include <thread>
#include <utility>

#include "load/run.h"
#include "load/run_capture.h"
#include "load/workload.h"
#include "observe/capture.h"
#include "observe/capture_writer.h"
#include "observe/histogram.h"
#include "render/names.h"
#include "render/run.h"

import megakernel;

namespace megakernel::tool {
namespace {

/// The name of this machine, if it has one.
std::string this_machine() {
  std::string processor;
  std::ifstream about("/proc/cpuinfo");
  for (std::string line; processor.empty() && std::getline(about, line);) {
    if (!line.starts_with("model name")) continue;
    const std::size_t colon = line.find(": ");
    if (colon != std::string::npos) processor = line.substr(colon + 2);
  }
  std::string text = processor.empty() ? std::string("a processor without a name") : processor;
  text += fmt::format(", {}", counted(std::thread::hardware_concurrency(), "core"));
  if (utsname system{}; ::uname(&system) == 0)
    text += fmt::format(", {} {}", system.sysname, system.machine);
  return text;
}

}  // namespace

capture_header live_run::about() {
  kernel_buffers& buffers = kernel_.buffers();
  return {.bytes = {.control = buffers.control().size(),
                    .ring = buffers.ring().size(),
                    .debug_log = buffers.debug_log().size(),
                    .io_queue = buffers.io_queue().size()},
          .began = began_,
          .windows = {window_opcode}};
}

std::expected<std::unique_ptr<run_capture>, std::string> run_capture::start(
    live_run& of, const std::string& path, double rate, const std::string& build) {
  try {
    auto header = of.about();
    header.device =
        fmt::format("{} on {}", counted(of.profile().workers, "worker thread"), this_machine());
    header.build = build;
    header.profile = describe(of.profile());
    auto writer = capture_writer::create(path, header);
    if (!writer) return std::unexpected(writer.error());
    const auto period =
        std::chrono::duration_cast<clock::duration>(std::chrono::duration<double>(1 / rate));
    std::unique_ptr<run_capture> made(new run_capture(of, std::move(*writer), period));
    made->thread_ = std::thread([&c = *made] { c.follow(); });
    return made;
  } catch (const std::bad_alloc&) {
    return std::unexpected(std::string("There is no memory left to capture."));
  } catch (const std::exception&) {
    return std::unexpected(std::string("The system gives no thread to capture with."));
  }
}

run_capture::~run_capture() { join(); }

void run_capture::follow() noexcept {
  (void)::pthread_setname_np(::pthread_self(), "mk-frames");
  auto next = clock::now();
  std::unique_lock lock(guard_);
  while (!stop_) {
    lock.unlock();
    take();
    lock.lock();
    next += period_;
    if (const auto now = clock::now(); now > next) {
      const auto late = (now - next) / period_;
      writer_->miss(static_cast<std::uint64_t>(late));
      next += period_ * late;
    }
    wake_.wait_until(lock, next, [this] { return stop_; });
  }
}

void run_capture::take() noexcept {
  if (!writer_->has_room()) return writer_->miss();
  try {
    if (const auto seen = run_.sample(sample_)) return (void)writer_->offer(*seen);
  } catch (const std::bad_alloc&) {
  }
  writer_->miss();
}

void run_capture::join() {
  if (!thread_.joinable()) return;
  {
    const std::scoped_lock lock(guard_);
    stop_ = true;
  }
  wake_.notify_one();
  thread_.join();
}

std::expected<capture_totals, std::string> run_capture::stop() {
  if (thread_.joinable()) {
    join();
    // The writer may be behind; this one frame is worth waiting for.
    for (int i = 0; i < 1000 && !writer_->has_room(); ++i)
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    take();
  }
  return writer_->close();
}

}  // namespace megakernel::tool
