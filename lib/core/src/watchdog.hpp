// SPDX-License-Identifier: Apache-2.0
#pragma once
// A thread that looks whether the loop goes round, and tells of what keeps it from that while it does.

#include <belay/core/detail/runtime.hpp>
#include <belay/core/diagnostic.hpp>
#include <pthread.h>
#include <atomic>
#include <condition_variable>
#include <mutex>
#include <source_location>
#include <thread>

namespace belay::detail {

// The loop publishes what it begins: where a task was spawned, and where it goes on. Both are pointers to constants of the program, so that
// they can be read whatever has become of the task; so is the text of a name. The watchdog replaces the place by a mark; as long as it finds its
// mark again, the loop has not begun anything else. So a turn costs two plain stores, and two more if the task has a name.
//
// `resumed_at_` holds: the place of a task, `in_timers`, `in_posted`, `in_reactor` or `resting` (all by the loop), or `marked` (by the
// watchdog, in exchange for one of those but `resting`).
class watchdog {
 public:
  // Begins to watch the loop of the calling thread. Errors: std::system_error when there is no thread for it.
  watchdog(duration limit, const diagnostic_sink& sink);
  watchdog(const watchdog&) = delete;
  watchdog& operator=(const watchdog&) = delete;
  ~watchdog();

  // Loop thread only.
  void begins(const node& task) noexcept {
    if (task.labelled || named_) [[unlikely]]
      publish_name(task);
    spawned_at_.store(task.spawned_at(), std::memory_order_relaxed);
    resumed_at_.store(task.leaf->site, std::memory_order_release);
  }
  void begins(std::source_location part) noexcept { resumed_at_.store(part, std::memory_order_release); }
  void rests() noexcept { begins(resting); }
  void wakes() noexcept {
    // Against park(): one of both sees what the other has written.
    resumed_at_.store(in_reactor, std::memory_order_seq_cst);
    if (parked_.load(std::memory_order_seq_cst)) unpark();
  }

  static const std::source_location in_timers;
  static const std::source_location in_posted;
  static const std::source_location in_reactor;
  static const std::source_location resting;

 private:
  static const std::source_location marked;

  void publish_name(const node& task) noexcept;
  void unpark() noexcept;

  // The watchdog's own thread.
  void watch() noexcept;
  void look(time_point now, bool late) noexcept;
  void park(std::unique_lock<std::mutex>& lock) noexcept;
  void tell_blocked(duration lasted) noexcept;
  void tell_over(duration lasted) noexcept;
  [[nodiscard]] duration loop_cpu_time() const noexcept;

  // constant after construction
  const duration limit_;
  const duration look_every_;
  const diagnostic_sink& sink_;
  clockid_t loop_cpu_{};
  bool has_loop_cpu_ = false;

  // loop thread only
  bool named_ = false;  // the latest task had a name

  // written by the loop, but for the mark
  alignas(64) std::atomic<std::source_location> resumed_at_;
  std::atomic<std::source_location> spawned_at_{std::source_location()};
  std::atomic<const char*> name_{nullptr};
  std::atomic<std::uint64_t> number_{task_label::no_number};

  alignas(64) std::atomic<bool> parked_{false};
  std::mutex mutex_;
  std::condition_variable wake_;
  bool stopping_ = false;  // guarded by mutex_

  // watchdog thread only
  std::source_location was_;  // what the mark stands for
  time_point since_;          // when it was set
  duration cpu_then_{};
  bool is_marked_ = false;
  bool told_ = false;
  diagnostic telling_;
  unsigned idle_looks_ = 0;

  std::thread thread_;  // last: it uses all of the above
};

}  // namespace belay::detail
