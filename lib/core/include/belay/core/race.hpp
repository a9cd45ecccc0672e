// SPDX-License-Identifier: Apache-2.0
#pragma once
// Several operations at the same time, of which one is wanted: the first to end, or the first to succeed.

#include <belay/core/detail/gathering.hpp>
#include <belay/core/task.hpp>
#include <utility>
#include <vector>

namespace belay {

/// None of the tasks given to `any` succeeded. What each of them failed with is attached, in the order of the arguments.
/// Its kind is theirs if it is the same for all, otherwise `unavailable`.
class none_succeeded_error : public error {
 public:
  none_succeeded_error(error_kind kind, std::string message,
                       std::source_location where = std::source_location::current())
      : error(kind, "none_succeeded", std::move(message), where) {}
};

/// What `race` and `any` give: the type of the results if it is the same for all; otherwise a `std::variant` of them (of
/// `held<T>`: void as `unit`, references as `std::reference_wrapper`), whose `index()` is the position of the winner.
template <class... T>
using winner_of = typename detail::contest_result<T...>::type;

/// Runs the tasks concurrently. The first to end decides, with a value or an error; the others are cancelled.
///
/// Result:        the value of the first to end (see `winner_of`; `race_indexed` tells which it was). The values of others that finish
///                nevertheless are destroyed. Of several that end in the same turn of the loop, the one that ended first.
/// Errors:        of the first to end, bare; those of the others are attached to it. Beside a value, an error of another (in its cleanup)
///                is reported to the sink. `misuse_error` for an empty vector.
/// Cancellation:  cancels all of them and waits for their cleanup. One that ends with a value or an error nevertheless wins.
/// Time:          ends only after all have ended: the cleanup of the others makes this late.
template <class... T>
  requires(sizeof...(T) > 0)
[[nodiscard]] BELAY_CORO_WRAPPER task<winner_of<T...>> race(task<T>... tasks) {
  return detail::compete<detail::contest_rule::first_to_end, winner_of<T...>>(std::move(tasks)...);
}
template <class T>
[[nodiscard]] BELAY_CORO_WRAPPER task<T> race(std::vector<task<T>> tasks) {
  return detail::compete_many<detail::contest_rule::first_to_end, T>(std::move(tasks));
}

/// As `race`, and tells which of the tasks it was.
template <class T>
[[nodiscard]] BELAY_CORO_WRAPPER task<indexed<T>> race_indexed(std::vector<task<T>> tasks) {
  return detail::compete_many<detail::contest_rule::first_to_end, indexed<T>>(std::move(tasks));
}

/// Runs the tasks concurrently. The first to succeed decides; the others are cancelled.
///
/// Result:        the value of the first to succeed (see `winner_of`; `any_indexed` tells which it was). What failed before counts as
///                handled. The values of others that finish nevertheless are destroyed.
/// Errors:        `none_succeeded_error` when all have failed, with all errors attached. Beside a value, an error of a task that was
///                cancelled (in its cleanup) is reported to the sink. `misuse_error` for an empty vector.
/// Cancellation:  cancels all of them and waits for their cleanup. One that succeeds nevertheless wins. If one was cut short, it is not
///                known that none would have succeeded: the cancellation passes, and what had failed is reported to the sink.
/// Time:          ends only after all have ended.
template <class... T>
  requires(sizeof...(T) > 0)
[[nodiscard]] BELAY_CORO_WRAPPER task<winner_of<T...>> any(task<T>... tasks) {
  return detail::compete<detail::contest_rule::first_to_succeed, winner_of<T...>>(std::move(tasks)...);
}
template <class T>
[[nodiscard]] BELAY_CORO_WRAPPER task<T> any(std::vector<task<T>> tasks) {
  return detail::compete_many<detail::contest_rule::first_to_succeed, T>(std::move(tasks));
}

/// As `any`, and tells which of the tasks it was.
template <class T>
[[nodiscard]] BELAY_CORO_WRAPPER task<indexed<T>> any_indexed(std::vector<task<T>> tasks) {
  return detail::compete_many<detail::contest_rule::first_to_succeed, indexed<T>>(std::move(tasks));
}

}  // namespace belay
