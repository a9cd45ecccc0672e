// SPDX-License-Identifier: Apache-2.0
#pragma once
// What a driver runs: any function that gives a task, with a stage or without.

#include <belay/core/task.hpp>
#include <belay/core/task_function.hpp>
#include <concepts>
#include <functional>
#include <utility>

namespace belay::testing {

class stage;

/// `[](stage& s) -> task<> { ... }` or `[]() -> task<> { ... }`; kept as long as the driver runs, so that captures are safe.
class scenario {
 public:
  template <class F>
    requires(!std::same_as<std::remove_cvref_t<F>, scenario> && std::invocable<F&, stage&>)
  scenario(F fn) : call_(std::move(fn)) {}

  template <class F>
    requires(!std::same_as<std::remove_cvref_t<F>, scenario> && !std::invocable<F&, stage&> &&
             std::invocable<F&>)
  scenario(F fn) : call_(without_stage<F>{std::move(fn)}) {}

  [[nodiscard]] BELAY_CORO_WRAPPER task<> operator()(stage& world) const { return call_(world); }

 private:
  template <class F>
  struct without_stage {
    F fn;
    BELAY_CORO_WRAPPER task<> operator()(stage&) { return fn(); }
  };
  mutable task_function<task<>(stage&)> call_;
};

}  // namespace belay::testing
