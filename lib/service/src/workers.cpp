// SPDX-License-Identifier: Apache-2.0
// The workers of an app: kept running while it serves, stopped after everything else.

#include <belay/core/sleep.hpp>

#include <algorithm>
#include <chrono>

#include "app_state.hpp"

namespace belay::service {

namespace {

supervisor_options options_of(const std::string& name, const worker_limits& limits) {
  supervisor_options made;
  made.name = name;
  made.most_restarts = limits.most_restarts;
  made.window = limits.window;
  made.first_delay = limits.first_delay;
  made.longest_delay = limits.longest_delay;
  return made;
}

struct repeated {
  schedule when;
  task_function<task<>()> work;
  task<> operator()() {
    co_await or_fail(repeat(when, [this]() -> task<> { co_await or_fail(work()); }));
  }
};

}  // namespace

void app::worker(std::string name, schedule when, task_function<task<>()> work, worker_limits limits) {
  worker(std::move(name), repeated{std::move(when), std::move(work)}, limits);
}

void app::state::add_worker(worker added) {
  if (used) throw misuse_error("app::worker: '" + added.name + "' was added after the start");
  if (added.name.empty()) throw misuse_error("app::worker: a worker needs a name");
  const auto same = [&added](const worker& one) { return one.name == added.name; };
  if (std::any_of(workers.begin(), workers.end(), same)) {
    throw misuse_error("app::worker: there is a worker '" + added.name + "' already");
  }
  static_cast<void>(supervisor(options_of(added.name, added.limits)));  // refuses what is out of range
  workers.push_back(std::move(added));
}

task<> app::state::within_workers(task_function<task<>()> body) {
  if (workers.empty()) {
    co_await or_fail(body());
    co_return;
  }
  co_await or_fail(with_group([this, &body](group& both) -> task<> {
    child<void> running = both.spawn(&state::run_workers, this);
    outcome<void> how = co_await as_outcome(body());
    co_await stop_workers(running);
    if (gave_up) {
      failure why = gave_up;
      if (how.failed()) why.attach(how.failed_with());
      co_await fail(std::move(why));
    }
    if (how.failed()) co_await fail(how.failed_with());
  }));
}

// One that gives up stops the program, which drains first.
task<> app::state::run_workers() {
  supervisor_options never_restarts;
  never_restarts.name = options.name;
  never_restarts.most_restarts = 0;
  never_restarts.on_event = [this](const worker_event& what) { note_worker_event(what); };
  supervisor all(std::move(never_restarts));
  for (worker& one : workers) {
    supervisor_options how = options_of(one.name, one.limits);
    how.on_event = [this](const worker_event& what) { note_worker_event(what); };
    one.keeper = std::make_unique<supervisor>(std::move(how));
    const duration limit = belay::detail::cleanup_limit();
    one.keeper->add({.name = one.name, .restart = one.limits.restart, .stop_limit = limit},
                    [&one]() -> task<> { co_await or_fail(one.work()); });
    all.add({.name = one.name, .restart = restart_policy::transient, .stop_limit = limit}, *one.keeper);
  }
  const outcome<void> how = co_await as_outcome(all.run());
  if (!how.failed()) co_return;
  if (report.reason.empty()) {
    gave_up = how.failed_with();
    begin_shutdown(
        "a worker failed");  // also before it serves: everything is open, and is drained and closed
  } else {
    report.failed = true;  // while the program ends anyway
    log.error("worker_failed", how.failure());
  }
}

void app::state::note_worker_event(const worker_event& what) {
  using happening = worker_event::happening;
  if (what.what == happening::overran) {
    // The keeper of a worker overruns with it: one line for both.
    const std::string name = "worker " + what.worker;
    if (std::find(report.overran.begin(), report.overran.end(), name) != report.overran.end()) return;
    report.overran.push_back(name);
    log.error("worker_overran", what.why, {{"worker", what.worker}});
    return;
  }
  if (what.what == happening::restarted) {
    const double delay = std::chrono::duration<double, std::milli>(what.delay).count();
    const auto restarts = static_cast<std::int64_t>(what.restarts);
    if (what.why) {
      log.error("worker_restarted", what.why,
                {{"worker", what.worker}, {"delay_ms", delay}, {"restarts", restarts}});
    } else {
      log.warn("worker_restarted", {{"worker", what.worker}, {"delay_ms", delay}, {"restarts", restarts}});
    }
    return;
  }
  log.error("worker_failed", what.why, {{"worker", what.worker}});
}

task<> app::state::stop_workers(child<void>& running) {
  const time_point begin = belay::now();
  running.cancel(cancel_reason::shutdown);
  const outcome<void>& ended = co_await as_outcome(running);
  std::string trouble;
  if (ended.failed()) trouble = ended.failed_with().message();
  const time_point end = belay::now();
  duration limit{};
  for (std::size_t i = 0; i != workers.size(); ++i)
    limit = saturating_add(time_point(limit), belay::detail::cleanup_limit()).time_since_epoch();
  report.add({.name = "workers",
              .took = end - begin,
              .trouble = std::move(trouble),
              .phase = "workers",
              .limit = limit},
             end);
}

}  // namespace belay::service
