// SPDX-License-Identifier: Apache-2.0
#pragma once
// What an app holds.

#include <belay/core/event.hpp>
#include <belay/core/group.hpp>
#include <belay/http/route_table.hpp>
#include <belay/service/app.hpp>
#include <utility>
#include <vector>

namespace belay::service {

enum class phase : unsigned char { starting, serving, draining };

struct app::state {
  state(app_options given, telemetry::logger target)
      : options(std::move(given)), log(std::move(target)), background(log, options.most_background_tasks) {}

  app_options options;
  telemetry::logger log;
  lifespan steps;
  http::route_table routes;
  std::vector<handler> handlers;  // by the number of the route
  std::vector<error_rule> rules;  // the more derived before their bases
  std::vector<std::pair<std::string, std::function<std::size_t()>>> gauges;
  background_tasks background;
  shutdown_report report;
  phase now = phase::starting;
  http::server* server = nullptr;  // while it serves
  event shutdown;

  // dispatch.cpp
  [[nodiscard]] task<http::response> dispatch(http::exchange& from);
  [[nodiscard]] std::optional<http::response> answer_head(const http::exchange& about);
  [[nodiscard]] http::response refuse(http::problem why, http::headers extra, const http::exchange& about,
                                      const failure* cause);
  [[nodiscard]] http::response answer_failure(const failure& what, const http::exchange& about);
  // health.cpp
  void add_health_routes(app& of);
  // app.cpp
  [[nodiscard]] task<int> live();
  [[nodiscard]] task<> serve(resource<http::server> listening);
  [[nodiscard]] task<> drain(event& connections_ended);
  [[nodiscard]] task<> watch_signals(child<int>& program, group& watchers);
};

}  // namespace belay::service
