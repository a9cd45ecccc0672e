// SPDX-License-Identifier: Apache-2.0
#pragma once
// Around any task: its error is logged once, alerted on once, and then passed on, replaced, or answered by a default.

#include <belay/core/task.hpp>
#include <belay/errors/detail/telling.hpp>
#include <exception>
#include <memory>
#include <source_location>
#include <type_traits>
#include <utility>

namespace belay {

/// Tells an observer of the errors that pass (guard_options: what is being done, context, from which severity on to alert).
///
///     guard loading(to_log_and_pager, {.operation = "load user", .context = {{"request", id}}});
///     user u = co_await loading(fetch_user(7));                                   // told, then passed on
///     user v = co_await loading.map(fetch_user(7), [](const failure&) { return user_not_found("there is no user 7"); });
///     int  n = co_await loading.or_value(count_users(), 0);                       // told, then 0
///
/// *Once.* An error that crosses five layers with a guard each gives one record and one alert. The failure record is marked, so it does
/// not matter whether it was rethrown, kept as a `failure`, or came through a group. An error that replaced a told one (its cause, or
/// `map`) is not told again either, and neither is what was attached when it was told; unless that made it worse: a
/// `not_found` that is turned into an `internal` is recorded again. An error that arises while another is handled (by an
/// `error_router`) is new. What is attached later (a second task of the group) is told by the next guard outside. Kept as a bare
/// `std::exception_ptr` across an await an error loses its mark, and all of its story: see `current_failure`.
///
/// Telling is not handling, whatever the observer looks at: an error that nobody handles still goes to the failure sink, which can ask
/// `recorded`; so does what is attached to it.
///
/// Lifetime: the observer outlives the guard and its tasks; the guard itself need not outlive them. Thread: of the loop.
class guard {
 public:
  explicit guard(error_observer& to, guard_options options = {},
                 std::source_location where = std::source_location::current())
      : state_(std::make_shared<const detail::guard_state>(
            detail::guard_state{&to, std::move(options), where})) {}

  /// Result:        that of `op`.
  /// Errors:        those of `op`, the same object.
  /// Cancellation:  passes; nothing is told.
  template <class T>
  [[nodiscard]] BELAY_CORO_WRAPPER task<T> operator()(task<T> op) const {
    return pass_on(state_, std::move(op));
  }

  /// `to(const failure&)` makes the error that goes on: an exception object of any type, a `std::exception_ptr`, or a `failure` (nothing,
  /// or the given one: it is passed on).
  ///
  /// Result:        that of `op`.
  /// Errors:        what `to` made, with the error of `op` as its cause, or attached if it is no `belay::error`. If `to` throws, that.
  /// Cancellation:  passes; nothing is told.
  template <class T, class F>
  [[nodiscard]] BELAY_CORO_WRAPPER task<T> map(task<T> op, F to) const {
    return replace(state_, std::move(op), std::move(to));
  }

  /// Result:        that of `op`; `otherwise` when it failed.
  /// Errors:        fatal ones (`is_fatal`, also attached) only: they are passed on.
  /// Cancellation:  passes; it is no error, and gives no default. Nor does the error of a cleanup after it: that is told, and passed on.
  template <class T>
    requires(!std::is_void_v<T>)
  [[nodiscard]] BELAY_CORO_WRAPPER task<T> or_value(task<T> op, std::type_identity_t<T> otherwise) const {
    return answer<T>(state_, std::move(op), static_cast<T&&>(otherwise));
  }
  /// The same for what gives nothing: the error ends here.
  [[nodiscard]] BELAY_CORO_WRAPPER task<> or_nothing(task<> op) const {
    return end_here(state_, std::move(op));
  }

  /// For a failure in hand: tells, as if it passed. It counts as observed, with what is attached to it.
  void tell(const failure& what) const noexcept {
    if (!what) return;
    detail::tell(*state_, what);
    detail::observe_all(what);
  }

 private:
  using state = std::shared_ptr<const detail::guard_state>;

  template <class T>
  static task<T> pass_on(state here, task<T> op) {
    outcome<T> how = co_await as_outcome(std::move(op));
    if (!how.succeeded()) [[unlikely]] {
      detail::tell(*here, how.failed_with());
      co_await detail::end_with(how);
    }
    if constexpr (!std::is_void_v<T>) co_return how.get_forward();
  }
  template <class T, class F>
  static task<T> replace(state here, task<T> op, F to) {
    outcome<T> how = co_await as_outcome(std::move(op));
    if (!how.succeeded()) [[unlikely]] {
      const failure what = how.failed_with();
      detail::tell(*here, what);
      failure made = detail::translate(what, [&]() -> failure {
        auto next = to(what);
        if constexpr (std::is_same_v<decltype(next), failure>) {
          return next;
        } else if constexpr (std::is_same_v<decltype(next), std::exception_ptr>) {
          return failure::of(std::move(next));
        } else {
          return failure::of(std::make_exception_ptr(std::move(next)));
        }
      });
      co_await fail(std::move(made));
    }
    if constexpr (!std::is_void_v<T>) co_return how.get_forward();
  }
  template <class T>
  static task<T> answer(state here, task<T> op, T otherwise) {
    outcome<T> how = co_await as_outcome(std::move(op));
    if (how.succeeded()) [[likely]]
      co_return how.get_forward();
    if (!detail::tell_and_end(*here, how.failed_with())) co_await detail::end_with(how);
    co_return static_cast<T&&>(otherwise);
  }
  static task<> end_here(state here, task<> op) {
    outcome<void> how = co_await as_outcome(std::move(op));
    if (how.failed() && !detail::tell_and_end(*here, how.failed_with())) co_await detail::end_with(how);
  }

  state state_;
};

/// A guard has recorded it, or what it replaced. For failure sinks: such a failure is in the log already.
[[nodiscard]] bool recorded(const failure& what);

}  // namespace belay
