// SPDX-License-Identifier: Apache-2.0
// Mutex and condition.

#include <belay/core/condition.hpp>
#include <belay/core/error.hpp>
#include <belay/core/mutex.hpp>
#include <string>

namespace belay {

void mutex::hand_on() noexcept {
  owner_ = nullptr;
  if (waiters_.empty()) {
    locked_ = false;
  } else {
    static_cast<detail::mutex_wait*>(waiters_.front())->acquired();  // it stays locked
  }
}

mutex_guard mutex::try_lock() {
  if (!take(detail::require_runtime("mutex::try_lock").current)) return {};
  return mutex_guard(*this);
}

void mutex::refuse_relock() const {
  throw misuse_error(
      std::string("mutex '") + name_ +
      "': lock() by the task that holds it already would wait for itself; use the guard it has");
}

condition::awaiter condition::wait(mutex_guard& held) {
  if (!held) {
    throw misuse_error(std::string("condition '") + name_ +
                       "': wait() with a guard that holds no mutex; lock it first");
  }
  return awaiter(*this, held);
}

void condition::awaiter::start() {
  held_->on_ = nullptr;
  enqueue();
  mutex_->hand_on();
}

bool condition::awaiter::take_back() noexcept {
  if (!mutex_->take(task())) return false;
  held_->on_ = mutex_;
  return true;
}

void condition::awaiter::notify(notified how) noexcept {
  notified_ = how;
  if (take_back()) return wake();
  move_to(mutex_->waiters_);
}

bool condition::awaiter::abort() noexcept {
  cancelled_ = true;
  if (notified_ == notified::no) {
    if (take_back()) {
      leave();
      return true;
    }
    move_to(mutex_->waiters_);
  } else if (notified_ == notified::alone) {
    on_->notify_one();  // it was meant for one that can use it
  }
  return false;
}

void condition::awaiter::acquired() noexcept {
  mutex_->owner_ = task();
  held_->on_ = mutex_;
  leave();
  cancelled_ ? complete_cancelled() : complete();
}

void condition::notify_first(awaiter::notified how) noexcept {
  if (!waiters_.empty()) static_cast<awaiter*>(waiters_.front())->notify(how);
}

void condition::notify_all() noexcept {
  while (!waiters_.empty()) notify_first(awaiter::notified::with_all);
}

}  // namespace belay
