// SPDX-License-Identifier: Apache-2.0
#pragma once
// A hook that is called when a cancellation is requested, while an operation runs.

#include <belay/core/detail/cancel_hook.hpp>
#include <belay/core/detail/deadline_scope.hpp>
#include <belay/core/task.hpp>
#include <type_traits>
#include <utility>

namespace belay {

/// What `on_cancel` takes: a function of a `const cancel_record&`, or of nothing, that gives nothing. (So it cannot be a coroutine.)
template <class F>
concept cancellation_hook = std::is_void_v<std::invoke_result_t<F&, const cancel_record&>> ||
                            std::is_void_v<std::invoke_result_t<F&>>;

/// Runs `op`, and calls `hook(const cancel_record&)` (or `hook()`) when a cancellation reaches it: for what must be told at once, because
/// `op` cannot be, or would be told too late: a flag that a long computation looks at, a request of another library, a counter.
///
///     co_await belay::on_cancel(watch(job), [&](const belay::cancel_record& why) { job.stop(describe(why)); });
///
/// The hook is called once, when the cancellation is requested: before the request returns, before anything in `op` is unwound, and also
/// when `op` is shielded further in, or finishes its work nevertheless. Not when `op` has ended before. For cleanup when `op` is over there are
/// destructors, and where that has to await, `finally`, whose cleanup is told how it ended.
///
/// Result:        that of `op`.
/// Errors:        those of `op`. What the hook throws goes to the failure sink; nobody else gets to see it.
/// Cancellation:  reaches `op`. Requested before: neither `op` nor the hook runs.
/// Lifetime:      the hook is kept until `op` has ended.
/// Thread:        the hook runs on the loop's thread, in the midst of whoever requests the cancellation: another task, or a timer. It cannot
///                await, must not block, and must not throw to be heard. It may set events, close channels, cancel others, and spawn.
///                The hooks of what it cancels itself are called one after the other when it has returned: still before the first request
///                returns. It sees the `task_local`s of the task that requests, not those of `op`, and what it spawns inherits them; when a
///                limit has passed, nobody requests, and there are none.
template <class T, cancellation_hook F>
[[nodiscard]] task<T> on_cancel(task<T> op, F hook) {
  if (detail::scope& here = *detail::this_runtime->current->current; here.effective()) {
    outcome<T> before;
    before.set_cancelled(detail::effective_record(here).shared());
    co_await detail::end_with(before);
  }
  outcome<T> how;
  {
    detail::cancel_hook_of<F> watched(hook);
    how = co_await detail::intercept_in(watched, std::move(op));
  }
  if (!how.succeeded()) {
    detail::refresh_cancellation(how);
    co_await detail::end_with(how);
  }
  if constexpr (std::is_void_v<T>) {
    co_return;
  } else {
    co_return how.get_forward();
  }
}

}  // namespace belay
