// SPDX-License-Identifier: Apache-2.0
#pragma once
// Several operations at the same time, their results in the order in which they are there (asyncio.as_completed).

#include <belay/core/child.hpp>
#include <belay/core/detail/cleanup.hpp>
#include <belay/core/detail/completion_core.hpp>
#include <belay/core/group_options.hpp>
#include <belay/core/task.hpp>
#include <concepts>
#include <cstddef>
#include <optional>
#include <source_location>
#include <type_traits>
#include <utility>
#include <vector>

namespace belay {

template <class T>
class open_completions;

/// One task of `as_completed` that has ended.
template <class T>
struct completed {
  std::size_t index;  ///< its position among the tasks, from 0
  outcome<T> result;  ///< dropped with an error that nobody looked at: reported to the sink

  /// The value. Failed: throws the error. Cancelled: throws `child_cancelled`.
  [[nodiscard]] decltype(auto) value(std::source_location where = std::source_location::current()) & {
    return result.value(where);
  }
  [[nodiscard]] unit_if_void<T> value(std::source_location where = std::source_location::current()) && {
    return std::move(result).value(where);
  }
};

/// What `as_completed` makes: tasks that have not begun, for `with` or `for_each`. Dropped, no code runs.
template <class T>
class [[nodiscard("the tasks do nothing until they are given to with or for_each")]] completions {
 public:
  // By `as_completed`.
  completions(std::vector<task<T>> tasks, std::size_t limit) noexcept
      : tasks_(std::move(tasks)), limit_(limit) {}
  completions(completions&& other) noexcept
      : tasks_(std::move(other.tasks_)),
        limit_(other.limit_),
        given_away_(std::exchange(other.given_away_, true)) {}
  completions& operator=(completions&& other) noexcept {
    std::swap(tasks_, other.tasks_);
    std::swap(limit_, other.limit_);
    std::swap(given_away_, other.given_away_);
    return *this;
  }
  ~completions() = default;

 private:
  friend open_completions<T>;
  std::vector<task<T>> tasks_;
  std::size_t limit_;
  bool given_away_ = false;
};

/// The tasks of `as_completed` while they run, in the block of `with`.
template <class T>
class open_completions : private detail::completion_core {
 public:
  open_completions() noexcept = default;

  class awaiter final : public detail::completion_core::taker {
   public:
    using taker::taker;
    std::optional<completed<T>> await_resume() {
      detail::completing* const ended = taken();
      if (ended == nullptr) return std::nullopt;
      const kept node{ended};
      return completed<T>{ended->index, std::move(static_cast<detail::completing_node<T>*>(ended)->value)};
    }

   private:
    struct kept {
      detail::completing* node;
      ~kept() { detail::drop_handle(*node); }
    };
  };

  /// Waits for the next task to end: `while (auto item = co_await done.next()) ...`
  ///
  /// Result:        its position and outcome; nothing once all have been given. Each is given once, whoever asks: several tasks may.
  /// Errors:        none of the tasks': they come when the value is read, and the iteration may go on.
  /// Cancellation:  nothing is taken: who asks next gets it.
  [[nodiscard]] awaiter next() noexcept { return awaiter(*this); }

  /// How many have not been given yet.
  [[nodiscard]] std::size_t left() const noexcept { return to_come(); }

  // For `with`.
  [[nodiscard]] detail::completion_core& core() noexcept { return *this; }
  void begin(completions<T>& from, std::source_location where) {
    if (from.given_away_) detail::throw_misuse_as_completed_again(where);
    if (from.limit_ == 0) detail::throw_misuse_as_completed_limit(where);
    for (task<T>& one : from.tasks_) {
      add(detail::make_task_node<detail::completing_node<T>>(*this, std::move(one), std::source_location()));
    }
    detail::completion_core::begin(from.limit_, where);
  }
};

/// Runs the tasks concurrently, and gives each as soon as it has ended:
///
///     co_await belay::with(belay::as_completed(std::move(downloads)), [&](auto& done) -> belay::task<> {
///       while (auto item = co_await done.next()) {              // std::optional<completed<page>>
///         show(item->index, item->value());                     // throws if this one failed
///       }
///     });
///
/// Result:        items in the order in which the tasks end, each exactly once. The block may be left at any point: what still runs is
///                cancelled and waited for, what has not begun never begins.
/// Errors:        an item's, when its value is read; of items that were not read, and of those that were never given (in their
///                cleanup), reported to the sink, or attached to the error of the block if it has one. `misuse_error` for a limit of
///                zero, and for tasks that were given to `with` or `for_each` already (or moved from).
/// Cancellation:  of the block, by a limit around it for example: cancels the tasks and waits for their cleanup.
/// Time:          not more than `limit` of them run at the same time; they begin in order.
template <class T>
[[nodiscard]] completions<T> as_completed(std::vector<task<T>> tasks, std::size_t limit = no_limit) noexcept {
  return completions<T>(std::move(tasks), limit);
}
template <class T, std::same_as<task<T>>... Rest>
[[nodiscard]] completions<T> as_completed(task<T> first, Rest... rest) {
  std::vector<task<T>> all;
  all.reserve(1 + sizeof...(Rest));
  all.push_back(std::move(first));
  (all.push_back(std::move(rest)), ...);
  return completions<T>(std::move(all), no_limit);
}

/// Runs the tasks and `body(open_completions<T>&)`. Result: that of the body, once all have ended. See `as_completed`.
template <class T, class F>
[[nodiscard]] auto with(completions<T> tasks, F body,
                        std::source_location where = std::source_location::current())
    -> std::invoke_result_t<F&, open_completions<T>&> {
  using result = typename std::invoke_result_t<F&, open_completions<T>&>::value_type;
  open_completions<T> done;
  detail::completion_core& group = done.core();
  done.begin(tasks, where);
  outcome<result> how = co_await detail::intercept(detail::call_as_task(body, done));
  group.leave(how);
  co_await group.join();
  group.closed(how);
  if (!how.succeeded()) {
    detail::refresh_cancellation(how);
    co_await detail::end_with(how);
  }
  if constexpr (std::is_void_v<result>) {
    co_return;
  } else {
    co_return how.get_forward();
  }
}

/// Runs the tasks and `body(completed<T>&)` for each that has ended; awaits what it returns if that is a task. The first error of `body`
/// ends it. See `as_completed`.
template <class T, class F>
[[nodiscard]] task<> for_each(completions<T> tasks, F body,
                              std::source_location where = std::source_location::current()) {
  co_await with(
      std::move(tasks),
      [&body](open_completions<T>& done) -> task<> {
        while (auto item = co_await done.next()) {
          if constexpr (detail::is_task<std::invoke_result_t<F&, completed<T>&>>) {
            co_await detail::call(body, *item);
          } else {
            body(*item);
          }
        }
      },
      where);
}

}  // namespace belay
