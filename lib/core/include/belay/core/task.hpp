// SPDX-License-Identifier: Apache-2.0
#pragma once
// The coroutine type: lazy, owned by whoever awaits or spawns it, with three outcomes.

#include <belay/core/detail/runtime.hpp>
#include <belay/core/operation.hpp>
#include <concepts>
#include <coroutine>
#include <exception>
#include <source_location>
#include <type_traits>
#include <utility>

#if defined(__clang__) && defined(__has_cpp_attribute)
#if __has_cpp_attribute(clang::coro_return_type)
#define BELAY_CORO_TYPE [[clang::coro_return_type]] [[clang::coro_lifetimebound]]
#define BELAY_CORO_WRAPPER [[clang::coro_wrapper]]
#define BELAY_LIFETIMEBOUND [[clang::lifetimebound]]
#endif
#endif
#ifndef BELAY_CORO_TYPE
#define BELAY_CORO_TYPE
#define BELAY_CORO_WRAPPER
#define BELAY_LIFETIMEBOUND
#endif

namespace belay {

template <class T = void>
class task;

namespace detail {

template <class T>
class managed_awaiter;
struct task_access;

template <class T>
inline constexpr bool is_task = false;
template <class T>
inline constexpr bool is_task<task<T>> = true;

// What a task may await besides tasks: operations, and library awaiters that say so.
template <class A>
concept belay_awaiter = std::derived_from<std::remove_cvref_t<A>, operation> ||
                        requires { typename std::remove_cvref_t<A>::belay_awaiter_tag; };

template <class A>
concept has_belay_awaiter = requires(A&& a) {
  { std::forward<A>(a).belay_await() } -> belay_awaiter;
};

// co_await child: value or throw; runs the child inside await_suspend.
template <class T>
class task_awaiter {
 public:
  using belay_awaiter_tag = void;
  explicit task_awaiter(frame& child) noexcept : child_(&child) {}
  task_awaiter(const task_awaiter&) = delete;
  task_awaiter& operator=(const task_awaiter&) = delete;

  [[nodiscard]] bool await_ready() const noexcept { return false; }
  // Inlined whatever its size: it is what every co_await of a task costs.
  template <class Promise>
  [[gnu::always_inline]] bool await_suspend(std::coroutine_handle<Promise> parent) noexcept {
    return await_frame(parent.promise(), *child_, result_, delivery::plain);
  }
  T await_resume() {
    if (result_.how() != ending::value) [[unlikely]]
      rethrow_record(result_.failed_with().take_record());
    if constexpr (!std::is_void_v<T>) return result_.take();
  }

 private:
  frame* child_;
  outcome<T> result_;
};

struct final_awaiter {
  [[nodiscard]] bool await_ready() const noexcept { return false; }
  template <class Promise>
  void await_suspend(std::coroutine_handle<Promise> ended) noexcept {
    finish_frame(ended.promise());
  }
  void await_resume() const noexcept {}
};

// What every coroutine of the library has: memory from the pool, the await site, and failures as records.
template <class Frame>
struct basic_promise : Frame {
  static void* operator new(std::size_t size) { return frame_pool::allocate(size); }
  static void operator delete(void* memory, std::size_t size) noexcept { frame_pool::release(memory, size); }

  // `function` is the place of the coroutine itself: all that is known of one that never runs.
  std::suspend_always initial_suspend(
      std::source_location function = std::source_location::current()) noexcept {
    this->site = function;
    return {};
  }
  final_awaiter final_suspend() noexcept {
    this->body_ended = true;
    return {};
  }
  void unhandled_exception() noexcept { this->result->set_failed(record_current_exception()); }

  template <class T>
  task_awaiter<T> await_transform(task<T>&& child,
                                  std::source_location here = std::source_location::current()) noexcept;

  template <class T>
  void await_transform(task<T>& child) = delete;  // a task is awaited once: co_await std::move(t)

  template <belay_awaiter A>
  A&& await_transform(A&& awaiter, std::source_location here = std::source_location::current()) noexcept {
    this->site = here;
    return static_cast<A&&>(awaiter);
  }

  template <has_belay_awaiter A>
  auto await_transform(A&& awaitable, std::source_location here = std::source_location::current()) {
    this->site = here;
    return std::forward<A>(awaitable).belay_await();
  }
};

using promise_base = basic_promise<frame>;

template <class T>
struct task_promise : promise_base {
  using value_type = T;
  task<T> get_return_object() noexcept;

  // Also when a local's destructor throws after co_return.
  void unhandled_exception() noexcept {
    static_cast<outcome<T>*>(result)->drop_value();
    promise_base::unhandled_exception();
  }

  template <class U = T>
    requires std::constructible_from<unit_if_void<T>, U&&>
  void return_value(U&& value) {
    static_cast<outcome<T>*>(result)->emplace(std::forward<U>(value));
  }
};

template <class T>
struct task_promise<T&> : promise_base {
  using value_type = T&;
  task<T&> get_return_object() noexcept;
  void return_value(T& value) { static_cast<outcome<T&>*>(result)->emplace(&value); }
};

template <>
struct task_promise<void> : promise_base {
  using value_type = void;
  task<void> get_return_object() noexcept;
  void return_void() noexcept { static_cast<outcome<void>*>(result)->emplace(); }
};

}  // namespace detail

/// An asynchronous computation that gives a `T` (or void, a reference, a move-only value).
///
/// It is lazy: nothing runs before it is awaited (`co_await f()`, `co_await std::move(t)`) or given to an owner (`spawn`,
/// `all`, `run` …). Dropping one that was never started destroys its arguments, runs no code of it, and is
/// told as a diagnostic (`diagnostic.hpp`), because it is mostly a forgotten `co_await`. On purpose: `discard(std::move(t))`.
///
/// Result:        `co_await` gives the value.
/// Errors:        what the body throws, the same object, at the `co_await`.
/// Cancellation:  the body is unwound at the await where it waits: its resources of `use` are closed, its locals are destroyed, then
///                those of the awaiting frames. No code after that `co_await` runs, and no `catch` sees it.
/// Lifetime:      parameters are kept in the frame; what reference parameters refer to must outlive the task. A lambda
///                with captures must outlive the coroutines it makes: give it to `spawn`/`with_group`/… which keep it.
/// Thread:        runs on the thread of its loop, from start to end.
template <class T>
class [[nodiscard("a task does nothing until it is awaited or spawned")]] BELAY_CORO_TYPE task {
 public:
  using promise_type = detail::task_promise<T>;
  using value_type = T;

  task(task&& other) noexcept : handle_(std::exchange(other.handle_, nullptr)) {}
  task& operator=(task&& other) noexcept {
    if (this != &other) {
      drop();
      handle_ = std::exchange(other.handle_, nullptr);
    }
    return *this;
  }
  ~task() { drop(); }

  /// False once it was awaited, spawned or moved from.
  [[nodiscard]] bool valid() const noexcept { return static_cast<bool>(handle_); }

 private:
  friend promise_type;
  friend detail::task_access;
  explicit task(std::coroutine_handle<promise_type> handle) noexcept : handle_(handle) {}
  void drop() noexcept {
    if (handle_) [[unlikely]]
      detail::drop_unstarted(handle_.promise());
  }

  std::coroutine_handle<promise_type> handle_;
};

namespace detail {

// Using a task twice is a bug that cannot be reported as an error of the task: it ends the process, with a message.
[[noreturn]] void abort_on_empty_task(std::source_location here) noexcept;

struct task_access {
  // Gives the frame up to the caller, who must run it to its end or destroy it.
  template <class T>
  static frame& release(task<T>& from) noexcept {
    if (!from.valid()) [[unlikely]]
      abort_on_empty_task(std::source_location());
    return std::exchange(from.handle_, nullptr).promise();
  }
};

// Calls what returns a task. (std::invoke and std::apply cannot: clang wants every function that returns a task without being a
// coroutine to say so.)
template <class M, class O, class... A>
BELAY_CORO_WRAPPER auto call_member(M member, O&& object, A&&... args) -> std::invoke_result_t<M, O, A...> {
  if constexpr (std::is_pointer_v<std::remove_cvref_t<O>>) {
    return (object->*member)(std::forward<A>(args)...);
  } else {
    return (std::forward<O>(object).*member)(std::forward<A>(args)...);
  }
}
template <class F, class... A>
BELAY_CORO_WRAPPER auto call(F& fn, A&&... args) -> std::invoke_result_t<F&, A...> {
  if constexpr (std::is_member_pointer_v<F>) {
    return call_member(fn, std::forward<A>(args)...);
  } else {
    return fn(std::forward<A>(args)...);
  }
}

// How arguments that are kept for a call are handed over: as lvalues, so that reference parameters refer to what is kept.
// Where that does not fit, moved (once): parameters that take a move-only argument by value.
template <class F, class... A>
inline constexpr bool takes_lvalues = std::is_invocable_v<F&, A&...>;
template <class F, class... A>
struct kept_call : std::conditional_t<takes_lvalues<F, A...>, std::invoke_result<F&, A&...>,
                                      std::invoke_result<F&, A...>> {};

template <class T>
task<T> task_promise<T>::get_return_object() noexcept {
  auto made = std::coroutine_handle<task_promise>::from_promise(*this);
  handle = made;
  return task<T>(made);
}
template <class T>
task<T&> task_promise<T&>::get_return_object() noexcept {
  auto made = std::coroutine_handle<task_promise>::from_promise(*this);
  handle = made;
  return task<T&>(made);
}
inline task<void> task_promise<void>::get_return_object() noexcept {
  auto made = std::coroutine_handle<task_promise>::from_promise(*this);
  handle = made;
  return task<void>(made);
}

template <class Frame>
template <class T>
task_awaiter<T> basic_promise<Frame>::await_transform(task<T>&& child, std::source_location here) noexcept {
  this->site = here;
  if (!child.valid()) [[unlikely]]
    abort_on_empty_task(here);
  frame& started = task_access::release(child);
  return task_awaiter<T>(started);
}

// co_await run_as(child, how [, scope]): the outcome instead of the value. With a scope, the child runs inside it.
template <class T, delivery How>
class outcome_awaiter {
 public:
  using belay_awaiter_tag = void;
  explicit outcome_awaiter(task<T>&& child, scope* inside = nullptr) noexcept
      : child_(&task_access::release(child)), inside_(inside) {}
  outcome_awaiter(const outcome_awaiter&) = delete;
  outcome_awaiter& operator=(const outcome_awaiter&) = delete;
  ~outcome_awaiter() {
    if (child_ != nullptr) drop_unstarted(*child_);  // never awaited
  }

  [[nodiscard]] bool await_ready() const noexcept { return false; }
  template <class Promise>
  bool await_suspend(std::coroutine_handle<Promise> parent) noexcept {
    if (inside_ != nullptr) {
      node& task = *this_runtime->current;
      inside_->owner = &task;
      inside_->attach_to(task.current);
      task.current = inside_;
    }
    return await_frame(parent.promise(), *std::exchange(child_, nullptr), result_, How);
  }
  // A value whose move throws has become an error of the child: whoever waits has others to wait for, or something to close.
  outcome<T> await_resume() noexcept {
    if (inside_ != nullptr) {
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
  frame* child_;
  scope* inside_;
  outcome<T> result_;
};

template <class T>
auto intercept(task<T>&& child) noexcept {
  return outcome_awaiter<T, delivery::intercept>(std::move(child));
}
template <class T>
auto intercept_in(scope& inside, task<T>&& child) noexcept {
  return outcome_awaiter<T, delivery::intercept>(std::move(child), &inside);
}

// Ends the awaiting frame with the failure or cancellation of `from`, without a throw. Never resumes.
class end_frame_awaiter {
 public:
  using belay_awaiter_tag = void;
  explicit end_frame_awaiter(outcome_base& from) noexcept : from_(&from) {}
  [[nodiscard]] bool await_ready() const noexcept { return false; }
  template <class Promise>
  void await_suspend(std::coroutine_handle<Promise> ending_frame) noexcept {
    frame& f = ending_frame.promise();
    f.result->take_trouble(*from_);
    this_runtime->next(step::settle, f);
  }
  void await_resume() const noexcept {}

 private:
  outcome_base* from_;
};

// Gives the place where the running coroutine is awaited, or was spawned, without suspending it. For combinators that take
// a pack of arguments, after which there is no room for a defaulted source_location.
class caller_site_awaiter {
 public:
  using belay_awaiter_tag = void;
  [[nodiscard]] bool await_ready() const noexcept { return false; }
  template <class Promise>
  bool await_suspend(std::coroutine_handle<Promise> asking) noexcept {
    const frame* awaiter = asking.promise().parent;
    found_ = awaiter != nullptr ? awaiter->site : this_runtime->current->spawned_at();
    return false;
  }
  [[nodiscard]] std::source_location await_resume() const noexcept { return found_; }

 private:
  std::source_location found_;
};

[[nodiscard]] inline end_frame_awaiter end_with(outcome_base& trouble) noexcept {
  return end_frame_awaiter(trouble);
}

}  // namespace detail

/// Destroys a task that is not wanted after all: what was given to it goes, nothing of it runs, and nobody is told. Empty: does nothing.
template <class T>
void discard(task<T> unwanted) noexcept {
  if (unwanted.valid()) detail::destroy_quietly(detail::task_access::release(unwanted));
}

/// Awaits `op` and gives how it ended, without throwing. An enclosing cancellation passes through: it cannot be caught.
template <class T>
[[nodiscard]] auto as_outcome(task<T> op) noexcept {
  return detail::outcome_awaiter<T, detail::delivery::inspect>(std::move(op));
}

namespace detail {

template <class T>
class forward_awaiter {
 public:
  using belay_awaiter_tag = void;
  explicit forward_awaiter(frame& child) noexcept : child_(&child) {}
  forward_awaiter(const forward_awaiter&) = delete;
  forward_awaiter& operator=(const forward_awaiter&) = delete;
  ~forward_awaiter() {
    if (child_ != nullptr) drop_unstarted(*child_);  // never awaited
  }
  [[nodiscard]] bool await_ready() const noexcept { return false; }
  template <class Promise>
  [[gnu::always_inline]] bool await_suspend(std::coroutine_handle<Promise> parent) noexcept {
    return await_frame(parent.promise(), *std::exchange(child_, nullptr), result_, delivery::forward);
  }
  T await_resume() {
    if constexpr (!std::is_void_v<T>) return result_.take();
  }

 private:
  frame* child_;
  outcome<T> result_;
};

class fail_awaiter {
 public:
  using belay_awaiter_tag = void;
  explicit fail_awaiter(failure what) noexcept : what_(std::move(what)) {}
  [[nodiscard]] bool await_ready() const noexcept { return false; }
  template <class Promise>
  void await_suspend(std::coroutine_handle<Promise> failing) noexcept {
    unwind_failed(*this_runtime, failing.promise(), what_.take_record());
  }
  void await_resume() const noexcept {}

 private:
  failure what_;
};

}  // namespace detail

/// Awaits `op`; an error of `op` ends the awaiting task with the same error, without a C++ throw.
template <class T>
[[nodiscard]] auto or_fail(task<T> op) noexcept {
  return detail::forward_awaiter<T>(detail::task_access::release(op));
}

/// Ends the awaiting task with `what`, without a C++ throw: locals are destroyed, cleanup runs, nothing after it.
template <class E>
[[nodiscard]] auto fail(E what) {
  if constexpr (std::same_as<E, failure>) {
    return detail::fail_awaiter(std::move(what));
  } else {
    return detail::fail_awaiter(failure::of(std::make_exception_ptr(std::move(what))));
  }
}

}  // namespace belay
