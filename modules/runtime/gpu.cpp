// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
module;
#include <megakernel/gpu/loading.h>
#include <megakernel/gpu/plugin.h>
#include <megakernel/lane_order.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <exception>
#include <expected>
#include <memory>
#include <new>
#include <span>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>
module megakernel.runtime;
import megakernel.protocol;
import megakernel.scaling;

namespace megakernel {
namespace {

/// The directory of the running program, or nothing.
std::string program_directory() {
  std::array<char, 4096> path;
  const ssize_t size = ::readlink("/proc/self/exe", path.data(), path.size());
  if (size <= 0 || static_cast<std::size_t>(size) >= path.size()) return {};
  const std::string_view all(path.data(), static_cast<std::size_t>(size));
  return std::string(all.substr(0, all.rfind('/')));
}

/// The directory that MEGAKERNEL_GPU_PATH names, with a slash behind, or nothing.
std::string named_place() {
  const char* const given = std::getenv("MEGAKERNEL_GPU_PATH");
  return given == nullptr || *given == '\0' ? std::string() : std::string(given) + "/";
}

/// Where else to look: beside the program, and in `usual` from there.
std::vector<std::string> places_of_program(std::string_view usual) {
  const std::string beside = program_directory();
  if (beside.empty()) return {};
  return {beside + "/", beside + "/../" + std::string(usual) + "/"};
}

/// Where a plugin may be; an empty place is wherever the system looks.
std::vector<std::string> places_of_components() {
  if (const std::string named = named_place(); !named.empty()) return {named};
  std::vector<std::string> all = places_of_program(MEGAKERNEL_LIBRARY_DIRECTORY);
  all.emplace_back();
  return all;
}

/// The program that drives a GPU in a process of its own; empty where there is none.
std::string host_program() {
  std::vector<std::string> all = places_of_program(MEGAKERNEL_PROGRAM_DIRECTORY);
  if (const std::string named = named_place(); !named.empty()) all.insert(all.begin(), named);
  all.emplace_back(MEGAKERNEL_INSTALLED_PROGRAMS "/");
  for (const std::string& place : all) {
    const std::string path = place + "megakernel_gpu_host";
    if (::access(path.c_str(), X_OK) == 0) return path;
  }
  return {};
}

error failed(const gpu::failure& why) noexcept {
  return {.code = error_code::device_failed, .found = static_cast<std::uint32_t>(why.number)};
}

}  // namespace

bool has_gpu_process() { return !host_program().empty(); }

std::expected<gpu_plugin, std::string> gpu_plugin::find(std::string_view name, gpu_process where) {
  std::vector<std::string> files;
  for (const std::string_view toolkit : {"cuda", "amd"}) {
    for (const std::string& place : places_of_components())
      files.push_back(place + "lib" + std::string(name) + "." + std::string(toolkit) + ".so");
  }
  if (where == gpu_process::own) {
    const std::string host = host_program();
    if (host.empty())
      return std::unexpected(
          "There is no megakernel_gpu_host, which drives a GPU in a process of its own. Install it "
          "beside the program, or name its directory in MEGAKERNEL_GPU_PATH.");
    const auto found = detail::find_remote_gpu(name, files, host);
    if (!found) return std::unexpected(found.error());
    return gpu_plugin(*found->calls, found->found);
  }
  const gpu::loaded found = gpu::load_plugin(name, files);
  if (found.calls == nullptr) return std::unexpected(found.why_not);
  return gpu_plugin(*found.calls, found.found);
}

result<std::uint32_t> recommended_lanes(std::uint32_t slots, std::uint32_t wave_size) noexcept {
  // A wave has 32 slots or more on their way at once; with twice as many waves a large ring is
  // drained more slowly, since each searches more of it while it has nothing to do.
  constexpr std::uint32_t waves_of_bus = 64;
  const auto sized = recommend(launch_request::direct(slots, waves_of_bus, wave_size));
  if (!sized) return std::unexpected(sized.error());
  return sized->geometry.lanes();
}

result<std::unique_ptr<gpu_target>> gpu_target::make(const gpu::interface& calls,
                                                     const gpu_options& options) noexcept {
  std::unique_ptr<gpu_target> made(new (std::nothrow) gpu_target(calls, options));
  if (made == nullptr) {
    return std::unexpected(
        error{.code = error_code::out_of_memory, .found = 1, .bound = sizeof(gpu_target)});
  }
  return made;
}

void gpu_target::stop_threads() noexcept {
  keeping_.store(false, std::memory_order_relaxed);
  if (relauncher_.joinable()) relauncher_.join();
  if (uploader_.joinable()) uploader_.join();
}

bool gpu_target::end() noexcept {
  if (calls_.own_process == 0) return running() == 0;
  stop_threads();
  if (kernel_ != nullptr) calls_.close(std::exchange(kernel_, nullptr));
  return true;
}

gpu_target::~gpu_target() { bring_down(); }

void gpu_target::bring_down() noexcept {
  stop_threads();
  if (kernel_ == nullptr) return;
  if (running() != 0) calls_.leave(kernel_);
  const auto until = deadline::in(std::chrono::seconds(2));
  backoff wait;
  while (running() != 0) {
    // A handler that does not return still uses the memory.
    if (until.passed() && !end()) return;
    wait.pause();
  }
  if (kernel_ != nullptr) calls_.close(std::exchange(kernel_, nullptr));
}

result<void> gpu_target::launch(const launch_context& context) noexcept {
  if (kernel_ != nullptr) return std::unexpected(error{.code = error_code::already_launched});
  if (options_.ring != ring_memory::device || options_.one_shot) {
    if (auto started = start(context); !started) return started;
    start_relauncher();
    return {};
  }
  auto work = upload_scanner::over(context.buffers, context.queue, options_.order);
  if (!work) return std::unexpected(work.error());
  if (auto started = start(context); !started) return started;
  if (auto carried = start_uploader(std::move(*work), context.bell); !carried) {
    bring_down();
    return carried;
  }
  start_relauncher();
  return {};
}

result<void> gpu_target::start(const launch_context& context) noexcept {
  const device::launch& where = context.buffers.where();
  const shared_memory_handle memory = context.buffers.share();
  gpu::request wanted{
      .where = where,
      .quantum = static_cast<std::uint64_t>(std::max<std::int64_t>(0, options_.quantum.count())),
      .lanes = options_.lanes,
      .by_priority = options_.order == schedule::by_priority,
      .one_shot = options_.one_shot,
      .device_ring = options_.ring == ring_memory::device,
      .memory = {.at = reinterpret_cast<unsigned char*>(memory.at),
                 .bytes = memory.bytes,
                 .descriptor = memory.descriptor}};
  const error no_memory{
      .code = error_code::out_of_memory, .found = where.slots, .bound = abi::slot_bytes};
  std::uint32_t lanes = 0;
  gpu::failure why{};
  if (wanted.lanes == 0 && !options_.one_shot) {
    gpu::device_info info{};
    const gpu::call_status seen = calls_.probe(calls_.context, &info, &why);
    if (seen != gpu::call_status::yes)
      return std::unexpected(seen == gpu::call_status::no_memory ? no_memory : failed(why));
    const auto sized = recommended_lanes(where.slots, info.wave_size);
    if (!sized) return std::unexpected(sized.error());
    wanted.lanes = *sized;
  }
  switch (calls_.start(calls_.context, &wanted, &kernel_, &lanes, &why)) {
    case gpu::call_status::yes:
      return {};
    case gpu::call_status::no_memory:
      return std::unexpected(no_memory);
    case gpu::call_status::too_many_lanes:
      return std::unexpected(
          error{.code = error_code::device_lanes_refused, .found = wanted.lanes, .bound = lanes});
    case gpu::call_status::not_shared:
      return std::unexpected(error{.code = error_code::memory_not_shared});
    case gpu::call_status::no_gpu:
    case gpu::call_status::failed:
    case gpu::call_status::busy:
      break;
  }
  return std::unexpected(failed(why));
}

void gpu_target::start_relauncher() noexcept {
  if (options_.quantum <= std::chrono::nanoseconds::zero() || options_.one_shot) return;
  keeping_.store(true, std::memory_order_relaxed);
  try {
    relauncher_ = std::thread([this]() noexcept {
      while (keeping_.load(std::memory_order_relaxed)) {
        (void)running();
        std::this_thread::sleep_for(std::chrono::microseconds(200));
      }
    });
  } catch (const std::exception&) {
    // A call that asks for the running lanes starts the next quantum, too, only later.
    keeping_.store(uploader_.joinable(), std::memory_order_relaxed);
  }
}

result<void> gpu_target::start_uploader(upload_scanner&& work, doorbell& bell) noexcept {
  keeping_.store(true, std::memory_order_relaxed);
  try {
    uploader_ =
        std::thread([this, all = std::move(work), &bell]() mutable noexcept { upload(all, bell); });
    return {};
  } catch (const std::bad_alloc&) {
    return std::unexpected(
        error{.code = error_code::out_of_memory, .found = 1, .bound = sizeof(std::thread)});
  } catch (const std::exception&) {
    return std::unexpected(error{.code = error_code::lanes_refused, .found = 1});
  }
}

void gpu_target::upload(upload_scanner& work, doorbell& bell) noexcept {
  constexpr std::uint32_t busy = 20'000;  // turns without work before the doorbell is awaited
  std::array<gpu::slot_range, gpu::most_ranges> ranges;
  std::uint32_t room = 0;
  std::size_t found = 0;
  for (std::uint32_t idle_passes = 0; keeping_.load(std::memory_order_relaxed);) {
    gpu::failure why{};
    const auto count = static_cast<std::uint32_t>(found);
    // Errors surface through `check()`. Skip the call when no copy is in flight.
    if ((count != 0 || room != gpu::most_ranges) &&
        calls_.upload(kernel_, ranges.data(), count, &room, &why) != gpu::call_status::yes)
      return;
    found = work.find(std::span(ranges).first(std::min(room, gpu::most_ranges)));
    if (found != 0 || room != gpu::most_ranges) {
      idle_passes = 0;
    } else if (++idle_passes < busy) {
      busy_wait(1);
    } else {
      (void)bell.sleep(std::chrono::milliseconds(1));
    }
  }
}

bool gpu_target::flush(deadline until) noexcept {
  if (kernel_ == nullptr) return true;
  const std::uint32_t number = calls_.ask_flush(kernel_);
  backoff wait;
  while (!calls_.flushed(kernel_, number)) {
    if (running() == 0) return check().has_value();
    if (until.passed()) return false;
    wait.pause();
  }
  return true;
}

result<std::size_t> gpu_target::digest(const digest_request& what, std::span<std::byte> into,
                                       deadline until) noexcept {
  if (kernel_ == nullptr) return 0;
  const gpu::scan_request wanted{.what = what,
                                 .timeout = static_cast<std::uint64_t>(until.left().count())};
  std::uint64_t size = 0;
  gpu::failure why{};
  switch (calls_.scan(kernel_, &wanted, into.data(), into.size(), &size, &why)) {
    case gpu::call_status::yes:
      return std::min<std::uint64_t>(size, into.size());
    case gpu::call_status::busy:
      return 0;
    default:
      return std::unexpected(failed(why));
  }
}

std::uint32_t gpu_target::running() const noexcept {
  if (kernel_ == nullptr) return 0;
  std::uint32_t lanes = 0;
  gpu::failure why{};
  return calls_.running(kernel_, &lanes, &why) == gpu::call_status::yes ? lanes : 0;
}

result<void> gpu_target::check() const noexcept {
  if (kernel_ == nullptr) return {};
  std::uint32_t lanes = 0;
  gpu::failure why{};
  if (calls_.running(kernel_, &lanes, &why) == gpu::call_status::yes) return {};
  return std::unexpected(failed(why));
}

}  // namespace megakernel
