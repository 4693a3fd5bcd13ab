// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Pages over HTTP, made when they are asked for.
#pragma once

#include <cstdint>
#include <expected>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

struct listen_address {
  std::string host;
  std::uint16_t port = 0;  ///< 0: one that is free
};

/// `HOST:PORT`, `[ADDRESS]:PORT` for IPv6. The error is a sentence.
std::expected<listen_address, std::string> parse_listen_address(std::string_view text);

struct http_page {
  std::string type;
  std::string body;
};

/// Answers GET and HEAD of `/metrics` and, with a page that says what this is, of `/`.
///
/// At most 4 requests are answered at a time and 16 more connections are taken; what comes beyond
/// that waits with the system. A client has 2 s for each part of its request, and a connection is
/// closed after its answer: a client that does nothing keeps nobody waiting for long.
class http_server {
 public:
  /// The response of `/metrics` to an Accept header. Called by one thread at a time; the error, a
  /// sentence, becomes the body of a status 500.
  using maker = std::function<std::expected<http_page, std::string>(std::string_view accept)>;

  /// Listens and answers, with threads of its own, until it is destroyed. The error is a sentence.
  static std::expected<std::unique_ptr<http_server>, std::string> open(const listen_address& where,
                                                                       maker metrics);
  http_server(const http_server&) = delete;
  http_server& operator=(const http_server&) = delete;
  /// Takes no more requests, and returns when those it has are answered or timed out.
  ~http_server();

  /// `"http://127.0.0.1:9464/metrics"`, with the port that was found.
  [[nodiscard]] std::string url() const;

 private:
  struct state;
  explicit http_server(std::unique_ptr<state> made) noexcept;
  std::unique_ptr<state> state_;
};

/// The source of `/metrics`: the pages of `pages`, which has `page(accept)` and outlives the
/// server.
template <class Pages>
http_server::maker answers_of(Pages& pages) {
  return [&pages](std::string_view accept) -> std::expected<http_page, std::string> {
    const auto made = pages.page(accept);
    if (!made) return std::unexpected(made.error());
    return http_page{.type = std::string(made->type), .body = std::string(made->body)};
  };
}
