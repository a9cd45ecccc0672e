// SPDX-License-Identifier: Apache-2.0
// Shared mutex: one line for readers and writers.

#include <belay/core/error.hpp>
#include <belay/core/shared_mutex.hpp>
#include <string>

namespace belay {

bool shared_mutex::let_in(bool alone, detail::node* task) noexcept {
  if (writing_ || (alone && readers_ > 0)) return false;
  if (alone) {
    writing_ = true;
    writer_ = task;
  } else {
    ++readers_;
  }
  return true;
}

void shared_mutex::hand_on() noexcept {
  while (!waiters_.empty()) {
    auto* first = static_cast<waiter*>(waiters_.front());
    if (!let_in(first->alone_, &first->waiting_task())) return;
    first->granted_ = true;
    first->wake();
  }
}

void shared_mutex::leave_exclusive() noexcept {
  writing_ = false;
  writer_ = nullptr;
  hand_on();
}

void shared_mutex::leave_shared() noexcept {
  --readers_;
  hand_on();
}

bool shared_mutex::held_by(const detail::node& task) const noexcept {
  if (writing_) return writer_ == &task;
  for (const shared_guard* one = guards_; one != nullptr; one = one->next_) {
    if (one->owner_ == &task) return true;
  }
  return false;
}

void shared_mutex::refuse_relock() const {
  throw misuse_error(std::string("shared_mutex '") + name_ +
                     "': a task that holds it already would wait for itself; unlock its guard first");
}

exclusive_guard shared_mutex::try_lock() {
  detail::node* const here = detail::require_runtime("shared_mutex::try_lock").current;
  if (!waiters_.empty() || !let_in(true, here)) return {};
  return exclusive_guard(*this);
}

shared_guard shared_mutex::try_lock_shared() {
  detail::node* const here = detail::require_runtime("shared_mutex::try_lock_shared").current;
  if (!waiters_.empty() || !let_in(false, here)) return {};
  return shared_guard(*this);
}

void exclusive_guard::unlock() noexcept {
  if (on_ != nullptr) std::exchange(on_, nullptr)->leave_exclusive();
}

void exclusive_guard::stamp() noexcept {
  if (on_ != nullptr && detail::this_runtime != nullptr) on_->writer_ = detail::this_runtime->current;
}

void shared_guard::link(shared_mutex& on) noexcept {
  on_ = &on;
  owner_ = detail::this_runtime != nullptr ? detail::this_runtime->current : nullptr;
  next_ = on.guards_;
  if (next_ != nullptr) next_->link_ = &next_;
  link_ = &on.guards_;
  on.guards_ = this;
}

void shared_guard::unlink() noexcept {
  *link_ = next_;
  if (next_ != nullptr) next_->link_ = link_;
}

void shared_guard::take_over(shared_guard& other) noexcept {
  if (other.on_ == nullptr) return;
  other.unlink();
  link(*std::exchange(other.on_, nullptr));
}

void shared_guard::unlock() noexcept {
  if (on_ == nullptr) return;
  unlink();
  std::exchange(on_, nullptr)->leave_shared();
}

}  // namespace belay
