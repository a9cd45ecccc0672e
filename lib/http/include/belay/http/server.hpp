// SPDX-License-Identifier: Apache-2.0
#pragma once
// Serves HTTP/1.1 on a listening socket: connections, limits, time-outs, disconnects, draining.

#include <belay/core/task_function.hpp>
#include <belay/core/time.hpp>
#include <belay/http/message.hpp>
#include <belay/http/problem.hpp>
#include <belay/http/request_parser.hpp>
#include <belay/http/trace_context.hpp>
#include <belay/io/tcp.hpp>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>

namespace belay::http {

/// One request on its way to its response.
struct exchange {
  http::request request{};
  /// Continues the client's trace, or starts one. The server puts `traceparent` on every answer.
  http::trace_context trace{};
  io::endpoint peer{};
  /// When its head was complete; the client's deadline counts from here.
  time_point arrived{};
  /// Called once when the response has been written, or could not be because the client has gone; not when the handler was
  /// cancelled. Set by the handler. Must not throw.
  std::function<void()> after_answer{};
};

/// Gives the response. Called once per request, on the loop's thread; several run at the same time, for different connections.
/// Errors:        belong into responses. What it lets out goes to `server_options::on_handler_error`, and the client gets what
///                that returns.
/// Cancellation:  with reason `disconnect` when the client has gone; `shutdown` when draining is cut short. No response is sent.
using handler = task_function<task<response>(exchange&)>;

struct server_options {
  /// Head 16 KiB, body 1 MiB.
  parser_options limits{};
  /// More connections than this are answered 503 with Retry-After at once, and closed. At least 1.
  std::size_t max_connections = 10'000;
  /// From the first byte of a head to its end; 408. Dripping does not extend it.
  duration head_limit = std::chrono::seconds(10);
  /// From the end of the head to the end of the body; 408.
  duration body_limit = std::chrono::seconds(30);
  /// For a whole response to be taken by the client; then the connection is closed.
  duration write_limit = std::chrono::seconds(30);
  /// Between two requests of a connection; it is closed silently.
  duration idle_limit = std::chrono::seconds(75);
  /// After accept() failed for want of descriptors or memory.
  duration accept_back_off = std::chrono::milliseconds(100);
  /// For trace ids; empty: the machine's.
  random_source random{};
  /// For the Date header; empty: the machine's wall clock.
  std::function<std::chrono::system_clock::time_point()> wall_clock{};
  /// Asked when a head is complete, before its body is read (and before 100 Continue): a response given here is the answer
  /// (404, 405, 415). Empty: none.
  std::function<std::optional<response>(const exchange& about)> on_head{};
  /// A request is refused before it reaches the handler (malformed, too large, too slow, too many connections). Gives the
  /// response; `about` holds what is known of the request. Empty: `to_response(why)`.
  std::function<response(const problem& why, const exchange& about)> on_refusal{};
  /// The handler failed. Gives the response. Empty: the failure goes to the loop's sink, the client gets a bare 500 problem.
  std::function<response(const failure& what, const exchange& about)> on_handler_error{};
  /// accept() failed; it goes on after `accept_back_off` when that can help, else serve() fails with it. Empty: silent.
  std::function<void(const failure& what)> on_accept_error{};
};

struct server_statistics {
  std::size_t connections = 0;      ///< open now
  std::size_t requests = 0;         ///< in the handler or being answered now
  std::uint64_t accepted = 0;       ///< connections, since the start
  std::uint64_t served = 0;         ///< requests answered
  std::uint64_t refused = 0;        ///< requests that did not reach the handler
  std::uint64_t disconnected = 0;   ///< requests whose client left before the answer was written
};

/// Keep-alive, pipelining, `Expect: 100-continue`, HEAD, early answers, request smuggling refused; see accounts_service for the
/// status codes. Thread: the loop's. Must outlive the task of `serve`.
class server {
 public:
  /// Errors: `misuse_error` for options out of range.
  server(io::tcp_listener listener, handler handle, server_options options = {});
  server(const server&) = delete;
  server& operator=(const server&) = delete;
  ~server();

  /// Accepts and serves until `drain`, then until the last connection has ended.
  /// Errors:        `network_error` when the listener breaks. One connection's trouble never ends it.
  /// Cancellation:  closes everything; handlers are cancelled and waited for.
  [[nodiscard]] task<> serve();

  /// Refuses new connections at once, closes idle ones, lets requests in flight finish with `Connection: close`. A request whose
  /// first bytes have been read is served. Idempotent.
  void drain() noexcept;
  /// Cuts draining short: cancels what still runs.
  void abort() noexcept;

  [[nodiscard]] const io::endpoint& local() const noexcept;
  [[nodiscard]] server_statistics statistics() const noexcept;

 private:
  struct state;
  std::unique_ptr<state> state_;
};

}  // namespace belay::http
