// SPDX-License-Identifier: Apache-2.0
#pragma once
// From one loop to another, and from threads into a loop: run a task there, and have its end here.

#include <belay/core/detail/remote_call.hpp>
#include <belay/core/loop.hpp>
#include <belay/core/stopped.hpp>
#include <belay/core/task.hpp>
#include <chrono>
#include <concepts>
#include <functional>
#include <memory>
#include <source_location>
#include <stop_token>
#include <type_traits>
#include <utility>

namespace belay {

/// Runs `fn(args...)`, which returns a task, on another loop, and waits for its end.
///
///     const user found = co_await on_loop(*loops[id % loops.size()], look_up, id);
///
/// Result:        that of the task, moved over. Arguments are copied (moved) into the call; `std::ref` works, because the caller waits,
///                but both loops see the object then.
/// Errors:        what the task throws, the same object, with its trace. `loop_closed_error` when that loop does not run (any more).
///                `child_cancelled` when it ends, and cancels the task, before it has finished.
/// Cancellation:  is sent over: the task there is cancelled, cleaned up, and waited for. If it finishes nevertheless, its value or error
///                is delivered. Not begun over there: it does not run.
/// Lifetime:      the other loop must live until this returns. A loop that ends cancels the tasks that others have in it, waits for their
///                cleanup, and answers.
/// Thread:        `fn` is called, and its task runs, on the thread of the other loop; task_locals are the caller's. On the own loop it is
///                an ordinary await.
template <class F, class... A>
[[nodiscard]] auto on_loop(loop& other, F fn, A... args)
    -> task<typename detail::kept_call<F, std::unwrap_ref_decay_t<A>...>::type::value_type> {
  using value = typename detail::kept_call<F, std::unwrap_ref_decay_t<A>...>::type::value_type;
  using made = detail::task_call<value, F, std::unwrap_ref_decay_t<A>...>;
  const std::source_location where = co_await detail::caller_site_awaiter();
  made call(other, where, std::move(fn), std::move(args)...);
  outcome<value>& how = call.how();
  if (&other == loop::current()) {
    how = co_await detail::intercept(call.begin());
    detail::refresh_cancellation(how);
  } else {
    co_await call.answered();
    if (how.cancelled()) co_await fail(child_cancelled("on_loop: " + describe(how.cancellation()), where));
  }
  if (!how.succeeded()) co_await detail::end_with(how);
  if constexpr (!std::is_void_v<value>) co_return how.get_forward();
}

/// A task that was started in a loop by a thread from outside: its future. Move-only.
///
/// Lifetime: as std::jthread: the destructor, or a move into the handle, cancels the task and waits for its end, so that what it refers to
///           may be the thread's. (On the loop's own thread, where waiting would never end, it cancels and leaves.)
/// Thread:   a handle is for one thread at a time, and is waited for on one that runs no loop. What another thread shall be able to stop
///           while this one is in `get`, listens to more than the handle: to an event that is set by `loop::post`, say.
template <class T>
class [[nodiscard("when the handle goes, the task is cancelled")]] remote_child {
 public:
  remote_child() noexcept = default;
  remote_child(remote_child&&) noexcept = default;
  remote_child& operator=(remote_child&& other) noexcept {
    remote_child before(std::move(other));
    std::swap(call_, before.call_);
    std::swap(stop_, before.stop_);
    return *this;
  }
  ~remote_child() {
    if (call_ == nullptr) return;
    if (call_->done()) {
      tell_lost();
      return;
    }
    call_->stop(cancel_record::make(cancel_reason::caller, "remote_child", std::source_location::current()));
    if (loop::current() != &call_->home()) {
      call_->wait();
      tell_lost();
    } else {
      call_->leave();
      static_cast<void>(call_.release());  // goes with its task
    }
  }

  [[nodiscard]] bool valid() const noexcept { return call_ != nullptr; }
  [[nodiscard]] bool done() const noexcept { return call_ == nullptr || call_->done(); }

  /// Waits for the end of the task; false when `limit` (real time) has passed before.
  /// Errors: `misuse_error` on the thread of a loop, whose tasks could not go on.
  bool wait_for(duration limit, std::source_location where = std::source_location::current()) {
    require_other_thread("remote_child::wait_for", where);
    const duration bounded = std::min<duration>(limit, std::chrono::years(1));
    return call_->wait_until(std::chrono::steady_clock::now() + bounded);
  }
  /// Waits for the end of the task, and gives its value, once.
  /// Errors: what the task throws, the same object; `child_cancelled` if it was cancelled; `misuse_error` on the thread of a loop, and for
  /// a handle without a task (moved from, or asked before).
  /// Cancellation: of a call of `to_thread` that started the task: when its stop token is asked, the task that is waited for here is
  /// cancelled, and this throws `stopped` when it has been. So what cancels the caller (a limit, SIGTERM) goes to the task and comes
  /// back, across the thread between. A task that is started when the token had been asked is left to finish.
  unit_if_void<T> get(std::source_location where = std::source_location::current()) {
    require_other_thread("remote_child::get", where);
    const bool stopping = wait_or_stop();
    const std::unique_ptr<detail::thread_side<T>> ended = std::move(call_);
    if (stopping && ended->end().cancelled()) throw stopped();
    return std::move(ended->end()).value(where);
  }
  /// Asks the task to stop. Idempotent; does not wait.
  void cancel(cancel_reason reason = cancel_reason::caller,
              std::source_location where = std::source_location::current()) noexcept {
    if (!done()) call_->stop(cancel_record::make(reason, "remote_child::cancel", where));
  }

  // `stop`: what asks it to stop, while somebody waits for it.
  remote_child(std::unique_ptr<detail::thread_side<T>> call, std::stop_token stop) noexcept
      : call_(std::move(call)), stop_(std::move(stop)) {}

 private:
  void require_other_thread(const char* call, std::source_location where) const {
    if (call_ == nullptr) detail::throw_misuse_no_answer(where);
    if (loop::current() == &call_->home()) detail::throw_misuse_own_loop(call, where);
    if (loop::current() != nullptr) detail::throw_misuse_waits_on_loop(call, where);
  }
  // True: it was asked to stop meanwhile, because its caller was.
  [[nodiscard]] bool wait_or_stop() noexcept {
    if (!stop_.stop_possible()) {
      call_->wait();
      return false;
    }
    bool passed_on = false;
    const auto pass_on = [this, &passed_on]() noexcept {
      passed_on = true;
      call_->stop(cancel_record::make(cancel_reason::caller, "to_thread (stop token)",
                                      std::source_location::current()));
    };
    {
      const std::stop_callback with_the_caller(stop_, pass_on);
      call_->wait();
    }
    return passed_on;
  }
  // It has ended. An error that nobody asked for goes to the sink of its loop.
  void tell_lost() noexcept {
    if (call_->end().failed()) detail::report_lost_at(call_->home(), call_->end().failed_with());
  }
  std::unique_ptr<detail::thread_side<T>> call_;
  std::stop_token stop_;
};

/// Starts `fn(args...)`, which returns a task, in a loop that runs on another thread (asyncio.run_coroutine_threadsafe).
///
/// Result:        a handle, to wait for the end, to cancel, or both.
/// Errors:        `loop_closed_error` when the loop does not run (any more); `misuse_error` on its own thread, where a group's `spawn` is
///                what you want. An error that nobody asks for by `get` is reported as lost, to the sink of the loop.
/// Lifetime:      the loop must live until the handle has gone. Its `run` ends only after the task, which it cancels at its end.
/// Thread:        any but the loop's.
template <class F, class... A>
auto spawn_on(loop& other, F fn, A... args)
    -> remote_child<typename detail::kept_call<F, std::unwrap_ref_decay_t<A>...>::type::value_type> {
  using value = typename detail::kept_call<F, std::unwrap_ref_decay_t<A>...>::type::value_type;
  using made = detail::thread_remote_call<value, F, std::unwrap_ref_decay_t<A>...>;
  if (&other == loop::current()) detail::throw_misuse_own_loop("spawn_on", std::source_location());
  auto call = std::make_unique<made>(other, std::source_location(), std::move(fn), std::move(args)...);
  // Asked already: whoever starts a task nevertheless has something to finish.
  std::stop_token stop = detail::stop_of_this_thread();
  if (stop.stop_requested()) stop = {};
  if (!call->start()) detail::loop_closed("spawn_on", std::source_location()).rethrow();
  return remote_child<value>(std::move(call), std::move(stop));
}

}  // namespace belay
