// SPDX-License-Identifier: Apache-2.0
#pragma once
// Tasks that belong together: a group ends only after everything that was started in it has ended.

#include <belay/core/child.hpp>
#include <belay/core/detail/cleanup.hpp>
#include <belay/core/detail/group_base.hpp>
#include <belay/core/group_options.hpp>
#include <belay/core/task.hpp>
#include <belay/core/task_status.hpp>
#include <functional>
#include <optional>
#include <source_location>
#include <type_traits>
#include <utility>

namespace belay {

/// The owner of concurrent tasks; made by `with_group`.
///
/// The first failure of a task cancels the others and the body; `with_group` rethrows it bare, as its own type, with
/// what failed besides attached. Other policies: `group_options`. Thread: only on the loop's thread.
class group : public detail::group_base {
 public:
  /// Starts `fn(args...)` as a task of this group; it begins at the next turn of the loop, not here.
  /// `fn` and `args` are copied (moved) and kept until the task has ended, so lambdas with captures and reference
  /// parameters are safe; pass `std::ref(x)` for what shall be shared and outlives the group. (A move-only argument that `fn`
  /// takes by value is moved on into it.)
  ///
  /// Result:        a handle that may be awaited or dropped; the group owns the task either way.
  /// Errors:        none from the task. A copy of an argument that throws leaves the group as it was.
  ///                `misuse_error` when the group has ended, or on another thread (enter by `loop::post`); `error` of kind
  ///                `overloaded` when it has as many tasks as it may.
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
    require_open_with_room("group::spawn", where);
    return spawn_now(where, std::forward<F>(fn), std::forward<A>(args)...);
  }

  /// Starts a task that was made before: `g.adopt(std::move(prepared))`. Otherwise as `spawn`.
  /// Lifetime: what it refers to must outlive the group: its reference parameters, and the closure of a lambda with captures.
  template <class T>
  child<T> adopt(task<T> made BELAY_LIFETIMEBOUND,
                 std::source_location where = std::source_location::current()) {
    require_open_with_room("group::adopt", where);
    return child<T>(detail::adopt_task(*this, std::move(made), where));
  }

  /// As `spawn`, but says no, by an empty optional, when the group is being cancelled or has as many tasks as it may. The arguments are
  /// untouched then.
  template <class F, class... A>
  auto try_spawn(F&& fn, A&&... args) -> std::optional<child<typename detail::spawned<F, A...>::value_type>> {
    require_open("group::try_spawn", std::source_location());
    if (being_cancelled() || !has_room()) return std::nullopt;
    return spawn_now(std::source_location(), std::forward<F>(fn), std::forward<A>(args)...);
  }

  /// As `spawn`, as soon as the group has fewer tasks than it may: first come, first served. The group stays open for who waits here.
  ///
  /// Cancellation:  nothing is spawned. In a group that is being cancelled: as `spawn`, at once.
  /// Lifetime:      a task of the group that waits here takes one of the places itself: if all do, nothing goes on.
  template <class F, class... A>
  [[nodiscard]] auto spawn_when_free(F fn, A... args)
      -> task<child<typename detail::spawned<F, A...>::value_type>> {
    const std::source_location where = co_await detail::caller_site_awaiter();
    require_open("group::spawn_when_free", where);
    place mine(*this);
    co_await mine.granted();
    co_return spawn_now(where, std::move(fn), std::move(args)...);
  }

  /// Starts `fn(status, args...)` and waits until it has said `status.started(value)`; from then on it is a task of this group.
  /// What it says is known from the first parameter of `fn`, a `task_status<V>&`; for generic functions: `start<V>(fn, args...)`.
  ///
  /// Result:        what the task said.
  /// Errors:        what the task throws before it is ready, which does not touch the group; `misuse_error` if it ends without having said
  ///                that it is ready; `child_cancelled` if the group is cancelled meanwhile, and the caller is not.
  /// Cancellation:  of the caller: cancels the task and waits for its end. Of the group: cancels the task.
  /// Time:          waits for room first, as `spawn_when_free`. Deadlines of the caller act through its cancellation; the task
  ///                sees those of the group. The group stays open meanwhile.
  template <class V, class F, class... A>
  [[nodiscard]] BELAY_CORO_WRAPPER task<V> start(F fn, A... args) {
    return start_one<V>(std::move(fn), std::move(args)...);
  }
  template <class F, class... A>
  [[nodiscard]] BELAY_CORO_WRAPPER auto start(F fn, A... args) -> task<detail::started_value<F>> {
    return start_one<detail::started_value<F>>(std::move(fn), std::move(args)...);
  }

  /// Cancels the body and every task of the group. The group then ends without an error of its own. Idempotent.
  void cancel(cancel_reason reason = cancel_reason::caller,
              std::source_location where = std::source_location::current()) noexcept {
    require_here("group::cancel");
    request_cancel(reason, where);
  }

  /// Tasks that have not ended.
  [[nodiscard]] std::size_t size() const noexcept { return live(); }

 private:
  template <class F, class... A>
  auto spawn_now(std::source_location where, F&& fn, A&&... args) {
    using made = detail::spawned<F, A...>;
    if constexpr (detail::is_task<std::remove_cvref_t<F>>) {
      static_assert(
          !detail::is_task<std::remove_cvref_t<F>>,
          "spawn(fn, args...): give the function and its arguments, which are kept as long as the task runs; a task that "
          "is made already may refer to what is gone by then (adopt takes one)");
      return child<typename made::value_type>();
    } else {
      static_assert(detail::is_task<made>, "spawn(fn, args...): fn(args...) must return a belay::task");
      return child<typename made::value_type>(
          detail::spawn_closure(*this, where, std::forward<F>(fn), std::forward<A>(args)...));
    }
  }

  template <class V, class F, class... A>
  task<V> start_one(F fn, A... args) {
    const std::source_location where = co_await detail::caller_site_awaiter();
    require_open("group::start", where);
    place mine(*this);
    co_await mine.granted();
    detail::start_state<V> state(*this, where);
    child running(detail::spawn_closure(state.task, where,
                                        detail::with_status<F, V>{std::move(fn), task_status<V>(state)},
                                        std::move(args)...));
    co_await state.task.ready_or_ended();
    if (!state.task.handed_over()) {
      outcome<unit> how;
      state.task.ended_as(running.ended_with(), how);
      co_await detail::end_with(how);
    }
    if constexpr (!std::is_void_v<V>) co_return static_cast<V>(*std::move(state.value));
  }
};

/// Runs `body(group&)` and waits for it and for every task that it spawned, also those spawned by others meanwhile.
///
/// Result:        that of the body. After `group.cancel()` the body may have been cut short: then nothing for `void`,
///                `child_cancelled` otherwise.
/// Errors:        the first one, bare; later ones and those of cleanups are attached to its failure. Which errors count: see
///                `group_policy`. `misuse_error` for a limit of zero.
/// Cancellation:  reaches the body and all tasks; leaves only after all have ended. An error beats it. If body and tasks all
///                finish with values nevertheless, the result is given.
/// Lifetime:      `body` is kept until the end.
template <class F>
[[nodiscard]] auto with_group(group_options options, F body,
                              std::source_location where = std::source_location::current())
    -> std::invoke_result_t<F&, group&> {
  using result = typename std::invoke_result_t<F&, group&>::value_type;
  group tasks;
  tasks.open_with(options, where);
  outcome<result> how = co_await detail::intercept_in(tasks.inner_scope(), detail::call_as_task(body, tasks));
  tasks.body_ended(how);
  // Again, if somebody who was woken by the end of the last task has spawned another one.
  do {
    co_await tasks.join();
  } while (tasks.busy() != 0);
  tasks.close();
  tasks.take_collected();
  if (!tasks.conclude(how)) co_await detail::end_with(how);
  if constexpr (std::is_void_v<result>) {
    co_return;
  } else {
    co_return how.get_forward();
  }
}
/// As above, with the defaults of `group_options`.
template <class F>
[[nodiscard]] BELAY_CORO_WRAPPER auto with_group(F body,
                                                 std::source_location where = std::source_location::current())
    -> std::invoke_result_t<F&, group&> {
  return with_group(group_options{}, std::move(body), where);
}

}  // namespace belay
