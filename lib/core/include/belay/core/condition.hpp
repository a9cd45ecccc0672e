// SPDX-License-Identifier: Apache-2.0
#pragma once
// Waiting, under a mutex, for a state that other tasks bring about.

#include <belay/core/mutex.hpp>
#include <belay/core/task.hpp>

namespace belay {

/// The mutex is given up while a task waits, and is held again when it goes on, whichever way it goes on.
///
/// Fair: first come, first notified. Thread: the loop's only.
class condition {
 public:
  /// `name` is for reports: a literal.
  explicit condition(const char* name = "") noexcept : name_(name) {}
  condition(const condition&) = delete;
  condition& operator=(const condition&) = delete;

  class awaiter final : public detail::mutex_wait {
   public:
    awaiter(condition& on, mutex_guard& held) noexcept
        : mutex_wait(on.waiters_), on_(&on), held_(&held), mutex_(held.on_) {}
    awaiter(const awaiter&) = delete;
    awaiter& operator=(const awaiter&) = delete;
    void await_resume() const noexcept {}
    [[nodiscard]] awaited waits_for() const noexcept override { return {"condition", on_->name_}; }

   private:
    friend class condition;
    // Where it stands: in the condition's line (waiting), then in the mutex's (notified, or cancelled). In the latter it cannot be taken
    // back: it answers once the mutex is its own.
    enum class notified : unsigned char { no, alone, with_all };
    void start() override;
    bool abort() noexcept override;
    void acquired() noexcept override;
    void notify(notified how) noexcept;
    [[nodiscard]] bool take_back() noexcept;

    condition* on_;
    mutex_guard* held_;
    mutex* mutex_;
    notified notified_ = notified::no;
    bool cancelled_ = false;
  };

  /// Gives the mutex up, waits for a notification, and takes the mutex again, at the end of its line. What was true before the
  /// call may not be true after it: prefer the form with a predicate.
  ///
  /// Errors:        `misuse_error` when the guard holds no mutex.
  /// Cancellation:  takes the mutex again first, whatever that takes, so that the guard is as valid for destructors and cleanup as it was
  ///                before. A notification that had been given to this task is passed on to the next one that waits.
  ///                Requested before: the mutex is not given up. With the mutex in hand again, the notification wins.
  [[nodiscard]] awaiter wait(mutex_guard& held);

  /// Waits until `holds()`, asked with the mutex held, at first and after each notification. As a task, for `with_timeout`.
  template <class Predicate>
  [[nodiscard]] task<> wait(mutex_guard& held, Predicate holds) {
    while (!holds()) co_await wait(held);
  }

  /// Wakes the one that has waited longest. When nobody waits: nothing. The mutex need not be held.
  void notify_one() noexcept { notify_first(awaiter::notified::alone); }
  /// Wakes all who wait now, in order.
  void notify_all() noexcept;

  [[nodiscard]] std::size_t waiting() const noexcept { return waiters_.size(); }

 private:
  void notify_first(awaiter::notified how) noexcept;

  const char* name_;
  detail::wait_list waiters_;
};

}  // namespace belay
