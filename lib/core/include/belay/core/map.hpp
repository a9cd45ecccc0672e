// SPDX-License-Identifier: Apache-2.0
#pragma once
// The same operation for each element of a range, a few at a time.

#include <belay/core/child.hpp>
#include <belay/core/detail/cleanup.hpp>
#include <belay/core/detail/deadline_scope.hpp>
#include <belay/core/detail/group_core.hpp>
#include <belay/core/task.hpp>
#include <cstddef>
#include <functional>
#include <iterator>
#include <source_location>
#include <type_traits>
#include <utility>
#include <vector>

namespace belay {

namespace detail {

template <class Range>
using element_of = decltype(*std::begin(std::declval<Range&>()));
// What `fn` is called with: an element of the range where it lies; where the range makes its elements, one that is kept for the task.
template <class Range>
using mapped_argument = std::conditional_t<std::is_lvalue_reference_v<element_of<Range>>, element_of<Range>,
                                           std::decay_t<element_of<Range>>&>;
template <class Range, class F>
using mapped_value = typename std::invoke_result_t<F&, mapped_argument<Range>>::value_type;
template <class R>
using map_result = std::conditional_t<std::is_void_v<R>, void, std::vector<held<R>>>;

// Calls a function that is kept elsewhere. What it throws before there is a task becomes a task that fails.
template <class F>
struct call_of {
  F* fn;
  template <class A>
  BELAY_CORO_WRAPPER auto operator()(A& argument) const -> std::invoke_result_t<F&, A&> {
    return call_as_task(*fn, argument);
  }
};

[[noreturn]] void throw_misuse_map_limit(std::source_location where);

}  // namespace detail

/// Runs `fn(element)`, which returns a task, for each element of `items`; not more than `limit` of them at the same time. They begin in
/// the order of the elements, each when there is room.
///
/// Result:        the values in the order of the elements (nothing, if they have none). Empty: an empty result at once.
/// Errors:        the first one, bare, once all that began have ended; it cancels these, and the rest never begins; what else failed
///                is attached. What `fn` or the range throws counts likewise. `misuse_error` for a limit of zero.
/// Cancellation:  cancels those under way, waits for their cleanup; the rest never begins. If all were under way and finish with
///                values nevertheless, these are delivered.
/// Lifetime:      `items` and `fn` are kept until the end, and `fn` is given the elements as lvalues: `fn(const url& each)` is safe. Of a
///                view, only the view is kept.
template <class Range, class F>
[[nodiscard]] task<detail::map_result<detail::mapped_value<Range, F>>> map(Range items, F fn,
                                                                           std::size_t limit) {
  using value = detail::mapped_value<Range, F>;
  using result = detail::map_result<value>;
  const std::source_location where = co_await detail::caller_site_awaiter();
  if (limit == 0) detail::throw_misuse_map_limit(where);
  detail::group_core group;
  group.open(where, "map");
  group.attach_scope();
  std::vector<child<value>> children;
  bool all_began = false;
  try {
    if constexpr (requires { std::size(items); })
      children.reserve(static_cast<std::size_t>(std::size(items)));
    auto next = std::begin(items);
    const auto end = std::end(items);
    for (; next != end; ++next) {
      if (group.live() >= limit) co_await group.join(limit - 1);
      if (group.inner_scope().effective()) break;
      const detail::call_of<F> each{&fn};
      if constexpr (std::is_lvalue_reference_v<detail::element_of<Range>>) {
        children.emplace_back(detail::spawn_closure(group, std::source_location(), each, std::ref(*next)));
      } else {
        children.emplace_back(detail::spawn_closure(group, std::source_location(), each, *next));
      }
    }
    all_began = next == end;
  } catch (...) {
    group.add_failure(failure(detail::record_current_exception()));
  }
  co_await group.join();
  group.close();
  bool every_value = all_began;
  for (child<value>& one : children) every_value = every_value && one.ended_with().succeeded();
  if (every_value) {
    if constexpr (std::is_void_v<result>) {
      co_return;
    } else {
      result values;
      values.reserve(children.size());
      for (child<value>& one : children) values.push_back(one.ended_with().take());
      co_return values;
    }
  }
  outcome<unit> how;
  how.set_cancelled(detail::effective_record(*detail::this_runtime->current->current).shared());
  static_cast<void>(group.conclude(how));
  co_await detail::end_with(how);
  __builtin_unreachable();
}

}  // namespace belay
