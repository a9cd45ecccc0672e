// SPDX-License-Identifier: Apache-2.0
#pragma once
// What a loop holds.

#include <belay/core/detail/timer_wheel.hpp>
#include <belay/core/loop.hpp>
#include <belay/core/task_tree.hpp>
#include <atomic>
#include <memory>
#include <optional>
#include <string>

#include "cancel_lookout.hpp"
#include "random_order.hpp"
#include "thread_pool.hpp"
#include "watchdog.hpp"

namespace belay {

class signal_watch;

struct loop::state {
  loop_options options;
  loop* self = nullptr;
  detail::timer_wheel timers;
  detail::runtime rt;
  std::unique_ptr<reactor> waits;
  std::unique_ptr<detail::thread_pool> threads;
  int wake_fd = -1;

  // From other threads: a stack of items, newest first, and whether the loop must be woken for them. While the loop
  // does not run, `closed` stands in the inbox, so that an item is either refused or run.
  static inline inbox_item closed;
  std::atomic<inbox_item*> inbox{&closed};
  std::atomic<bool> asleep{false};

  detail::watchdog* dog = nullptr;  // while the loop runs, if it is to be watched
  detail::cancel_lookout lookout;
  signal_watch* signals = nullptr;
  detail::node* root = nullptr;
  bool deadlocked = false;
  std::string waiting_at_deadlock;  // who waited for what
  bool abandoned = false;           // a driver gave up: tasks are left in it that will never run
  std::optional<detail::random_order> order;
  std::size_t slow_jobs = 0;  // of the pool: those that were not finished after a patient wait
  std::uint64_t lost_failures = 0;

  detail::thread_pool& pool() {
    if (!threads) threads = std::make_unique<detail::thread_pool>(options.blocking_threads);
    return *threads;
  }

  template <bool Guarded>  // by the watchdog
  void run_until_ended(detail::node& root);
  void run_guarded(detail::node& root);
  void run_watched(detail::node& root);
  [[nodiscard]] detail::node* take_ready() noexcept;
  void await_threads();
  [[nodiscard]] bool try_push(inbox_item& item) noexcept;
  void run_inbox() noexcept;
  void close_inbox() noexcept;
  void fire_timers() noexcept;
  // Something may be due: a timer, or a look at those who were asked to stop.
  [[nodiscard]] bool has_dates() const noexcept {
    return timers.size() != 0 || rt.look_due < detail::runtime::never_look;
  }
  [[nodiscard]] bool to_be_guarded() const noexcept;
  void wait_for_work();
  void collect_signals() noexcept;
  void wake() noexcept;
  void report_deadlock() noexcept;
};

namespace detail {
// One task, as `live_tasks` tells it.
[[nodiscard]] task_info info_of(const node& task);
}  // namespace detail

}  // namespace belay
