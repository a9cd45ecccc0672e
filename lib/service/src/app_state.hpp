// SPDX-License-Identifier: Apache-2.0
#pragma once
// What an app holds.

#include <belay/core/child.hpp>
#include <belay/core/event.hpp>
#include <belay/core/group.hpp>
#include <belay/core/supervisor.hpp>
#include <belay/http/route_table.hpp>
#include <belay/service/app.hpp>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

namespace belay::service {

enum class phase : unsigned char { starting, serving, draining };

struct app::state {
  state(app_options given, telemetry::logger target);

  app_options options;
  telemetry::logger log;
  http::random_source random;
  lifespan steps;
  http::route_table routes;
  std::vector<handler> handlers;  // by the number of the route
  error_table<error_rule> rules;
  std::vector<std::pair<std::string, std::function<std::size_t()>>> gauges;
  background_tasks background;
  // Each worker is supervised by itself, so that one that fails often does not use up the restarts of others.
  struct worker {
    std::string name;
    task_function<task<>()> work;
    worker_limits limits;
    std::unique_ptr<supervisor> keeper;  // once it runs
  };
  std::vector<worker> workers;
  failure gave_up;  // what a worker failed with once too often
  // What requests in flight want to have run after their response.
  struct after_response {
    std::vector<background_work> work;
    telemetry::logger log;
  };
  std::unordered_map<const http::exchange*, after_response> afterwards;
  shutdown_report report;
  std::optional<time_point> drain_until;  // once it drains
  phase now = phase::starting;
  http::server* server = nullptr;  // while it listens
  io::endpoint listening_on;       // once it listens
  event listening;
  event serving;
  event over;                     // told to stop, or it cannot go on serving
  failure cannot_serve;           // why, then
  child<int>* program = nullptr;  // while it runs
  bool used = false;

  // dispatch.cpp
  [[nodiscard]] http::server_hooks make_hooks();
  [[nodiscard]] task<http::response> dispatch(http::exchange& from);
  [[nodiscard]] task<http::response> call_handler(http::exchange& from, const http::trace_context& trace);
  [[nodiscard]] std::optional<http::response> judge_head(const http::request& head);
  [[nodiscard]] http::response refuse(http::problem why, const http::headers& extra,
                                      const http::request& head, const http::trace_context& trace,
                                      const failure* cause);
  [[nodiscard]] http::response answer_failure(const failure& what, const http::request& head,
                                              const http::trace_context& trace);
  // health.cpp
  void add_health_routes(app& of);
  // workers.cpp
  void add_worker(worker added);
  [[nodiscard]] task<> within_workers(task_function<task<>()> body);
  [[nodiscard]] task<> run_workers();
  [[nodiscard]] task<> stop_workers(child<void>& running);
  void note_worker_event(const worker_event& what);
  // app.cpp
  enum class signals : unsigned char { watched, left_alone };
  void stop(std::string reason);
  void begin_shutdown(std::string reason);
  [[nodiscard]] task<int> run(signals which);
  [[nodiscard]] task<> watch_signals(group& watchers);
  [[nodiscard]] task<> end_process_after(duration limit, exit_code code);
  [[nodiscard]] duration longest_shutdown() const noexcept;
  static void note(const telemetry::logger& log, const diagnostic& what);
  void note_what_is_cut_short();
  void tell_report();
  [[nodiscard]] task<int> live();
  [[nodiscard]] int conclude(const outcome<void>& how, const std::string& failed_step);
  [[nodiscard]] task<> listen_and_live(std::string& failed_step);
  [[nodiscard]] task<> accept_all(io::tcp_listener on);
  [[nodiscard]] std::optional<http::response> refuse_while_starting(const http::request& head);
  [[nodiscard]] task<> serve(child<void>& connections);
  [[nodiscard]] task<> serve_connections(child<void>& connections);
  [[nodiscard]] task<> serve_until_told(child<void>& connections);
  [[nodiscard]] task<> drain_connections(child<void>& connections);
  [[nodiscard]] task<> drain_background();
};

}  // namespace belay::service
