// SPDX-License-Identifier: Apache-2.0
#pragma once
// What every policy is: a value round an operation, with a name, a description, and events.

#include <belay/core/error.hpp>
#include <belay/core/task.hpp>
#include <belay/core/time.hpp>
#include <belay/errors/detail/empty_function.hpp>
#include <belay/resilience/operation.hpp>
#include <algorithm>
#include <concepts>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

namespace belay {

enum class policy_kind : unsigned char {
  timeout,
  retry,
  circuit_breaker,
  bulkhead,
  rate_limiter,
  adaptive_limit,
  hedge,
  fallback,
  cache,
  chaos,
  other,
};
[[nodiscard]] std::string_view to_string(policy_kind kind) noexcept;

/// What a policy did. Nothing is told of a call that was simply let through and succeeded.
enum class policy_action : unsigned char {
  retrying,  ///< attempt `number` failed with `what` (or gave a value that is not wanted); the next one begins after `length`
  recovered,  ///< attempt `number`, which is not the first, succeeded
  gave_up,  ///< no further attempt after `number`, for the reason in `detail`; `what` goes on, or ends with the task that was cancelled
  timed_out,      ///< the limit `length` passed
  state_changed,  ///< `detail` is the new state ("open"), `what` the failure behind it if there is one
  rejected,       ///< the operation was not run; `what` is the error the caller gets
  queued,         ///< the call begins to wait; `number` wait now
  admitted,       ///< it may run after it has waited for `length`
  limit_changed,  ///< `number` is the new limit
  hedged,         ///< run number `number` was started beside the others, after `length`
  replaced,       ///< `what` was replaced by another value
  cached,         ///< an earlier value, of age `length`, was given
  injected,       ///< chaos: `detail` says what
};
[[nodiscard]] std::string_view to_string(policy_action action) noexcept;

/// How much it matters to an operator. Never an error: the failure itself is logged by whoever it reaches, once.
enum class policy_severity : unsigned char { debug, info, warning };
[[nodiscard]] policy_severity severity_of(policy_action action) noexcept;

/// One event. The texts live as long as the call to the listener.
struct policy_event {
  policy_action action;
  policy_kind kind;
  std::string_view policy;  ///< its name; that of its kind if none was given
  std::string_view detail = {};
  std::uint64_t number = 0;
  duration length = {};
  failure what = {};
};

/// Is told the events of a policy; the seam for logs, metrics and spans. Empty by default, or made with an empty function, and then costs
/// a comparison. What it throws goes to the failure sink, and the policy goes on. To look at a failure, as a log does, is not to handle
/// it: an error that nobody handles still goes to the sink. Called on the loop's thread, in the middle of the policy's work: it must not
/// use the policy.
class policy_listener {
 public:
  policy_listener() noexcept = default;
  template <class F>
    requires(!std::same_as<std::remove_cvref_t<F>, policy_listener> &&
             std::invocable<F&, const policy_event&>)
  policy_listener(F listen)
      : listen_(detail::is_empty_function(listen)
                    ? nullptr
                    : std::make_shared<const std::function<void(const policy_event&)>>(std::move(listen))) {}

  explicit operator bool() const noexcept { return listen_ != nullptr; }
  void tell(const policy_event& event) const noexcept;

 private:
  std::shared_ptr<const std::function<void(const policy_event&)>> listen_;
};

/// What `pipeline::warnings` looks at.
struct policy_facts {
  policy_kind kind = policy_kind::other;
  std::string name;
  duration limit = duration::max();  ///< how long one call may take at the most, if the policy sees to that
  unsigned attempts = 1;             ///< how often one call may run the operation
};

/// A policy did not run the operation: the circuit is open, the queue is full, the rate is used up. The base of those errors.
/// `retry_after()` tells when it makes sense to ask again, if that is known.
class rejected_error : public error {
 public:
  rejected_error(error_kind kind, std::string code, std::string message,
                 std::optional<duration> retry_after = {},
                 std::source_location where = std::source_location::current())
      : error(kind, std::move(code), std::move(message), where) {
    if (retry_after) set_retry_after(std::max(*retry_after, duration::zero()));
  }
};

/// The base of every policy, which makes it usable alone: `co_await timeout{1s}(fetch, url)`.
///
/// A policy `P` derives from `policy<P>`, is copyable, and has
///
///     template <guarded_operation Next>
///     task<guarded_result<Next>> run(Next next) const;   // a coroutine; next() makes a fresh task of what is inside
///     std::string_view name() const noexcept;            // the one given, or that of its kind
///     std::string describe() const;                      // one line with its numbers
///     policy_facts facts() const;
///
/// State, if there is some, is behind a shared pointer: copies share it. So the call of a policy needs no memory but that of one coroutine.
/// `run` awaits by `detail::attempt(next)`: the outcome, without a throw; a call that throws before it gives a task is a failure, too.
/// A cancellation unwinds `run` when the operation has really stopped, so that permits are given back by the destructors of its locals.
/// A failure that is passed on keeps its record: `co_await detail::end_with(how)`. That of a cleanup after a
/// cancellation (`detail::failed_after_cancellation`) is passed on, and not counted, retried or replaced.
///
/// Errors:    options out of range: `misuse_error` on construction, which names the field, its value and its range.
/// Lifetime:  the policy (or the pipeline that holds it) must outlive the tasks that it makes; the operation is kept in them.
/// Thread:    one loop.
template <class Derived>
class policy {
 public:
  /// Runs `op` under this policy. It is kept until the end; `std::ref(op)` is not.
  template <guarded_operation F>
  [[nodiscard]] BELAY_CORO_WRAPPER auto operator()(F op) const -> task<guarded_result<F>> {
    if constexpr (detail::is_referred<F>) {
      return static_cast<const Derived&>(*this).run(
          detail::kept_operation<std::unwrap_reference_t<F>>{op.get(), {}});
    } else {
      return static_cast<const Derived&>(*this).run(std::move(op));
    }
  }
  /// Runs `fn(args...)`. The arguments are kept until the end (`std::ref` for what shall not be copied) and given to each call as lvalues. What
  /// takes a move-only argument by value can be called only once: see `once`.
  template <class F, class First, class... A>
    requires detail::repeatable_call<F, First, A...>
  [[nodiscard]] BELAY_CORO_WRAPPER auto operator()(F fn, First first, A... args) const {
    using function = std::unwrap_reference_t<F>;
    using kept =
        detail::kept_operation<function, std::unwrap_reference_t<First>, std::unwrap_reference_t<A>...>;
    return static_cast<const Derived&>(*this).run(
        kept{static_cast<function&&>(fn), {std::move(first), std::move(args)...}});
  }
};

template <class P>
concept resilience_policy =
    std::copy_constructible<P> && std::derived_from<P, policy<P>> && requires(const P& p) {
      { p.name() } -> std::convertible_to<std::string_view>;
      { p.describe() } -> std::same_as<std::string>;
    };

}  // namespace belay
