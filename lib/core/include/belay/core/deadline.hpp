// SPDX-License-Identifier: Apache-2.0
#pragma once
// A limit that can be moved while it runs (asyncio.timeout().reschedule).

#include <belay/core/detail/cleanup.hpp>
#include <belay/core/detail/deadline_scope.hpp>
#include <belay/core/task.hpp>
#include <optional>
#include <source_location>
#include <type_traits>
#include <utility>

namespace belay {

class deadline;

namespace detail {
class deadline_use;
}

/// The limit of one `with_deadline`, to be moved by whoever has it: by the operation that makes progress, or by another task.
///
///     deadline idle(30s);
///     co_await with_deadline(idle, copy(from, to, [&] { idle.restart(); }));   // 30 s without progress end it
///
/// Lifetime: used once, then it tells how that ended. Must outlive its `with_deadline`.
/// Errors:   moving it before it has begun or after it has ended, or on another thread, is a `misuse_error`; it is unharmed.
/// Thread:   the loop's only.
class deadline {
 public:
  /// `limit` counts from the `co_await`. Zero or less: the operation does not start. `duration::max()`: no limit, until it is moved.
  explicit deadline(any_duration limit) noexcept : limit_(limit) {}
  deadline(const deadline&) = delete;
  deadline& operator=(const deadline&) = delete;
  ~deadline();

  /// Sets the point in time; one that has passed acts at the operation's next await. False: it had expired already, and stays so.
  bool move_to(time_point when, std::source_location where = std::source_location::current());
  /// Later by `length` than now set (earlier, if it is less than zero). Where there is no limit, there is none afterwards.
  bool extend(any_duration length, std::source_location where = std::source_location::current());
  /// The whole limit once more, counted from now.
  bool restart(std::source_location where = std::source_location::current());
  /// No limit any more.
  bool remove(std::source_location where = std::source_location::current());

  /// The point in time at which it acts, or acted; `time_point::max()`: there is none, or it has not begun.
  [[nodiscard]] time_point when() const noexcept { return when_; }
  /// It has acted on the operation; also afterwards.
  [[nodiscard]] bool expired() const noexcept;
  /// The operation is under way.
  [[nodiscard]] bool running() const noexcept { return bounds_ != nullptr; }

 private:
  friend detail::deadline_use;
  bool set(time_point when, const char* call, std::source_location where);
  void require_running(const char* call, std::source_location where) const;

  const duration limit_;
  detail::deadline_use* bounds_ = nullptr;  // while it runs
  detail::runtime* home_ = nullptr;
  time_point started_;
  time_point when_ = time_point::max();
  bool used_ = false;
  bool expired_ = false;
};

namespace detail {

// The one use of a deadline: runs from its construction to its end.
class deadline_use final : public deadline_scope {
 public:
  deadline_use(belay::deadline& of, std::source_location where);
  deadline_use(const deadline_use&) = delete;
  deadline_use& operator=(const deadline_use&) = delete;
  ~deadline_use() { end(); }
  void end() noexcept;

 private:
  belay::deadline* of_;
};

template <class T>
struct given_task {
  task<T> op;
  BELAY_CORO_WRAPPER task<T> operator()(deadline&) { return std::move(op); }
};

// Makes and runs an operation under `lent`, or under a deadline of its own.
template <class F>
auto run_under(deadline* lent, duration limit, F make, std::source_location where)
    -> std::invoke_result_t<F&, deadline&> {
  using result = typename std::invoke_result_t<F&, deadline&>::value_type;
  std::optional<deadline> own;
  if (lent == nullptr) lent = &own.emplace(limit);
  deadline_use bounds(*lent, where);
  if (bounds.expired_on_entry()) co_await fail(timeout_error(bounds.message(), where));
  outcome<result> how = co_await intercept_in(bounds, call_as_task(make, *lent));
  bounds.end();
  if (how.succeeded()) [[likely]] {
    if constexpr (std::is_void_v<result>) {
      co_return;
    } else {
      co_return how.get_forward();
    }
  }
  if (how.cancelled() && bounds.absorbs()) co_await fail(timeout_error(bounds.message(), where));
  if (how.failed() && bounds.requested) how.failed_with().note("while being cancelled: " + bounds.message());
  refresh_cancellation(how);
  co_await end_with(how);
  __builtin_unreachable();
}

}  // namespace detail

/// Runs `op`, cancelling it once `limit` has passed, wherever that has been moved to meanwhile.
///
/// Result, Errors, Cancellation, Time: as `with_timeout`. `misuse_error` for a deadline that was used before; the other use is not
///                touched.
template <class T>
[[nodiscard]] BELAY_CORO_WRAPPER task<T> with_deadline(
    deadline& limit, task<T> op, std::source_location where = std::source_location::current()) {
  return detail::run_under(&limit, duration(), detail::given_task<T>{std::move(op)}, where);
}

/// Runs `body(deadline&)` under a limit of its own, which the body may move.
///
/// Result, Errors, Cancellation, Time: as above. Zero or less: `body` is not called.
/// Lifetime:      `body` is kept until the end; the deadline is gone then.
template <class F>
[[nodiscard]] BELAY_CORO_WRAPPER auto with_deadline(
    any_duration limit, F body, std::source_location where = std::source_location::current())
    -> std::invoke_result_t<F&, deadline&> {
  return detail::run_under(nullptr, limit, std::move(body), where);
}

}  // namespace belay
