// SPDX-License-Identifier: Apache-2.0
// An app on several loops: the first one leads, the others are steps of its lifespan.

#include <belay/core/loops.hpp>
#include <belay/core/on_loop.hpp>
#include <belay/service/run_app.hpp>

#include "app_state.hpp"

namespace belay::service {

// An app on another loop.
struct app::state::follower {
  using set_up_function = std::shared_ptr<const std::function<void(app&, unsigned)>>;
  follower(const state& first, unsigned number, set_up_function how)
      : index(number),
        options(first.options),
        log(first.log),
        set_up(std::move(how)),
        all_serve(first.all_serve) {
    options.loops = 1;
    options.manager.reset();
    options.on_shutdown_report = {};
  }

  // constant once it has been started
  const unsigned index;
  app_options options;
  const telemetry::logger log;
  const set_up_function set_up;
  const std::shared_ptr<std::atomic<bool>> all_serve;
  loop* on = nullptr;

  // thread of its loop only
  std::optional<app> of{};
  bool ended = false;
  event news{};  // it serves, or has ended

  // written there, read by the first loop when `over` is set
  int code = exit_start_failed;
  std::string why{};  // it did not start
  shutdown_report report{};

  // thread of the first loop only
  event over{};

  [[nodiscard]] std::string name() const { return "loop " + std::to_string(index); }

  static task<> tell_serving(follower& at) {
    co_await at.of->wait_serving();
    at.news.set();
  }
  static task<int> run(follower& at) {
    struct ending {
      follower& at;
      ~ending() {
        if (at.of) {
          at.report = std::move(at.of->state_->report);
          if (at.why.empty()) at.why = std::move(at.of->state_->start_trouble);
          at.of.reset();
        }
        at.ended = true;
        at.news.set();
      }
    } const at_end{at};
    at.of.emplace(at.options, at.log);
    at.of->state_->follows = true;
    at.of->state_->shares_port = true;
    at.of->state_->all_serve = at.all_serve;
    (*at.set_up)(*at.of, at.index);
    co_return co_await or_fail(with_group([&at](group& both) -> task<int> {
      child<void> telling = both.spawn(&tell_serving, std::ref(at));
      const int ended_with = co_await at.of->run_within();
      telling.cancel();
      co_return ended_with;
    }));
  }
  static task<bool> has_started(follower& at) {
    co_await at.news.wait();
    co_return !at.ended;
  }
};

io::tcp_listener app::state::bind() const {
  if (options.make_listener) return options.make_listener();
  return io::tcp_listener::bind(options.listen, io::listen_options{.reuse_port = shares_port});
}

void app::state::add_followers(const std::function<void(app&, unsigned)>& set_up) {
  if (options.loops == 1) return;
  shares_port = true;
  all_serve = std::make_shared<std::atomic<bool>>(false);
  const auto how = std::make_shared<const std::function<void(app&, unsigned)>>(set_up);
  // They have the same steps and workers.
  const duration longest = longest_shutdown(options.loop.cleanup_limit);
  concurrent_steps threads = steps.together();
  concurrent_steps apps = steps.together();
  for (unsigned i = 1; i != options.loops; ++i) {
    const auto it = std::make_shared<follower>(*this, i, how);
    followers.push_back(it);
    const resource<loop> thread = threads.manage("thread of " + it->name(), loop_thread(options.loop));
    apps.manage(it->name(), follow(it, thread), {.start_limit = duration::max(), .close_limit = longest});
  }
}

// Opening: it serves. Closing: it has ended.
managed<unit> app::state::follow(std::shared_ptr<follower> it, resource<loop> thread) {
  it->on = &*thread;
  it->options.listen = listening_on;
  server_tasks->spawn(&state::lead, this, it);
  if (!co_await on_loop(*it->on, &follower::has_started, std::ref(*it))) {
    co_await it->over.wait();
    throw error(error_kind::unavailable, "loop_did_not_start",
                it->why.empty() ? "ended with " + std::to_string(it->code) : it->why);
  }
  exit_status how = co_yield unit{};
  stop_follower(it, report.reason);
  co_await it->over.wait();
  absorb(*it);
}

// Runs it; a task of the first loop, in the group round the steps.
task<> app::state::lead(std::shared_ptr<follower> it) {
  struct ending {
    follower& of;
    ~ending() {
      of.on = nullptr;  // its loop may go now
      of.over.set();
    }
  } const at_end{*it};
  outcome<int> how = co_await as_outcome(on_loop(*it->on, &follower::run, std::ref(*it)));
  if (how.failed()) {
    it->why = how.failure().message();
  } else if (how.succeeded()) {
    it->code = how.value();
  }
  if (report.reason.empty() && now == phase::serving) {
    loop_ended = true;
    log.error("loop_ended", {{"loop", static_cast<std::int64_t>(it->index)}, {"reason", it->why}});
    stop(it->name() + " has ended");
  }
}

void app::state::stop_follower(const std::shared_ptr<follower>& it, const std::string& reason) {
  if (it->on == nullptr) return;
  try {
    it->on->post([it, reason] {
      if (it->of) it->of->stop(reason);
    });
  } catch (const loop_closed_error&) {
    return;  // it has ended
  }
}

void app::state::stop_followers(const std::string& reason) {
  for (const auto& it : followers) stop_follower(it, reason);
}

void app::state::absorb(follower& it) {
  const std::string prefix = it.name() + ": ";
  for (shutdown_report::step& row : it.report.steps) {
    row.name.insert(0, prefix);
    report.steps.push_back(std::move(row));
  }
  for (const std::string& name : it.report.overran) report.overran.push_back(prefix + name);
  for (const std::string& name : it.report.cancelled) report.cancelled.push_back(prefix + name);
  report.abandoned_calls += it.report.abandoned_calls;
  report.lost_failures += it.report.lost_failures;
  report.failed = report.failed || it.report.failed;
}

int run_app(app_options options, telemetry::logger log, std::function<void(app&, unsigned)> set_up) {
  if (options.loops == 0 || options.loops > most_loops) {
    throw misuse_error("run_app: the number of loops must be from 1 to " + std::to_string(most_loops) +
                       ", not " + std::to_string(options.loops));
  }
  if (!set_up) throw misuse_error("run_app: the function that sets the app up is empty");
  app first(std::move(options), std::move(log));
  set_up(first, 0);
  first.state_->add_followers(set_up);
  return first.run();
}

}  // namespace belay::service
