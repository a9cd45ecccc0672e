// SPDX-License-Identifier: Apache-2.0
#pragma once
// How cleanup is run: shielded, bounded, and with both errors kept.

#include <belay/core/detail/deadline_scope.hpp>
#include <belay/core/task.hpp>
#include <functional>

namespace belay::detail {

void resource_opened(resource_frame& resource) noexcept;
[[noreturn]] void abort_on_empty_resource() noexcept;
[[nodiscard]] ref<failure_record> never_yielded() noexcept;
[[noreturn]] void throw_yielded_twice();

// Lets an open resource run from its co_yield to its end, inside `shield`.
class close_awaiter {
 public:
  using belay_awaiter_tag = void;
  close_awaiter(resource_frame& resource, exit_status how, scope& shield) noexcept
      : resource_(&resource), shield_(&shield) {
    resource.tell(resource, std::move(how));
  }
  close_awaiter(const close_awaiter&) = delete;
  close_awaiter& operator=(const close_awaiter&) = delete;
  [[nodiscard]] bool await_ready() const noexcept { return false; }
  template <class Promise>
  bool await_suspend(std::coroutine_handle<Promise> parent) noexcept {
    node& task = *this_runtime->current;
    shield_->owner = &task;
    shield_->attach_to(task.current);
    task.current = shield_;
    return await_frame(parent.promise(), *resource_, result_, delivery::intercept);
  }
  outcome<void> await_resume() noexcept {
    this_runtime->current->current = shield_->parent;
    shield_->detach();
    return std::move(result_);
  }

 private:
  resource_frame* resource_;
  scope* shield_;
  outcome<void> result_;
};

// Adds how the cleanup ended to how the block ended. `drop_value` destroys the block's value, which a failing
// cleanup turns into a failure.
void merge_cleanup_outcome(outcome_base& how, outcome<void>& closed, cleanup_scope& shield,
                           const std::function<void()>& drop_value);

template <class Drop>
void merge_cleanup(outcome_base& how, outcome<void>& closed, cleanup_scope& shield, Drop drop_value) {
  if (!closed.succeeded() || shield.was_told()) [[unlikely]]
    merge_cleanup_outcome(how, closed, shield, drop_value);
}

template <class R>
task<R> failed_task(failure why) {
  co_await fail(std::move(why));
  __builtin_unreachable();
}

// Calls `fn`; what it throws before there is a task becomes a task that fails.
template <class F, class... A>
[[nodiscard]] BELAY_CORO_WRAPPER auto call_as_task(F& fn, A&... args) -> std::invoke_result_t<F&, A&...> {
  try {
    return call(fn, args...);
  } catch (...) {
    return failed_task<typename std::invoke_result_t<F&, A&...>::value_type>(current_failure());
  }
}

}  // namespace belay::detail
