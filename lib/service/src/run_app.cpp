// SPDX-License-Identifier: Apache-2.0
// An app on several loops: the first one leads, the others are steps of its lifespan.

#include <belay/core/loops.hpp>
#include <belay/core/on_loop.hpp>
#include <belay/core/timeout.hpp>
#include <belay/service/run_app.hpp>

#include <algorithm>
#include <array>
#include <string_view>

#include "app_state.hpp"

namespace belay::service {

namespace {
constexpr duration patience_for_numbers = std::chrono::milliseconds(500);
// Numbers of the process, of the log that all share, and whether it serves.
constexpr std::array<std::string_view, 6> told_by_the_first = {"process_start_time_seconds",
                                                               "process_cpu_seconds_total",
                                                               "process_resident_memory_bytes",
                                                               "process_open_fds",
                                                               "belay_ready",
                                                               "belay_log_records_total"};

task<> wait_for(event& what) { co_await what.wait(); }
}  // namespace

// An app on another loop.
struct app::state::follower {
  using set_up_function = std::shared_ptr<const std::function<void(app&, unsigned)>>;
  follower(state& first, unsigned number, set_up_function how)
      : index(number),
        leader(&first),
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
  state* const leader;
  loop* leader_loop = nullptr;
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
  telemetry::metrics_snapshot numbers{};  // those that it gave last
  failure unread{};                       // or why it could not
  bool asked = false;                     // for new ones
  event answered{};

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
    at.of->state_->leader = at.leader;
    at.of->state_->leader_loop = at.leader_loop;
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
  // Without what the first loop tells for all.
  static task<std::optional<telemetry::metrics_snapshot>> read_numbers(follower& at) {
    if (!at.of) co_return std::nullopt;
    telemetry::metrics_snapshot own = at.of->state_->numbers.snapshot();
    std::erase_if(own, [](const telemetry::metric& one) {
      return std::find(told_by_the_first.begin(), told_by_the_first.end(), one.name) !=
             told_by_the_first.end();
    });
    co_return own;
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
  loop_options each = options.loop;
  if (each.on_diagnostic) each.on_diagnostic = with_count(std::move(each.on_diagnostic));
  concurrent_steps threads = steps.together();
  concurrent_steps apps = steps.together();
  for (unsigned i = 1; i != options.loops; ++i) {
    const auto it = std::make_shared<follower>(*this, i, how);
    followers.push_back(it);
    const resource<loop> thread = threads.manage("thread of " + it->name(), loop_thread(each));
    apps.manage(it->name(), follow(it, thread), {.start_limit = duration::max(), .close_limit = longest});
  }
}

// Opening: it serves. Closing: it has ended.
managed<unit> app::state::follow(std::shared_ptr<follower> it, resource<loop> thread) {
  it->on = &*thread;
  it->leader_loop = loop::current();
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

task<> app::state::ask_for_numbers(std::shared_ptr<follower> it) {
  struct ending {
    follower& of;
    ~ending() {
      of.asked = false;
      of.answered.set();
    }
  } const at_end{*it};
  outcome<std::optional<telemetry::metrics_snapshot>> how =
      co_await as_outcome(on_loop(*it->on, &follower::read_numbers, std::ref(*it)));
  if (how.failed()) {
    const failure why = how.failure();
    why.observe();
    const bool has_ended = belay::detail::exception_as<loop_closed_error>(why.exception()) != nullptr ||
                           belay::detail::exception_as<child_cancelled>(why.exception()) != nullptr;
    if (!has_ended) it->unread = why;
  } else if (how.value()) {
    it->unread = {};
    it->numbers = std::move(*how.value());
  }
}

task<> app::state::wait_for_numbers() {
  for (const auto& it : followers) {
    if (it->asked) co_await it->answered.wait();
  }
}

// By a task of its own: who asks shall not wait for a loop that is blocked, as a cancelled `on_loop` does.
task<> app::state::ask_first_loop(std::shared_ptr<question> it) {
  struct ending {
    state& of;
    question& told;
    ~ending() {
      of.asks_first.reset();
      told.answered.set();
    }
  } const at_end{*this, *it};
  outcome<telemetry::metrics_snapshot> how =
      co_await as_outcome(on_loop(*leader_loop, &state::read_all_numbers, leader));
  if (how.failed()) {
    it->why = how.failure();
  } else {
    it->numbers = std::move(how).value();
  }
}

task<telemetry::metrics_snapshot> app::state::numbers_of_first_loop() {
  if (!asks_first) {
    const auto asked = std::make_shared<question>();
    if (server_tasks == nullptr || !server_tasks->try_spawn(&state::ask_first_loop, this, asked))
      co_return numbers.snapshot();  // it ends
    asks_first = asked;
  }
  const std::shared_ptr<question> it = asks_first;  // all who ask meanwhile get the same answer
  if (!co_await move_on_after(2 * patience_for_numbers, wait_for(it->answered))) {
    throw http::problem_error(http::status::service_unavailable, "loop_blocked",
                              "the first loop, which knows the numbers of all, does not answer");
  }
  if (it->why) co_await fail(it->why);
  co_return it->numbers;
}

task<telemetry::metrics_snapshot> app::state::read_all_numbers() {
  if (leader != nullptr) co_return co_await or_fail(numbers_of_first_loop());
  for (const auto& it : followers) {
    if (it->asked || it->on == nullptr || server_tasks == nullptr) continue;
    it->answered.reset();
    // It begins later; or never, when all is being cancelled.
    if (server_tasks->try_spawn(&state::ask_for_numbers, it)) it->asked = true;
  }
  // A loop that is blocked must not hide the others, nor that it is: what it counted before must not go away.
  static_cast<void>(co_await move_on_after(patience_for_numbers, wait_for_numbers()));
  std::vector<telemetry::metrics_snapshot> all{numbers.snapshot()};
  for (const auto& it : followers) {
    if (it->unread) co_await fail(it->unread);
    all.push_back(it->numbers);
  }
  co_return telemetry::merge(std::move(all));
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
