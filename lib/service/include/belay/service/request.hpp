// SPDX-License-Identifier: Apache-2.0
#pragma once
// What a handler gets: the HTTP request with its path parameters, trace, logger and background work.

#include <belay/http/route_table.hpp>
#include <belay/http/server.hpp>
#include <belay/http/trace_context.hpp>
#include <belay/http/validation.hpp>
#include <belay/service/background.hpp>
#include <belay/telemetry/logger.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace belay::service {

class request {
 public:
  request(http::exchange& from, const http::route_match& match, const http::trace_context& trace,
          telemetry::logger log, background_tasks& background);

  [[nodiscard]] const http::request& http() const noexcept { return exchange_->request; }
  /// The client's trace, gone on with, or a new one.
  [[nodiscard]] const http::trace_context& trace() const noexcept { return *trace_; }
  /// Writes records with the request's trace id.
  [[nodiscard]] const telemetry::logger& log() const noexcept { return log_; }

  /// The decoded value of `{name}` in the route's pattern; nothing when the pattern has none.
  [[nodiscard]] std::optional<std::string_view> path(std::string_view name) const noexcept;
  /// The first query parameter of that name.
  [[nodiscard]] std::optional<std::string_view> query(std::string_view name) const noexcept;

  /// `{name}` as an integer from 1 up: findings go to `check` at `/path/{name}`.
  [[nodiscard]] std::int64_t path_id(std::string_view name, http::validation& check) const;

  /// Runs `work` after the response was sent, in the order of the calls. Only if the handler succeeds.
  /// Errors: `background_overload_error` when too much is waiting: nothing is added.
  /// Lifetime: `work` is kept until it has run; it must own or outlive what it uses, the request is gone by then.
  void run_after_response(std::string name, task_function<task<>()> work);

  // For the dispatcher.
  [[nodiscard]] std::vector<background_work> take_background() noexcept { return std::move(after_); }

 private:
  http::exchange* exchange_;
  const http::route_match* match_;
  const http::trace_context* trace_;
  telemetry::logger log_;
  background_tasks* background_;
  std::vector<background_work> after_;
};

using handler = task_function<task<http::response>(request&)>;

}  // namespace belay::service
