// SPDX-License-Identifier: Apache-2.0
#pragma once
// One run of the operation inside a policy: its outcome, whatever happens.

#include <belay/core/task.hpp>
#include <type_traits>
#include <utility>

namespace belay::detail {

// co_await attempt(next): calls it, and awaits the task. What the call throws before there is a task is an outcome, too.
// With a scope, the task runs inside it.
template <class T, delivery How>
class attempt_awaiter {
 public:
  using belay_awaiter_tag = void;
  template <class Next>
  explicit attempt_awaiter(Next& next, scope* inside = nullptr) noexcept : inside_(inside) {
    try {
      task<T> made = next();
      child_ = &task_access::release(made);
    } catch (...) {
      result_.set_failed(record_current_exception());
    }
  }
  attempt_awaiter(const attempt_awaiter&) = delete;
  attempt_awaiter& operator=(const attempt_awaiter&) = delete;
  ~attempt_awaiter() {
    if (child_ != nullptr) child_->handle.destroy();  // never awaited
  }

  [[nodiscard]] bool await_ready() const noexcept { return child_ == nullptr; }
  template <class Promise>
  [[gnu::always_inline]] bool await_suspend(std::coroutine_handle<Promise> parent) noexcept {
    if (inside_ != nullptr) {
      node& task = *this_runtime->current;
      inside_->owner = &task;
      inside_->attach_to(task.current);
      task.current = inside_;
      entered_ = true;
    }
    return await_frame(parent.promise(), *std::exchange(child_, nullptr), result_, How);
  }
  // A value whose move throws has become a failure of the run, as in core's as_outcome.
  outcome<T> await_resume() noexcept {
    if (entered_) {
      this_runtime->current->current = inside_->parent;
      inside_->detach();
    }
    if constexpr (std::is_nothrow_move_constructible_v<outcome<T>>) {
      return std::move(result_);
    } else {
      try {
        return std::move(result_);
      } catch (...) {
        return failed_now();
      }
    }
  }

 private:
  static outcome<T> failed_now() noexcept {
    outcome<T> failed;
    failed.set_failed(record_current_exception());
    return failed;
  }
  frame* child_ = nullptr;
  scope* inside_;
  bool entered_ = false;
  outcome<T> result_;
};

// Value or failure; a cancellation unwinds the policy when the operation has stopped.
template <class Next>
[[nodiscard]] auto attempt(Next& next) noexcept {
  return attempt_awaiter<typename std::invoke_result_t<Next&>::value_type, delivery::inspect>(next);
}
// All three outcomes, of a run in a scope of the policy's own.
template <class Next>
[[nodiscard]] auto attempt_in(scope& inside, Next& next) noexcept {
  return attempt_awaiter<typename std::invoke_result_t<Next&>::value_type, delivery::intercept>(next,
                                                                                                &inside);
}

}  // namespace belay::detail
