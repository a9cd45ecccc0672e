// SPDX-License-Identifier: Apache-2.0
#pragma once
// A request that is being answered, and what follows its response.

#include <belay/service/app.hpp>
#include <memory>
#include <unordered_map>
#include <utility>
#include <vector>

#include "route_registry.hpp"

namespace belay::service::detail {

struct served;

// While a request is being answered.
struct request_dependencies {
  app::state* owner;
  served* of;
  const route_record* route;
  // While the handler runs:
  exit_stack* until_the_response = nullptr;
  exit_stack* until_after_it = nullptr;
  std::vector<void*> opened{};  // in the order of route->dependencies
  bool handler_failed = false;
};

// Adds the trace and the request's own id.
[[nodiscard]] telemetry::logger bind_log(const telemetry::logger& log, const http::request& head,
                                         const http::trace_context& trace);

struct served {
  served(app::state& owner, http::exchange& from, http::route_match found, const http::trace_context& of,
         const telemetry::logger& log);
  http::exchange* from;
  http::exchange own{};  // once the server has let go of the exchange
  http::route_match match;
  http::trace_context trace;
  request asked;
  request_dependencies context;
};

struct after_response {
  explicit after_response(telemetry::logger to) : log(std::move(to)) {}
  std::vector<background_work> work{};
  telemetry::logger log;
  bool succeeded = false;
  std::shared_ptr<held_resources> held{};
  std::shared_ptr<served> life{};
};

// What requests in flight want to have done after their response.
class after_responses {
 public:
  after_response& of(const http::exchange& which, const telemetry::logger& log) {
    return all.try_emplace(&which, log).first->second;
  }
  std::unordered_map<const http::exchange*, after_response> all;
};

// What the dispatcher may do with a request.
struct request_access {
  static void set_context(request& of, request_dependencies* context) noexcept { of.dependencies_ = context; }
  [[nodiscard]] static request_dependencies* context(const request& of) noexcept { return of.dependencies_; }
  // The response was sent; the exchange goes away.
  static void detach(served& of) {
    of.own.request = std::move(of.from->request);
    of.own.peer = of.from->peer;
    of.own.arrived = of.from->arrived;
    of.asked.exchange_ = &of.own;
    of.asked.sent_ = true;
  }
  [[nodiscard]] static task<http::response> go_on(request& of, std::size_t index, bool again);
  [[nodiscard]] static task<http::response> go_on_to_an_answer(request& of, std::size_t index, bool again);
  // All of it: middleware, dependencies, handler.
  [[nodiscard]] BELAY_CORO_WRAPPER static task<http::response> begin(request& of);
};

}  // namespace belay::service::detail
