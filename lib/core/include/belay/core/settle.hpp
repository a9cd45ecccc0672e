// SPDX-License-Identifier: Apache-2.0
#pragma once
// Several operations at the same time, every outcome kept (asyncio.gather with return_exceptions=True).

#include <belay/core/child.hpp>
#include <belay/core/detail/gathering.hpp>
#include <belay/core/task.hpp>
#include <source_location>
#include <tuple>
#include <vector>

namespace belay {

/// Runs the tasks concurrently, all of them to their ends, and gives how each ended, in the order of the arguments.
///
/// Result:        an outcome for each: value, error, or cancelled. Nothing that one of them does cancels another.
/// Errors:        none of the tasks': they are in the outcomes. An outcome with an error that is dropped without a look is reported to
///                the sink.
/// Cancellation:  cancels all of them, waits for their cleanup, and passes: no outcomes are given, errors that there were go to the
///                sink. If none of them was cut short by it, the outcomes are given.
template <class... T>
[[nodiscard]] task<std::tuple<outcome<T>...>> settle(task<T>... tasks) {
  const std::source_location where = co_await detail::caller_site_awaiter();
  detail::gathering group;
  group.open(where, "settle");
  group.attach_scope();
  std::tuple<child<T>...> children{
      child<T>(detail::adopt_task(group, std::move(tasks), std::source_location()))...};
  co_await group.join();
  group.close();
  outcome<std::tuple<outcome<T>...>> how;
  std::apply([&how](auto&... one) { how.emplace(std::move(one.ended_with())...); }, children);
  if (!group.conclude(how)) co_await detail::end_with(how);
  co_return how.get_forward();
}

/// The same for a number known at run time; empty gives an empty result at once.
template <class T>
[[nodiscard]] task<std::vector<outcome<T>>> settle(std::vector<task<T>> tasks) {
  const std::source_location where = co_await detail::caller_site_awaiter();
  detail::gathering group;
  group.open(where, "settle");
  group.attach_scope();
  std::vector<child<T>> children;
  children.reserve(tasks.size());
  for (task<T>& one : tasks)
    children.emplace_back(detail::adopt_task(group, std::move(one), std::source_location()));
  co_await group.join();
  group.close();
  outcome<std::vector<outcome<T>>> how;
  std::vector<outcome<T>> ends;
  ends.reserve(children.size());
  for (child<T>& one : children) ends.push_back(std::move(one.ended_with()));
  how.emplace(std::move(ends));
  if (!group.conclude(how)) co_await detail::end_with(how);
  co_return how.get_forward();
}

/// Waits for tasks that run already, behind their handles, and gives how each ended, in the order of the handles (asyncio.wait).
///
/// Result:        an outcome for each. One whose task somebody cancelled is cancelled, with the record of who did.
/// Errors:        `misuse_error` for an empty handle.
/// Cancellation:  stops waiting. The tasks are not touched: they belong to their group, which owns them as before.
template <class T>
[[nodiscard]] task<std::vector<outcome<T>>> settle(std::vector<child<T>> running) {
  std::vector<outcome<T>> ends;
  ends.reserve(running.size());
  const std::source_location where = co_await detail::caller_site_awaiter();
  for (child<T>& one : running) ends.push_back(co_await as_outcome(std::move(one), where));
  co_return ends;
}

}  // namespace belay
