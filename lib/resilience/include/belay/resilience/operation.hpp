// SPDX-License-Identifier: Apache-2.0
#pragma once
// What policies are put round: a function that gives a fresh task each time it is called, with its arguments.

#include <belay/core/task.hpp>
#include <concepts>
#include <functional>
#include <tuple>
#include <type_traits>
#include <utility>

namespace belay {

/// Whatever gives a fresh `task<T>` each time that it is called.
template <class F>
concept guarded_operation =
    std::move_constructible<F> && std::invocable<F&> && detail::is_task<std::invoke_result_t<F&>>;
/// Its `T`: a value, void, a reference, move-only.
template <guarded_operation F>
using guarded_result = typename std::invoke_result_t<F&>::value_type;

/// May it be run again? Not if it was made by `once`, or is called with what was. For policies that run what is inside more than once.
template <class Next>
inline constexpr bool runs_again = [] {
  if constexpr (requires { Next::runs_again; }) {
    return Next::runs_again;
  } else {
    return true;
  }
}();

/// Did the caller say, by `repeatable`, that it may run twice, also at the same time? For policies that do so on their own account.
template <class Next>
inline constexpr bool declared_repeatable = [] {
  if constexpr (requires { Next::declared_repeatable; }) {
    return Next::declared_repeatable;
  } else {
    return false;
  }
}();

namespace detail {

// A function with the arguments for each call, which gets them as lvalues: parameters by value are copied each time.
template <class F, class... A>
struct kept_operation {
  // What is called may be a policy, and the operation one of its arguments.
  static constexpr bool runs_again =
      (belay::runs_again<std::remove_cvref_t<F>> && ... && belay::runs_again<std::remove_cvref_t<A>>);
  F fn;
  std::tuple<A...> args;
  BELAY_CORO_WRAPPER auto operator()() { return call_with(std::index_sequence_for<A...>()); }

 private:
  template <std::size_t... I>
  BELAY_CORO_WRAPPER auto call_with(std::index_sequence<I...>) {
    return call(fn, std::get<I>(args)...);
  }
};

template <class F, class... A>
struct repeatable_operation : kept_operation<F, A...> {
  static constexpr bool declared_repeatable = kept_operation<F, A...>::runs_again;
};

// The same for one call, which may use its arguments up.
template <class F, class... A>
struct once_operation {
  static constexpr bool runs_again = false;
  F fn;
  std::tuple<A...> args;
  BELAY_CORO_WRAPPER auto operator()() { return call_with(std::index_sequence_for<A...>()); }

 private:
  template <std::size_t... I>
  BELAY_CORO_WRAPPER auto call_with(std::index_sequence<I...>) {
    if constexpr (takes_lvalues<F, A...>) {
      return call(fn, std::get<I>(args)...);
    } else {
      return call(fn, std::forward<A>(std::get<I>(args))...);
    }
  }
};

// Can be called with these arguments again and again, and gives a task.
template <class F, class... A>
concept repeatable_call =
    std::invocable<std::unwrap_reference_t<F>&, std::unwrap_reference_t<A>&...> &&
    is_task<std::invoke_result_t<std::unwrap_reference_t<F>&, std::unwrap_reference_t<A>&...>>;

template <class F>
inline constexpr bool is_referred = false;
template <class F>
inline constexpr bool is_referred<std::reference_wrapper<F>> = true;

}  // namespace detail

/// An operation that must not be run a second time: it uses something up, or is not idempotent. Policies run it at most once:
/// `retry` gives its first error, `hedge` starts nothing beside it. Its arguments may be move-only.
///
///     co_await guarded(once(upload, std::move(body)));
template <class F, class... A>
[[nodiscard]] auto once(F fn, A... args) -> detail::once_operation<F, std::unwrap_reference_t<A>...> {
  return {std::move(fn), std::tuple<std::unwrap_reference_t<A>...>(std::move(args)...)};
}

/// An operation of which a second run, beside the first, does no harm: it reads, or is idempotent. `hedge` runs only these more than once.
/// Its arguments are kept, and given to each run as lvalues.
///
///     co_await guarded(repeatable(fetch, url));
template <class F, class... A>
[[nodiscard]] auto repeatable(F fn, A... args)
    -> detail::repeatable_operation<F, std::unwrap_reference_t<A>...> {
  return {{std::move(fn), std::tuple<std::unwrap_reference_t<A>...>(std::move(args)...)}};
}

}  // namespace belay
