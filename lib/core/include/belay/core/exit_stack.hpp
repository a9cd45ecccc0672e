// SPDX-License-Identifier: Apache-2.0
#pragma once
// Resources and cleanups whose number is known only at run time (contextlib.AsyncExitStack).

#include <belay/core/detail/cleanup.hpp>
#include <belay/core/error.hpp>
#include <belay/core/managed.hpp>
#include <belay/core/task.hpp>
#include <belay/core/task_function.hpp>
#include <source_location>
#include <type_traits>
#include <utility>

namespace belay {

class exit_stack;

namespace detail {

// Closes what is on the stack, newest first, each in its own limit; adds what goes wrong to `how`.
[[nodiscard]] task<void> close_all(exit_stack& stack, outcome_base& how,
                                   const std::function<void()>& drop_value, std::source_location where);
[[nodiscard]] managed<unit> deferred(task_function<task<>(exit_status)> cleanup);

template <class T>
class enter_awaiter {
 public:
  using belay_awaiter_tag = void;
  enter_awaiter(exit_stack& into, managed<T>&& resource) noexcept
      : into_(&into), resource_(&resource.release()), inner_(resource_) {}
  enter_awaiter(const enter_awaiter&) = delete;
  enter_awaiter& operator=(const enter_awaiter&) = delete;
  ~enter_awaiter();
  [[nodiscard]] bool await_ready() const noexcept { return false; }
  template <class Promise>
  bool await_suspend(std::coroutine_handle<Promise> parent) noexcept;
  T& await_resume();

 private:
  exit_stack* into_;
  resource_frame* resource_;
  open_awaiter<T> inner_;
  bool entering_ = false;
};

}  // namespace detail

/// What was opened by `enter` and put down by `defer`, closed in reverse order when the block of `with_exit_stack` ends, whatever
/// happened; each close is shielded and bounded by the loop's `cleanup_limit`. Thread: the loop's.
class exit_stack {
 public:
  exit_stack() noexcept = default;
  exit_stack(const exit_stack&) = delete;
  exit_stack& operator=(const exit_stack&) = delete;
  ~exit_stack();

  /// Opens `resource`; it stays open until the stack is closed.
  ///
  /// Result:        a reference to what it hands out; valid as long as the stack.
  /// Errors:        those of the opening: then nothing was added.
  /// Cancellation:  while it opens: nothing was added.
  /// Lifetime:      the stack outlives the await: one that is closed while another task still waits here ends the process, with a message.
  template <class T>
  [[nodiscard]] detail::enter_awaiter<T> enter(managed<T> resource) noexcept {
    return detail::enter_awaiter<T>(*this, std::move(resource));
  }

  /// Has `cleanup()` or `cleanup(exit_status)` run at its turn. It is kept until then. A cleanup may defer others: they run next.
  /// Errors: `misuse_error` outside of a loop.
  template <class F>
  void defer(F cleanup) {
    if constexpr (std::is_invocable_v<F&, exit_status>) {
      push_deferred(task_function<task<>(exit_status)>(std::move(cleanup)));
    } else {
      push_deferred([kept = std::move(cleanup)](exit_status) mutable -> task<> { co_await kept(); });
    }
  }

  /// Closes what `enter` gave as `opened` now, before its turn; the end of the block does not close it again.
  ///
  /// Result:        false: it is not on this stack (any more), nothing was done. Two calls at the same time: the second gets false.
  /// Errors:        those of closing. It is gone all the same.
  /// Cancellation:  does not reach the closing, which is bounded by the loop's `cleanup_limit`.
  template <class T>
  [[nodiscard]] BELAY_CORO_WRAPPER task<bool> close(
      T& opened, std::source_location where = std::source_location::current()) {
    return close_one(&opened, where);
  }

  /// Gives everything to `to`, on top of what it has; nothing is closed by this stack then. For a set-up that succeeded.
  void move_to(exit_stack& to) noexcept;

  [[nodiscard]] std::size_t size() const noexcept { return size_; }

 private:
  template <class T>
  friend class detail::enter_awaiter;
  friend task<void> detail::close_all(exit_stack&, detail::outcome_base&, const std::function<void()>&,
                                      std::source_location);
  task<bool> close_one(const void* handed_out, std::source_location where);
  void push(detail::resource_frame& resource) noexcept;
  void push_deferred(task_function<task<>(exit_status)> cleanup);

  detail::resource_frame* top_ = nullptr;
  std::size_t size_ = 0;
  std::size_t entering_ = 0;  // how many wait in `enter`
};

namespace detail {

template <class T>
enter_awaiter<T>::~enter_awaiter() {
  if (resource_ != nullptr) destroy_unopened(*resource_);
  if (entering_) --into_->entering_;
}

template <class T>
template <class Promise>
bool enter_awaiter<T>::await_suspend(std::coroutine_handle<Promise> parent) noexcept {
  entering_ = true;
  ++into_->entering_;
  return inner_.await_suspend(parent);
}

template <class T>
T& enter_awaiter<T>::await_resume() {
  T& opened = inner_.await_resume();
  into_->push(*std::exchange(resource_, nullptr));
  return opened;
}

}  // namespace detail

/// Runs `body(exit_stack&)`, then closes what is on the stack.
///
///     co_await with_exit_stack([&](exit_stack& open) -> task<> {
///       for (const std::string& name : names) files.push_back(&co_await open.enter(open_file(name)));
///       ...
///     });
///
/// Result:        that of the body, once all is closed.
/// Errors:        the body's; those of closing are attached to it, or the first of them is the error when the body had none. One that
///                fails or overruns does not keep the others from closing.
/// Cancellation:  reaches the body, not the closing.
template <class F>
[[nodiscard]] auto with_exit_stack(F body, std::source_location where = std::source_location::current())
    -> std::invoke_result_t<F&, exit_stack&> {
  using result = typename std::invoke_result_t<F&, exit_stack&>::value_type;
  exit_stack stack;
  outcome<result> how = co_await detail::intercept(detail::call_as_task(body, stack));
  if (stack.size() != 0) {
    outcome<void> closing =
        co_await detail::intercept(detail::close_all(stack, how, [&how]() { how.drop_value(); }, where));
    static_cast<void>(closing);
  }
  if (!how.succeeded()) {
    detail::refresh_cancellation(how);
    co_await detail::end_with(how);
  }
  if constexpr (std::is_void_v<result>) {
    co_return;
  } else {
    co_return how.get_forward();
  }
}

}  // namespace belay
