// SPDX-License-Identifier: Apache-2.0
#pragma once
// Tasks that belong together: a group ends only after everything that was started in it has ended.

#include <belay/core/child.hpp>
#include <belay/core/detail/cleanup.hpp>
#include <belay/core/detail/group_core.hpp>
#include <belay/core/task.hpp>
#include <functional>
#include <source_location>
#include <type_traits>
#include <utility>

namespace belay {

/// The owner of concurrent tasks; made by `with_group`.
///
/// The first failure of a task cancels the others and the body; `with_group` rethrows it bare, as its own type, with
/// what failed besides attached. Thread: only on the loop's thread.
class group : public detail::group_core {
 public:
  /// Starts `fn(args...)` as a task of this group; it begins at the next turn of the loop, not here.
  /// `fn` and `args` are copied (moved) and kept until the task has ended, so lambdas with captures and reference
  /// parameters are safe; pass `std::ref(x)` for what shall be shared and outlives the group. (A move-only argument that `fn`
  /// takes by value is moved on into it.)
  ///
  /// Result:        a handle that may be awaited or dropped; the group owns the task either way.
  /// Errors:        none from the task. A copy of an argument that throws leaves the group as it was.
  ///                `misuse_error` when the group has ended.
  /// Cancellation:  into a group that is being cancelled: accepted, and the body never runs.
  template <class F>
  auto spawn(F&& fn, std::source_location where = std::source_location::current()) {
    return spawn_at(where, std::forward<F>(fn));
  }
  template <class F, class A>
    requires(!std::same_as<std::remove_cvref_t<A>, std::source_location>)
  auto spawn(F&& fn, A&& a, std::source_location where = std::source_location::current()) {
    return spawn_at(where, std::forward<F>(fn), std::forward<A>(a));
  }
  template <class F, class A, class B>
    requires(!std::same_as<std::remove_cvref_t<B>, std::source_location>)
  auto spawn(F&& fn, A&& a, B&& b, std::source_location where = std::source_location::current()) {
    return spawn_at(where, std::forward<F>(fn), std::forward<A>(a), std::forward<B>(b));
  }
  template <class F, class A, class B, class C>
    requires(!std::same_as<std::remove_cvref_t<C>, std::source_location>)
  auto spawn(F&& fn, A&& a, B&& b, C&& c, std::source_location where = std::source_location::current()) {
    return spawn_at(where, std::forward<F>(fn), std::forward<A>(a), std::forward<B>(b), std::forward<C>(c));
  }
  template <class F, class A, class B, class C, class... More>
    requires(sizeof...(More) > 0 && !(std::same_as<std::remove_cvref_t<More>, std::source_location> || ...))
  auto spawn(F&& fn, A&& a, B&& b, C&& c, More&&... more) {  // with many arguments the place is not recorded
    return spawn_at(std::source_location(), std::forward<F>(fn), std::forward<A>(a), std::forward<B>(b),
                    std::forward<C>(c), std::forward<More>(more)...);
  }

  /// As `spawn`, with the place given.
  template <class F, class... A>
  auto spawn_at(std::source_location where, F&& fn, A&&... args) {
    if constexpr (detail::is_task<std::remove_cvref_t<F>>) {
      static_assert(sizeof...(A) == 0 && !std::is_lvalue_reference_v<F>, "spawn(std::move(task))");
      return child<typename std::remove_cvref_t<F>::value_type>(
          detail::adopt_task(*this, std::forward<F>(fn), where));
    } else {
      using made = typename detail::kept_call<std::decay_t<F>, std::unwrap_ref_decay_t<A>...>::type;
      static_assert(detail::is_task<made>, "spawn(fn, args...): fn(args...) must return a belay::task");
      return child<typename made::value_type>(
          detail::spawn_closure(*this, where, std::forward<F>(fn), std::forward<A>(args)...));
    }
  }

  /// Cancels the body and every task of the group. The group then ends without an error of its own. Idempotent.
  void cancel(cancel_reason reason = cancel_reason::caller,
              std::source_location where = std::source_location::current()) noexcept {
    request_cancel(reason, where);
  }

  /// Tasks that have not ended.
  [[nodiscard]] std::size_t size() const noexcept { return live(); }
};

/// Runs `body(group&)` and waits for it and for every task that it spawned, also those spawned by others meanwhile.
///
/// Result:        that of the body. After `group.cancel()` the body may have been cut short: then nothing for `void`,
///                `child_cancelled` otherwise.
/// Errors:        the first one, bare; later ones and those of cleanups are attached to its failure.
/// Cancellation:  reaches the body and all tasks; leaves only after all have ended. An error beats it. If body and tasks all
///                finish with values nevertheless, the result is given.
/// Lifetime:      `body` is kept until the end.
template <class F>
[[nodiscard]] auto with_group(F body, std::source_location where = std::source_location::current())
    -> std::invoke_result_t<F&, group&> {
  using result = typename std::invoke_result_t<F&, group&>::value_type;
  group tasks;
  tasks.open(where, "with_group");
  outcome<result> how = co_await detail::intercept_in(tasks.inner_scope(), detail::call_as_task(body, tasks));
  tasks.body_ended(how);
  // Again, if somebody who was woken by the end of the last task has spawned another one.
  do {
    co_await tasks.join();
  } while (tasks.live() != 0);
  tasks.close();
  if (!tasks.conclude(how)) co_await detail::end_with(how);
  if constexpr (std::is_void_v<result>) {
    co_return;
  } else {
    co_return how.get_forward();
  }
}

}  // namespace belay
