// SPDX-License-Identifier: Apache-2.0
// Background work.

#include <belay/core/sleep.hpp>
#include <belay/service/background.hpp>
#include <belay/telemetry/cancellation.hpp>

#include <algorithm>

namespace belay::service {

background_place::~background_place() {
  if (of_ != nullptr) --of_->places_taken_;
}

background_tasks::background_tasks(std::size_t most) : most_(most) {
  if (most == 0) throw misuse_error("background_tasks: room for 0 tasks; at least 1 is needed");
  idle_.set();
}

background_place background_tasks::reserve() {
  if (places_taken_ >= most_) {
    throw background_overload_error("background work: all of " + std::to_string(most_) +
                                    " places are taken; try again later");
  }
  ++places_taken_;
  return background_place(*this);
}

void background_tasks::start(std::vector<background_work> work, telemetry::logger log) {
  if (work.empty()) return;
  if (!serving_) throw misuse_error("background_tasks::start: the program is not serving");
  if (owner_ == nullptr) {
    for (const background_work& one : work) log.warn("background_task_cancelled", {{"task", one.name}});
    return;
  }
  job& added = jobs_.emplace_back(job{{}, std::move(log)});
  for (background_work& one : work) added.left.push_back(std::move(one));
  unfinished_ += work.size();
  idle_.reset();
  owner_->spawn(&background_tasks::run_job, this, std::prev(jobs_.end()));
}

void background_tasks::require_room_to_keep() const {
  if (kept_ < most_) return;
  throw background_overload_error("background work: the dependencies of " + std::to_string(kept_) +
                                  " requests are still open; try again later");
}

void background_tasks::keep(std::string name, std::shared_ptr<detail::held_resources> what,
                            telemetry::logger log) {
  if (owner_ == nullptr) {
    what->decided.set();
    return;
  }
  jobs_.emplace_back(job{{}, std::move(log), std::move(what), std::move(name)});
  ++kept_;
  ++unfinished_;
  idle_.reset();
  owner_->spawn(&background_tasks::run_job, this, std::prev(jobs_.end()));
}

std::vector<std::string> background_tasks::unfinished() const {
  std::vector<std::pair<std::string, std::size_t>> counted;
  const auto add = [&counted](const std::string& name) {
    const auto known =
        std::find_if(counted.begin(), counted.end(), [&](const auto& c) { return c.first == name; });
    if (known == counted.end()) {
      counted.emplace_back(name, 1);
    } else {
      ++known->second;
    }
  };
  for (const job& one : jobs_) {
    for (const background_work& piece : one.left) add(piece.name);
    if (one.holds) add(one.name);
  }
  std::vector<std::string> names;
  for (const auto& [name, count] : counted)
    names.push_back(count == 1 ? name : name + " (" + std::to_string(count) + ")");
  return names;
}

void background_tasks::forget(jobs::iterator ended) noexcept {
  const auto tell = [&log = ended->log](const background_work& piece) {
    log.warn("background_task_cancelled",
             {{"task", piece.name}, {"cancelled", telemetry::to_value(current_cancellation())}});
  };
  for (const background_work& piece : ended->left) {
    tell(piece);
    --unfinished_;
  }
  if (ended->holds) {
    for (const background_work& piece : ended->holds->work) tell(piece);  // it came too late
    ended->holds->work.clear();
    ended->holds->decided.set();
    --kept_;
    --unfinished_;
  }
  jobs_.erase(ended);
  if (unfinished_ == 0) idle_.set();
}

namespace {
// A task of its own, so that what the function throws before there is a task is a failure like any other.
task<> call(const task_function<task<>()>& what) { co_await or_fail(what()); }
}  // namespace

task<> background_tasks::run_job(jobs::iterator mine) {
  struct end {
    background_tasks& self;
    jobs::iterator what;
    ~end() { self.forget(what); }
  } const at_end{*this, mine};
  if (!mine->holds) {
    co_await or_fail(run_in_order(mine));
    co_return;
  }
  outcome<void> how = co_await as_outcome(run_held(mine));
  if (how.failed()) mine->log.error("dependency_close_failed", how.failure(), {{"dependencies", mine->name}});
}

task<> background_tasks::run_held(jobs::iterator mine) {
  co_await with_exit_stack([this, mine](exit_stack& open) -> task<> {
    detail::held_resources& held = *mine->holds;
    struct end {
      detail::held_resources& of;
      ~end() { of.stack = nullptr; }
    } const at_end{held};
    held.stack = &open;
    held.decided.set();
    co_await held.released.wait();
    unfinished_ += held.work.size();
    for (background_work& one : held.work) mine->left.push_back(std::move(one));
    held.work.clear();
    co_await or_fail(run_in_order(mine));
  });
}

task<> background_tasks::run_in_order(jobs::iterator mine) {
  while (!mine->left.empty()) {
    co_await checkpoint();  // a piece that finished although it was cancelled must not start the next one
    background_work& piece = mine->left.front();
    outcome<void> how = co_await as_outcome(call(piece.run));
    if (how.failed()) mine->log.error("background_task_failed", how.failure(), {{"task", piece.name}});
    mine->left.pop_front();
    --unfinished_;
  }
}

task<> background_tasks::wait_idle() { co_await idle_.wait(); }

void background_tasks::cancel() noexcept {
  if (owner_ != nullptr) owner_->cancel(cancel_reason::shutdown);
}

// A group of its own, so that it can be cancelled while the program goes on.
task<> background_tasks::own_until(event& over, event& ready) {
  struct end {
    background_tasks& self;
    ~end() {
      self.owner_ = nullptr;
      while (!self.jobs_.empty()) self.forget(self.jobs_.begin());  // cancelled before their first step
    }
  } const at_end{*this};
  co_await with_group([this, &over, &ready](group& all) -> task<> {
    owner_ = &all;
    ready.set();
    co_await over.wait();
  });
}

task<> background_tasks::serve_within(task_function<task<>()> body) {
  struct end {
    background_tasks& self;
    ~end() { self.serving_ = false; }
  } const at_end{*this};
  serving_ = true;
  event over;
  event ready;
  co_await with_group([this, &body, &over, &ready](group& both) -> task<> {
    both.spawn(&background_tasks::own_until, this, std::ref(over), std::ref(ready));
    co_await ready.wait();
    co_await or_fail(body());
    over.set();
  });
}

}  // namespace belay::service
