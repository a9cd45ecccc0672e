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
#include <vector>

#include "cancel_lookout.hpp"
#include "inbox.hpp"
#include "random_order.hpp"
#include "thread_pool.hpp"
#include "watchdog.hpp"

namespace belay {

class signal_watch;
namespace detail {
class call_wait;
class visitors;
}  // namespace detail

struct loop::state {
  loop_options options;
  loop* self = nullptr;
  detail::timer_wheel timers;
  detail::runtime rt;
  std::unique_ptr<reactor> waits;
  std::unique_ptr<detail::thread_pool> threads;
  int wake_fd = -1;

  detail::inbox<detail::real_sync, inbox_item> inbox;  // from other threads
  // What will be ended from outside: calls to other loops, like jobs of the pool; and doors, through which anything may come.
  std::size_t calls_outside = 0;
  std::size_t open_doors = 0;
  std::vector<detail::call_wait*> held_calls;  // until the end of the turn, when it is watched
  detail::visitors* guests = nullptr;          // while it runs

  std::optional<detail::watchdog> guard;  // until nobody can wait for this loop any more
  detail::watchdog* dog = nullptr;        // while the loop runs, if it is to be watched
  std::atomic<bool> entered{false};       // a thread is in `run`
  detail::cancel_lookout lookout;
  signal_watch* signals = nullptr;
  detail::node* root = nullptr;
  bool deadlocked = false;
  std::string waiting_at_deadlock;  // who waited for what
  bool abandoned = false;           // a driver gave up: tasks are left in it that will never run
  std::optional<detail::random_order> order;
  std::optional<detail::random_order> numbers;  // for random_bits; none yet: from the machine
  std::size_t slow_jobs = 0;  // outside of the loop: those that were not finished after a patient wait
  std::uint64_t lost_failures = 0;

  detail::thread_pool& pool() {
    if (!threads) threads = std::make_unique<detail::thread_pool>(*this);
    return *threads;
  }

  template <bool Guarded>  // by the watchdog
  void run_until_ended(detail::node& root);
  void call_guard();
  void run_watched(detail::node& root);
  [[nodiscard]] detail::node* take_ready() noexcept;
  void await_threads();
  [[nodiscard]] bool try_push(inbox_item& item) noexcept {
    return inbox.push(item, [this] { wake(); });
  }
  // What other threads do for its tasks.
  [[nodiscard]] std::size_t work_outside() const noexcept {
    return (threads ? threads->jobs() : 0) + calls_outside;
  }
  // To the sink.
  void report(const failure& what) noexcept;
  void run_to_end(detail::node& root);
  void see_off_guests();
  void send_held_calls() noexcept;
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
