// SPDX-License-Identifier: Apache-2.0
#pragma once
// A limit in time as a policy: of one attempt inside of a retry, of the whole outside.

#include <belay/core/detail/deadline_scope.hpp>
#include <belay/core/outcome.hpp>
#include <belay/resilience/detail/attempt.hpp>
#include <belay/resilience/policy.hpp>
#include <memory>
#include <source_location>
#include <string>

namespace belay {

struct timeout_policy_options {
  /// More than zero. `duration::max()`: none.
  any_duration limit = std::chrono::seconds(1);
  /// In the error, in events and descriptions.
  std::string name = "timeout";
  policy_listener listener = {};
};

/// Cancels what is inside once the limit has passed. Inside of `retry` it limits each attempt, outside of it all of them
/// together with the waiting between them:
///
///     pipeline guarded{timeout{10s}, retry{}, timeout{1s}};
///
/// Result:        that of the operation. If it completes although the limit has passed, its result wins.
/// Errors:        `timeout_error`, which names the policy, the limit, where it was set, and the await that waited. `misuse_error` when made with
///                a limit of zero or less, or not a number.
/// Cancellation:  as `with_timeout`: from outside it is never reported as a timeout; of limits that are due together, the outermost acts.
/// Time:          from the call on, on the loop's clock. The operation is waited for, so its cleanup makes this late.
/// Events:        `timed_out`, with the `timeout_error`; or with the error of a cleanup, which beats it.
class timeout : public policy<timeout> {
 public:
  explicit timeout(any_duration limit, std::source_location where = std::source_location::current())
      : timeout(timeout_policy_options{.limit = limit}, where) {}
  explicit timeout(timeout_policy_options options,
                   std::source_location where = std::source_location::current());

  template <guarded_operation Next>
  task<guarded_result<Next>> run(Next next) const {
    const settings& set = *set_;
    detail::deadline_scope bounds("timeout", set.options.limit, set.where);
    bounds.arm();
    outcome<guarded_result<Next>> how = co_await detail::attempt_in(bounds, next);
    bounds.disarm();
    if (how.succeeded()) [[likely]] {
      if constexpr (std::is_void_v<guarded_result<Next>>) {
        co_return;
      } else {
        co_return how.get_forward();
      }
    }
    if (how.cancelled() && bounds.absorbs()) co_await fail(set.expired(bounds));
    if (how.failed() && bounds.requested) {
      how.failed_with().note("while being cancelled: " + bounds.message());
      if (bounds.absorbs()) set.tell(how.failed_with());
    }
    detail::refresh_cancellation(how);
    co_await detail::end_with(how);
    __builtin_unreachable();
  }

  [[nodiscard]] std::string_view name() const noexcept { return set_->options.name; }
  [[nodiscard]] duration limit() const noexcept { return set_->options.limit; }
  /// "timeout 'quotes': 1 s"
  [[nodiscard]] std::string describe() const;
  [[nodiscard]] policy_facts facts() const { return {policy_kind::timeout, set_->options.name, limit(), 1}; }

 private:
  struct settings {
    timeout_policy_options options;
    std::source_location where;
    // Tells the listener.
    [[nodiscard]] failure expired(const detail::deadline_scope& bounds) const;
    void tell(failure what) const;
  };
  std::shared_ptr<const settings> set_;
};

}  // namespace belay
