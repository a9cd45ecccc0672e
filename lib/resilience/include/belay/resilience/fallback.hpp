// SPDX-License-Identifier: Apache-2.0
#pragma once
// Another value in the place of an error.

#include <belay/core/outcome.hpp>
#include <belay/resilience/detail/attempt.hpp>
#include <belay/resilience/error_filter.hpp>
#include <belay/resilience/policy.hpp>
#include <concepts>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <type_traits>
#include <utility>

namespace belay {

struct fallback_options {
  /// Errors that are replaced. A bug, or "not found", is none of them unless you say so.
  error_filter on = transient_errors() || types<rejected_error>();
  /// In notes, events and descriptions.
  std::string name = "fallback";
  policy_listener listener = {};
};

struct fallback_statistics {
  std::uint64_t replaced = 0;
  std::uint64_t cancelled = 0;  ///< fallbacks that were cancelled while they ran
  failure last = {};            ///< the last failure that was replaced
};

namespace detail {

struct fallback_shared {
  fallback_options options;
  fallback_statistics counts = {};

  explicit fallback_shared(fallback_options given);
  // Is `how` an error to be replaced? What the filter throws is attached to it, and it goes on. So does an error of who is cancelled.
  [[nodiscard]] bool replaces(const outcome_base& how) const;
  // It was replaced: keeps and tells it.
  void replaced(failure what);
  // Nobody will ever answer for it: tells it.
  void cancelled(const failure& what) noexcept;
  // The fallback has failed itself: its error goes on, with the one that it should have replaced.
  void failed(outcome_base& how, failure original) const;
  [[nodiscard]] std::string describe(std::string_view what) const;
};

// A failure while the fallback for it runs. It is handled from then on; but it leaves a trace, also if the fallback is cancelled.
class replacement {
 public:
  replacement(fallback_shared& by, failure original);
  replacement(const replacement&) = delete;
  replacement& operator=(const replacement&) = delete;
  ~replacement() {
    if (by_ != nullptr) [[unlikely]]
      by_->cancelled(original_);
  }
  [[nodiscard]] const failure& original() const noexcept { return original_; }
  // `how` is how the fallback has ended.
  void ended(outcome_base& how);

 private:
  fallback_shared* by_;
  failure original_;
};

template <class T, class F>
inline constexpr bool is_reference_to = false;
template <class T, class U>
inline constexpr bool is_reference_to<T&, std::reference_wrapper<U>> = true;

template <class F>
concept takes_failure = std::invocable<F&, const failure&>;
template <class F>
concept gives_instead = takes_failure<F> || std::invocable<F&>;

// Makes the task of a fallback, whatever it was given: a function that gives a task or a value, with the failure or without; a value.
template <class T, class F>
struct fallback_call {
  F& instead;
  const failure& original;

  BELAY_CORO_WRAPPER task<T> operator()() {
    if constexpr (gives_instead<F>) {
      if constexpr (is_task<decltype(ask(instead, original))>) {
        return ask(instead, original);
      } else {
        return at_once(instead, original);
      }
    } else {
      return copied(instead);
    }
  }

 private:
  BELAY_CORO_WRAPPER static decltype(auto) ask(F& fn, const failure& original)
    requires takes_failure<F>
  {
    return fn(original);
  }
  BELAY_CORO_WRAPPER static decltype(auto) ask(F& fn, const failure&)
    requires(!takes_failure<F>)
  {
    return fn();
  }
  static task<T> at_once(F& fn, const failure& original) {
    if constexpr (std::is_void_v<T>) {
      ask(fn, original);
      co_return;
    } else {
      co_return ask(fn, original);
    }
  }
  static task<T> copied(F& value) {
    if constexpr (std::is_void_v<T>) {
      static_assert(std::same_as<F, unit>,
                    "fallback: the operation gives no value; use fallback{} or a function");
      static_cast<void>(value);
      co_return;
    } else if constexpr (is_reference_to<T, F>) {
      co_return value.get();
    } else {
      static_assert(std::constructible_from<T, const F&>,
                    "fallback: the value cannot become what the operation gives");
      co_return T(std::as_const(value));
    }
  }
};

}  // namespace detail

/// Gives something else when what is inside fails: a value (`std::ref` for operations that give a
/// reference), or what a function returns, which may be a task. The function may take the failure.
///
///     const pipeline guarded{fallback{quote{}}, circuit_breaker{}, timeout{1s}};
///     const pipeline stale{fallback{[&](const failure&) -> task<quote> { co_return co_await read_last(db); }}, timeout{1s}};
///
/// `fallback{}` is for operations that give no value.
///
/// Result:        that of the operation, or the fallback's. The failure that was replaced counts as handled, is told to the listener, and
///                kept in `statistics().last`.
/// Errors:        one that `on` does not know. When the fallback fails itself: its error, with the original attached. `misuse_error` when
///                made with an empty function.
/// Cancellation:  is never replaced, nor is the error of a cleanup after it. Cancelled while the fallback runs: as cancelled; the
///                failure, which nothing has replaced, is told to the listener.
/// Events:        `replaced`; `gave_up` when the fallback was cancelled.
/// Lifetime:      keeps the value or function; shared by copies.
template <class F = unit>
class fallback : public policy<fallback<F>> {
 public:
  explicit fallback(F instead = {}, fallback_options options = {})
      : shared_(std::make_shared<shared>(std::move(instead), std::move(options))) {
    if constexpr (detail::gives_instead<F>) {
      if (detail::is_empty_function(shared_->instead)) throw misuse_error("fallback: the function is empty");
    }
  }

  template <guarded_operation Next>
  task<guarded_result<Next>> run(Next next) const {
    using result = guarded_result<Next>;
    outcome<result> how = co_await detail::attempt(next);
    if (!how.succeeded()) [[unlikely]] {
      if (!shared_->replaces(how)) co_await detail::end_with(how);
      detail::replacement now(*shared_, how.failed_with());
      how = outcome<result>();
      detail::fallback_call<result, F> call{shared_->instead, now.original()};
      how = co_await detail::attempt(call);
      now.ended(how);
      if (!how.succeeded()) co_await detail::end_with(how);
    }
    if constexpr (std::is_void_v<result>) {
      co_return;
    } else {
      co_return how.get_forward();
    }
  }

  [[nodiscard]] std::string_view name() const noexcept { return shared_->options.name; }
  /// "fallback 'last quote': to a function"
  [[nodiscard]] std::string describe() const {
    return shared_->describe(detail::gives_instead<F> ? "to a function" : "to a value");
  }
  [[nodiscard]] policy_facts facts() const {
    return {.kind = policy_kind::fallback, .name = shared_->options.name};
  }
  [[nodiscard]] fallback_statistics statistics() const { return shared_->counts; }

 private:
  struct shared : detail::fallback_shared {
    shared(F given, fallback_options options)
        : fallback_shared(std::move(options)), instead(std::move(given)) {}
    F instead;
  };
  std::shared_ptr<shared> shared_;
};

}  // namespace belay
