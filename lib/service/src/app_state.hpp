// SPDX-License-Identifier: Apache-2.0
#pragma once
// What an app holds.

#include <belay/core/child.hpp>
#include <belay/core/event.hpp>
#include <belay/core/group.hpp>
#include <belay/core/supervisor.hpp>
#include <belay/service/app.hpp>
#include <atomic>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "observed.hpp"
#include "request_metrics.hpp"
#include "route_registry.hpp"
#include "served.hpp"

namespace belay::service {

enum class phase : unsigned char { starting, serving, draining };

struct app::state {
  using group = belay::group;  // not the app's member function

  state(app_options given, telemetry::logger target);

  app_options options;
  telemetry::logger log;
  http::random_source random;
  lifespan steps;
  detail::route_registry registry;
  std::string api_document;  // OpenAPI, once it runs, if it is wanted
  std::vector<std::pair<std::string, std::function<std::size_t()>>> gauges;
  background_tasks background;
  telemetry::metrics numbers;
  request_metrics tally{numbers};
  requests_under_way under_way{tally};
  std::shared_ptr<diagnostics_seen> diagnostics = std::make_shared<diagnostics_seen>();
  time_point run_at{};  // once it runs
  // Each worker is supervised by itself, so that one that fails often does not use up the restarts of others.
  struct worker {
    std::string name;
    task_function<task<>()> work;
    worker_limits limits;
    std::unique_ptr<supervisor> keeper;  // once it runs
  };
  std::vector<worker> workers;
  failure gave_up;  // what a worker failed with once too often
  detail::after_responses afterwards;
  event nothing_follows;  // set when `afterwards` is empty again
  std::function<void(const failure&, const http::response&)> handler_failed;
  shutdown_report report;
  std::optional<time_point> drain_until;  // once it drains
  phase now = phase::starting;
  http::server* server = nullptr;  // while it listens
  io::endpoint listening_on;       // once it listens
  event listening;
  event serving;
  std::optional<service_manager> manager;
  event manager_news;             // something to tell it
  bool stopping_told = false;     // to it
  event over;                     // told to stop, or it cannot go on serving
  failure cannot_serve;           // why, then
  child<int>* program = nullptr;  // while it runs
  bool used = false;

  // dispatch.cpp
  [[nodiscard]] http::server_hooks make_hooks();
  [[nodiscard]] task<http::response> dispatch(http::exchange& from);
  struct dispatcher {
    state* of;
    BELAY_CORO_WRAPPER task<http::response> operator()(http::exchange& from) const {
      return of->dispatch(from);
    }
  };
  [[nodiscard]] BELAY_CORO_WRAPPER task<http::response> answer(detail::served& to);
  [[nodiscard]] static task<http::response> answer_within(duration limit, const char* whose,
                                                          detail::served& to);
  [[nodiscard]] task<http::response> call_route(detail::served& of);
  [[nodiscard]] task<http::response> call_with_dependencies(detail::served& of);
  [[nodiscard]] task<> keep_open(exit_stack& open, detail::served& of);
  void end(http::exchange& of, bool answered);
  [[nodiscard]] std::optional<http::response> judge_head(const http::request& head);
  // error_answers.cpp
  [[nodiscard]] http::response refuse(http::problem why, const http::headers& extra,
                                      const http::request& head, const http::trace_context& trace,
                                      const failure* cause);
  [[nodiscard]] http::response answer_failure(const failure& what, const http::request& head,
                                              const http::trace_context& trace,
                                              const detail::route_scope& within);
  [[nodiscard]] task<http::response> answer_error(const failure& what, detail::served& of);
  void note_failed_request(telemetry::level importance, int status, std::string_view code,
                           std::string_view detail, const http::request& head,
                           const http::trace_context& trace, const failure* cause);
  // api.cpp
  void complete_routes();
  // health.cpp
  void add_health_routes(app& of);
  // metrics_page.cpp
  void add_own_metrics();
  void add_metrics_route(app& of);
  // inspector.cpp
  void check_inspector() const;
  void add_inspector_routes(app& of);
  [[nodiscard]] std::string inspector_page() const;
  // workers.cpp
  void add_worker(worker added);
  [[nodiscard]] task<> within_workers(task_function<task<>()> body);
  [[nodiscard]] task<> run_workers();
  [[nodiscard]] task<> stop_workers(child<void>& running);
  void note_worker_event(const worker_event& what);
  // run_app.cpp
  struct follower;
  std::vector<std::shared_ptr<follower>> followers;  // the apps on other loops, of the first one
  std::shared_ptr<std::atomic<bool>> all_serve;      // with several loops
  bool shares_port = false;
  bool follows = false;     // the first loop tells for it
  state* leader = nullptr;  // that of the first loop
  loop* leader_loop = nullptr;
  bool loop_ended = false;        // another one, by itself
  std::string start_trouble;      // what the first loop shall tell
  group* server_tasks = nullptr;  // round the steps, while it listens
  [[nodiscard]] io::tcp_listener bind() const;
  void add_followers(const std::function<void(app&, unsigned)>& set_up);
  [[nodiscard]] managed<unit> follow(std::shared_ptr<follower> it, resource<loop> thread);
  [[nodiscard]] task<> lead(std::shared_ptr<follower> it);
  static void stop_follower(const std::shared_ptr<follower>& it, const std::string& reason);
  void stop_followers(const std::string& reason);
  void absorb(follower& it);
  // Of all loops together. Those that do not answer soon count as they were when they did last.
  [[nodiscard]] task<telemetry::metrics_snapshot> read_all_numbers();
  struct question {  // to the first loop, from another one
    event answered{};
    telemetry::metrics_snapshot numbers{};
    failure why{};
  };
  std::shared_ptr<question> asks_first;  // under way
  [[nodiscard]] task<> ask_first_loop(std::shared_ptr<question> it);
  [[nodiscard]] task<telemetry::metrics_snapshot> numbers_of_first_loop();
  [[nodiscard]] task<> wait_for_numbers();
  [[nodiscard]] static task<> ask_for_numbers(std::shared_ptr<follower> it);
  // It, or another loop, is not serving yet.
  [[nodiscard]] bool is_starting() const noexcept {
    return now == phase::starting || (now == phase::serving && all_serve && !all_serve->load());
  }
  // tell_manager.cpp
  [[nodiscard]] std::string status_line() const;
  [[nodiscard]] task<> keep_manager_informed();
  // app.cpp
  enum class signals : unsigned char { watched, left_alone };
  void stop(std::string reason);
  void begin_shutdown(std::string reason);
  [[nodiscard]] task<int> run(signals which);
  [[nodiscard]] task<> watch_signals(group& watchers);
  [[nodiscard]] task<> end_process_after(duration limit, exit_code code);
  [[nodiscard]] task<> bound_the_end();
  [[nodiscard]] duration longest_shutdown(duration each) const noexcept;
  static void note(const telemetry::logger& log, const diagnostic& what);
  // Has what a loop tells counted, too.
  [[nodiscard]] std::function<void(const diagnostic&)> with_count(
      std::function<void(const diagnostic&)> tell) const;
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
