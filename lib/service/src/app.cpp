// SPDX-License-Identifier: Apache-2.0
// The life of a service: open, serve, drain, close.

#include <belay/core/signals.hpp>
#include <belay/core/sleep.hpp>
#include <belay/core/timeout.hpp>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <random>

#include "app_state.hpp"

namespace belay::service {

namespace {

managed<io::tcp_listener> listen(io::endpoint at) { co_yield io::tcp_listener::bind(at); }

task<> until_set(event& what) { co_await what.wait(); }

// After a second SIGINT the end comes, whatever hangs.
task<> end_process_after(duration limit, const telemetry::logger& log) {
  co_await sleep_for(limit);
  log.error("forced_exit", {{"message", "closing did not end in time after the second SIGINT; leaving at once"}});
  log.flush(std::chrono::milliseconds(200));
  ::_exit(exit_forced);
}

}  // namespace

app::state::state(app_options given, telemetry::logger target)
    : options(std::move(given)), log(std::move(target)), random(options.random),
      background(log, options.most_background_tasks) {
  if (!random) {
    random = [device = std::make_shared<std::random_device>()] {
      return (std::uint64_t{(*device)()} << 32) | (*device)();
    };
  }
}

app::app(app_options options, telemetry::logger log)
    : state_(std::make_unique<state>(std::move(options), std::move(log))) {
  state_->add_health_routes(*this);
}

app::~app() = default;

lifespan& app::steps() noexcept { return state_->steps; }

void app::step(std::string name, task_function<task<>()> what) { steps().step(std::move(name), std::move(what)); }

void app::route(http::method verb, std::string_view pattern, handler handle) {
  state_->routes.add(verb, pattern);
  state_->handlers.push_back(std::move(handle));
}

void app::gauge(std::string name, std::function<std::size_t()> read) {
  state_->gauges.emplace_back(std::move(name), std::move(read));
}

void app::add_error_rule(error_rule rule) {
  // Before the first rule that would also match everything this one does: its bases.
  auto& rules = state_->rules;
  const auto base = std::find_if(rules.begin(), rules.end(), [&](const error_rule& known) {
    return known.matches_pointer(rule.pointer);
  });
  rules.insert(base, std::move(rule));
}

int app::run() {
  loop own(state_->options.loop);
  return own.run([](state& s) -> task<int> {
    co_return co_await with_group([&s](group& watchers) -> task<int> {
      child<int> program;
      watchers.spawn([&s](child<int>& of, group& with) -> task<> { co_await s.watch_signals(of, with); },
                     std::ref(program), std::ref(watchers));
      program = watchers.spawn([&s]() -> task<int> { co_return co_await s.live(); });
      int code = exit_clean;
      try {
        code = co_await program;
      } catch (const child_cancelled&) {  // by a signal: during the start, or the second one
        if (s.report.forced) code = exit_forced;
        s.report.write_to(s.log);
      }
      watchers.cancel(cancel_reason::shutdown);
      s.log.flush();
      co_return code;
    });
  }(*state_));
}

task<> app::state::watch_signals(child<int>& program, group& watchers) {
  signal_watch signals{SIGINT, SIGTERM};
  for (int interrupts = 0;;) {
    const int number = co_await signals.next();
    if (report.reason.empty()) {
      report.reason = number == SIGINT ? "SIGINT" : "SIGTERM";
      log.info("shutting_down", {{"reason", report.reason}});
      if (now == phase::starting) program.cancel(cancel_reason::shutdown);
      shutdown.set();
    }
    if (number != SIGINT) continue;  // repeated SIGTERM does not force: orchestrators send it again
    ++interrupts;
    if (interrupts == 2) {
      report.forced = true;
      watchers.spawn(end_process_after, options.force_after, std::cref(log));
      program.cancel(cancel_reason::shutdown);
    } else if (interrupts > 2) {
      log.flush(std::chrono::milliseconds(200));
      ::_exit(exit_forced);
    }
  }
}

task<int> app::state::live() {
  resource<io::tcp_listener> listening = steps.manage("listen", listen(options.listen));
  std::string failed_step;
  outcome<void> how = co_await as_outcome(steps.run(
      [this, listening]() -> task<> { co_await or_fail(serve(listening)); }, report, failed_step));
  if (how.failed()) {
    const failure what = how.failure();
    if (!failed_step.empty()) {
      log.fatal("start_failed", {{"message", options.name + ": cannot start: " + failed_step + ": " + what.message()},
                                 {"step", failed_step},
                                 {"reason", what.message()}});
      co_return exit_start_failed;
    }
    log.fatal(report.failed || !report.overran.empty() ? "shutdown_failed" : "service_failed", what);
  }
  report.write_to(log);
  if (report.forced) co_return exit_forced;
  if (!report.clean()) co_return exit_unclean_shutdown;
  co_return how.failed() ? exit_start_failed : exit_clean;
}

task<> app::state::serve(resource<io::tcp_listener> listening) {
  const std::string url = "http://" + listening->local().to_string();
  http::server web([this](http::exchange& from) -> task<http::response> { co_return co_await or_fail(dispatch(from)); },
                   make_hooks(), options.http);
  server = &web;
  struct not_serving {
    state& self;
    ~not_serving() { self.server = nullptr; }
  } const at_end{*this};
  co_await background.serve_within([this, &listening, &url]() -> task<> {
    event connections_ended;  // outlives the group's tasks, which refer to it
    co_await with_group([this, &connections_ended, &listening, &url](group& serving) -> task<> {
      child<void> connections = serving.spawn(
          [this, &connections_ended](io::tcp_listener& on) -> task<> {
            co_await or_fail(server->serve(std::move(on)));
            connections_ended.set();
          },
          std::move(*listening));
      now = phase::serving;
      log.info("listening", {{"message", options.name + ": listening on " + url}, {"url", url}});
      co_await shutdown.wait();
      co_await drain(connections_ended, connections);
    });
  });
}

task<> app::state::drain(event& connections_ended, child<void>& connections) {
  now = phase::draining;
  server->drain();
  const time_point begin = belay::now();
  const time_point until = saturating_add(begin, options.grace);
  std::string trouble;
  if (!connections_ended.is_set() && !co_await move_on_after(until - begin, until_set(connections_ended))) {
    trouble = std::to_string(server->statistics().active_requests) + " requests were cancelled after the grace";
    report.overran.push_back("requests");
    connections.cancel(cancel_reason::shutdown);
    try {
      co_await connections;
    } catch (const child_cancelled&) {
      log.warn("requests_cancelled", {{"reason", trouble}});
    }
  }
  report.add("requests", belay::now() - begin, std::exchange(trouble, {}));

  const time_point drained = belay::now();
  if (background.size() != 0 && !co_await move_on_after(until - drained, background.wait_idle())) {
    trouble = "cancelled after the grace:";
    for (const std::string& name : background.unfinished()) trouble += " " + name;
    report.overran.push_back("background tasks");
    background.cancel();
  }
  report.add("background tasks", belay::now() - drained, std::move(trouble));
}

}  // namespace belay::service
