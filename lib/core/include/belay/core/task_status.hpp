// SPDX-License-Identifier: Apache-2.0
#pragma once
// How a task says that it is ready, to whoever starts it with group::start.

#include <belay/core/detail/group_base.hpp>
#include <source_location>
#include <utility>

namespace belay {

/// Given to a task by `group::start` as its first argument:
///
///     task<> serve(task_status<int>& ready, options how) {
///       listener on = co_await bind(how);
///       ready.started(on.port());  // from here on it belongs to the group, and start() gives the port
///       ...
///     }
///
/// May be moved to a part of the task that knows better when it is ready. Thread: the loop's only.
template <class V = void>
class task_status {
 public:
  /// The task is ready; `start` gives `value`, and from now on the errors of the task are the group's.
  /// If the starter is being cancelled, nothing happens: the task has been asked to stop.
  /// Errors: `misuse_error` when it was said before, or is said after the task has ended.
  template <class U = V>
  void started(U&& value, std::source_location where = std::source_location::current())
    requires(!std::is_void_v<V>)
  {
    require_waiting(where);
    state_->value.emplace(std::forward<U>(value));
    say();
  }
  void started(std::source_location where = std::source_location::current())
    requires(std::is_void_v<V>)
  {
    require_waiting(where);
    say();
  }

  explicit task_status(detail::start_state<V>& to) noexcept : state_(&to), link_(to.task, to.link) {}

 private:
  void require_waiting(std::source_location where) const {
    if (link_.at == nullptr) detail::throw_misuse_started(where);
  }
  void say() noexcept {
    detail::starting& task = *link_.at;
    link_.cut();
    task.hand_over();
  }
  detail::start_state<V>* state_;
  detail::status_link link_;
};

}  // namespace belay
