// SPDX-License-Identifier: Apache-2.0
// Background work.

#include <belay/service/background.hpp>

#include <algorithm>

namespace belay::service {

background_tasks::background_tasks(telemetry::logger log, std::size_t most) : log_(std::move(log)), most_(most) {
  if (most == 0) throw misuse_error("background_tasks: room for 0 tasks; at least 1 is needed");
  idle_.set();
}

void background_tasks::require_room(std::size_t count) const {
  if (unfinished_ + count > most_) {
    throw background_overload_error("background work: " + std::to_string(unfinished_) + " of " + std::to_string(most_) +
                                    " places are taken, no room for " + std::to_string(count) + " more; try again later");
  }
}

void background_tasks::start(std::vector<background_work> work, telemetry::logger log) {
  if (work.empty()) return;
  if (owner_ == nullptr) throw misuse_error("background_tasks::start: the program is not serving");
  for (const background_work& one : work) names_.push_back(one.name);
  unfinished_ += work.size();
  idle_.reset();
  owner_->spawn(
      [this](std::vector<background_work>& all, telemetry::logger& with) -> task<> {
        co_await run_in_order(std::move(all), std::move(with));
      },
      std::move(work), std::move(log));
}

std::vector<std::string> background_tasks::unfinished() const { return names_; }

namespace {

// Counts one piece of work as finished, however it ends.
class finished_mark {
 public:
  explicit finished_mark(std::function<void()> mark) : mark_(std::move(mark)) {}
  finished_mark(const finished_mark&) = delete;
  finished_mark& operator=(const finished_mark&) = delete;
  ~finished_mark() { mark_(); }

 private:
  std::function<void()> mark_;
};

}  // namespace

task<> background_tasks::run_in_order(std::vector<background_work> work, telemetry::logger log) {
  // What a cancellation leaves over is taken off the count as well.
  const finished_mark all_gone([this, &work] {
    for (const background_work& left : work) {
      if (const auto at = std::find(names_.begin(), names_.end(), left.name); at != names_.end()) names_.erase(at);
      --unfinished_;
    }
    if (unfinished_ == 0) idle_.set();
  });
  while (!work.empty()) {
    outcome<void> how = co_await as_outcome(work.front().run());
    if (how.failed()) log.error("background_task_failed", how.failure(), {{"task", work.front().name}});
    if (how.cancelled()) log.warn("background_task_cancelled", {{"task", work.front().name}});
    if (const auto at = std::find(names_.begin(), names_.end(), work.front().name); at != names_.end()) names_.erase(at);
    --unfinished_;
    work.erase(work.begin());
  }
}

task<> background_tasks::wait_idle() { co_await idle_.wait(); }

void background_tasks::cancel() noexcept {
  if (owner_ != nullptr) owner_->cancel(cancel_reason::shutdown);
}

task<> background_tasks::serve_within(task_function<task<>()> body) {
  struct closed_at_end {
    background_tasks& self;
    ~closed_at_end() { self.owner_ = nullptr; }
  } const close{*this};
  co_await with_group([&](group& all) -> task<> {
    owner_ = &all;
    co_await or_fail(body());
  });
}

}  // namespace belay::service
