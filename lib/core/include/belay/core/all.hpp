// SPDX-License-Identifier: Apache-2.0
#pragma once
// Several operations at the same time, all of them wanted (asyncio.gather, TaskGroup).

#include <belay/core/child.hpp>
#include <belay/core/detail/deadline_scope.hpp>
#include <belay/core/detail/group_core.hpp>
#include <belay/core/task.hpp>
#include <source_location>
#include <tuple>
#include <vector>

namespace belay {

/// Runs the tasks concurrently and gives all their values, in the order of the arguments (`unit` for void).
///
/// Errors:        the first one, bare, once all have ended; it cancels the others; what else failed is attached.
/// Cancellation:  cancels all of them and waits for their cleanup. If all finish with values nevertheless, these are delivered.
template <class... T>
[[nodiscard]] task<std::tuple<unit_if_void<T>...>> all(task<T>... tasks) {
  const std::source_location where = co_await detail::caller_site_awaiter();
  detail::group_core group;
  group.open(where, "all");
  group.attach_scope();
  std::tuple<child<T>...> children{
      child<T>(detail::adopt_task(group, std::move(tasks), std::source_location()))...};
  co_await group.join();
  group.close();
  outcome<std::tuple<unit_if_void<T>...>> how;
  const bool every_value =
      std::apply([](auto&... one) { return (one.ended_with().succeeded() && ...); }, children);
  if (every_value) {
    co_return std::apply(
        [](auto&... one) { return std::tuple<unit_if_void<T>...>(one.ended_with().take()...); }, children);
  }
  how.set_cancelled(detail::effective_record(*detail::this_runtime->current->current).shared());
  static_cast<void>(group.conclude(how));
  co_await detail::end_with(how);
  __builtin_unreachable();
}

/// The same for a number known at run time; empty gives an empty result at once. References are held as `std::reference_wrapper`.
template <class T>
[[nodiscard]] task<std::vector<held<T>>> all(std::vector<task<T>> tasks) {
  const std::source_location where = co_await detail::caller_site_awaiter();
  detail::group_core group;
  group.open(where, "all");
  group.attach_scope();
  std::vector<child<T>> children;
  children.reserve(tasks.size());
  for (task<T>& one : tasks)
    children.emplace_back(detail::adopt_task(group, std::move(one), std::source_location()));
  co_await group.join();
  group.close();
  std::vector<held<T>> values;
  values.reserve(children.size());
  outcome<std::vector<held<T>>> how;
  for (child<T>& one : children) {
    if (!one.ended_with().succeeded()) {
      how.set_cancelled(detail::effective_record(*detail::this_runtime->current->current).shared());
      static_cast<void>(group.conclude(how));
      co_await detail::end_with(how);
    }
    values.push_back(one.ended_with().take());
  }
  co_return values;
}

}  // namespace belay
