// SPDX-License-Identifier: Apache-2.0
// Running blocking calls on threads and bringing their results back.

#include "thread_pool.hpp"

#include <belay/core/detail/place.hpp>
#include <belay/core/detail/thread_start.hpp>
#include <belay/core/loop.hpp>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <new>
#include <system_error>

#include "loop_state.hpp"

namespace belay::detail {

constinit std::atomic<int> threads_granted{-1};

signals_left_to_the_loop::signals_left_to_the_loop() noexcept {
  sigset_t others;
  sigfillset(&others);
  for (const int own : {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGABRT, SIGSYS, SIGPROF})
    sigdelset(&others, own);
  pthread_sigmask(SIG_BLOCK, &others, &before_);
}

std::thread start_thread(std::function<void()> run) {
  if (threads_granted.load(std::memory_order_relaxed) >= 0 &&
      threads_granted.fetch_sub(1, std::memory_order_relaxed) <= 0) {
    threads_granted.store(0, std::memory_order_relaxed);
    throw std::system_error(std::make_error_code(std::errc::resource_unavailable_try_again),
                            "a thread cannot be started");
  }
  const signals_left_to_the_loop inherited;
  return std::thread(std::move(run));
}

// ---- the pool

struct thread_pool::shared {
  struct worker {
    std::thread thread;
    bool ended = false;  // guarded by mutex
  };

  job_queue<real_sync, pool_job> queue;

  std::mutex mutex;
  // guarded by it
  std::list<worker> workers;
  loop::state* home = nullptr;  // null: the loop has gone
  pool_job* late = nullptr;     // abandoned calls that failed while the loop did not run

  static void work(const std::shared_ptr<shared>& self, worker& me) noexcept;
  void outlived(pool_job& job) noexcept;
  static void report_late(loop::inbox_item& item) noexcept;
};

thread_pool::thread_pool(loop::state& home) : shared_(std::make_shared<shared>()), home_(home) {
  shared_->home = &home;
}

void thread_pool::shared::work(const std::shared_ptr<shared>& self, worker& me) noexcept {
  while (pool_job* job = self->queue.next()) {
    job->execute();
    if (self->queue.finished(*job)) {
      job->bring_back();  // it may be gone when this returns
    } else {
      self->outlived(*job);
    }
  }
  {
    const std::lock_guard lock(self->mutex);
    me.ended = true;
  }
  self->queue.thread_ends();
}

// Nobody waits for it. An error goes to the sink, on the loop's thread if there is one.
void thread_pool::shared::outlived(pool_job& job) noexcept {
  if (!job.failed()) return job.destroy();
  {
    const std::lock_guard lock(mutex);
    if (home != nullptr) {
      job.back_.run = &report_late;
      if (home->try_push(job.back_)) return;
      job.next_job = late;
      late = &job;
      return;
    }
  }
  report_lost(job.story());
  job.destroy();
}

void thread_pool::shared::report_late(loop::inbox_item& item) noexcept {
  pool_job& job = *static_cast<pool_job::completion&>(item).job;
  report_lost(job.story());
  job.destroy();
}

void thread_pool::report_late_errors() noexcept {
  pool_job* late = nullptr;
  {
    const std::lock_guard lock(shared_->mutex);
    std::swap(late, shared_->late);
  }
  while (late != nullptr) {
    pool_job& job = *std::exchange(late, late->next_job);
    home_.report(job.story());
    job.destroy();
  }
}

thread_pool::~thread_pool() {
  shared_->queue.stop();
  const bool all_ended = shared_->queue.wait_for_threads([this](auto& changed, auto& lock, auto done) {
    const duration patience = std::min<duration>(home_.options.abandon_limit, std::chrono::years(1));
    return changed.wait_until(lock, std::chrono::steady_clock::now() + patience, done);
  });
  report_late_errors();
  {
    const std::lock_guard lock(shared_->mutex);
    shared_->home = nullptr;
  }
  report_late_errors();
  std::list<shared::worker> ended;
  {
    const std::lock_guard lock(shared_->mutex);
    for (auto one = shared_->workers.begin(); one != shared_->workers.end();) {
      auto next = std::next(one);
      if (one->ended) {
        ended.splice(ended.end(), shared_->workers, one);
      } else {
        one->thread.detach();
      }
      one = next;
    }
  }
  for (shared::worker& one : ended) one.thread.join();
  if (all_ended) return;
  for (const std::string& name : abandoned_names()) {
    const std::string text =
        "belay: a call that was abandoned has not returned; its thread is left behind: " + name + "\n";
    std::fputs(text.c_str(), stderr);
  }
}

void thread_pool::start_one() {
  shared& s = *shared_;
  std::list<shared::worker> made(1);
  shared::worker& me = made.front();
  s.queue.thread_begins();
  try {
    me.thread = start_thread([keeps = shared_, &me] { shared::work(keeps, me); });
  } catch (...) {
    s.queue.thread_ends();
    throw;
  }
  const std::lock_guard lock(s.mutex);
  s.workers.splice(s.workers.end(), made);
}

void thread_pool::submit(pool_job& job) {
  const auto now = shared_->queue.look();
  if (now.spare == 0 && now.threads < home_.options.blocking_threads) {
    try {
      start_one();
    } catch (...) {
      // Those that are there will get to it, unless all of them are in calls that nobody can wait for.
      if (now.threads == now.given_up) throw;
    }
  }
  shared_->queue.push(job);
  ++jobs_;
}

bool thread_pool::take_back(pool_job& job) noexcept {
  if (!shared_->queue.take_back(job)) return false;
  --jobs_;
  return true;
}

bool thread_pool::give_up(pool_job& job) noexcept {
  if (!shared_->queue.give_up(job)) return false;
  --jobs_;
  ++abandoned_ever_;
  // Whoever waits in the line may have waited for this very thread, because no other could be started then.
  const auto now = shared_->queue.look();
  if (now.queued != 0 && now.threads == now.given_up && now.threads < home_.options.blocking_threads) {
    try {
      start_one();
    } catch (const std::exception&) {
      return true;  // still none: it waits for an abandoned call to return, as before
    }
  }
  return true;
}

void thread_pool::hold() noexcept {
  if (holds_) return;
  holds_ = true;
  shared_->queue.hold();
}
void thread_pool::let_go() noexcept {
  if (!holds_) return;
  holds_ = false;
  shared_->queue.let_go();
}

std::size_t thread_pool::abandoned_now() const noexcept { return shared_->queue.look().given_up; }

std::vector<std::string> thread_pool::abandoned_names() const {
  std::vector<std::string> names;
  shared_->queue.visit_given_up([&names](const pool_job& job) { names.push_back(job.name()); });
  return names;
}

// ---- one job

namespace {

constinit thread_local const std::stop_source* stop_of_job = nullptr;

class running_job {
 public:
  explicit running_job(const std::stop_source& stop) noexcept { stop_of_job = &stop; }
  running_job(const running_job&) = delete;
  running_job& operator=(const running_job&) = delete;
  ~running_job() { stop_of_job = nullptr; }
};

}  // namespace

std::stop_token stop_of_this_thread() noexcept {
  return stop_of_job != nullptr ? stop_of_job->get_token() : std::stop_token();
}

void pool_job::submit() {
  belay::loop& here = *this_runtime->loop;
  home_ = &here;
  back_.job = this;
  back_.run = &pool_job::came_back;
  if (any_locals.load(std::memory_order_relaxed)) locals_ = ref<binding>::share(current_bindings());
  here.internals().pool().submit(*this);
}

bool pool_job::take_back_or_stop() noexcept {
  if (home_->internals().pool().take_back(*this)) return true;
  stop_.request_stop();
  return false;
}

bool pool_job::give_up() noexcept { return home_->internals().pool().give_up(*this); }

void pool_job::execute() noexcept {
  const running_job here(stop_);
  try {
    const thread_bindings inherited(locals_);
    call();
  } catch (const stopped&) {
    was_stopped_ = true;
  } catch (...) {
    error_ = std::current_exception();  // rethrown in the awaiting task
  }
}

void pool_job::bring_back() noexcept { home_->post_item(back_); }

void pool_job::came_back(loop::inbox_item& item) noexcept {
  pool_job& self = *static_cast<completion&>(item).job;
  self.home_->internals().pool().job_done();
  if (self.was_stopped_) {
    if (self.stop_.stop_requested()) return self.caller().complete_cancelled_now();
    self.error_ = std::make_exception_ptr(misuse_error(
        "to_thread: the function threw belay::stopped although its stop token was not asked to stop"));
  }
  self.caller().complete_now();
}

void pool_job::rethrow() const { std::rethrow_exception(error_); }

// ---- one that may be abandoned

void lonely_job::submit_for(operation& waiting) {
  waiting_ = &waiting;
  submit();
}

bool lonely_job::leave(bool& still_ours) noexcept {
  if (take_back_or_stop()) return true;
  still_ours = !give_up();
  return !still_ours;
}

failure lonely_job::story() const noexcept {
  failure what = failure::of(error());
  try {
    what.note("thrown by a call that had been abandoned: " + name());
  } catch (const std::bad_alloc&) {
    return what;  // without memory the story gets shorter; the error itself is kept
  }
  return what;
}

std::string lonely_job::name() const {
  const std::string place = place_text(how_.where);
  return how_.name.empty() ? "to_thread at " + place : "'" + how_.name + "' at " + place;
}

}  // namespace belay::detail
