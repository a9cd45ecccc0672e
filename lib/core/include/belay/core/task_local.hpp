// SPDX-License-Identifier: Apache-2.0
#pragma once
// Values that belong to a task and all that it starts: a trace id, a user, fields for the log (contextvars).

#include <belay/core/detail/carry_locals.hpp>
#include <belay/core/detail/locals.hpp>
#include <belay/core/error.hpp>
#include <belay/core/task.hpp>
#include <utility>

namespace belay {

/// A variable, usually global, that has a value within an operation and everything below it:
///
///     inline belay::task_local<std::string> request_id{"request id"};
///
///     co_await request_id.with("7f3a", handle(request));       // here
///     log(request_id.value_or("none"));                        // anywhere below, also in tasks spawned there
///
/// A task inherits the values that its spawner has at that moment, not those of the group's owner. A value cannot be changed, only
/// covered by another one further in: nothing leaks to the parent, to siblings, or to the next call on a pool thread.
/// Lifetime: outlives every task that may ask for it. Thread: any, for its own task; functions under `to_thread` see the caller's.
template <class T>
class task_local {
 public:
  /// `name` is for error messages: a literal.
  explicit task_local(const char* name = "") noexcept : name_(name) {}
  task_local(const task_local&) = delete;
  task_local& operator=(const task_local&) = delete;

  /// Runs `op` with the value. Result, Errors, Cancellation: those of `op`.
  template <class R>
  [[nodiscard]] task<R> with(T value, task<R> op) const {
    detail::any_locals.store(true, std::memory_order_relaxed);
    auto outer = detail::ref<detail::binding>::share(detail::current_bindings());
    auto mine = detail::ref<detail::binding>::adopt(
        new detail::value_binding<T>(this, std::move(outer), std::move(value)));
    co_return co_await detail::with_bindings(std::move(mine), std::move(op));
  }

  /// The value that holds here; null when there is none. Valid as long as the operation that has it.
  [[nodiscard]] const T* find() const noexcept {
    const detail::binding* found = detail::find_binding(this);
    return found != nullptr ? &static_cast<const detail::value_binding<T>*>(found)->value : nullptr;
  }
  /// Errors: `misuse_error` that names the variable when it has no value here.
  [[nodiscard]] const T& get(std::source_location where = std::source_location::current()) const {
    if (const T* found = find()) return *found;
    throw misuse_error(
        std::string("task_local '") + name_ + "' has no value here; run this below task_local::with", where);
  }
  [[nodiscard]] T value_or(T otherwise) const {
    const T* found = find();
    return found != nullptr ? *found : std::move(otherwise);
  }

 private:
  const char* name_;
};

}  // namespace belay
