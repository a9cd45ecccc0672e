// SPDX-License-Identifier: Apache-2.0
#pragma once
// The threads behind to_thread: started when needed, joined when the loop goes.

#include <belay/core/thread.hpp>
#include <atomic>
#include <condition_variable>
#include <mutex>
#include <thread>
#include <vector>

namespace belay::detail {

class thread_pool {
 public:
  explicit thread_pool(unsigned most_threads) : most_threads_(most_threads) {}
  ~thread_pool();

  // Errors: std::system_error when no thread at all can be started; the job is not queued then.
  void submit(thread_job& job);
  // Jobs submitted from now on wait until `let_go`: the same again in each run, whatever the threads do.
  void hold() noexcept { held_ = true; }
  void let_go() noexcept;
  // Takes a job back that no thread has begun.
  bool take_back(thread_job& job) noexcept;
  [[nodiscard]] std::size_t jobs() const noexcept { return jobs_; }
  void job_done() noexcept { --jobs_; }

 private:
  void work();
  void unlink(thread_job& job) noexcept;

  const unsigned most_threads_;
  std::size_t jobs_ = 0;  // loop thread only
  std::mutex mutex_;
  std::condition_variable wake_;
  // guarded by mutex_
  thread_job* head_ = nullptr;
  thread_job* tail_ = nullptr;
  unsigned idle_ = 0;
  std::size_t queued_ = 0;
  bool stopping_ = false;
  std::atomic<bool> held_{false};
  std::vector<std::thread> threads_;  // loop thread only
};

}  // namespace belay::detail
