// SPDX-License-Identifier: Apache-2.0
#pragma once
// Serves HTTP/1.1 on a listening socket: connections, timeouts, disconnects, and an end at which nothing is
// lost.

#include <belay/core/event.hpp>
#include <belay/core/failure.hpp>
#include <belay/core/stream.hpp>
#include <belay/core/task.hpp>
#include <belay/core/task_function.hpp>
#include <belay/core/time.hpp>
#include <belay/http/message.hpp>
#include <belay/http/request_parser.hpp>
#include <belay/io/endpoint.hpp>
#include <belay/io/tcp.hpp>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <vector>

namespace belay::http {

namespace detail {

// The body of a request that is still coming in.
class body_source {
 public:
  body_source() noexcept = default;
  body_source(const body_source&) = delete;
  body_source& operator=(const body_source&) = delete;
  [[nodiscard]] virtual stream<std::string> open() = 0;

 protected:
  ~body_source() = default;
};

}  // namespace detail

/// One request and where it came from. Lives until `server_hooks::ended` has returned.
struct exchange {
  /// Without its body where `body_plan` says `streamed`.
  http::request request{};
  io::endpoint peer{};
  /// When its last byte had come in; deadlines count from here.
  time_point arrived{};
  /// Set when the server begins to drain: a handler that waits for news (a long poll) answers then. Null only in an
  /// exchange that no server made.
  event* drain = nullptr;
  // Set by the server.
  detail::body_source* incoming = nullptr;
  // For hooks that come after the handler: the traceparent under which it worked; empty: that of the request.
  std::string traceparent{};

  /// The body, piece by piece. Where it is `streamed` it comes from the client no faster than it is asked for, once;
  /// otherwise it is `request.body`.
  ///
  ///     co_await belay::for_each(e.body_stream(), [&](std::string& piece) -> belay::task<> { co_await file.write(piece); });
  ///
  /// Errors:        of the stream: `problem_error` 413, 400 or 408 when the body is too large, malformed or too slow; left
  ///                alone, that is the answer. `io::disconnected_error` when the client has ended its side and
  ///                `on_disconnect` is `ignore`. `misuse_error` for the second call.
  /// Cancellation:  a piece that came is there for the next step.
  /// Lifetime:      the exchange's, also in the stream of the response.
  [[nodiscard]] BELAY_CORO_WRAPPER stream<std::string> body_stream();
};

/// Answers one request. It may be cancelled at any await: client gone, server stopped.
using handler = task_function<task<response>(exchange&)>;

/// How the body of a request is to be read.
struct body_plan {
  enum class way : unsigned char {
    whole,     ///< before the handler is called
    streamed,  ///< by the handler, while it comes: `exchange::body_stream`
  };
  way how = way::whole;
  /// Instead of `parser_options::body_limit`, in bytes.
  std::optional<std::uint64_t> limit{};
};

/// What became of the answer to a request.
enum class delivery : unsigned char {
  sent,          ///< written to the last byte
  lost,          ///< there was an answer, but the client was gone or too slow to take it
  disconnected,  ///< the client went away first: the handler was cancelled, there was no answer
  stopped,       ///< the server was cancelled
  broken,  ///< its streamed body failed after the head was sent: the client got a part, and can tell (see `body_failed`)
};

/// What the server asks and tells its owner. All are called on the loop's thread and must not block; an empty
/// one has the default given here. A `problem_error` out of `judge_head`, `refused` or `failed` is answered
/// with its problem; anything else out of them with the default 500, and goes to the failure sink. So is an answer that
/// cannot be sent: one with a status that ends no request, and, but for `failed`, one that is streamed. The others must not throw.
struct server_hooks {
  /// Judges a request by its head, before the body is read and before "100 Continue": an answer ends it.
  /// Default: none.
  std::function<std::optional<response>(const request& head, const io::endpoint& peer)> judge_head{};
  /// Says, by the head, how the body is to be read; asked after `judge_head`, and answered alike when it throws. Default: whole.
  std::function<body_plan(const request& head, const io::endpoint& peer)> plan_body{};
  /// The answer to what never reaches the handler: malformed, too large, too slow, over `max_connections`.
  /// `head` has what could be read of it. Default: problem details.
  std::function<response(const protocol_error& why, const request& head, const io::endpoint& peer)> refused{};
  /// The answer to a request whose handler failed. Default: the problem of a `problem_error`; otherwise 500
  /// with no internals, and the failure goes to the failure sink. So does one that this hook does not look at
  /// (`observe`, `describe`).
  std::function<response(const exchange& of, const failure& why)> failed{};
  /// The streamed body of a response failed when the head was gone already: by an error of the stream, or a length that is not
  /// the announced one. The connection is closed, without the end that would make the body look complete; a client of HTTP/1.0
  /// cannot tell, unless the length was announced. Default: to the failure sink. So does a failure that this hook does not look at.
  std::function<void(const exchange& of, const failure& why)> body_failed{};
  /// Called once for each request that reached the handler, after the response was sent (or was not). The
  /// place to start what comes after the response. `what` is null when there was no answer.
  std::function<void(exchange& of, const response* what, delivery how)> ended{};
  /// `accept` failed for want of a resource, or by a passing error of the network; it is tried again after `accept_backoff`.
  std::function<void(const failure& why)> accept_failed{};
};

struct server_options {
  parser_options limits{};
  /// From the first byte of a head to its last; dripping does not extend it. Then 408.
  duration head_timeout = std::chrono::seconds(10);
  /// From the end of the head to the last byte of the body; of one that is streamed: from one piece to the next, while the handler
  /// waits for it. Then 408.
  duration body_timeout = std::chrono::seconds(30);
  /// Of a streamed body: bytes for each second that the handler waits for it, beyond the first `body_timeout`. A body that drips
  /// is a 408. 0: none.
  std::uint64_t min_body_rate = 240;
  /// For the handler to give its response, counted from the last byte of the request. Then it is cancelled, and the answer is 503
  /// `handler_timeout`. Not for the stream of a response, which begins later; and not for requests whose body is streamed: give their
  /// handlers a limit of their own (`with_timeout`). `duration::max()`: none.
  duration request_timeout = std::chrono::minutes(5);
  /// For a client to take one response; of a streamed one, each piece (of 64 KiB at most). Then the connection is closed.
  duration write_timeout = std::chrono::seconds(30);
  /// From the start of a connection to its first byte, if that is shorter than `idle_timeout`. Then it is closed without a word.
  duration first_byte_timeout = std::chrono::seconds(30);
  /// Between two requests. Then the connection is closed without a word.
  duration idle_timeout = std::chrono::seconds(60);
  /// Then the connection is closed, so that clients spread over servers anew. 0: no limit.
  std::uint64_t requests_per_connection = 0;
  /// After a refusal: how long to wait for the client to read it and close, so that a reset does not destroy
  /// it.
  duration linger_timeout = std::chrono::seconds(2);
  /// Once draining: how long a client may take to complete a request that it had begun to send.
  duration drain_read_timeout = std::chrono::seconds(1);
  duration accept_backoff = std::chrono::milliseconds(100);
  /// Open at the same time, at least 1; the next one is answered 503 with Retry-After at once, and closed.
  std::size_t max_connections = 10'000;
  /// Bytes beyond the present request (pipelining) that are read while its handler runs. Beyond them, a
  /// disconnect is not noticed before the response is written.
  std::size_t read_ahead_limit = 64 * 1024;
  /// An unread body up to this size is read and dropped after an early answer; with a larger one, the
  /// connection is closed.
  std::uint64_t early_answer_drain_limit = 64 * 1024;
  /// What to do when the client ends its side while the handler runs.
  enum class on_disconnect : unsigned char { cancel, ignore } disconnect = on_disconnect::cancel;
  /// For the Date header. Empty: the system's clock.
  std::function<std::chrono::system_clock::time_point()> wall_clock{};
};

struct server_statistics {
  std::size_t connections = 0;       ///< open now
  std::size_t idle_connections = 0;  ///< of them: without a request
  std::size_t active_requests = 0;   ///< in a handler, or being answered
  std::uint64_t accepted = 0;        ///< connections so far; likewise the following
  std::uint64_t requests = 0;        ///< reached the handler
  std::uint64_t early_answers = 0;   ///< by `judge_head`
  std::uint64_t refusals = 0;        ///< protocol errors and timeouts that were answered
  std::uint64_t overruns = 0;        ///< handlers that were cancelled by `request_timeout`
  std::uint64_t disconnects = 0;     ///< clients that left before they had their answer
  std::uint64_t rejected = 0;        ///< connections over `max_connections`
  std::uint64_t accept_failures = 0;
  std::uint64_t body_failures = 0;  ///< streamed bodies that failed, see `body_failed`
};

/// An HTTP/1.1 server.
///
///     http::server web(handle, hooks, options);
///     co_await web.serve(io::tcp_listener::bind({"127.0.0.1", 8080}));   // until web.drain()
///
/// `OPTIONS *` is answered here; TRACE and CONNECT are refused with 501.
/// Each connection is a task of its own: what fails in one does not touch another. Requests of one connection
/// are handled one after the other, in order.
/// Lifetime: outlives `serve`. Thread: the loop's.
class server {
 public:
  /// Errors: `misuse_error` for options out of range.
  explicit server(handler serve_request, server_hooks hooks = {}, server_options options = {});
  server(const server&) = delete;
  server& operator=(const server&) = delete;
  ~server();

  /// Accepts and serves until `drain`, then until every connection has ended. Call it once.
  ///
  /// Errors:        what `accept` fails with, if waiting does not help; it cancels the connections under way.
  /// Cancellation:  handlers are cancelled and waited for, connections closed; requests under way get no
  ///                answer.
  [[nodiscard]] BELAY_CORO_WRAPPER task<> serve(io::tcp_listener listener);
  /// The same on several listeners, at least one. What `accept` fails with on one of them ends all.
  [[nodiscard]] task<> serve(std::vector<io::tcp_listener> listeners);

  /// Stops accepting and closes idle connections, both at once; requests that were read are answered, with
  /// `Connection: close`, and then `serve` ends. Streamed responses are finished, or end now: `stream_options::drain`. Idempotent;
  /// before `serve`: it ends at once.
  void drain() noexcept;
  [[nodiscard]] bool draining() const noexcept;

  [[nodiscard]] server_statistics statistics() const noexcept;

 private:
  struct state;
  std::unique_ptr<state> state_;
};

/// Runs `op` within the client's deadline: what `Belay-Deadline-Ms` says, counted from `of.arrived`.
///
/// Result:        that of `op`; without the header, there is no limit.
/// Errors:        `problem_error` 400 `invalid_deadline`, before `op` starts; 504 `deadline_exceeded` when it
///                has passed.
/// Cancellation:  reaches `op`. At the deadline `op` is cancelled, and waited for.
/// Lifetime:      `of` outlives the task.
[[nodiscard]] task<response> with_client_deadline(const exchange& of, task<response> op);

}  // namespace belay::http
