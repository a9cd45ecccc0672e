// SPDX-License-Identifier: Apache-2.0
#pragma once
// Bounds how long one operation may take.

#include <belay/core/detail/deadline_scope.hpp>
#include <belay/core/task.hpp>
#include <optional>
#include <source_location>

namespace belay {

/// A limit with a name, which then stands in the error and in the record of the cancellation: "set by scope 'dashboard' at x.cpp:41".
struct timeout_options {
  any_duration limit = duration::zero();
  /// A literal, or text that lives until the call has ended; empty: the name of the function.
  const char* name = "";
};

/// Runs `op`, cancelling it once `limit` has passed.
///
/// Result:        that of `op`. Finished work is never thrown away: if `op` completes although the limit has passed, its
///                result wins.
/// Errors:        `timeout_error` at the limit; it names this call (or `options.name`), the limit and the await that was waiting. What `op`
///                throws passes through unchanged, also from its cleanup while it is being cancelled. `misuse_error` at the call for a
///                limit that is not a number.
/// Cancellation:  cancelling the caller cancels `op`, waits for its cleanup, and is never reported as `timeout_error`.
///                Nested limits that are due together: the outermost acts.
/// Time:          on the loop's clock, from the `co_await`. `op` is always waited for, so cleanup makes this late.
///                Zero or less: `op` does not start. `duration::max()`: no limit. (A limit that is moved while it runs: deadline.hpp.)
template <class T>
[[nodiscard]] task<T> with_timeout(timeout_options options, task<T> op,
                                   std::source_location where = std::source_location::current()) {
  detail::deadline_scope bounds("with_timeout", options.limit, where, options.name);
  if (bounds.expired_on_entry()) co_await fail(timeout_error(bounds.message(), where));
  bounds.arm();
  outcome<T> how = co_await detail::intercept_in(bounds, std::move(op));
  bounds.disarm();
  if (how.succeeded()) [[likely]] {
    if constexpr (std::is_void_v<T>) {
      co_return;
    } else {
      co_return how.get_forward();
    }
  }
  if (how.cancelled() && bounds.absorbs()) co_await fail(timeout_error(bounds.message(), where));
  if (how.failed() && bounds.requested) how.failed_with().note("while being cancelled: " + bounds.message());
  detail::refresh_cancellation(how);
  co_await detail::end_with(how);
  __builtin_unreachable();
}
template <class T>
[[nodiscard]] BELAY_CORO_WRAPPER task<T> with_timeout(
    any_duration limit, task<T> op, std::source_location where = std::source_location::current()) {
  return with_timeout(timeout_options{.limit = limit}, std::move(op), where);
}

/// Runs `op`, cancelling it once `limit` has passed; then gives nothing instead of an error.
///
/// Result:        the value of `op` (`unit` for void, `std::reference_wrapper` for a reference), or `nullopt` when the limit cut it short.
/// Errors, Cancellation, Time: as `with_timeout`.
template <class T>
[[nodiscard]] task<std::optional<held<T>>> move_on_after(
    timeout_options options, task<T> op, std::source_location where = std::source_location::current()) {
  detail::deadline_scope bounds("move_on_after", options.limit, where, options.name);
  if (bounds.expired_on_entry()) {
    discard(std::move(op));
    co_return std::nullopt;
  }
  bounds.arm();
  outcome<T> how = co_await detail::intercept_in(bounds, std::move(op));
  bounds.disarm();
  if (how.succeeded()) [[likely]]
    co_return std::optional<held<T>>(how.take());
  if (how.cancelled() && bounds.absorbs()) co_return std::nullopt;
  if (how.failed() && bounds.requested) how.failed_with().note("while being cancelled: " + bounds.message());
  detail::refresh_cancellation(how);
  co_await detail::end_with(how);
  __builtin_unreachable();
}

template <class T>
[[nodiscard]] BELAY_CORO_WRAPPER task<std::optional<held<T>>> move_on_after(
    any_duration limit, task<T> op, std::source_location where = std::source_location::current()) {
  return move_on_after(timeout_options{.limit = limit}, std::move(op), where);
}

/// Runs `op` protected from cancellation from outside, for at most `limit`.
///
/// Result:        that of `op`.
/// Errors:        `timeout_error` once `limit` has passed and `op` was cancelled; what `op` throws.
/// Cancellation:  does not reach `op`; it acts at the caller's next await after this one.
/// Time:          as `with_timeout`.
template <class T>
[[nodiscard]] task<T> shielded(timeout_options options, task<T> op,
                               std::source_location where = std::source_location::current()) {
  detail::deadline_scope bounds("shielded", options.limit, where, options.name);
  bounds.shielded = true;
  if (bounds.expired_on_entry()) co_await fail(timeout_error(bounds.message(), where));
  bounds.arm();
  outcome<T> how = co_await detail::intercept_in(bounds, std::move(op));
  bounds.disarm();
  if (how.succeeded()) [[likely]] {
    if constexpr (std::is_void_v<T>) {
      co_return;
    } else {
      co_return how.get_forward();
    }
  }
  if (how.cancelled()) co_await fail(timeout_error(bounds.message(), where));
  co_await detail::end_with(how);
  __builtin_unreachable();
}

template <class T>
[[nodiscard]] BELAY_CORO_WRAPPER task<T> shielded(
    any_duration limit, task<T> op, std::source_location where = std::source_location::current()) {
  return shielded(timeout_options{.limit = limit}, std::move(op), where);
}

/// The point in time at which the innermost limits act on this task: the earliest of the enclosing ones up to the nearest shield;
/// `time_point::min()` when it is cancelled already, `max()` without a limit. To be passed on to other services.
[[nodiscard]] time_point current_deadline() noexcept;

}  // namespace belay
