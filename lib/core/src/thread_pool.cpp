// SPDX-License-Identifier: Apache-2.0
// Running blocking calls on threads and bringing their results back.

#include "thread_pool.hpp"

#include <belay/core/loop.hpp>
#include <pthread.h>
#include <csignal>

#include "loop_state.hpp"

namespace belay::detail {

thread_pool::~thread_pool() {
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  wake_.notify_all();
  for (std::thread& one : threads_) one.join();
}

void thread_pool::submit(thread_job& job) {
  bool more = false;
  {
    std::lock_guard lock(mutex_);
    more = idle_ <= queued_ && threads_.size() < most_threads_;
  }
  if (more) {
    // Signals are for the loop's thread.
    sigset_t all;
    sigset_t before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    try {
      threads_.emplace_back([this] { work(); });
    } catch (...) {
      pthread_sigmask(SIG_SETMASK, &before, nullptr);
      if (threads_.empty()) throw;  // otherwise those that are there will get to it
    }
    pthread_sigmask(SIG_SETMASK, &before, nullptr);
  }
  ++jobs_;
  {
    std::lock_guard lock(mutex_);
    job.queued = true;
    job.next_job = nullptr;
    job.prev_job = tail_;
    (tail_ != nullptr ? tail_->next_job : head_) = &job;
    tail_ = &job;
    ++queued_;
  }
  if (!held_) wake_.notify_one();
}

void thread_pool::let_go() noexcept {
  std::size_t waiting = 0;
  {
    std::lock_guard lock(mutex_);
    held_ = false;
    waiting = queued_;
  }
  for (; waiting != 0; --waiting) wake_.notify_one();
}

void thread_pool::unlink(thread_job& job) noexcept {
  (job.prev_job != nullptr ? job.prev_job->next_job : head_) = job.next_job;
  (job.next_job != nullptr ? job.next_job->prev_job : tail_) = job.prev_job;
  job.queued = false;
  --queued_;
}

bool thread_pool::take_back(thread_job& job) noexcept {
  std::lock_guard lock(mutex_);
  if (!job.queued) return false;
  unlink(job);
  --jobs_;
  return true;
}

void thread_pool::work() {
  std::unique_lock lock(mutex_);
  for (;;) {
    ++idle_;
    wake_.wait(lock, [this] { return stopping_ || (head_ != nullptr && !held_); });
    --idle_;
    if (head_ == nullptr) return;
    thread_job& job = *head_;
    unlink(job);
    lock.unlock();
    job.execute();  // the job may be gone when this returns
    lock.lock();
  }
}

void thread_job::start() {
  belay::loop& here = *this_runtime->loop;
  home_ = &here;
  if (any_locals.load(std::memory_order_relaxed)) locals_ = ref<binding>::share(current_bindings());
  here.internals().pool().submit(*this);
}

bool thread_job::abort() noexcept {
  if (home_->internals().pool().take_back(*this)) return true;
  stop_.request_stop();
  return false;
}

void thread_job::execute() noexcept {
  try {
    const thread_bindings inherited(locals_);
    call();
  } catch (const stopped&) {
    was_stopped_ = true;
  } catch (...) {
    error_ = std::current_exception();  // rethrown in the awaiting task
  }
  done_.job = this;
  done_.run = &thread_job::finished;
  home_->post_item(done_);
}

void thread_job::finished(loop::inbox_item& item) noexcept {
  thread_job& self = *static_cast<completion&>(item).job;
  self.home_->internals().pool().job_done();
  if (self.was_stopped_) {
    if (self.stop_.stop_requested()) {
      self.complete_cancelled();
      return;
    }
    self.error_ = std::make_exception_ptr(misuse_error(
        "to_thread: the function threw belay::stopped although its stop token was not asked to stop"));
  }
  self.complete();
}

void thread_job::rethrow(const std::source_location& /*where*/) { std::rethrow_exception(error_); }

}  // namespace belay::detail
