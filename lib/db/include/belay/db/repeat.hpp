// SPDX-License-Identifier: Apache-2.0
#pragma once
// Once more, when a transaction lost against another one: for blocks that may run several times.

#include <belay/core/detail/cleanup.hpp>
#include <belay/core/failure.hpp>
#include <belay/core/managed.hpp>
#include <belay/core/outcome.hpp>
#include <belay/core/sleep.hpp>
#include <belay/core/task.hpp>
#include <belay/core/time.hpp>
#include <functional>
#include <source_location>
#include <type_traits>
#include <utility>
#include <vector>

namespace belay::db {

struct repeat_options {
  unsigned attempts = 5;  ///< all together, at least 1
  /// The pause before the next one: at random, up to this, doubled each time, up to `longest_pause`.
  duration first_pause = std::chrono::milliseconds(10);
  duration longest_pause = std::chrono::seconds(1);
};

/// A conflict with somebody else's transaction that the same work may not meet again: `busy_error` with code `database_locked`; a `db::error`
/// with code `serialization_failure` or `deadlock`. What is attached to it may be others of these, and `transaction_lost`, which is what other
/// statements of the same transaction say; with anything else attached, such as `commit_unknown`, it is none. Nor is `lock_not_available` of
/// PostgreSQL: that lock was waited for as long as its `lock_timeout` allows.
[[nodiscard]] bool is_conflict(const failure& what) noexcept;

namespace detail {

// A function that somebody else keeps. (std::ref is no wrapper of coroutines.)
template <class F>
struct borrowed {
  F* fn;
  template <class... A>
  BELAY_CORO_WRAPPER auto operator()(A&... args) const -> std::invoke_result_t<F&, A&...> {
    return (*fn)(args...);
  }
};

// Counts attempts, and keeps what they failed with.
class repetition {
 public:
  // Errors: misuse_error.
  repetition(repeat_options options, std::source_location where);
  // Whether to try again, after `pause()`. If not, `why` has the earlier failures with it.
  [[nodiscard]] bool goes_on(failure& why);
  [[nodiscard]] duration pause() const noexcept { return pause_; }

 private:
  repeat_options options_;
  unsigned tried_ = 0;
  duration pause_{};
  std::vector<failure> before_;
};

}  // namespace detail

/// Calls `attempt()`, a whole transaction, until it ends without a conflict.
///
/// Result:        that of the attempt that succeeded.
/// Errors:        what is no conflict passes at once. After the last attempt, or when the deadline would pass in the pause before the next:
///                the last conflict, with the earlier ones attached and a note. `misuse_error` for zero attempts, or a negative pause.
/// Cancellation:  of the caller ends it; a cancelled attempt is never repeated.
/// Time:          pauses as `repeat_options` say, on the loop's clock.
/// Lifetime:      `attempt` is kept until the end.
template <class F>
[[nodiscard]] auto repeat_on_conflict(F attempt, repeat_options options = {},
                                      std::source_location where = std::source_location::current())
    -> std::invoke_result_t<F&> {
  using result = typename std::invoke_result_t<F&>::value_type;
  detail::repetition tries(options, where);
  for (;;) {
    outcome<result> how = co_await as_outcome(belay::detail::call_as_task(attempt));
    if (how.succeeded()) {
      if constexpr (std::is_void_v<result>) {
        co_return;
      } else {
        co_return how.get_forward();
      }
    }
    failure why = how.failure();
    if (!tries.goes_on(why)) co_await fail(std::move(why));
    co_await sleep_for(tries.pause());
  }
}

namespace detail {

// `block` in transactions, each `open(arguments...)`, until one ends without a conflict.
template <class Connection, class F, class... P, class... A>
[[nodiscard]] auto repeat_transaction(F block, repeat_options options, std::source_location where,
                                      managed<Connection> (*open)(P...), A... arguments)
    -> std::invoke_result_t<F&, Connection&> {
  using result = typename std::invoke_result_t<F&, Connection&>::value_type;
  const auto once = [&]() -> task<result> {
    co_return co_await with(open(arguments...), borrowed<F>{&block});
  };
  co_return co_await repeat_on_conflict(borrowed<const decltype(once)>{&once}, options, where);
}

}  // namespace detail

}  // namespace belay::db
