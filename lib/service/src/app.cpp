// SPDX-License-Identifier: Apache-2.0
// The life of a service: open, serve, drain, close.

#include <belay/core/detail/patient_output.hpp>
#include <belay/core/detail/place.hpp>
#include <belay/core/signals.hpp>
#include <belay/core/sleep.hpp>
#include <belay/core/task_tree.hpp>
#include <belay/core/timeout.hpp>
#include <belay/errors/boost_system.hpp>
#include <unistd.h>

#include <algorithm>
#include <csignal>

#include "app_state.hpp"

namespace belay::service {

namespace {

managed<io::tcp_listener> listen(io::endpoint at) { co_yield io::tcp_listener::bind(at); }

task<> end_of(child<void>& what) { co_await what; }

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
      background(options.most_background_tasks) {
  rules.on<http::problem_error>({.as_it_says = true});
  if (!random) random = http::system_random;
}

app::app(app_options options, telemetry::logger log)
    : state_(std::make_unique<state>(std::move(options), std::move(log))) {
  state_->add_health_routes(*this);
}

app::~app() = default;

lifespan& app::steps() noexcept { return state_->steps; }

void app::step(std::string name, task_function<task<>()> what) {
  steps().step(std::move(name), std::move(what));
}

void app::worker(std::string name, task_function<task<>()> work, worker_limits limits) {
  state_->add_worker({std::move(name), std::move(work), limits, nullptr});
}

void app::route(http::method verb, std::string_view pattern, handler handle) {
  state_->routes.add(verb, pattern);
  state_->handlers.push_back(std::move(handle));
}

void app::gauge(std::string name, std::function<std::size_t()> read) {
  state_->gauges.emplace_back(std::move(name), std::move(read));
}

error_table<app::error_rule>& app::error_rules() noexcept { return state_->rules; }

int app::run() {
  loop_options options = state_->options.loop;
  if (!options.on_lost_failure) {
    options.on_lost_failure = [log = state_->log](const failure& what) { log.error("lost_failure", what); };
  }
  if (!options.on_diagnostic) {
    options.on_diagnostic = [log = state_->log](const diagnostic& what) { state::note(log, what); };
  }
  if (!options.blocked_limit) options.blocked_limit = default_blocked_limit;
  loop own(std::move(options));
  return own.run(state_->run(state::signals::watched));
}

task<int> app::run_within() { co_return co_await state_->run(state::signals::left_alone); }

void app::stop(std::string reason) { state_->stop(std::move(reason)); }

task<io::endpoint> app::wait_serving() {
  co_await state_->serving.wait();
  co_return state_->listening_on;
}

void app::state::stop(std::string reason) {
  if (!report.reason.empty()) return;
  if (now == phase::starting && program != nullptr) program->cancel(cancel_reason::shutdown);
  begin_shutdown(std::move(reason));
}

void app::state::begin_shutdown(std::string reason) {
  report.reason = std::move(reason);
  log.info("shutting_down", {{"reason", report.reason}});
  shutdown.set();
}

task<int> app::state::run(signals which) {
  if (std::exchange(used, true)) throw misuse_error("app: it can run only once");
  child<int> living;  // outlives the watcher
  struct registration {
    state& self;
    ~registration() { self.program = nullptr; }
  } const at_end{*this};
  const auto program_and_watchers = [this, which, &living](group& watchers) -> task<int> {
    if (which == signals::watched) watchers.spawn(&state::watch_signals, this, std::ref(watchers));
    living = watchers.spawn(&state::live, this);
    program = &living;
    if (shutdown.is_set()) living.cancel(cancel_reason::shutdown);  // stopped before it ran
    int code = exit_clean;
    try {
      code = co_await living;
    } catch (const child_cancelled&) {  // while it started, or by the second SIGINT
      if (gave_up) {
        log.fatal("service_failed", gave_up);
        code = exit_start_failed;
      }
      report.write_to(log);
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
    if (report.reason.empty()) {
      stop(number == SIGINT ? "SIGINT" : "SIGTERM");
      watchers.spawn(&state::end_process_after, this, longest_shutdown(), exit_unclean_shutdown);
    }
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

task<> app::state::end_process_after(duration limit, exit_code code) {
  co_await sleep_for(limit);
  // Work that does not heed its cancellation cannot be left behind in a program that goes on; it can in one that ends.
  report.give_up();
  log.error("forced_exit", {{"message", "what was cancelled did not end in time; leaving at once"},
                            {"tasks", describe(live_tasks())}});
  report.write_to(log);
  log.flush(std::chrono::milliseconds(200));
  ::_exit(code);
}

// How long everything takes that is bounded by itself: the grace, what is cancelled after it, each step.
duration app::state::longest_shutdown() const noexcept {
  const duration each = belay::detail::cleanup_limit();
  time_point end = saturating_add(time_point(), options.grace);
  for (std::size_t i = 0; i != steps.size() + workers.size() + 2; ++i) end = saturating_add(end, each);
  return end.time_since_epoch();
}

void app::state::note_what_is_cut_short() {
  if (server != nullptr && server->statistics().active_requests != 0) report.overran.push_back("requests");
  if (background.size() != 0) report.overran.push_back("background tasks");
}

task<int> app::state::live() {
  resource<io::tcp_listener> listening = steps.manage("listen", listen(options.listen));
  std::string failed_step;
  const outcome<void> how = co_await as_outcome(
      steps.run([this, listening]() -> task<> { co_await or_fail(serve(listening)); }, report, failed_step));
  co_return conclude(how, failed_step);
}

// Tells how it went, and gives the exit code.
int app::state::conclude(const outcome<void>& how, const std::string& failed_step) {
  const failure what = how.failure();
  for (const std::string& call : loop::current()->abandoned_calls())
    report.overran.push_back("abandoned call " + call);
  if (!failed_step.empty()) {
    log.fatal("start_failed",
              {{"message", options.name + ": cannot start: " + failed_step + ": " + what.message()},
               {"step", failed_step},
               {"reason", what.message()}});
    log.write(telemetry::level::debug, "start_failure", what);
    for (const failure& one : what.flatten()) one.observe();  // told above, and those of closing below
    if (report.reason.empty()) report.reason = "failed start";
    if (!report.clean()) report.write_to(log);
    return exit_start_failed;
  }
  const bool served_to_the_end = !report.reason.empty() && !gave_up;
  if (report.reason.empty()) report.reason = "failure";
  if (what) log.fatal(served_to_the_end ? "shutdown_failed" : "service_failed", what);
  report.write_to(log);
  if (!served_to_the_end) return exit_start_failed;
  return report.clean() && !what ? exit_clean : exit_unclean_shutdown;
}

task<> app::state::serve(resource<io::tcp_listener> listening) {
  http::server web(
      [this](http::exchange& from) -> task<http::response> { co_return co_await or_fail(dispatch(from)); },
      make_hooks(), options.http);
  server = &web;
  struct not_serving {
    state& self;
    ~not_serving() { self.server = nullptr; }
  } const at_end{*this};
  co_await or_fail(within_workers([this, listening]() -> task<> {
    co_await background.serve_within([this, listening]() -> task<> {
      const outcome<void> how = co_await as_outcome(serve_connections(listening));
      now = phase::draining;
      // Also when it could not go on serving: what was answered is done in full.
      co_await drain_background();
      if (how.failed()) co_await fail(how.failure());
    });
  }));
}

task<> app::state::serve_connections(resource<io::tcp_listener> listening) {
  listening_on = listening->local();
  const std::string url = "http://" + listening_on.to_string();
  co_await with_group([this, &listening, &url](group& tasks) -> task<> {
    child<void> connections = tasks.spawn(
        [this](io::tcp_listener& on) -> task<> { co_await or_fail(server->serve(std::move(on))); },
        std::move(*listening));
    now = phase::serving;
    log.info("listening", {{"message", options.name + ": listening on " + url}, {"url", url}});
    serving.set();
    co_await shutdown.wait();
    co_await drain_connections(connections);
  });
}

task<> app::state::drain_connections(child<void>& connections) {
  now = phase::draining;
  const time_point begin = belay::now();
  drain_until = saturating_add(begin, options.grace);
  server->drain();
  std::string trouble;
  if (!co_await move_on_after(options.grace, end_of(connections))) {
    // Connections without a request are just closed.
    if (const std::size_t left = server->statistics().active_requests; left != 0) {
      trouble = std::to_string(left) + (left == 1 ? " was" : " were") + " cancelled after the grace";
      report.overran.push_back("requests");
      log.warn("requests_cancelled", {{"reason", trouble}});
    }
    connections.cancel(cancel_reason::shutdown);
    const outcome<void> ended = co_await as_outcome(end_of(connections));
    // That it was cancelled is no news; what else it fails with is an error of its group.
    if (ended.failed()) ended.failure().observe();
  }
  report.add("requests", belay::now() - begin, std::move(trouble));
}

task<> app::state::drain_background() {
  const time_point begin = belay::now();
  if (!drain_until) drain_until = saturating_add(begin, options.grace);
  std::string trouble;
  if (background.size() != 0 && !co_await move_on_after(*drain_until - begin, background.wait_idle())) {
    trouble = "cancelled after the grace:";
    for (const std::string& name : background.unfinished()) trouble += " " + name;
    report.overran.push_back("background tasks");
    background.cancel();
    co_await background.wait_idle();
  }
  report.add("background tasks", belay::now() - begin, std::move(trouble));
}

}  // namespace belay::service
