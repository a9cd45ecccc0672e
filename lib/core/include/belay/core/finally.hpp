// SPDX-License-Identifier: Apache-2.0
#pragma once
// try/finally whose finally may await.

#include <belay/core/detail/cleanup.hpp>
#include <belay/core/task.hpp>
#include <functional>
#include <source_location>
#include <type_traits>

namespace belay {

/// Runs `body()`, then `cleanup()`, whatever happened: value, error or cancellation. A cleanup that takes an `exit_status` is told which:
///
///     co_await belay::finally(upload, [&](belay::exit_status how) -> belay::task<> {
///       if (how.cancelled()) co_await server.forget(upload_id);
///     });
///
/// Result:        that of the body, once the cleanup has ended.
/// Errors:        the body's; an error of the cleanup is attached to it, or is the error when the body had none.
/// Cancellation:  reaches the body. The cleanup is shielded, and bounded by the loop's `cleanup_limit`.
/// Lifetime:      both functions are kept until the end.
template <class F, class C>
[[nodiscard]] auto finally(F body, C cleanup, std::source_location where = std::source_location::current())
    -> std::invoke_result_t<F&> {
  using result = typename std::invoke_result_t<F&>::value_type;
  outcome<result> how = co_await detail::intercept(detail::call_as_task(body));
  {
    detail::cleanup_scope shield(where);
    shield.arm();
    outcome<void> closed;
    if constexpr (std::is_invocable_v<C&, exit_status&>) {
      exit_status ended = exit_status::of(how);
      closed = co_await detail::intercept_in(shield, detail::call_as_task(cleanup, ended));
    } else {
      closed = co_await detail::intercept_in(shield, detail::call_as_task(cleanup));
    }
    shield.disarm();
    detail::merge_cleanup(how, closed, shield, [&]() noexcept { how.drop_value(); });
  }
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

}  // namespace belay
