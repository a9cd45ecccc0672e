// SPDX-License-Identifier: Apache-2.0
#pragma once
// std::function for coroutines.

#include <belay/core/task.hpp>
#include <concepts>
#include <functional>
#include <memory>
#include <type_traits>
#include <utility>

namespace belay {

template <class Signature>
class task_function;

/// Holds any callable that returns `task<T>`: `task_function<task<user>(int)>`. (std::function cannot: clang refuses functions that return
/// a task without being coroutines, unless they say so, and the ones inside of std::function do not.)
///
/// Move-only. Calling an empty one: `misuse_error`.
/// Lifetime: the callable, with its captures, must outlive the tasks it makes; so does this object, which holds it.
template <class T, class... A>
class task_function<task<T>(A...)> {
 public:
  task_function() noexcept = default;
  template <class F>
    requires(!std::same_as<std::remove_cvref_t<F>, task_function> &&
             std::same_as<std::invoke_result_t<std::decay_t<F>&, A...>, task<T>>)
  task_function(F&& fn) : held_(std::make_unique<holder<std::decay_t<F>>>(std::forward<F>(fn))) {}

  explicit operator bool() const noexcept { return held_ != nullptr; }

  BELAY_CORO_WRAPPER task<T> operator()(A... args) const {
    if (held_ == nullptr) throw misuse_error("task_function: called while empty");
    return held_->call(std::forward<A>(args)...);
  }

 private:
  struct base {
    virtual ~base() = default;
    BELAY_CORO_WRAPPER virtual task<T> call(A... args) = 0;
  };
  template <class F>
  struct holder final : base {
    template <class G>
    explicit holder(G&& given) : fn(std::forward<G>(given)) {}
    BELAY_CORO_WRAPPER task<T> call(A... args) override { return fn(std::forward<A>(args)...); }
    F fn;
  };
  std::unique_ptr<base> held_;
};

}  // namespace belay
