// SPDX-License-Identifier: Apache-2.0
#pragma once
// The line of calls between a loop and the threads of its pool.

#include <cstddef>
#include <mutex>

#include "real_sync.hpp"

namespace belay::detail {

// `Job` has `next_job`, `prev_job` and `phase`, which are the queue's. The loop pushes and takes back; the threads take what is next, run
// it, and ask `finished` whom it belongs to.
template <class Sync, class Job>
class job_queue {
 public:
  using phase = typename Job::phase_type;

  void push(Job& job) {
    bool wake = false;
    {
      const std::lock_guard lock(mutex_);
      job.phase = phase::queued;
      link(waiting_, job);
      ++queued_;
      wake = !held_;
    }
    if (wake) something_.notify_one();
  }

  // True: nobody has begun it, and nobody will.
  [[nodiscard]] bool take_back(Job& job) noexcept {
    const std::lock_guard lock(mutex_);
    if (job.phase != phase::queued) return false;
    unlink(waiting_, job);
    --queued_;
    job.phase = phase::idle;
    return true;
  }

  // True: the job, which has begun, belongs to the thread that runs it now, and may be gone already. False: it has finished, and its
  // answer is on the way.
  [[nodiscard]] bool give_up(Job& job) noexcept {
    const std::lock_guard lock(mutex_);
    if (job.phase != phase::running) return false;
    job.phase = phase::given_up;
    link(given_up_, job);
    ++given_up_count_;
    return true;
  }

  // For a thread: waits for a job. Null: there is none, and there will be none.
  [[nodiscard]] Job* next() {
    std::unique_lock lock(mutex_);
    ++idle_;
    while (!stopping_ && (waiting_.first == nullptr || held_)) something_.wait(lock);
    --idle_;
    Job* const job = waiting_.first;
    if (job == nullptr) return nullptr;
    unlink(waiting_, *job);
    --queued_;
    job->phase = phase::running;
    return job;
  }

  // For the thread that has run it. True: the loop waits for it. False: it was given up, and is the thread's.
  [[nodiscard]] bool finished(Job& job) noexcept {
    const std::lock_guard lock(mutex_);
    if (job.phase == phase::given_up) {
      unlink(given_up_, job);
      --given_up_count_;
      something_else_.notify_all();
      return false;
    }
    job.phase = phase::idle;
    return true;
  }

  // Jobs wait until `let_go`: the same again in each run, whatever the threads do.
  void hold() noexcept {
    const std::lock_guard lock(mutex_);
    held_ = true;
  }
  void let_go() noexcept {
    {
      const std::lock_guard lock(mutex_);
      if (!held_) return;
      held_ = false;
    }
    something_.notify_all();
  }

  // The threads end when nothing waits any more.
  void stop() noexcept {
    {
      const std::lock_guard lock(mutex_);
      stopping_ = true;
      held_ = false;
    }
    something_.notify_all();
  }
  void thread_begins() noexcept {
    const std::lock_guard lock(mutex_);
    ++threads_;
  }
  void thread_ends() noexcept {
    const std::lock_guard lock(mutex_);
    --threads_;
    something_else_.notify_all();
  }

  struct counts {
    std::size_t threads;
    std::size_t spare;  // idle, and not needed for what waits
    std::size_t given_up;
    std::size_t queued;
  };
  [[nodiscard]] counts look() const noexcept {
    const std::lock_guard lock(mutex_);
    return {threads_, idle_ > queued_ ? idle_ - queued_ : 0, given_up_count_, queued_};
  }

  // For who stopped it. Waits until all threads have ended that do not run a job that was given up, and for these as long as `patience`
  // says: a function that waits on (condition, lock, done), and says false when it is tired. True: all have ended.
  template <class Patience>
  [[nodiscard]] bool wait_for_threads(Patience patience) {
    std::unique_lock lock(mutex_);
    while (threads_ != given_up_count_) something_else_.wait(lock);
    return patience(something_else_, lock, [this] { return threads_ == 0; });
  }

  template <class Visit>
  void visit_given_up(Visit visit) const {
    const std::lock_guard lock(mutex_);
    for (const Job* job = given_up_.first; job != nullptr; job = job->next_job) visit(*job);
  }

 private:
  struct list {
    Job* first = nullptr;
    Job* last = nullptr;
  };
  static void link(list& in, Job& job) noexcept {
    job.next_job = nullptr;
    job.prev_job = in.last;
    (in.last != nullptr ? in.last->next_job : in.first) = &job;
    in.last = &job;
  }
  static void unlink(list& in, Job& job) noexcept {
    (job.prev_job != nullptr ? job.prev_job->next_job : in.first) = job.next_job;
    (job.next_job != nullptr ? job.next_job->prev_job : in.last) = job.prev_job;
  }

  mutable typename Sync::mutex mutex_;
  typename Sync::condition something_;       // a job waits, or no more will come
  typename Sync::condition something_else_;  // a thread has ended, or has returned from what was given up
  // all guarded by mutex_
  list waiting_;
  list given_up_;
  std::size_t queued_ = 0;
  std::size_t given_up_count_ = 0;
  std::size_t idle_ = 0;
  std::size_t threads_ = 0;
  bool stopping_ = false;
  bool held_ = false;
};

}  // namespace belay::detail
