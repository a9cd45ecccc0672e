// SPDX-License-Identifier: Apache-2.0
// The life of a service: open, serve, drain, close.

#include <belay/core/detail/patient_output.hpp>
#include <belay/core/detail/place.hpp>
#include <belay/core/signals.hpp>
#include <belay/core/sleep.hpp>
#include <belay/core/task_tree.hpp>
#include <belay/core/timeout.hpp>
#include <belay/errors/boost_system.hpp>
#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <csignal>

#include "app_state.hpp"

namespace belay::service {

namespace {

task<> end_of(child<void>& what) { co_await what; }

// That it was cancelled is no news; what else it fails with is an error of its group.
task<> wait_ended(child<void>& what) {
  const outcome<void> ended = co_await as_outcome(end_of(what));
  if (ended.failed()) ended.failure().observe();
}

// To stderr. When that takes no more, the rest is dropped: the end must not wait for who reads it.
void write_soon(std::string_view text, std::chrono::milliseconds limit) {
  using clock = std::chrono::steady_clock;
  const clock::time_point until = clock::now() + limit;
  while (!text.empty()) {
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(until - clock::now()).count();
    if (left <= 0) return;
    pollfd out{.fd = STDERR_FILENO, .events = POLLOUT, .revents = 0};
    const int ready = ::poll(&out, 1, static_cast<int>(left));
    if (ready < 0 && errno == EINTR) continue;
    if (ready <= 0) return;
    // No more than a pipe that is ready takes at once.
    const ssize_t written = ::write(STDERR_FILENO, text.data(), std::min<std::size_t>(text.size(), PIPE_BUF));
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) return;
    text.remove_prefix(static_cast<std::size_t>(written));
  }
}

std::string counted(std::size_t number, std::string_view what) {
  return std::to_string(number) + " " + std::string(what) + (number == 1 ? "" : "s");
}

}  // namespace

error_classifier known_errors() {
  error_classifier known;
  known.add<boost::system::system_error>(classify_boost);
  return known;
}

app::state::state(app_options given, telemetry::logger target)
    : options(std::move(given)),
      log(std::move(target)),
      random(options.random),
      background(options.most_background_tasks),
      manager(options.manager) {
  if (!random) random = http::system_random;
}

app::app(app_options options, telemetry::logger log)
    : app(std::make_unique<state>(std::move(options), std::move(log))) {}

app::app(std::unique_ptr<state> made)
    : routes(made->registry, made->registry.root()), state_(std::move(made)) {
  state_->add_health_routes(*this);
  state_->add_own_metrics();
  state_->add_metrics_route(*this);
  state_->add_inspector_routes(*this);
}

app::~app() = default;

lifespan& app::steps() noexcept { return state_->steps; }

void app::step(std::string name, task_function<task<>()> what, step_options limits,
               std::source_location where) {
  steps().step(std::move(name), std::move(what), limits, where);
}

concurrent_steps app::together() { return steps().together(); }

void app::worker(std::string name, task_function<task<>()> work, worker_limits limits) {
  state_->add_worker({std::move(name), std::move(work), limits, nullptr});
}

void app::gauge(std::string name, std::function<std::size_t()> read) {
  state_->gauges.emplace_back(std::move(name), std::move(read));
}

telemetry::metrics& app::metrics() noexcept { return state_->numbers; }

int app::run() {
  loop_options options = state_->options.loop;
  if (!options.on_lost_failure) {
    options.on_lost_failure = [log = state_->log](const failure& what) { log.error("lost_failure", what); };
  }
  if (!options.on_diagnostic) {
    options.on_diagnostic = [log = state_->log](const diagnostic& what) { state::note(log, what); };
  }
  options.on_diagnostic = state_->with_count(std::move(options.on_diagnostic));
  if (!options.blocked_limit) options.blocked_limit = default_blocked_limit;
  if (!state_->options.on_shutdown_report && state_->log.format() == telemetry::log_format::pretty) {
    state_->options.on_shutdown_report = [log = state_->log](const shutdown_report& report) {
      log.flush(std::chrono::milliseconds(200));
      write_soon(report.text(), std::chrono::seconds(1));
    };
  }
  if (!state_->manager) {
    try {
      state_->manager = service_manager::from_environment();
    } catch (const error& e) {
      state_->log.warn("service_manager_unusable", {{"message", e.what()}});
    }
  }
  loop own(std::move(options));
  return own.run(state_->run(state::signals::watched));
}

task<int> app::run_within() { co_return co_await state_->run(state::signals::left_alone); }

void app::stop(std::string reason) { state_->stop(std::move(reason)); }

task<io::endpoint> app::wait_serving() {
  co_await state_->serving.wait();
  co_return state_->listening_on;
}

task<io::endpoint> app::wait_listening() {
  co_await state_->listening.wait();
  co_return state_->listening_on;
}

task<> app::wait_background() {
  while (!state_->afterwards.all.empty()) {
    state_->nothing_follows.reset();
    co_await state_->nothing_follows.wait();
  }
  if (state_->background.size() != 0) co_await state_->background.wait_idle();
}

void app::on_handler_failure(std::function<void(const failure&, const http::response&)> tell) {
  state_->handler_failed = std::move(tell);
}

void app::state::stop(std::string reason) {
  if (!report.reason.empty()) return;
  if (now == phase::starting && program != nullptr) program->cancel(cancel_reason::shutdown);
  begin_shutdown(std::move(reason));
}

void app::state::begin_shutdown(std::string reason) {
  report.reason = std::move(reason);
  report.begin(belay::now());
  log.write(follows ? telemetry::level::debug : telemetry::level::info, "shutting_down",
            {{"reason", report.reason}});
  stop_followers(report.reason);
  over.set();
  manager_news.set();
}

task<int> app::state::run(signals which) {
  if (std::exchange(used, true)) throw misuse_error("app: it can run only once");
  complete_routes();
  run_at = belay::now();
  child<int> living;  // outlives the watcher
  struct registration {
    state& self;
    ~registration() { self.program = nullptr; }
  } const at_end{*this};
  const auto program_and_watchers = [this, which, &living](group& watchers) -> task<int> {
    if (which == signals::watched) {
      watchers.spawn(&state::watch_signals, this, std::ref(watchers));
      watchers.spawn(&state::bound_the_end, this);
    }
    if (manager) watchers.spawn(&state::keep_manager_informed, this);
    living = watchers.spawn(&state::live, this);
    program = &living;
    if (over.is_set()) living.cancel(cancel_reason::shutdown);  // stopped before it ran
    int code = exit_clean;
    try {
      code = co_await living;
    } catch (const child_cancelled&) {  // while it started, or by the second SIGINT
      if (gave_up) {
        log.fatal("service_failed", gave_up);
        code = exit_start_failed;
      }
      tell_report();
      if (!report.clean()) code = exit_unclean_shutdown;
    }
    if (report.forced) code = exit_forced;
    watchers.cancel(cancel_reason::shutdown);
    log.flush();
    co_return code;
  };
  co_return co_await classified_by(options.errors, with_group(program_and_watchers));
}

task<> app::state::watch_signals(group& watchers) {
  signal_watch signals{SIGINT, SIGTERM, SIGUSR1};
  child<void> printing;
  for (int interrupts = 0;;) {
    const int number = co_await signals.next();
    if (number == SIGUSR1) {
      if (printing.done())
        printing = watchers.spawn(belay::detail::write_patiently, "belay: tasks\n" + describe(live_tasks()));
      continue;
    }
    if (report.reason.empty()) stop(number == SIGINT ? "SIGINT" : "SIGTERM");
    if (number != SIGINT) continue;  // repeated SIGTERM does not force: orchestrators send it again
    ++interrupts;
    if (interrupts == 2) {
      report.forced = true;
      note_what_is_cut_short();
      watchers.spawn(&state::end_process_after, this, options.force_after, exit_forced);
      program->cancel(cancel_reason::shutdown);
    } else if (interrupts > 2) {
      log.flush(std::chrono::milliseconds(200));
      ::_exit(exit_forced);
    }
  }
}

std::function<void(const diagnostic&)> app::state::with_count(
    std::function<void(const diagnostic&)> tell) const {
  return [seen = diagnostics, tell = std::move(tell)](const diagnostic& what) {
    seen->note(what);
    tell(what);
  };
}

void app::state::note(const telemetry::logger& log, const diagnostic& what) {
  std::string at;
  for (const std::source_location& place : what.places) {
    if (!at.empty()) at += ", ";
    at += belay::detail::place_text(place);
  }
  const telemetry::level importance = what.over ? telemetry::level::info : telemetry::level::warn;
  log.write(importance, to_string(what.kind),
            {{"message", what.message},
             {"task", what.task},
             {"at", at},
             {"over", what.over},
             {"lasted_ms", std::chrono::duration_cast<std::chrono::milliseconds>(what.lasted).count()}});
}

// However the end began: also by `stop`, a worker that gave up, a listener that failed.
task<> app::state::bound_the_end() {
  co_await over.wait();
  co_await end_process_after(longest_shutdown(belay::detail::cleanup_limit()), exit_unclean_shutdown);
}

task<> app::state::end_process_after(duration limit, exit_code code) {
  co_await sleep_for(limit);
  // Work that does not heed its cancellation cannot be left behind in a program that goes on; it can in one that ends.
  report.give_up();
  log.error("forced_exit", {{"message", "what was cancelled did not end in time; leaving at once"},
                            {"tasks", describe(live_tasks())}});
  tell_report();
  log.flush(std::chrono::milliseconds(200));
  ::_exit(code);
}

// How long everything takes that is bounded by itself: the grace, what is cancelled after it, each step.
duration app::state::longest_shutdown(duration each) const noexcept {
  time_point end = saturating_add(saturating_add(time_point(), options.lame_duck), options.grace);
  for (std::size_t i = 0; i != workers.size() + 2; ++i) end = saturating_add(end, each);
  end = saturating_add(end, steps.longest_close(each));
  return end.time_since_epoch();
}

void app::state::note_what_is_cut_short() {
  if (const std::size_t left = server == nullptr ? 0 : server->statistics().active_requests; left != 0) {
    report.overran.push_back("requests");
    report.cancelled.push_back(counted(left, "request"));
  }
  if (background.size() != 0) {
    report.overran.push_back("background tasks");
    for (const std::string& name : background.unfinished())
      report.cancelled.push_back("background task " + name);
  }
}

// The report is complete: to the log, and to whoever wants it.
void app::state::tell_report() {
  const loop_statistics so_far = loop::current()->statistics();
  report.program = options.name;
  report.abandoned_calls += so_far.abandoned_jobs;  // those of other loops are in it
  report.lost_failures += so_far.lost_failures;
  if (follows) return;
  report.write_to(log);
  if (!options.on_shutdown_report) return;
  try {
    options.on_shutdown_report(report);
  } catch (...) {  // the end goes on
    log.error("shutdown_report_not_taken", current_failure());
  }
}

task<int> app::state::live() {
  std::string failed_step;
  const outcome<void> how = co_await as_outcome(listen_and_live(failed_step));
  co_return conclude(how, failed_step);
}

// Tells how it went, and gives the exit code.
int app::state::conclude(const outcome<void>& how, const std::string& failed_step) {
  const failure what = how.failure();
  for (const std::string& call : loop::current()->abandoned_calls())
    report.overran.push_back("abandoned call " + call);
  if (!failed_step.empty() && follows) {
    start_trouble = failed_step + ": " + what.message();
    for (const failure& one : what.flatten()) one.observe();
    tell_report();
    return exit_start_failed;
  }
  if (!failed_step.empty()) {
    log.fatal("start_failed",
              {{"message", options.name + ": cannot start: " + failed_step + ": " + what.message()},
               {"step", failed_step},
               {"reason", what.message()}});
    log.write(telemetry::level::debug, "start_failure", what);
    if (manager) manager->send_status("cannot start: " + failed_step + ": " + what.message());
    for (const failure& one : what.flatten()) one.observe();  // told above, and those of closing below
    if (report.reason.empty()) report.reason = "failed start";
    if (!report.clean()) tell_report();
    return exit_start_failed;
  }
  const bool served_to_the_end = !report.reason.empty() && !gave_up && !loop_ended;
  if (report.reason.empty()) report.reason = "failure";
  if (what) log.fatal(served_to_the_end ? "shutdown_failed" : "service_failed", what);
  tell_report();
  if (!served_to_the_end) return exit_start_failed;
  return report.clean() && !what ? exit_clean : exit_unclean_shutdown;
}

// It listens before it opens its steps, so that whoever asks for its health is told how far it is.
task<> app::state::listen_and_live(std::string& failed_step) {
  http::server_hooks hooks = make_hooks();
  hooks.judge_head = [this, then = std::move(hooks.judge_head)](const http::request& head,
                                                                const io::endpoint& peer) {
    std::optional<http::response> answer = refuse_while_starting(head);
    if (answer) tally.note_early(head.method, answer->status);
    return answer || !then ? std::move(answer) : then(head, peer);
  };
  hooks.ended = [this, then = std::move(hooks.ended)](http::exchange& of, const http::response* what,
                                                      http::delivery how) {
    then(of, what, how);
    if (afterwards.all.empty()) nothing_follows.set();
  };
  http::server web(dispatcher{this}, std::move(hooks), options.http);
  std::optional<io::tcp_listener> socket;
  try {
    socket.emplace(bind());
  } catch (...) {
    failed_step = "listen";
    throw;
  }
  listening_on = socket->local();
  server = &web;
  struct not_serving {
    state& self;
    ~not_serving() {
      self.server = nullptr;
      self.server_tasks = nullptr;
    }
  } const at_end{*this};
  co_await or_fail(with_group({.name = "server"}, [this, &socket, &failed_step](group& tasks) -> task<> {
    child<void> connections = tasks.spawn(&state::accept_all, this, std::move(*socket));
    server_tasks = &tasks;
    listening.set();
    const outcome<void> how = co_await as_outcome(steps.run(
        [this, &connections]() -> task<> { co_await or_fail(serve(connections)); }, report, failed_step));
    connections.cancel(cancel_reason::shutdown);  // only probes are left
    if (how.failed()) co_await fail(how.failure());
  }));
}

task<> app::state::accept_all(io::tcp_listener on) {
  const outcome<void> how = co_await as_outcome(server->serve(std::move(on)));
  if (!how.failed()) co_return;
  if (now == phase::starting) co_await fail(how.failure());
  cannot_serve = how.failure();
  stop_followers("failure");
  over.set();
}

std::optional<http::response> app::state::refuse_while_starting(const http::request& head) {
  if (!is_starting() || head.path == "/health/live" || head.path == "/health/ready") return std::nullopt;
  return refuse({.status = http::status::service_unavailable,
                 .code = "starting",
                 .detail = "the service is starting; try again soon"},
                {}, head, http::continue_trace(head.headers, random), nullptr);
}

task<> app::state::serve(child<void>& connections) {
  co_await or_fail(within_workers([this, &connections]() -> task<> {
    co_await background.serve_within([this, &connections]() -> task<> {
      const outcome<void> how = co_await as_outcome(serve_connections(connections));
      now = phase::draining;
      // Also when it could not go on serving: what was answered is done in full.
      co_await drain_background();
      if (how.failed()) co_await fail(how.failure());
    });
  }));
}

// Ends, also by cancellation, only after every handler has: they use what is closed next.
task<> app::state::serve_connections(child<void>& connections) {
  outcome<void> how = co_await belay::detail::intercept(serve_until_told(connections));
  connections.cancel(cancel_reason::shutdown);
  outcome<void> ended = co_await belay::detail::intercept(shielded(duration::max(), wait_ended(connections)));
  if (ended.failed()) ended.failure().observe();
  if (how.succeeded()) co_return;
  belay::detail::refresh_cancellation(how);
  co_await belay::detail::end_with(how);
}

task<> app::state::serve_until_told(child<void>& connections) {
  const std::string url = "http://" + listening_on.to_string();
  now = phase::serving;
  if (all_serve && !follows) all_serve->store(true);
  log.write(follows ? telemetry::level::debug : telemetry::level::info, "listening",
            {{"message", options.name + ": listening on " + url}, {"url", url}});
  serving.set();
  manager_news.set();
  co_await over.wait();
  now = phase::draining;
  manager_news.set();
  report.begin(belay::now());
  if (cannot_serve) co_await fail(cannot_serve);
  if (options.lame_duck > duration::zero()) {
    const time_point begin = belay::now();
    co_await sleep_for(options.lame_duck);
    const time_point end = belay::now();
    report.add({.name = "lame duck", .took = end - begin, .phase = "requests", .limit = options.lame_duck},
               end);
  }
  co_await drain_connections(connections);
}

task<> app::state::drain_connections(child<void>& connections) {
  const time_point begin = belay::now();
  drain_until = saturating_add(begin, options.grace);
  server->drain();
  report.add({.name = "listen", .phase = "requests"}, begin);
  std::string trouble;
  if (!co_await move_on_after(options.grace, end_of(connections))) {
    // Connections without a request are just closed.
    if (const std::size_t left = server->statistics().active_requests; left != 0) {
      trouble = std::to_string(left) + (left == 1 ? " was" : " were") + " cancelled after the grace";
      report.overran.push_back("requests");
      report.cancelled.push_back(counted(left, "request"));
      log.warn("requests_cancelled", {{"reason", trouble}});
    }
    connections.cancel(cancel_reason::shutdown);
    co_await wait_ended(connections);
  }
  const time_point end = belay::now();
  report.add({.name = "requests",
              .took = end - begin,
              .trouble = std::move(trouble),
              .phase = "requests",
              .limit = options.grace},
             end);
}

task<> app::state::drain_background() {
  const time_point begin = belay::now();
  if (!drain_until) drain_until = saturating_add(begin, options.grace);
  const duration limit = std::max(duration::zero(), *drain_until - begin);
  std::string trouble;
  if (background.size() != 0 && !co_await move_on_after(limit, background.wait_idle())) {
    trouble = "cancelled after the grace:";
    for (const std::string& name : background.unfinished()) {
      trouble += " " + name;
      report.cancelled.push_back("background task " + name);
    }
    report.overran.push_back("background tasks");
    background.cancel();
    co_await background.wait_idle();
  }
  const time_point end = belay::now();
  report.add({.name = "background tasks",
              .took = end - begin,
              .trouble = std::move(trouble),
              .phase = "background",
              .limit = limit},
             end);
}

}  // namespace belay::service
