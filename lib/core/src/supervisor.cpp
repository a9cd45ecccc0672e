// SPDX-License-Identifier: Apache-2.0
// Starting workers, watching their ends, starting them again, and stopping them in reverse.

#include <belay/core/group.hpp>
#include <belay/core/random.hpp>
#include <belay/core/sleep.hpp>
#include <belay/core/supervisor.hpp>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <limits>
#include <new>

namespace belay {

namespace detail {

namespace {

// The rows that are open on this thread, the latest first.
constinit thread_local worker_row* open_rows = nullptr;

struct begin_worker {
  supervised* one;
  BELAY_CORO_WRAPPER task<> operator()() const { return begin(nullptr); }
  BELAY_CORO_WRAPPER task<> operator()(task_status<>& ready) const { return begin(&ready); }
  BELAY_CORO_WRAPPER task<> begin(task_status<>* ready) const {
    try {
      return one->begin(ready);
    } catch (...) {
      return failed_task<void>(current_failure());  // what a copy of an argument throws, say
    }
  }
};

}  // namespace

worker_row::worker_row(std::size_t most) : group_core(&child_left) {
  ended_.reserve(most);
  inner_scope().shielded = true;
}

worker_row::~worker_row() { close_row(); }

void worker_row::open_row(std::source_location where, const char* name) noexcept {
  open(where, "supervisor", name);
  attach_scope();
  outer_open_ = std::exchange(open_rows, this);
  listed_ = true;
}

void worker_row::close_row() noexcept {
  if (!std::exchange(listed_, false)) return;
  worker_row** walk = &open_rows;
  while (*walk != this) walk = &(*walk)->outer_open_;
  *walk = outer_open_;
  close();
}

const worker_row* worker_row::around() noexcept {
  for (const scope* walk = this_runtime->current->current; walk != nullptr; walk = walk->parent) {
    for (worker_row* row = open_rows; row != nullptr; row = row->outer_open_) {
      if (&row->inner_scope() == walk) return row;
    }
  }
  return nullptr;
}

task<> worker_row::start(supervised& one) {
  one.state = worker_state::starting;
  if (!one.says_ready) {
    auto& made = spawn_closure(*this, one.added_at, begin_worker{&one});
    one.running = &made;
    one.handle = child<void>(made);
    one.state = worker_state::running;
    co_return;
  }
  start_state<void> getting_ready(*this, one.added_at);
  auto& made =
      spawn_closure(getting_ready.task, one.added_at, begin_worker{&one}, task_status<void>(getting_ready));
  one.running = &made;
  one.handle = child<void>(made);
  co_await getting_ready.task.ready_or_ended();
  if (getting_ready.task.handed_over()) {
    one.state = worker_state::running;
    co_return;
  }
  outcome<unit> how;
  getting_ready.task.ended_as(one.handle.ended_with(), how);
  co_await end_with(how);
}

void worker_row::child_left(group_core& self, node& task) noexcept {
  auto& row = static_cast<worker_row&>(self);
  if (row.patient_ != nullptr) row.patient_->ended(task);
  row.ended_.push_back(&task);  // has room: a worker is in it once
  row.changed_.set();
}

node* worker_row::next_ended() noexcept {
  changed_.reset();
  return ended_.empty() ? nullptr : ended_.front();
}

failure worker_row::take_end(supervised& one) noexcept {
  if (one.running == nullptr) return std::exchange(one.trouble, failure());
  std::erase(ended_, std::exchange(one.running, nullptr));
  child<void> last = std::exchange(one.handle, child<void>());
  return last.ended_with().how() == ending::failed ? last.ended_with().failed_with() : failure();
}

worker_row::stopping worker_row::stop(supervised& one, duration limit, const cancel_record& why) noexcept {
  if (!one.handle.done()) cancel_scope(one.running->base, why);
  return {*this, one, limit};
}

void worker_row::stopping::begin_patience() noexcept {
  in_->patient_ = this;
  const time_point end = saturating_add(this_runtime->time->now(), limit_);
  if (end == time_point::max()) return;
  due = static_cast<std::uint64_t>(end.time_since_epoch().count());
  fire = &stopping::fired;
  this_runtime->timers->insert(*this);
}

void worker_row::stopping::fired(timer_node& timer) noexcept {
  auto& self = static_cast<stopping&>(timer);
  self.in_->patient_ = nullptr;
  self.complete();
}

void worker_row::stopping::ended(const node& task) noexcept {
  if (&task != one_->running) return;
  if (linked()) this_runtime->timers->remove(*this);
  in_->patient_ = nullptr;
  complete();
}

}  // namespace detail

namespace {

using detail::supervised;
using detail::worker_row;

std::string seconds_text(duration length) {
  const auto ms = std::chrono::duration_cast<std::chrono::milliseconds>(length).count();
  return ms % 1000 == 0 ? std::to_string(ms / 1000) + " s" : std::to_string(ms) + " ms";
}

std::string what_became(const worker_event& of) {
  const std::string who = "supervisor '" + of.supervisor + "': worker '" + of.worker + "' ";
  switch (of.what) {
    case worker_event::happening::restarted:
      return who + "is started again in " + seconds_text(of.delay) + " (restart " +
             std::to_string(of.restarts) + " in its window)";
    case worker_event::happening::given_up: return who + "is not started again";
    case worker_event::happening::failed_in_stop: return who + "failed while it was being stopped";
    case worker_event::happening::overran: break;
  }
  return who + "did not stop within its limit";
}

}  // namespace

supervisor::supervisor(supervisor_options options, std::source_location where)
    : options_(std::move(options)), where_(where) {
  if (options_.window <= duration::zero()) {
    throw misuse_error("supervisor_options::window must be more than zero", where);
  }
  if (options_.first_delay < duration::zero() || options_.longest_delay < options_.first_delay) {
    throw misuse_error(
        "supervisor_options: first_delay must not be negative, and longest_delay not less than it", where);
  }
}

supervisor::~supervisor() {
  if (row_ == nullptr) return;
  std::fprintf(
      stderr, "belay: supervisor '%s' was destroyed while its run was under way; it must outlive that task\n",
      options_.name.c_str());
  std::abort();
}

supervisor& supervisor::add_worker(worker_options options, task_function<task<>(task_status<>*)> begin,
                                   bool says_ready) {
  const std::string call = "supervisor::add('" + options.name + "'): ";
  if (row_ != nullptr) throw misuse_error(call + "it runs already", options.where);
  if (options.name.empty()) throw misuse_error(call + "a worker needs a name", options.where);
  if (options.stop_limit <= duration::zero())
    throw misuse_error(call + "stop_limit must be more than zero", options.where);
  for (const auto& one : workers_) {
    if (one->options.name == options.name)
      throw misuse_error(call + "there is one of this name", options.where);
  }
  auto made = std::make_unique<supervised>();
  made->options = std::move(options);
  made->begin = std::move(begin);
  made->says_ready = says_ready;
  made->added_at = made->options.where;
  workers_.push_back(std::move(made));
  return *this;
}

task<> supervisor::run() { co_await or_fail(run_ready(nullptr)); }
task<> supervisor::run(task_status<>& ready) { co_await or_fail(run_ready(&ready)); }

void supervisor::look_around(worker_row& row) const {
  const worker_row* outer = worker_row::around();
  row.path = outer == nullptr ? options_.name : outer->path + " / " + options_.name;
  row.level = outer == nullptr ? 1 : outer->level + 1;
  const std::size_t of_outer = outer == nullptr ? 1 : std::max<std::size_t>(outer->restarts_of_all_levels, 1);
  constexpr std::size_t most = std::numeric_limits<std::size_t>::max();
  const std::size_t mine = options_.most_restarts;
  row.restarts_of_all_levels = mine != 0 && of_outer > most / mine ? most : of_outer * mine;
}

task<> supervisor::run_ready(task_status<>* ready) {
  if (row_ != nullptr) throw misuse_error("supervisor::run: '" + options_.name + "' runs already", where_);
  if (workers_.empty()) {
    throw misuse_error("supervisor::run: '" + options_.name + "' has no workers; add one first", where_);
  }
  worker_row row(workers_.size());
  look_around(row);
  row.open_row(where_, options_.name.c_str());
  struct running {
    supervisor& self;
    explicit running(supervisor& of, const worker_row& in) noexcept : self(of) { self.row_ = &in; }
    running(const running&) = delete;
    running& operator=(const running&) = delete;
    ~running() {
      self.row_ = nullptr;
      for (const auto& one : self.workers_) one->state = worker_state::idle;
    }
  } const at_end(*this, row);
  history_.clear();
  for (const auto& one : workers_) one->restarts.clear();

  outcome<void> how = co_await detail::intercept(oversee(row, ready));

  // From here on nothing can be cancelled, and nothing can fail: workers run.
  const cancel_record why =
      how.cancelled() ? detail::effective_record(*detail::this_runtime->current->current)
                      : cancel_record::make(cancel_reason::sibling_failed, "supervisor '" + row.path + "'",
                                            where_, how.failed() ? how.failed_with() : failure());
  for (auto walk = workers_.rbegin(); walk != workers_.rend(); ++walk) {
    supervised& one = **walk;
    if (how.cancelled() && one.handle.done()) {
      // It ended by itself, and would have been started again: no error of a supervisor that is told to stop.
      if (failure by_itself = row.take_end(one)) {
        tell(worker_event::happening::given_up, row, one, std::move(by_itself));
      }
      continue;
    }
    if (!co_await row.stop(one, one.options.stop_limit, why))
      tell(worker_event::happening::overran, row, one, {});
  }
  co_await row.join();
  row.close_row();
  for (auto walk = workers_.rbegin(); walk != workers_.rend(); ++walk) {
    failure beside = row.take_end(**walk);
    if (!beside) continue;
    beside.note("worker '" + (*walk)->options.name + "', while supervisor '" + row.path + "' stopped it");
    if (how.failed()) {
      how.failed_with().attach(std::move(beside));
    } else {
      how.drop_value();
      how.set_failed(beside.take_record());
    }
  }
  if (how.succeeded()) co_return;
  detail::refresh_cancellation(how);
  co_await detail::end_with(how);
}

task<> supervisor::oversee(worker_row& row, task_status<>* ready) {
  for (const auto& one : workers_) {
    outcome<void> how = co_await as_outcome(row.start(*one));
    if (how.succeeded()) continue;
    static_cast<void>(row.take_end(*one));  // the same failure
    failure why = how.failed_with();
    why.note("supervisor '" + row.path + "' (level " + std::to_string(row.level) + "): worker '" +
             one->options.name + "' did not get ready");
    co_await fail(std::move(why));
  }
  if (ready != nullptr) ready->started();
  co_await or_fail(with_group([this, &row](group& recoveries) -> task<> {
    const auto goes_on = [](const auto& one) { return one->state != worker_state::finished; };
    while (std::any_of(workers_.begin(), workers_.end(), goes_on)) {
      const detail::node* ended = row.next_ended();
      if (ended == nullptr) {
        co_await row.changed().wait();
        continue;
      }
      const auto who = std::find_if(workers_.begin(), workers_.end(),
                                    [ended](const auto& one) { return one->running == ended; });
      co_await or_fail(end_of(row, recoveries, static_cast<std::size_t>(who - workers_.begin())));
    }
  }));
}

// A worker ended by itself.
task<> supervisor::end_of(worker_row& row, group& recoveries, std::size_t at) {
  supervised& one = *workers_[at];
  const bool has_value = one.handle.ended_with().how() == detail::ending::value;
  one.trouble = row.take_end(one);
  const restart_policy policy = one.options.restart;
  if (policy == restart_policy::temporary || (policy == restart_policy::transient && has_value)) {
    one.state = worker_state::finished;
    if (failure why = row.take_end(one)) tell(worker_event::happening::given_up, row, one, std::move(why));
    row.changed().set();
    co_return;
  }
  one.state = worker_state::waiting;
  if (options_.strategy == restart_strategy::one_for_one) {
    // The others are not to wait for this one's delay.
    recoveries.spawn(&supervisor::recover, this, std::ref(row), at);
  } else {
    co_await or_fail(recover(row, at));
  }
}

// Starts a worker again, with those who go with it, until all are ready.
task<> supervisor::recover(worker_row& row, std::size_t at) {
  for (;;) {
    supervised& one = *workers_[at];
    one.state = worker_state::waiting;
    failure why = row.take_end(one);
    if (failure last = exhausted(row, one, why)) co_await fail(std::move(last));
    const std::size_t first = options_.strategy == restart_strategy::one_for_all ? 0 : at;
    const std::size_t end = options_.strategy == restart_strategy::one_for_one ? at + 1 : workers_.size();
    const duration delay = note_restart(one, why);
    const cancel_record record =
        cancel_record::make(cancel_reason::sibling_failed, "supervisor '" + row.path + "'", where_, why);
    tell(worker_event::happening::restarted, row, one, std::move(why), delay);

    for (std::size_t i = end; i-- > first;) {
      supervised& other = *workers_[i];
      if (other.running == nullptr) continue;
      if (!co_await row.stop(other, other.options.stop_limit, record)) {
        tell(worker_event::happening::overran, row, other, {});
        static_cast<void>(co_await row.stop(other, duration::max(), record));  // never two at the same time
      }
      if (failure beside = row.take_end(other)) {
        tell(worker_event::happening::failed_in_stop, row, other, std::move(beside));
      }
      const bool ends = other.options.restart == restart_policy::temporary;
      other.state = ends ? worker_state::finished : worker_state::waiting;
    }
    if (delay > duration::zero()) co_await sleep_for(delay);

    bool all_ready = true;
    for (std::size_t i = first; i < end && all_ready; ++i) {
      supervised& other = *workers_[i];
      if (other.options.restart == restart_policy::temporary) continue;
      outcome<void> how = co_await as_outcome(row.start(other));
      if (how.succeeded()) continue;
      static_cast<void>(row.take_end(other));  // the same failure
      other.trouble = how.failed_with();
      all_ready = false;
      at = i;
    }
    if (all_ready) co_return;
  }
}

void supervisor::forget_before(time_point begin) noexcept {
  while (!history_.empty() && history_.front().when <= begin) history_.pop_front();
  for (const auto& one : workers_) {
    while (!one->restarts.empty() && one->restarts.front() <= begin) one->restarts.pop_front();
  }
}

// There were as many restarts as there may be: the failure to end with. Otherwise none.
failure supervisor::exhausted(worker_row& row, const supervised& one, failure why) {
  const time_point here = now();
  forget_before(saturating_add(here, -options_.window));
  if (history_.size() < options_.most_restarts) return {};
  std::string text = "supervisor '" + row.path + "' (level " + std::to_string(row.level) +
                     ") gives up: worker '" + one.options.name + "' ended after " +
                     std::to_string(history_.size()) + (history_.size() == 1 ? " restart" : " restarts");
  if (!history_.empty()) text += " in " + seconds_text(here - history_.front().when);
  text += "; allowed are " + std::to_string(options_.most_restarts) + " in " + seconds_text(options_.window);
  if (row.level > 1) {
    text += ", and with the supervisors around it " + std::to_string(row.restarts_of_all_levels) + " in all";
  }
  failure last = std::move(why);
  if (!last) last = failure::of(std::make_exception_ptr(restart_limit_error(text, where_)));
  last.note(std::move(text));
  for (past_restart& before : history_) last.attach(std::move(before.why));
  history_.clear();
  return last;
}

duration supervisor::note_restart(supervised& one, const failure& why) {
  constexpr std::size_t most_kept = 16;  // of a crash loop that may go on for long
  const time_point here = now();
  if (history_.size() >= most_kept) history_[history_.size() - most_kept].why = {};
  history_.push_back({here, why});
  one.restarts.push_back(here);
  ++one.restarts_ever;
  ++restarts_ever_;
  duration most = options_.first_delay;
  for (std::size_t i = 1; i < one.restarts.size() && most < options_.longest_delay; ++i) {
    most = most > options_.longest_delay / 2 ? options_.longest_delay : most * 2;
  }
  return most > duration::zero() ? random_up_to(most) : most;
}

void supervisor::tell(worker_event::happening what, const worker_row& row, const supervised& one, failure why,
                      duration delay) noexcept {
  failure fate = why;
  try {
    worker_event told{what, row.path, row.level, one.options.name, std::move(why), history_.size(), delay};
    if (what == worker_event::happening::overran) {
      told.why = failure::of(std::make_exception_ptr(timeout_error(
          what_became(told) + " (" + seconds_text(one.options.stop_limit) + ")", one.added_at)));
      fate = told.why;
    }
    if (options_.on_event) {
      options_.on_event(told);
      static_cast<void>(fate.flatten());  // handled, with all that is attached to it
    } else if (fate) {
      fate.note(what_became(told));
      detail::report_lost(fate);
    }
  } catch (...) {
    // Who should have handled it has failed: both go to the sink.
    failure thrown = failure::of(std::current_exception());
    if (!fate) return detail::report_lost(thrown);
    try {
      thrown.note("thrown by supervisor_options::on_event");
      fate.attach(thrown);
    } catch (const std::bad_alloc&) {
      return;  // not attached for want of memory: both go to the sink by themselves
    }
    detail::report_lost(fate);
  }
}

supervisor_statistics supervisor::statistics() const {
  supervisor_statistics now;
  for (const auto& one : workers_) now.workers.push_back({one->options.name, one->state, one->restarts_ever});
  now.restarts = restarts_ever_;
  if (row_ != nullptr) {
    const time_point begin = saturating_add(belay::now(), -options_.window);
    now.restarts_in_window = static_cast<std::size_t>(std::count_if(
        history_.begin(), history_.end(), [begin](const past_restart& one) { return one.when > begin; }));
    now.level = row_->level;
    now.restarts_of_all_levels = row_->restarts_of_all_levels;
  }
  return now;
}

}  // namespace belay
