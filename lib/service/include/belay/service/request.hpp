// SPDX-License-Identifier: Apache-2.0
#pragma once
// What a handler gets: the HTTP request with its path parameters, trace, logger and background work.

#include <belay/core/stream.hpp>
#include <belay/core/thread.hpp>
#include <belay/http/route_table.hpp>
#include <belay/http/server.hpp>
#include <belay/http/trace_context.hpp>
#include <belay/http/validation.hpp>
#include <belay/service/background.hpp>
#include <belay/telemetry/logger.hpp>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

namespace belay::service {

class next;

namespace detail {
class after_responses;
struct request_access;
struct request_dependencies;
}  // namespace detail

class request {
 public:
  // All of these outlive it.
  request(http::exchange& from, const http::route_match& match, const http::trace_context& trace,
          const telemetry::logger& log, background_tasks& background, detail::after_responses& afterwards);
  request(const request&) = delete;
  request& operator=(const request&) = delete;

  [[nodiscard]] const http::request& http() const noexcept { return exchange_->request; }
  /// Who is at the other end of the connection; with a proxy between, that proxy.
  [[nodiscard]] const io::endpoint& peer() const noexcept { return exchange_->peer; }
  /// The client's trace, gone on with, or a new one.
  [[nodiscard]] const http::trace_context& trace() const noexcept { return *trace_; }
  /// What the client calls this request: `X-Request-Id`, if it is there once and well-formed (`http::is_request_id`); otherwise empty.
  /// It is echoed in the response, and is in the log records.
  [[nodiscard]] std::string_view id() const noexcept;
  /// Writes records with the request's trace id, and its request id.
  [[nodiscard]] const telemetry::logger& log() const noexcept;

  /// The body, piece by piece; see `http::exchange::body_stream`. While it comes where the route has `streams_body`, otherwise as a whole.
  /// It may also go into the stream of the response, for which this request, other than the exchange, is gone.
  [[nodiscard]] BELAY_CORO_WRAPPER stream<std::string> body_stream() { return exchange_->body_stream(); }

  /// The decoded value of `{name}` in the route's pattern; nothing when the pattern has none.
  [[nodiscard]] std::optional<std::string_view> path(std::string_view name) const noexcept;
  /// All of them, in the order of the pattern.
  [[nodiscard]] const std::vector<http::path_parameter>& path_parameters() const noexcept {
    return match_->parameters;
  }
  /// The first query parameter of that name.
  [[nodiscard]] std::optional<std::string_view> query(std::string_view name) const noexcept;

  /// `{name}` as an integer from 1 up: findings go to `check` at `/path/{name}`.
  [[nodiscard]] std::int64_t path_id(std::string_view name, http::validation& check) const;

  /// Set in the response when the handler succeeds; they replace fields of the same name. For dependencies and middleware.
  [[nodiscard]] http::headers& response_headers() noexcept { return response_headers_; }

  /// Runs `work` after the response was sent, in the order of the calls. Only if the handler succeeds; with `run_when::always` also if it
  /// fails or is cancelled. A function that returns nothing instead of a task runs in the thread pool.
  /// Call it before what cannot be undone, such as a commit: then an overload is told while nothing has happened.
  /// Errors: `background_overload_error` when too much is waiting: nothing is added. `misuse_error` once the response was sent: what
  ///         a dependency of `scope::request` does when it closes is too late.
  /// Lifetime: `work` is kept until it has run; it must own or outlive what it uses, the request is gone by then.
  void run_after_response(std::string name, task_function<task<>()> work,
                          run_when when = run_when::on_success);
  template <class F>
    requires std::is_void_v<std::invoke_result_t<std::decay_t<F>&>>
  void run_after_response(std::string name, F&& work, run_when when = run_when::on_success) {
    run_after_response(
        std::move(name),
        task_function<task<>()>([kept = std::decay_t<F>(std::forward<F>(work))]() mutable -> task<> {
          co_await to_thread(std::ref(kept));
        }),
        when);
  }

 private:
  friend detail::request_access;
  http::exchange* exchange_;
  const http::route_match* match_;
  const http::trace_context* trace_;
  const telemetry::logger* log_;                        // the app's
  mutable std::once_flag bound_;                        // handlers may log from several threads
  mutable std::optional<telemetry::logger> own_log_{};  // once it is asked for
  background_tasks* background_;
  detail::after_responses* afterwards_;
  http::headers response_headers_;
  detail::request_dependencies* dependencies_ = nullptr;  // while the handler runs, if the route has any
  bool sent_ = false;
};

using handler = task_function<task<http::response>(request&)>;

}  // namespace belay::service
