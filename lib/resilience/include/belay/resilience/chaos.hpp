// SPDX-License-Identifier: Apache-2.0
#pragma once
// Trouble on purpose: latency, errors and wrong values, to see whether the rest holds.

#include <belay/core/outcome.hpp>
#include <belay/core/sleep.hpp>
#include <belay/resilience/detail/attempt.hpp>
#include <belay/resilience/detail/random.hpp>
#include <belay/resilience/policy.hpp>
#include <concepts>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

namespace belay {

/// Without one of these that is on, no chaos does anything. Copies share it, so that it can be switched while
/// the program runs. Thread: one loop.
class chaos_switch {
 public:
  /// Off, for good or until `turn_on`.
  chaos_switch();
  /// On, for a reason that shows in descriptions: "game day".
  [[nodiscard]] static chaos_switch on(std::string reason);
  /// On if the variable of the environment is there and says "1", "on" or "true"; off if it is missing, empty, or says "0", "off" or "false". Errors:
  /// `misuse_error` when it says something else.
  [[nodiscard]] static chaos_switch from_environment(const char* variable = "BELAY_CHAOS");

  void turn_on(std::string reason) const;
  void turn_off() const noexcept;
  [[nodiscard]] bool is_on() const noexcept;
  [[nodiscard]] const std::string& reason() const noexcept;

 private:
  struct state;
  std::shared_ptr<state> state_;
};

/// What happens to one call. Latency first, then the error instead of the operation; or another value after it.
struct chaos_step {
  any_duration latency = duration::zero();
  std::exception_ptr error = {};  ///< null: the operation is run
  bool other_value = false;       ///< what it gives is replaced; see `chaos::with_value`
};

struct chaos_options {
  /// How often a call is delayed, 0 to 1, and by how much: anything between the two.
  double latency_rate = 0;
  any_duration least_latency = std::chrono::milliseconds(100);
  any_duration most_latency = std::chrono::seconds(1);
  /// How often a call fails without being run, 0 to 1, and with what: each as likely; none: an `error` of kind unavailable, code `chaos`.
  double error_rate = 0;
  std::vector<std::exception_ptr> errors = {};
  /// How often a value is replaced, 0 to 1.
  double value_rate = 0;
  /// Instead of the rates: what to do with call 1, 2, 3 …
  std::function<chaos_step(std::uint64_t call)> plan = {};
  /// The same for the same seed and the same order of calls.
  std::uint64_t seed = 1;
  std::string name = "chaos";
  policy_listener listener = {};
};

struct chaos_statistics {
  std::uint64_t calls = 0;  ///< while it was on
  std::uint64_t delayed = 0;
  std::uint64_t failed = 0;
  std::uint64_t replaced = 0;
};

namespace detail {

class chaos_shared {
 public:
  chaos_shared(chaos_options options, chaos_switch when);
  [[nodiscard]] bool is_on() const noexcept { return when_.is_on(); }
  // Counts, and tells.
  [[nodiscard]] chaos_step next(bool has_value);
  void replaced();
  [[nodiscard]] std::string describe() const;

  // constant after construction
  chaos_options options;
  // loop thread only
  chaos_statistics counts = {};

 private:
  [[nodiscard]] chaos_step by_rates();
  void tell(std::string_view what, duration length, failure why) const;

  chaos_switch when_;
  random_source random_;
  std::uint64_t calls_ = 0;
};

// A record of its own each time, also for an error that has come out before.
[[nodiscard]] failure injected(std::exception_ptr what);

struct no_other_value {};

}  // namespace detail

/// Makes trouble round what is inside, if its switch is on. Belongs innermost, so that the policies outside see the trouble.
///
///     const chaos_switch trouble = chaos_switch::from_environment();
///     const pipeline guarded{retry{}, timeout{1s}, chaos{{.error_rate = 0.1, .latency_rate = 0.2}, trouble}};
///
/// Result:        that of the operation, or another one.
/// Errors:        those injected. `misuse_error` for options out of range, for an empty function, for a plan with negative latency, and for
///                a plan or a rate (from the first call on) that asks for another value where there is no `with_value`. A plan that
///                throws fails the call.
/// Cancellation:  of the latency at once; of the operation as ever.
/// Cost:          switched off: a test, and a coroutine. In production, leave it out of the pipeline.
/// Events:        `injected`, with "latency", "error" or "value".
template <class Value = detail::no_other_value>
class chaos : public policy<chaos<Value>> {
 public:
  /// `when` has no default that is on: never by accident.
  explicit chaos(chaos_options options, chaos_switch when = {})
    requires std::same_as<Value, detail::no_other_value>
      : shared_(std::make_shared<detail::chaos_shared>(std::move(options), std::move(when))) {}

  /// The same, and `make()` gives the values for `value_rate`: an answer without a body.
  template <std::invocable F>
  [[nodiscard]] chaos<F> with_value(F make) const {
    return chaos<F>(shared_, std::move(make));
  }

  template <guarded_operation Next>
  task<guarded_result<Next>> run(Next next) const {
    using result = guarded_result<Next>;
    constexpr bool has_value = !std::same_as<Value, detail::no_other_value>;
    chaos_step step;
    if (shared_->is_on()) step = shared_->next(has_value);
    if (step.latency.value() > duration::zero()) co_await sleep_for(step.latency);
    if (step.error) co_await fail(detail::injected(std::move(step.error)));
    outcome<result> how = co_await detail::attempt(next);
    if (!how.succeeded()) co_await detail::end_with(how);
    if constexpr (std::is_void_v<result>) {
      static_assert(!has_value, "chaos::with_value: the operation gives no value");
      co_return;
    } else {
      if constexpr (has_value) {
        static_assert(std::constructible_from<held<result>, std::invoke_result_t<Value&>>,
                      "chaos::with_value: the function does not give what the operation gives");
        if (step.other_value) {
          shared_->replaced();
          co_return (*make_)();
        }
      }
      co_return how.get_forward();
    }
  }

  [[nodiscard]] std::string_view name() const noexcept { return shared_->options.name; }
  /// "chaos: off", "chaos: 10 % errors, 20 % latency from 100 ms to 1 s, seed 1, on for: game day"
  [[nodiscard]] std::string describe() const { return shared_->describe(); }
  [[nodiscard]] policy_facts facts() const {
    return {.kind = policy_kind::chaos, .name = shared_->options.name};
  }
  [[nodiscard]] chaos_statistics statistics() const noexcept { return shared_->counts; }

 private:
  template <class>
  friend class chaos;
  chaos(std::shared_ptr<detail::chaos_shared> shared, Value make)
      : shared_(std::move(shared)), make_(std::make_shared<Value>(std::move(make))) {
    if (detail::is_empty_function(*make_)) throw misuse_error("chaos::with_value: the function is empty");
  }

  std::shared_ptr<detail::chaos_shared> shared_;
  std::shared_ptr<Value> make_;  // null without `with_value`
};
chaos(chaos_options) -> chaos<>;
chaos(chaos_options, chaos_switch) -> chaos<>;

}  // namespace belay
