// SPDX-License-Identifier: Apache-2.0
#pragma once
// One await of a scenario: its number, its place, what it waits for, and the words for it.

#include <belay/core/detail/deadline_scope.hpp>
#include <belay/core/detail/place.hpp>
#include <belay/core/operation.hpp>
#include <cstddef>
#include <source_location>
#include <string>
#include <vector>

namespace belay::testing {

struct await_point {
  std::size_t number = 0;  // from 1, in the order in which they are reached
  std::source_location at;
  const char* what = "";     // "semaphore"
  std::string name;          // "pool"; a copy: what is waited for may be gone when it is asked for
  bool is_task = false;      // co_await of another coroutine
  bool goes_deeper = false;  // of a coroutine: it awaits something itself
  bool can_fail = true;      // a yield cannot
  bool in_cleanup = false;   // inside of a closing resource, or of the cleanup of `finally`
  std::size_t limits = 0;    // of `with_timeout` and its kin around it that would reach it, up to a shield
  bool waited = false;       // its operation was under way when the turn ended
};

// Innermost frame first; then where its task was spawned, and the awaits of the task that owns it, up to `outermost`.
[[nodiscard]] std::vector<std::source_location> stack_of(const detail::frame& innermost,
                                                         const detail::node& task,
                                                         const detail::scope& outermost);
// The innermost place that is not in the library itself; the innermost one when all are.
[[nodiscard]] std::source_location users_place(const std::vector<std::source_location>& stack);

[[nodiscard]] bool in_cleanup(const detail::scope& here) noexcept;
// The limit around `here` with `inside` others inside of it; null when there are not so many.
[[nodiscard]] detail::deadline_scope* limit_around(detail::scope& here, std::size_t inside) noexcept;

[[nodiscard]] bool same_place(const std::source_location& a, const std::source_location& b) noexcept;
using belay::detail::place_text;
// "semaphore 'pool'"
[[nodiscard]] std::string to_text(const await_point& point);
// "a task waits for semaphore 'pool' at x.cpp:12, spawned at y.cpp:3", one for each task below `root`
[[nodiscard]] std::vector<std::string> waiting_tasks(const detail::scope& root);

}  // namespace belay::testing
