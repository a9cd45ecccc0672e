// SPDX-License-Identifier: Apache-2.0
#pragma once
// A service: lifespan, routes, errors, background tasks, health, graceful shutdown.

#include <belay/core/loop.hpp>
#include <belay/core/periodic.hpp>
#include <belay/core/supervisor_options.hpp>
#include <belay/errors/classify.hpp>
#include <belay/http/server.hpp>
#include <belay/http/trace_context.hpp>
#include <belay/io/endpoint.hpp>
#include <belay/service/inspector.hpp>
#include <belay/service/lifespan.hpp>
#include <belay/service/request.hpp>
#include <belay/service/routes.hpp>
#include <belay/service/service_manager.hpp>
#include <belay/telemetry/logger.hpp>
#include <belay/telemetry/metrics.hpp>
#include <functional>
#include <memory>
#include <optional>
#include <source_location>
#include <string>
#include <string_view>

namespace belay::service {

/// Knows what the errors of Boost mean, so also those of sockets. `auto known = known_errors(); known.add<my_library::error>(...)`.
[[nodiscard]] error_classifier known_errors();

struct app_options {
  /// In the ready line and the log.
  std::string name = "service";
  io::endpoint listen{"127.0.0.1", 8080};
  /// Makes the listening socket instead of `listen`: an inherited one, a Unix socket, one with TLS. Called once, on the loop, before the first
  /// step; by `run_app` once on each loop, so there it must make a socket each time (with `reuse_port`). What it throws fails the step `listen`.
  std::function<io::tcp_listener()> make_listener{};
  /// How long requests and background tasks may take to finish after SIGTERM or SIGINT, before they are cancelled.
  duration grace = std::chrono::seconds(10);
  /// After SIGTERM or SIGINT: how long to go on serving, with `/health/ready` at 503 already, so that whoever sends requests here learns of it
  /// before connections are refused. Zero: not at all.
  duration lame_duck{};
  /// For `run_app`: on how many loops it runs, each on a thread of its own. An `app` by itself has the one it is run on.
  unsigned loops = 1;
  /// After a second SIGINT: how long until the process ends with 130, whatever hangs.
  duration force_after = std::chrono::seconds(2);
  /// How many background tasks may be reserved by requests under way, queued or running.
  std::size_t most_background_tasks = 10'000;
  http::server_options http{};
  /// Serves a description of the API, made of the declarations of the routes; empty: does not.
  std::optional<api_options> api{};
  /// Where the page with `app::metrics` is: "/metrics"; with several loops, with the sums of all. Whoever reaches the service can read it.
  /// Empty: nowhere.
  std::string metrics_path{};
  inspector_options inspector{};
  /// For trace ids; empty: `http::system_random`.
  http::random_source random{};
  /// What `classify` and `is_retryable` ask about exceptions that are no `belay::error`, in handlers, steps, workers and background tasks.
  error_classifier errors = known_errors();
  /// Failures that nobody observed become records `lost_failure`, unless `on_lost_failure` says otherwise. `cleanup_limit` bounds the
  /// closing of each lifespan step. Diagnostics (`belay/core/diagnostic.hpp`) become records named after their kind, `loop_blocked` and so
  /// on, unless `on_diagnostic` says otherwise.
  loop_options loop{};
  /// Who is told how the service is. None: `run` looks for the one that started the process; `run_within` tells nobody.
  std::optional<service_manager> manager{};
  /// Gets the shutdown report at the end, after its record was written. Empty: `run` prints its text to stderr where the log is `pretty`.
  std::function<void(const shutdown_report&)> on_shutdown_report{};
};

/// Exit codes of `app::run`.
enum exit_code : int {
  exit_clean = 0,
  exit_start_failed = 1,  ///< also: it could not go on serving
  exit_usage = 2,
  exit_unclean_shutdown =
      3,  ///< requests or background tasks were cancelled after the grace, or a step failed or overran while closing
  exit_forced = 130,
};

/// What happens when a worker of an app fails.
struct worker_limits {
  /// Restarted up to so often within `window`; then the program ends. Zero: it ends at the first failure.
  std::size_t most_restarts = 5;
  duration window = std::chrono::minutes(1);
  /// See `supervisor_options`.
  duration first_delay = std::chrono::milliseconds(100);
  duration longest_delay = std::chrono::seconds(10);
  /// A transient worker that returns has done its work.
  restart_policy restart = restart_policy::transient;
};

/// A program that serves.
///
///     app accounts({.name = "accounts", .listen = {"127.0.0.1", 8080}}, log);
///     auto db = accounts.manage("database", db::sqlite::open("accounts.db"));
///     accounts.step("migrate", [db] { ... });
///     accounts.worker("purge", every(1min), [db]() -> task<> { ... });
///     accounts.on_error<not_found>(http::status::not_found, "not_found");
///     accounts.get("/users/{id}", [db](request& r) -> task<http::response> { ... });
///     return accounts.run();
///
/// Health: `GET /health/live`, and `GET /health/ready`, which is 503 unless it is serving, and says what is in use, and how often each worker
/// was restarted. It listens from the start on: until all steps are open, `/health/ready` names those under way, and every
/// other request is refused with 503 `starting`.
/// Routes, middleware, error rules, dependencies: see `routes`; handlers with typed arguments: `belay/service/typed.hpp`.
/// Client deadlines: `Belay-Deadline-Ms` bounds the handler; 504 when it passes.
class app : public routes {
 public:
  app(app_options options, telemetry::logger log);
  app(const app&) = delete;
  app& operator=(const app&) = delete;
  ~app();

  /// Adds a resource to the lifespan: opened in the order of the calls, closed in reverse, each within its own limits.
  template <class T>
  resource<T> manage(std::string name, managed<T> what, step_options limits = {},
                     std::source_location where = std::source_location::current()) {
    return steps().manage(std::move(name), std::move(what), limits, where);
  }
  /// Adds a step to the start.
  void step(std::string name, task_function<task<>()> what, step_options limits = {},
            std::source_location where = std::source_location::current());
  /// One place in the order for steps that do not need each other: opened and closed at the same time. See `lifespan::together`.
  [[nodiscard]] concurrent_steps together();

  /// Adds work that goes on as long as the program serves: started when all steps are open, stopped after requests and background tasks,
  /// the last one first; each is cancelled and waited for, and overruns after one `cleanup_limit`.
  /// A failure is a record `worker_restarted`, and the worker is started again after a delay. When it fails too often, the
  /// program drains, closes, and ends with `exit_start_failed`, and the last error of the worker is the record `service_failed`.
  /// Errors: `misuse_error` for an empty or doubled name, for limits out of range, and once it runs.
  void worker(std::string name, task_function<task<>()> work, worker_limits limits = {});
  /// Work to be done again and again: `worker("purge", every(1min), purge_expired)`. A run that fails is one failure of the worker, unless
  /// the schedule has an `on_error`.
  void worker(std::string name, schedule when, task_function<task<>()> work, worker_limits limits = {});

  /// The numbers of this program: those that it keeps of itself, all named `belay_...` and `process_...`, and its own. Requests are
  /// counted by the pattern of their route, `belay_http_requests_total{route="/users/{id}",method="GET",status="200"}`; gauges are
  /// `belay_in_use{what="..."}`. Lifetime: as the app. Thread: the loop's.
  [[nodiscard]] telemetry::metrics& metrics() noexcept;

  /// A number that `/health/ready` shows under `in_use`.
  void gauge(std::string name, std::function<std::size_t()> read);

  /// Opens, serves until SIGTERM or SIGINT, drains, closes; see `exit_code`. A failing start is one readable record. A signal during
  /// the start cancels it. A second SIGINT cancels everything and bounds the rest by `force_after`; a third ends the process at once; a
  /// repeated SIGTERM does nothing; SIGUSR1 prints the live tasks to stderr. Whatever hangs, the process ends: `lame_duck` and
  /// `grace`, one `cleanup_limit` for what was cancelled and for each worker, and the limits of the steps are the longest that a shutdown takes; then it is left
  /// with `exit_unclean_shutdown`, and the record `forced_exit` holds the tasks that are left.
  /// Errors: `misuse_error` the second time.
  [[nodiscard]] int run();

  /// As `run`, as a task of a loop that runs already (whose options count) and with signals left alone: until `stop`.
  /// Cancellation: everything is cancelled at once, and what is open is closed.
  [[nodiscard]] task<int> run_within();
  /// What the first SIGTERM does: drain and close, or cancel the start. Thread: the loop's. Later calls do nothing.
  void stop(std::string reason = "stop");
  /// Waits until it serves, and gives the address, with the port that the system chose.
  [[nodiscard]] task<io::endpoint> wait_serving();
  /// Waits until it listens, which is before it opens its steps.
  [[nodiscard]] task<io::endpoint> wait_listening();
  /// Waits until every answer is out and the background work that follows it has ended.
  [[nodiscard]] task<> wait_background();
  /// Has `tell` called with each failure that leaves a handler, and its answer, before that is sent: for tests, which see in it what the client
  /// does not. It must not throw. A second one replaces the first.
  void on_handler_failure(std::function<void(const failure& what, const http::response& answer)> tell);

  struct state;

 private:
  friend int run_app(app_options options, telemetry::logger log,
                     std::function<void(app&, unsigned loop)> set_up);
  explicit app(std::unique_ptr<state> made);
  lifespan& steps() noexcept;

  std::unique_ptr<state> state_;
};

}  // namespace belay::service
