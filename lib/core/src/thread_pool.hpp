// SPDX-License-Identifier: Apache-2.0
#pragma once
// The threads behind to_thread: started when needed, joined when the loop goes.

#include <belay/core/thread.hpp>
#include <list>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "job_queue.hpp"

namespace belay::detail {

class thread_pool {
 public:
  explicit thread_pool(loop::state& home);
  thread_pool(const thread_pool&) = delete;
  thread_pool& operator=(const thread_pool&) = delete;
  // Waits for the threads; for abandoned calls as long as the loop's options say. Those that are left then are named on stderr.
  ~thread_pool();

  // Errors: std::system_error when no thread can be started that could get to it; the job is not queued then.
  void submit(pool_job& job);
  [[nodiscard]] bool take_back(pool_job& job) noexcept;
  [[nodiscard]] bool give_up(pool_job& job) noexcept;
  // Jobs submitted from now on wait until `let_go`.
  void hold() noexcept;
  void let_go() noexcept;

  // For the loop's thread.
  [[nodiscard]] std::size_t jobs() const noexcept { return jobs_; }
  void job_done() noexcept { --jobs_; }
  [[nodiscard]] std::size_t abandoned_now() const noexcept;
  [[nodiscard]] std::uint64_t abandoned_ever() const noexcept { return abandoned_ever_; }
  [[nodiscard]] std::vector<std::string> abandoned_names() const;
  // Reports the errors of abandoned calls that came while the loop did not run.
  void report_late_errors() noexcept;

 private:
  struct shared;
  void start_one();

  // Threads that are left behind keep it.
  std::shared_ptr<shared> shared_;
  loop::state& home_;
  // loop thread only
  std::size_t jobs_ = 0;
  std::uint64_t abandoned_ever_ = 0;
  bool holds_ = false;
};

}  // namespace belay::detail
