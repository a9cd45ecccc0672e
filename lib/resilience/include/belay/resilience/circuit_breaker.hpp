// SPDX-License-Identifier: Apache-2.0
#pragma once
// Stops calling what keeps failing, and asks carefully whether it works again.

#include <belay/core/sleep.hpp>
#include <belay/resilience/detail/attempt.hpp>
#include <belay/resilience/detail/breaker_core.hpp>
#include <memory>
#include <source_location>

namespace belay {

namespace detail {

template <class Core, guarded_operation Next>
task<guarded_result<Next>> run_under_breaker(Core& core, Next next) {
  breaker_pass<Core> pass(core);
  if (!pass) co_await fail(core.refusal(co_await caller_site_awaiter()));
  auto how = co_await attempt(next);
  pass.ended(how);
  if (how.succeeded()) [[likely]] {
    if constexpr (std::is_void_v<guarded_result<Next>>) {
      co_return;
    } else {
      co_return how.get_forward();
    }
  }
  co_await end_with(how);
  __builtin_unreachable();
}

}  // namespace detail

/// Fails fast instead of calling what is down, for its sake and for that of whoever would wait for it.
///
///     circuit_breaker breaker({.name = "quotes", .failure_rate = 0.5, .window = 10s});
///     auto quote = co_await breaker(fetch, url);
///
/// Result:        that of the operation.
/// Errors:        those of the operation. `circuit_open_error` while it is open, isolated, or half open with all its probes under way: the
///                operation is not run; it has the time until the next probe, and the last failure as its cause.
/// Cancellation:  a cancelled call counts as nothing; a probe's place is free for another. Its operation has stopped before.
/// Time:          a call counts when it ends. What ends in a later state than the one that let it in counts as nothing: neither does a
///                call from before the failure close a breaker, nor a straggler open it again.
/// Thread:        one loop, that of the first call; `misuse_error` on others. `shared_circuit_breaker` is for several loops.
/// Copies share the state.
class circuit_breaker : public policy<circuit_breaker> {
 public:
  using pass = breaker_pass<detail::breaker_core<detail::one_loop>>;

  /// Errors: `misuse_error` for options out of range.
  explicit circuit_breaker(circuit_breaker_options options = {})
      : core_(std::make_shared<core>(std::move(options))) {}

  template <guarded_operation Next>
  [[nodiscard]] BELAY_CORO_WRAPPER task<guarded_result<Next>> run(Next next) const {
    return detail::run_under_breaker<core>(*core_, std::move(next));
  }

  /// For work that is no single task. Empty if it is refused: throw `refusal()` then.
  [[nodiscard]] pass try_admit() const { return pass(*core_); }
  [[nodiscard]] circuit_open_error refusal(
      std::source_location where = std::source_location::current()) const {
    return core_->refusal(where);
  }

  /// Lets nothing through until `close`, `half_open` or `open` is called.
  void isolate() const { core_->isolate(); }
  /// Opens it for the open time, as if a rule had been met.
  void open() const { core_->open(); }
  /// Closes it and forgets what was counted, from any state; no event if it was closed.
  void close() const { core_->close(); }
  /// Lets probes through now; those that are still out are not waited for any more. Errors: `misuse_error` while it is closed.
  void half_open(std::source_location where = std::source_location::current()) const {
    core_->half_open(where);
  }

  /// The state in which the next call will find it: an open time that is over shows as half open.
  [[nodiscard]] breaker_state state() const { return core_->state(); }
  [[nodiscard]] circuit_breaker_statistics statistics() const { return core_->statistics(); }
  [[nodiscard]] std::string_view name() const noexcept { return core_->options().name; }
  [[nodiscard]] std::string describe() const { return detail::describe_breaker(core_->options()); }
  [[nodiscard]] policy_facts facts() const {
    return {.kind = policy_kind::circuit_breaker, .name = core_->options().name};
  }

 private:
  using core = detail::breaker_core<detail::one_loop>;
  std::shared_ptr<core> core_;
};

}  // namespace belay
