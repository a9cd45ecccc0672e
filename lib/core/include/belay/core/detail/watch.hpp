// SPDX-License-Identifier: Apache-2.0
#pragma once
// The seam of the test drivers: told of every await, turn and end of the tasks under a watched scope, and able to end the world there.

#include <belay/core/detail/runtime.hpp>

namespace belay::detail {

// A loop has one at the most; without one, none of this costs anything. A scope is watched when its `at_gate` says so; what is attached
// below inherits it.
class watch {
 public:
  struct verdict {
    ref<failure_record> failed{};  // the await fails with this
    bool cancelled = false;        // the awaiting task is unwound here
  };

  // A task is about to wait at `leaf`. May throw: then the await fails. May cancel scopes.
  virtual void at_wait(node& task, frame& leaf, operation& op) = 0;
  // A task is at a yield or a checkpoint. May cancel scopes.
  virtual void at_yield(node& task, frame& leaf) noexcept = 0;
  // A task is about to await `child`. One whose `how` is `intercept` is awaited by the library, on behalf of the user, and must go on.
  virtual verdict at_task(node& task, frame& parent, frame& child) noexcept = 0;
  // Around each turn of any task of the loop.
  virtual void before_turn(node& task) noexcept = 0;
  virtual void after_turn() noexcept = 0;
  // A watched task has ended.
  virtual void at_end(node& task) noexcept = 0;
  // All tasks wait and nothing can wake them. The loop cancels its main task after the first time; after the second it is left with
  // everything in it as it is.
  virtual void at_deadlock(bool second) noexcept = 0;
  // The loop shall be left although its main task has not ended.
  [[nodiscard]] virtual bool gives_up() noexcept = 0;
  // A managed resource has been opened by a watched task.
  virtual void at_opened(resource_frame& resource) noexcept = 0;
  // A semaphore that was seen under watch goes away.
  virtual void at_gone(semaphore& what) noexcept = 0;

 protected:
  ~watch() = default;
};

}  // namespace belay::detail
