// SPDX-License-Identifier: Apache-2.0
#pragma once
// A circuit breaker for the loops of all threads: what one of them learns, the others know.

#include <belay/resilience/circuit_breaker.hpp>

namespace belay {

/// As `circuit_breaker`, with one state for any number of loops. Options and calls are the same; so are the rules.
///
/// Errors:  the `cause()` of a `circuit_open_error` is an `error` with the kind, code and message of the last failure: the exception itself stays on
///          its thread.
/// Thread:  any. While it is closed, a call takes no lock to come in, and a short one when it ends. The listener is called by the thread
///          whose call changed the state, without a lock; two changes may be told out of order.
/// Time:    taken from the caller's loop: give all loops the same clock.
/// Copies share the state.
class shared_circuit_breaker : public policy<shared_circuit_breaker> {
 public:
  using pass = breaker_pass<detail::breaker_core<detail::all_loops>>;

  /// Errors: `misuse_error` for options out of range.
  explicit shared_circuit_breaker(circuit_breaker_options options = {})
      : core_(std::make_shared<core>(std::move(options))) {}

  template <guarded_operation Next>
  [[nodiscard]] BELAY_CORO_WRAPPER task<guarded_result<Next>> run(Next next) const {
    return detail::run_under_breaker<core>(*core_, std::move(next));
  }

  [[nodiscard]] pass try_admit() const { return pass(*core_); }
  [[nodiscard]] circuit_open_error refusal(
      std::source_location where = std::source_location::current()) const {
    return core_->refusal(where);
  }

  void isolate() const { core_->isolate(); }
  void open() const { core_->open(); }
  void close() const { core_->close(); }
  void half_open(std::source_location where = std::source_location::current()) const {
    core_->half_open(where);
  }

  [[nodiscard]] breaker_state state() const { return core_->state(); }
  [[nodiscard]] circuit_breaker_statistics statistics() const { return core_->statistics(); }
  [[nodiscard]] std::string_view name() const noexcept { return core_->options().name; }
  [[nodiscard]] std::string describe() const {
    return "shared " + detail::describe_breaker(core_->options());
  }
  [[nodiscard]] policy_facts facts() const {
    return {.kind = policy_kind::circuit_breaker, .name = core_->options().name};
  }

 private:
  using core = detail::breaker_core<detail::all_loops>;
  std::shared_ptr<core> core_;
};

}  // namespace belay
