// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <fmt/format.h>
#include <httplib.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <deque>
#include <expected>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <system_error>
#include <thread>
#include <utility>

#include "cli/numbers.h"
#include "serve/http_server.h"

namespace {

constexpr std::size_t most_answered = 4;
constexpr std::size_t most_waiting = 16;
constexpr std::size_t most_body = 4096;  // of a request
constexpr time_t read_seconds = 2;
constexpr time_t write_seconds = 5;

constexpr std::string_view front_page =
    "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>megakernel</title>"
    "<h1>megakernel</h1><p>A persistent kernel's metrics, for Prometheus: "
    "<a href=\"/metrics\">/metrics</a>, in OpenMetrics 1.0 where the client accepts it, else in "
    "the text format 0.0.4. Each request looks at the kernel anew.</p></html>\n";

/// A few threads, and room for a few connections more. The library's own queue has no bound.
class bounded_pool final : public httplib::TaskQueue {
 public:
  bounded_pool() {
    try {
      for (std::thread& thread : threads_) thread = std::thread([this] { work(); });
    } catch (...) {
      shutdown();
      throw;
    }
  }
  ~bounded_pool() override { shutdown(); }
  bounded_pool(const bounded_pool&) = delete;
  bounded_pool& operator=(const bounded_pool&) = delete;

  /// Waits while there is no room, and so does who accepts connections.
  void enqueue(std::function<void()> task) override {
    std::unique_lock lock(mutex_);
    room_.wait(lock, [this] { return tasks_.size() < most_waiting || ending_; });
    tasks_.push_back(std::move(task));
    ready_.notify_one();
  }

  /// Runs what is waiting, and ends.
  void shutdown() override {
    {
      const std::lock_guard lock(mutex_);
      ending_ = true;
    }
    ready_.notify_all();
    room_.notify_all();
    for (std::thread& thread : threads_) {
      if (thread.joinable()) thread.join();
    }
  }

 private:
  void work() {
    std::unique_lock lock(mutex_);
    while (true) {
      ready_.wait(lock, [this] { return !tasks_.empty() || ending_; });
      if (tasks_.empty()) return;
      const auto task = std::move(tasks_.front());
      tasks_.pop_front();
      room_.notify_one();
      lock.unlock();
      task();
      lock.lock();
    }
  }

  std::mutex mutex_;
  std::condition_variable ready_;
  std::condition_variable room_;
  std::deque<std::function<void()>> tasks_;
  bool ending_ = false;
  std::array<std::thread, most_answered> threads_;
};

/// Not the library's SO_REUSEPORT: with that, a second server would share the port in silence.
void set_options(int socket) {
  const int yes = 1;
  ::setsockopt(socket, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
}

}  // namespace

struct http_server::state {
  httplib::Server server;
  listen_address where;
  maker metrics;
  std::mutex making;
  std::thread listener;
};

std::expected<listen_address, std::string> parse_listen_address(std::string_view text) {
  constexpr const char* shape = "HOST:PORT is needed, as 127.0.0.1:9464 or [::1]:0.";
  const std::size_t colon = text.rfind(':');
  if (colon == std::string_view::npos) return std::unexpected(shape);
  std::string_view host = text.substr(0, colon);
  if (host.starts_with('[') && host.ends_with(']')) {
    host = host.substr(1, host.size() - 2);
  } else if (host.find_first_of("[]:") != std::string_view::npos) {
    return std::unexpected(shape);
  }
  if (host.empty() || host.find('\0') != std::string_view::npos) return std::unexpected(shape);
  const auto port = parse_number<std::uint16_t>(text.substr(colon + 1));
  if (!port) return std::unexpected("A port is a number from 0, for any that is free, to 65535.");
  return listen_address{.host = std::string(host), .port = *port};
}

http_server::http_server(std::unique_ptr<state> made) noexcept : state_(std::move(made)) {}

http_server::~http_server() {
  state_->server.stop();
  state_->listener.join();
}

std::string http_server::url() const {
  const auto& [host, port] = state_->where;
  const bool v6 = host.find(':') != std::string::npos;
  return fmt::format("http://{}{}{}:{}/metrics", v6 ? "[" : "", host, v6 ? "]" : "", port);
}

std::expected<std::unique_ptr<http_server>, std::string> http_server::open(
    const listen_address& where, maker metrics) {
  auto made = std::make_unique<state>();
  made->where = where;
  made->metrics = std::move(metrics);
  httplib::Server& server = made->server;
  server.set_socket_options(set_options);
  server.set_keep_alive_max_count(1);
  server.set_keep_alive_timeout(read_seconds);
  server.set_read_timeout(read_seconds);
  server.set_write_timeout(write_seconds);
  server.set_payload_max_length(most_body);
  server.Get("/", [](const httplib::Request&, httplib::Response& response) {
    response.set_content(std::string(front_page), "text/html; charset=utf-8");
  });
  server.Get("/metrics", [&s = *made](const httplib::Request& asked, httplib::Response& response) {
    const std::lock_guard one_at_a_time(s.making);
    const auto page = s.metrics(asked.get_header_value("Accept"));
    if (page) {
      response.set_content(page->body, page->type.c_str());
    } else {
      response.status = 500;
      response.set_content(page.error() + "\n", "text/plain; charset=utf-8");
    }
  });
  server.set_error_handler([](const httplib::Request&, httplib::Response& response) {
    if (response.status == 404)
      response.set_content("There is nothing here. The metrics are at /metrics.\n", "text/plain");
  });

  errno = 0;
  if (where.port == 0) {
    const int found = server.bind_to_any_port(where.host);
    if (found > 0) made->where.port = static_cast<std::uint16_t>(found);
  } else {
    // A port that cannot be had leaves the number as it was given.
    if (!server.bind_to_port(where.host, where.port)) made->where.port = 0;
  }
  if (made->where.port == 0) {
    const std::string why =
        errno != 0 ? std::strerror(errno) : "no address of this machine has that name";
    return std::unexpected(fmt::format(
        "{}:{} cannot be listened on: {}. Name another, or port 0 for any that is free.",
        where.host, where.port, why));
  }
  try {
    auto pool = std::make_unique<bounded_pool>();
    server.new_task_queue = [raw = pool.get()] { return raw; };
    made->listener = std::thread([&server] { server.listen_after_bind(); });
    (void)pool.release();  // the server ends it
  } catch (const std::system_error&) {
    return std::unexpected("The system gives no more threads to answer requests with.");
  }
  // Before it runs, to stop it would do nothing.
  while (!server.is_running()) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  return std::unique_ptr<http_server>(new http_server(std::move(made)));
}
