// SPDX-License-Identifier: Apache-2.0
#pragma once
// Sends HTTP/1.1 requests to other services: connections that are used again, limits on everything, and errors that say what to do.

#include <belay/core/managed.hpp>
#include <belay/core/task.hpp>
#include <belay/core/time.hpp>
#include <belay/http/client_error.hpp>
#include <belay/http/message.hpp>
#include <belay/http/proxy.hpp>
#include <belay/http/request_parser.hpp>
#include <belay/http/upload.hpp>
#include <belay/http/url.hpp>
#include <belay/io/tls.hpp>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <source_location>
#include <string>

namespace belay::http {

/// A request to be sent.
struct client_request {
  http::method method = http::method::get;
  http::url url{};
  /// Host, Content-Length, Transfer-Encoding and Connection are the client's affair: those set here are not used.
  http::headers headers{};
  std::string body{};
  /// Instead of `body`: one that is made while it is sent.
  http::upload upload{};

  [[nodiscard]] static client_request get(http::url from) { return {.url = std::move(from)}; }
  /// `json_text` must be JSON already.
  [[nodiscard]] static client_request json(http::method verb, http::url to, std::string json_text);
};

struct client_options {
  /// Of a response.
  parser_options limits{.head_limit = 32 * 1024, .body_limit = 8 * 1024 * 1024};
  /// To one host at the same time, in use and idle together; at least 1. Those who come then wait in line.
  std::size_t connections_per_host = 16;
  /// In that line. Then `no_connection_free`. Each of the durations is more than zero; `duration::max()`: no limit.
  duration wait_timeout = std::chrono::seconds(10);
  /// From the lookup of the name to the end of the TLS handshake.
  duration connect_timeout = std::chrono::seconds(5);
  /// For each try, from the first byte of the request to the last one of the response; dripping does not extend it. Then
  /// `response_timed_out`. A request that is sent once more begins anew: bound both tries with `with_timeout`. With an `upload`: for the
  /// server to take each 64 KiB of it, and then from its end to that of the response; the time that its stream takes does not count.
  duration response_timeout = std::chrono::seconds(30);
  /// A connection that was not used for so long is not used again. Shorter than the server's.
  duration idle_timeout = std::chrono::seconds(30);
  /// Tells the server the time that is left, in `Belay-Deadline-Ms`, where the task has a deadline.
  bool sends_deadline = true;
  /// How many redirects a request follows; none: the response is given as it is. One that leads from https to http is refused, one that leads to
  /// another origin takes no Authorization and Cookie along. `response_timeout` is for each of the requests: bound them all with
  /// `with_timeout`.
  unsigned redirects = 0;
  /// Whom to trust for https. Empty: the system's authorities, read at the first such request.
  std::optional<io::tls::context> tls{};
  /// None unless it is set: `proxy_settings::from_environment()`.
  proxy_settings proxy{};
  /// Called for each request that goes out, those that follow a redirect included: for what all have in common, such as
  /// `inject(make_child(trace, random), request.headers)`, or credentials (look at the URL first). What it throws comes out of `send`.
  std::function<void(client_request&)> prepare{};
  /// For dates in Retry-After. Empty: the system's clock.
  std::function<std::chrono::system_clock::time_point()> wall_clock{};
};

struct client_statistics {
  std::size_t active = 0;       ///< requests under way, those in line included
  std::size_t connections = 0;  ///< open now; of them:
  std::size_t idle = 0;
  std::uint64_t requests = 0;  ///< so far; likewise the following
  std::uint64_t connects = 0;
  std::uint64_t reused = 0;  ///< requests that were sent on a connection that was there
  std::uint64_t resent = 0;  ///< requests that were sent once more: their connection was lost
  std::uint64_t stale =
      0;  ///< connections that the server had closed, or sent something on, while they were idle
};

/// A response of which the body is still coming: see `client::stream`. Thread: the loop's.
class incoming {
 public:
  [[nodiscard]] http::status status() const noexcept;
  [[nodiscard]] const http::headers& headers() const noexcept;

  /// The next part of the body, at least one byte; empty once it is complete, then and whenever it is asked again. Nothing is read from
  /// the server before it is asked for.
  /// Errors:        `request_error` `connection_lost`, `response_truncated`, `bad_response`, `response_timed_out`; again at each further call, but after `response_timed_out`
  ///                another call waits once more.
  /// Cancellation:  no part is lost.
  /// Time:          `client_options::response_timeout` for each part.
  [[nodiscard]] task<std::string> read();

  struct impl;
  explicit incoming(impl& of) noexcept : impl_(&of) {}

 private:
  impl* impl_;
};

/// A client for any number of hosts.
///
///     http::client& web = co_await use(http::open_client());
///     const http::response quote = co_await with_timeout(1s, web.fetch(http::client_request::get(http::url::parse(text))));
///
/// Responses are taken whole, within the limits, or by `stream`. Nothing is decompressed, cookies are not kept.
///
/// https: the certificate is verified, always, against `client_options::tls`; a client that shall trust anybody needs a context that says so.
/// A large body, and an `upload`, is sent while the response is looked for: one that comes before is given at once (by `stream`: when its head
/// is here), the rest of the body is not sent, and the connection is not used again.
///
/// Connections: one request at a time on each, no pipelining. A connection is used again if the response left it clean: the server keeps
/// it, the length of the body was known, nothing came behind it. Before that it is looked at: when the server has closed it, or sent
/// something that nobody asked for, it is dropped. Should it be closed in the very moment of sending, before a byte of the response, the
/// request is sent once more on a fresh connection. So only idempotent requests, whose body can be sent again, go on used
/// connections; the others get a fresh one each. If the second try fails, too, its error says so, and never that nothing was carried out.
///
/// Lifetime: outlives its requests. Thread: the loop's.
class client {
 public:
  /// Errors: `misuse_error` for options out of range.
  explicit client(client_options options = {});
  client(const client&) = delete;
  client& operator=(const client&) = delete;
  ~client();

  /// Sends `what` and gives the response, whatever its status.
  ///
  /// Errors:        `request_error`: see there. `error` (invalid, `tls_setup`) if the system's authorities cannot be read. `message_error` for a request that cannot go over the wire (`invalid_host`: of a URL that was
  ///                not made by `parse`); `misuse_error` after `close`, and for an `upload` that was sent before, comes with a `body`, or
  ///                is not of the length that was announced. What the stream of an `upload` throws: the server sees a body that is cut off.
  /// Cancellation:  the connection is dropped; the server may have carried out the request.
  /// Time:          the limits of the options; a deadline of the task cuts it short, and is told to the server.
  [[nodiscard]] task<response> send(client_request what,
                                    std::source_location where = std::source_location::current());

  /// The same, but a status of 400 or more is a `status_error`, with the response in it.
  [[nodiscard]] task<response> fetch(client_request what,
                                     std::source_location where = std::source_location::current());

  /// Sends `what`, and gives the response when its head has come, whatever its status; the body is read part by part, of any length:
  ///
  ///     co_await with(web.stream(client_request::get(from)), [&](http::incoming& answer) -> task<> {
  ///       for (std::string part = co_await answer.read(); !part.empty(); part = co_await answer.read()) co_await save(part);
  ///     });
  ///
  /// The connection is used again if the block has read to the end, and is dropped otherwise.
  /// Errors, Cancellation: as `send`. Redirects are followed likewise.
  /// Time: `response_timeout` up to the head; then see `incoming::read`. Lifetime: the client outlives the block.
  [[nodiscard]] managed<incoming> stream(client_request what,
                                         std::source_location where = std::source_location::current());

  /// Drops idle connections; those in use are dropped when their request ends, and `send` is refused. Idempotent.
  void close() noexcept;

  [[nodiscard]] client_statistics statistics() const noexcept;

 private:
  friend class incoming;
  struct state;
  std::unique_ptr<state> state_;
};

/// A client as a resource: closed at the end.
[[nodiscard]] managed<client> open_client(client_options options = {});

}  // namespace belay::http
