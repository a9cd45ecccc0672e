// SPDX-License-Identifier: Apache-2.0
#pragma once
// What is needed only beside a task that waits: for those that end at once, it is never made.

#include <belay/core/task.hpp>
#include <type_traits>
#include <utility>

namespace belay::detail {

// As `as_outcome`. When `op` waits for the first time, `on_wait` is called: once, in the awaiting task, whose scope is that of `op` then. It may
// spawn. (It may also be called for an `op` that ends at once with an error, and under a driver before `op` has begun.)
template <class T, class F>
class first_wait_awaiter : public outcome_awaiter<T, delivery::inspect> {
  using base = outcome_awaiter<T, delivery::inspect>;
  static_assert(std::is_nothrow_invocable_v<F&>, "there is nobody who could take an error");

 public:
  first_wait_awaiter(task<T>&& op, F on_wait) noexcept : base(std::move(op)), on_wait_(std::move(on_wait)) {}

  template <class Promise>
  bool await_suspend(std::coroutine_handle<Promise> parent) noexcept {
    if (!base::await_suspend(parent)) return false;
    on_wait_();
    return true;
  }

 private:
  F on_wait_;
};

template <class T, class F>
[[nodiscard]] auto as_outcome_or_wait(task<T> op, F on_wait) noexcept {
  return first_wait_awaiter<T, F>(std::move(op), std::move(on_wait));
}

}  // namespace belay::detail
