// SPDX-License-Identifier: Apache-2.0
// Looks at the loop from outside.

#include "watchdog.hpp"

#include <belay/core/detail/place.hpp>
#include <belay/core/detail/thread_start.hpp>
#include <algorithm>
#include <cstdio>
#include <ctime>
#include <new>

namespace belay::detail {

// Each stands for itself: no task waits on these lines.
const std::source_location watchdog::in_timers = std::source_location::current();
const std::source_location watchdog::in_posted = std::source_location::current();
const std::source_location watchdog::in_reactor = std::source_location::current();
const std::source_location watchdog::resting = std::source_location::current();
const std::source_location watchdog::marked = std::source_location::current();

namespace {

bool same(const std::source_location& a, const std::source_location& b) noexcept {
  return a.line() == b.line() && a.column() == b.column() && a.file_name() == b.file_name();
}

}  // namespace

watchdog::watchdog(duration limit, const diagnostic_sink& sink)
    : limit_(limit),
      look_every_(std::clamp<duration>(limit / 4, std::chrono::milliseconds(1), std::chrono::seconds(1))),
      sink_(sink),
      resumed_at_(in_reactor) {
  has_loop_cpu_ = pthread_getcpuclockid(pthread_self(), &loop_cpu_) == 0;
  const signals_left_to_the_loop inherited;
  thread_ = std::thread([this] { watch(); });
}

watchdog::~watchdog() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  wake_.notify_one();
  thread_.join();
}

void watchdog::publish_name(const node& task) noexcept {
  named_ = task.labelled;
  const task_label label = named_ ? *task.label : task_label();
  number_.store(label.number, std::memory_order_relaxed);
  name_.store(label.text, std::memory_order_relaxed);
}

void watchdog::unpark() noexcept {
  {
    const std::lock_guard lock(mutex_);
    parked_.store(false, std::memory_order_relaxed);
  }
  wake_.notify_one();
}

duration watchdog::loop_cpu_time() const noexcept {
  timespec used{};
  if (!has_loop_cpu_ || ::clock_gettime(loop_cpu_, &used) != 0) return duration::zero();
  return std::chrono::seconds(used.tv_sec) + std::chrono::nanoseconds(used.tv_nsec);
}

void watchdog::watch() noexcept {
  pthread_setname_np(pthread_self(), "belay-watchdog");
  constexpr unsigned idle_looks_before_parking = 8;
  std::unique_lock lock(mutex_);
  for (time_point last = steady_clock().now(); !stopping_;) {
    wake_.wait_for(lock, look_every_, [this] { return stopping_; });
    const time_point now = steady_clock().now();
    // Whoever sinks may take long, and the loop's thread may want to unpark us.
    lock.unlock();
    look(now, now - last > 2 * look_every_ + std::chrono::milliseconds(5));
    lock.lock();
    last = steady_clock().now();
    if (idle_looks_ >= idle_looks_before_parking && !stopping_) {
      park(lock);
      last = steady_clock().now();
    }
  }
  if (told_) tell_over(steady_clock().now() - since_);
}

// An idle program is not woken by its watchdog.
void watchdog::park(std::unique_lock<std::mutex>& lock) noexcept {
  idle_looks_ = 0;
  parked_.store(true, std::memory_order_seq_cst);
  if (same(resumed_at_.load(std::memory_order_seq_cst), resting))
    wake_.wait(lock, [this] { return stopping_ || !parked_.load(std::memory_order_relaxed); });
  parked_.store(false, std::memory_order_relaxed);
}

void watchdog::look(time_point now, bool late) noexcept {
  std::source_location found = resumed_at_.load(std::memory_order_acquire);
  if (is_marked_ && same(found, marked)) {
    if (told_) return;
    if (late) {  // this thread did not run either: the machine is at fault, or somebody who stopped the process
      since_ = now;
      cpu_then_ = loop_cpu_time();
    } else if (now - since_ >= limit_) {
      told_ = true;
      tell_blocked(now - since_);
    }
    return;
  }
  is_marked_ = false;
  if (std::exchange(told_, false)) tell_over(now - since_);
  if (same(found, resting)) {
    ++idle_looks_;
    return;
  }
  idle_looks_ = 0;
  if (!resumed_at_.compare_exchange_strong(found, marked, std::memory_order_acq_rel))
    return;  // it goes round
  is_marked_ = true;
  was_ = found;
  since_ = now;
  cpu_then_ = loop_cpu_time();
}

void watchdog::tell_blocked(duration lasted) noexcept {
  try {
    telling_ = diagnostic();
    telling_.kind = diagnostic_kind::loop_blocked;
    telling_.lasted = lasted;
    std::string who;
    if (same(was_, in_timers)) {
      who = "what a timer calls";
    } else if (same(was_, in_posted)) {
      who = "a function that was posted to it";
    } else if (same(was_, in_reactor)) {
      who = "what its reactor calls";
    } else {
      telling_.task =
          name_text({name_.load(std::memory_order_relaxed), number_.load(std::memory_order_relaxed)});
      telling_.spawned_at = spawned_at_.load(std::memory_order_relaxed);
      telling_.places.push_back(was_);
      who = telling_.task.empty() ? "a task" : "task '" + telling_.task + "'";
      if (telling_.task.empty()) telling_.task = function_text(was_.function_name());
      if (telling_.spawned_at.line() != 0) who += " (spawned at " + place_text(telling_.spawned_at) + ")";
      who += " that went on at " + place_text(was_) + " in " + function_text(was_.function_name()) +
             " and has not come to wait since";
    }
    telling_.message = "the loop is blocked, for " + length_text(lasted) + " by now, by " + who;
    if (has_loop_cpu_) {
      const duration computing = loop_cpu_time() - cpu_then_;
      telling_.message +=
          "; it computed for " + length_text(computing) +
          (computing < lasted / 2 ? " of that: it waits for something that is no await" : " of that");
    }
    tell(sink_, telling_);
    telling_.message = "the loop was blocked by " + who;
  } catch (const std::bad_alloc&) {
    std::fputs("belay: the loop is blocked\n", stderr);
  }
}

void watchdog::tell_over(duration lasted) noexcept {
  try {
    telling_.over = true;
    telling_.lasted = lasted;
    telling_.message += ", for about " + length_text(lasted) + "; it goes round again";
    tell(sink_, telling_);
  } catch (const std::bad_alloc&) {
    std::fputs("belay: the loop goes round again\n", stderr);
  }
}

}  // namespace belay::detail
