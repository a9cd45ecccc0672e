// SPDX-License-Identifier: Apache-2.0
#pragma once
// How the handlers of a router are called: with as much as they want to know, inside a `catch` if they do not await.

#include <belay/core/task.hpp>
#include <belay/core/task_function.hpp>
#include <belay/errors/detail/empty_function.hpp>
#include <type_traits>
#include <utility>

namespace belay::detail {

// What a handler may take, the longest form that fits: (error, failure, context...), (error, failure), (error, context...), (error), ().
enum class handler_form : unsigned char { everything, with_failure, with_context, error_only, nothing, none };

template <class F, class Error, class... Context>
consteval handler_form form_of() {
  if (std::is_invocable_v<F&, Error, const failure&, Context...>) return handler_form::everything;
  if (std::is_invocable_v<F&, Error, const failure&>) return handler_form::with_failure;
  if (std::is_invocable_v<F&, Error, Context...>) return handler_form::with_context;
  if (std::is_invocable_v<F&, Error>) return handler_form::error_only;
  if (std::is_invocable_v<F&>) return handler_form::nothing;
  return handler_form::none;
}

template <class F, class Error, class... Context>
BELAY_CORO_WRAPPER decltype(auto) call_handler(F& fn, Error about, const failure& what, Context&... context) {
  constexpr handler_form form = form_of<F, Error, Context&...>();
  static_assert(form != handler_form::none,
                "a handler takes (error, failure, context...), or fewer of these: see error_router");
  if constexpr (form == handler_form::everything) {
    return fn(about, what, context...);
  } else if constexpr (form == handler_form::with_failure) {
    return fn(about, what);
  } else if constexpr (form == handler_form::with_context) {
    return fn(about, context...);
  } else if constexpr (form == handler_form::error_only) {
    return fn(about);
  } else {
    return fn();
  }
}

// Who has the failure in hand: the leaf that decided, and all of it.
struct routed {
  failure leaf;
  failure what;
};

// One coroutine for both sorts. `E` void: a handler that takes the leaf as a failure.
template <class R, class E, class F, class... Context>
task<R> run_handler(F& fn, routed about, Context... context) {
  using error_argument =
      std::conditional_t<std::is_void_v<E>, const failure&, std::add_lvalue_reference_t<const E>>;
  using given =
      decltype(call_handler<F, error_argument>(fn, std::declval<error_argument>(), about.what, context...));
  if constexpr (is_task<std::remove_cvref_t<given>>) {
    if constexpr (std::is_void_v<E>) {
      co_return co_await or_fail(call_handler<F, error_argument>(fn, about.leaf, about.what, context...));
    } else {
      const E* error_itself = exception_as<E>(about.leaf.exception());
      co_return co_await or_fail(call_handler<F, error_argument>(fn, *error_itself, about.what, context...));
    }
  } else {
    // Inside a catch: current_failure() is there, `throw;` passes the error on, and an error that is made here has its cause.
    try {
      about.leaf.rethrow();
    } catch (...) {
      if constexpr (std::is_void_v<E>) {
        co_return call_handler<F, error_argument>(fn, about.leaf, about.what, context...);
      } else {
        const E* error_itself = exception_as<E>(about.leaf.exception());
        co_return call_handler<F, error_argument>(fn, *error_itself, about.what, context...);
      }
    }
  }
}

// A handler ended with `how`, an error, while it had `what`. What goes on: `what`, if the handler only passed it on; else its error, with
// `what` as its cause or attached to it.
void after_handler(const failure& what, outcome_base& how) noexcept;

// A task that fails with `what`, without a throw.
template <class R>
task<R> failing(failure what) {
  co_await fail(std::move(what));
  __builtin_unreachable();
}

}  // namespace belay::detail
